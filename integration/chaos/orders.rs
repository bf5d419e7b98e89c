//! Clients that order something again and again, workers that write each order down, and the comparison of the two.
//!
//! Some clients go away before they have their answer; whether their order was done nobody can say, but not twice. Must not know what happens to the workers or the front meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fastrand::Rng;
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::support::chance::chance;
use crate::support::python::{python, with_interpreter};
use crate::support::{Client, Layout};

/// Clients of one run.
pub const CLIENTS: usize = 4;
/// One order of so many is asked for without patience.
const IMPATIENT: u32 = 40;

/// Where orders are written down, and who orders.
pub struct Orders {
    directory: TempDir,
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Fates>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicUsize,
    /// Orders whose app shall hang before it does them.
    hangs: AtomicUsize,
    /// `None` while there is no front.
    address: Mutex<Option<SocketAddr>>,
}

/// What became of the orders, as the clients saw it.
#[derive(Debug, Default)]
pub struct Fates {
    /// Answered by 200, with their own number.
    pub acknowledged: BTreeSet<String>,
    /// Answered by an error.
    pub refused: BTreeMap<String, u16>,
    /// When that was, in nanoseconds of the clock that never jumps.
    refused_at: BTreeMap<String, u64>,
    /// Not answered at all.
    pub unanswered: BTreeMap<String, String>,
    /// Whose client went away.
    given_up: usize,
}

/// A line of the ledger.
struct Done {
    order: String,
    at: u64,
}

impl Orders {
    /// Nobody orders yet.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), shared: Arc::default(), clients: Vec::new() }
    }

    fn ledger(&self) -> PathBuf {
        self.directory.path().join("ledger")
    }

    /// Three Python workers that write orders down.
    pub fn python(&self) -> Layout {
        let paste = format!(
            "[composite:osapi_compute]\nuse = egg:Paste#urlmap\n/v2: app\n\n\
             [app:app]\npaste.app_factory = ledger:app_factory\nledger = {}\n",
            self.ledger().display()
        );
        with_interpreter(&paste, &python()).default("osapi_compute_workers = 3").pasteway("worker_threads = 4")
    }

    /// The same as programs that speak HTTP/1.1 on a socket of their own.
    pub fn command(&self) -> Layout {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/fixtures/python/ledger.py");
        let command = format!("worker_command = python3 {program} {{socket}} {}", self.ledger().display());
        self.python().pasteway("worker_kind = command").pasteway(&command).pasteway("worker_keep_alive = true")
    }

    /// Clients order at this address from now on.
    pub fn at(&mut self, address: SocketAddr) {
        *self.shared.address.lock().expect("no panic") = Some(address);
        if self.clients.is_empty() {
            let mut chance = chance();
            self.clients.extend((0..CLIENTS).map(|number| {
                let (shared, chance) = (Arc::clone(&self.shared), chance.fork());
                std::thread::spawn(move || client(number, &shared, chance))
            }));
        }
    }

    /// One of the next orders is never done: its app hangs.
    pub fn hang_one(&self) {
        self.shared.hangs.fetch_add(1, Ordering::Relaxed);
    }

    /// What was done so far, in its order.
    pub fn done(&self) -> Vec<String> {
        self.lines().into_iter().map(|line| line.order).collect()
    }

    fn lines(&self) -> Vec<Done> {
        let text = fs::read_to_string(self.ledger()).expect("a ledger");
        let words = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        words.map(|words| Done { order: words[0].to_owned(), at: words[3].parse().expect("a time") }).collect()
    }

    /// Nobody connects until there is an address again.
    pub fn nowhere(&self) {
        *self.shared.address.lock().expect("no panic") = None;
    }

    /// Orders that were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends the clients and compares: every acknowledged order was done, none was done twice, and none that was refused
    /// was done behind that, or at all if the front refused it without a worker.
    #[track_caller]
    pub fn settle(&mut self) -> Fates {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut fates = Fates::default();
        for client in self.clients.drain(..) {
            let of = client.join().expect("a client does not panic");
            fates.acknowledged.extend(of.acknowledged);
            fates.refused.extend(of.refused);
            fates.refused_at.extend(of.refused_at);
            fates.unanswered.extend(of.unanswered);
            fates.given_up += of.given_up;
        }
        let lines = self.lines();
        let mut done: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &lines {
            *done.entry(&line.order).or_default() += 1;
        }
        let is_behind = |line: &&Done| fates.refused_at.get(&line.order).is_some_and(|at| *at < line.at);
        let behind: Vec<_> = lines.iter().filter(is_behind).map(|line| &line.order).collect();
        let unsent: Vec<_> = fates
            .refused
            .iter()
            .filter(|(order, status)| **status == 503 && done.contains_key(order.as_str()))
            .collect();
        let lost: Vec<_> = fates.acknowledged.iter().filter(|order| !done.contains_key(order.as_str())).collect();
        let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
        println!(
            "{} orders acknowledged, {} done, {} given up, refused {:?}, unanswered {:?}",
            fates.acknowledged.len(),
            done.len(),
            fates.given_up,
            fates.refused,
            fates.unanswered
        );
        assert!(lost.is_empty(), "acknowledged and not done: {lost:?}");
        assert!(twice.is_empty(), "done more than once: {twice:?}");
        assert!(behind.is_empty(), "done when it had been refused: {behind:?}");
        assert!(unsent.is_empty(), "done, and refused as if no worker had been there: {unsent:?}");
        fates
    }
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).expect("after the start")
}

fn client(number: usize, shared: &Shared, mut chance: Rng) -> Fates {
    let mut fates = Fates::default();
    let mut kept: Option<Client> = None;
    let mut n = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        // Clients that never rest would only measure the machine.
        std::thread::sleep(Duration::from_millis(2));
        let address = *shared.address.lock().expect("no panic");
        let Some(mut client) = kept.take().or_else(|| Client::connect(address?).ok()) else { continue };
        n += 1;
        let order = format!("{number}-{n}");
        if chance.u32(0..IMPATIENT) == 0 {
            let length = "X-Auth-Token: u1:t1\r\nContent-Length: 8";
            // Half of them do not even end their body.
            let body = if chance.bool() { "a server" } else { "a s" };
            let _ = client.send(format!("POST /v2/orders/{order} HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n{body}"));
            std::thread::sleep(Duration::from_micros(chance.u64(0..3000)));
            fates.given_up += 1;
            continue;
        }
        let hangs = shared.hangs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        let path = format!("/v2/orders/{order}{}", if hangs { "?before=600" } else { "" });
        match client.request("POST", &path, &[("X-Auth-Token", "u1:t1")], b"a server") {
            Ok(answer) if answer.status == 200 => {
                assert_eq!(answer.text(), order, "somebody else's answer");
                fates.acknowledged.insert(order);
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                kept = Some(client).filter(|_| !answer.closes());
            }
            Ok(answer) => {
                fates.refused_at.insert(order.clone(), now());
                fates.refused.insert(order, answer.status);
                kept = Some(client).filter(|_| !answer.closes());
            }
            Err(error) => {
                fates.unanswered.insert(order, error.to_string());
            }
        }
    }
    fates
}
