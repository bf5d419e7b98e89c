//! A client of memcached, written for the one user: several servers, `get` and `set`, bounded waiting.
//!
//! Own code because no crate does what is wanted: the choice of the server as python-memcached makes it, SASL and TLS
//! beside plain text, Unix sockets, and the time that an entry has left. It speaks what the original's library speaks:
//! the text protocol as python-memcached, and with SASL or TLS the binary one as python-binary-memcached, which writes
//! to all servers and reads from the first that has the key. A server that does not answer is not asked for
//! `dead_retry` seconds, and is like one that has nothing: no caller sees an error.
//!
//! ```text
//! Cluster ── select ──▶ Server ──▶ Link ──▶ text | binary
//! ```
//! Must not know tokens.

mod address;
mod binary;
mod link;
mod select;
mod server;
mod text;
mod value;

use std::sync::Arc;
use std::time::Duration;

pub(super) use address::Address;
use server::{Question, Server};
use text::is_key;
use value::LARGEST_WRITTEN;

use crate::filter::authtoken::secret::Secret;

/// How servers are spoken to.
pub(super) enum Protocol {
    /// In text, and a key is on one server (python-memcached).
    Text,
    /// In binary, and a key is on all servers (python-binary-memcached).
    Binary {
        /// Around it.
        tls: Option<Arc<rustls::ClientConfig>>,
        /// User and password for SASL.
        account: Option<(String, Secret)>,
    },
}

/// `memcache_pool_*`.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Connections to a server at once.
    pub(super) connections: usize,
    /// How long a question waits for one of them.
    pub(super) patience: Duration,
    /// How long connecting may take, and how long an answer.
    pub(super) answer: Duration,
    /// How long a connection that nobody uses is kept.
    pub(super) unused: Duration,
    /// How long a server that failed is left alone.
    pub(super) dead: Duration,
}

/// An entry.
pub(super) struct Found {
    /// As the writer had it.
    pub(super) value: Vec<u8>,
    /// Seconds that it has left; -1 when it has no end. `None` when the server did not say.
    pub(super) left: Option<i64>,
}

/// The servers of one cache.
pub(super) struct Cluster {
    servers: Vec<Server>,
    protocol: Protocol,
}

impl Cluster {
    pub(super) fn new(addresses: Vec<Address>, protocol: Protocol, limits: Limits) -> Self {
        Self { servers: addresses.into_iter().map(|address| Server::new(address, limits)).collect(), protocol }
    }

    /// Looks for a key; `None` also when its server is down, or the key is none.
    pub(super) async fn get(&self, key: &[u8]) -> Option<Found> {
        if !is_key(key) {
            return None;
        }
        match self.protocol {
            Protocol::Text => self.server(key)?.ask(&self.protocol, Question::Get(key)).await.ok()?,
            Protocol::Binary { .. } => {
                for server in self.servers.iter().filter(|server| server.is_alive()) {
                    if let Ok(Some(found)) = server.ask(&self.protocol, Question::Get(key)).await {
                        return Some(found);
                    }
                }
                None
            }
        }
    }

    /// Stores a value for `time` seconds, if it can be; 0 is for ever, and what is negative has ended at once.
    pub(super) async fn set(&self, key: &[u8], value: &[u8], time: i64) {
        if !is_key(key) {
            return;
        }
        if value.len() > LARGEST_WRITTEN {
            tracing::debug!("{} bytes are too many for memcached", value.len());
            return;
        }
        match self.protocol {
            Protocol::Text => {
                if let Some(server) = self.server(key) {
                    // Failures have been told where they happened, and the value is only not there then.
                    let _ = server.ask(&self.protocol, Question::Set(key, value, time)).await;
                }
            }
            Protocol::Binary { .. } => {
                for server in self.servers.iter().filter(|server| server.is_alive()) {
                    let _ = server.ask(&self.protocol, Question::Set(key, value, time)).await;
                }
            }
        }
    }

    /// The first server in the key's order that is not taken for dead.
    fn server(&self, key: &[u8]) -> Option<&Server> {
        select::order(key, self.servers.len()).filter_map(|n| self.servers.get(n)).find(|server| server.is_alive())
    }
}
