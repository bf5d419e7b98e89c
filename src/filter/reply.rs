//! Whole responses that the front makes itself.
//!
//! Must not know what they say or why.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use hyper::ext::ReasonPhrase;

use super::{Body, Request, Response};

/// A response with a length and a type. The answer to HEAD keeps the length and has no body.
pub fn reply(request: &Request, status: StatusCode, content_type: &'static str, body: String) -> Response {
    let length = body.len();
    let mut response = Response::new(if request.method() == Method::HEAD { Body::Empty } else { body.into() });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(title) = old_title(status) {
        response.extensions_mut().insert(ReasonPhrase::from_static(title.as_bytes()));
    }
    response
}

/// The words after the status code, as WebOb has them: `Request Entity Too Large`.
pub fn title(status: StatusCode) -> &'static str {
    old_title(status).or(status.canonical_reason()).unwrap_or("Unknown")
}

/// WebOb kept the words of RFC 2616 where later documents changed them.
const fn old_title(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        413 => Some("Request Entity Too Large"),
        414 => Some("Request-URI Too Long"),
        416 => Some("Request Range Not Satisfiable"),
        422 => Some("Unprocessable Entity"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::Case;

    #[test]
    fn the_answer_to_head_keeps_the_length_and_has_no_body() {
        let head = Case::new("HEAD", "/").request;
        let response = reply(&head, StatusCode::NOT_FOUND, "text/plain", "four".into());
        assert_eq!(response.headers()[CONTENT_LENGTH], "4");
        assert!(response.body().is_empty());
    }

    #[test]
    fn the_status_line_has_the_words_of_the_original() {
        let get = Case::new("GET", "/").request;
        let response = reply(&get, StatusCode::PAYLOAD_TOO_LARGE, "text/plain", String::new());
        let reason = response.extensions().get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
        assert_eq!(reason, Some(b"Request Entity Too Large".as_slice()));
        assert_eq!(title(StatusCode::NOT_FOUND), "Not Found");
    }
}
