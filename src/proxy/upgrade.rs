//! Connections that become something else: a client asks for it (`Upgrade`), a worker agrees (101), and from then on
//! bytes go both ways as they come.
//!
//! Before the worker has agreed, and after any other answer, what the client sends is read as HTTP and as nothing else.
//! A tunnel holds its worker, as any answer does. Must not know what is spoken in it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, header};
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};

use super::upstream::wire::Wire;
use crate::worker::Lease;

/// A client's wish; it travels with the request, and so does the tunnel on its way back.
#[derive(Clone)]
pub struct Upgrade {
    /// What the client wants to speak.
    pub protocol: HeaderValue,
    tunnel: Arc<Mutex<Option<Tunnel>>>,
}

/// The worker's end.
pub struct Tunnel {
    /// The connection, on which HTTP is over.
    pub wire: Wire,
    /// What came behind the head of the worker's answer.
    pub first: Bytes,
    /// The worker is busy until the tunnel ends.
    pub lease: Lease,
}

impl Upgrade {
    /// What a request without a body asks for. HTTP/2 is not passed on: its requests would reach the worker past the door
    /// and all filters.
    pub fn asked(request: &Parts) -> Option<Self> {
        // hyper leaves this where there is an Upgrade field: all other requests are spared the search.
        request.extensions.get::<OnUpgrade>()?;
        let fields = request.headers.get_all(header::CONNECTION);
        let mut tokens = fields.iter().flat_map(|field| field.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii));
        if request.method != Method::GET || !tokens.any(|token| token.eq_ignore_ascii_case(b"upgrade")) {
            return None;
        }
        let mut protocols = request.headers.get_all(header::UPGRADE).iter();
        let protocol = protocols.next().filter(|_| protocols.next().is_none())?;
        let name = protocol.as_bytes().to_ascii_lowercase();
        let http = |token: &[u8]| token.starts_with(b"h2") || token.starts_with(b"http");
        if name.split(|b| *b == b',').map(<[u8]>::trim_ascii).any(http) {
            return None;
        }
        Some(Self { protocol: protocol.clone(), tunnel: Arc::default() })
    }

    /// A worker has agreed.
    pub fn agree(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    /// The tunnel, if a worker has agreed.
    pub fn take(&self) -> Option<Tunnel> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Tunnel {
    /// Carries bytes until both ends have closed or one has failed; `read` is what the client has sent already.
    ///
    /// # Errors
    /// Of either end.
    pub async fn carry<S>(self, mut client: S, read: &[u8]) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { mut wire, first, lease: _held } = self;
        client.write_all(&first).await?;
        wire.stream.write_all(read).await?;
        copy_bidirectional(&mut client, &mut wire.stream).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = http::Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        if parts.headers.contains_key(header::UPGRADE) {
            parts.extensions.insert(hyper::upgrade::on(http::Request::new(())));
        }
        Upgrade::asked(&parts).is_some()
    }

    #[test]
    fn only_a_get_that_says_so_in_both_fields_asks_for_another_protocol() {
        let both = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        assert!(asked("GET", &both));
        assert!(!asked("POST", &both));
        assert!(!asked("GET", &both[..1]) && !asked("GET", &both[1..]));
        assert!(!asked("GET", &[both[0], both[1], ("upgrade", "other")]), "two fields");
        for protocol in ["h2c", "H2", "HTTP/2.0", "websocket, h2c"] {
            assert!(!asked("GET", &[both[0], ("upgrade", protocol)]), "{protocol}");
        }
    }
}
