//! Version documents: which versions of its API a Keystone has, and where (keystoneauth1 5.18, `discover.py`).
//!
//! Must not know who asks, or with what.

use reqwest::Url;
use serde_json::Value;

/// A version as numbers; `v3.14` is `(3, 14)`.
pub type Number = (u32, u32);

/// One version that a document names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of the API.
    pub number: Number,
    /// Where it is, on the host that was asked.
    pub url: String,
}

/// The versions of a document that came from `asked`, oldest first. Experimental and unknown ones do not count.
///
/// `None` when it is no version document.
pub fn versions(asked: &str, document: &[u8]) -> Option<Vec<Version>> {
    let document: Value = serde_json::from_slice(document).ok()?;
    let single;
    let list = match (document.get("versions"), document.get("version")) {
        (Some(versions), _) => versions.get("values").unwrap_or(versions).as_array()?,
        (None, Some(version)) => {
            single = vec![version.clone()];
            &single
        }
        (None, None) => return None,
    };
    let mut found: Vec<_> = list.iter().filter_map(|version| read(asked, version)).collect();
    found.sort_by_key(|version| version.number);
    Some(found)
}

fn read(asked: &str, version: &Value) -> Option<Version> {
    let status = version.get("status")?.as_str()?.to_ascii_lowercase();
    if !matches!(status.as_str(), "stable" | "current" | "supported" | "deprecated") {
        return None;
    }
    let number = number(version.get("id")?.as_str()?)?;
    let link =
        version.get("links")?.as_array()?.iter().rfind(|link| {
            link.get("rel").and_then(Value::as_str).is_some_and(|rel| rel.eq_ignore_ascii_case("self"))
        })?;
    Some(Version { number, url: on_the_same_host(asked, link.get("href")?.as_str()?)? })
}

/// The numbers of `v3.14`, `3` or `v2.0`.
pub fn number(text: &str) -> Option<Number> {
    let mut parts = text.trim_start_matches('v').split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = match parts.next() {
        None => 0,
        Some("latest") => u32::MAX,
        Some(minor) => minor.parse().ok()?,
    };
    Some((major, minor))
}

/// A link of a document on the scheme and host that the document came from: documents often name hosts that only
/// others can reach.
fn on_the_same_host(asked: &str, link: &str) -> Option<String> {
    let base = Url::parse(asked).ok()?;
    let whole = Url::parse(&format!("{}/", asked.trim_end_matches('/'))).ok()?.join(link).ok()?;
    let mut path = whole.path().to_owned();
    if (whole.host(), whole.port_or_known_default()) != (base.host(), base.port_or_known_default()) {
        let version = link.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let own = base.path().trim_end_matches('/');
        if own.ends_with(version) {
            base.path().clone_into(&mut path);
        } else {
            path = format!("{own}/{version}{}", if link.ends_with('/') { "/" } else { "" });
        }
    }
    let mut url = base;
    url.set_path(&path);
    Some(url.into())
}

/// The version that an address ends in: `http://keystone/identity/v3` is of 3.0.
fn version_of(path: &str) -> Option<Number> {
    let last = path.rsplit('/').next()?;
    if !last.starts_with(|c: char| c == 'v' || c.is_ascii_digit()) {
        return None;
    }
    number(last)
}

/// How to get from an endpoint of the catalog to version `major` of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The endpoint is that version.
    Here,
    /// The version documents at these addresses say it, the first that there is. If there is none, the endpoint is
    /// taken as it is.
    Ask(Vec<String>),
}

/// What to do with an endpoint of the catalog when version `major` is wanted.
pub fn way(endpoint: &str, major: u32) -> Way {
    let Ok(mut url) = Url::parse(endpoint.trim_end_matches('/')) else { return Way::Here };
    match version_of(url.path()) {
        Some((found, _)) if found == major => return Way::Here,
        None => {
            let asked = if url.path() == "/" { url.as_str().trim_end_matches('/') } else { url.as_str() };
            let mut asks = vec![if asked == endpoint { asked.to_owned() } else { format!("{asked}/") }];
            if endpoint != asked && !asks.iter().any(|ask| ask == endpoint) {
                asks.push(endpoint.to_owned());
            }
            return Way::Ask(asks);
        }
        Some(_) => {}
    }
    let path = url.path().rsplit_once('/').map_or("", |(head, _)| head).to_owned();
    url.set_path(&format!("{}/", path.trim_end_matches('/')));
    Way::Ask(vec![url.into(), endpoint.to_owned()])
}

/// Of the versions of a document, the newest with that major number.
pub fn newest(versions: &[Version], major: u32) -> Option<&Version> {
    versions.iter().rev().find(|version| version.number.0 == major)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(host: &str) -> String {
        let version = |id: &str, status: &str, path: &str| {
            format!(r#"{{"id": "{id}", "status": "{status}", "links": [{{"rel": "self", "href": "{host}{path}"}}]}}"#)
        };
        format!(
            r#"{{"versions": {{"values": [{}, {}, {}]}}}}"#,
            version("v3.14", "stable", "/v3/"),
            version("v2.0", "deprecated", "/v2.0/"),
            version("v4.0", "experimental", "/v4/")
        )
    }

    #[test]
    fn a_document_names_its_versions_oldest_first_on_the_host_that_was_asked() {
        for (asked, host, v2, v3) in [
            ("http://k:5000", "http://k:5000", "http://k:5000/v2.0/", "http://k:5000/v3/"),
            ("http://k:5000", "http://inside:5000", "http://k:5000/v2.0/", "http://k:5000/v3/"),
            ("https://k/identity", "http://inside", "https://k/identity/v2.0/", "https://k/identity/v3/"),
            ("https://k/identity", "http://k/identity", "https://k/identity/v2.0/", "https://k/identity/v3/"),
        ] {
            let found = versions(asked, document(host).as_bytes()).expect("a document");
            assert_eq!(found.iter().map(|v| v.number).collect::<Vec<_>>(), [(2, 0), (3, 14)]);
            assert_eq!(found.iter().map(|v| v.url.as_str()).collect::<Vec<_>>(), [v2, v3], "{asked} {host}");
        }
    }

    #[test]
    fn a_document_may_be_of_one_version() {
        let one = br#"{"version": {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": "/v3/"}]}}"#;
        let found = versions("http://k/v3", one).expect("a document");
        assert_eq!(newest(&found, 3).map(|v| v.number), Some((3, 14)));
        for other in [&b"[]"[..], b"{}", b"no", br#"{"versions": 3}"#, b""] {
            assert_eq!(versions("http://k/v3", other), None);
        }
    }

    #[test]
    fn an_endpoint_that_names_the_version_is_not_asked_for_it() {
        assert_eq!(way("http://k/v3", 3), Way::Here);
        assert_eq!(way("http://k/identity/v3/", 3), Way::Here);
        assert_eq!(way("http://k:5000", 3), Way::Ask(vec!["http://k:5000".into()]));
        assert_eq!(way("http://k/identity", 3), Way::Ask(vec!["http://k/identity".into()]));
        assert_eq!(
            way("http://k/identity/", 3),
            Way::Ask(vec!["http://k/identity/".into()]),
            "one question for two spellings"
        );
        assert_eq!(way("http://k/v2.0", 3), Way::Ask(vec!["http://k/".into(), "http://k/v2.0".into()]));
    }
}
