//! The frames of the Python host's response: kind u8, length u32, bytes.
//!
//! Must not know where the bytes come from.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::ext::ReasonPhrase;

use crate::proxy::upstream::UpstreamError;
use crate::proxy::upstream::decode::{Decoded, Head, Length, decimal};

/// Bytes of a frame before its own.
const FIXED: usize = 5;
/// What the app's failure may say; it is for the log.
const LONGEST_FAILURE: usize = 4 * 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Head,
    Data,
    End,
    Failed,
}

/// The kind and length of the frame at the start of `input`; `None` when more bytes are needed.
fn frame(input: &[u8]) -> Result<Option<(Kind, usize)>, UpstreamError> {
    let Some((&[kind, a, b, c, d], _)) = input.split_first_chunk::<FIXED>() else { return Ok(None) };
    let kind = match kind {
        b'H' => Kind::Head,
        b'D' => Kind::Data,
        b'E' => Kind::End,
        b'X' => Kind::Failed,
        _ => return Err(UpstreamError::Invalid("a frame of an unknown kind")),
    };
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    match kind {
        Kind::End if size > 0 => Err(UpstreamError::Invalid("an end with something in it")),
        Kind::Failed if size > LONGEST_FAILURE => Err(UpstreamError::Invalid("a failure's text is too long")),
        _ => Ok(Some((kind, size))),
    }
}

/// Reads a response head from the start of `input`; `method` is that of the request.
///
/// # Errors
/// [`UpstreamError::App`] when the app failed; [`UpstreamError::Invalid`].
pub fn head(input: &Bytes, method: &Method) -> Result<Decoded, UpstreamError> {
    let Some((kind, size)) = frame(input)? else { return Ok(Decoded::Partial) };
    let Some(content) = input.get(FIXED..FIXED + size) else { return Ok(Decoded::Partial) };
    match kind {
        Kind::Head => Ok(Decoded::Head(Box::new(lines(input, content, method)?), FIXED + size)),
        Kind::Failed => Err(failed(content)),
        Kind::Data | Kind::End => Err(UpstreamError::Invalid("a response without a head")),
    }
}

fn failed(text: &[u8]) -> UpstreamError {
    UpstreamError::App(String::from_utf8_lossy(text).into_owned())
}

/// `200 OK`, then name and value in turn.
fn lines(input: &Bytes, content: &[u8], method: &Method) -> Result<Head, UpstreamError> {
    let mut parts = content.split(|byte| *byte == 0);
    let line = parts.next().unwrap_or_default();
    let (code, reason) = line.split_at_checked(3).unwrap_or((line, b""));
    let status = StatusCode::from_bytes(code).map_err(|_| UpstreamError::Invalid("no valid status code"))?;
    if status.is_informational() {
        return Err(UpstreamError::Invalid("an app cannot answer with an informational status"));
    }
    let (mut headers, mut announced) = (HeaderMap::with_capacity(16), None);
    while let Some(name) = parts.next() {
        let value = parts.next().ok_or(UpstreamError::Invalid("a header without a value"))?;
        let name = HeaderName::from_bytes(name).map_err(|_| UpstreamError::Invalid("bad header name"))?;
        match name {
            header::CONTENT_LENGTH => {
                let n = decimal(value).ok_or(UpstreamError::Invalid("bad Content-Length"))?;
                match announced.replace(n) {
                    None => {}
                    Some(before) if before == n => continue,
                    Some(_) => return Err(UpstreamError::Invalid("two different Content-Length")),
                }
            }
            // An app has no say in the connection (PEP 3333).
            header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE | header::TRAILER | header::TE => continue,
            _ if name.as_str() == "keep-alive" || name.as_str() == "proxy-connection" => continue,
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(input.slice_ref(value))
            .map_err(|_| UpstreamError::Invalid("bad header value"))?;
        headers.append(name, value);
    }
    let bodiless = *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = http::Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    let reason = reason.trim_ascii();
    if status.canonical_reason().map(str::as_bytes) != Some(reason)
        && let Ok(reason) = ReasonPhrase::try_from(reason)
    {
        response.extensions_mut().insert(reason);
    }
    Ok(Head { response, length: Length::Framed(if bodiless { Some(0) } else { announced }), keep_alive: true })
}

/// The whole body, if `input` holds it and its end in the usual two frames, and nothing else.
pub fn whole(input: &Bytes) -> Option<Bytes> {
    let (data, rest) = match frame(input).ok()?? {
        (Kind::End, _) => (Bytes::new(), input.slice(0..)),
        (Kind::Data, size) if input.len() >= FIXED + size => {
            (input.slice(FIXED..FIXED + size), input.slice(FIXED + size..))
        }
        _ => return None,
    };
    let ends = rest.len() == FIXED && frame(&rest).ok()?? == (Kind::End, 0);
    ends.then_some(data)
}

/// Where in the frames of a body the next byte stands.
#[derive(Debug)]
pub struct Frames {
    /// Bytes of the frame at hand that are still to come.
    left: usize,
    /// Bytes of the body that are still to come, if the head said how many; what is beyond them is dropped.
    announced: Option<u64>,
    /// The last bytes of an announced body wait for the end: with them, nobody would wait for it any more.
    held: Option<Bytes>,
    done: bool,
}

impl Frames {
    /// At the first frame behind the head.
    pub fn new(announced: Option<u64>) -> Self {
        Self { left: 0, announced, held: None, done: false }
    }

    /// Behind the end.
    pub fn is_done(&self) -> bool {
        self.done && self.held.is_none()
    }

    /// Bytes that are still to come, if known.
    pub fn size(&self) -> Option<u64> {
        let held = self.held.as_ref().map_or(0, |held| held.len() as u64);
        self.announced.map(|left| left + held)
    }

    /// The next piece of data in `input`; `None` when more bytes are needed, or when it is [done](Self::is_done).
    ///
    /// # Errors
    /// [`UpstreamError::App`] when the app failed; [`UpstreamError::Invalid`].
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            if self.done {
                return Ok(self.held.take());
            }
            if self.left > 0 {
                if input.is_empty() {
                    return Ok(None);
                }
                let size = self.left.min(input.len());
                self.left -= size;
                let mut data = input.split_to(size).freeze();
                let Some(announced) = &mut self.announced else { return Ok(Some(data)) };
                data.truncate(usize::try_from(*announced).unwrap_or(usize::MAX));
                *announced -= data.len() as u64;
                if data.is_empty() {
                    continue;
                }
                if *announced > 0 {
                    return Ok(Some(data));
                }
                self.held = Some(data);
                continue;
            }
            let Some((kind, size)) = frame(input)? else { return Ok(None) };
            match kind {
                Kind::Data => {
                    input.advance(FIXED);
                    self.left = size;
                }
                Kind::End => {
                    input.advance(FIXED);
                    self.done = true;
                    if self.announced.is_some_and(|left| left > 0) {
                        return Err(UpstreamError::Invalid("the body is shorter than its Content-Length"));
                    }
                }
                Kind::Failed => match input.get(FIXED..FIXED + size) {
                    Some(text) => return Err(failed(text)),
                    None => return Ok(None),
                },
                Kind::Head => return Err(UpstreamError::Invalid("a second head in one response")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(kind: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![kind];
        out.extend_from_slice(&u32::try_from(content.len()).expect("small").to_be_bytes());
        out.extend_from_slice(content);
        out
    }

    fn decoded(content: &[u8], method: Method) -> Result<Head, UpstreamError> {
        match head(&Bytes::from(framed(b'H', content)), &method)? {
            Decoded::Head(head, _) => Ok(*head),
            _ => panic!("no head in {content:?}"),
        }
    }

    fn read(announced: Option<u64>, parts: &[&[u8]]) -> Result<(Vec<u8>, bool, BytesMut), UpstreamError> {
        let (mut frames, mut input, mut data) = (Frames::new(announced), BytesMut::new(), Vec::new());
        for part in parts {
            input.extend_from_slice(part);
            while let Some(piece) = frames.next(&mut input)? {
                data.extend_from_slice(&piece);
            }
        }
        Ok((data, frames.is_done(), input))
    }

    #[test]
    fn a_head_is_a_status_and_header_lines_without_those_of_the_connection() {
        let head = decoded(b"201 Made it\0X-A\x001\0x-a\x002\0Connection\0close\0Content-Length\x003", Method::GET)
            .expect("valid");
        assert_eq!(head.response.status(), StatusCode::CREATED);
        let values: Vec<_> = head.response.headers().get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(head.response.headers().get(header::CONNECTION), None);
        assert_eq!(head.length, Length::Framed(Some(3)));
        let reason = head.response.extensions().get::<ReasonPhrase>();
        assert_eq!(reason.map(ReasonPhrase::as_bytes), Some(&b"Made it"[..]));
        let usual = decoded(b"200 OK", Method::GET).expect("valid");
        assert!(usual.response.extensions().get::<ReasonPhrase>().is_none());
        assert_eq!(usual.length, Length::Framed(None));
    }

    #[test]
    fn a_head_s_length_counts_for_no_response_without_a_body() {
        let head = decoded(b"200 OK\0Content-Length\x003", Method::HEAD).expect("valid");
        assert_eq!(head.length, Length::Framed(Some(0)));
        assert_eq!(head.response.headers()[header::CONTENT_LENGTH], "3");
        assert_eq!(decoded(b"304 Not Modified", Method::GET).expect("valid").length, Length::Framed(Some(0)));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for bad in [
            &b""[..],
            b"20",
            b"OK",
            b"101 Switching Protocols",
            b"200 OK\0X-A",
            b"200 OK\0X A\x001",
            b"200 OK\0X-A\0a\r\nb",
            b"200 OK\0Content-Length\0-1",
            b"200 OK\0Content-Length\x001\0Content-Length\x002",
        ] {
            assert!(matches!(decoded(bad, Method::GET), Err(UpstreamError::Invalid(_))), "{bad:?}");
        }
        for bad in [framed(b'D', b"x"), framed(b'E', b""), framed(b'E', b"x"), framed(b'?', b"")] {
            assert!(matches!(head(&Bytes::from(bad), &Method::GET), Err(UpstreamError::Invalid(_))));
        }
        let cut = Bytes::from(framed(b'H', b"200 OK\0X-A\x001"));
        for end in 0..cut.len() {
            assert!(matches!(head(&cut.slice(..end), &Method::GET), Ok(Decoded::Partial)), "{end}");
        }
    }

    #[test]
    fn an_app_s_failure_is_told_instead_of_a_head_or_of_the_rest() {
        let failure = framed(b'X', b"KeyError: 'x'");
        assert!(
            matches!(head(&Bytes::from(failure.clone()), &Method::GET), Err(UpstreamError::App(text)) if text == "KeyError: 'x'")
        );
        let cut = [framed(b'D', b"abc"), failure].concat();
        assert!(matches!(read(None, &[&cut]), Err(UpstreamError::App(_))));
    }

    #[test]
    fn a_whole_body_is_known_as_one() {
        let whole = |parts: &[Vec<u8>]| whole(&Bytes::from(parts.concat()));
        let (data, end) = (framed(b'D', b"abc"), framed(b'E', b""));
        assert_eq!(whole(&[data.clone(), end.clone()]), Some(Bytes::from_static(b"abc")));
        assert_eq!(whole(std::slice::from_ref(&end)), Some(Bytes::new()));
        assert_eq!(whole(std::slice::from_ref(&data)), None);
        assert_eq!(whole(&[data.clone(), data.clone(), end.clone()]), None);
        assert_eq!(whole(&[data.clone(), end.clone(), b"H".to_vec()]), None);
        assert_eq!(whole(&[data.clone(), framed(b'X', b"")]), None);
    }

    #[test]
    fn an_announced_length_is_kept() {
        let body = [framed(b'D', b"abc"), framed(b'D', b"def"), framed(b'E', b"")].concat();
        assert_eq!(read(Some(6), &[&body]).expect("valid").0, b"abcdef");
        assert_eq!(read(Some(4), &[&body]).expect("the rest is dropped").0, b"abcd");
        assert_eq!(read(Some(0), &[&body]).expect("all is dropped").0, b"");
        assert!(matches!(read(Some(7), &[&body]), Err(UpstreamError::Invalid(_))));
    }

    #[test]
    fn the_last_bytes_of_an_announced_body_wait_for_the_end() {
        let (mut frames, mut input) = (Frames::new(Some(3)), BytesMut::from(&framed(b'D', b"abc")[..]));
        assert_eq!(frames.next(&mut input).expect("valid"), None);
        assert_eq!(frames.size(), Some(3));
        input.extend_from_slice(&framed(b'E', b""));
        assert_eq!(frames.next(&mut input).expect("valid").as_deref(), Some(&b"abc"[..]));
        assert!(frames.is_done());
    }

    #[test]
    fn a_second_head_or_an_unknown_frame_is_refused() {
        for bad in [framed(b'H', b"200 OK"), framed(b'Z', b"")] {
            assert!(matches!(read(None, &[&bad]), Err(UpstreamError::Invalid(_))));
        }
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_data(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            step in 1_usize..9,
            known in any::<bool>(),
        ) {
            let mut coded: Vec<u8> = pieces.iter().flat_map(|piece| framed(b'D', piece)).collect();
            coded.extend(framed(b'E', b""));
            let parts: Vec<&[u8]> = coded.chunks(step).collect();
            let announced = known.then(|| pieces.concat().len() as u64);
            let (data, done, rest) = read(announced, &parts).expect("valid");
            prop_assert_eq!(data, pieces.concat());
            prop_assert!(done);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), known in any::<bool>()) {
            let input = Bytes::from(bytes.clone());
            let _ = head(&input, &Method::GET);
            let _ = whole(&input);
            let _ = read(known.then_some(9), &[&bytes]);
        }
    }
}
