//! Header fields that many requests get alike, in the forms in which workers read them: made once, copied whole.
//!
//! A header map would hash, grow and count references for each of them on each request.
//! Must not know what they say.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// Header fields, ready to be sent.
#[derive(Debug)]
pub struct Prepared {
    /// The values are parts of `lines`.
    fields: Vec<(HeaderName, HeaderValue)>,
    lines: Bytes,
    /// Made when somebody asks: no worker is spoken to in both forms.
    pairs: OnceLock<Box<[u8]>>,
}

impl Prepared {
    /// Of fields with different names.
    pub fn new(mut fields: Vec<(HeaderName, HeaderValue)>) -> Self {
        let mut lines = Vec::new();
        let mut places: Vec<Range<usize>> = Vec::with_capacity(fields.len());
        for (name, value) in &fields {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            places.push(lines.len()..lines.len() + value.len());
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        let lines = Bytes::from(lines);
        for ((_, value), place) in fields.iter_mut().zip(places) {
            // What has been a value is one.
            if let Ok(part) = HeaderValue::from_maybe_shared(lines.slice(place)) {
                *value = part;
            }
        }
        Self { fields, lines, pairs: OnceLock::new() }
    }

    /// A field's value.
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All of them.
    pub fn fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.fields
    }

    /// As header lines of HTTP/1.1: `name: value`, each with its line end.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// As keys of a WSGI environ and their values, `HTTP_NAME` and `value`, each ended by NUL.
    pub fn pairs(&self) -> &[u8] {
        self.pairs.get_or_init(|| {
            let mut pairs = Vec::with_capacity(self.lines.len() + self.fields.len() * "HTTP_".len());
            for (name, value) in &self.fields {
                let key = name.as_str().bytes().map(|byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() });
                pairs.extend_from_slice(b"HTTP_");
                pairs.extend(key);
                pairs.push(0);
                pairs.extend_from_slice(value.as_bytes());
                pairs.push(0);
            }
            pairs.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_what_the_fields_say() {
        let field = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let prepared = Prepared::new(vec![field("x-user-id", "u1"), field("x-roles", "a,b")]);
        assert_eq!(prepared.lines(), b"x-user-id: u1\r\nx-roles: a,b\r\n");
        assert_eq!(prepared.pairs(), b"HTTP_X_USER_ID\0u1\0HTTP_X_ROLES\0a,b\0");
        assert_eq!(prepared.get(&HeaderName::from_static("x-roles")).map(HeaderValue::as_bytes), Some(&b"a,b"[..]));
        assert_eq!(prepared.get(&HeaderName::from_static("x-role")), None);
        assert_eq!(prepared.fields().len(), 2);
    }
}
