//! The one place where an error of the front becomes bytes for a client.
//!
//! A worker's failure is a Nova fault where faultwrap stands in the path (as an exception of the app would be), a page
//! of WebOb's where catch_errors does, else a plain 502. What the log must know stays in the log.

use http::{HeaderValue, StatusCode, header};
use hyper::ext::ReasonPhrase;

use super::door::Refusal;
use super::upstream::UpstreamError;
use crate::filter::ec2;
use crate::filter::fault::fault;
use crate::filter::webob::webob;
use crate::filter::{Body, Context, Request, Response};
use crate::worker::QueueError;

/// The explanation that Nova gives for an exception whose text is not for clients (webob's HTTPInternalServerError).
const INTERNAL: &str = "The server has either erred or is incapable of performing the requested operation.";
/// webob's HTTPServiceUnavailable.
const UNAVAILABLE: &str = "The server is currently unavailable. Please try again at a later time.";
/// Seconds after which a client may try again when the queue was full.
const RETRY_AFTER: u64 = 1;

/// Why the worker's side gave no response.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No worker could be had.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The worker failed.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// `worker_chunked = refuse`.
    #[error("a body without a length is refused")]
    LengthRequired,
    /// `worker_chunked = spool`, and the body is longer than the spool.
    #[error("a body without a length is too long to be held")]
    TooLarge,
}

impl Failure {
    /// Whether clients can bring it about as often as they like: no reason to fill the log. The metrics count it.
    pub fn is_the_clients(&self) -> bool {
        match self {
            Self::Upstream(error) => matches!(error, UpstreamError::Client(_) | UpstreamError::TooLarge(_)),
            Self::Queue(_) | Self::LengthRequired | Self::TooLarge => true,
        }
    }
}

/// The response to a request that no worker answered.
pub fn failure(failure: &Failure, cx: &Context, request: &Request) -> Response {
    let (status, text, retry) = match failure {
        Failure::Queue(_) => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, Some(RETRY_AFTER)),
        Failure::LengthRequired => (StatusCode::LENGTH_REQUIRED, "A body needs a Content-Length here.", None),
        Failure::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Request is too large.", None),
        Failure::Upstream(UpstreamError::Client(_)) => {
            (StatusCode::BAD_REQUEST, "The request's body was cut off.", None)
        }
        Failure::Upstream(UpstreamError::TooLarge(_)) => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's headers are too large.", None)
        }
        Failure::Upstream(_) if cx.ec2.faultwrap => return ec2::exception(cx, request),
        Failure::Upstream(_) if cx.faultwrap || cx.catch_errors => (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL, None),
        // As eventlet answers an exception of the app's.
        Failure::Upstream(UpstreamError::App(_)) if !cx.faultwrap && !cx.catch_errors => return crashed(),
        Failure::Upstream(_) => (StatusCode::BAD_GATEWAY, "The worker failed to answer.", None),
    };
    let mut response = if cx.faultwrap {
        fault(cx, request, status, Some(text), retry)
    } else if cx.catch_errors {
        webob(cx.release, status, Some(text), "", request)
    } else {
        plain(status, text)
    };
    if let Some(seconds) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An exception that nobody caught: eventlet.wsgi since Newton, which keeps the traceback to its log.
fn crashed() -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// The response to a request that did not get past the door; the connection is closed behind it.
pub fn refusal(refusal: Refusal) -> Response {
    // Status and reason as eventlet.wsgi gives them, which sends no body either.
    let (status, reason) = match refusal {
        Refusal::UriTooLong => (StatusCode::URI_TOO_LONG, "Request URI Too Long"),
        Refusal::HeaderTooLong => (StatusCode::BAD_REQUEST, "Header Line Too Long"),
        Refusal::Ambiguous => (StatusCode::BAD_REQUEST, "Bad Request"),
        Refusal::Tunnel => (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
    };
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response.extensions_mut().insert(ReasonPhrase::from_static(reason.as_bytes()));
    close(&mut response);
    response
}

/// The response on a connection whose API is gone from the configuration.
pub fn gone() -> Response {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "This API is no longer served here.");
    close(&mut response);
    response
}

/// Has the connection closed behind the response.
pub fn close(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(format!("{status}\n\n{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    response
}
