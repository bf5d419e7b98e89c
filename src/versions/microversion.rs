//! The microversion that a request asks for, and Nova's answer when it cannot be had.
//!
//! From microversion_parse 2.0 and `nova/api/openstack/wsgi.py` (`Request.set_api_version_request`) of Nova 31. Must
//! not know which app asks.

use http::{HeaderMap, HeaderName, StatusCode};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Microversion {
    /// Served as this version.
    Served(String),
    /// Well formed and beyond what the release has: 406.
    Unsupported(String),
    /// Not `MAJOR.MINOR`: 400.
    Malformed(String),
}

/// `OpenStack-API-Version: compute 2.100`
pub const HEADER: HeaderName = HeaderName::from_static("openstack-api-version");
/// `X-OpenStack-Nova-API-Version: 2.100`, older.
pub const LEGACY_HEADER: HeaderName = HeaderName::from_static("x-openstack-nova-api-version");

const MIN: &str = "2.1";

/// Reads the headers of a request to a release whose greatest microversion is `max`.
pub fn requested(headers: &HeaderMap, max: &str) -> Microversion {
    let Some(text) = standard(headers).or_else(|| legacy(headers)) else {
        return Microversion::Served(MIN.to_owned());
    };
    if text == "latest" {
        return Microversion::Served(max.to_owned());
    }
    match parse(&text) {
        None => Microversion::Malformed(text),
        Some(asked) if parse(MIN) <= Some(asked) && Some(asked) <= parse(max) => Microversion::Served(text),
        Some(_) => Microversion::Unsupported(text),
    }
}

impl Microversion {
    /// The text that the response's headers repeat.
    pub fn named(&self) -> Option<&str> {
        match self {
            Self::Served(text) | Self::Unsupported(text) => Some(text),
            Self::Malformed(_) => None,
        }
    }

    /// The fault for a version that cannot be served; its text is to be escaped for JSON.
    pub fn fault(&self, max: &str) -> Option<Fault> {
        match self {
            Self::Served(_) => None,
            Self::Unsupported(text) => Some(Fault {
                status: StatusCode::NOT_ACCEPTABLE,
                name: "computeFault",
                message: format!("Version {text} is not supported by the API. Minimum is {MIN} and maximum is {max}."),
            }),
            Self::Malformed(text) => Some(Fault {
                status: StatusCode::BAD_REQUEST,
                name: "badRequest",
                message: format!(
                    "API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
                ),
            }),
        }
    }
}

/// A fault as Nova names them.
pub struct Fault {
    /// 400 or 406.
    pub status: StatusCode,
    /// The one member of its JSON object.
    pub name: &'static str,
    /// For people.
    pub message: String,
}

/// The last `compute VERSION` of all `OpenStack-API-Version` headers.
fn standard(headers: &HeaderMap) -> Option<String> {
    headers.get_all(HEADER).iter().rev().filter_map(|value| value.to_str().ok()).find_map(|value| {
        value.rsplit(',').find_map(|item| {
            let (service, version) = item.trim().split_once(char::is_whitespace)?;
            service.eq_ignore_ascii_case("compute").then(|| version.trim().to_owned())
        })
    })
}

fn legacy(headers: &HeaderMap) -> Option<String> {
    let value = headers.get_all(LEGACY_HEADER).iter().next_back()?.to_str().ok()?;
    value.rsplit(',').next().map(|version| version.trim().to_owned())
}

/// Two numbers without leading zeros, joined by a dot; the first is not 0.
fn parse(text: &str) -> Option<(u32, u32)> {
    let number = |digits: &str| {
        let plain = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
        // A number too great for this type is too great for any release, and still a number.
        (plain && !digits.is_empty()).then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let (major, minor) = text.split_once('.')?;
    Some((number(major).filter(|n| *n > 0)?, number(minor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fields: &[(HeaderName, &str)]) -> Microversion {
        let headers = fields.iter().map(|(k, v)| (k.clone(), v.parse().expect("a value"))).collect();
        requested(&headers, "2.100")
    }

    #[test]
    fn the_last_mention_of_compute_counts_and_the_old_header_only_without_one() {
        let served = |text: &str| Microversion::Served(text.to_owned());
        assert_eq!(asked(&[]), served("2.1"));
        assert_eq!(asked(&[(HEADER, "compute latest")]), served("2.100"));
        assert_eq!(asked(&[(HEADER, "compute 2.3, volume 3.1, Compute 2.7")]), served("2.7"));
        assert_eq!(asked(&[(HEADER, "volume 3.1"), (LEGACY_HEADER, "2.9")]), served("2.9"));
    }

    #[test]
    fn versions_are_numbers_and_not_decimal_fractions() {
        assert_eq!(asked(&[(LEGACY_HEADER, "2.99")]), Microversion::Served("2.99".into()));
        for text in ["2.101", "2.0", "1.5", "3.1", "2.99999999999"] {
            assert_eq!(asked(&[(LEGACY_HEADER, text)]), Microversion::Unsupported(text.into()), "{text}");
        }
        for text in ["2", "2.", ".1", "2.01", "0.1", "2.1.1", "v2.1", "2.+1", "Latest", ""] {
            assert_eq!(asked(&[(LEGACY_HEADER, text)]), Microversion::Malformed(text.into()), "{text}");
        }
    }
}
