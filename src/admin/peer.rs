//! Who is at the other end of an admin connection.
//!
//! Must not know what they may do.

use std::fmt;
use std::net::SocketAddr;

/// The other end of a connection; shows as it stands in the log: `127.0.0.1:40212`, `uid 1000 (pid 4242)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Over TCP.
    Tcp {
        /// The other end.
        remote: SocketAddr,
        /// Our end.
        local: SocketAddr,
    },
    /// Over a Unix socket, by the kernel's word (`SO_PEERCRED`).
    Unix {
        /// Effective user at the time of connect(2).
        uid: u32,
        /// Its process, where the kernel knows it.
        pid: Option<i32>,
    },
}

impl Peer {
    /// Whether it is TCP within this machine, at both ends.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            // An IPv4 peer of a socket on [::] comes as ::ffff:a.b.c.d.
            Self::Tcp { remote, local } => [remote, local].iter().all(|a| a.ip().to_canonical().is_loopback()),
            Self::Unix { .. } => false,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { remote, .. } => remote.fmt(f),
            Self::Unix { uid, pid: Some(pid) } => write!(f, "uid {uid} (pid {pid})"),
            Self::Unix { uid, pid: None } => write!(f, "uid {uid}"),
        }
    }
}
