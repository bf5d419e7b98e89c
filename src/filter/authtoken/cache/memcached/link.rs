//! One connection to a memcached: over TCP, TLS or a Unix socket.
//!
//! Must not know what is said over it.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, BufStream};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::address::Address;

/// Anything that bytes go through.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection; one question is under way at a time.
pub(super) type Link = BufStream<Box<dyn Stream>>;

/// Connects. TLS is spoken to hosts only, as by python-binary-memcached.
///
/// # Errors
/// Those of the connection, and of TLS.
pub(super) async fn connect(address: &Address, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Link> {
    let stream: Box<dyn Stream> = match address {
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Address::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            match tls {
                None => Box::new(stream),
                Some(tls) => {
                    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                    Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?)
                }
            }
        }
    };
    Ok(BufStream::new(stream))
}
