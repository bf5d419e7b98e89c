//! Clients that order something again and again, workers that write each order down, and the comparison of the two.
//!
//! Must not know what happens to the workers or the front meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::python::{python, with_interpreter};
use crate::support::{Client, Layout};

/// Clients of one run.
pub const CLIENTS: usize = 4;

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
    /// Not answered at all.
    pub unanswered: BTreeMap<String, String>,
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
        while self.clients.len() < CLIENTS {
            let (number, shared) = (self.clients.len(), Arc::clone(&self.shared));
            self.clients.push(std::thread::spawn(move || client(number, &shared)));
        }
    }

    /// Nobody connects until there is an address again.
    pub fn nowhere(&self) {
        *self.shared.address.lock().expect("no panic") = None;
    }

    /// Orders that were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends the clients and compares: every acknowledged order was done, and none was done twice.
    #[track_caller]
    pub fn settle(&mut self) -> Fates {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut fates = Fates::default();
        for client in self.clients.drain(..) {
            let Fates { acknowledged, refused, unanswered } = client.join().expect("a client does not panic");
            fates.acknowledged.extend(acknowledged);
            fates.refused.extend(refused);
            fates.unanswered.extend(unanswered);
        }
        let text = fs::read_to_string(self.ledger()).expect("a ledger");
        let mut done: BTreeMap<&str, usize> = BTreeMap::new();
        for line in text.lines() {
            *done.entry(line.split(' ').next().expect("a number")).or_default() += 1;
        }
        let lost: Vec<_> = fates.acknowledged.iter().filter(|order| !done.contains_key(order.as_str())).collect();
        let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
        println!(
            "{} orders acknowledged, {} done, refused {:?}, unanswered {:?}",
            fates.acknowledged.len(),
            done.len(),
            fates.refused,
            fates.unanswered
        );
        assert!(lost.is_empty(), "acknowledged and not done: {lost:?}");
        assert!(twice.is_empty(), "done more than once: {twice:?}");
        fates
    }
}

fn client(number: usize, shared: &Shared) -> Fates {
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
        match client.request("POST", &format!("/v2/orders/{order}"), &[("X-Auth-Token", "u1:t1")], b"a server") {
            Ok(answer) if answer.status == 200 => {
                assert_eq!(answer.text(), order, "somebody else's answer");
                fates.acknowledged.insert(order);
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                kept = Some(client).filter(|_| !answer.closes());
            }
            Ok(answer) => {
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
