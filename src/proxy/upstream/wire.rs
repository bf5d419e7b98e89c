//! A connection to a worker, and the idle ones that a data thread keeps.
//!
//! Must not know what is said on it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::net::{UnixSocket, UnixStream};

use crate::proxy::descriptors::Descriptors;

/// Bytes read at once; most responses fit in one read.
pub const READ_SIZE: usize = 8 * 1024;

/// Idle connections older than this are closed, so that a past peak does not hold memory for ever.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// A connection to one life of a worker, with its two buffers.
pub struct Wire {
    /// The socket.
    pub stream: UnixStream,
    /// Bytes read and not yet understood.
    pub input: BytesMut,
    /// Bytes to be written; reused from request to request.
    pub output: Vec<u8>,
    life: u64,
}

impl Wire {
    /// Connects a socket to the worker of that life, at `path`.
    ///
    /// # Errors
    /// What `connect` says; a full backlog is `WouldBlock`.
    pub async fn connect(socket: UnixSocket, path: &Path, life: u64) -> io::Result<Self> {
        let stream = socket.connect(path).await?;
        Ok(Self { stream, input: BytesMut::new(), output: Vec::new(), life })
    }

    /// Whether the poller has seen anything come since the last response: its end, or what nobody asked for and would
    /// be taken for the next answer. No system call; what the poller has not seen yet is missed.
    fn is_noisy(&self) -> bool {
        self.stream.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Whether the worker has closed it (or said something unasked) since the last response. A system call: only
    /// for requests that may not be sent twice, and where there is reason to ask.
    fn is_stale(&self) -> bool {
        use rustix::net::{RecvFlags, recv};
        let mut byte = [0_u8; 1];
        !matches!(recv(&self.stream, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(rustix::io::Errno::AGAIN))
    }
}

/// The idle connections of one data thread, by the life that they lead to. The newest is used first.
pub struct Idle {
    lives: HashMap<u64, Vec<(Wire, Instant)>>,
    /// As of the last sweep: exact enough for idleness, and free.
    now: Instant,
    /// Nothing is kept while somebody waits for a descriptor.
    descriptors: Arc<Descriptors>,
}

impl Idle {
    /// None yet.
    pub fn new(descriptors: Arc<Descriptors>) -> Self {
        Self { lives: HashMap::new(), now: Instant::now(), descriptors }
    }

    /// A kept connection to that life. `sure`: one that is certainly open, as far as anyone can know.
    pub fn take(&mut self, life: u64, sure: bool) -> Option<Wire> {
        let kept = self.lives.get_mut(&life)?;
        while let Some((wire, _)) = kept.pop() {
            let suspect = sure || wire.is_noisy();
            if !suspect || !wire.is_stale() {
                return Some(wire);
            }
        }
        None
    }

    /// Keeps a connection on which both sides are at a message boundary.
    pub fn keep(&mut self, wire: Wire) {
        if self.descriptors.are_waited_for() {
            return;
        }
        self.lives.entry(wire.life).or_default().push((wire, self.now));
    }

    /// Closes what leads to lives that take no more requests, and what was idle for long; all while somebody waits for
    /// a descriptor.
    pub fn sweep(&mut self, is_serving: impl Fn(u64) -> bool, now: Instant) {
        self.now = now;
        let scarce = self.descriptors.are_waited_for();
        self.lives.retain(|life, kept| {
            if scarce || !is_serving(*life) {
                return false;
            }
            kept.retain(|(_, since)| now.duration_since(*since) < IDLE_LIMIT);
            !kept.is_empty()
        });
    }
}
