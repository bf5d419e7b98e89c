//! One request and its whole answer, over TCP.
//!
//! Must not know what a right answer is.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use super::upload::Upload;
use crate::message::causes;

/// An open connection, between two requests.
pub(super) struct Connection(SendRequest<Upload>);

/// An answer to its last byte.
pub(super) struct Answer {
    /// 200, mostly.
    pub(super) status: StatusCode,
    /// Of its head.
    pub(super) headers: HeaderMap,
    /// All of it.
    pub(super) body: Bytes,
    /// The connection, if it may be used again.
    pub(super) connection: Option<Connection>,
}

impl Connection {
    /// Opens one.
    ///
    /// # Errors
    /// What `connect` says.
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        spawn_local(connection.with_upgrades());
        Ok(Self(sender))
    }

    /// Whether the other side has closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Asks for another protocol, and gets it.
    ///
    /// # Errors
    /// In a sentence.
    pub(super) async fn upgrade(mut self, path: &str) -> Result<Upgraded, String> {
        let mut request = request(Method::GET, path, Upload::none())?;
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
        let response = self.0.send_request(request).await.map_err(|e| cause("no answer", &e))?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {}
            status => return Err(format!("{status}")),
        }
        let stream = hyper::upgrade::on(response).await.map_err(|e| cause("not upgraded", &e))?;
        Ok(Upgraded(TokioIo::new(stream)))
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// What went wrong, in a sentence.
    pub(super) async fn ask(mut self, request: Request<Upload>) -> Result<Answer, String> {
        self.0.ready().await.map_err(|e| cause("the connection was lost", &e))?;
        let response = self.0.send_request(request).await.map_err(|e| cause("no answer", &e))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| cause("the answer broke off", &e))?.to_bytes();
        let closes = parts.headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
        let connection = (!closes && !self.0.is_closed()).then_some(self);
        Ok(Answer { status: parts.status, headers: parts.headers, body, connection })
    }
}

/// A connection that speaks something else now: whatever is sent comes back.
pub(super) struct Upgraded(TokioIo<hyper::upgrade::Upgraded>);

impl Upgraded {
    /// Sends it, and waits for it to come back.
    ///
    /// # Errors
    /// In a sentence.
    pub(super) async fn echo(&mut self, sent: &[u8]) -> Result<(), String> {
        self.0.write_all(sent).await.map_err(|e| cause("cannot send", &e))?;
        let mut came = vec![0; sent.len()];
        self.0.read_exact(&mut came).await.map_err(|e| cause("no answer", &e))?;
        if came == sent { Ok(()) } else { Err("something else came back".to_owned()) }
    }
}

/// A request.
///
/// # Errors
/// The path is none.
pub(super) fn request(method: Method, path: &str, upload: Upload) -> Result<Request<Upload>, String> {
    let request = Request::builder().method(method).uri(path).header(HOST, "selftest");
    request.body(upload).map_err(|e| e.to_string())
}

/// An error with all that is below it.
pub(super) fn cause(what: &str, error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).fold(what.to_owned(), |text, error| format!("{text}: {error}"))
}
