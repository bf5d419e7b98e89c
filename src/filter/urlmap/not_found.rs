//! Paste's own 404, byte for byte: Paste 1.7 with Python 2, Paste 3 with Python 3.
//!
//! Must not know why nothing was found.

use http::StatusCode;
use http::header::{ACCEPT, HOST};

use super::{MapKey, UrlMap};
use crate::config::paste::Dialect;
use crate::filter::python::{html_escape, is_python3, tag_escape};
use crate::filter::reply::reply;
use crate::filter::{Context, Request, Response, headers};

const SENTENCE: &str = "The resource could not be found.";

/// The page for a request that no entry took. HTML only if `Accept` says so in as many words.
pub(super) fn page(map: &UrlMap, cx: &Context, request: &Request) -> Response {
    let path = String::from_utf8_lossy(&cx.path_info);
    let accept = headers::joined(request.headers(), &ACCEPT).unwrap_or_default();
    if !accept.contains("html") && !accept.contains("*/*") {
        let body = format!("404 Not Found\r\n{SENTENCE}\r\n{path}\r\n\r\n");
        return reply(request, StatusCode::NOT_FOUND, "text/plain; charset=utf8", body);
    }
    let python3 = is_python3(map.release);
    let body = format!(
        "<html>\r\n  <head><title>Not Found</title></head>\r\n  <body>\r\n    <h1>Not Found</h1>\r\n    \
         <p>{SENTENCE}\r\n<br/>{}\r\n<!-- {} --></p>\r\n    <hr noshade>\r\n    \
         <div align=\"right\">WSGI Server</div>\r\n  </body>\r\n</html>\r\n",
        html_escape(&path, python3),
        comment(map, cx, request, &path, python3),
    );
    let content_type = if python3 { "text/html; charset=utf8" } else { "text/html" };
    reply(request, StatusCode::NOT_FOUND, content_type, body)
}

/// The comment that lists the map. Paste 3 escapes the request's own texts in it twice.
fn comment(map: &UrlMap, cx: &Context, request: &Request, path: &str, python3: bool) -> String {
    let names = if python3 { Dialect::Py3 } else { Dialect::Py2 };
    let value = |text: &str| if python3 { names.repr(&html_escape(text, true)) } else { names.repr(text) };
    let apps: Vec<_> = map.entries.iter().map(|entry| app(entry, names)).collect();
    let script_name = String::from_utf8_lossy(&cx.script_name);
    let host = request.headers().get(HOST).map(|h| String::from_utf8_lossy(h.as_bytes())).unwrap_or_default();
    let text = format!(
        "defined apps: {}\nSCRIPT_NAME: {}\nPATH_INFO: {}\nHTTP_HOST: {}",
        apps.join(",\n  "),
        value(&script_name),
        value(path),
        value(&host),
    );
    if python3 { html_escape(&text, true) } else { tag_escape(&text) }
}

/// An entry as Python shows the pair of its domain and path.
fn app(entry: &MapKey, names: Dialect) -> String {
    let domain = entry.domain.as_deref().map_or_else(|| "None".to_owned(), |domain| names.repr(domain));
    let path = format!("{}{}", entry.path, if entry.plus { "/+" } else { "" });
    format!("({domain}, {})", names.repr(&path))
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

    use super::super::tests::map;
    use super::super::{MapKind, Route};
    use super::*;
    use crate::filter::harness::{Case, text};
    use crate::release::Release;

    fn answer(release: Release, case: &mut Case) -> Response {
        match map(MapKind::Paste, release, &["/services/Cloud"]).route(&mut case.cx, &case.request) {
            Route::Reply(response) => response,
            _ => panic!("an entry took it"),
        }
    }

    #[test]
    fn the_plain_page_has_the_recorded_bytes() {
        let response = answer(Release::HAVANA, &mut Case::new("GET", "/"));
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf8");
        assert_eq!(response.headers()[CONTENT_LENGTH], "54");
        assert_eq!(text(response), "404 Not Found\r\nThe resource could not be found.\r\n/\r\n\r\n");
    }

    #[test]
    fn the_html_page_has_the_recorded_bytes() {
        let mut case = Case::new("GET", "/").header("host", "127.0.0.1:8773").header("accept", "text/html");
        let response = answer(Release::HAVANA, &mut case);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html");
        assert_eq!(response.headers()[CONTENT_LENGTH], "325");
        assert_eq!(
            text(response),
            "<html>\r\n  <head><title>Not Found</title></head>\r\n  <body>\r\n    <h1>Not Found</h1>\r\n    \
             <p>The resource could not be found.\r\n<br/>/\r\n<!-- defined apps: (None, '/services/Cloud')\n\
             SCRIPT_NAME: ''\nPATH_INFO: '/'\nHTTP_HOST: '127.0.0.1:8773' --></p>\r\n    <hr noshade>\r\n    \
             <div align=\"right\">WSGI Server</div>\r\n  </body>\r\n</html>\r\n"
        );
    }

    #[test]
    fn paste_three_escapes_the_path_twice_in_the_comment() {
        let mut case = Case::new("GET", "/<x>").header("accept", "*/*");
        let response = answer(Release::NEWEST, &mut case);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf8");
        let page = text(response);
        assert!(page.contains("<br/>/&lt;x&gt;\r\n"), "{page}");
        assert!(page.contains("defined apps: (None, &#x27;/services/Cloud&#x27;)\n"), "{page}");
        assert!(page.contains("PATH_INFO: &#x27;/&amp;lt;x&amp;gt;&#x27;\n"), "{page}");
    }

    #[test]
    fn a_map_with_a_not_found_app_leaves_the_answer_to_it() {
        let map = UrlMap::new(MapKind::Paste, Release::HAVANA, Vec::new(), true);
        let mut case = Case::new("GET", "/");
        assert!(matches!(map.route(&mut case.cx, &case.request), Route::NotFoundApp));
    }
}
