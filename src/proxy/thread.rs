//! A data thread: a current-thread runtime with its own connections, worker wires, metrics and access log. Nothing is
//! shared with its siblings on a request's way but the snapshot and the workers' permits.
//!
//! Must not know how connections are accepted or configuration is loaded.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;

use super::connection::{self, Peer};
use super::descriptors::Descriptors;
use super::holder::{Holder, Oldest};
use super::live::{CurrentView, Live, View};
use super::overdue::Overdue;
use super::upstream::wire::Idle;
use crate::filter::Outside;
use crate::id::{ApiName, Generation};
use crate::metrics::ThreadMetrics;
use crate::scheduler;
use crate::telemetry::AccessLog;

/// How often a thread looks after its connections, its idle wires and its access log.
pub const TICK: Duration = Duration::from_millis(250);
/// A TLS handshake must be done within this time.
const HANDSHAKE_TIME: Duration = Duration::from_secs(15);

/// What a data thread is told.
pub enum Message {
    /// Serve this connection.
    Connection(TcpStream, SocketAddr, u64),
    /// A new snapshot is live: look now. Answered when this thread begins no request of an older one any more.
    Refresh(oneshot::Sender<()>),
    /// End these requests, and tell which they were.
    End(Ending, oneshot::Sender<Vec<Holder>>),
    /// In the next so much time, say in an answer on each connection that it ends with it.
    LameDuck(Duration),
    /// Finish what is in flight and close every connection.
    Leave {
        /// One without a request is closed when so long nothing has come on it, and nobody was told to close it.
        quiet: Duration,
        /// Told when none is left. Dropping it is no error.
        done: oneshot::Sender<()>,
    },
}

/// Requests that have had their time.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The generation that they began with.
    pub generation: Generation,
    /// Only those of these APIs; `None` = of all.
    pub apis: Option<Vec<ApiName>>,
    /// Only those that change nothing.
    pub harmless: bool,
}

/// The way to a data thread.
pub struct DataThread {
    /// Its inbox.
    pub messages: mpsc::UnboundedSender<Message>,
    /// Connections that it serves.
    pub load: Arc<AtomicUsize>,
}

/// Starts a data thread; it ends with its inbox.
///
/// # Errors
/// When the system gives no thread or no runtime.
pub fn start(
    index: usize,
    live: Live,
    outside: Outside,
    descriptors: Arc<Descriptors>,
    log: AccessLog,
) -> std::io::Result<DataThread> {
    let (messages, inbox) = mpsc::unbounded_channel();
    let load = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let counted = Arc::clone(&load);
    std::thread::Builder::new().name(format!("data-{index}")).spawn(move || {
        // Workers and reloads compute for long; requests that need neither shall not wait for them.
        scheduler::wake_promptly();
        let thread = Rc::new(Thread::new(live, outside, descriptors, log, counted));
        LocalSet::new().block_on(&runtime, run(thread, inbox));
    })?;
    Ok(DataThread { messages, load })
}

/// A data thread from within.
pub struct Thread {
    current: CurrentView,
    metrics: ThreadMetrics,
    /// Those of the process.
    pub descriptors: Arc<Descriptors>,
    /// Kept connections to workers.
    pub idle: Rc<RefCell<Idle>>,
    /// Requests that a worker must answer in time.
    pub overdue: Rc<Overdue>,
    /// This thread's part of the access log.
    pub log: RefCell<AccessLog>,
    peers: RefCell<HashMap<u64, Rc<Peer>>>,
    next_peer: Cell<u64>,
    clock: Rc<Cell<Instant>>,
    /// The front is about to go.
    lame: Rc<Cell<bool>>,
    /// Since when, and in what time, answers say that their connections end.
    shedding: Cell<Option<(Instant, Duration)>>,
    /// Since when every connection is closed behind its answer, and which silence closes one without a request.
    leaving: Cell<Option<(Instant, Duration)>>,
    /// Told when the last connection is gone.
    gone: RefCell<Option<oneshot::Sender<()>>>,
    load: Arc<AtomicUsize>,
}

impl Thread {
    fn new(
        live: Live,
        outside: Outside,
        descriptors: Arc<Descriptors>,
        log: AccessLog,
        load: Arc<AtomicUsize>,
    ) -> Self {
        let metrics = outside.metrics.thread();
        let lame = Rc::new(Cell::new(false));
        Self {
            current: CurrentView::new(live, &metrics, Rc::clone(&lame), Rc::new(outside)),
            metrics,
            idle: Rc::new(RefCell::new(Idle::new(Arc::clone(&descriptors)))),
            descriptors,
            overdue: Rc::default(),
            log: RefCell::new(log),
            peers: RefCell::default(),
            next_peer: Cell::new(0),
            clock: Rc::new(Cell::new(Instant::now())),
            lame,
            shedding: Cell::new(None),
            leaving: Cell::new(None),
            gone: RefCell::new(None),
            load,
        }
    }

    /// The view of what serves now, for what is no request.
    pub fn view(&self) -> Rc<View> {
        self.current.get(&self.metrics)
    }

    /// The view for a request that begins now.
    pub fn view_for(&self, headers: &http::HeaderMap) -> Rc<View> {
        self.current.choose(&self.metrics, headers)
    }

    /// The time of the last tick.
    pub fn clock(&self) -> Rc<Cell<Instant>> {
        Rc::clone(&self.clock)
    }

    /// Whether an answer shall say that its connection ends: one connection after the other, each at its `turn`, so that
    /// their clients do not all come to the next front at once.
    pub fn sheds(&self, turn: f64) -> bool {
        self.shedding.get().is_some_and(|(since, time)| since.elapsed() >= time.mul_f64(turn))
    }

    fn shed(&self, time: Duration) {
        self.lame.set(true);
        self.shedding.set(Some((Instant::now(), time)));
    }

    /// Takes note of a connection until the result is dropped.
    pub fn enter(self: &Rc<Self>, peer: &Rc<Peer>) -> Entry {
        let key = self.next_peer.replace(self.next_peer.get() + 1);
        self.peers.borrow_mut().insert(key, Rc::clone(peer));
        let api = self.view().api_of(peer.listener).map(|view| Rc::clone(&view.metrics));
        if let Some(block) = &api {
            block.connection_opened();
        }
        Entry { thread: Rc::clone(self), key, block: api }
    }

    fn tick(&self) {
        let now = Instant::now();
        self.clock.set(now);
        self.log.borrow_mut().flush();
        self.overdue.tick(now);
        let serving = self.current.all(&self.metrics);
        let quiet = self
            .leaving
            .get()
            .and_then(|(since, quiet)| (now.saturating_duration_since(since) >= quiet).then_some(quiet));
        let mut oldest: HashMap<Generation, (Instant, Oldest)> = HashMap::new();
        for peer in self.peers.borrow().values() {
            peer.follow_workers(&serving);
            if let Some((generation, holder)) = peer.holder() {
                let (first, holders) = oldest.entry(generation).or_insert_with(|| (holder.began, Oldest::default()));
                *first = holder.began.min(*first);
                holders.add(holder);
            }
            match serving.first().and_then(|view| view.api_of(peer.listener)) {
                Some(api) => peer.overdue(now, &api.api.limits),
                None => peer.finish(),
            }
            if let Some(quiet) = quiet {
                peer.finish_if_silent(now, quiet);
            }
        }
        self.current.tell_oldest(|generation| {
            let Some((began, holders)) = oldest.remove(&generation) else { return (0, Oldest::default()) };
            let age = now.saturating_duration_since(began);
            let began = SystemTime::now().checked_sub(age);
            let since = began.and_then(|began| began.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
            (u64::try_from(since.as_millis()).unwrap_or(u64::MAX), holders)
        });
        let lives_on = |life| {
            let mut pools = serving.iter().flat_map(|view| &view.snapshot.apis).map(|api| &api.pool);
            pools.any(|pool| pool.members().iter().any(|member| member.life == life && !member.is_draining()))
        };
        self.idle.borrow_mut().sweep(lives_on, now);
    }

    /// Closes the connections of requests that have had their time.
    fn end(&self, ending: &Ending) -> Vec<Holder> {
        let mut ended = Vec::new();
        for peer in self.peers.borrow().values() {
            let Some((generation, holder)) = peer.holder() else { continue };
            let of_apis = ending.apis.as_ref().is_none_or(|apis| apis.contains(&holder.api));
            if generation == ending.generation && of_apis && (peer.is_harmless() || !ending.harmless) {
                peer.drop_now();
                ended.push(holder);
            }
        }
        ended
    }

    fn leave(&self, quiet: Duration, done: oneshot::Sender<()>) {
        self.shed(Duration::ZERO);
        self.leaving.set(Some((Instant::now(), quiet)));
        *self.gone.borrow_mut() = Some(done);
        self.tell_if_gone();
    }

    /// A connection is gone, or did not come about.
    fn left(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.tell_if_gone();
    }

    /// The load counts connections from the moment when the acceptor gives them, also those that nobody has opened yet.
    fn tell_if_gone(&self) {
        if self.load.load(Ordering::Relaxed) == 0
            && let Some(done) = self.gone.borrow_mut().take()
        {
            self.log.borrow_mut().flush();
            let _ = done.send(());
        }
    }
}

/// A connection's place among those that its thread looks after.
pub struct Entry {
    thread: Rc<Thread>,
    key: u64,
    block: Option<Rc<crate::metrics::ApiBlock>>,
}

impl Entry {
    /// Its client has gone; what it had asked goes on.
    pub fn client_gone(&mut self) {
        self.block.take().inspect(|block| block.connection_closed());
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.thread.peers.borrow_mut().remove(&self.key);
        self.client_gone();
        self.thread.left();
    }
}

async fn run(thread: Rc<Thread>, mut inbox: mpsc::UnboundedReceiver<Message>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = inbox.recv() => match message {
                Some(Message::Connection(stream, address, listener)) => {
                    spawn_local(open(Rc::clone(&thread), stream, address, listener));
                }
                Some(Message::Refresh(done)) => {
                    thread.tick();
                    let _ = done.send(());
                }
                Some(Message::End(ending, done)) => {
                    let _ = done.send(thread.end(&ending));
                }
                Some(Message::LameDuck(time)) => thread.shed(time),
                Some(Message::Leave { quiet, done }) => thread.leave(quiet, done),
                None => break,
            },
            _ = tick.tick() => thread.tick(),
        }
    }
    thread.log.borrow_mut().flush();
}

/// Serves a new connection, after its handshake where the API speaks TLS.
async fn open(thread: Rc<Thread>, stream: TcpStream, address: SocketAddr, listener: u64) {
    let view = thread.view();
    let api = view.api_of(listener).map(|view| Arc::clone(&view.api));
    // The view is for requests; a connection must not hold a generation.
    drop(view);
    let (Some(api), Ok(stream)) = (api, tokio::net::TcpStream::from_std(stream)) else {
        thread.left();
        return;
    };
    let keep_alive = api.limits.keep_alive;
    let Some(tls) = api.tls.clone() else {
        drop(api);
        return connection::serve(thread, stream, address, listener, false, keep_alive).await;
    };
    drop(api);
    match tokio::time::timeout(HANDSHAKE_TIME, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => connection::serve(thread, stream, address, listener, true, keep_alive).await,
        failed => {
            thread.left();
            if let Ok(Err(error)) = failed {
                tracing::debug!(target: "pasteway::proxy", client = %address, "TLS handshake failed: {error}");
            }
        }
    }
}
