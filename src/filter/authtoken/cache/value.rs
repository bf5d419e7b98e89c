//! What stands in memcached for a token, before it is protected: JSON, in the shape of the era.
//!
//! keystoneclient and keystonemiddleware 1.x keep `[Keystone's answer, when it ends]`, later releases the answer alone
//! and read both; a token that Keystone does not know is `"invalid"` for all of them up to keystonemiddleware 10.1.
//! Must not know keys, or where values are kept.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::value::RawValue;

use super::super::era::Era;
use super::super::token::{Entry, Outcome};

/// What a value says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Keystone's answer.
    Valid(Bytes),
    /// Keystone did not know the token.
    Invalid,
}

/// Writes a value as `era` does.
pub(super) fn write(outcome: &Outcome, era: Era) -> Vec<u8> {
    match outcome {
        Outcome::Invalid => b"\"invalid\"".to_vec(),
        Outcome::Valid(entry) if era < Era::KSM_2_0 => pair(entry),
        Outcome::Valid(entry) => entry.body.to_vec(),
    }
}

fn pair(entry: &Entry) -> Vec<u8> {
    let expires = entry.expires.to_rfc3339_opts(SecondsFormat::Micros, true);
    [b"[".as_slice(), &entry.body, b", \"", expires.as_bytes(), b"\"]"].concat()
}

/// Reads a value as `era` does; what it makes nothing of is `None`, like a value that is not there.
pub(super) fn read(value: Vec<u8>, era: Era) -> Option<Said> {
    match value.trim_ascii_start().first()? {
        b'{' if era >= Era::KSM_2_0 => Some(Said::Valid(value.into())),
        b'[' => {
            let (answer, expires): (&RawValue, serde_json::Value) = serde_json::from_slice(&value).ok()?;
            // Older releases kept seconds since 1970 here, and keystoneclient ignores those.
            let known = era >= Era::KSM_2_0 || expires.as_str().is_some_and(|text| time(text).is_some());
            known.then(|| Said::Valid(Bytes::copy_from_slice(answer.get().as_bytes())))
        }
        b'"' => {
            let word: String = serde_json::from_slice(&value).ok()?;
            (word == "invalid" && era < Era::KSM_10_2).then_some(Said::Invalid)
        }
        _ => None,
    }
}

/// A time as `isotime` writes it, with a fraction or without.
fn time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &str, era: Era) -> Option<Said> {
        read(value.into(), era)
    }

    #[test]
    fn every_era_reads_its_own_shape_and_later_ones_both() {
        let alone = r#"{"token": {"expires_at": "x"}}"#;
        let pair = format!(r#"[{alone}, "2099-01-02T03:04:05.000000Z"]"#);
        let valid = Some(Said::Valid(Bytes::from(alone)));
        for era in [Era::CLIENT_0_4, Era::KSM_1_5] {
            assert_eq!(said(&pair, era), valid);
            assert_eq!(said(alone, era), None);
            assert_eq!(said(&format!("[{alone}, 1385330400]"), era), None, "written by an older release");
        }
        for era in [Era::KSM_2_0, Era::KSM_13_0] {
            assert_eq!(said(&pair, era), valid);
            assert_eq!(said(alone, era), valid);
        }
    }

    #[test]
    fn unknown_tokens_are_remembered_until_10_2() {
        for era in [Era::CLIENT_0_4, Era::KSM_4_22, Era::KSM_10_1] {
            assert_eq!(said("\"invalid\"", era), Some(Said::Invalid));
        }
        assert_eq!(said("\"invalid\"", Era::KSM_10_2), None);
        assert_eq!(write(&Outcome::Invalid, Era::KSM_4_22), b"\"invalid\"");
    }

    #[test]
    fn what_nobody_wrote_is_nothing() {
        for era in [Era::CLIENT_0_4, Era::KSM_13_0] {
            for value in ["", " ", "null", "1", "\"other\"", "\"inva", "[", "[1]", "[1,2,3]", "\u{feff}{}"] {
                assert_eq!(said(value, era), None, "{value}");
            }
        }
    }
}
