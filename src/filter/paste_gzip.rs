//! `gzip`: Paste's own compression (`paste.gzipper`, Paste 1.7 to 3.10), as little as it is.
//!
//! It looks for the word `gzip` in `Accept-Encoding` and nothing else (`gzip;q=0` is a yes), encodes `text/*` and
//! `application/*` unless the type has `zip` in it, and says nothing about `Vary`: a cache in front of it gives gzip
//! to everybody. [`super::compress`] does better. Paste reads the whole body before it sends a byte; here a body that
//! is not there yet streams, and has no length. Paste also made twenty bytes of gzip out of a 304 and, up to 1.7, of the
//! answer to HEAD; those stay empty here.
//! Must not know who made a response.

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::compress::{Coding, Encoded, Encoder};
use super::headers::joined;
use super::prelude::*;

/// What it takes.
static OPTIONS: &[OptionSpec] =
    &[OptionSpec { name: "compress_level", group: "", default: "6", help: "0 (none) to 9 (small)" }];

/// zlib's levels, and what Python calls its default.
const LEVELS: std::ops::RangeInclusive<i32> = -1..=9;
const DEFAULT: u32 = 6;
/// A body up to this length that is there as a whole is encoded as a whole.
const AT_ONCE: usize = 64 * 1024;

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "gzip",
    about: "encodes responses with gzip, as Paste does",
    eras: "Paste 1.7 to 3.10",
    aliases: &["egg:Paste#gzip", "egg:paste#gzip", "paste.gzipper:make_gzip_middleware"],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    let setting = build.local("compress_level");
    let level = build.integer(setting.clone(), 6);
    if !LEVELS.contains(&level) {
        build.error(setting.as_ref(), format!("zlib has no level {level}"), "write a number from 0 to 9");
    }
    Some(Box::new(Gzip { level: u32::try_from(level).unwrap_or(DEFAULT).min(9) }))
}

struct Gzip {
    level: u32,
}

impl Filter for Gzip {
    fn sees_requests(&self) -> bool {
        false
    }

    fn response(&self, _: &mut Context, request: &Request, response: &mut Response) {
        let accepts = joined(request.headers(), &ACCEPT_ENCODING).is_some_and(|text| text.contains("gzip"));
        let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || response.status().is_informational();
        if !accepts || *request.method() == Method::HEAD || bodiless || !is_compressible(response.headers()) {
            return;
        }
        if let Err(error) = self.encode(response) {
            tracing::warn!(target: "paste.gzipper", "{error}");
        }
    }
}

impl Gzip {
    fn encode(&self, response: &mut Response) -> std::io::Result<()> {
        let encoder = Encoder::new(Coding::Gzip, self.level)?;
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let whole = match response.body() {
            Body::Empty => Some(encoder.whole(b"")?),
            Body::Full(bytes) if bytes.len() <= AT_ONCE => Some(encoder.whole(bytes)?),
            Body::Full(_) | Body::Stream(_) => {
                let body = std::mem::take(response.body_mut());
                *response.body_mut() = Body::Stream(Box::pin(Encoded::new(body, encoder)));
                None
            }
        };
        if let Some(bytes) = whole {
            response.headers_mut().insert(CONTENT_LENGTH, bytes.len().into());
            *response.body_mut() = Body::Full(bytes);
        }
        Ok(())
    }
}

/// As Paste has it: by the type as it is written, capitals and parameters included.
fn is_compressible(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    // An empty Content-Encoding counts as none.
    let encoded = headers.get(CONTENT_ENCODING).is_some_and(|value| !value.is_empty());
    (kind.starts_with(b"text/") || kind.starts_with(b"application/"))
        && !kind.windows(3).any(|part| part == b"zip")
        && !encoded
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;
    use crate::filter::harness::{Case, answer, build, built};

    /// What Paste 3.10.1 did; made by `integration/golden/paste/record.py`.
    const RECORDED: &str = include_str!("../../integration/golden/paste/gzip.json");

    fn filter() -> Box<dyn Filter> {
        built(&FACTORY, Release::NEWEST, &[], &[])
    }

    fn body(response: Response) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(response.into_body().collect()).expect("a body").to_bytes().to_vec()
    }

    fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).ok().map(|_| out)
    }

    #[test]
    fn the_answers_are_those_that_were_recorded() {
        let recorded: Vec<Value> = serde_json::from_str(RECORDED).expect("JSON");
        assert!(recorded.len() > 10);
        for case in recorded {
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            let mut asked = Case::new(&text(&case["method"]), "/");
            if let Some(accept) = case["accept"].as_str() {
                asked = asked.header("accept-encoding", accept);
            }
            let mut below = Response::new(Body::from(text(&case["body"])));
            for pair in case["headers"].as_array().expect("pairs") {
                below.headers_mut().append(
                    http::HeaderName::from_bytes(text(&pair[0]).as_bytes()).expect("a name"),
                    text(&pair[1]).parse().expect("a value"),
                );
            }
            let got = asked.through(&*filter(), below);
            let encodings: Vec<_> =
                got.headers().get_all(CONTENT_ENCODING).iter().map(|v| v.to_str().expect("text").to_owned()).collect();
            assert_eq!(Value::from(encodings), case["content_encoding"], "{case}");
            assert_eq!(got.headers().contains_key("vary"), case["vary"].as_bool().expect("bool"), "{case}");
            let length = got.headers().get(CONTENT_LENGTH).map(|v| v.to_str().expect("text").to_owned());
            let sent = body(got);
            assert!(length.is_none_or(|length| length == sent.len().to_string()));
            let plain = if case["is_gzip"] == true { gunzip(&sent).expect("gzip") } else { sent };
            assert_eq!(String::from_utf8(plain).expect("text"), text(&case["body"]), "{case}");
        }
    }

    #[test]
    fn a_body_that_may_not_be_there_stays_away() {
        for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
            let mut below = answer(status, &[("content-type", "text/plain")]);
            *below.body_mut() = Body::Empty;
            let got = Case::new(method, "/").header("accept-encoding", "gzip").through(&*filter(), below);
            assert!(!got.headers().contains_key(CONTENT_ENCODING));
            assert!(body(got).is_empty());
        }
    }

    #[test]
    fn a_large_body_streams() {
        let mut below = answer(200, &[("content-type", "text/plain"), ("content-length", "100000")]);
        *below.body_mut() = Body::from("x".repeat(100_000));
        let got = Case::new("GET", "/").header("accept-encoding", "gzip").through(&*filter(), below);
        assert!(!got.headers().contains_key(CONTENT_LENGTH));
        assert_eq!(gunzip(&body(got)).map(|plain| plain.len()), Some(100_000));
    }

    #[test]
    fn the_level_is_zlibs() {
        for (level, good) in [("-1", true), ("0", true), ("9", true), ("10", false), ("-2", false), ("six", false)] {
            let (_, _, findings) = build(&FACTORY, Release::NEWEST, &[("compress_level", level)], &[]);
            assert_eq!(findings.is_empty(), good, "{level}: {findings:?}");
        }
    }

    #[test]
    fn an_unknown_option_is_told() {
        let (_, _, findings) = build(&FACTORY, Release::NEWEST, &[("compresslevel", "1")], &[]);
        assert_eq!(findings[0].help.as_deref(), Some("did you mean `compress_level`?"));
    }
}
