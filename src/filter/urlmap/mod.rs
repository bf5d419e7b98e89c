//! Composites that choose an app by path: Paste's urlmap and Nova's.
//!
//! [`UrlMap::route`] says which entry takes a request and moves its prefix from `PATH_INFO` to `SCRIPT_NAME`.
//! Must not know what stands behind an entry, or how entries are written in a Paste file.

mod not_found;
mod nova;

use http::header::HOST;

use super::{Context, Request, Response, Scheme};
pub use crate::config::composite::{MapKey, MapKind};
use crate::release::Release;

/// Where a request goes from a map.
pub enum Route {
    /// To the entry with this index.
    Entry(usize),
    /// To the map's `not_found_app`.
    NotFoundApp,
    /// Back to the client: the map has no `not_found_app`, and this is Paste's own 404.
    Reply(Response),
}

/// A map with its entries in the order in which they are tried.
#[derive(Debug)]
pub struct UrlMap {
    kind: MapKind,
    release: Release,
    entries: Vec<MapKey>,
    has_not_found: bool,
    has_domains: bool,
}

/// An entry that takes a request, before anything has moved.
struct Found {
    index: usize,
    /// How many bytes of the path are its prefix.
    prefix: usize,
    /// A header chose it: `PATH_INFO` stays as it is.
    by_header: bool,
}

impl UrlMap {
    /// A map. `entries` come as Paste sorts them: those with a domain first, longer paths before shorter ones.
    pub fn new(kind: MapKind, release: Release, entries: Vec<MapKey>, has_not_found: bool) -> Self {
        let has_domains = entries.iter().any(|e| e.domain.is_some());
        Self { kind, release, entries, has_not_found, has_domains }
    }

    /// Which entry takes the request. Updates `script_name` and `path_info` of `cx`, and Nova's map
    /// `best_content_type` too.
    pub fn route(&self, cx: &mut Context, request: &Request) -> Route {
        let collapsed = collapse(&cx.path_info);
        let path = collapsed.as_deref().unwrap_or(&cx.path_info);
        let host = Host::of(cx, request, self.has_domains);
        let found = match self.kind {
            MapKind::Paste => self.find(&host, path),
            MapKind::Nova => self.find_as_nova(&host, path, request).map(|(found, mime)| {
                cx.best_content_type = Some(mime);
                found
            }),
        };
        let Some(found) = found else {
            return if self.has_not_found {
                Route::NotFoundApp
            } else {
                Route::Reply(not_found::page(self, cx, request))
            };
        };
        if let Some(entry) = self.entries.get(found.index) {
            cx.script_name.extend_from_slice(entry.path.as_bytes());
        }
        if !found.by_header {
            if let Some(path) = collapsed {
                cx.path_info = path;
            }
            cx.path_info.drain(..found.prefix.min(cx.path_info.len()));
        }
        Route::Entry(found.index)
    }

    /// The first entry whose domain and prefix fit.
    fn find(&self, host: &Host<'_>, path: &[u8]) -> Option<Found> {
        let index = self.entries.iter().position(|entry| {
            entry.domain.as_deref().is_none_or(|domain| host.is(domain))
                && match path.strip_prefix(entry.path.as_bytes()) {
                    Some([]) => !entry.plus,
                    Some([b'/', rest @ ..]) => !entry.plus || !rest.is_empty(),
                    _ => false,
                }
        })?;
        let prefix = self.entries.get(index)?.path.len();
        Some(Found { index, prefix, by_header: false })
    }
}

/// The path with every run of slashes as one; `None` when it has none to shorten, which is the common case.
fn collapse(path: &[u8]) -> Option<Vec<u8>> {
    path.windows(2).any(|pair| pair == b"//").then(|| {
        let mut short = path.to_vec();
        short.dedup_by(|b, a| *a == b'/' && *b == b'/');
        short
    })
}

/// The host that a request is for, as Paste splits it: at the first colon, even in `[::1]:80`. Empty without `Host`.
struct Host<'a> {
    name: &'a [u8],
    port: &'a [u8],
}

impl<'a> Host<'a> {
    fn of(cx: &Context, request: &'a Request, wanted: bool) -> Self {
        let text = if wanted { request.headers().get(HOST).map_or(&b""[..], |h| h.as_bytes()) } else { b"" };
        let mut parts = text.splitn(2, |&b| b == b':');
        let name = parts.next().unwrap_or_default();
        let port = parts.next().unwrap_or(if cx.scheme == Scheme::Http { b"80" } else { b"443" });
        Self { name, port }
    }

    /// Whether `domain` is this host, or this host and port. A domain with capitals is never, as in Paste.
    fn is(&self, domain: &str) -> bool {
        let lower = |text: &[u8], domain: &[u8]| text.iter().map(u8::to_ascii_lowercase).eq(domain.iter().copied());
        match domain.as_bytes().split_at_checked(self.name.len()) {
            Some((name, [])) => lower(self.name, name),
            Some((name, [b':', port @ ..])) => lower(self.name, name) && lower(self.port, port),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::Case;

    /// A map of keys in the order given.
    pub(super) fn map(kind: MapKind, release: Release, keys: &[&str]) -> UrlMap {
        let entry = |key: &&str| {
            let (domain, path) = match key.strip_prefix("http://") {
                Some(rest) => rest
                    .split_once('/')
                    .map_or((rest.to_owned(), String::new()), |(domain, path)| (domain.to_owned(), format!("/{path}"))),
                None => (String::new(), (*key).to_owned()),
            };
            let prefix = path.strip_suffix("/+").filter(|_| kind == MapKind::Nova && release >= Release::USSURI);
            MapKey {
                domain: Some(domain).filter(|domain| !domain.is_empty()),
                plus: prefix.is_some(),
                path: prefix.unwrap_or(&path).to_owned(),
            }
        };
        UrlMap::new(kind, release, keys.iter().map(entry).collect(), false)
    }

    /// The key that takes a request, and its SCRIPT_NAME and PATH_INFO behind the map.
    pub(super) fn routed(map: &UrlMap, case: &mut Case) -> Option<(usize, String, String)> {
        match map.route(&mut case.cx, &case.request) {
            Route::Entry(index) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                Some((index, text(&case.cx.script_name), text(&case.cx.path_info)))
            }
            _ => None,
        }
    }

    fn walk(map: &UrlMap, path: &str) -> Option<(usize, String, String)> {
        routed(map, &mut Case::new("GET", path))
    }

    fn found(index: usize, script_name: &str, path_info: &str) -> Option<(usize, String, String)> {
        Some((index, script_name.to_owned(), path_info.to_owned()))
    }

    #[test]
    fn the_longest_prefix_wins_and_ends_at_a_slash() {
        let map = map(MapKind::Paste, Release::HAVANA, &["/v2/x", "/v2", ""]);
        assert_eq!(walk(&map, "/v2/x/y"), found(0, "/v2/x", "/y"));
        assert_eq!(walk(&map, "/v2/xy"), found(1, "/v2", "/xy"));
        assert_eq!(walk(&map, "/v2"), found(1, "/v2", ""));
        assert_eq!(walk(&map, "/v20"), found(2, "", "/v20"));
    }

    #[test]
    fn runs_of_slashes_are_one_and_a_trailing_slash_stays() {
        let map = map(MapKind::Paste, Release::HAVANA, &["/v2", ""]);
        assert_eq!(walk(&map, "///v2////a//"), found(0, "/v2", "/a/"));
        assert_eq!(walk(&map, "//"), found(1, "", "/"));
    }

    #[test]
    fn an_empty_path_fits_the_empty_entry_only() {
        assert_eq!(walk(&map(MapKind::Paste, Release::HAVANA, &["/v2"]), ""), None);
        assert_eq!(walk(&map(MapKind::Paste, Release::HAVANA, &["/v2", ""]), ""), found(1, "", ""));
    }

    #[test]
    fn nested_maps_add_to_the_script_name() {
        let outer = map(MapKind::Paste, Release::HAVANA, &["/compute"]);
        let inner = map(MapKind::Paste, Release::HAVANA, &["/v2"]);
        let mut case = Case::new("GET", "/compute/v2/x");
        assert_eq!(routed(&outer, &mut case), found(0, "/compute", "/v2/x"));
        assert_eq!(routed(&inner, &mut case), found(0, "/compute/v2", "/x"));
    }

    #[test]
    fn a_domain_may_name_a_port_and_the_schemes_own_is_implied() {
        let map = map(MapKind::Paste, Release::HAVANA, &["http://a.example:81", "http://a.example:80", "http://b", ""]);
        for (host, index) in [
            ("A.Example:81", 0),
            ("a.example", 1),
            ("a.example:82", 3),
            ("b", 2),
            ("B:9", 2),
            ("bb", 3),
            ("[::1]:81", 3),
        ] {
            let mut case = Case::new("GET", "/x").header("host", host);
            assert_eq!(routed(&map, &mut case), found(index, "", "/x"), "{host}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_moves_to_the_script_name_is_missing_from_the_path(path in "[/a2v.]{0,12}") {
            let map = map(MapKind::Nova, Release::HAVANA, &["/v2/a", "/v2", "/a", ""]);
            let short = collapse(path.as_bytes()).unwrap_or_else(|| path.clone().into_bytes());
            match walk(&map, &path) {
                Some((_, script_name, path_info)) => {
                    proptest::prop_assert_eq!((script_name + &path_info).into_bytes(), short);
                }
                None => proptest::prop_assert!(!short.starts_with(b"/") && !short.is_empty()),
            }
        }
    }

    #[test]
    fn plus_means_something_in_novas_map_since_ussuri_only() {
        let keys = ["/v2.1/+", "/v2.1", ""];
        let new = map(MapKind::Nova, Release::USSURI, &keys);
        assert_eq!(walk(&new, "/v2.1/servers"), found(0, "/v2.1", "/servers"));
        assert_eq!(walk(&new, "/v2.1/"), found(1, "/v2.1", "/"));
        assert_eq!(walk(&new, "/v2.1"), found(1, "/v2.1", ""));
        assert_eq!(walk(&new, "/v2.1//"), found(1, "/v2.1", "/"));
        let old = map(MapKind::Nova, Release::TRAIN, &keys);
        assert_eq!(walk(&old, "/v2.1/servers"), found(1, "/v2.1", "/servers"));
    }
}
