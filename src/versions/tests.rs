//! The documents against recordings of Nova 2013.2 and 31.0.0.

use super::*;

const HAVANA: &str = include_str!("../../integration/golden/havana/noauth.txt");
const NOVA_31: &str = include_str!("../../integration/golden/nova31/keystone-v3.txt");

/// One exchange of a recording.
struct Recorded<'a> {
    method: &'a str,
    path: &'a str,
    request: HeaderMap,
    status: u16,
    response: HeaderMap,
    body: &'a str,
}

fn headers(lines: std::str::Lines<'_>) -> HeaderMap {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.parse::<http::HeaderName>().ok()?, value.trim().parse::<http::HeaderValue>().ok()?))
    };
    lines.map_while(field).collect()
}

fn recorded<'a>(recording: &'a str, name: &str) -> Recorded<'a> {
    let start = recording.find(&format!("### {name} (port 8774)\n")).unwrap_or_else(|| panic!("{name} is recorded"));
    let (request, rest) = recording[start..].split_once("\n<<< \n").expect("a request and a response");
    let (_, request) = request.split_once(">>> \n").expect("a request");
    let (head, rest) = rest.split_once("\n\n").expect("a head and a body");
    let (mut request_lines, mut response_lines) = (request.lines(), head.lines());
    let mut words = request_lines.next().expect("a request line").split(' ');
    let status = response_lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let method = words.next().expect("a method");
    let response = headers(response_lines);
    let length: usize = response["content-length"].to_str().expect("text").parse().expect("a number");
    Recorded {
        method,
        path: words.next().expect("a target"),
        request: headers(request_lines),
        status: status.parse().expect("a number"),
        response,
        body: if method == "HEAD" { "" } else { &rest[..length] },
    }
}

fn edition(release: &str) -> Edition {
    let options = [("osapi_v3.enabled".to_owned(), "True".to_owned())];
    Edition::new(release.parse().expect("a release"), &options.into_iter().collect())
}

/// The request as Nova's urlmap hands it to the app: `best` is its choice, `script_name` the prefix that it matched.
fn asked<'a>(recorded: &'a Recorded<'_>, script_name: &'a str, best: &'a str) -> Asked<'a> {
    let path = recorded.path.split('?').next().unwrap_or_default();
    let path = path.strip_prefix(script_name).filter(|_| recorded.path != "/").unwrap_or(path);
    Asked {
        scheme: "http",
        host: recorded.request.get("host").map_or("127.0.0.1:8774", |host| host.to_str().expect("text")),
        script_name: script_name.as_bytes(),
        path_info: if path == "//" { b"/" } else { path.as_bytes() },
        best_content_type: Some(best),
        max: None,
    }
}

#[track_caller]
fn assert_same(name: &str, got: &Document<'_>, want: &Recorded<'_>) {
    assert_eq!(got.status.as_u16(), want.status, "{name}");
    assert_eq!(got.content_type, want.response["content-type"], "{name}");
    assert_eq!(got.body.len().to_string(), want.response["content-length"], "{name}");
    if want.method != "HEAD" {
        assert_eq!(got.body, want.body, "{name}");
    }
    let named = want.response.get(microversion::LEGACY_HEADER).map(|v| v.to_str().expect("text"));
    assert_eq!(got.microversion.as_deref(), named, "{name}");
}

#[test]
fn havanas_documents_are_those_that_nova_2013_2_sent() {
    const XML: &str = "application/xml";
    const ATOM: &str = "application/atom+xml";
    let edition = edition("2013.2");
    for (name, best) in [
        ("root", JSON),
        ("root double slash", JSON),
        ("root HEAD", JSON),
        ("root POST", JSON),
        ("root xml", XML),
        ("root atom", ATOM),
        ("root .xml", XML),
        ("root .json", JSON),
        ("root accept html", JSON),
        ("root accept star", JSON),
        ("root accept q", XML),
        ("root accept bad version", JSON),
        ("choices", JSON),
        ("choices xml", XML),
        ("choices atom", JSON),
        ("choices query", JSON),
        ("v1.0", JSON),
        ("v2.json", JSON),
        ("v2 prefix only match", JSON),
        ("no host header", JSON),
        ("http/1.0", JSON),
    ] {
        let want = recorded(HAVANA, name);
        assert_same(name, &document(&edition, &asked(&want, "", best)), &want);
    }
}

#[test]
fn todays_documents_are_those_that_nova_31_sent() {
    let edition = edition("31");
    for name in ["root", "root HEAD", "root xml", "root POST", "foo", "foo xml", "v2 noauth json sfx", "cors versions"]
    {
        let want = recorded(NOVA_31, name);
        assert_same(name, &document(&edition, &asked(&want, "", JSON)), &want);
    }
}

#[test]
fn forwarded_hosts_and_prefixes_appear_in_the_links() {
    let want = recorded(NOVA_31, "x-fwd versions");
    // What http_proxy_to_wsgi makes of the request's X-Forwarded-* headers.
    let asked = Asked { scheme: "https", host: "ex.com", script_name: b"/pfx", ..asked(&want, "", JSON) };
    assert_same("x-fwd versions", &document(&edition("31"), &asked), &want);
}

#[test]
fn a_versions_own_document_is_the_one_that_nova_31_sent() {
    let edition = edition("31");
    for (name, script_name) in [
        ("v2", "/v2"),
        ("v2/", "/v2"),
        ("v2.1", "/v2.1"),
        ("v2.1/", "/v2.1"),
        ("v2.1//", "/v2.1"),
        ("v2.1 microversion latest", "/v2.1"),
        ("v2.1 accept version", "/v2.1"),
    ] {
        let want = recorded(NOVA_31, name);
        let asked = asked(&want, script_name, JSON);
        assert_same(name, &own_document(&edition, &asked, script_name == "/v2", &want.request), &want);
    }
}

#[test]
fn a_microversion_that_is_not_there_is_a_fault_that_names_it() {
    let asked =
        Asked { scheme: "http", host: "h", script_name: b"/v2.1", path_info: b"", best_content_type: None, max: None };
    let answer = |version: &str| {
        let headers = [(microversion::LEGACY_HEADER, version.parse().expect("a value"))].into_iter().collect();
        own_document(&edition("31"), &asked, false, &headers)
    };
    let unsupported = answer("2.500");
    assert_eq!(unsupported.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(unsupported.microversion.as_deref(), Some("2.500"));
    assert_eq!(
        unsupported.body,
        r#"{"computeFault": {"code": 406, "message": "Version 2.500 is not supported by the API. Minimum is 2.1 and maximum is 2.100."}}"#
    );
    let malformed = answer("\"2\"");
    assert_eq!((malformed.status, malformed.microversion), (StatusCode::BAD_REQUEST, None));
    assert_eq!(
        malformed.body,
        r#"{"badRequest": {"code": 400, "message": "API Version String \"2\" is of invalid format. Must be of format MajorNum.MinorNum."}}"#
    );
}

#[test]
fn releases_on_python_2_write_keys_in_the_order_of_its_dicts() {
    let asked =
        Asked { scheme: "http", host: "h", script_name: b"", path_info: b"/", best_content_type: None, max: None };
    let body = document(&edition("newton"), &asked).body;
    let second = concat!(
        r#"{"status": "CURRENT", "updated": "2013-07-23T11:33:21Z", "links": [{"href": "http://h/v2.1/", "rel": "self"}], "#,
        r#""min_version": "2.1", "version": "2.38", "id": "v2.1"}]}"#
    );
    assert!(body.ends_with(second), "{body}");
}

#[test]
fn paths_are_quoted_and_escaped_for_the_format_that_they_stand_in() {
    let asked = |best| Asked {
        scheme: "http",
        host: "h",
        script_name: b"",
        path_info: b"/a b\"&<~\xff/",
        best_content_type: Some(best),
        max: None,
    };
    let havana = edition("havana");
    assert!(document(&havana, &asked(JSON)).body.contains("http://h/v2/a%20b%22&%3C%7E%FF\""));
    assert!(document(&havana, &asked("application/xml")).body.contains("http://h/v2/a%20b%22&amp;%3C%7E%FF\""));
    assert!(document(&edition("31"), &asked(JSON)).body.contains("http://h/v2.1/a%20b%22&%3C~%FF\""));
    assert_eq!(json::escape("\"\\\u{e9}\u{1f600}\n"), r#"\"\\\u00e9\ud83d\ude00\u000a"#);
}
