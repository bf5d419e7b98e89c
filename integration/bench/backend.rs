//! The backends: this same executable, run again as a small hyper server on a Unix socket.
//!
//! Must not know which proxy stands in front of it.

use std::convert::Infallible;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};

use crate::Result;

/// Makes this executable a backend; the socket's path follows.
pub const FLAG: &str = "--backend";

/// What every request is answered with.
pub const BODY: &str = r#"{"servers": [{"id": "4b9a1fbe-2c2d-4f0c-9a64-6ad4f1d60d3f", "name": "web-1", "links": [{"rel": "self", "href": "http://127.0.0.1:8774/v2/t1/servers/4b9a1fbe-2c2d-4f0c-9a64-6ad4f1d60d3f"}]}]}"#;

/// A running backend; ends when dropped.
pub struct Backend(Child);

impl Backend {
    /// Starts one and waits until it accepts.
    pub fn start(socket: &Path) -> Result<Self> {
        let child = Command::new(std::env::current_exe()?).arg(FLAG).arg(socket).stdin(Stdio::piped()).spawn()?;
        let backend = Self(child);
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            if Instant::now() > deadline {
                return Err("the backend did not start within 5 s".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(backend)
    }

    /// Of its process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The backend's own main: serves until its standard input ends, which it does when the bench is gone.
pub fn serve(socket: &str) -> ExitCode {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let served = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, accept(PathBuf::from(socket)))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backend {socket}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn accept(socket: PathBuf) -> std::io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn_local(connection(stream));
    }
}

async fn connection(stream: UnixStream) {
    let service = service_fn(|_: Request<Incoming>| async {
        let mut response = Response::new(Full::new(Bytes::from_static(BODY.as_bytes())));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok::<_, Infallible>(response)
    });
    // A proxy that closes its connection is no news here.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
