//! The head of a worker's response.
//!
//! What could be read in two ways is refused: a desynchronised connection would answer the wrong client.
//! Must not know how the body is read.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::ext::ReasonPhrase;
use smallvec::SmallVec;

use super::UpstreamError;

/// More header lines than this are refused.
const MAX_HEADERS: usize = 128;

/// Room for what filters add: a map that grows is hashed anew.
const FILTERS: usize = 4;

/// How the body of a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// After so many bytes.
    Known(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
    /// There is none: the connection speaks another protocol from here on.
    Tunnel,
    /// With the end frame of the Python host, after so many bytes if the head says so.
    Framed(Option<u64>),
}

/// A response head, understood.
pub struct Head {
    /// Status, headers without those of the connection, and the reason where it is not the usual one.
    pub response: http::Response<()>,
    /// How its body ends.
    pub length: Length,
    /// Whether the worker keeps the connection open.
    pub keep_alive: bool,
}

/// What the bytes so far amount to.
pub enum Decoded {
    /// Not a whole head yet.
    Partial,
    /// A 1xx head of that many bytes: skip it.
    Informational(usize),
    /// A head of that many bytes.
    Head(Box<Head>, usize),
}

/// Reads a response head from the start of `input`; `method` is that of the request.
///
/// # Errors
/// [`UpstreamError::Invalid`].
pub fn head(input: &Bytes, method: &Method) -> Result<Decoded, UpstreamError> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let size =
        match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, input, &mut lines) {
            Ok(httparse::Status::Complete(size)) => size,
            Ok(httparse::Status::Partial) => return Ok(Decoded::Partial),
            Err(httparse::Error::TooManyHeaders) => return Err(UpstreamError::Invalid("too many header lines")),
            Err(_) => return Err(UpstreamError::Invalid("not an HTTP/1.1 response head")),
        };
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(UpstreamError::Invalid("no valid status code"))?;
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    if status.is_informational() && !switches {
        return Ok(Decoded::Informational(size));
    }

    let mut keep_alive = parsed.version == Some(1);
    let mut length = None;
    let mut chunked = false;
    let mut nominated: SmallVec<[HeaderName; 2]> = SmallVec::new();
    let mut headers = HeaderMap::with_capacity(parsed.headers.len() + FILTERS);
    for line in parsed.headers.iter() {
        let name =
            HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| UpstreamError::Invalid("bad header name"))?;
        let text = line.value;
        match name {
            header::CONTENT_LENGTH => {
                let n = decimal(text).ok_or(UpstreamError::Invalid("bad Content-Length"))?;
                if length.replace(n).is_some_and(|before| before != n) {
                    return Err(UpstreamError::Invalid("two different Content-Length"));
                }
                if headers.contains_key(header::CONTENT_LENGTH) {
                    continue;
                }
            }
            header::TRANSFER_ENCODING => {
                if !text.eq_ignore_ascii_case(b"chunked") || chunked {
                    return Err(UpstreamError::Invalid("a Transfer-Encoding other than chunked"));
                }
                chunked = true;
                continue;
            }
            header::CONNECTION => {
                for token in text.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                    if token.eq_ignore_ascii_case(b"close") {
                        keep_alive = false;
                    } else if token.eq_ignore_ascii_case(b"keep-alive") {
                        keep_alive = true;
                    } else if let Ok(name) = HeaderName::from_bytes(token) {
                        nominated.push(name);
                    }
                }
                continue;
            }
            header::UPGRADE if switches => {}
            header::UPGRADE | header::TRAILER | header::TE => continue,
            _ if name.as_str() == "keep-alive" || name.as_str() == "proxy-connection" => continue,
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(input.slice_ref(text))
            .map_err(|_| UpstreamError::Invalid("bad header value"))?;
        headers.append(name, value);
    }
    if chunked && length.is_some() {
        return Err(UpstreamError::Invalid("both Content-Length and Transfer-Encoding"));
    }
    let own = |name: &HeaderName| *name == header::CONTENT_LENGTH || (switches && *name == header::UPGRADE);
    for name in nominated.iter().filter(|name| !own(name)) {
        headers.remove(name);
    }

    let bodiless = *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = match (bodiless, chunked, length) {
        _ if switches => Length::Tunnel,
        (true, ..) => Length::Known(0),
        (_, true, _) => Length::Chunked,
        (_, _, Some(n)) => Length::Known(n),
        _ => Length::UntilClose,
    };
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(reason) = parsed.reason.filter(|r| Some(*r) != status.canonical_reason())
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    Ok(Decoded::Head(Box::new(Head { response, length, keep_alive: keep_alive && length != Length::UntilClose }), size))
}

/// Digits only: no sign, no blanks inside, no list.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &'static str, method: Method) -> Result<Decoded, UpstreamError> {
        head(&Bytes::from_static(text.as_bytes()), &method)
    }

    fn whole(text: &'static str) -> Head {
        match decoded(text, Method::GET) {
            Ok(Decoded::Head(head, _)) => *head,
            _ => panic!("no head in {text:?}"),
        }
    }

    #[test]
    fn fields_of_the_connection_stay_on_it() {
        let head = whole("HTTP/1.1 200 OK\r\nConnection: x-a, close\r\nX-A: 1\r\nX-B: 2\r\nContent-Length: 3\r\n\r\n");
        assert!(!head.keep_alive);
        assert_eq!(head.length, Length::Known(3));
        let mut names: Vec<_> = head.response.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "x-b"]);
    }

    #[test]
    fn an_unusual_reason_survives() {
        let head = whole("HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\n\r\n");
        let reason = head.response.extensions().get::<ReasonPhrase>().map(|r| r.as_bytes().to_vec());
        assert_eq!(reason.as_deref(), Some(b"Request Entity Too Large".as_slice()));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "garbage\r\n\r\n",
        ] {
            assert!(decoded(text, Method::GET).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_head_request_and_a_304_have_no_body_whatever_their_length_says() {
        for (text, method) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n", Method::HEAD),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 300\r\n\r\n", Method::GET),
        ] {
            let Ok(Decoded::Head(head, _)) = decoded(text, method) else { panic!("no head") };
            assert_eq!(head.length, Length::Known(0));
            assert_eq!(head.response.headers()[header::CONTENT_LENGTH], "300");
        }
    }

    #[test]
    fn another_protocol_begins_behind_its_head() {
        let head = whole("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!((head.length, head.keep_alive), (Length::Tunnel, true));
        assert_eq!(head.response.headers().len(), 1);
        assert_eq!(head.response.headers()[header::UPGRADE], "echo");
    }

    #[test]
    fn informational_heads_are_told_apart() {
        assert!(matches!(decoded("HTTP/1.1 100 Continue\r\n\r\nHTTP", Method::GET), Ok(Decoded::Informational(25))));
        assert!(matches!(decoded("HTTP/1.1 200 O", Method::GET), Ok(Decoded::Partial)));
    }
}
