//! From a request at its mount to a worker's response: a lease, a wire, an exchange, and another try where that is safe.
//!
//! A request is sent again only if no byte of it reached a worker, or if it is a GET, HEAD or OPTIONS without a body
//! and no byte of a response came back (a replayed DELETE would answer 404). Must not know the tree.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use http::Method;
use tokio::net::UnixSocket;

use super::asked::{Answer, Asked, Place};
use super::descriptors;
use super::live::ApiView;
use super::respond::Failure;
use super::snapshot::{ChunkedBodies, Protocol};
use super::thread::Thread;
use super::upgrade::{Tunnel, Upgrade};
use super::upstream::decode::Length;
use super::upstream::encode::{self, Framing};
use super::upstream::framed::packet::{self, TokenJson};
use super::upstream::uwsgi;
use super::upstream::wire::Wire;
use super::upstream::{self, Hold, UpstreamError};
use crate::filter::{Body, Context, RemoteAddr, Request, Response, TokenFacts, Whole};
use crate::metrics::{self, QueueRejection};
use crate::worker::{Lease, QueueError, wire as names};

/// A request is given to at most so many workers.
const ATTEMPTS: usize = 4;

/// Has a worker answer the request.
///
/// # Errors
/// Why none did.
pub async fn forward(
    thread: &Rc<Thread>,
    api: &ApiView,
    place: &Place,
    mount: u32,
    cx: &Context,
    request: &mut Request,
) -> Result<Response, Failure> {
    let mut body = std::mem::take(request.body_mut());
    let mut framing = Framing::of(request.method(), body.length());
    if framing == Framing::Chunked {
        match api.api.wire.chunked {
            ChunkedBodies::Pass => {}
            ChunkedBodies::Refuse => return Err(Failure::LengthRequired),
            ChunkedBodies::Spool(limit) => {
                body = spool(body, limit).await?;
                framing = Framing::of(request.method(), body.length());
            }
        }
    }
    let safe = body.is_empty() && matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);

    let mut failed_life = None;
    let mut attempt = 1;
    let mut socket = None;
    loop {
        let lease = lease(api, failed_life).await?;
        let life = lease.member().life;
        let begun = Instant::now();
        let answer = match reach(thread, &lease, !(safe && attempt == 1), &mut socket).await {
            Ok(Some(wire)) => {
                exchange(thread, api, place, mount, cx, request, framing, &mut body, lease, wire, begun).await
            }
            Ok(None) => {
                // Others may have a wire to this worker.
                drop(lease);
                socket = Some(descriptor(thread, api).await?);
                continue;
            }
            Err(error) => Err(UpstreamError::Connect(error)),
        };
        match answer {
            Ok(response) => return Ok(response),
            Err(error) => {
                api.metrics.upstream_error(reason(&error));
                let again = error.nothing_sent() || (safe && error.nothing_received());
                if !again || attempt == ATTEMPTS {
                    return Err(error.into());
                }
                api.metrics.retry();
                failed_life = Some(life);
                attempt += 1;
            }
        }
    }
}

/// The error's word in the metrics.
fn reason(error: &UpstreamError) -> metrics::UpstreamError {
    match error {
        UpstreamError::Connect(_) => metrics::UpstreamError::Connect,
        UpstreamError::Refused(_) | UpstreamError::NotAccepted | UpstreamError::Died(_) | UpstreamError::Truncated => {
            metrics::UpstreamError::Closed
        }
        UpstreamError::Late => metrics::UpstreamError::Timeout,
        UpstreamError::Invalid(_) => metrics::UpstreamError::Malformed,
        UpstreamError::App(_) => metrics::UpstreamError::App,
        UpstreamError::Client(_) | UpstreamError::TooLarge(_) => metrics::UpstreamError::Io,
    }
}

/// A worker, at once or through the queue.
async fn lease(api: &ApiView, avoid: Option<u64>) -> Result<Lease, QueueError> {
    let pool = &api.api.pool;
    if let Some(lease) = pool.lease_now(avoid) {
        return Ok(lease);
    }
    let begun = Instant::now();
    let result = pool.lease(avoid).await;
    match result {
        Ok(_) => api.metrics.queued(begun.elapsed()),
        Err(QueueError::Full) => api.metrics.queue_rejected(QueueRejection::Full),
        Err(QueueError::Timeout) => api.metrics.queue_rejected(QueueRejection::Timeout),
    }
    result
}

/// A wire to a worker: a kept one, else a new one, on `socket` if that is there; `None`: no descriptor is left for it.
/// `sure`: only one that is certainly open.
async fn reach(
    thread: &Thread,
    lease: &Lease,
    sure: bool,
    socket: &mut Option<UnixSocket>,
) -> std::io::Result<Option<Wire>> {
    let member = lease.member();
    let kept = thread.idle.borrow_mut().take(member.life, sure);
    if kept.is_some() {
        // What was waited for is for the next in the line.
        *socket = None;
        return Ok(kept);
    }
    let socket = match socket.take().map_or_else(|| thread.descriptors.socket_now(), Ok) {
        // That says nothing against the worker.
        Err(error) if descriptors::were_wanting(&error) => return Ok(None),
        socket => socket?,
    };
    let wire = Wire::connect(socket, &member.socket, member.life).await.inspect_err(|_| lease.failed())?;
    Ok(Some(wire))
}

/// A descriptor for a wire, waited for as others wait for a worker: as long, with the same end, counted with them.
async fn descriptor(thread: &Thread, api: &ApiView) -> Result<UnixSocket, Failure> {
    let begun = Instant::now();
    match tokio::time::timeout(api.api.pool.queue_timeout(), thread.descriptors.socket()).await {
        Ok(socket) => {
            api.metrics.queued(begun.elapsed());
            Ok(socket.map_err(UpstreamError::Connect)?)
        }
        Err(_) => {
            api.metrics.queue_rejected(QueueRejection::Timeout);
            Err(QueueError::Timeout.into())
        }
    }
}

/// One attempt. `body` is left as it is if nothing was sent.
#[allow(clippy::too_many_arguments)]
async fn exchange(
    thread: &Rc<Thread>,
    api: &ApiView,
    place: &Place,
    mount: u32,
    cx: &Context,
    request: &Request,
    framing: Framing,
    body: &mut Body,
    lease: Lease,
    mut wire: Wire,
    begun: Instant,
) -> Result<Response, UpstreamError> {
    let upgrade = request.extensions().get::<Upgrade>().filter(|_| api.api.wire.protocol == Protocol::Http1);
    let framing = match api.api.wire.protocol {
        Protocol::Http1 => {
            write_head(&mut wire.output, api, mount, cx, request, framing, upgrade);
            framing
        }
        Protocol::Uwsgi => {
            uwsgi::write(&mut wire.output, cx, request, framing, &api.api.host)?;
            framing
        }
        Protocol::Framed => {
            let json =
                |pick: fn(&TokenFacts) -> Option<&Bytes>| cx.token.as_ref().and_then(pick).map_or(&[][..], |b| b);
            let token = TokenJson { info: json(|t| t.info.as_ref()), service: json(|t| t.service_info.as_ref()) };
            let (alone, host) = (api.api.pool.wanted() == 1, &api.api.host);
            packet::write(&mut wire.output, &packet::Call { mount, cx, request, framing, alone, host, token })
        }
    };
    let watch = api.api.wire.silence.map(|time| thread.overdue.watch(time));
    let exchange = upstream::start(wire, std::mem::take(body), framing, watch);
    let (protocol, method, upgrades) = (api.api.wire.protocol, request.method().clone(), upgrade.is_some());
    let (asked, answer) = place.head(Asked { exchange, lease, protocol, method, upgrades, begun }).await;
    judge(api, &asked, &answer);
    let Asked { exchange, lease, .. } = asked;
    let (head, first) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            if error.nothing_sent() {
                *body = exchange.into_body();
            }
            return Err(error);
        }
    };
    if head.length == Length::Tunnel
        && let Some(upgrade) = upgrade
    {
        let early = UpstreamError::Invalid("it switched protocols before it had the whole request");
        upgrade.agree(Tunnel { wire: exchange.finish().ok_or(early)?, first, lease });
        return Ok(head.response.map(|()| Body::Empty));
    }
    let hold = Hold { lease, idle: Rc::clone(&thread.idle), keep: head.keep_alive && api.api.wire.keep_alive };
    Ok(head.response.map(|()| upstream::body(exchange, head.length, first, hold)))
}

/// What the answer, or its want, says of the worker.
fn judge(api: &ApiView, asked: &Asked, answer: &Answer) {
    match answer {
        Ok(_) => {
            let took = asked.begun.elapsed();
            api.metrics.upstream(took);
            asked.lease.answered(asked.begun, took);
        }
        // An app's exception says nothing against the worker.
        Err(UpstreamError::Client(_) | UpstreamError::App(_)) => {}
        Err(UpstreamError::Late) => asked.lease.hang(),
        Err(_) => asked.lease.failed(),
    }
}

/// Waits for a worker's answer that nobody wants any more: until its head has come, the worker works on it. What comes
/// behind that it may keep; it hears so by the end of the connection.
pub async fn outlast(api: &ApiView, asked: Asked) {
    let (asked, answer) = Place::default().head(asked).await;
    judge(api, &asked, &answer);
    if let Err(error) = answer {
        api.metrics.upstream_error(reason(&error));
    }
}

fn write_head(
    out: &mut Vec<u8>,
    api: &ApiView,
    mount: u32,
    cx: &Context,
    request: &Request,
    framing: Framing,
    upgrade: Option<&Upgrade>,
) {
    use std::io::Write;

    let rules = &api.api.wire;
    encode::head(out, request.method(), request.uri(), request.headers(), framing, &api.api.host);
    if let Some(upgrade) = upgrade {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
        out.extend_from_slice(upgrade.protocol.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    for fields in cx.told() {
        out.extend_from_slice(fields.lines());
    }
    address(out, names::REMOTE_ADDR.as_str(), cx);
    let lines = usize::try_from(mount).ok().and_then(|mount| api.mount_lines.get(mount));
    out.extend_from_slice(lines.map_or(&[], |lines| lines.as_bytes()));
    // Without them, the worker takes the decoded path for PATH_INFO.
    if !cx.script_name.is_empty() || cx.path_info != request.uri().path().as_bytes() {
        use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
        const KEEP: &percent_encoding::AsciiSet =
            &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
        let (script, path) = (percent_encode(&cx.script_name, KEEP), percent_encode(&cx.path_info, KEEP));
        // Writing to a Vec cannot fail.
        drop(write!(out, "{}: {script}\r\n{}: {path}\r\n", names::SCRIPT_NAME, names::PATH_INFO));
    }
    environ(out, cx);
    if rules.forwarded {
        address(out, "x-forwarded-for", cx);
        encode::name(out, "x-forwarded-proto");
        one_line(out, cx.scheme.as_str());
    }
    out.extend_from_slice(b"\r\n");
}

/// What filters have put into the environ, as one line of JSON.
fn environ(out: &mut Vec<u8>, cx: &Context) {
    use crate::filter::Scheme;

    let (mut separator, begun) = ("{", out.len());
    let mut put = |out: &mut Vec<u8>, key: &str, value: &dyn Fn(&mut Vec<u8>)| {
        if separator == "{" {
            encode::name(out, names::ENVIRON.as_str());
        }
        out.extend_from_slice(separator.as_bytes());
        separator = ",";
        out.push(b'"');
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":");
        value(out);
    };
    // Serialising a string or a JSON value to a Vec cannot fail; control characters are escaped by it.
    if let Some(mime) = cx.best_content_type {
        put(out, "nova.best_content_type", &|out| drop(serde_json::to_writer(out, mime)));
    }
    if cx.scheme != Scheme::Http {
        put(out, "wsgi.url_scheme", &|out| drop(serde_json::to_writer(out, cx.scheme.as_str())));
    }
    for (key, value) in cx.values() {
        put(out, key, &|out| value.write(out));
    }
    if separator == "," {
        encode::escape_json(out, begun);
        out.extend_from_slice(b"}\r\n");
    }
}

/// The client's address as a header line.
fn address(out: &mut Vec<u8>, name: &str, cx: &Context) {
    encode::name(out, name);
    match &cx.remote_addr {
        RemoteAddr::Peer(_) => one_line(out, &cx.peer_text),
        RemoteAddr::Said(text) => one_line(out, text),
    }
}

/// The rest of a header line. Text of a client's stays one line, whatever is in it.
fn one_line(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| !byte.is_ascii_control()));
    out.extend_from_slice(b"\r\n");
}

/// Reads a body of unknown length, up to a limit.
async fn spool(body: Body, limit: u64) -> Result<Body, Failure> {
    match body.whole(limit).await {
        Whole::Bytes(bytes) => Ok(Body::Full(bytes)),
        Whole::TooLarge => Err(Failure::TooLarge),
        Whole::Broken(error) => Err(UpstreamError::Client(error.to_string()).into()),
    }
}
