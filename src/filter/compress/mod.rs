//! `compress`: encodes responses as the client accepts them (zstd, br, gzip), and inflates gzip bodies of requests.
//!
//! No Python program has it: it is the front's own, for those who have no other proxy in front. Its name in a Paste
//! file is `egg:Pasteway#compress`, or `paste.filter_factory = pasteway:compress`.
//!
//! A response is encoded if its type is one of `types` and it is long enough or of unknown length. Not touched: what
//! is encoded already, `Cache-Control: no-transform`, a part of something (206, `Content-Range`), what has a digest
//! of its bytes, event streams, answers to HEAD, and answers without a body. Whatever could have been encoded says
//! `Vary: Accept-Encoding`, also when it was not. A strong `ETag` becomes weak, for it names the bytes before.
//!
//! A small body that is there already is encoded at once and keeps a length, all others are encoded as they stream
//! ([`encoder`]). The work is done on the data thread. Measured at the default levels, CPU for a list of servers of
//! 2 KB: 27 µs (gzip), 46 µs (br), 37 µs (zstd), to a fifth of it; for one of 100 KB: 0.7, 1.3 and 0.3 ms, to a sixth.
//! Secrets beside text that a client chooses can be guessed from the length of what comes out, if somebody can make a
//! browser ask often enough (BREACH): leave it off where tokens travel in cookies.
//! Must not know who made a response.

mod accept;
mod encoder;
mod inflate;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub use accept::Coding;
pub use encoder::{Encoded, Encoder};
use inflate::{Bounds, Inflated};

use super::headers::joined;
use super::prelude::*;
use super::webob::webob;
use crate::message::nearest;

/// What it takes.
static OPTIONS: &[OptionSpec] = &[
    spec("encodings", "zstd, br, gzip", "codings that may be used; of those that a client likes equally, the first"),
    spec("types", TYPES, "content types that are encoded; `text/*` stands for all of a kind, `+json` for an ending"),
    spec("min_length", "1024", "bytes below which a response is left as it is, if its length is known"),
    spec("gzip_level", "5", "1 (fast) to 9 (small)"),
    spec("br_level", "4", "0 (fast) to 11 (small)"),
    spec("zstd_level", "3", "1 (fast) to 19 (small)"),
    spec("inflate", "true", "whether gzip bodies of requests are inflated for the worker"),
    spec("inflate_limit", "1048576", "bytes that an inflated body may have; it is held in memory"),
    spec("inflate_ratio", "100", "how many times as long it may be as it was sent, beyond its first 64 KiB"),
];

const fn spec(name: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, group: "", default, help }
}

/// What shrinks.
const TYPES: &str = "text/*, +json, +xml, application/json, application/xml, application/javascript, application/yaml";
const MIN_LENGTH: u64 = 1024;
/// A body up to this length that is there as a whole is encoded as a whole.
const AT_ONCE: usize = 64 * 1024;
/// Digests of the bytes as they were.
const DIGESTS: [HeaderName; 3] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "compress",
    about: "encodes responses with zstd, br or gzip, and inflates gzip bodies of requests",
    eras: "none: the front's own",
    aliases: &["egg:Pasteway#compress", "egg:pasteway#compress", "pasteway:compress"],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    let levels =
        [level(build, "zstd_level", 3, 1, 19), level(build, "br_level", 4, 0, 11), level(build, "gzip_level", 5, 1, 9)];
    let types = build.local("types");
    let types = build.list(types, &TYPES.split(", ").collect::<Vec<_>>());
    let min_length = build.local("min_length");
    let inflate = build.local("inflate");
    let (limit, ratio) = (build.local("inflate_limit"), build.local("inflate_ratio"));
    let bounds = Bounds { limit: build.integer(limit, 1024 * 1024), ratio: build.integer(ratio, 100) };
    Some(Box::new(Compress {
        codings: codings(build),
        types: types.iter().map(|text| text.to_ascii_lowercase()).collect(),
        min_length: build.integer(min_length, MIN_LENGTH),
        levels,
        inflate: build.flag(inflate, true).then_some(bounds),
    }))
}

/// The codings of `encodings`, in its order.
fn codings(build: &mut Build<'_>) -> Vec<Coding> {
    let Some(setting) = build.local("encodings") else { return Coding::ALL.to_vec() };
    let mut codings = Vec::new();
    for name in build.list(Some(setting.clone()), &[]) {
        match Coding::named(&name) {
            Some(coding) => codings.push(coding),
            None => {
                let known = Coding::ALL.map(Coding::name);
                let help = match nearest(&name, known) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("write some of {}", known.join(", ")),
                };
                build.error(Some(&setting), format!("`{name}` is no coding that can be made here"), help);
            }
        }
    }
    codings
}

fn level(build: &mut Build<'_>, name: &str, default: u32, least: u32, most: u32) -> u32 {
    let Some(setting) = build.local(name) else { return default };
    let level = build.integer(Some(setting.clone()), default);
    if !(least..=most).contains(&level) {
        build.error(Some(&setting), format!("`{name}` is {level}"), format!("write a number from {least} to {most}"));
    }
    level.clamp(least, most)
}

struct Compress {
    codings: Vec<Coding>,
    /// Lower case.
    types: Vec<String>,
    min_length: u64,
    /// By [`Coding`].
    levels: [u32; 3],
    /// `None`: requests are left alone.
    inflate: Option<Bounds>,
}

impl Filter for Compress {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        let Some(bounds) = self.inflate.filter(|_| is_gzip(request.headers()) && !request.body().is_empty()) else {
            return Flow::Next;
        };
        if request.body().length().is_some_and(|length| length > bounds.limit as u64) {
            return Flow::Reply(too_large(cx, request));
        }
        let body = std::mem::take(request.body_mut());
        Flow::Wait(Box::pin(async move { Box::new(inflate::inflate(body, bounds).await) as Answer }))
    }

    fn resume(&self, cx: &mut Context, request: &mut Request, answer: Answer) -> Flow {
        match answer.downcast::<Inflated>().map(|inflated| *inflated) {
            Ok(Inflated::Whole(bytes)) => {
                let headers = request.headers_mut();
                for gone in [&CONTENT_ENCODING, &TRANSFER_ENCODING].into_iter().chain(&DIGESTS) {
                    headers.remove(gone);
                }
                headers.insert(CONTENT_LENGTH, bytes.len().into());
                *request.body_mut() = Body::Full(bytes);
                Flow::Next
            }
            Ok(Inflated::TooLarge) => Flow::Reply(too_large(cx, request)),
            Ok(Inflated::Garbage(error)) => {
                tracing::debug!(error = %error, "a request body is no gzip");
                let text = "The body of your request is not what its Content-Encoding says.";
                Flow::Reply(webob(cx.release, StatusCode::BAD_REQUEST, Some(text), "", request))
            }
            Ok(Inflated::Broken(error)) => {
                tracing::debug!(error = %error, "a gzip request body broke off");
                Flow::Reply(webob(cx.release, StatusCode::BAD_REQUEST, None, "", request))
            }
            Err(_) => Flow::Reply(webob(cx.release, StatusCode::INTERNAL_SERVER_ERROR, None, "", request)),
        }
    }

    fn response(&self, _: &mut Context, request: &Request, response: &mut Response) {
        if !self.may_encode(response) {
            return;
        }
        vary(response.headers_mut());
        if *request.method() == Method::HEAD {
            return;
        }
        let Some(coding) = accept::choose(request.headers(), &self.codings) else { return };
        let level = self.levels.get(coding as usize).copied().unwrap_or_default();
        if let Err(error) = encode(response, coding, level) {
            // The body is as it was.
            tracing::warn!(target: "pasteway::compress", "{}: {error}", coding.name());
        }
    }
}

impl Compress {
    /// Whether a response would be encoded for a client that accepts it.
    fn may_encode(&self, response: &Response) -> bool {
        let (status, headers) = (response.status(), response.headers());
        let bodiless = status.is_informational()
            || matches!(
                status,
                StatusCode::NO_CONTENT
                    | StatusCode::RESET_CONTENT
                    | StatusCode::PARTIAL_CONTENT
                    | StatusCode::NOT_MODIFIED
            );
        !bodiless
            && !headers.contains_key(CONTENT_ENCODING)
            && !headers.contains_key(CONTENT_RANGE)
            && !DIGESTS.iter().any(|name| headers.contains_key(name))
            && self.is_of_a_type(headers)
            && length(response).is_none_or(|length| length >= self.min_length)
            && !no_transform(headers)
    }

    fn is_of_a_type(&self, headers: &HeaderMap) -> bool {
        let Some(text) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
        let text = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        // Its reader waits for each event.
        text != "text/event-stream"
            && self.types.iter().any(|wanted| match wanted.strip_suffix('*') {
                Some(kind) => text.starts_with(kind),
                None if wanted.starts_with('+') => text.ends_with(wanted.as_str()),
                None => text == *wanted,
            })
    }
}

/// How long a response's body is. The answer to HEAD tells it of the body that it has not.
fn length(response: &Response) -> Option<u64> {
    let told = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    told.or_else(|| response.body().length())
}

fn no_transform(headers: &HeaderMap) -> bool {
    joined(headers, &CACHE_CONTROL)
        .is_some_and(|text| text.split(',').any(|word| word.trim().eq_ignore_ascii_case("no-transform")))
}

fn is_gzip(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let only = values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok());
    only.is_some_and(|text| Coding::named(text.trim()) == Some(Coding::Gzip))
}

fn too_large(cx: &Context, request: &Request) -> Response {
    webob(cx.release, StatusCode::PAYLOAD_TOO_LARGE, Some("Request is too large."), "", request)
}

/// Tells caches that another client may get other bytes.
fn vary(headers: &mut HeaderMap) {
    let said = |word: &str| word.trim() == "*" || word.trim().eq_ignore_ascii_case("accept-encoding");
    if !joined(headers, &VARY).is_some_and(|text| text.split(',').any(said)) {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Encodes a response's body, at once or as it streams, and has its head say so. A body that would not shrink stays.
///
/// # Errors
/// When the library fails; the response is as it was.
fn encode(response: &mut Response, coding: Coding, level: u32) -> std::io::Result<()> {
    let encoder = Encoder::new(coding, level)?;
    if let Body::Full(bytes) = response.body()
        && bytes.len() <= AT_ONCE
    {
        let encoded: Bytes = encoder.whole(bytes)?;
        if encoded.len() >= bytes.len() {
            return Ok(());
        }
        response.headers_mut().insert(CONTENT_LENGTH, encoded.len().into());
        *response.body_mut() = Body::Full(encoded);
    } else {
        let body = std::mem::take(response.body_mut());
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = Body::Stream(Box::pin(Encoded::new(body, encoder)));
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    // Ranges would count encoded bytes, which are made anew for every request.
    headers.remove(ACCEPT_RANGES);
    if let Some(tag) = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(ETAG, weak);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
