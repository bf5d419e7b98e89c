//! A way to Keystone that counts: every request that goes through is written down, and the way can be held or led
//! elsewhere.
//!
//! Must not know what the requests mean. It passes bytes on as they come, in plain text or out of TLS.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// One way.
pub struct Gate {
    /// Where it listens.
    pub address: SocketAddr,
    /// `http` or `https`
    pub scheme: &'static str,
    /// The region in Keystone's catalogue whose identity endpoint it is.
    pub region: String,
    shared: Arc<Shared>,
}

/// A request that went through.
#[derive(Clone, Debug)]
pub struct Call {
    /// Method and target.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Call {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

struct Shared {
    target: Mutex<SocketAddr>,
    open: watch::Sender<bool>,
    calls: Mutex<Vec<Call>>,
}

impl Gate {
    /// A way to `target`; with an acceptor its near end speaks TLS.
    pub fn start(region: String, target: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared =
            Arc::new(Shared { target: Mutex::new(target), open: watch::Sender::new(true), calls: Mutex::default() });
        let accepted = Arc::clone(&shared);
        runtime().spawn(async move {
            listener.set_nonblocking(true).expect("a listener");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((near, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&accepted), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => pass(near, &shared).await,
                        Some(tls) => match tls.accept(near).await {
                            Ok(near) => pass(near, &shared).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, scheme, region, shared }
    }

    /// The URL of Keystone's API through it.
    pub fn url(&self) -> String {
        format!("{}://{}/v3", self.scheme, self.address)
    }

    /// New connections go to another Keystone.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().expect("no panic") = target;
    }

    /// From now on requests are written down and passed on only after [`Self::release`].
    pub fn hold(&self) {
        self.shared.open.send_replace(false);
    }

    /// Passes on what was held.
    pub fn release(&self) {
        self.shared.open.send_replace(true);
    }

    /// All requests so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().expect("no panic").clone()
    }

    /// Forgets the requests so far, and returns them.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.shared.calls.lock().expect("no panic"))
    }

    /// How many of them asked about a token.
    pub fn asked_about(&self, token: &str) -> usize {
        self.calls().iter().filter(|call| call.header("x-subject-token") == Some(token)).count()
    }
}

/// One thread for all gates, as long as the tests run.
fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

/// Until either end closes.
async fn pass(near: impl AsyncRead + AsyncWrite, shared: &Shared) -> Option<()> {
    let target = *shared.target.lock().expect("no panic");
    let far = TcpStream::connect(target).await.ok()?;
    far.set_nodelay(true).ok()?;
    let (mut near_read, mut near_write) = tokio::io::split(near);
    let (mut far_read, mut far_write) = far.into_split();
    let there = async {
        let (mut requests, mut block) = (Requests::default(), [0; 16 * 1024]);
        loop {
            let n = near_read.read(&mut block).await.ok().filter(|n| *n > 0)?;
            shared.calls.lock().expect("no panic").extend(requests.feed(&block[..n]));
            shared.open.subscribe().wait_for(|open| *open).await.ok()?;
            far_write.write_all(&block[..n]).await.ok()?;
        }
    };
    let back = async { tokio::io::copy(&mut far_read, &mut near_write).await };
    tokio::select! {
        end = there => end,
        _ = back => None,
    }
}

/// Requests out of the bytes of a connection: heads are read, bodies skipped by their length.
#[derive(Default)]
struct Requests {
    head: Vec<u8>,
    body: usize,
}

impl Requests {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Call> {
        let mut calls = Vec::new();
        for byte in bytes {
            if self.body > 0 {
                self.body -= 1;
                continue;
            }
            self.head.push(*byte);
            if self.head.ends_with(b"\r\n\r\n") {
                let call = Self::read(&String::from_utf8_lossy(&std::mem::take(&mut self.head)));
                self.body = call.header("content-length").map_or(0, |length| length.parse().expect("a length"));
                calls.push(call);
            }
        }
        calls
    }

    fn read(head: &str) -> Call {
        let mut lines = head.trim_end().lines();
        let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Call { line, headers }
    }
}
