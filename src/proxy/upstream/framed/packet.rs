//! A request as the Python host reads it: the WSGI environ (PEP 3333), almost as the app will see it.
//!
//! Must not know how the body is sent.

use http::{Version, header};
use serde_json::Value;

use crate::filter::{Context, EnvironRef, RemoteAddr, Request};
use crate::proxy::upstream::encode::{Framing, decimal};

/// Bytes of a packet before its text.
const FIXED: usize = 28;
/// The body follows in frames.
const BODY_FOLLOWS: u16 = 1;
/// No other worker serves the API.
const ALONE: u16 = 2;

/// What a validated token says, as JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenJson<'a> {
    /// `keystone.token_info`.
    pub info: &'a [u8],
    /// The same of the service token.
    pub service: &'a [u8],
}

/// A request on its way to a mount.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Index of the mount in the manifest.
    pub mount: u32,
    /// The request's surroundings.
    pub cx: &'a Context,
    /// Its message.
    pub request: &'a Request,
    /// How its body would be framed in HTTP.
    pub framing: Framing,
    /// The API has one worker (`wsgi.multiprocess`).
    pub alone: bool,
    /// `name:port` of the listener.
    pub host: &'a str,
    /// For requests with a validated token.
    pub token: TokenJson<'a>,
}

/// Writes the packet of a request; returns how the body is to be sent behind it.
///
/// Values of `environ` come after the headers and win over them. A header that came several times is one value, joined
/// by commas, as eventlet and gunicorn do it.
pub fn write(out: &mut Vec<u8>, call: &Call<'_>) -> Framing {
    let Call { mount, cx, framing, alone, token, .. } = *call;
    let begin = out.len();
    out.resize(begin + FIXED, 0);
    let mut text = Text { out, pairs: 0 };

    let mut nones = 0_u16;
    for (key, _) in cx.values().filter(|(_, value)| matches!(value, EnvironRef::Value(Value::Null))) {
        nones = nones.saturating_add(1);
        text.put(key.as_bytes());
        text.end();
    }
    message(&mut text, call);
    for (key, value) in cx.values() {
        match value {
            EnvironRef::Value(Value::Null) => {}
            EnvironRef::Value(Value::String(value)) if value.is_ascii() => text.pair(key, value.as_bytes()),
            _ => {}
        }
    }
    let pairs = text.pairs;
    out.extend_from_slice(&cx.script_name);
    out.extend_from_slice(&cx.path_info);
    let text_end = out.len();
    others(out, cx);
    let extra_end = out.len();
    out.extend_from_slice(token.info);
    out.extend_from_slice(token.service);

    let has_body = !matches!(framing, Framing::None | Framing::Length(0));
    let short = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    let flags = if has_body { BODY_FOLLOWS } else { 0 } | if alone { ALONE } else { 0 };
    let shorts = [short(mount), flags, nones, pairs];
    let longs =
        [cx.script_name.len(), text_end - begin - FIXED, extra_end - text_end, token.info.len(), token.service.len()];
    let fixed = shorts.into_iter().flat_map(u16::to_be_bytes);
    let fixed = fixed.chain(longs.into_iter().flat_map(|n| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()));
    out.iter_mut().skip(begin).zip(fixed).for_each(|(place, byte)| *place = byte);
    if has_body { Framing::Frames } else { Framing::None }
}

/// A JSON object of the values that are no text, or none of a header's: other texts are Python's own strings, not bytes
/// in disguise. Of equal keys Python takes the last.
fn others(out: &mut Vec<u8>, cx: &Context) {
    let mut before = b'{';
    for (key, value) in cx.values() {
        match value {
            EnvironRef::Value(Value::Null) => continue,
            EnvironRef::Value(Value::String(value)) if value.is_ascii() => continue,
            _ => {}
        }
        out.push(std::mem::replace(&mut before, b','));
        // Serialising a string to a Vec cannot fail.
        drop(serde_json::to_writer(&mut *out, key));
        out.push(b':');
        value.write(out);
    }
    if before == b',' {
        out.push(b'}');
    }
}

/// What comes from the HTTP message and its connection.
fn message(text: &mut Text<'_>, call: &Call<'_>) {
    let Call { cx, request, framing, host, .. } = *call;
    text.pair("REQUEST_METHOD", request.method().as_str().as_bytes());
    text.pair("QUERY_STRING", request.uri().query().unwrap_or_default().as_bytes());
    text.pair("SERVER_PROTOCOL", if request.version() == Version::HTTP_10 { b"HTTP/1.0" } else { b"HTTP/1.1" });
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "80"));
    text.pair("SERVER_NAME", name.as_bytes());
    text.pair("SERVER_PORT", port.as_bytes());
    let address = match &cx.remote_addr {
        RemoteAddr::Peer(_) => &*cx.peer_text,
        RemoteAddr::Said(said) => said,
    };
    text.pair("REMOTE_ADDR", address.as_bytes());
    text.pair("wsgi.url_scheme", cx.scheme.as_str().as_bytes());
    if let Some(mime) = cx.best_content_type {
        text.pair("nova.best_content_type", mime.as_bytes());
    }
    if let Framing::Length(n) = framing {
        text.key("CONTENT_LENGTH");
        decimal(text.out, n);
        text.end();
    }
    // Values of one name come one after the other.
    let mut last = None;
    for (name, value) in request.headers() {
        match *name {
            header::CONTENT_LENGTH => continue,
            // The body has a length by now.
            header::TRANSFER_ENCODING if framing != Framing::Chunked => continue,
            _ if last == Some(name) => {
                text.reopen();
                text.put(b",");
            }
            header::CONTENT_TYPE => text.key("CONTENT_TYPE"),
            _ => text.header(name.as_str()),
        }
        text.put(value.as_bytes());
        text.end();
        last = Some(name);
    }
    for fields in cx.told() {
        let count = u16::try_from(fields.fields().len()).unwrap_or(u16::MAX);
        text.pairs = text.pairs.saturating_add(count);
        text.out.extend_from_slice(fields.pairs());
    }
}

/// The text part on its way out.
struct Text<'a> {
    out: &'a mut Vec<u8>,
    pairs: u16,
}

impl Text<'_> {
    fn pair(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.put(value);
        self.end();
    }

    fn key(&mut self, key: &str) {
        self.pairs = self.pairs.saturating_add(1);
        self.put(key.as_bytes());
        self.end();
    }

    /// The key of a header: `HTTP_` and its name as CGI writes it.
    fn header(&mut self, name: &str) {
        self.pairs = self.pairs.saturating_add(1);
        self.out.extend_from_slice(b"HTTP_");
        self.out.extend(name.bytes().map(|byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }));
        self.end();
    }

    /// No value holds a NUL by itself; one that did would be taken for two.
    fn put(&mut self, value: &[u8]) {
        if value.contains(&0) {
            self.out.extend(value.iter().filter(|byte| **byte != 0));
        } else {
            self.out.extend_from_slice(value);
        }
    }

    fn end(&mut self) {
        self.out.push(0);
    }

    /// Goes on with the value that was ended last.
    fn reopen(&mut self) {
        self.out.pop();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use http::Method;
    use serde_json::json;
    use smallvec::SmallVec;

    use super::*;
    use crate::filter::harness::Case;
    use crate::filter::{Body, Prepared, Scheme, TokenFacts};

    fn written(request: &Request, cx: &Context, framing: Framing) -> Vec<u8> {
        let token = TokenJson { info: b"{\"token\":1}", service: b"{}" };
        let mut out = Vec::new();
        write(&mut out, &Call { mount: 7, cx, request, framing, alone: false, host: "0.0.0.0:8774", token });
        out
    }

    /// Reads a packet as the host does.
    fn read(packet: &[u8]) -> (Vec<u16>, BTreeMap<String, Option<String>>, String, Value, String) {
        let shorts: Vec<u16> = packet[..8].chunks(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
        let longs: Vec<usize> =
            packet[8..28].chunks(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
        let latin: String = packet[28..28 + longs[1]].iter().map(|b| char::from(*b)).collect();
        let (nones, pairs) = (usize::from(shorts[2]), usize::from(shorts[3]));
        let mut parts = latin.splitn(nones + 2 * pairs + 1, '\0').map(str::to_owned);
        let mut environ = BTreeMap::new();
        for _ in 0..nones {
            environ.insert(parts.next().expect("a key"), None);
        }
        for _ in 0..pairs {
            environ.insert(parts.next().expect("a key"), Some(parts.next().expect("a value")));
        }
        let path = parts.next().expect("a path");
        let rest = &packet[28 + longs[1]..];
        let extra = serde_json::from_slice(&rest[..longs[2]]).unwrap_or_default();
        let tokens = String::from_utf8(rest[longs[2]..].to_vec()).expect("text");
        assert_eq!(tokens.len(), longs[3] + longs[4]);
        environ.insert("SCRIPT_NAME".into(), Some(path[..longs[0]].to_owned()));
        (shorts, environ, path[longs[0]..].to_owned(), extra, tokens)
    }

    fn request(headers: &[(&str, &[u8])]) -> Request {
        let mut request = http::Request::builder().method(Method::POST).uri("/v2.1/a%00?b=%20c");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::Empty).expect("valid")
    }

    #[test]
    fn a_request_becomes_the_environ_of_the_app() {
        let mut cx = Case::new("POST", "/").cx;
        cx.script_name = b"/v2.1".to_vec();
        cx.path_info = b"/a\0\xe4".to_vec();
        cx.scheme = Scheme::Https;
        cx.remote_addr = RemoteAddr::Said("1.1.1.1, 2.2.2.2".into());
        let request = request(&[
            ("host", b"h:8774"),
            ("content-type", b"application/json"),
            ("content-length", b"99"),
            ("transfer-encoding", b"chunked"),
            ("x-auth-token", b"t"),
            ("accept", b"a"),
            ("accept", b"b"),
            ("x-name", b"\xe4"),
        ]);
        let environ = [("HTTP_X_DOMAIN_ID", Value::Null), ("HTTP_X_USER_NAME", json!("\u{17c}"))];
        let role = (http::HeaderName::from_static("x-role"), http::HeaderValue::from_static("member"));
        let headers = Arc::new(Prepared::new(vec![role]));
        cx.token = Some(TokenFacts {
            environ: Arc::new(environ),
            headers: SmallVec::from_elem(headers, 1),
            info: None,
            service_info: None,
        });
        cx.set("openstack.request_id", "req-1");
        cx.set_json("openstack.legacy_v2", "true");
        let (shorts, told, path, extra, tokens) = read(&written(&request, &cx, Framing::Length(3)));
        assert_eq!((shorts[0], shorts[1], shorts[2]), (7, 1, 1));
        let said = |key: &str| told.get(key).cloned().flatten().unwrap_or_default();
        assert_eq!(path, "/a\0\u{e4}");
        for (key, value) in [
            ("SCRIPT_NAME", "/v2.1"),
            ("QUERY_STRING", "b=%20c"),
            ("REQUEST_METHOD", "POST"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SERVER_NAME", "0.0.0.0"),
            ("SERVER_PORT", "8774"),
            ("REMOTE_ADDR", "1.1.1.1, 2.2.2.2"),
            ("wsgi.url_scheme", "https"),
            ("CONTENT_TYPE", "application/json"),
            ("CONTENT_LENGTH", "3"),
            ("HTTP_HOST", "h:8774"),
            ("HTTP_ACCEPT", "a,b"),
            ("HTTP_X_AUTH_TOKEN", "t"),
            ("HTTP_X_NAME", "\u{e4}"),
            ("openstack.request_id", "req-1"),
            ("HTTP_X_ROLE", "member"),
        ] {
            assert_eq!(said(key), value, "{key}");
        }
        assert_eq!(told.get("HTTP_X_DOMAIN_ID"), Some(&None));
        for absent in ["HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"] {
            assert_eq!(told.get(absent), None, "{absent}");
        }
        assert_eq!(extra, json!({"HTTP_X_USER_NAME": "\u{17c}", "openstack.legacy_v2": true}));
        assert_eq!(tokens, "{\"token\":1}{}");
    }

    #[test]
    fn the_only_worker_is_told_that_it_is() {
        let (cx, request) = (Case::new("POST", "/").cx, request(&[]));
        for (alone, framing, flags) in
            [(true, Framing::None, 2), (true, Framing::Chunked, 3), (false, Framing::None, 0)]
        {
            let mut out = Vec::new();
            let token = TokenJson::default();
            write(&mut out, &Call { mount: 0, cx: &cx, request: &request, framing, alone, host: "h:1", token });
            assert_eq!(read(&out).0[1], flags);
        }
    }

    #[test]
    fn a_body_without_a_length_says_so_and_no_body_has_no_frames() {
        let cx = Case::new("POST", "/").cx;
        let request = request(&[("transfer-encoding", b"chunked")]);
        let (shorts, told, ..) = read(&written(&request, &cx, Framing::Chunked));
        assert_eq!(shorts[1], 1);
        assert_eq!(told.get("HTTP_TRANSFER_ENCODING"), Some(&Some("chunked".into())));
        assert_eq!(told.get("CONTENT_LENGTH"), None);

        for (framing, length) in [(Framing::None, None), (Framing::Length(0), Some(Some("0".into())))] {
            let (shorts, told, ..) = read(&written(&request, &cx, framing));
            assert_eq!(shorts[1], 0);
            assert_eq!(told.get("CONTENT_LENGTH"), length.as_ref());
        }
    }

    #[test]
    fn nothing_but_the_path_can_hold_what_ends_a_value() {
        let mut cx = Case::new("POST", "/").cx;
        cx.set("a.b", "x\0HTTP_X_ROLES\0y");
        cx.remote_addr = RemoteAddr::Said("1\0HTTP_X_ROLES\0admin".into());
        let (_, told, ..) = read(&written(&request(&[]), &cx, Framing::None));
        assert_eq!(told.get("HTTP_X_ROLES"), None);
        assert_eq!(told.get("REMOTE_ADDR"), Some(&Some("1HTTP_X_ROLESadmin".into())));
        assert_eq!(told.get("a.b"), Some(&Some("xHTTP_X_ROLESy".into())));
    }
}
