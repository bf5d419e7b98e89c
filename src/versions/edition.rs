//! Which API versions the version documents of a Nova release list, and how that release writes them.
//!
//! From `nova/api/openstack/compute/versions.py` and `views/versions.py` of 2013.2 to 34, and the maxima of
//! `nova/api/openstack/api_version_request.py`. Must not know requests.

use indexmap::IndexMap;

use crate::release::Release;

/// One API version as the documents list it.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// `v2.1`
    pub id: &'static str,
    /// Its path below the base URL.
    pub path: &'static str,
    /// `version` parameter of its media types.
    pub media: &'static str,
    /// `CURRENT`, `SUPPORTED`, `EXPERIMENTAL` or `DEPRECATED`.
    pub status: &'static str,
    /// When its definition last changed.
    pub updated: &'static str,
    /// Greatest microversion; empty where it has none.
    pub max: &'static str,
    /// Least microversion; empty where it has none.
    pub min: &'static str,
}

const V2: Version = Version {
    id: "v2.0",
    path: "v2",
    media: "2",
    status: "SUPPORTED",
    updated: "2011-01-21T11:33:21Z",
    max: "",
    min: "",
};
const V3: Version = Version {
    id: "v3.0",
    path: "v3",
    media: "3",
    status: "EXPERIMENTAL",
    updated: "2013-07-23T11:33:21Z",
    max: "",
    min: "",
};
const V21: Version = Version { id: "v2.1", path: "v2.1", media: "2.1", status: "CURRENT", min: "2.1", ..V3 };

impl Version {
    /// Its greatest microversion, which the service itself may have told.
    pub fn max<'a>(&self, told: Option<&'a str>) -> &'a str {
        if self.max.is_empty() { self.max } else { told.unwrap_or(self.max) }
    }
}

/// The first release with each greatest microversion.
const MAXIMA: &[(&str, &str)] = &[
    ("2015.1", "2.3"),
    ("12", "2.12"),
    ("13", "2.25"),
    ("14", "2.38"),
    ("15", "2.42"),
    ("16", "2.53"),
    ("17", "2.60"),
    ("18", "2.65"),
    ("19", "2.72"),
    ("20", "2.79"),
    ("21", "2.87"),
    ("23", "2.88"),
    ("24", "2.90"),
    ("26", "2.93"),
    ("27", "2.95"),
    ("29", "2.96"),
    ("31", "2.100"),
    ("33", "2.103"),
    ("34", "2.104"),
];

fn max_microversion(release: Release) -> &'static str {
    let introduced = |(since, _): &&(&str, &str)| since.parse::<Release>().is_ok_and(|since| since <= release);
    MAXIMA.iter().rev().find(introduced).map_or("", |(_, max)| max)
}

/// In which order a release writes the keys of its JSON objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// That of a Python 2 dict: by hash.
    Python2,
    /// As the source has them.
    Written,
}

/// What every version document of one release, under one configuration, has in common.
#[derive(Clone, Debug)]
pub struct Edition {
    /// Sorted by id, as the index lists them.
    pub versions: Vec<Version>,
    /// As the choices list them.
    pub choices: Vec<Version>,
    /// Whether there are XML and Atom forms (up to Juno).
    pub xml: bool,
    /// Key order of the JSON form.
    pub order: KeyOrder,
    /// Whether WebOb is so old (1.2, up to Juno) that it quotes most punctuation in paths.
    pub quotes_punctuation: bool,
    link_prefix: Option<LinkPrefix>,
}

impl Edition {
    /// The edition of `release`; `options` are those of the manifest (`group.name`, `DEFAULT.` may be left out).
    ///
    /// Read are `osapi_v3.enabled` (v3.0 up to Juno, off by default; v2.1 from Kilo to Mitaka, on by default) and
    /// `osapi_compute_link_prefix`, from Ocata on `api.compute_link_prefix`.
    pub fn new(release: Release, options: &IndexMap<String, String>) -> Self {
        let option = |names: &[&str]| names.iter().find_map(|name| options.get(*name)).map(|text| text.trim());
        let switch = option(&["osapi_v3.enabled", "osapi_v21.enabled"]).and_then(boolean);
        let xml = release < Release::KILO;
        let v2 = match release {
            _ if xml => Version { status: "CURRENT", ..V2 },
            release if release >= Release::NOVA_32 => {
                Version { status: "DEPRECATED", updated: "2025-07-04T12:00:00Z", ..V2 }
            }
            _ => V2,
        };
        let mut versions = vec![v2];
        if xml && switch == Some(true) {
            versions.push(V3);
        } else if !xml && (switch != Some(false) || release > Release::MITAKA) {
            versions.push(Version { max: max_microversion(release), ..V21 });
        }
        let mut choices = versions.clone();
        if xml {
            // A Python 2 dict with these two keys yields `v3.0` first.
            choices.reverse();
        }
        let prefix = option(&[
            "api.compute_link_prefix",
            "DEFAULT.osapi_compute_link_prefix",
            "osapi_compute_link_prefix",
            "DEFAULT.compute_link_prefix",
        ]);
        Self {
            versions,
            choices,
            xml,
            // The same release at which Pasteway takes Python 3 for granted elsewhere.
            order: if release < Release::ROCKY { KeyOrder::Python2 } else { KeyOrder::Written },
            quotes_punctuation: xml,
            link_prefix: prefix
                .filter(|text| !text.is_empty())
                .map(|text| LinkPrefix::new(text, release >= Release::LIBERTY)),
        }
    }

    /// The URL below which the versions live; `host_url` and the quoted `SCRIPT_NAME` unless an option replaces them.
    pub fn base_url(&self, host_url: &str, script_name: &str) -> String {
        match &self.link_prefix {
            Some(LinkPrefix { host_url, path: Some(path) }) => {
                [host_url, path, script_name].concat().trim_end_matches('/').to_owned()
            }
            Some(LinkPrefix { host_url, path: None }) => [host_url, script_name].concat(),
            None => [host_url, script_name].concat(),
        }
    }
}

/// `osapi_compute_link_prefix`, cut behind its host.
#[derive(Clone, Debug)]
struct LinkPrefix {
    host_url: String,
    /// From Liberty on the path counts too.
    path: Option<String>,
}

impl LinkPrefix {
    fn new(text: &str, with_path: bool) -> Self {
        let host_at = text.find("://").map_or(0, |n| n + 3);
        let path_at = text.get(host_at..).and_then(|rest| rest.find('/')).map_or(text.len(), |n| host_at + n);
        let (host_url, path) = text.split_at_checked(path_at).unwrap_or((text, ""));
        Self { host_url: host_url.to_owned(), path: with_path.then(|| path.to_owned()) }
    }
}

/// oslo.config's spellings of a boolean.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edition(release: &str, options: &[(&str, &str)]) -> Edition {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Edition::new(release.parse().expect("a release"), &options)
    }

    fn ids(edition: &Edition) -> Vec<&str> {
        edition.versions.iter().map(|v| v.id).collect()
    }

    #[test]
    fn every_release_has_the_greatest_microversion_of_its_series() {
        for (release, want) in [
            ("kilo", "2.3"),
            ("victoria", "2.87"),
            ("yoga", "2.90"),
            ("2023.2", "2.95"),
            ("32", "2.100"),
            ("33", "2.103"),
            ("34", "2.104"),
        ] {
            assert_eq!(edition(release, &[]).versions.last().map(|v| v.max), Some(want), "{release}");
        }
        assert!(edition("juno", &[]).versions.iter().all(|v| v.max.is_empty()));
    }

    #[test]
    fn the_second_version_is_listed_only_where_it_is_switched_on() {
        assert_eq!(ids(&edition("havana", &[])), ["v2.0"]);
        assert_eq!(ids(&edition("havana", &[("osapi_v3.enabled", "True")])), ["v2.0", "v3.0"]);
        assert_eq!(ids(&edition("kilo", &[])), ["v2.0", "v2.1"]);
        assert_eq!(ids(&edition("kilo", &[("osapi_v3.enabled", "off")])), ["v2.0"]);
        assert_eq!(ids(&edition("31", &[("osapi_v3.enabled", "off")])), ["v2.0", "v2.1"]);
    }

    #[test]
    fn a_link_prefix_replaces_the_host_and_from_liberty_on_adds_its_path() {
        let prefix = [("DEFAULT.osapi_compute_link_prefix", "https://api.example.com/compute/")];
        assert_eq!(edition("havana", &prefix).base_url("http://h:8774", "/x"), "https://api.example.com/x");
        assert_eq!(edition("havana", &prefix).base_url("http://h:8774", ""), "https://api.example.com");
        assert_eq!(edition("liberty", &prefix).base_url("http://h:8774", ""), "https://api.example.com/compute");
        let prefix = [("api.compute_link_prefix", "https://api.example.com/compute")];
        assert_eq!(edition("31", &prefix).base_url("http://h:8774", "/x"), "https://api.example.com/compute/x");
        assert_eq!(edition("31", &[]).base_url("http://h:8774", "/x"), "http://h:8774/x");
    }
}
