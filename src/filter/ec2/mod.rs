//! The front halves of the EC2 API's filters (`nova/api/ec2/__init__.py`, Havana to Liberty): `ec2faultwrap`,
//! `logrequest`, `ec2lockout`, `ec2keystoneauth`, `ec2noauth`; here what they share: parameters and error documents.
//!
//! An EC2 request has its parameters in the query string or in a form. A form is held in memory, up to
//! [`LARGEST_FORM`], where a filter has to read it, and goes on as it came.
//! Must not know actions or their results.

pub mod fault_wrapper;
pub mod keystone_auth;
pub mod lockout;
pub mod no_auth;
pub mod request_logging;

use std::pin::Pin;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};

use super::body::Whole;
use super::prelude::*;
use super::reply::reply;
use super::request_id::generate;
use super::webob::{explanation, webob};

/// The parameter that names the access key.
const ACCESS_KEY: &str = "AWSAccessKeyId";
/// A longer form is refused with 413. The original reads any; EC2 itself takes no user data beyond 16 KiB.
const LARGEST_FORM: u64 = 1024 * 1024;

/// The error document: `<Response><Errors>…`, as `ec2_error` and `ec2_error_ex` of the original write it.
fn error(request: &Request, status: StatusCode, code: &str, message: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\"?>\n<Response><Errors><Error><Code>{}</Code><Message>{}</Message></Error></Errors>\
         <RequestID>{}</RequestID></Response>",
        escape(code),
        escape(message),
        generate(),
    );
    let mut response = reply(request, status, "text/xml", body);
    // In this order the original's come.
    let length = response.headers_mut().remove(CONTENT_LENGTH);
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
    response
}

/// What an exception below these filters is answered with: the error document where `ec2faultwrap` stands above, which
/// in turn needs an access key in the parameters to say anything but 400.
pub fn exception(cx: &Context, request: &Request) -> Response {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    if !cx.ec2.faultwrap {
        return webob(cx.release, status, None, "", request);
    }
    // A form that is not in memory any more has one, as all that clients send do.
    if parameter(request, ACCESS_KEY).is_some() || is_form(request) {
        error(request, status, "HTTPInternalServerError", explanation(status))
    } else {
        webob(cx.release, StatusCode::BAD_REQUEST, None, "", request)
    }
}

/// `xhtml_escape` of nova.utils.
fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('>', "&gt;").replace('<', "&lt;");
    text.replace('"', "&quot;").replace('\'', "&apos;")
}

/// WebOb parses the body of these as a form.
fn is_form(request: &Request) -> bool {
    let of_type = |value: &HeaderValue| {
        let name = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    };
    matches!(*request.method(), Method::POST | Method::PUT) && request.headers().get(CONTENT_TYPE).is_some_and(of_type)
}

/// What to wait for until a form is in memory; `None` when there is nothing to wait for.
fn awaited_form(request: &mut Request) -> Option<Pin<Box<dyn Future<Output = Answer>>>> {
    if !is_form(request) || !matches!(request.body(), Body::Stream(_)) {
        return None;
    }
    let body = std::mem::take(request.body_mut());
    Some(Box::pin(async move { Box::new(body.whole(LARGEST_FORM).await) as Answer }))
}

/// Puts a form back into its request.
///
/// # Errors
/// The answer to a form that is too long or broke off.
fn hold_form(cx: &Context, request: &mut Request, form: Whole) -> Result<(), Response> {
    match form {
        Whole::Bytes(bytes) => {
            request.headers_mut().remove(TRANSFER_ENCODING);
            request.headers_mut().insert(CONTENT_LENGTH, bytes.len().into());
            *request.body_mut() = Body::Full(bytes);
            Ok(())
        }
        Whole::TooLarge => Err(webob(cx.release, StatusCode::PAYLOAD_TOO_LARGE, None, "", request)),
        Whole::Broken(_) => Err(webob(cx.release, StatusCode::BAD_REQUEST, None, "", request)),
    }
}

/// WebOb's `dict(req.params)`: of the query string and the form, which must be in memory. The query string wins, and
/// of equal names in one of them the last.
fn parameters(request: &Request) -> Vec<(String, String)> {
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let form = match request.body() {
        Body::Full(bytes) if is_form(request) => &bytes[..],
        _ => &[],
    };
    let mut found: Vec<(String, String)> = Vec::new();
    for part in [query, form] {
        let before = found.len();
        for (name, value) in form_urlencoded::parse(part) {
            match found.iter().position(|(known, _)| *known == name) {
                Some(place) if place < before => {}
                Some(place) => {
                    if let Some((_, old)) = found.get_mut(place) {
                        *old = value.into_owned();
                    }
                }
                None => found.push((name.into_owned(), value.into_owned())),
            }
        }
    }
    found
}

fn parameter(request: &Request, name: &str) -> Option<String> {
    parameters(request).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, text};

    #[test]
    fn the_query_wins_over_the_form_and_the_last_of_equal_names_counts() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let case = Case::new("POST", "/?a=1&a=2&b=x+y").header("content-type", form).body(Body::from("a=3&c=%3D&c=4"));
        let found = parameters(&case.request);
        let found: Vec<_> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(found, ["a=2", "b=x y", "c=4"]);
        let plain = Case::new("POST", "/").header("content-type", "text/plain").body(Body::from("a=3"));
        assert!(parameters(&plain.request).is_empty());
    }

    #[test]
    fn an_error_document_is_well_formed_whatever_it_says() {
        let response = error(&Case::new("GET", "/").request, StatusCode::BAD_REQUEST, "A<", "it's \"&\"");
        let names: Vec<_> = response.headers().keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["content-type", "content-length"]);
        let text = text(response);
        assert!(text.contains("<Code>A&lt;</Code><Message>it&apos;s &quot;&amp;&quot;</Message>"), "{text}");
        assert!(text.contains("<RequestID>req-"), "{text}");
    }
}
