//! Speaking to a worker: one request and its response over a Unix socket, in HTTP/1.1; to the Python host,
//! [`framed`]; to uWSGI, in its own protocol ([`uwsgi`]).
//!
//! ```text
//! encode (head, framing) ─▶ Wire ─▶ exchange: send while reading ─▶ decode (head) ─▶ body ─▶ Wire back to Idle
//! ```
//!
//! The exchange is polled in the request's own task: no channel and no task stands between the client's
//! connection and the worker's. A [`Wire`](wire::Wire) is kept when both sides are at a message boundary, else closed.
//!
//! Must not know the tree that a request walked, or how an error is told to the client.

mod body;
mod chunk;
pub mod decode;
pub mod encode;
mod exchange;
pub mod framed;
pub mod uwsgi;
pub mod wire;

use std::io;

pub use body::{Hold, body};
pub use exchange::{Exchange, start};

/// Why a worker gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Its socket could not be connected to: no byte reached it.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// Nothing could be written: no byte reached it.
    #[error("cannot write: {0}")]
    Refused(#[source] io::Error),
    /// It went away without having accepted the connection: no byte reached it.
    #[error("went away before it accepted the request")]
    NotAccepted,
    /// It went away after it had got (a part of) the request.
    #[error("went away before it answered: {0}")]
    Died(#[source] io::Error),
    /// It went away after a part of its response head.
    #[error("went away in the middle of its response head")]
    Truncated,
    /// The app let an exception go; the worker has logged it.
    #[error("the app failed: {0}")]
    App(String),
    /// Its response is no HTTP/1.1, or could be read in two ways.
    #[error("unusable response: {0}")]
    Invalid(&'static str),
    /// uWSGI's protocol has no room for the request's head.
    #[error("the request's head is larger than the {0} bytes that uWSGI's protocol has room for")]
    TooLarge(usize),
    /// It took too long: `worker_request_timeout`.
    #[error("said nothing for worker_request_timeout")]
    Late,
    /// The client stopped sending in the middle of its body.
    #[error("the client went away: {0}")]
    Client(String),
}

impl UpstreamError {
    /// Whether no byte of the request has reached a worker: any request may be sent again.
    pub fn nothing_sent(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Refused(_) | Self::NotAccepted)
    }

    /// Whether no byte of a response has come back: a safe request may be sent again.
    pub fn nothing_received(&self) -> bool {
        self.nothing_sent() || matches!(self, Self::Died(_))
    }
}
