//! Where a memcached listens, as `memcached_servers` writes it.
//!
//! Must not know connections.

use std::fmt;
use std::path::PathBuf;

const PORT: u16 = 11211;

/// A memcached's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Address {
    /// Host name or address, and port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `host[:port]`, `inet:host[:port]`, `inet6:[address][:port]` and `unix:path` (python-memcached), and
    /// `[address][:port]`, `address` and `/path` (python-binary-memcached).
    pub(in super::super) fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Some(Self::Unix(path.into()));
        }
        if text.starts_with('/') {
            return Some(Self::Unix(text.into()));
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Some(Self::Tcp(text.to_owned(), PORT));
        }
        let bracketed = text.strip_prefix("inet6:").unwrap_or(text).strip_prefix('[');
        let (host, port) = match bracketed {
            Some(rest) => rest.split_once(']')?,
            None => {
                let text = text.strip_prefix("inet:").unwrap_or(text);
                text.split_at_checked(text.find(':').unwrap_or(text.len()))?
            }
        };
        let port = match port.strip_prefix(':') {
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok()?,
            None if port.is_empty() => PORT,
            _ => return None,
        };
        (!host.is_empty()).then(|| Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_two_libraries_is_read() {
        for (text, shown) in [
            ("cache", "cache:11211"),
            ("cache:1", "cache:1"),
            ("inet:10.0.0.1:2", "10.0.0.1:2"),
            ("inet6:[::1]:3", "[::1]:3"),
            ("inet6:[::1]", "[::1]:11211"),
            ("[::1]:4", "[::1]:4"),
            ("::1", "[::1]:11211"),
            ("unix:/run/m.sock", "unix:/run/m.sock"),
            ("/run/m.sock", "unix:/run/m.sock"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["", ":1", "cache:", "cache:x", "cache:+1", "cache:70000", "a:b:c", "[::1", "[::1]4", "inet6:x:1"] {
            assert_eq!(Address::parse(text).map(|a| a.to_string()), None, "{text}");
        }
    }
}
