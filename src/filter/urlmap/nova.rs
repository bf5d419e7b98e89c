//! What Nova's urlmap adds to Paste's: the answer's type by suffix or `Accept`, and the API's version by
//! `Content-Type` or `Accept` (`nova/api/openstack/urlmap.py`, the same from Havana on).
//!
//! Must not know the apps behind the versions.

use http::header::{ACCEPT, CONTENT_TYPE};

use super::{Found, Host, UrlMap};
use crate::filter::accept::{Pieces, best_match, pieces};
use crate::filter::{Request, headers};
use crate::release::Release;

/// The types that a release's API speaks, best first; Atom, the last, only where the path is a version's root.
const UP_TO_JUNO: &[&str] = &[
    "application/json",
    "application/vnd.openstack.compute+json",
    "application/xml",
    "application/vnd.openstack.compute+xml",
    ATOM,
];
const SINCE_KILO: &[&str] = &["application/json", "application/vnd.openstack.compute+json", ATOM];
const ATOM: &str = "application/atom+xml";

impl UrlMap {
    /// The entry that takes a request and the type that its answer should have.
    pub(super) fn find_as_nova(
        &self,
        host: &Host<'_>,
        path: &[u8],
        request: &Request,
    ) -> Option<(Found, &'static str)> {
        let types = if self.release <= Release::JUNO { UP_TO_JUNO } else { SINCE_KILO };
        let mut mime = suffix_type(types, path);

        // The entry with the empty prefix is the default, and comes last.
        let mut found = self.find(host, path).filter(|found| found.prefix > 0);
        let is_root = path == b"/" || found.as_ref().is_some_and(|f| path.get(f.prefix..) == Some(b"/"));
        let types = if is_root { types } else { types.split_last().map_or(types, |(_, rest)| rest) };

        if found.is_none() {
            let content_type = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
            found = content_type.and_then(|text| self.find_version(host, pieces(text)));
        }
        if mime.is_none() || found.is_none() {
            let accept = headers::joined(request.headers(), &ACCEPT).unwrap_or_default();
            if let Some(best) = best_match(&accept, types) {
                mime = mime.or(Some(best.offer));
                found = found.or_else(|| self.find_version(host, best.item));
            }
        }
        let found = found.or_else(|| self.find(host, path))?;
        Some((found, mime.unwrap_or("application/json")))
    }

    /// The entry of `/v` and the `version` parameter of a type. One that nobody has mounted is the default entry's.
    fn find_version(&self, host: &Host<'_>, item: Pieces<'_>) -> Option<Found> {
        let version = item.param("version")?;
        let found = self.find(host, format!("/v{version}").as_bytes())?;
        Some(Found { by_header: true, ..found })
    }
}

/// The type that the text after the path's last dot names.
fn suffix_type(types: &[&'static str], path: &[u8]) -> Option<&'static str> {
    let dot = path.iter().rposition(|&b| b == b'.')?;
    let suffix = path.get(dot + 1..)?;
    types.iter().copied().find(|&t| t != ATOM && t.strip_prefix("application/").map(str::as_bytes) == Some(suffix))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{map, routed};
    use super::super::{MapKind, UrlMap};
    use super::*;
    use crate::filter::harness::Case;

    fn havana() -> UrlMap {
        map(MapKind::Nova, Release::HAVANA, &["/v1.1", "/v2", "/v3", ""])
    }

    /// The entry's number, PATH_INFO and best type.
    fn go(map: &UrlMap, path: &str, header: Option<(&'static str, &str)>) -> (usize, String, &'static str) {
        let mut case = Case::new("GET", path);
        if let Some((name, value)) = header {
            case = case.header(name, value);
        }
        let (index, _, path) = routed(map, &mut case).expect("an entry");
        (index, path, case.cx.best_content_type.expect("a type"))
    }

    fn got(index: usize, path: &str, mime: &'static str) -> (usize, String, &'static str) {
        (index, path.to_owned(), mime)
    }

    const JSON: &str = "application/json";
    const XML: &str = "application/xml";

    #[test]
    fn the_recorded_requests_of_havana_go_where_they_went() {
        let map = havana();
        let accept = |value| Some(("accept", value));
        assert_eq!(go(&map, "/", None), got(3, "/", JSON));
        assert_eq!(go(&map, "//", None), got(3, "/", JSON));
        assert_eq!(go(&map, "/", accept(XML)), got(3, "/", XML));
        assert_eq!(go(&map, "/", accept(ATOM)), got(3, "/", ATOM));
        assert_eq!(go(&map, "/.xml", None), got(3, "/.xml", XML));
        assert_eq!(go(&map, "/.json", None), got(3, "/.json", JSON));
        assert_eq!(go(&map, "/", accept("text/html")), got(3, "/", JSON));
        assert_eq!(go(&map, "/", accept("application/json;q=0.2, application/xml;q=0.9")), got(3, "/", XML));
        let vendor = "application/vnd.openstack.compute+json";
        assert_eq!(go(&map, "/", accept("application/vnd.openstack.compute+json;version=2")), got(1, "/", vendor));
        assert_eq!(go(&map, "/", Some(("content-type", "application/json;version=2"))), got(1, "/", JSON));
        assert_eq!(go(&map, "/", accept("application/json;version=9")), got(3, "/", JSON));
        assert_eq!(go(&map, "/foo/bar", accept(ATOM)), got(3, "/foo/bar", JSON));
        assert_eq!(go(&map, "/v2/", accept(ATOM)), got(1, "/", ATOM));
        assert_eq!(go(&map, "/v2", accept(ATOM)), got(1, "", JSON));
        assert_eq!(go(&map, "/v2.json", None), got(3, "/v2.json", JSON));
        assert_eq!(go(&map, "/v20/x", None), got(3, "/v20/x", JSON));
        assert_eq!(go(&map, "/v2/p2/servers.xml", None), got(1, "/p2/servers.xml", XML));
    }

    #[test]
    fn a_version_in_a_header_counts_only_where_the_path_has_none() {
        let map = havana();
        let v2 = Some(("accept", "application/json;version=2"));
        assert_eq!(go(&map, "/v3/x", v2), got(2, "/x", JSON));
        assert_eq!(go(&map, "/x", v2), got(1, "/x", JSON));
    }

    #[test]
    fn a_header_leaves_the_path_as_the_client_sent_it() {
        let mut case = Case::new("GET", "//x").header("accept", "application/json;version=2");
        assert_eq!(routed(&havana(), &mut case), Some((1, "/v2".to_owned(), "//x".to_owned())));
    }

    #[test]
    fn content_type_comes_before_accept_and_a_suffix_before_both() {
        let map = havana();
        let mut case = Case::new("GET", "/x.json")
            .header("content-type", "application/xml; version=3")
            .header("accept", "application/xml;version=2");
        assert_eq!(routed(&map, &mut case).map(|r| r.0), Some(2));
        assert_eq!(case.cx.best_content_type, Some(JSON));
    }

    #[test]
    fn kilo_forgot_xml() {
        let map = map(MapKind::Nova, Release::KILO, &["/v2", ""]);
        assert_eq!(go(&map, "/v2/x.xml", Some(("accept", XML))), got(0, "/x.xml", JSON));
        assert_eq!(go(&map, "/v2/", Some(("accept", ATOM))), got(0, "/", ATOM));
    }

    #[test]
    fn a_map_without_a_default_has_nothing_for_other_paths() {
        let map = map(MapKind::Nova, Release::HAVANA, &["/v2"]);
        assert_eq!(routed(&map, &mut Case::new("GET", "/x")), None);
    }
}
