//! The listening sockets, and the one acceptor that deals connections out to the data threads.
//!
//! Listeners are keyed by the address that was asked for; which API a listener serves is looked up in the snapshot.
//! Must not know what is served.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use super::descriptors::{Descriptors, Side, Told};
use super::thread::{DataThread, Message};
use crate::id::ApiName;
use crate::scheduler;

/// As Nova's (`nova/wsgi.py`: `backlog=128`) where more would not hurt: the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 1024;
/// Pause after an `accept` that failed, or that left too few descriptors; then one look whether there is room again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A handshake that has begun may take so long when the socket goes: a client in the same network then has its answer.
const HANDSHAKE: Duration = Duration::from_millis(2);

/// What was asked for. Listeners on port 0 are told apart by their API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenKey {
    /// Host or address.
    pub host: String,
    /// 0: any.
    pub port: u16,
    /// Set for port 0 only.
    pub api: Option<ApiName>,
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    /// Unique in this front.
    pub id: u64,
    /// What was asked for.
    pub key: ListenKey,
    /// What it became.
    pub address: SocketAddr,
    /// Nobody else has it: neither a service manager nor the front before this one.
    own: bool,
    /// `None` once it is closed, whoever still holds the rest.
    socket: Mutex<Option<TcpListener>>,
}

impl Listener {
    /// Binds and listens; nothing is accepted yet. `leaving` are our own listeners that are to go when this one serves:
    /// one of them on the same port is no obstacle when the kernel can tell the two apart (0.0.0.0 and 127.0.0.1).
    ///
    /// # Errors
    /// What the resolver or the kernel says.
    pub fn bind(key: ListenKey, keepidle: Duration, leaving: &[Arc<Listener>]) -> io::Result<Self> {
        let address = resolve(&key)?;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        match socket.bind(&address.into()) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                let shared: Vec<_> = leaving.iter().filter(|other| other.address.port() == address.port()).collect();
                if shared.is_empty() || shared.iter().any(|other| other.address == address) {
                    return Err(error);
                }
                let share = |on| {
                    socket.set_reuse_port(on)?;
                    shared.iter().try_for_each(|other| match &*other.socket() {
                        Some(other) => SockRef::from(other).set_reuse_port(on),
                        None => Ok(()),
                    })
                };
                share(true)?;
                let listening = socket.bind(&address.into()).and_then(|()| socket.listen(BACKLOG));
                // Nobody else is to share the port, neither now nor after a failure.
                share(false)?;
                listening?;
            }
            bound => bound.and_then(|()| socket.listen(BACKLOG))?,
        }
        Ok(Self { own: true, ..Self::adopt(key, socket.into(), keepidle)? })
    }

    /// Takes a socket that listens already: of the front before this one, or of the service manager.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn adopt(key: ListenKey, socket: TcpListener, keepidle: Duration) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        socket.set_nonblocking(true)?;
        // Accepted sockets inherit both.
        keep_alive(&socket, keepidle)?;
        SockRef::from(&socket).set_tcp_nodelay(true)?;
        let address = socket.local_addr()?;
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            key,
            address,
            own: false,
            socket: Mutex::new(Some(socket)),
        })
    }

    /// The same socket for another process: both have the one queue.
    ///
    /// # Errors
    /// It is closed, or no descriptor is left.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.socket().as_ref().ok_or(ErrorKind::NotConnected)?.try_clone()?.into())
    }

    /// Whether this is what was asked for, by name or by address.
    pub fn serves(&self, key: &ListenKey) -> bool {
        self.key == *key || key.names(self.address)
    }

    /// Connections that come from now on are kept alive so.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_keepidle(&self, keepidle: Duration) -> io::Result<()> {
        self.socket().as_ref().map_or(Ok(()), |socket| keep_alive(socket, keepidle))
    }

    fn socket(&self) -> MutexGuard<'_, Option<TcpListener>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn share(&self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.descriptor()?.into())
    }
}

impl ListenKey {
    /// Whether it means this address.
    pub fn names(&self, address: SocketAddr) -> bool {
        self.port != 0 && resolve(self).is_ok_and(|wanted| wanted == address)
    }
}

fn keep_alive<'a>(socket: impl Into<SockRef<'a>>, keepidle: Duration) -> io::Result<()> {
    socket.into().set_tcp_keepalive(&TcpKeepalive::new().with_time(keepidle))
}

/// The first address that the resolver gives, as the original takes it.
fn resolve(key: &ListenKey) -> io::Result<SocketAddr> {
    let host = key.host.trim_start_matches('[').trim_end_matches(']');
    (host, key.port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(ErrorKind::AddrNotAvailable, format!("`{host}` has no address")))
}

enum Order {
    Accept(Arc<Listener>),
    End(u64, Ending),
}

struct Ending {
    /// What waits in the kernel's queue is left there, to another process.
    leave: bool,
    done: oneshot::Sender<()>,
}

/// The way to the acceptor.
#[derive(Clone)]
pub struct Acceptor(mpsc::UnboundedSender<Order>);

impl Acceptor {
    /// Starts the acceptor's thread, which deals connections out to the least loaded of `threads`.
    ///
    /// # Errors
    /// When the system gives no thread or no runtime.
    pub fn start(threads: Arc<Vec<DataThread>>, descriptors: Arc<Descriptors>) -> io::Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("acceptor".into()).spawn(move || {
            scheduler::wake_promptly();
            LocalSet::new().block_on(&runtime, run(threads, descriptors, inbox));
        })?;
        Ok(Self(orders))
    }

    /// Begins to accept.
    pub fn accept(&self, listener: Arc<Listener>) {
        let _ = self.0.send(Order::Accept(listener));
    }

    /// Takes what waits in the kernel's queue, then closes the socket.
    pub async fn close(&self, id: u64) {
        self.end(id, false).await;
    }

    /// Stops accepting; what waits in the kernel's queue is for the process that has the socket too.
    pub async fn leave(&self, id: u64) {
        self.end(id, true).await;
    }

    async fn end(&self, id: u64, leave: bool) {
        let (done, ended) = oneshot::channel();
        if self.0.send(Order::End(id, Ending { leave, done })).is_ok() {
            let _ = ended.await;
        }
    }
}

async fn run(threads: Arc<Vec<DataThread>>, descriptors: Arc<Descriptors>, mut inbox: mpsc::UnboundedReceiver<Order>) {
    let mut closers: Vec<(u64, oneshot::Sender<Ending>)> = Vec::new();
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Accept(listener) => {
                let (closer, closing) = oneshot::channel();
                closers.push((listener.id, closer));
                spawn_local(accept(Arc::clone(&threads), Arc::clone(&descriptors), listener, closing));
            }
            Order::End(id, ending) => {
                if let Some(at) = closers.iter().position(|(other, _)| *other == id) {
                    let _ = closers.swap_remove(at).1.send(ending);
                }
            }
        }
    }
}

/// Accepts until told to end; then takes what waits already, unless it is left to another process.
async fn accept(
    threads: Arc<Vec<DataThread>>,
    descriptors: Arc<Descriptors>,
    listener: Arc<Listener>,
    mut closing: oneshot::Receiver<Ending>,
) {
    let socket = match listener.share() {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(target: "pasteway::proxy", "cannot accept on {}: {error}", listener.address);
            return;
        }
    };
    let (mut crowded, mut told) = (false, Told::default());
    let ending = loop {
        tokio::select! {
            biased;
            ending = &mut closing => break ending,
            accepted = socket.accept(), if !crowded => match accepted {
                Ok((stream, peer)) => {
                    // Who is in stays, and is the last for now: the others wait in the kernel's queue.
                    crowded = !descriptors.suffice(Side::Client, &stream);
                    if crowded && told.is_due() {
                        tracing::warn!(
                            target: "pasteway::proxy",
                            "accept on {}: few descriptors are left, the next connection waits (LimitNOFILE, ulimit -n)",
                            listener.address,
                        );
                    }
                    deal(&threads, stream, peer, listener.id);
                }
                // A connection that ended before it was accepted is nobody's problem.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    crowded = true;
                    if told.is_due() {
                        tracing::warn!(target: "pasteway::proxy", "accept on {}: {error}", listener.address);
                    }
                }
            },
            () = tokio::time::sleep(ACCEPT_PAUSE), if crowded => crowded = !descriptors.suffice_for_a_client(&socket),
        }
    };
    drop(socket);
    let last = listener.socket().take();
    if let Some(last) = last.filter(|_| !ending.as_ref().is_ok_and(|ending| ending.leave)) {
        // What others hold would be deaf for them too.
        if listener.own && deafen(&last).is_ok() {
            tokio::time::sleep(HANDSHAKE).await;
        }
        while let Ok((stream, peer)) = last.accept() {
            if stream.set_nonblocking(true).is_ok() {
                give(&threads, stream, peer, listener.id);
            }
        }
    }
    if let Ok(ending) = ending {
        let _ = ending.done.send(());
    }
}

/// Has the kernel drop whatever begins a connection: whoever asks between the last `accept` and the end of the socket
/// would get a connection that is reset. Unheard, they ask again in a second, and are refused or answered by who is there then.
#[cfg(target_os = "linux")]
fn deafen(socket: &TcpListener) -> io::Result<()> {
    use socket2::SockFilter;
    // Classic BPF on the TCP header: of the flags in byte 13, SYN without ACK.
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(0x30, 0, 0, 13),       // load the byte
        SockFilter::new(0x54, 0, 0, 0x12),     // and SYN | ACK
        SockFilter::new(0x15, 0, 1, 0x02),     // is it SYN?
        SockFilter::new(0x06, 0, 0, 0),        // drop it
        SockFilter::new(0x06, 0, 0, u32::MAX), // take all of it
    ])
}

#[cfg(not(target_os = "linux"))]
fn deafen(_socket: &TcpListener) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

fn deal(threads: &[DataThread], stream: tokio::net::TcpStream, peer: SocketAddr, listener: u64) {
    // Back to a plain socket: it leaves this thread's poller for its own.
    if let Ok(stream) = stream.into_std() {
        give(threads, stream, peer, listener);
    }
}

fn give(threads: &[DataThread], stream: TcpStream, peer: SocketAddr, listener: u64) {
    let Some(thread) = threads.iter().min_by_key(|thread| thread.load.load(Ordering::Relaxed)) else { return };
    thread.load.fetch_add(1, Ordering::Relaxed);
    if thread.messages.send(Message::Connection(stream, peer, listener)).is_err() {
        thread.load.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn key(host: &str, port: u16) -> ListenKey {
        ListenKey { host: host.into(), port, api: None }
    }

    #[test]
    fn port_0_becomes_a_real_port_and_ipv6_works() {
        for host in ["127.0.0.1", "::1", "[::1]", "localhost"] {
            let listener = Listener::bind(key(host, 0), Duration::from_secs(600), &[]).expect("bound");
            assert_ne!(listener.address.port(), 0);
        }
    }

    #[test]
    fn an_adopted_socket_has_the_queue_of_the_one_that_it_was() {
        let old = Listener::bind(key("127.0.0.1", 0), Duration::from_secs(600), &[]).expect("bound");
        let waiting = TcpStream::connect(old.address).expect("it is in the queue");
        let socket = old.descriptor().expect("a descriptor").into();
        let new = Listener::adopt(key("127.0.0.1", old.address.port()), socket, Duration::from_secs(600));
        let new = new.expect("adopted");
        assert!(new.serves(&key("localhost", old.address.port())));
        drop(old);
        let (_, peer) = new.socket().as_ref().expect("open").accept().expect("who waits");
        assert_eq!(Some(peer), waiting.local_addr().ok());
    }

    #[test]
    fn whoever_is_connected_when_a_listener_goes_is_served() {
        let (messages, mut connections) = mpsc::unbounded_channel();
        let threads = Arc::new(vec![DataThread { messages, load: Arc::default() }]);
        let acceptor = Acceptor::start(threads, Arc::new(Descriptors::at_start())).expect("a thread");
        std::thread::spawn(move || {
            while let Some(Message::Connection(mut stream, ..)) = connections.blocking_recv() {
                stream.write_all(b"!").expect("it is read");
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let served = AtomicU64::new(0);
        for _ in 0..30 {
            let listener = Arc::new(Listener::bind(key("127.0.0.1", 0), Duration::from_secs(600), &[]).expect("bound"));
            let (id, address) = (listener.id, listener.address);
            acceptor.accept(listener);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        // Refused, or not heard: it is gone.
                        while let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
                            stream.read_exact(&mut [0]).expect("what was connected is served");
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
                std::thread::sleep(Duration::from_millis(2));
                runtime.block_on(acceptor.close(id));
            });
        }
        assert!(served.load(Ordering::Relaxed) > 100);
    }

    #[test]
    fn a_listener_moves_between_all_addresses_and_one_of_them_on_the_same_port() {
        let wide = Arc::new(Listener::bind(key("0.0.0.0", 0), Duration::from_secs(600), &[]).expect("bound"));
        let port = wide.address.port();
        assert!(Listener::bind(key("127.0.0.1", port), Duration::from_secs(600), &[]).is_err());
        let narrow = Listener::bind(key("127.0.0.1", port), Duration::from_secs(600), &[wide]).expect("bound");
        assert_eq!(narrow.address.port(), port);
    }
}
