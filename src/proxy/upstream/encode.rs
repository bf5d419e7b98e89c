//! A request's head on its way to a worker.
//!
//! The client's framing ends here: the worker gets either a length or chunks, never both, whatever the client sent.
//! Must not know how the body is read.

use smallvec::SmallVec;

use http::{HeaderMap, HeaderName, Method, Uri, header};

use crate::filter::python::push_escaped;

/// How the body is framed for the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, and no header says so.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The Python host's: a length before each piece, and one of zero at the end.
    Frames,
}

impl Framing {
    /// The framing of a body of known or unknown length. Methods that define a body say `Content-Length: 0`.
    pub fn of(method: &Method, length: Option<u64>) -> Self {
        match length {
            Some(0) if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => Self::None,
            Some(n) => Self::Length(n),
            None => Self::Chunked,
        }
    }
}

/// Header fields that concern one connection only (RFC 9110 §7.6.1), or that the front makes itself.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::TRANSFER_ENCODING
            | header::CONTENT_LENGTH
            | header::UPGRADE
            | header::TE
            | header::TRAILER
            | header::EXPECT
            | header::PROXY_AUTHORIZATION
    ) || name.as_str() == "keep-alive"
        || name.as_str() == "proxy-connection"
        || name.as_str() == "http2-settings"
}

/// Writes the request line and the header lines of a request, without the empty line behind them.
pub fn head(out: &mut Vec<u8>, method: &Method, uri: &Uri, headers: &HeaderMap, framing: Framing, host: &str) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    let target = uri.path_and_query().map_or("/", |p| p.as_str());
    if !target.starts_with('/') && target != "*" {
        out.push(b'/');
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if !headers.contains_key(header::HOST) {
        line(out, "host", host.as_bytes());
    }
    for (name, value) in headers {
        if !is_hop_by_hop(name) {
            line(out, name.as_str(), value.as_bytes());
        }
    }
    match framing {
        Framing::None => {}
        Framing::Length(n) => {
            name(out, "content-length");
            decimal(out, n);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // No HTTP is spoken there.
        Framing::Frames => {}
    }
}

/// Writes a number; several times cheaper than the formatting machinery.
pub fn decimal(out: &mut Vec<u8>, mut n: u64) {
    let mut digits: SmallVec<[u8; 20]> = SmallVec::new();
    loop {
        digits.push(b'0' + (n % 10) as u8);
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend(digits.iter().rev());
}

/// Writes the beginning of a header line.
pub fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
}

/// Escapes what is not ASCII in the JSON text that stands from `begun` on: WSGI servers read header bytes as Latin-1.
pub fn escape_json(out: &mut Vec<u8>, begun: usize) {
    if out.get(begun..).is_none_or(<[u8]>::is_ascii) {
        return;
    }
    let text = out.split_off(begun);
    let mut escaped = String::with_capacity(2 * text.len());
    for c in String::from_utf8_lossy(&text).chars() {
        if c.is_ascii() { escaped.push(c) } else { push_escaped(&mut escaped, c) }
    }
    out.extend_from_slice(escaped.as_bytes());
}

/// The value must hold no line break; [`http::HeaderValue`]s never do.
fn line(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    name(out, key);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(method: Method, headers: &[(&'static str, &'static str)], framing: Framing) -> String {
        let map = headers
            .iter()
            .map(|(k, v)| (HeaderName::from_static(k), http::HeaderValue::from_static(v)))
            .collect::<HeaderMap>();
        let mut out = Vec::new();
        head(&mut out, &method, &Uri::from_static("/v2/a?b=c"), &map, framing, "h:1");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_client_s_framing_and_connection_fields_are_replaced() {
        let sent = encoded(
            Method::POST,
            &[
                ("host", "a"),
                ("transfer-encoding", "chunked"),
                ("content-length", "9"),
                ("keep-alive", "1"),
                ("te", "x"),
            ],
            Framing::Length(3),
        );
        assert_eq!(sent, "POST /v2/a?b=c HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n");
    }

    #[test]
    fn a_get_without_body_has_no_framing_and_a_missing_host_is_filled_in() {
        let framing = Framing::of(&Method::GET, Some(0));
        assert_eq!(encoded(Method::GET, &[], framing), "GET /v2/a?b=c HTTP/1.1\r\nhost: h:1\r\n");
        assert_eq!(Framing::of(&Method::POST, Some(0)), Framing::Length(0));
        assert_eq!(Framing::of(&Method::GET, None), Framing::Chunked);
    }

    #[test]
    fn json_in_a_header_is_ascii_and_says_the_same() {
        let mut out = b"x: {\"a\":1}\r\n".to_vec();
        let (before, begun) = (out.clone(), out.len());
        escape_json(&mut out, 0);
        assert_eq!(out, before);
        let told = serde_json::json!({"HTTP_X_USER_NAME": "Zo\u{eb} \u{1f600}"});
        out.extend_from_slice(told.to_string().as_bytes());
        escape_json(&mut out, begun);
        assert_eq!(&out[begun..], br#"{"HTTP_X_USER_NAME":"Zo\u00eb \ud83d\ude00"}"#);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&out[begun..]).expect("JSON"), told);
    }
}
