//! The load: one thread, one epoll, N keep-alive connections with one request each under way, every answer checked.
//!
//! Must not know what it loads. It costs little beside a proxy, so that two processors are enough for a comparison.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

/// Where to, what to say and what to hear.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The proxy.
    pub address: SocketAddr,
    /// The bytes of one request.
    pub request: &'a [u8],
    /// What each answer must be.
    pub answer: Answer<'a>,
}

/// A right answer.
#[derive(Clone, Copy)]
pub enum Answer<'a> {
    /// 200 with this body.
    Body(&'a [u8]),
    /// This status, with a length.
    Status(u16),
    /// Anything with a length.
    Any,
}

/// What a run saw.
#[derive(Default)]
pub struct Outcome {
    /// Answers, right or wrong.
    pub requests: u64,
    /// Wrong answers and connections that ended.
    pub failed: u64,
    /// How long the run took.
    pub elapsed: Duration,
    /// From the write of a request to the last byte of its answer, in nanoseconds, unordered.
    pub latencies: Vec<u32>,
}

struct Connection {
    stream: TcpStream,
    sent: Instant,
    received: Vec<u8>,
}

/// Open connections to a target.
pub struct Load<'a> {
    target: Target<'a>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    idle: Vec<usize>,
}

/// Says when a run that lasts this long is over; asked once per turn of the loop.
pub fn lasting(duration: Duration) -> impl FnMut(Instant) -> bool {
    let end = Instant::now() + duration;
    move |now| now >= end
}

impl<'a> Load<'a> {
    /// Opens the connections.
    pub fn connect(target: Target<'a>, connections: usize) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut load = Self { target, epoll, connections: Vec::new(), idle: Vec::new() };
        for index in 0..connections {
            let connection = load.open(index)?;
            load.connections.push(connection);
            load.idle.push(index);
        }
        Ok(load)
    }

    fn open(&self, index: usize) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.target.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        Ok(Connection { stream, sent: Instant::now(), received: Vec::with_capacity(4096) })
    }

    /// Sends requests until `done` says so: as fast as answers come, or evenly with `per_second`.
    pub fn run(&mut self, per_second: Option<f64>, mut done: impl FnMut(Instant) -> bool) -> io::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut events = Vec::with_capacity(self.connections.len());
        let interval = per_second.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate));
        let start = Instant::now();
        let mut due = start;
        loop {
            let now = Instant::now();
            if done(now) {
                outcome.elapsed = now - start;
                return Ok(outcome);
            }
            while due <= now
                && let Some(index) = self.idle.pop()
            {
                self.send(index, &mut outcome)?;
                due += interval;
            }
            if self.idle.is_empty() {
                // Late already: what could not be sent in time is not made up for.
                due = due.max(now);
            }
            let pause =
                if self.idle.is_empty() { Duration::from_millis(50) } else { due.saturating_duration_since(now) };
            let timeout = Timespec::try_from(pause.min(Duration::from_millis(50))).map_err(io::Error::other)?;
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout))?;
            for event in &events {
                let index = event.data.u64() as usize;
                self.receive(index, &mut outcome)?;
            }
        }
    }

    fn send(&mut self, index: usize, outcome: &mut Outcome) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.sent = Instant::now();
        match connection.stream.write(self.target.request) {
            Ok(n) if n == self.target.request.len() => Ok(()),
            _ => self.fail(index, outcome),
        }
    }

    fn receive(&mut self, index: usize, outcome: &mut Outcome) -> io::Result<()> {
        let mut chunk = [0; 4096];
        let connection = &mut self.connections[index];
        match connection.stream.read(&mut chunk) {
            Ok(0) => return self.fail(index, outcome),
            Ok(n) => connection.received.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return self.fail(index, outcome),
        }
        match verdict(&connection.received, self.target.answer) {
            Verdict::Partial => Ok(()),
            Verdict::Wrong => {
                eprintln!("wrong answer: {}", String::from_utf8_lossy(&connection.received));
                self.fail(index, outcome)
            }
            Verdict::Right => {
                let nanos = connection.sent.elapsed().as_nanos();
                outcome.latencies.push(u32::try_from(nanos).unwrap_or(u32::MAX));
                outcome.requests += 1;
                connection.received.clear();
                self.idle.push(index);
                Ok(())
            }
        }
    }

    /// Counts a failure and opens a fresh connection in its place; closing the old one takes it out of the epoll.
    fn fail(&mut self, index: usize, outcome: &mut Outcome) -> io::Result<()> {
        outcome.requests += 1;
        outcome.failed += 1;
        if outcome.failed >= 100 {
            return Err(io::Error::other("100 requests failed: given up"));
        }
        self.connections[index] = self.open(index)?;
        if !self.idle.contains(&index) {
            self.idle.push(index);
        }
        Ok(())
    }
}

enum Verdict {
    Partial,
    Right,
    Wrong,
}

/// One answer. All three proxies pass the backend's length on, and what is refused has one.
fn verdict(received: &[u8], answer: Answer<'_>) -> Verdict {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if received.len() > 16 * 1024 { Verdict::Wrong } else { Verdict::Partial };
    };
    let (head, got) = received.split_at(end + 4);
    let (right, length) = match answer {
        Answer::Body(body) => (head.starts_with(b"HTTP/1.1 200 ") && body.starts_with(got), Some(body.len())),
        Answer::Status(status) => (head.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), length(head)),
        Answer::Any => (true, length(head)),
    };
    match length {
        Some(length) if right && got.len() == length => Verdict::Right,
        Some(length) if right && got.len() < length => Verdict::Partial,
        _ => Verdict::Wrong,
    }
}

/// `Content-Length`.
fn length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next()?.1.trim().parse().ok()
}
