//! What stands in Keystone's answers: a token's JSON, and its end.
//!
//! Must not know how they were asked for.

use std::fmt::Write;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// The JSON object's outermost keys, of which a token has one.
#[derive(Deserialize)]
struct Outer {
    access: Option<IgnoredAny>,
    token: Option<IgnoredAny>,
}

/// Which version of the API a token's JSON is of: 2 (`access`) or 3 (`token`). `None` when it is no token.
pub fn version_of_token(body: &[u8]) -> Option<u32> {
    let outer: Outer = serde_json::from_slice(body).ok()?;
    match (outer.token, outer.access) {
        (Some(_), _) => Some(3),
        (None, Some(_)) => Some(2),
        (None, None) => None,
    }
}

/// When the token of an answer ends.
pub fn expiry(token: &Value) -> Option<DateTime<Utc>> {
    let text = token.pointer("/token/expires_at").or_else(|| token.pointer("/access/token/expires"))?.as_str()?;
    DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).ok().or_else(|| {
        // Without a zone it is UTC.
        NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc()).ok()
    })
}

/// A token as a piece of a path: quoted as Python 2's `urllib.quote` does it, if it is not quoted already, and as
/// `requests` leaves it.
///
/// `None` for what would leave the path: no token has a segment of dots.
pub fn path_of_token(token: &[u8]) -> Option<String> {
    let unquoted: Vec<u8> = percent_encoding::percent_decode(token).collect();
    if unquoted.split(|&byte| matches!(byte, b'/' | b'\\')).any(|segment| matches!(segment, b"." | b"..")) {
        return None;
    }
    if unquoted != token {
        return String::from_utf8(token.to_vec()).ok();
    }
    let mut path = String::with_capacity(token.len());
    for &byte in token {
        if byte.is_ascii_alphanumeric() || b"_.-/~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_quoted_once() {
        for (token, path) in [
            ("abc", Some("abc")),
            ("a b/c?d", Some("a%20b/c%3Fd")),
            ("a%20b", Some("a%20b")),
            ("100%", Some("100%25")),
            ("~a,b", Some("~a%2Cb")),
            ("../users", None),
            ("x/%2e%2e/y", None),
            ("a/./b", None),
        ] {
            assert_eq!(path_of_token(token.as_bytes()).as_deref(), path, "{token}");
        }
    }

    #[test]
    fn a_token_has_one_of_two_forms() {
        assert_eq!(version_of_token(br#"{"token": {"a": [1]}}"#), Some(3));
        assert_eq!(version_of_token(br#"{"access": {}}"#), Some(2));
        for other in [&b"{}"[..], b"[]", b"nonsense", b"", br#"{"error": {}}"#] {
            assert_eq!(version_of_token(other), None);
        }
    }

    #[test]
    fn times_come_with_and_without_fractions_and_zones() {
        for text in
            ["2026-11-22T11:44:38Z", "2026-11-22T11:44:38.000000Z", "2026-11-22T11:44:38", "2026-11-22T12:44:38+01:00"]
        {
            for token in [
                serde_json::json!({"token": {"expires_at": text}}),
                serde_json::json!({"access": {"token": {"expires": text}}}),
            ] {
                assert_eq!(expiry(&token).map(|time| time.timestamp()), Some(1_795_347_878), "{text}");
            }
        }
        assert_eq!(expiry(&serde_json::json!({"token": {"expires_at": "soon"}})), None);
    }
}
