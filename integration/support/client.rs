//! An HTTP/1.1 client that sends exactly the bytes it is given and shows exactly what came back.
//!
//! Must not know Pasteway; it does nothing by itself: no retry, no redirect, no header of its own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub struct Client {
    stream: Box<dyn Stream>,
    /// Received and not yet part of an answer.
    ahead: Vec<u8>,
}

/// One answer, or an interim one (1xx).
#[derive(Clone, Debug)]
pub struct Answer {
    /// `HTTP/1.1 200 OK`
    pub line: String,
    /// The code in it.
    pub status: u16,
    /// In the order and spelling of the wire.
    pub headers: Vec<(String, String)>,
    /// Without framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?} {}", self.text()))
    }

    /// Whether the server will close after it.
    pub fn closes(&self) -> bool {
        self.headers("connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Client {
    /// Connects by TCP; reads and writes that take 20 s fail.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(super::DEADLINE))?;
        stream.set_write_timeout(Some(super::DEADLINE))?;
        Ok(Self { stream: Box::new(stream), ahead: Vec::new() })
    }

    /// Connects to a Unix socket.
    pub fn connect_unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(super::DEADLINE))?;
        stream.set_write_timeout(Some(super::DEADLINE))?;
        Ok(Self { stream: Box::new(stream), ahead: Vec::new() })
    }

    /// Speaks on a stream that is there already.
    pub fn over(stream: impl Read + Write + Send + 'static) -> Self {
        Self { stream: Box::new(stream), ahead: Vec::new() }
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends bytes one at a time, as the slowest network would.
    pub fn trickle(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        for byte in bytes.as_ref() {
            self.stream.write_all(std::slice::from_ref(byte))?;
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// GET with only a Host and these headers.
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        self.request("GET", path, headers, b"")
    }

    /// A request with a Host, these headers, and a length if there is a body.
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:8774\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        self.send([head.as_bytes(), body].concat())?;
        self.answer(method)
    }

    /// Reads one answer to a request with this method.
    pub fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut answer = self.head()?;
        let bodiless = method == "HEAD" || answer.status / 100 == 1 || matches!(answer.status, 204 | 304);
        if bodiless {
            return Ok(answer);
        }
        let chunked = answer.headers("transfer-encoding").iter().any(|value| value.eq_ignore_ascii_case("chunked"));
        let lengths = answer.headers("content-length");
        if chunked && !lengths.is_empty() {
            return Err(io::Error::other("both a length and chunked"));
        }
        answer.body = match lengths.first() {
            _ if chunked => self.chunks()?,
            Some(length) => self.take(length.parse().map_err(io::Error::other)?)?,
            None => self.rest()?,
        };
        Ok(answer)
    }

    /// Everything until the other end closes, in order or by a reset.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut all = std::mem::take(&mut self.ahead);
        match self.stream.read_to_end(&mut all) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(all),
        }
    }

    /// Whether the other end has closed: waits for its end of file; a byte instead is an error.
    pub fn is_closed(&mut self) -> io::Result<bool> {
        if !self.ahead.is_empty() {
            return Ok(false);
        }
        match self.stream.read(&mut [0]) {
            Ok(n) => Ok(n == 0),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn head(&mut self) -> io::Result<Answer> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let mut lines = lines.into_iter();
        let line = lines.next().unwrap_or_default();
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status in {line:?}")))?;
        let headers = lines
            .map(|line| match line.split_once(':') {
                Some((name, value)) => Ok((name.to_owned(), value.trim().to_owned())),
                None => Err(io::Error::other(format!("no header: {line:?}"))),
            })
            .collect::<io::Result<_>>()?;
        Ok(Answer { line, status, headers, body: Vec::new() })
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size)?);
            if !self.line()?.is_empty() {
                return Err(io::Error::other("a chunk does not end where its size says"));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.ahead[..end]).into_owned();
                self.ahead.drain(..end + 2);
                return Ok(line);
            }
            self.more()?;
        }
    }

    fn take(&mut self, size: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < size {
            self.more()?;
        }
        let rest = self.ahead.split_off(size);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    fn more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 64 * 1024];
        let n = self.stream.read(&mut chunk)?;
        if n == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
        }
        self.ahead.extend_from_slice(&chunk[..n]);
        Ok(())
    }
}
