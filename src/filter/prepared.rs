//! Header fields that many requests get alike, in the forms in which workers read them: made once, copied whole.
//!
//! A header map would hash, grow and count references for each of them on each request.
//! Must not know what they say.

use http::{HeaderName, HeaderValue};

/// Header fields, ready to be sent.
#[derive(Debug)]
pub struct Prepared {
    fields: Vec<(HeaderName, HeaderValue)>,
    lines: Box<[u8]>,
    pairs: Box<[u8]>,
}

impl Prepared {
    /// Of fields with different names.
    pub fn new(fields: Vec<(HeaderName, HeaderValue)>) -> Self {
        let (mut lines, mut pairs) = (Vec::new(), Vec::new());
        for (name, value) in &fields {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
            let key = name.as_str().bytes().map(|byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() });
            pairs.extend_from_slice(b"HTTP_");
            pairs.extend(key);
            pairs.push(0);
            pairs.extend_from_slice(value.as_bytes());
            pairs.push(0);
        }
        Self { fields, lines: lines.into(), pairs: pairs.into() }
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
        &self.pairs
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
