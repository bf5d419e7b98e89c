//! File descriptors: who stands back when few are left, and the line of the requests that wait for one.
//!
//! The kernel gives the lowest number that is free, so a descriptor's own number says how many are taken at least. Of
//! those that were free at the start each side keeps below a number of its own, and nobody has to count:
//!
//! ```text
//! at the start ─── clients ─── 5/8 ─── connections to workers ─── 7/8 ─── admin, log, a reload's files and workers ─── limit
//! ```
//!
//! The limit is asked for each time: it may be changed from outside (prlimit). Must not know who asks for what.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Resource, getrlimit};
use rustix::stdio::stdin;
use tokio::net::UnixSocket;
use tokio::sync::Mutex;

/// No event tells that a descriptor has come back: who is the first in the line looks so often.
const LOOK: Duration = Duration::from_millis(20);
/// The log is told of a want once in this time.
const REPEAT: Duration = Duration::from_secs(10);

/// What a descriptor is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client's connection: the first that has to wait.
    Client,
    /// A connection to a worker, for a client that is there already.
    Worker,
}

impl Side {
    /// The first number that it may not have, where `start` were taken at the start.
    fn end(self, start: u64, limit: u64) -> u64 {
        let eighth = limit.saturating_sub(start) / 8;
        match self {
            Self::Client => start + 5 * eighth,
            Self::Worker => start + 7 * eighth,
        }
    }
}

/// The descriptors of the process, for all its threads.
#[derive(Debug)]
pub struct Descriptors {
    start: u64,
    /// Requests that wait for one.
    waiting: AtomicUsize,
    /// Who has it is the first of them.
    turn: Mutex<Told>,
}

impl Descriptors {
    /// To be called when all is there but clients.
    pub fn at_start() -> Self {
        let next = fcntl_dupfd_cloexec(stdin(), 0);
        Self { start: next.map_or(0, |next| number(&next)), waiting: AtomicUsize::new(0), turn: Mutex::default() }
    }

    /// Whether this side may have what it has got.
    pub fn suffice(&self, side: Side, got: impl AsFd) -> bool {
        getrlimit(Resource::Nofile).current.is_none_or(|limit| number(got) < side.end(self.start, limit))
    }

    /// Whether another client may come: looks at the number that its connection would get. `any` may be any descriptor.
    pub fn suffice_for_a_client(&self, any: impl AsFd) -> bool {
        fcntl_dupfd_cloexec(any, 0).is_ok_and(|next| self.suffice(Side::Client, next))
    }

    /// Whether a request waits for one: what can be given back shall be.
    pub fn are_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// A socket for a connection to a worker, if nobody waits: who comes later does not go before.
    ///
    /// # Errors
    /// What the kernel says; [`were_wanting`] tells a want of descriptors.
    pub fn socket_now(&self) -> io::Result<UnixSocket> {
        if self.are_waited_for() { Err(Errno::MFILE.into()) } else { self.try_socket() }
    }

    /// The same as soon as it can be had, in turn. How long that may take is for who asks to say.
    ///
    /// # Errors
    /// What the kernel says, but for a want of descriptors.
    pub async fn socket(&self) -> io::Result<UnixSocket> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _place = Place(self);
        let mut told = self.turn.lock().await;
        loop {
            match self.try_socket() {
                Err(error) if were_wanting(&error) => {
                    if told.is_due() {
                        tracing::warn!(
                            target: "pasteway::proxy",
                            "no descriptor is left for a connection to a worker: requests wait (LimitNOFILE, ulimit -n)",
                        );
                    }
                    tokio::time::sleep(LOOK).await;
                }
                socket => return socket,
            }
        }
    }

    fn try_socket(&self) -> io::Result<UnixSocket> {
        let socket = UnixSocket::new_stream()?;
        if self.suffice(Side::Worker, &socket) { Ok(socket) } else { Err(Errno::MFILE.into()) }
    }
}

/// Whether it is descriptors that were wanting, in the process or in the system.
pub fn were_wanting(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

fn number(descriptor: impl AsFd) -> u64 {
    u64::try_from(descriptor.as_fd().as_raw_fd()).unwrap_or_default()
}

/// A request's place among those that wait.
struct Place<'a>(&'a Descriptors);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When the log was told last.
#[derive(Debug, Default)]
pub struct Told(Option<Instant>);

impl Told {
    /// Whether it is to be told again; it counts as told then.
    pub fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|at| at.elapsed() >= REPEAT);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_leaves_something_to_those_that_come_before_it() {
        for (start, limit) in [(50, 66), (50, 1024), (400, 512), (50, 1 << 30)] {
            let (client, worker) = (Side::Client.end(start, limit), Side::Worker.end(start, limit));
            assert!(start < client && client < worker && worker < limit, "{start} {client} {worker} {limit}");
        }
        assert_eq!(Side::Worker.end(50, 40), 50, "a limit that was lowered below what is open");
    }

    #[tokio::test]
    async fn who_comes_later_does_not_go_before_those_who_wait() {
        let descriptors = Descriptors::at_start();
        assert!(descriptors.socket_now().is_ok());
        let first = descriptors.turn.lock().await;
        {
            let mut waits = std::pin::pin!(descriptors.socket());
            assert!(tokio::time::timeout(Duration::ZERO, &mut waits).await.is_err());
            assert!(descriptors.socket_now().is_err_and(|error| were_wanting(&error)));
            drop(first);
            assert!(waits.await.is_ok());
        }
        assert!(!descriptors.are_waited_for() && descriptors.socket_now().is_ok());
    }
}
