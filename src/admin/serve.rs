//! The admin thread: accepts connections and serves them until it is told to stop.
//!
//! Must not know what is served; [`super::routes`] does.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::guard::Access;
use super::listen::{AdminListen, Listening, SocketFile};
use super::peer::Peer;
use super::routes::{App, router};
use crate::command::Commands;

/// Connections of one listener; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 128;

/// A request's head must have arrived this long after the connection began to wait for it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Head of a request, and the connection's read buffer.
const HEAD_LIMIT: usize = 16 * 1024;

/// After a failed accept(2): out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Tells when to stop, and how.
type Stop = watch::Receiver<Option<End>>;

/// The end of a listener.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    /// Running requests may take so long.
    grace: Duration,
    /// Another process has the sockets too: their files stay.
    leave: bool,
}

/// What the waiting thread needs to begin.
struct Start {
    app: App,
    stop: Stop,
    done: oneshot::Sender<()>,
}

/// Listeners that are bound, and a thread that waits for [`Bound::serve`]; dropping it closes them.
#[derive(Debug)]
pub struct Bound {
    addresses: Vec<AdminListen>,
    sockets: Vec<OwnedFd>,
    start: mpsc::Sender<Start>,
}

/// Binds all addresses and starts the thread, which does not accept yet: all that can fail.
///
/// # Errors
/// An address cannot be bound (the text names it; nothing stays bound), or there is no thread left.
pub fn bind(listen: &[AdminListen]) -> io::Result<Bound> {
    waiting(listen.iter().map(Listening::bind).collect::<io::Result<_>>()?)
}

/// The same with a socket that listens already, which the front before this one has handed over.
///
/// # Errors
/// Those of the kernel.
pub fn adopt(listen: &AdminListen, socket: OwnedFd) -> io::Result<Bound> {
    waiting(vec![Listening::adopt(listen, socket)?])
}

fn waiting(listeners: Vec<Listening>) -> io::Result<Bound> {
    let addresses = listeners.iter().map(Listening::address).collect::<io::Result<Vec<_>>>()?;
    let sockets = listeners.iter().map(Listening::descriptor).collect::<io::Result<Vec<_>>>()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let acceptors = {
        let _entered = runtime.enter();
        listeners.into_iter().map(Acceptor::new).collect::<io::Result<Vec<_>>>()?
    };
    let (start, started) = mpsc::channel();
    thread::Builder::new().name("admin".into()).spawn(move || {
        if let Ok(start) = started.recv() {
            run(&runtime, acceptors, start);
        }
    })?;
    Ok(Bound { addresses, sockets, start })
}

impl Bound {
    /// The real addresses, in the order of `listen`.
    pub fn addresses(&self) -> &[AdminListen] {
        &self.addresses
    }

    /// Begins to accept. `metrics` gives the text of `GET /metrics`; it is called on the admin thread.
    pub fn serve(self, commands: Commands, metrics: Arc<dyn Fn() -> String + Send + Sync>, access: Access) -> Handle {
        let (stop, stopped) = watch::channel(None);
        let (done, finished) = oneshot::channel();
        let app = App { commands, metrics, access, user: rustix::process::geteuid().as_raw() };
        // Received for sure: the thread does nothing but wait for it.
        let _ = self.start.send(Start { app, stop: stopped, done });
        Handle { addresses: self.addresses, sockets: self.sockets, stop, done: finished }
    }
}

/// The serving admin listener. Dropping it stops it without grace.
#[derive(Debug)]
pub struct Handle {
    addresses: Vec<AdminListen>,
    sockets: Vec<OwnedFd>,
    stop: watch::Sender<Option<End>>,
    done: oneshot::Receiver<()>,
}

impl Handle {
    /// The real addresses, in the order of `listen`.
    pub fn addresses(&self) -> &[AdminListen] {
        &self.addresses
    }

    /// The sockets, in the order of `listen`, for another process.
    pub fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }

    /// Stops accepting, lets running requests end for up to `grace`, and closes everything; socket files are removed.
    pub async fn stop(self, grace: Duration) {
        self.end(End { grace, leave: false }).await;
    }

    /// The same, but the sockets live on in another process, and so do their files.
    pub async fn leave(self, grace: Duration) {
        self.end(End { grace, leave: true }).await;
    }

    async fn end(self, end: End) {
        drop(self.sockets);
        let _ = self.stop.send(Some(end));
        // An error says the same as an answer: the thread is gone.
        let _ = self.done.await;
    }
}

fn run(runtime: &Runtime, acceptors: Vec<Acceptor>, start: Start) {
    let Start { app, stop, done } = start;
    let router = router(app);
    runtime.block_on(async {
        let mut listeners = JoinSet::new();
        for acceptor in acceptors {
            listeners.spawn(acceptor.run(router.clone(), stop.clone()));
        }
        let End { grace, .. } = stopped(stop).await;
        let _ = timeout(grace, async { while listeners.join_next().await.is_some() {} }).await;
        // Drops the listeners, and with them their socket files, before `done` is told.
        listeners.shutdown().await;
    });
    let _ = done.send(());
}

/// Waits until the handle says stop, and how, or until it is gone.
async fn stopped(mut stop: Stop) -> End {
    stop.wait_for(Option::is_some).await.ok().and_then(|end| *end).unwrap_or_default()
}

/// A listening socket on the admin thread's runtime.
enum Acceptor {
    Tcp(TcpListener),
    Unix { listener: UnixListener, file: SocketFile },
}

impl Acceptor {
    fn new(listening: Listening) -> io::Result<Self> {
        Ok(match listening {
            Listening::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Listening::Unix(listener, file) => Self::Unix { listener: UnixListener::from_std(listener)?, file },
        })
    }

    /// Serves connections until the stop, then until the last of them has ended.
    async fn run(mut self, router: Router, stop: Stop) {
        if let Self::Unix { file, .. } = &mut self {
            file.claim();
        }
        let mut connections = JoinSet::new();
        let mut stopping = pin!(stopped(stop.clone()));
        let end = loop {
            tokio::select! {
                end = &mut stopping => break end,
                Some(_) = connections.join_next() => {}
                accepted = self.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, peer)) => { connections.spawn(serve(stream, peer, router.clone(), stop.clone())); }
                    Err(error) => {
                        tracing::warn!("admin: a connection cannot be accepted: {error}");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        };
        if let Self::Unix { file, .. } = &mut self
            && end.leave
        {
            file.leave();
        }
        // Close the socket now: a new front may bind it while the last requests end.
        drop(self);
        while connections.join_next().await.is_some() {}
    }

    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                let peer = Peer::Tcp { remote, local: stream.local_addr()? };
                Ok((Box::new(stream), peer))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let cred = stream.peer_cred()?;
                Ok((Box::new(stream), Peer::Unix { uid: cred.uid(), pid: cred.pid() }))
            }
        }
    }
}

/// A connection of either kind; an admin request can afford the indirect call.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Serves one connection to its end.
async fn serve(stream: Box<dyn Stream>, peer: Peer, router: Router, stop: Stop) {
    let service = TowerToHyperService::new(router.layer(axum::Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended_by_itself = tokio::select! {
        result = connection.as_mut() => Some(result),
        _ = stopped(stop) => None,
    };
    let result = match ended_by_itself {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("admin: connection of {peer} ended: {error}");
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
