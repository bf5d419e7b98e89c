//! Header values as a WSGI environ has them.
//!
//! Must not know what a header means.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

/// A header's text; repeated ones are joined with commas, as eventlet does. Bytes that are no UTF-8 are replaced.
pub fn joined<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter();
    let first = String::from_utf8_lossy(values.next()?.as_bytes());
    Some(values.fold(first, |mut all, next| {
        let text = all.to_mut();
        text.push(',');
        text.push_str(&String::from_utf8_lossy(next.as_bytes()));
        all
    }))
}

/// A header that came once. For what no list of words can be: repeated, it is none in the environ.
pub fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use http::header::ACCEPT;

    use super::*;
    use crate::filter::harness::Case;

    #[test]
    fn repeated_headers_are_joined_with_commas() {
        let mut case = Case::new("GET", "/");
        assert_eq!(joined(case.request.headers(), &ACCEPT), None);
        case = case.header("accept", "a/b");
        assert!(matches!(joined(case.request.headers(), &ACCEPT), Some(Cow::Borrowed("a/b"))));
        assert!(single(case.request.headers(), &ACCEPT).is_some());
        case = case.header("accept", "c/d");
        assert_eq!(joined(case.request.headers(), &ACCEPT).as_deref(), Some("a/b,c/d"));
        assert!(single(case.request.headers(), &ACCEPT).is_none());
    }
}
