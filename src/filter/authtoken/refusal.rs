//! The answers to those who are not let in, as each release gives them.
//!
//! Must not know why somebody is not let in.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode};

use super::era::Era;
use crate::filter::fault::fault;
use crate::filter::reply::reply;
use crate::filter::webob::webob;
use crate::filter::{Context, Request, Response};

/// `WWW-Authenticate`: where clients get tokens. Without a place it names what Python writes for nothing.
pub fn challenge(era: Era, uri: Option<&str>) -> HeaderValue {
    let (quote, uri) = (if era >= Era::KSM_5_1 { '"' } else { '\'' }, uri.unwrap_or("None"));
    let text = format!("Keystone uri={quote}{uri}{quote}");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Keystone"))
}

/// 401.
pub fn unauthorized(era: Era, request: &Request, challenge: &HeaderValue) -> Response {
    const JSON: &str = "{\"error\": {\"code\": 401, \"title\": \"Unauthorized\", \"message\": \"The request you have \
                        made requires authentication.\"}}";
    const TEXT: &str = "Authentication required";
    let (content_type, body) = if era >= Era::KSM_4_5 {
        ("application/json", JSON)
    } else if era >= Era::KSM_2_0 {
        ("text/html; charset=UTF-8", TEXT)
    } else {
        ("text/plain", TEXT)
    };
    let mut response = reply(request, StatusCode::UNAUTHORIZED, content_type, body.to_owned());
    if era < Era::KSM_2_0 && request.method() == Method::HEAD {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
    response.headers_mut().append(WWW_AUTHENTICATE, challenge.clone());
    response
}

/// 503.
pub fn unavailable(era: Era, cx: &Context, request: &Request) -> Response {
    let detail = if era >= Era::KSM_5_0 { "The Keystone service is temporarily unavailable." } else { "" };
    webob(cx.release, StatusCode::SERVICE_UNAVAILABLE, None, detail, request)
}

/// 500: what became of an exception that nobody caught.
pub fn broken(cx: &Context, request: &Request) -> Response {
    if cx.faultwrap {
        return fault(cx, request, StatusCode::INTERNAL_SERVER_ERROR, None, None);
    }
    let mut response = reply(request, StatusCode::INTERNAL_SERVER_ERROR, "text/plain", String::new());
    response.headers_mut().remove(CONTENT_TYPE);
    response
}
