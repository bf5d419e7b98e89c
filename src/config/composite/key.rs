//! The keys of a urlmap: what they match, and in which order they are tried.
//!
//! Must not know what they lead to, nor how a request is matched.

use std::cmp::Reverse;
use std::fmt;

use crate::config::paste::Dialect;
use crate::release::Release;

/// Whose urlmap it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapKind {
    /// `paste.urlmap:urlmap_factory` (`egg:Paste#urlmap`).
    Paste,
    /// `nova.api.openstack.urlmap:urlmap_factory`, which also looks at media types, and at `/+` from Ussuri on.
    Nova,
}

/// A key such as `/v2.1`, `/v2.1/+` or `domain example.com port 80 /app`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MapKey {
    /// The host, with `:port` if the key names one; `None` fits every host.
    pub domain: Option<String>,
    /// The prefix: no doubled and no trailing slashes, so `/` is empty; without the `/+` of such a key.
    pub path: String,
    /// Whether the key ended in `/+`: something must follow the prefix and its slash.
    pub plus: bool,
}

impl fmt::Display for MapKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(domain) = &self.domain {
            write!(f, "http://{domain}")?;
        }
        f.write_str(if self.path.is_empty() { "/" } else { &self.path })?;
        f.write_str(if self.plus { "/+" } else { "" })
    }
}

/// A key that Paste's urlmap refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct BadKey {
    /// `ValueError` or `AssertionError`.
    pub class: &'static str,
    /// The exception's text, byte for byte.
    pub text: String,
}

/// Takes a key apart (`parse_path_expression` and `URLMap.normalize_url` of Paste 1.7 to 3.10).
///
/// # Errors
/// The original's exception.
pub fn parse_map_key(text: &str, kind: MapKind, release: Release) -> Result<MapKey, BadKey> {
    let dialect = if release < Release::ROCKY { Dialect::Py2 } else { Dialect::Py3 };
    let bad = |text: String| BadKey { class: "ValueError", text };
    let (mut domain, mut port, mut path) = (None, None, None);
    let mut words = dialect.words(text);
    while let Some(word) = words.next() {
        match word {
            "domain" => {
                let next =
                    words.next().ok_or_else(|| bad("'domain' must be followed with a domain name".to_owned()))?;
                if domain.replace(next).is_some() {
                    return Err(bad("'domain' given twice".to_owned()));
                }
            }
            "port" => {
                let next = words.next().ok_or_else(|| bad("'port' must be followed with a port number".to_owned()))?;
                if port.replace(next).is_some() {
                    return Err(bad("'port' given twice".to_owned()));
                }
            }
            _ => {
                if let Some(first) = path.replace(word) {
                    let (have, got) = (dialect.repr(first), dialect.repr(word));
                    return Err(bad(format!("more than one path given (have {have}, got {got})")));
                }
            }
        }
    }
    let url = match (domain, port, path.unwrap_or_default()) {
        (None, Some(_), _) => return Err(bad("If you give a port, you must also give a domain".to_owned())),
        (None, None, path) => path.to_owned(),
        (Some(domain), port, path) => {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("http://{domain}{port}/{path}")
        }
    };
    normalise(&url, kind, release).ok_or_else(|| {
        let shown = dialect.repr(&url);
        let text = format!("URL fragments must start with / or http:// (you gave {shown})");
        BadKey { class: "AssertionError", text }
    })
}

/// `URLMap.normalize_url`; `None` where its assertion fails.
fn normalise(url: &str, kind: MapKind, release: Release) -> Option<MapKey> {
    let absolute = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let (domain, path) = match absolute {
        Some(rest) => match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        },
        None if url.is_empty() || url.starts_with('/') => ("", url),
        None => return None,
    };
    let mut clean = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !clean.ends_with('/') {
            clean.push(c);
        }
    }
    let path = clean.trim_end_matches('/');
    let prefix = path.strip_suffix("/+").filter(|_| kind == MapKind::Nova && release >= Release::USSURI);
    Some(MapKey {
        domain: Some(domain.to_owned()).filter(|domain| !domain.is_empty()),
        path: prefix.unwrap_or(path).to_owned(),
        plus: prefix.is_some(),
    })
}

/// Puts entries into the order in which they are tried (`URLMap.sort_apps`): those with a domain first, by domain;
/// of one domain the longer path first, where `/+` counts.
pub fn order<T>(entries: &mut [(MapKey, T)]) {
    // Paste sorts what has no domain as `\xff`, and what is equally long by its text.
    entries.sort_by_cached_key(|(key, _)| {
        let text = if key.plus { format!("{}/+", key.path) } else { key.path.clone() };
        let domain = key.domain.clone().unwrap_or_else(|| "\u{ff}".to_owned());
        (domain, Reverse(text.chars().count()), text)
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> Result<MapKey, BadKey> {
        parse_map_key(text, MapKind::Nova, Release::NEWEST)
    }

    fn shown(text: &str) -> (Option<String>, String, bool) {
        let key = key(text).unwrap();
        (key.domain, key.path, key.plus)
    }

    #[test]
    fn keys_are_words_and_slashes_are_cleaned() {
        let some = |domain: &str| Some(domain.to_owned());
        assert_eq!(shown("/"), (None, String::new(), false));
        assert_eq!(shown("//v2//x//"), (None, "/v2/x".into(), false));
        assert_eq!(shown("domain a.b port 80 /x"), (some("a.b:80"), "/x".into(), false));
        assert_eq!(shown("/x domain a.b"), (some("a.b"), "/x".into(), false));
        assert_eq!(shown("domain a.b"), (some("a.b"), String::new(), false));
        assert_eq!(shown("https://a.b:81/x/"), (some("a.b:81"), "/x".into(), false));
    }

    #[test]
    fn a_plus_is_special_to_nova_from_ussuri_on() {
        assert_eq!(shown("/v2.1/+"), (None, "/v2.1".into(), true));
        let old = parse_map_key("/v2.1/+", MapKind::Nova, Release::TRAIN).unwrap();
        let paste = parse_map_key("/v2.1/+", MapKind::Paste, Release::NEWEST).unwrap();
        for key in [old, paste] {
            assert_eq!((key.path.as_str(), key.plus), ("/v2.1/+", false));
        }
    }

    #[test]
    fn what_paste_refuses_is_refused_in_its_words() {
        for (text, class, message) in [
            ("domain", "ValueError", "'domain' must be followed with a domain name"),
            ("domain a domain b", "ValueError", "'domain' given twice"),
            ("port", "ValueError", "'port' must be followed with a port number"),
            ("domain a port 1 port 2", "ValueError", "'port' given twice"),
            ("/a /b", "ValueError", "more than one path given (have '/a', got '/b')"),
            ("port 80 /", "ValueError", "If you give a port, you must also give a domain"),
            ("v2", "AssertionError", "URL fragments must start with / or http:// (you gave 'v2')"),
        ] {
            assert_eq!(key(text), Err(BadKey { class, text: message.into() }), "{text}");
        }
    }

    #[test]
    fn domains_come_first_and_then_the_longer_path() {
        let texts = ["/", "/v2", "/v2.1", "/v2.1/+", "/v2/+", "domain b /", "domain a /", "domain a /long"];
        let mut entries: Vec<_> = texts.iter().map(|text| (key(text).unwrap(), *text)).collect();
        order(&mut entries);
        let sorted: Vec<_> = entries.iter().map(|(_, text)| *text).collect();
        assert_eq!(sorted, ["domain a /long", "domain a /", "domain b /", "/v2.1/+", "/v2.1", "/v2/+", "/v2", "/"]);
    }

    proptest! {
        #[test]
        fn no_key_makes_the_parser_panic(text in "(domain|port|http://|[/+a ]|\\PC){0,12}") {
            let _ = key(&text);
        }
    }
}
