//! The answers to those who are not let in, as each release gives them.
//!
//! Must not know why somebody is not let in.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::era::Era;
use crate::filter::fault::fault;
use crate::filter::reply::reply;
use crate::filter::webob::webob;
use crate::filter::{Context, Request, Response};

/// Makes the answers.
#[derive(Debug)]
pub struct Refusal {
    era: Era,
    /// `WWW-Authenticate`
    challenge: HeaderValue,
}

impl Refusal {
    /// `uri` is where clients get tokens. Without one the challenge names what Python writes for nothing.
    pub fn new(era: Era, uri: Option<&str>) -> Self {
        let (quote, uri) = (if era >= Era::KSM_5_1 { '"' } else { '\'' }, uri.unwrap_or("None"));
        let challenge = HeaderValue::try_from(format!("Keystone uri={quote}{uri}{quote}"));
        Self { era, challenge: challenge.unwrap_or(HeaderValue::from_static("Keystone")) }
    }

    /// Tells a client where to go for a token.
    pub fn challenge(&self, headers: &mut HeaderMap) {
        headers.append(WWW_AUTHENTICATE, self.challenge.clone());
    }

    /// 401.
    pub fn unauthorized(&self, request: &Request) -> Response {
        const JSON: &str = "{\"error\": {\"code\": 401, \"title\": \"Unauthorized\", \"message\": \"The request you have \
                            made requires authentication.\"}}";
        const TEXT: &str = "Authentication required";
        let (content_type, body) = if self.era >= Era::KSM_4_5 {
            ("application/json", JSON)
        } else if self.era >= Era::KSM_2_0 {
            ("text/html; charset=UTF-8", TEXT)
        } else {
            ("text/plain", TEXT)
        };
        let mut response = reply(request, StatusCode::UNAUTHORIZED, content_type, body.to_owned());
        if self.era < Era::KSM_2_0 && request.method() == Method::HEAD {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
        self.challenge(response.headers_mut());
        response
    }

    /// 503.
    pub fn unavailable(&self, cx: &Context, request: &Request) -> Response {
        let detail = if self.era >= Era::KSM_5_0 { "The Keystone service is temporarily unavailable." } else { "" };
        webob(cx.release, StatusCode::SERVICE_UNAVAILABLE, None, detail, request)
    }

    /// 500: what became of an exception that nobody caught.
    pub fn broken(&self, cx: &Context, request: &Request) -> Response {
        if cx.faultwrap {
            return fault(cx, request, StatusCode::INTERNAL_SERVER_ERROR, None, None);
        }
        let mut response = reply(request, StatusCode::INTERNAL_SERVER_ERROR, "text/plain", String::new());
        response.headers_mut().remove(CONTENT_TYPE);
        response
    }
}
