//! `sizelimit`: bodies above a limit get 413 (`nova.api.sizelimit` up to Juno, oslo.middleware's since Kilo).
//!
//! A body with a length is judged before a byte of it is read, and streams on untouched. A chunked one is read into
//! memory up to the limit, so that the worker gets a length, and so that the answer is not half an answer.
//! Must not know who reads the body afterwards.

use http::StatusCode;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::body::Whole;
use super::prelude::*;
use super::webob::webob;

/// What it takes. Its old names stand in nova.conf's `[DEFAULT]`.
static OPTIONS: &[OptionSpec] = &[OptionSpec {
    name: "max_request_body_size",
    group: "oslo_middleware",
    default: "114688",
    help: "bytes that a request's body may have; in [DEFAULT] it is osapi_max_request_body_size",
}];

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "sizelimit",
    about: "refuses bodies that are too large",
    eras: "Havana and later",
    aliases: &[
        "nova.api.sizelimit:RequestBodySizeLimiter.factory",
        "oslo_middleware:RequestBodySizeLimiter.factory",
        "oslo_middleware.sizelimit:RequestBodySizeLimiter.factory",
        "oslo.middleware:RequestBodySizeLimiter.factory",
        "oslo.middleware.sizelimit:RequestBodySizeLimiter.factory",
        "egg:oslo.middleware#sizelimit",
        "egg:keystone#sizelimit",
        "cinder.api.middleware.sizelimit:RequestBodySizeLimiter.factory",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    build.oslo_config();
    let own = build.local("max_request_body_size").or_else(|| build.global("max_request_body_size").cloned());
    let old = |build: &Build<'_>| {
        build.conf("DEFAULT", "osapi_max_request_body_size").or_else(|| build.conf("DEFAULT", "max_request_body_size"))
    };
    let new = |build: &Build<'_>| build.conf("oslo_middleware", "max_request_body_size");
    let setting = own.or_else(|| {
        // Nova's own filter knew nothing of oslo's group.
        if build.release < Release::KILO { old(build) } else { new(build).or_else(|| old(build)) }
    });
    let limit = build.integer(setting, 114_688);
    Some(Box::new(SizeLimit { release: build.release, limit }))
}

struct SizeLimit {
    release: Release,
    limit: u64,
}

impl Filter for SizeLimit {
    fn request(&self, _: &mut Context, request: &mut Request) -> Flow {
        match request.body().length() {
            Some(length) if length <= self.limit => Flow::Next,
            Some(_) => Flow::Reply(self.refuse(request, false)),
            None => {
                let (body, limit) = (std::mem::take(request.body_mut()), self.limit);
                Flow::Wait(Box::pin(async move { Box::new(body.whole(limit).await) as Answer }))
            }
        }
    }

    fn resume(&self, _: &mut Context, request: &mut Request, answer: Answer) -> Flow {
        match answer.downcast::<Whole>().map(|whole| *whole) {
            Ok(Whole::Bytes(bytes)) => {
                request.headers_mut().remove(TRANSFER_ENCODING);
                request.headers_mut().insert(CONTENT_LENGTH, bytes.len().into());
                *request.body_mut() = Body::Full(bytes);
                Flow::Next
            }
            Ok(Whole::TooLarge) => Flow::Reply(self.refuse(request, true)),
            // The client has gone or talks nonsense; if it still listens, that is what it gets.
            Ok(Whole::Broken(error)) => {
                tracing::debug!(error = %error, "a chunked request body broke off");
                Flow::Reply(webob(self.release, StatusCode::BAD_REQUEST, None, "", request))
            }
            Err(_) => Flow::Reply(webob(self.release, StatusCode::INTERNAL_SERVER_ERROR, None, "", request)),
        }
    }

    fn sees_responses(&self) -> bool {
        false
    }
}

impl SizeLimit {
    /// oslo.middleware 3.38.1 (Train) wanted to say the limit, and does so only when it had to count.
    fn refuse(&self, request: &Request, counted: bool) -> Response {
        let counted_text;
        let explanation = if self.release < Release::TRAIN {
            "Request is too large."
        } else if counted {
            counted_text = format!("Request is too large. Larger than {}.", self.limit);
            &counted_text
        } else {
            "Request is too large. Larger than max_request_body_size (%s)."
        };
        webob(self.release, StatusCode::PAYLOAD_TOO_LARGE, Some(explanation), "", request)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::Poll;

    use bytes::Bytes;
    use http_body::Frame;

    use super::*;
    use crate::filter::BodyError;
    use crate::filter::harness::{Case, build, built, read, text};

    /// A body in chunks without a length; an empty chunk breaks it off.
    struct Chunks(VecDeque<&'static str>);

    impl http_body::Body for Chunks {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop_front().map(|chunk| match chunk {
                "" => Err("gone".into()),
                text => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
            }))
        }
    }

    fn chunked(chunks: &[&'static str]) -> Case {
        let body = Body::Stream(Box::pin(Chunks(chunks.iter().copied().collect())));
        Case::new("POST", "/v2/servers").header("transfer-encoding", "chunked").body(body)
    }

    fn ten(release: Release) -> Box<dyn Filter> {
        built(&FACTORY, release, &[("max_request_body_size", "10")], &[])
    }

    #[test]
    fn exactly_the_limit_is_allowed() {
        let filter = ten(Release::HAVANA);
        assert!(Case::new("POST", "/").body("0123456789".into()).enter(&*filter).is_none());
        assert!(Case::new("GET", "/").enter(&*filter).is_none());
        let refused = Case::new("POST", "/").body("0123456789a".into()).enter(&*filter).expect("413");
        assert_eq!(refused.status(), 413);
        assert_eq!(text(refused), "413 Request Entity Too Large\n\nRequest is too large.\n\n   ");
    }

    #[test]
    fn a_small_chunked_body_goes_on_with_a_length() {
        let mut case = chunked(&["hello", ", you"]);
        assert!(case.enter(&*ten(Release::NEWEST)).is_none());
        assert_eq!(case.request.headers()[CONTENT_LENGTH], "10");
        assert!(!case.request.headers().contains_key(TRANSFER_ENCODING));
        assert_eq!(read(case.request.into_body()), "hello, you");
    }

    #[test]
    fn a_large_chunked_body_is_refused_with_the_limit_in_the_text_since_train() {
        let refused = chunked(&["hello", ", you", "!"]).enter(&*ten(Release::STEIN)).expect("413");
        assert_eq!(text(refused), "413 Request Entity Too Large\n\nRequest is too large.\n\n   ");
        let refused = chunked(&["hello", ", you", "!"]).enter(&*ten(Release::NOVA_31)).expect("413");
        assert_eq!(text(refused), "413 Request Entity Too Large\n\nRequest is too large. Larger than 10.\n\n   ");
        let refused = Case::new("POST", "/").body("0123456789a".into()).enter(&*ten(Release::NOVA_31)).expect("413");
        assert_eq!(
            text(refused),
            "413 Request Entity Too Large\n\nRequest is too large. Larger than max_request_body_size (%s).\n\n   "
        );
    }

    #[test]
    fn a_body_that_breaks_off_reaches_nobody() {
        let answer = chunked(&["hello", ""]).enter(&*ten(Release::NEWEST)).expect("an answer");
        assert_eq!(answer.status(), 400);
    }

    #[test]
    fn each_era_has_its_name_for_the_limit() {
        let conf = [("DEFAULT", "osapi_max_request_body_size", "3"), ("oslo_middleware", "max_request_body_size", "5")];
        let refuses = |release, conf: &[_], body: &'static str| {
            Case::new("POST", "/").body(body.into()).enter(&*built(&FACTORY, release, &[], conf)).is_some()
        };
        assert!(refuses(Release::HAVANA, &conf, "0123"));
        assert!(!refuses(Release::KILO, &conf, "0123"));
        assert!(refuses(Release::KILO, &conf, "012345"));
        assert!(refuses(Release::KILO, &conf[..1], "0123"));
    }

    #[test]
    fn a_limit_that_is_no_number_and_a_typo_are_reported() {
        let local = [("max_request_body_size", "many"), ("max_request_body_sise", "1")];
        let (_, _, findings) = build(&FACTORY, Release::NEWEST, &local, &[]);
        let all: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(all.iter().any(|f| f.contains("`many` is not a whole number")), "{all:?}");
        assert!(all.iter().any(|f| f.contains("did you mean `max_request_body_size`?")), "{all:?}");
    }
}
