//! Asks a worker for a sign of life: one request on a connection of its own, any answer counts.
//!
//! Must not know what follows from the answer.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::worker::uwsgi::Packet;

/// From one probe to the next.
pub const PERIOD: Duration = Duration::from_secs(1);
/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// From one try to the next while nobody has answered yet.
const RETRY: Duration = Duration::from_millis(50);
/// How long the first answer may take: an app may be imported by the first request.
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// What a worker that is not ours, or not made for us, understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tongue {
    /// HTTP/1.1.
    #[default]
    Http,
    /// uWSGI's own protocol.
    Uwsgi,
}

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It spoke HTTP/1: any status counts.
    Answered,
    /// The connection was taken, but no answer came in time: it hangs, or it is busy.
    Silent,
    /// Nobody is there, or somebody who does not speak HTTP.
    Refused(String),
}

/// One request (`GET /path`) on a connection of its own.
pub async fn probe(socket: &Path, tongue: Tongue, request: &str, patience: Duration) -> Probe {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(&written(tongue, request)).await?;
        let mut start = [0; 7];
        stream.read_exact(&mut start).await?;
        Ok::<_, io::Error>(start)
    };
    match timeout(patience, exchange).await {
        Err(_) => Probe::Silent,
        // The kernel's queue of a Unix socket is full: somebody is there, but behind.
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Probe::Silent,
        Ok(Err(error)) => Probe::Refused(error.to_string()),
        Ok(Ok(start)) if start == *b"HTTP/1." => Probe::Answered,
        Ok(Ok(_)) => Probe::Refused("the answer is not HTTP/1".to_owned()),
    }
}

fn written(tongue: Tongue, request: &str) -> Vec<u8> {
    if tongue == Tongue::Http {
        return format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").into_bytes();
    }
    let (method, target) = request.split_once(' ').unwrap_or(("GET", request));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut out = Vec::new();
    let mut packet = Packet::begin(&mut out);
    for (key, value) in [
        ("REQUEST_METHOD", method),
        ("REQUEST_URI", target),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", path),
        ("QUERY_STRING", query),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "localhost"),
        ("SERVER_PORT", "80"),
        ("HTTP_HOST", "localhost"),
        ("REMOTE_ADDR", "127.0.0.1"),
    ] {
        packet.put(key.as_bytes(), value.as_bytes());
    }
    // A path of configuration is shorter than a packet; a longer one is never answered, which says it.
    let _ = packet.end();
    out
}

/// Probes one life again and again, from its birth on.
#[derive(Debug)]
pub struct Prober {
    answers: mpsc::Receiver<Probe>,
    task: JoinHandle<()>,
}

impl Prober {
    /// Begins; needs a tokio runtime.
    pub fn start(socket: PathBuf, tongue: Tongue, request: String) -> Self {
        let (told, answers) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut alive = false;
            loop {
                let patience = if alive { PATIENCE } else { FIRST_PATIENCE };
                let answer = probe(&socket, tongue, &request, patience).await;
                alive |= answer == Probe::Answered;
                if told.send(answer).await.is_err() {
                    return;
                }
                sleep(if alive { PERIOD } else { RETRY }).await;
            }
        });
        Self { answers, task }
    }

    /// The next answer. Nothing is lost when it is not waited for to the end.
    pub async fn hear(&mut self) -> Probe {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_probe_sends_the_request_and_takes_any_status() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("w.sock");
        let listener = UnixListener::bind(&path).expect("bound");
        let worker = std::thread::spawn(move || {
            let mut heard = Vec::new();
            for answer in ["HTTP/1.1 503 Busy\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 404 No\r\n\r\n"] {
                let (mut stream, _) = listener.accept().expect("a client");
                let mut bytes = [0; 512];
                let length = stream.read(&mut bytes).expect("a request");
                heard.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
                stream.write_all(answer.as_bytes()).expect("answered");
            }
            heard
        });
        let patience = Duration::from_secs(10);
        let ask = |tongue, request| probe(&path, tongue, request, patience);
        assert_eq!(ask(Tongue::Http, "GET /healthcheck").await, Probe::Answered);
        assert!(matches!(ask(Tongue::Http, "GET /").await, Probe::Refused(_)));
        assert_eq!(ask(Tongue::Uwsgi, "GET /a?b").await, Probe::Answered);
        let heard = worker.join().expect("no panic");
        assert!(heard[0].starts_with("GET /healthcheck HTTP/1.1\r\nHost: "), "{heard:?}");
        assert!(heard[2].contains("\u{9}\0PATH_INFO\u{2}\0/a\u{c}\0QUERY_STRING\u{1}\0b"), "{heard:?}");
        assert!(matches!(ask(Tongue::Http, "GET /").await, Probe::Refused(_)));
        assert!(matches!(probe(&dir.path().join("none"), Tongue::Http, "GET /", patience).await, Probe::Refused(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_nobody_accepts_from_is_silent() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("w.sock");
        let _listener = UnixListener::bind(&path).expect("bound");
        assert_eq!(probe(&path, Tongue::Http, "GET /", PATIENCE).await, Probe::Silent);
    }
}
