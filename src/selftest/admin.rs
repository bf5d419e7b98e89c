//! The instance's admin socket: questions, and the stream of what happens.
//!
//! Must not know why something is asked.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::client::cause;
use crate::command::{Change, Outcome, Source};
use crate::message::Diagnostic;

/// A reload, as an event tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    /// Who wanted it.
    pub(super) source: Source,
    /// How it ended.
    pub(super) verdict: Verdict,
    /// When this was heard.
    #[serde(skip, default = "Instant::now")]
    pub(super) heard: Instant,
}

/// How a reload ended.
#[derive(Debug, Deserialize)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) generation: u64,
    pub(super) changes: Vec<Change>,
    #[serde(default)]
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// One question on a connection of its own.
///
/// # Errors
/// In a sentence.
pub(super) async fn ask(socket: &Path, method: Method, path: &str) -> Result<(StatusCode, Value), String> {
    let response = send(socket, method, path).await?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|e| cause("the admin listener's answer broke off", &e))?;
    Ok((status, serde_json::from_slice(&body.to_bytes()).unwrap_or_default()))
}

async fn send(socket: &Path, method: Method, path: &str) -> Result<http::Response<Incoming>, String> {
    let lost = "the admin listener does not answer";
    let stream = UnixStream::connect(socket).await.map_err(|e| cause(lost, &e))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| cause(lost, &e))?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header(HOST, "localhost").body(Empty::<Bytes>::new());
    sender.send_request(request.map_err(|e| e.to_string())?).await.map_err(|e| cause(lost, &e))
}

/// Reloads as they happen.
pub(super) struct Events(mpsc::UnboundedReceiver<Told>);

impl Events {
    /// Listens from now on.
    ///
    /// # Errors
    /// In a sentence.
    pub(super) async fn listen(socket: &Path) -> Result<Self, String> {
        let response = send(socket, Method::GET, "/events").await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(read(response.into_body(), sender));
        Ok(Self(receiver))
    }

    /// The next one; `None` when none came in time.
    pub(super) async fn next(&mut self, within: Duration) -> Option<Told> {
        timeout(within, self.0.recv()).await.ok().flatten()
    }

    /// Whether none can come any more.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }

    /// One that has come already.
    pub(super) fn pending(&mut self) -> Option<Told> {
        self.0.try_recv().ok()
    }
}

/// Takes the stream apart until it or its reader ends.
async fn read(mut body: Incoming, told: mpsc::UnboundedSender<Told>) {
    let mut text = String::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        text.push_str(&String::from_utf8_lossy(&data));
        while let Some((event, rest)) = text.split_once("\n\n") {
            let reload = event.strip_prefix("event: reload\ndata: ").and_then(|data| serde_json::from_str(data).ok());
            if let Some(reload) = reload
                && told.send(reload).is_err()
            {
                return;
            }
            text = rest.to_owned();
        }
    }
}
