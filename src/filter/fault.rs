//! Nova's fault bodies, as `nova.api.openstack.wsgi.Fault` writes them: JSON, and XML up to Juno.
//!
//! Must not know why a request failed.

use http::header::{ACCEPT, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use super::python::{is_python3, json_string, tag_escape};
use super::reply::reply;
use super::webob::explanation;
use super::{Context, Request, Response, accept, headers};
use crate::release::Release;

const JSON: &str = "application/json";
const XML: &str = "application/xml";

/// The fault for `status`; `message` is the sentence of WebOb's exception class when `None`.
///
/// `retry_after` (seconds) becomes a header, and with 413 and 429 a part of the body too.
/// The type is the one that the urlmap found, else that of the path's suffix or of `Accept`. In Havana a vendor's
/// type (`application/vnd.openstack.compute+json`) ended in a traceback, because no serializer knew it;
/// here it is the plain JSON or XML that it stands for.
pub fn fault(
    cx: &Context,
    request: &Request,
    status: StatusCode,
    message: Option<&str>,
    retry_after: Option<u64>,
) -> Response {
    let message = message.unwrap_or_else(|| explanation(status));
    with_details(cx, request, status, message, None, retry_after)
}

/// The fault of a request that was too much: `details` tells which limit it went over, `retry_after` (seconds) when
/// there will be room again. Nova's `RateLimitFault`, Havana and later.
pub fn over_limit(cx: &Context, request: &Request, details: &str, retry_after: u64) -> Response {
    let message = "This request was rate-limited.";
    with_details(cx, request, StatusCode::TOO_MANY_REQUESTS, message, Some(details), Some(retry_after))
}

fn with_details(
    cx: &Context,
    request: &Request,
    status: StatusCode,
    message: &str,
    details: Option<&str>,
    retry_after: Option<u64>,
) -> Response {
    let code = status.as_u16();
    let name = name(status);
    let retry = retry_after.filter(|_| matches!(code, 413 | 429));
    let (content_type, body) = if is_xml(cx, request) {
        let retry = retry.map(|s| format!(" retryAfter=\"{s}\"")).unwrap_or_default();
        let escape = |text| tag_escape(text).replace('"', "&quot;");
        let message = escape(message);
        let details = details.map(|text| format!("<details>{}</details>", escape(text))).unwrap_or_default();
        let body = format!(
            "<{name} code=\"{code}\"{retry} xmlns=\"http://docs.openstack.org/compute/api/v1.1\">\
             <message>{message}</message>{details}</{name}>"
        );
        ("application/xml; charset=UTF-8", body)
    } else {
        let retry = retry.map(|s| format!(", \"retryAfter\": \"{s}\"")).unwrap_or_default();
        let message = json_string(message);
        let details = details.map(|text| format!(", \"details\": {}", json_string(text))).unwrap_or_default();
        // Python 2 had no order of its own; this is the one that its hashes gave.
        let body = if is_python3(cx.release) {
            format!("{{\"{name}\": {{\"code\": {code}, \"message\": {message}{details}{retry}}}}}")
        } else {
            format!("{{\"{name}\": {{\"message\": {message}, \"code\": {code}{retry}{details}}}}}")
        };
        ("application/json; charset=UTF-8", body)
    };
    let mut response = reply(request, status, content_type, body);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn name(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "badRequest",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "itemNotFound",
        405 => "badMethod",
        409 => "conflictingRequest",
        413 | 429 => "overLimit",
        415 => "badMediaType",
        501 => "notImplemented",
        503 => "serviceUnavailable",
        _ => "computeFault",
    }
}

fn is_xml(cx: &Context, request: &Request) -> bool {
    if cx.release > Release::JUNO {
        return false;
    }
    if let Some(best) = cx.best_content_type {
        return best.ends_with("xml");
    }
    match cx.path_info.rsplit(|&b| b == b'.').next() {
        Some(b"xml") => return true,
        Some(b"json") => return false,
        _ => {}
    }
    let text = headers::joined(request.headers(), &ACCEPT).unwrap_or_default();
    accept::best_match(&text, &[JSON, XML]).is_some_and(|best| best.offer == XML)
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

    use super::*;
    use crate::filter::harness::{Case, text};

    const BROKEN: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

    #[test]
    fn each_python_has_its_order_of_keys() {
        let mut case = Case::new("GET", "/v2/p1/flavors").release(Release::HAVANA);
        let response = fault(&case.cx, &case.request, BROKEN, None, None);
        assert_eq!(response.headers()[CONTENT_LENGTH], "128");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json; charset=UTF-8");
        assert_eq!(
            text(response),
            r#"{"computeFault": {"message": "The server has either erred or is incapable of performing the requested operation.", "code": 500}}"#
        );
        case = case.release(Release::NOVA_31);
        assert_eq!(
            text(fault(&case.cx, &case.request, BROKEN, None, None)),
            r#"{"computeFault": {"code": 500, "message": "The server has either erred or is incapable of performing the requested operation."}}"#
        );
    }

    #[test]
    fn xml_has_the_recorded_bytes() {
        let case = Case::new("GET", "/v2/p1/flavors").release(Release::HAVANA).header("accept", XML);
        let response = fault(&case.cx, &case.request, BROKEN, None, None);
        assert_eq!(response.headers()[CONTENT_LENGTH], "192");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/xml; charset=UTF-8");
        assert_eq!(
            text(response),
            "<computeFault code=\"500\" xmlns=\"http://docs.openstack.org/compute/api/v1.1\"><message>The server has \
             either erred or is incapable of performing the requested operation.</message></computeFault>"
        );
    }

    #[test]
    fn the_type_is_the_urlmaps_then_the_suffix_then_accept() {
        let is_xml = |case: &Case| super::is_xml(&case.cx, &case.request);
        let mut case = Case::new("GET", "/servers.json").release(Release::JUNO).header("accept", XML);
        assert!(!is_xml(&case));
        case.cx.best_content_type = Some("application/vnd.openstack.compute+xml");
        assert!(is_xml(&case));
        assert!(is_xml(&Case::new("GET", "/servers.xml").release(Release::HAVANA)));
        assert!(!is_xml(&Case::new("GET", "/servers.xml").release(Release::KILO)));
    }

    #[test]
    fn retry_after_is_a_header_and_a_part_of_an_over_limit_fault() {
        let case = Case::new("GET", "/").release(Release::HAVANA);
        let response = fault(&case.cx, &case.request, StatusCode::TOO_MANY_REQUESTS, Some("slow \"down\""), Some(7));
        assert_eq!(response.headers()[RETRY_AFTER], "7");
        assert_eq!(text(response), r#"{"overLimit": {"message": "slow \"down\"", "code": 429, "retryAfter": "7"}}"#);
        let case = Case::new("GET", "/");
        let response = fault(&case.cx, &case.request, StatusCode::SERVICE_UNAVAILABLE, Some("full"), Some(1));
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(text(response), r#"{"serviceUnavailable": {"code": 503, "message": "full"}}"#);
    }
}
