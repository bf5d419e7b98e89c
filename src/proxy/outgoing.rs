//! A response's body on its way to the client, and what happens at its last byte: the request's entry in the
//! access log and in the metrics, and the end of its hold on the generation.
//!
//! Must not know what made the response.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, Version, header};
use http_body::{Frame, SizeHint};

use super::connection::Peer;
use super::live::{ApiView, View};
use super::thread::Thread;
use crate::filter::{Body, BodyError, Response};
use crate::id::Generation;
use crate::telemetry::AccessRecord;

/// Status in the log and the metrics of a request whose client went away before the response began (as nginx has it).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What hyper is given as a response's body.
pub struct Outgoing {
    body: Body,
    /// `None` for a request that belongs to no API.
    trace: Option<Trace>,
    chunked: bool,
}

impl Outgoing {
    /// The body of a response that nobody counts.
    pub fn untraced(body: Body) -> Self {
        Self { body, trace: None, chunked: false }
    }
}

/// A request from its head to its last byte. Its end is its drop, whatever ends it.
pub struct Trace {
    thread: Rc<Thread>,
    /// Knows what answers it.
    peer: Rc<Peer>,
    /// The one that it began with.
    generation: Generation,
    method: Method,
    uri: Uri,
    version: Version,
    started: Instant,
    status: u16,
    /// The request's id, where a filter gave it one.
    request_id: Option<String>,
    /// Bytes of the response's head.
    head: u64,
    /// Bytes of its body, without chunk framing.
    sent: u64,
    /// Bytes of chunk framing.
    framing: u64,
}

impl Trace {
    /// A request begins.
    pub fn begin(
        thread: Rc<Thread>,
        view: Rc<View>,
        api: Rc<ApiView>,
        peer: Rc<Peer>,
        request: &http::request::Parts,
        started: Instant,
    ) -> Self {
        api.metrics.started();
        let generation = view.snapshot.generation;
        peer.begin(started, view, api, &request.method);
        Self {
            thread,
            peer,
            generation,
            method: request.method.clone(),
            uri: request.uri.clone(),
            version: request.version,
            started,
            status: CLIENT_CLOSED_REQUEST,
            request_id: None,
            head: 0,
            sent: 0,
            framing: 0,
        }
    }

    /// A filter gave the request an id.
    pub fn identify(&mut self, request_id: &str) {
        self.request_id = Some(request_id.to_owned());
    }

    /// The head of the answer is there.
    fn answer(&mut self, response: &Response) {
        self.status = response.status().as_u16();
        self.peer.answered(self.status);
    }

    /// The response is the beginning of another protocol: the trace lasts as long as that is spoken.
    pub fn switch(mut self, response: Response) -> (http::Response<Outgoing>, Self) {
        self.answer(&response);
        self.head = head_bytes(&response, false, true);
        (response.map(Outgoing::untraced), self)
    }

    /// The response's head is known: the rest of the trace travels with its body.
    pub fn respond(mut self, response: Response) -> http::Response<Outgoing> {
        self.answer(&response);
        let bodiless = self.method == Method::HEAD
            || matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let chunked = !bodiless
            && self.version == Version::HTTP_11
            && !response.headers().contains_key(header::CONTENT_LENGTH)
            && response.body().length().is_none();
        self.head = head_bytes(&response, chunked, bodiless);
        let (parts, body) = response.into_parts();
        http::Response::from_parts(parts, Outgoing { body, trace: Some(self), chunked })
    }
}

/// Bytes of the head as hyper will write it.
fn head_bytes(response: &Response, chunked: bool, bodiless: bool) -> u64 {
    let status = response.status();
    let reason = response
        .extensions()
        .get::<hyper::ext::ReasonPhrase>()
        .map_or_else(|| status.canonical_reason().unwrap_or("<none>").len(), |r| r.as_bytes().len());
    let headers: &HeaderMap = response.headers();
    let mut bytes = "HTTP/1.1 200 \r\n".len() + reason + 2;
    bytes += headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    if !headers.contains_key(header::DATE) {
        bytes += "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len();
    }
    if chunked {
        bytes += "transfer-encoding: chunked\r\n".len();
    } else if !bodiless
        && !headers.contains_key(header::CONTENT_LENGTH)
        && let Some(length) = response.body().length()
    {
        bytes += "content-length: \r\n".len() + digits(length, 10);
    }
    bytes as u64
}

fn digits(n: u64, base: u64) -> usize {
    n.checked_ilog(base).map_or(1, |log| log as usize + 1)
}

impl Drop for Trace {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let Some(api) = self.peer.api() else { return };
        api.metrics.finished(&self.method, self.status, took, self.peer.received(), self.sent);
        self.peer.end();
        if let Some(style) = &api.api.access {
            let target = self.uri.path_and_query().map_or("/", |target| target.as_str());
            let version = if self.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" };
            self.thread.log.borrow_mut().log(
                style,
                &AccessRecord {
                    client_ip: &self.peer.ip_text,
                    client_port: self.peer.address.port(),
                    request_line: &[self.method.as_str().as_bytes(), target.as_bytes(), version.as_bytes()],
                    status: self.status,
                    body_length: self.head + self.sent + self.framing,
                    wall_seconds: took.as_secs_f64(),
                    request_id: self.request_id.as_deref(),
                    generation: self.generation.0,
                },
            );
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(trace) = &mut this.trace {
            match frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref) {
                Some(data) => {
                    trace.sent += data.len() as u64;
                    if this.chunked {
                        trace.framing += (digits(data.len() as u64, 16) + "\r\n\r\n".len()) as u64;
                    }
                }
                None if this.chunked => trace.framing += "0\r\n\r\n".len() as u64,
                None => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
