//! A client's connection: hyper on its socket, the requests that come on it, and an eye on silence.
//!
//! No timer per request: the data thread's tick looks at every connection (see [`Peer::overdue`]).
//! Must not know the tree.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Poller, Poll, Waker};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::asked::Place;
use super::holder::{Holder, method_word};
use super::incoming::{self, ClientBody};
use super::live::{ApiView, View};
use super::outgoing::{Outgoing, Trace};
use super::respond;
use super::thread::Thread;
use super::upgrade::{Tunnel, Upgrade};
use super::{balancer, pipeline, snapshot::Limits};
use crate::filter::{Body, Context, RemoteAddr, Scheme};
use crate::id::Generation;
use crate::metrics::TunnelEnd;

/// Names the generation that answered (`generation_header`).
const GENERATION: HeaderName = HeaderName::from_static("x-pasteway-generation");
/// A request head must be whole within this time of its first byte.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// A client that neither sends the body it announced nor takes its response is given up after this time, also where
/// the era has no `client_socket_timeout`.
const STALLED: Duration = Duration::from_secs(900);
/// More bytes of request head than this are refused (eventlet's MAX_TOTAL_HEADER_SIZE and a request line).
const MAX_HEAD: usize = 96 * 1024;

/// The other end of a connection, as the thread's tick sees it.
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Its address as text, for the log.
    pub ip_text: Rc<str>,
    /// The listener that took it.
    pub listener: u64,
    /// When in the lame duck time its turn to end is, from 0 to 1.
    turn: f64,
    tls: bool,
    /// The request on it.
    request: RefCell<Option<Running>>,
    /// Where that is while a worker has it.
    place: Place,
    /// The client has gone, and a worker is still at its request.
    client_gone: Cell<bool>,
    /// The last byte that went either way.
    active: Cell<Instant>,
    /// The first byte of a head that is not whole yet.
    head_began: Cell<Option<Instant>>,
    /// Bytes of the request's body that have come.
    received: Cell<u64>,
    /// The client does not take what is to be written.
    write_blocked: Cell<bool>,
    /// Since when somebody waits for more of the request's body.
    body_awaited: Cell<Option<Instant>>,
    /// How long somebody has waited for the body before.
    waited: Cell<Duration>,
    /// The request has no answer yet.
    unanswered: Cell<bool>,
    /// Its body, if that was let go without an answer and before its end.
    unread: RefCell<Option<Incoming>>,
    /// The thread's clock, as of its last tick: exact enough for silence, and free.
    clock: Rc<Cell<Instant>>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    /// What is spoken on it once its last response is written.
    tunnel: RefCell<Option<(Tunnel, Trace)>>,
    /// That is spoken now: silence of both ends counts.
    tunnelling: Cell<bool>,
}

/// A request that has not ended.
struct Running {
    began: Instant,
    /// What it began with; once it is answered, what serves with the same workers.
    view: Rc<View>,
    /// Of the view.
    api: Rc<ApiView>,
    method: &'static str,
    harmless: bool,
    /// The head of its answer is there.
    answered: bool,
}

/// What the thread wants of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Serve,
    /// Finish the request on it, then close.
    Finish,
    /// Close now.
    Drop,
    /// Close now: a tunnel in which nothing has come for too long.
    Expire,
}

impl Peer {
    fn new(address: SocketAddr, listener: u64, tls: bool, clock: Rc<Cell<Instant>>) -> Self {
        Self {
            address,
            ip_text: address.ip().to_canonical().to_string().into(),
            listener,
            turn: fastrand::f64(),
            tls,
            request: RefCell::new(None),
            place: Place::default(),
            client_gone: Cell::new(false),
            active: Cell::new(clock.get()),
            head_began: Cell::new(None),
            received: Cell::new(0),
            write_blocked: Cell::new(false),
            body_awaited: Cell::new(None),
            waited: Cell::default(),
            unanswered: Cell::new(false),
            unread: RefCell::new(None),
            clock,
            order: Cell::new(Order::Serve),
            waker: RefCell::new(None),
            tunnel: RefCell::new(None),
            tunnelling: Cell::new(false),
        }
    }

    /// A request's head has been read.
    pub fn begin(&self, began: Instant, view: Rc<View>, api: Rc<ApiView>, method: &Method) {
        let (method, harmless) = method_word(method);
        view.usage.begin();
        *self.request.borrow_mut() = Some(Running { began, view, api, method, harmless, answered: false });
        self.head_began.set(None);
        self.received.set(0);
        self.waited.set(Duration::ZERO);
        self.unanswered.set(true);
    }

    /// Somebody looked for more of the request's body: so many bytes were there, or none yet.
    pub fn body_polled(&self, pending: bool, bytes: u64) {
        match self.body_awaited.get() {
            None if pending => self.body_awaited.set(Some(Instant::now())),
            Some(_) if !pending => {
                self.waited.set(self.waited());
                self.body_awaited.set(None);
            }
            _ => {}
        }
        self.received.set(self.received.get() + bytes);
    }

    /// Nobody wants the rest of the request's body. Behind the answer that is hyper's to deal with.
    pub fn let_go(&self, unread: Incoming) {
        if self.unanswered.get() {
            *self.unread.borrow_mut() = Some(unread);
        }
    }

    /// The request has its answer. What was let go of its body until now.
    fn unread(&self) -> Option<Incoming> {
        self.unanswered.set(false);
        self.unread.take()
    }

    /// Bytes of the request's body that have come so far.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    /// How long the request was in its client's hands: somebody waited for its body. No more than a look at the clock
    /// where that is still so.
    pub fn waited(&self) -> Duration {
        self.waited.get() + self.body_awaited.get().map(|since| since.elapsed()).unwrap_or_default()
    }

    /// The head of its answer is there. What its generation answers for ends here, and has begun with the request's head,
    /// without the time that the client took for the body. Who gets no answer is counted by nobody.
    pub fn answered(&self, status: u16) {
        if let Some(running) = &mut *self.request.borrow_mut() {
            running.view.usage.count(status, running.began.elapsed().saturating_sub(self.waited()));
            running.answered = true;
        }
    }

    /// What is answered needs nothing of its generation any more but the workers: where one that serves now has them, it
    /// is that one's from now on.
    pub fn follow_workers(&self, serving: &[Rc<View>]) {
        let mut request = self.request.borrow_mut();
        let Some(running) = request.as_mut().filter(|running| running.answered) else { return };
        if serving.iter().any(|view| Rc::ptr_eq(view, &running.view)) {
            return;
        }
        let pool = &running.api.api.pool;
        if let Some((view, api)) = serving.iter().find_map(|view| Some((view, view.api_on(pool)?))) {
            view.usage.begin();
            running.view.usage.end();
            (running.view, running.api) = (Rc::clone(view), Rc::clone(api));
        }
    }

    /// What it was upgraded to is over.
    fn tunnel_ended(&self, end: TunnelEnd) {
        if let Some(running) = &*self.request.borrow() {
            running.api.metrics.tunnel_ended(end);
        }
    }

    /// What the request is to.
    pub fn api(&self) -> Option<Rc<ApiView>> {
        self.request.borrow().as_ref().map(|running| Rc::clone(&running.api))
    }

    /// Its response has been written, or given up. A request that a worker still has ends later.
    pub fn end(&self) {
        self.body_awaited.set(None);
        self.active.set(self.clock.get());
        if !self.place.is_left()
            && let Some(running) = self.request.take()
        {
            running.view.usage.end();
        }
    }

    /// Waits for the worker that has the request of a client that is gone, unless that is ended before.
    async fn outlast(&self) {
        let Some(asked) = self.place.take_left() else { return };
        if let Some(api) = self.api() {
            self.client_gone.set(true);
            self.write_blocked.set(false);
            tokio::select! {
                biased;
                _ = self.dropped() => {}
                () = balancer::outlast(&api, asked) => {}
            }
        }
        self.end();
    }

    /// The request on it, and the generation that it holds.
    pub fn holder(&self) -> Option<(Generation, Holder)> {
        self.request.borrow().as_ref().map(|running| {
            let Running { began, view, api, method, .. } = running;
            let (api, client_gone) = (api.api.name.clone(), self.client_gone.get());
            (view.snapshot.generation, Holder { peer: self.address, api, method, began: *began, client_gone })
        })
    }

    /// Whether the request on it changes nothing.
    pub fn is_harmless(&self) -> bool {
        self.request.borrow().as_ref().is_none_or(|running| running.harmless)
    }

    fn is_idle(&self) -> bool {
        self.request.borrow().is_none()
    }

    /// Finishes the request on it and closes; an idle connection closes now.
    pub fn finish(&self) {
        self.tell(Order::Finish);
    }

    /// Closes it now.
    pub fn drop_now(&self) {
        self.tell(Order::Drop);
    }

    /// Closes a connection whose client has been silent, or has not taken its response, for too long; one that carries
    /// something else than HTTP when neither end has said anything that the other took.
    pub fn overdue(&self, now: Instant, limits: &Limits) {
        let silent = now.saturating_duration_since(self.active.get());
        if self.tunnelling.get() {
            if limits.idle.is_some_and(|limit| silent > limit) {
                self.tell(Order::Expire);
            }
            return;
        }
        let late_head = self.head_began.get().is_some_and(|began| now.saturating_duration_since(began) > HEAD_TIME);
        if self.is_idle() {
            let silent_in_head = self.head_began.get().is_some() && limits.idle.is_some_and(|limit| silent > limit);
            if late_head || silent_in_head {
                self.drop_now();
            } else if limits.idle.is_some_and(|limit| silent > limit) {
                self.finish();
            }
        } else if (self.write_blocked.get() || self.body_awaited.get().is_some())
            && silent > limits.idle.unwrap_or(STALLED)
        {
            self.drop_now();
        }
    }

    /// Closes a connection without a request on which nothing has come for so long.
    pub fn finish_if_silent(&self, now: Instant, quiet: Duration) {
        if self.is_idle() && now.saturating_duration_since(self.active.get()) >= quiet {
            self.finish();
        }
    }

    /// Remembers whom to wake when the thread wants something.
    fn listen(&self, cx: &Poller<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Completes when what is left of it, a tunnel or a request without its client, is to end at once, with the reason.
    async fn dropped(&self) -> TunnelEnd {
        poll_fn(|cx| {
            self.listen(cx);
            match self.order.get() {
                Order::Serve | Order::Finish => Poll::Pending,
                Order::Drop => Poll::Ready(TunnelEnd::Asked),
                Order::Expire => Poll::Ready(TunnelEnd::Timeout),
            }
        })
        .await
    }

    fn tell(&self, order: Order) {
        self.order.set(order);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Serves a connection to its end.
pub async fn serve<S>(thread: Rc<Thread>, stream: S, address: SocketAddr, listener: u64, tls: bool, keep_alive: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let peer = Rc::new(Peer::new(address, listener, tls, thread.clock()));
    let mut entry = thread.enter(&peer);
    let io = TokioIo::new(Watched { stream, peer: Rc::clone(&peer) });
    let service = service_fn({
        let (thread, peer) = (Rc::clone(&thread), Rc::clone(&peer));
        move |request| serve_request(Rc::clone(&thread), Rc::clone(&peer), request)
    });
    let mut connection = http1::Builder::new()
        .keep_alive(keep_alive)
        // The original's server writes its header names so.
        .title_case_headers(true)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, service);
    let ended = poll_fn(|cx| {
        match peer.order.get() {
            Order::Serve => {}
            Order::Finish => Pin::new(&mut connection).graceful_shutdown(),
            Order::Drop | Order::Expire => return Poll::Ready(Ok(())),
        }
        peer.listen(cx);
        Pin::new(&mut connection).poll(cx)
    })
    .await;
    let switched = peer.tunnel.take().filter(|_| ended.is_ok());
    if let Err(error) = ended {
        tracing::debug!(target: "pasteway::proxy", client = &*peer.ip_text, "connection ended: {error}");
    }
    if let Some((tunnel, trace)) = switched {
        let parts = connection.into_parts();
        peer.tunnelling.set(true);
        let worker = Arc::clone(tunnel.lease.member());
        let end = tokio::select! {
            carried = tunnel.carry(parts.io.into_inner(), &parts.read_buf) => {
                if carried.is_ok() { TunnelEnd::Closed } else { TunnelEnd::Io }
            }
            end = peer.dropped() => end,
            () = worker.parted() => {
                tracing::warn!(
                    target: "pasteway::proxy",
                    "the upgraded connection from {address} is ended: its worker {} has waited long enough", worker.slot,
                );
                TunnelEnd::Asked
            }
        };
        peer.tunnel_ended(end);
        drop(trace);
    } else {
        // With it goes the service, and what that was at.
        drop(connection);
        entry.client_gone();
        peer.outlast().await;
    }
}

/// One request: one view of the configuration from here to the last byte of the response.
async fn serve_request(
    thread: Rc<Thread>,
    peer: Rc<Peer>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Outgoing>, Infallible> {
    let started = Instant::now();
    let view = thread.view_for(request.headers());
    let Some(api) = view.api_of(peer.listener).map(Rc::clone) else {
        return Ok(respond::gone().map(Outgoing::untraced));
    };
    let header = view.header.clone();
    let (mut parts, body) = request.into_parts();
    let upgrade = Upgrade::asked(&parts).filter(|_| body.is_end_stream());
    if let Some(upgrade) = &upgrade {
        parts.extensions.insert(upgrade.clone());
    }
    let body = match body.is_end_stream() {
        true => Body::Empty,
        false => Body::Stream(Box::pin(ClientBody::new(body, &peer))),
    };
    let mut trace = Trace::begin(Rc::clone(&thread), view, Rc::clone(&api), Rc::clone(&peer), &parts, started);
    let mut request = http::Request::from_parts(parts, body);

    let trusted = api.api.door.trusted.believes(peer.address.ip());
    let mut response = match api.api.door.admit(&mut request, &api.api.limits, trusted) {
        Ok(()) => {
            let mut cx = context(&api, &peer, &request, started, trusted);
            let response = pipeline::walk(&thread, &api, &peer.place, &mut cx, &mut request).await;
            // For the access log alone.
            if api.api.access.is_some()
                && let Some(id) = cx.get("openstack.request_id").and_then(|id| id.as_str())
            {
                trace.identify(id);
            }
            response
        }
        Err(refusal) => respond::refusal(refusal),
    };
    if thread.sheds(peer.turn) {
        respond::close(&mut response);
    }
    drop(std::mem::take(request.body_mut()));
    if let Some(unread) = peer.unread()
        && !response.headers().contains_key(header::CONNECTION)
        && !incoming::discard(unread, &request, &peer).await
    {
        respond::close(&mut response);
    }
    if let Some(header) = header {
        response.headers_mut().insert(GENERATION, header);
    }
    let tunnel = upgrade.and_then(|upgrade| upgrade.take());
    if let Some(tunnel) = tunnel.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        let (response, trace) = trace.switch(response);
        *peer.tunnel.borrow_mut() = Some((tunnel, trace));
        return Ok(response);
    }
    Ok(trace.respond(response))
}

fn context(
    api: &ApiView,
    peer: &Peer,
    request: &crate::filter::Request,
    started: Instant,
    trusted_peer: bool,
) -> Context {
    let path = request.uri().path();
    let path_info = if path.as_bytes().contains(&b'%') {
        percent_encoding::percent_decode_str(path).collect()
    } else {
        path.as_bytes().to_vec()
    };
    Context {
        api: api.api.name.clone(),
        release: api.release,
        remote_addr: RemoteAddr::Peer(peer.address.ip().to_canonical()),
        peer_text: Rc::clone(&peer.ip_text),
        trusted_peer,
        scheme: if peer.tls { Scheme::Https } else { Scheme::Http },
        script_name: Vec::new(),
        path_info,
        best_content_type: None,
        faultwrap: false,
        ec2: Default::default(),
        catch_errors: false,
        user_id: None,
        environ: smallvec::SmallVec::new(),
        token: None,
        health: Rc::clone(&api.health),
        outside: Rc::clone(&api.outside),
        started,
        now: started,
    }
}

/// A stream whose activity the tick can see.
struct Watched<S> {
    stream: S,
    peer: Rc<Peer>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Poller<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() && buf.filled().len() > before {
            let now = self.peer.clock.get();
            self.peer.active.set(now);
            if self.peer.is_idle() && self.peer.head_began.get().is_none() {
                self.peer.head_began.set(Some(now));
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    fn wrote<T>(&self, polled: Poll<std::io::Result<T>>) -> Poll<std::io::Result<T>> {
        self.peer.write_blocked.set(polled.is_pending());
        if polled.is_ready() && !self.peer.is_idle() {
            self.peer.active.set(self.peer.clock.get());
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Poller<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Poller<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Poller<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
