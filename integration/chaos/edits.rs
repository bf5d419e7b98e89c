//! Fifty broken saves in a row, and a hundred moves from port to port, under load.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use serde_json::Value;

use super::truth;
use crate::support::chance::{chance, one, times};
use crate::support::traffic::{Style, Traffic};
use crate::support::{Client, Front, Layout, Save, eventually, process};

/// A broken file, and whether there is a line to blame.
struct Broken {
    text: String,
    has_line: bool,
}

/// The text with a name that is nobody's, or with a line that means nothing, somewhere where it matters.
fn break_paste(good: &str, chance: &mut Rng) -> Broken {
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let number = chance.u32(..);
    let mut change = |chance: &mut Rng, start: &str, end: &str| {
        let places: Vec<usize> = (0..lines.len()).filter(|n| lines[*n].starts_with(start)).collect();
        lines[one(chance, &places)].push_str(end);
    };
    match chance.u8(0..5) {
        0 => change(chance, "noauth = ", &format!(" nobody{number}")),
        1 => change(chance, "/v2: ", &number.to_string()),
        2 => change(chance, "use = ", &format!("%(nobody{number})s")),
        3 => lines.insert(chance.usize(0..=lines.len()), format!("nonsense {number}")),
        _ => return Broken { text: String::new(), has_line: false },
    }
    Broken { text: lines.join("\n") + "\n", has_line: true }
}

fn break_conf(good: &str, chance: &mut Rng) -> Broken {
    let number = chance.u32(..);
    let end = match chance.u8(0..5) {
        0 => "[DEFAULT]\nosapi_compute_workers = many".to_owned(),
        1 => format!("[pasteway]\nno_such_option_{number} = 1"),
        2 => "[pasteway]\nfront_threads = 7".to_owned(),
        3 => "[DEFAULT]\nosapi_compute_listen_port = eight".to_owned(),
        _ => format!("[nonsense {number}"),
    };
    Broken { text: format!("{good}{end}\n"), has_line: true }
}

#[track_caller]
fn is_blamed(finding: &Value, has_line: bool) -> bool {
    finding["file"].is_string() && (finding["line"].as_u64().is_some_and(|line| line > 0) || !has_line)
}

#[test]
fn fifty_broken_saves_in_a_row_are_each_told_with_their_place_and_change_nothing() {
    let mut chance = chance();
    let front = Front::start(&Layout::havana().default("osapi_compute_workers = 2").pasteway("access_log = false"));
    let workers = front.workers();
    let kept = Style { method: "GET", fresh: false };
    let traffic = Traffic::start(front.address("osapi_compute"), &[kept, kept, Style { fresh: true, ..kept }]);
    let rejected = || front.metric("pasteway_config_reloads_total", &[("outcome", "rejected")]) as usize;
    // Of each file its path, its good text, how it is broken, and whether a line of it is to blame now.
    let good = |path: &PathBuf| std::fs::read_to_string(path).expect("a file");
    let (paste, conf) = (front.paste(), front.conf());
    let mut files = [
        (&paste, good(&paste), break_paste as fn(&str, &mut Rng) -> Broken, true),
        (&conf, good(&conf), break_conf, true),
    ];
    // None of them is good in between, and mostly both are broken.
    for _ in 0..times(50) {
        let before = rejected();
        let (path, good, breaking, has_line) = &mut files[chance.usize(0..2)];
        let broken = breaking(good, &mut chance);
        *has_line = broken.has_line;
        let save = one(&mut chance, &[Save::Rename, Save::InPieces]);
        println!("{save:?}, {} bytes", broken.text.len());
        save.save(path, &broken.text).expect("saved");
        eventually("a verdict on the broken file", || (rejected() > before).then_some(()));
        let status = front.admin("/status").json();
        let findings = status["last_reload"]["diagnostics"].as_array().expect("findings");
        let has_line = files.iter().all(|(.., has_line)| *has_line);
        let told = findings.iter().any(|finding| is_blamed(finding, has_line));
        assert!(told, "{save:?}: {findings:?}\n{}", broken.text);
        assert_eq!((&status["generation"], &status["config_file_differs"]), (&1.into(), &true.into()));
        assert_eq!(status["last_reload"]["outcome"], "rejected");
    }
    truth::is_told(&front);
    assert_eq!(rejected(), times(50), "half a file was never read");
    for (path, good, ..) in files {
        Save::Rename.save(path, &good).expect("saved");
    }
    eventually("the files are whole", || (front.metric("pasteway_config_file_differs", &[]) == 0.0).then_some(()));
    truth::is_told(&front);
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::new(), 0));
    assert_eq!((front.workers(), front.generation()), (workers, 1));
}

/// Clients who ask where the front is said to listen, as new ones and on one connection each.
struct Visitors {
    stop: AtomicBool,
    /// From before a move until its new address is told.
    moving: AtomicBool,
    address: Mutex<SocketAddr>,
    served: AtomicUsize,
}

impl Visitors {
    fn where_now(&self) -> SocketAddr {
        *self.address.lock().expect("no panic")
    }

    /// Comes anew each time; what went wrong. Who is not let in at a port that has just moved asks again where.
    fn come(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let address = self.where_now();
            let answer = Client::connect(address).and_then(|mut client| client.get("/v2/x", &[]));
            let moved = || self.moving.load(Ordering::SeqCst) || self.where_now() != address;
            match answer {
                Ok(answer) if answer.status == 200 => drop(self.served.fetch_add(1, Ordering::Relaxed)),
                // Who was connected was let in, and is served.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && moved() => {}
                other => wrong.push(format!("at {address}: {other:?}")),
            }
        }
        wrong
    }

    /// Stays on one connection.
    fn stay(&self) -> Vec<String> {
        let mut client = Client::connect(self.where_now()).expect("a connection");
        while !self.stop.load(Ordering::Relaxed) {
            match client.get("/v2/x", &[]) {
                Ok(answer) if answer.status == 200 && !answer.closes() => {
                    self.served.fetch_add(1, Ordering::Relaxed);
                }
                other => return vec![format!("on a kept connection: {other:?}")],
            }
        }
        Vec::new()
    }
}

#[test]
fn through_a_hundred_moves_from_port_to_port_whoever_is_let_in_is_served() {
    let mut chance = chance();
    let front = Front::start(&Layout::bare().pasteway("watch = false").pasteway("access_log = false"));
    let descriptors = process::descriptors(front.pid());
    let first = front.address("osapi_compute");
    let shared = Arc::new(Visitors {
        stop: AtomicBool::new(false),
        moving: AtomicBool::new(false),
        address: Mutex::new(first),
        served: AtomicUsize::new(0),
    });
    let visit = |how: fn(&Visitors) -> Vec<String>| {
        let shared = Arc::clone(&shared);
        std::thread::spawn(move || how(&shared))
    };
    let visitors = [visit(Visitors::come), visit(Visitors::come), visit(Visitors::stay)];
    let mut moves = 0;
    while moves < times(100) {
        let host = one(&mut chance, &["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
        let port = TcpListener::bind((host, 0)).and_then(|it| it.local_addr()).expect("a port").port();
        front.edit_conf(|text| {
            let begin = |line: &str, name: &str| line.starts_with(&format!("osapi_compute_{name} = "));
            let of = |line: &str| match line {
                line if begin(line, "listen") => format!("osapi_compute_listen = {host}\n"),
                line if begin(line, "listen_port") => format!("osapi_compute_listen_port = {port}\n"),
                line => format!("{line}\n"),
            };
            text.lines().map(of).collect()
        });
        shared.moving.store(true, Ordering::SeqCst);
        let (status, verdict) = front.reload("");
        if status == 422 && verdict["diagnostics"].to_string().contains("Address already in use") {
            // Another test was faster.
            continue;
        }
        assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
        *shared.address.lock().expect("no panic") = (host.parse::<IpAddr>().expect("an address"), port).into();
        shared.moving.store(false, Ordering::SeqCst);
        moves += 1;
        let served = shared.served.load(Ordering::Relaxed);
        eventually("somebody is served", || (shared.served.load(Ordering::Relaxed) > served + 3).then_some(()));
    }
    truth::is_told(&front);
    shared.stop.store(true, Ordering::Relaxed);
    let wrong: Vec<String> = visitors.into_iter().flat_map(|it| it.join().expect("no panic")).collect();
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(front.generation(), 1 + moves as u64);
    // Some connections to workers are kept for the next request.
    eventually("no descriptor is left over", || (process::descriptors(front.pid()) < descriptors + 10).then_some(()));
    println!("{} requests, {moves} moves", shared.served.load(Ordering::Relaxed));
}
