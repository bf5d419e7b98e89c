//! A scripted Keystone on loopback that remembers what it was asked.
//!
//! Must not know who asks it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// A question as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What it answers.
pub enum Play {
    Say(u16, Vec<(&'static str, String)>, String),
    /// 200, with a body in gzip.
    Zipped(Vec<u8>),
    /// It says nothing more, and keeps the connection.
    Stall,
    /// It closes the connection.
    Hang,
}

pub fn say(status: u16, body: impl Into<String>) -> Play {
    Play::Say(status, Vec::new(), body.into())
}

type Script = dyn Fn(&Seen, SocketAddr) -> Play + Send + Sync;

/// The running fake.
pub struct Fake {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub async fn start(script: impl Fn(&Seen, SocketAddr) -> Play + Send + Sync + 'static) -> Self {
        Self::over(None, script).await
    }

    pub async fn over(
        tls: Option<Arc<rustls::ServerConfig>>,
        script: impl Fn(&Seen, SocketAddr) -> Play + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (seen, script): (_, Arc<Script>) = (Arc::new(Mutex::new(Vec::new())), Arc::new(script));
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, script, tls) = (Arc::clone(&shared), Arc::clone(&script), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, connection, address, &seen, &*script).await,
                        Some(tls) => {
                            if let Ok(stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await {
                                serve(stream, connection, address, &seen, &*script).await;
                            }
                        }
                    }
                });
                connection += 1;
            }
        });
        Self { address, seen }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("whole").clone()
    }

    /// `GET /v3/auth/tokens`, one a line.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }

    pub fn forget(&self) {
        self.seen.lock().expect("whole").clear();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    address: SocketAddr,
    seen: &Mutex<Vec<Seen>>,
    script: &Script,
) {
    let mut bytes = Vec::new();
    loop {
        let Some((one, length)) = parse(&bytes, connection) else {
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await {
                Ok(read) if read > 0 => bytes.extend_from_slice(&piece[..read]),
                _ => return,
            }
            continue;
        };
        bytes.drain(..length);
        let play = script(&one, address);
        seen.lock().expect("whole").push(one);
        let (status, headers, body) = match play {
            Play::Hang => return,
            Play::Stall => std::future::pending().await,
            Play::Zipped(body) => (200, vec![("Content-Encoding", "gzip".to_owned())], body),
            Play::Say(status, headers, body) => (status, headers, body.into_bytes()),
        };
        let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let answer = [head.as_bytes(), b"\r\n", &body].concat();
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn parse(bytes: &[u8], connection: usize) -> Option<(Seen, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).expect("HTTP") else { return None };
    let headers: Vec<_> =
        (request.headers.iter()).map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned())).collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(0, |(_, value)| value.parse().expect("a number"));
    let body = String::from_utf8_lossy(bytes.get(head..head + length)?).into_owned();
    let (method, path) = (request.method.expect("one").to_owned(), request.path.expect("one").to_owned());
    Some((Seen { method, path, headers, body, connection }, head + length))
}
