//! One memcached: its connections, how long it is taken for dead, and what it is asked.
//!
//! Must not know the other servers.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::address::Address;
use super::link::{Link, connect};
use super::{Found, Limits, Protocol, binary, text};

/// A memcached.
pub(super) struct Server {
    address: Address,
    limits: Limits,
    permits: Semaphore,
    state: Mutex<State>,
    /// Whether it lacks `mg`: it is older than 1.6, or a proxy stands before it.
    lacks_meta: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Connections that nobody uses, the one used last at the end.
    idle: Vec<(Link, Instant)>,
    dead_until: Option<Instant>,
}

/// What a server is asked.
#[derive(Clone, Copy)]
pub(super) enum Question<'a> {
    /// For what is under a key.
    Get(&'a [u8]),
    /// To keep a value under a key for so many seconds.
    Set(&'a [u8], &'a [u8], i64),
}

/// Nothing came of a question; the server is dead if the connection was fresh.
#[derive(Debug)]
pub(super) struct Failed;

impl Server {
    pub(super) fn new(address: Address, limits: Limits) -> Self {
        let permits = Semaphore::new(limits.connections);
        Self { address, limits, permits, state: Mutex::default(), lacks_meta: AtomicBool::new(false) }
    }

    /// Whether it has not failed lately.
    pub(super) fn is_alive(&self) -> bool {
        self.state().dead_until.is_none_or(|until| until <= Instant::now())
    }

    /// Asks over a kept connection, and once more over a fresh one when that one had been closed; what goes wrong then
    /// is the server's fault, and nobody asks it again before `dead_retry` has passed.
    pub(super) async fn ask(&self, protocol: &Protocol, question: Question<'_>) -> Result<Option<Found>, Failed> {
        let permit = timeout(self.limits.patience, self.permits.acquire());
        let Ok(Ok(_permit)) = permit.await else { return Err(Failed) };
        if let Some(mut link) = self.kept() {
            match timeout(self.limits.answer, self.put(protocol, question, &mut link)).await {
                Ok(Ok(answer)) => return Ok(self.keep(link, answer)),
                Ok(Err(_)) => {}
                Err(_) => return Err(self.bury("does not answer")),
            }
        }
        // Another has found out while we waited for our turn.
        if !self.is_alive() {
            return Err(Failed);
        }
        let mut link = match timeout(self.limits.answer, self.connect(protocol)).await {
            Ok(Ok(link)) => link,
            Ok(Err(error)) => return Err(self.bury(&error.to_string())),
            Err(_) => return Err(self.bury("does not take the connection")),
        };
        match timeout(self.limits.answer, self.put(protocol, question, &mut link)).await {
            Ok(Ok(answer)) => Ok(self.keep(link, answer)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::debug!("memcached {}: {error}", self.address);
                Err(Failed)
            }
            // A proxy may hang up at a command that it does not know.
            Ok(Err(_)) if self.asked_meta(protocol, question) => {
                self.lacks_meta.store(true, Ordering::Relaxed);
                Err(Failed)
            }
            Ok(Err(error)) => Err(self.bury(&error.to_string())),
            Err(_) => Err(self.bury("does not answer")),
        }
    }

    fn asked_meta(&self, protocol: &Protocol, question: Question<'_>) -> bool {
        matches!((protocol, question), (Protocol::Text, Question::Get(_))) && !self.lacks_meta.load(Ordering::Relaxed)
    }

    /// Puts a question over a connection; what is stored has no answer.
    async fn put(&self, protocol: &Protocol, question: Question<'_>, link: &mut Link) -> io::Result<Option<Found>> {
        match (protocol, question) {
            (Protocol::Binary { .. }, Question::Get(key)) => binary::get(link, key).await,
            // python-binary-memcached makes "for ever" of a time that asks for nothing to be kept.
            (Protocol::Binary { .. }, Question::Set(key, value, time)) => match u32::try_from(time) {
                Ok(time) => binary::set(link, key, value, time).await.map(|()| None),
                Err(_) => Ok(None),
            },
            (Protocol::Text, Question::Set(key, value, time)) => text::set(link, key, value, time).await.map(|()| None),
            (Protocol::Text, Question::Get(key)) => {
                if !self.lacks_meta.load(Ordering::Relaxed) {
                    match text::meta_get(link, key).await? {
                        text::Meta::Answer(found) => return Ok(found),
                        text::Meta::Unknown => self.lacks_meta.store(true, Ordering::Relaxed),
                    }
                }
                text::get(link, key).await
            }
        }
    }

    async fn connect(&self, protocol: &Protocol) -> io::Result<Link> {
        match protocol {
            Protocol::Text => connect(&self.address, None).await,
            Protocol::Binary { tls, account } => {
                let mut link = connect(&self.address, tls.as_ref()).await?;
                if let Some((user, password)) = account {
                    binary::authenticate(&mut link, user, password).await?;
                }
                Ok(link)
            }
        }
    }

    /// A connection that somebody has used within `unused_timeout`; those left for longer are closed.
    fn kept(&self) -> Option<Link> {
        let mut state = self.state();
        let now = Instant::now();
        state.idle.retain(|(_, since)| now.duration_since(*since) < self.limits.unused);
        state.idle.pop().map(|(link, _)| link)
    }

    fn keep<T>(&self, link: Link, answer: T) -> T {
        self.state().idle.push((link, Instant::now()));
        answer
    }

    fn bury(&self, why: &str) -> Failed {
        let mut state = self.state();
        state.idle.clear();
        let now = Instant::now();
        if state.dead_until.is_none_or(|until| until <= now) {
            let dead = self.limits.dead;
            state.dead_until = Some(now + dead);
            tracing::warn!("memcached {} {why}: not asked again for {} s", self.address, dead.as_secs());
        }
        Failed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    /// Seconds as an option has them.
    pub(in super::super) fn seconds(seconds: i64) -> Duration {
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(1 << 30))
    }
}
