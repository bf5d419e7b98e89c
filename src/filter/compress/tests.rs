//! What is encoded and inflated, and what is not.

use std::io::{Read, Write};
use std::pin::Pin;
use std::task::Poll;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http_body::Frame;
use http_body_util::BodyExt;

use super::*;
use crate::filter::BodyError;
use crate::filter::harness::{Case, build, built, text};
use crate::filter::sizelimit;

/// Long enough, and shrinks.
fn long() -> String {
    "{\"server\": 1}, ".repeat(200)
}

fn filter(local: &[(&str, &str)]) -> Box<dyn Filter> {
    built(&FACTORY, Release::NEWEST, local, &[])
}

fn get(accept: &str) -> Case {
    Case::new("GET", "/").header("accept-encoding", accept)
}

fn json(body: impl Into<Body>, headers: &[(&'static str, &'static str)]) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for &(name, value) in headers {
        response.headers_mut().append(name, HeaderValue::from_static(value));
    }
    response
}

fn answered(case: &mut Case, response: Response) -> Response {
    case.through(&*filter(&[]), response)
}

fn values(response: &Response, name: HeaderName) -> Vec<&str> {
    response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

fn bytes(response: Response) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(response.into_body().collect()).expect("a body").to_bytes().to_vec()
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).expect("gzip");
    text
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

/// A body whose length nobody knows.
struct Unsized(Body);

impl http_body::Body for Unsized {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

fn stream(body: impl Into<Body>) -> Body {
    Body::Stream(Box::pin(Unsized(body.into())))
}

#[test]
fn a_response_is_encoded_as_the_client_accepts_it() {
    for (accept, coding) in [("gzip", "gzip"), ("br", "br"), ("gzip, zstd, br", "zstd")] {
        let response = answered(&mut get(accept), json(long(), &[("content-length", "3000")]));
        assert_eq!(values(&response, CONTENT_ENCODING), [coding]);
        assert_eq!(values(&response, VARY), ["Accept-Encoding"]);
        let length = values(&response, CONTENT_LENGTH)[0].to_owned();
        let sent = bytes(response);
        assert_eq!(length, sent.len().to_string());
        assert!(sent.len() < 200, "{coding}: {}", sent.len());
    }
    assert_eq!(gunzip(&bytes(answered(&mut get("gzip"), json(long(), &[])))), long());
}

#[test]
fn a_stream_is_encoded_without_a_length() {
    for body in [stream(long()), Body::from("x".repeat(AT_ONCE + 1))] {
        let response = answered(&mut get("gzip"), json(body, &[("accept-ranges", "bytes")]));
        assert_eq!(values(&response, CONTENT_ENCODING), ["gzip"]);
        assert!(!response.headers().contains_key(CONTENT_LENGTH));
        assert!(!response.headers().contains_key(ACCEPT_RANGES));
        assert_eq!(response.body().length(), None);
        assert!(gunzip(&bytes(response)).len() >= long().len());
    }
}

#[test]
fn what_could_have_been_encoded_varies() {
    for accept in ["", "identity", "gzip;q=0", "deflate"] {
        let response = answered(&mut get(accept), json(long(), &[("etag", "\"a\"")]));
        assert_eq!(values(&response, VARY), ["Accept-Encoding"], "{accept:?}");
        assert!(!response.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(values(&response, ETAG), ["\"a\""]);
        assert_eq!(text(response), long());
    }
    let plain = answered(&mut Case::new("GET", "/"), json(long(), &[("vary", "Origin")]));
    assert_eq!(values(&plain, VARY), ["Origin", "Accept-Encoding"]);
    let said = answered(&mut get("gzip"), json(long(), &[("vary", "Origin, accept-encoding")]));
    assert_eq!(values(&said, VARY), ["Origin, accept-encoding"]);
    let star = answered(&mut get("gzip"), json(long(), &[("vary", "*")]));
    assert_eq!(values(&star, VARY), ["*"]);
}

#[test]
fn what_must_not_be_encoded_passes_untouched() {
    for headers in [
        &[("content-encoding", "br")][..],
        &[("content-encoding", "identity")],
        &[("cache-control", "private, No-Transform")],
        &[("content-range", "bytes 0-9/100")],
        &[("content-md5", "Q2hlY2sgSW50ZWdyaXR5IQ==")],
        &[("content-length", "10")],
    ] {
        let response = answered(&mut get("gzip"), json(long(), headers));
        assert_eq!(values(&response, VARY), [""; 0], "{headers:?}");
        assert_eq!(text(response), long());
    }
    for kind in ["text/event-stream", "TEXT/Event-Stream; charset=utf-8", "application/octet-stream", "image/png", ""] {
        let mut response = json(long(), &[]);
        response.headers_mut().insert(CONTENT_TYPE, kind.parse().unwrap());
        assert_eq!(values(&answered(&mut get("gzip"), response), VARY), [""; 0], "{kind}");
    }
    for status in [101, 204, 205, 206, 304] {
        let mut response = json(long(), &[]);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        assert!(!answered(&mut get("gzip"), response).headers().contains_key(VARY), "{status}");
    }
    let mut untyped = json(long(), &[]);
    untyped.headers_mut().remove(CONTENT_TYPE);
    assert!(!answered(&mut get("gzip"), untyped).headers().contains_key(VARY));
}

#[test]
fn types_are_names_kinds_and_endings() {
    for (kind, encoded) in [
        ("application/json", true),
        ("Application/JSON ; charset=UTF-8", true),
        ("text/html; charset=utf8", true),
        ("application/vnd.openstack.compute+json", true),
        ("image/svg+xml", true),
        ("application/jsonp", false),
        ("application/zip", false),
    ] {
        let mut response = json(long(), &[]);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        assert_eq!(answered(&mut get("gzip"), response).headers().contains_key(CONTENT_ENCODING), encoded, "{kind}");
    }
    let own = filter(&[("types", "Image/PNG")]);
    assert!(!get("gzip").through(&*own, json(long(), &[])).headers().contains_key(VARY));
}

#[test]
fn errors_are_encoded_too_and_the_answer_to_head_only_varies() {
    let mut response = json(long(), &[]);
    *response.status_mut() = StatusCode::NOT_FOUND;
    assert_eq!(values(&answered(&mut get("gzip"), response), CONTENT_ENCODING), ["gzip"]);
    let mut head = Case::new("HEAD", "/").header("accept-encoding", "gzip");
    let response = answered(&mut head, json(Body::Empty, &[("content-length", "3000")]));
    assert_eq!(values(&response, VARY), ["Accept-Encoding"]);
    assert_eq!(values(&response, CONTENT_LENGTH), ["3000"]);
    assert!(!response.headers().contains_key(CONTENT_ENCODING));
}

#[test]
fn a_strong_tag_becomes_weak_and_others_stay() {
    for (tag, want) in [("\"a\"", "W/\"a\""), ("W/\"a\"", "W/\"a\""), ("unquoted", "unquoted")] {
        let mut response = json(long(), &[]);
        response.headers_mut().insert(ETAG, HeaderValue::from_static(tag));
        assert_eq!(values(&answered(&mut get("gzip"), response), ETAG), [want]);
    }
}

#[test]
fn what_would_not_shrink_stays_as_it_is() {
    let mut random = fastrand::Rng::with_seed(3);
    let noise: String = (0..2000).map(|_| random.char(..)).collect();
    let response = answered(&mut get("gzip;q=0.1, identity;q=0"), json(noise.clone(), &[]));
    let encoded = response.headers().contains_key(CONTENT_ENCODING);
    assert_eq!(if encoded { gunzip(&bytes(response)) } else { text(response) }, noise);
    let own = filter(&[("min_length", "0")]);
    let response = get("gzip").through(&*own, json("short", &[("etag", "\"a\"")]));
    assert_eq!((values(&response, ETAG), values(&response, VARY)), (vec!["\"a\""], vec!["Accept-Encoding"]));
    assert_eq!(text(response), "short");
}

fn post(body: impl Into<Body>) -> Case {
    Case::new("POST", "/servers").header("content-encoding", "gzip").body(body.into())
}

#[test]
fn a_gzip_body_reaches_the_worker_inflated_and_with_a_length() {
    for (body, name) in
        [(Body::Full(gzip(b"{\"server\": 1}")), "gzip"), (stream(Body::Full(gzip(b"{\"server\": 1}"))), "X-GZip ")]
    {
        let mut case = post(body).header("content-length", "9").header("transfer-encoding", "chunked");
        case.request.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        case.request.headers_mut().insert("content-md5", HeaderValue::from_static("x"));
        assert!(case.enter(&*filter(&[])).is_none());
        let headers = case.request.headers();
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(headers[CONTENT_LENGTH], "13");
        assert_eq!(crate::filter::harness::read(case.request.into_body()), "{\"server\": 1}");
    }
}

#[test]
fn other_codings_and_empty_bodies_go_on_as_they_are() {
    for coding in ["deflate", "br", "gzip, gzip", "identity", ""] {
        let mut case = Case::new("POST", "/").header("content-encoding", coding).body("abc".into());
        assert!(case.enter(&*filter(&[])).is_none(), "{coding}");
        assert!(case.request.headers().contains_key(CONTENT_ENCODING));
    }
    let mut twice = post("abc").header("content-encoding", "gzip");
    assert!(twice.enter(&*filter(&[])).is_none());
    let mut empty = post(Body::Empty);
    assert!(empty.enter(&*filter(&[])).is_none());
    let mut off = post("no gzip");
    assert!(off.enter(&*filter(&[("inflate", "false")])).is_none());
    assert_eq!(off.request.headers()[CONTENT_ENCODING], "gzip");
}

#[test]
fn bombs_are_413_and_garbage_is_400() {
    let status = |body: Body, local: &[(&str, &str)]| post(body).enter(&*filter(local)).expect("an answer").status();
    let bomb = gzip(&vec![0; 5_000_000]);
    assert_eq!(status(Body::Full(bomb.clone()), &[]), 413);
    assert_eq!(status(stream(Body::Full(bomb)), &[]), 413);
    assert_eq!(status(Body::Full(gzip(&vec![0; 200_000])), &[("inflate_ratio", "50")]), 413);
    assert_eq!(status("x".repeat(101).into(), &[("inflate_limit", "100")]), 413);
    assert_eq!(status("no gzip".into(), &[]), 400);
    let whole = gzip(b"{\"server\": 1}");
    assert_eq!(status(Body::Full(whole.slice(..whole.len() - 1)), &[]), 400);
    let refused = post("no gzip").enter(&*filter(&[])).expect("an answer");
    let want = "400 Bad Request\n\nThe body of your request is not what its Content-Encoding says.\n\n   ";
    assert_eq!(text(refused), want);
}

#[test]
fn sizelimit_counts_inflated_bytes_inside_and_sent_bytes_outside() {
    let limit = || built(&sizelimit::FACTORY, Release::NEWEST, &[("max_request_body_size", "100")], &[]);
    let body = || Body::Full(gzip("x".repeat(5000).as_bytes()));
    let mut inside = post(body());
    assert!(inside.enter(&*filter(&[])).is_none());
    assert_eq!(inside.enter(&*limit()).expect("413").status(), 413);
    let mut outside = post(body());
    assert!(outside.enter(&*limit()).is_none());
    assert!(outside.enter(&*filter(&[])).is_none());
    assert_eq!(outside.request.body().length(), Some(5000));
}

#[test]
fn mistakes_in_options_are_told() {
    for (name, value, message) in [
        ("encodings", "gzip, brr", "`brr` is no coding that can be made here"),
        ("gzip_level", "10", "`gzip_level` is 10"),
        ("gzip_level", "0", "`gzip_level` is 0"),
        ("zstd_level", "-1", "`-1` is not a whole number"),
        ("min_length", "1k", "`1k` is not a whole number"),
        ("inflate", "maybe", "unexpected boolean value `maybe`"),
        ("min_lenght", "5", "[filter:tested] has no option `min_lenght`"),
    ] {
        let (_, _, findings) = build(&FACTORY, Release::NEWEST, &[(name, value)], &[]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].message, message);
    }
    let (_, _, findings) = build(&FACTORY, Release::NEWEST, &[("encodings", "gzipp")], &[]);
    assert_eq!(findings[0].help.as_deref(), Some("did you mean `gzip`?"));
    let only = filter(&[("encodings", "gzip")]);
    let response = get("zstd, br, gzip;q=0.1").through(&*only, json(long(), &[]));
    assert_eq!(values(&response, CONTENT_ENCODING), ["gzip"]);
}

#[test]
fn the_reference_shows_the_defaults_that_hold() {
    let local: Vec<_> = OPTIONS.iter().map(|option| (option.name, option.default)).collect();
    let response = get("gzip").through(&*filter(&local), json(long(), &[]));
    let plain = get("gzip").through(&*filter(&[]), json(long(), &[]));
    assert_eq!(bytes(response), bytes(plain));
}
