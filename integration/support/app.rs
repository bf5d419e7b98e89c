//! An HTTP server of the test's own on a Unix socket: an external worker that does exactly what a test says.
//!
//! Must not know the front.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// The request that tells whether it is there; it is answered always and not kept in [`App::asked`].
pub const PROBE: &str = "GET /probe";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and target.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Chunks with their framing, if it came in chunks.
    pub body: Vec<u8>,
}

impl Asked {
    /// All values of a header.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// A running server; closes its socket and every connection when dropped.
pub struct App {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    asked: Mutex<Vec<Asked>>,
    open: Mutex<Vec<UnixStream>>,
}

impl App {
    /// Serves `path`. `answer` writes to the connection and says whether it goes on.
    pub fn start(path: &Path, answer: impl Fn(&Asked, &mut UnixStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let (shared, answer) = (Arc::new(Shared::default()), Arc::new(answer));
        let accepted = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepted.stopped.load(Ordering::SeqCst) {
                    return;
                }
                accepted.open().push(stream.try_clone().expect("a descriptor"));
                let (shared, answer) = (Arc::clone(&accepted), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &shared, &*answer));
            }
        });
        Self { path: path.to_owned(), shared }
    }

    /// Serves `path` and answers every request with its own line.
    pub fn echo(path: &Path) -> Self {
        Self::start(path, |asked, stream| reply(stream, &asked.line))
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no panic").clone()
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Vec<UnixStream>> {
        self.open.lock().expect("no panic")
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then closes the socket.
        drop(UnixStream::connect(&self.path));
        for stream in self.shared.open().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A plain answer on a connection that goes on.
pub fn reply(stream: &mut UnixStream, text: &str) -> bool {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).is_ok()
}

fn serve(mut stream: UnixStream, shared: &Shared, answer: &(dyn Fn(&Asked, &mut UnixStream) -> bool + Send + Sync)) {
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    while let Some(asked) = read(&mut reader) {
        let goes_on = if asked.line == PROBE {
            reply(&mut stream, "");
            false
        } else {
            shared.asked.lock().expect("no panic").push(asked.clone());
            answer(&asked, &mut stream)
        };
        if !goes_on {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

/// The next request; `None` at the end, or when it breaks off.
pub fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut line = || {
        let mut line = String::new();
        let n = reader.read_line(&mut line).ok()?;
        (n > 0).then(|| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked { line: first.trim_end_matches(" HTTP/1.1").to_owned(), headers, body: Vec::new() };
    if let Some(length) = asked.headers("content-length").first() {
        let mut body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        asked.body = body;
    } else if !asked.headers("transfer-encoding").is_empty() {
        while !asked.body.ends_with(b"0\r\n\r\n") {
            let mut byte = [0];
            reader.read_exact(&mut byte).ok()?;
            asked.body.extend(byte);
        }
    }
    Some(asked)
}
