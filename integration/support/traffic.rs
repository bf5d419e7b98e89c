//! Requests that run beside a test, on kept and on fresh connections, each answer checked.
//!
//! Must not know what the test does meanwhile. Every request carries a word of its own that the stand-in shows in its
//! picture, so that an answer to somebody else's request counts as failed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::Client;

/// What was seen.
#[derive(Debug, Default)]
pub struct Report {
    /// Requests that were answered rightly.
    pub served: u64,
    /// What went wrong, in the words of the client.
    pub failed: Vec<String>,
    /// Kept connections that were closed or announced to be closed.
    pub closed: u64,
}

/// How one thread asks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The method; POST gets a body.
    pub method: &'static str,
    /// A new connection for every request.
    pub fresh: bool,
}

/// Running traffic.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Report>>,
}

impl Traffic {
    /// One thread per style, as fast as answers come.
    pub fn start(address: SocketAddr, styles: &[Style]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicU64::new(0));
        let threads = styles
            .iter()
            .enumerate()
            .map(|(number, style)| {
                let (stop, served, style) = (Arc::clone(&stop), Arc::clone(&served), *style);
                std::thread::spawn(move || run(address, number, style, &stop, &served))
            })
            .collect();
        Self { stop, served, threads }
    }

    /// Requests served so far.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Ends it.
    pub fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Report::default();
        for thread in self.threads {
            let report = thread.join().expect("a client does not panic");
            all.served += report.served;
            all.closed += report.closed;
            all.failed.extend(report.failed);
        }
        all
    }
}

fn run(address: SocketAddr, number: usize, style: Style, stop: &AtomicBool, served: &AtomicU64) -> Report {
    let mut report = Report::default();
    let mut kept: Option<Client> = None;
    let mut n = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let asked = kept.take().map_or_else(|| Client::connect(address), Ok).and_then(|mut client| {
            let closes = ask(&mut client, style, &format!("word-{number}-{n}-end"))?;
            Ok((client, closes))
        });
        match asked {
            Ok((client, closes)) => {
                report.served += 1;
                served.fetch_add(1, Ordering::Relaxed);
                report.closed += u64::from(closes);
                kept = (!style.fresh && !closes).then_some(client);
            }
            Err(error) => {
                report.closed += u64::from(error.kind() == io::ErrorKind::UnexpectedEof);
                report.failed.push(format!("{style:?} {number}/{n}: {error}"));
            }
        }
    }
    report
}

/// One request; whether the front means to close the connection.
fn ask(client: &mut Client, style: Style, word: &str) -> io::Result<bool> {
    let body: &[u8] = if style.method == "POST" { br#"{"server": {"name": "x"}}"# } else { b"" };
    let path = format!("/v2/t1/servers/{word}");
    let answer = client.request(style.method, &path, &[("X-Auth-Token", "u1:t1")], body)?;
    if answer.status != 200 {
        return Err(io::Error::other(format!("{} {}", answer.line, answer.text())));
    }
    if !answer.text().contains(word) {
        return Err(io::Error::other(format!("somebody else's answer: {}", answer.text())));
    }
    Ok(answer.closes())
}
