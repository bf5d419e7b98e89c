//! A request as uWSGI reads it in its own protocol: CGI's variables, in one [`Packet`].
//!
//! A program of `worker_command` serves the whole API, as over HTTP: SCRIPT_NAME is empty and PATH_INFO the whole path. Of
//! what filters have put into the environ, texts become variables; what is no text has no form here.
//! Must not know how the body is sent, or how connections are kept.

use std::borrow::Cow;

use http::{HeaderName, Version, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::UpstreamError;
use super::encode::Framing;
use crate::filter::{Context, EnvironRef, RemoteAddr, Request, Scheme};
use crate::worker::uwsgi::{LIMIT, Packet};

/// A client could set the proxy of programs by it (`HTTP_PROXY`).
const PROXY: HeaderName = HeaderName::from_static("proxy");

/// Writes the packet of a request with a body of known length; `host` is `name:port` of the listener.
///
/// # Errors
/// [`UpstreamError::TooLarge`].
pub fn write(
    out: &mut Vec<u8>,
    cx: &Context,
    request: &Request,
    framing: Framing,
    host: &str,
) -> Result<(), UpstreamError> {
    let mut packet = Packet::begin(out);
    let uri = request.uri();
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let address = match &cx.remote_addr {
        RemoteAddr::Peer(_) => &*cx.peer_text,
        RemoteAddr::Said(said) => said,
    };
    let version = if request.version() == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let path: Cow<'_, [u8]> = percent_decode_str(uri.path()).into();
    for (key, value) in [
        ("REQUEST_METHOD", request.method().as_str().as_bytes()),
        ("REQUEST_URI", uri.path_and_query().map_or("/", |target| target.as_str()).as_bytes()),
        ("SCRIPT_NAME", b""),
        ("PATH_INFO", &path),
        ("QUERY_STRING", uri.query().unwrap_or_default().as_bytes()),
        ("SERVER_PROTOCOL", version.as_bytes()),
        ("SERVER_NAME", name.as_bytes()),
        ("SERVER_PORT", port.as_bytes()),
        ("REMOTE_ADDR", address.as_bytes()),
        ("REQUEST_SCHEME", cx.scheme.as_str().as_bytes()),
        ("UWSGI_SCHEME", cx.scheme.as_str().as_bytes()),
    ] {
        packet.put(key.as_bytes(), value);
    }
    if cx.scheme != Scheme::Http {
        packet.put(b"HTTPS", b"on");
    }
    if let Framing::Length(n) = framing {
        packet.put(b"CONTENT_LENGTH", n.to_string().as_bytes());
    }
    if !request.headers().contains_key(header::HOST) {
        packet.put(b"HTTP_HOST", host.as_bytes());
    }
    for name in request.headers().keys() {
        if matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::EXPECT) || *name == PROXY {
            continue;
        }
        let values: Vec<&[u8]> = request.headers().get_all(name).iter().map(|value| value.as_bytes()).collect();
        match *name {
            header::CONTENT_TYPE => packet.put(b"CONTENT_TYPE", &values.join(&b","[..])),
            _ => packet.put(&variable(name), &values.join(&b","[..])),
        }
    }
    for (name, value) in cx.told().flat_map(|fields| fields.fields()) {
        packet.put(&variable(name), value.as_bytes());
    }
    // Later variables win: those of filters over those of clients.
    for (key, value) in cx.values() {
        if let EnvironRef::Value(Value::String(text)) = value {
            packet.put(key.as_bytes(), text.as_bytes());
        }
    }
    packet.end().map_err(|_| UpstreamError::TooLarge(LIMIT))
}

/// `HTTP_` and the header's name as CGI writes it.
fn variable(name: &HeaderName) -> Vec<u8> {
    let name = name.as_str().bytes().map(|byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() });
    b"HTTP_".iter().copied().chain(name).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use http::HeaderValue;
    use serde_json::json;
    use smallvec::SmallVec;

    use super::*;
    use crate::filter::harness::Case;
    use crate::filter::{Body, Prepared, TokenFacts};

    fn request(path: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = http::Request::builder().method("POST").uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::Empty).expect("a request")
    }

    fn told(request: &Request, environ: &[(&'static str, Value)]) -> BTreeMap<String, String> {
        let mut cx = Case::new("POST", "/").cx;
        environ.iter().for_each(|(key, value)| cx.set(key, value.clone()));
        let mut out = Vec::new();
        write(&mut out, &cx, request, Framing::Length(3), "h:8774").expect("small");
        let mut rest = &out[4..];
        let mut part = || {
            let length = usize::from(u16::from_le_bytes([*rest.first()?, *rest.get(1)?]));
            let text = String::from_utf8_lossy(&rest[2..2 + length]).into_owned();
            rest = &rest[2 + length..];
            Some(text)
        };
        let mut told = BTreeMap::new();
        while let Some(key) = part() {
            told.insert(key, part().expect("a value"));
        }
        told
    }

    #[test]
    fn the_app_sees_what_it_would_see_over_http() {
        let sent = request(
            "/v2.1/a%20b?c=%20d",
            &[("host", "api"), ("content-type", "x/y"), ("x-a", "1"), ("x-a", "2"), ("proxy", "evil"), ("te", "x")],
        );
        let told = told(&sent, &[]);
        for (key, value) in [
            ("SCRIPT_NAME", ""),
            ("PATH_INFO", "/v2.1/a b"),
            ("REQUEST_URI", "/v2.1/a%20b?c=%20d"),
            ("QUERY_STRING", "c=%20d"),
            ("CONTENT_LENGTH", "3"),
            ("CONTENT_TYPE", "x/y"),
            ("HTTP_HOST", "api"),
            ("HTTP_X_A", "1,2"),
            ("SERVER_NAME", "h"),
            ("SERVER_PORT", "8774"),
            ("UWSGI_SCHEME", "http"),
        ] {
            assert_eq!(told.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert!(!told.contains_key("HTTP_PROXY") && !told.contains_key("HTTP_CONTENT_TYPE"));
    }

    #[test]
    fn texts_of_filters_win_and_other_values_stay_behind() {
        let sent = request("/", &[("x-user-id", "spoofed")]);
        let told = told(&sent, &[("HTTP_X_USER_ID", json!("u")), ("a.none", json!(null)), ("a.map", json!({"k": 1}))]);
        assert_eq!(told.get("HTTP_X_USER_ID").map(String::as_str), Some("u"));
        assert!(!told.contains_key("a.none") && !told.contains_key("a.map"));
    }

    #[test]
    fn who_the_front_has_let_in_is_told_too() {
        let mut cx = Case::new("GET", "/").cx;
        let field = (HeaderName::from_static("x-user-id"), HeaderValue::from_static("u1"));
        let headers = SmallVec::from_elem(Arc::new(Prepared::new(vec![field])), 1);
        cx.token = Some(TokenFacts { headers, ..TokenFacts::default() });
        let mut out = Vec::new();
        write(&mut out, &cx, &request("/", &[]), Framing::None, "h:1").expect("small");
        assert!(String::from_utf8_lossy(&out).contains("HTTP_X_USER_ID\x02\0u1"));
    }

    #[test]
    fn a_request_that_no_packet_can_tell_is_an_error_of_its_own() {
        let sent = request("/", &[("x-large", &"l".repeat(70_000))]);
        let cx = Case::new("POST", "/").cx;
        let mut out = Vec::new();
        let refused = write(&mut out, &cx, &sent, Framing::None, "h:1");
        assert!(matches!(refused, Err(UpstreamError::TooLarge(65_535))));
        assert!(out.is_empty());
    }
}
