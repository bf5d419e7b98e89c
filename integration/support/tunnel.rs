//! An upgraded connection through the front to a stand-in, which sends back what it gets.
//!
//! Must not know the front's inside.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::{DEADLINE, Front};

/// Bytes both ways, as both ends like.
pub struct Tunnel(TcpStream);

impl Tunnel {
    /// Has the worker agree; what comes right behind the request belongs to the other protocol already.
    #[track_caller]
    pub fn open(front: &Front) -> Self {
        let mut stream = TcpStream::connect(front.address("osapi_compute")).expect("a connection");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let request =
            "GET /v2/x?pasteway.echo=1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nfirst";
        stream.write_all(request.as_bytes()).expect("a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        assert!(head.starts_with("http/1.1 101 ") && head.contains("\r\nupgrade: echo\r\n"), "{head}");
        assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
        let mut tunnel = Self(stream);
        assert_eq!(tunnel.came(), "first");
        tunnel
    }

    /// Sends five letters and waits for them.
    #[track_caller]
    pub fn echoes(&mut self) {
        self.0.write_all(b"again").expect("written");
        assert_eq!(self.came(), "again");
    }

    #[track_caller]
    fn came(&mut self) -> String {
        let mut came = [0; 5];
        self.0.read_exact(&mut came).expect("an echo");
        String::from_utf8_lossy(&came).into_owned()
    }

    /// The client's end, as the front sees it.
    #[track_caller]
    pub fn peer(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    /// Sends the last that it has to say.
    #[track_caller]
    pub fn finish(&mut self, word: &str) {
        self.0.write_all(word.as_bytes()).and_then(|()| self.0.shutdown(Shutdown::Write)).expect("written");
    }

    /// What still comes until it is closed.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("an end");
        rest
    }
}
