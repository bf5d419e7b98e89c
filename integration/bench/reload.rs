//! How soon an edit is in effect: from the rename that saves the paste file to the first answer of the new
//! generation, while requests run.
//!
//! What the other requests feel of it is the program's own test to say: `pasteway selftest reload`, in an open loop.
//!
//! Each edit mounts one more path (`/g7`), which answers 404 before and 200 after.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::load::{Answer, Load, Target};
use crate::measure::Side;
use crate::peers::{Kind, Peer, Scenario};
use crate::{Result, backend, measure, table};

/// `watch_settle`'s default: a file is read only after so long a rest, on purpose.
const SETTLE: Duration = Duration::from_millis(100);
/// Requests per second beside the edits.
const RATE: f64 = 5000.0;
/// A reload waits for `watch_settle` and has a wake; between them there must be time outside.
const EDITS_PER_SECOND: usize = 3;
/// What p99 inside may be of p99 outside.
const BAR: f64 = 1.1;
/// How often the new path is asked for.
const POLL: Duration = Duration::from_micros(500);

/// Makes the edits and prints their latencies.
pub fn measure(place: &Path, edits: usize) -> Result<()> {
    eprintln!("reload: {edits} edits under {RATE} requests/s");
    let peer = Peer::pasteway(&place.join("pasteway"), &paste(0))?;
    let idle_rss = measure::rss(peer.server)?;
    let over = AtomicBool::new(false);
    let answer = Answer::Body(backend::BODY.as_bytes());
    let target = Target { address: peer.address, request: Scenario::Plain.request(), answer };
    let (latencies, load) = std::thread::scope(|scope| {
        let load = scope.spawn(|| Load::connect(target, 64)?.run(Some(RATE), |_| over.load(Ordering::Relaxed)));
        let latencies = edit_all(&place.join("pasteway"), peer.address, edits);
        over.store(true, Ordering::Relaxed);
        (latencies, load.join())
    });
    let load = load.map_err(|_| "the load panicked")??;
    let mut beyond: Vec<f64> =
        latencies?.into_iter().map(|latency| (latency.as_secs_f64() - SETTLE.as_secs_f64()) * 1e3).collect();
    beyond.sort_unstable_by(f64::total_cmp);
    println!("## reload\n");
    println!("From the rename to the first answer of the new generation, beyond `watch_settle` ({SETTLE:?}),");
    println!("under {RATE} requests/s on 64 connections.\n");
    println!("| edits | p50 ms | p99 ms | max ms | requests | failed | idle RSS MiB |\n|--:|--:|--:|--:|--:|--:|--:|");
    println!(
        "| {edits} | {:.1} | {:.1} | {:.1} | {} | {} | {:.1} |\n",
        table::percentile(&beyond, 0.50),
        table::percentile(&beyond, 0.99),
        table::percentile(&beyond, 1.0),
        load.requests,
        load.failed,
        idle_rss as f64 / (1024.0 * 1024.0),
    );
    if load.failed > 0 {
        return Err(format!("{} requests failed during reloads", load.failed).into());
    }
    drop(peer);
    measure::unpin_self()?;
    let windows = windows(edits);
    measure::pin_self(Side::Load)?;
    windows
}

/// Latencies inside and outside of the windows in which an edit is under way, of all kinds of requests and edits.
fn windows(edits: usize) -> Result<()> {
    let seconds = (edits / EDITS_PER_SECOND).max(5).to_string();
    let (rate, edits) = (RATE.to_string(), edits.to_string());
    let mut command = Command::new(Kind::Pasteway.program());
    let run = command
        .args(["selftest", "reload", "--format", "json", "--seed", "1"])
        .args(["--rate", &rate, "--reloads", &edits, "--seconds", &seconds])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let report: Value = serde_json::from_slice(&run.stdout)?;
    if !run.status.success() {
        return Err(format!("selftest: {}", report["problems"]).into());
    }
    println!("Open loop, {rate} requests/s of all kinds, p99 from when each was due; the bar is {BAR} × outside.\n");
    println!("| reloads | requests | failed | p99 inside ms | p99 outside ms | inside / outside | apply p99 ms |");
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    let ms = |of: &str| report[of]["p99_ms"].as_f64().unwrap_or_default();
    println!(
        "| {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.1} |\n",
        report["reloads"],
        report["requests"],
        report["failed"],
        ms("inside"),
        ms("outside"),
        report["p99_ratio"].as_f64().unwrap_or_default(),
        ms("watched"),
    );
    Ok(())
}

fn edit_all(place: &Path, address: SocketAddr, edits: usize) -> Result<Vec<Duration>> {
    let mut probe = Probe::connect(address)?;
    (1..=edits)
        .map(|n| {
            let new = place.join("api-paste.ini.new");
            fs::write(&new, paste(n))?;
            let saved = Instant::now();
            fs::rename(&new, place.join("api-paste.ini"))?;
            while probe.status(&format!("/g{n}"))? != 200 {
                if saved.elapsed() > Duration::from_secs(10) {
                    return Err(format!("edit {n} was not in effect after 10 s").into());
                }
                std::thread::sleep(POLL);
            }
            let latency = saved.elapsed();
            // A writer is not in step with the watcher: the next edit comes at another phase each time.
            std::thread::sleep(Duration::from_millis(20 + (n as u64 * 7) % 31));
            Ok(latency)
        })
        .collect()
}

/// Havana's shape with one more path per edit.
fn paste(edit: usize) -> String {
    format!(
        "[composite:osapi_compute]\nuse = call:nova.api.openstack.urlmap:urlmap_factory\n/v2: compute\n/g{edit}: compute\n\n\
         [pipeline:compute]\npipeline = faultwrap sizelimit app\n\n\
         [filter:faultwrap]\npaste.filter_factory = nova.api.openstack:FaultWrapper.factory\n\n\
         [filter:sizelimit]\npaste.filter_factory = nova.api.sizelimit:RequestBodySizeLimiter.factory\n\n\
         [app:app]\npaste.app_factory = bench.backend:factory\n"
    )
}

/// One keep-alive connection that only wants to know the status.
struct Probe(TcpStream);

impl Probe {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self(stream))
    }

    fn status(&mut self, path: &str) -> Result<u16> {
        write!(self.0, "GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        let mut received = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let n = self.0.read(&mut chunk)?;
            if n == 0 {
                return Err("the probe's connection was closed".into());
            }
            received.extend_from_slice(&chunk[..n]);
            if let Some(status) = whole(&received)? {
                return Ok(status);
            }
        }
    }
}

/// The status once the answer is there to its last byte.
fn whole(received: &[u8]) -> Result<Option<u16>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(size) = head.parse(received)? else { return Ok(None) };
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: usize = std::str::from_utf8(length.ok_or("an answer without a length")?.value)?.parse()?;
    Ok(if received.len() >= size + length { head.code } else { None })
}
