//! The lives of workers: killed under load, dying in the middle of a request, too busy, left behind.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::traffic::{Style, Traffic};
use crate::support::{Client, Front, Layout, eventually, process};

const COMPUTE: &[(&str, &str)] = &[("api", "osapi_compute")];

/// Kills a worker and waits until another serves in its place.
#[track_caller]
fn kill_one(front: &Front) {
    let before = front.workers();
    let victim = *before.first().expect("a worker");
    process::signal(victim, Signal::KILL);
    eventually("another worker in its place", || {
        let now = front.workers();
        let serving = front.metric("pasteway_workers", &[("api", "osapi_compute"), ("state", "serving")]);
        (now.len() == before.len() && !now.contains(&victim) && serving == before.len() as f64).then_some(())
    });
}

#[test]
fn gets_do_not_notice_that_workers_are_killed() {
    let front = Front::start(&Layout::bare().default("osapi_compute_workers = 2"));
    let get = Style { method: "GET", fresh: false };
    let traffic = Traffic::start(front.address("osapi_compute"), &[get, get, Style { fresh: true, ..get }]);
    for _ in 0..5 {
        let served = traffic.served();
        eventually("traffic", || (traffic.served() > served + 50).then_some(()));
        kill_one(&front);
    }
    let report = traffic.stop();
    assert_eq!(report.failed, Vec::<String>::new());
    assert_eq!(report.closed, 0);
    assert!(front.metric("pasteway_worker_exits_total", &[("api", "osapi_compute"), ("reason", "signal")]) >= 5.0);
}

#[test]
fn of_other_methods_only_those_that_a_killed_worker_had_begun_fail() {
    let front = Front::start(&Layout::bare().default("osapi_compute_workers = 2"));
    let post = Style { method: "POST", fresh: false };
    let styles = [post, post, post];
    let traffic = Traffic::start(front.address("osapi_compute"), &styles);
    let kills = 5;
    for _ in 0..kills {
        let served = traffic.served();
        eventually("traffic", || (traffic.served() > served + 50).then_some(()));
        kill_one(&front);
    }
    let report = traffic.stop();
    // Each client has one request under way when a worker dies.
    assert!(report.failed.len() <= kills * styles.len(), "{:?}", report.failed);
    assert!(report.failed.iter().all(|said| said.contains("HTTP/1.1 502")), "{:?}", report.failed);
    assert_eq!(report.closed, 0);
}

#[test]
fn a_killed_worker_is_told_in_the_log_and_replaced() {
    let front = Front::start(&Layout::bare());
    let victim = *front.workers().first().expect("a worker");
    process::signal(victim, Signal::KILL);
    front.logged(&format!("Child {victim} killed by signal 9"));
    let answer = front.get("/v2/t1/servers");
    assert_eq!(answer.status, 200);
    assert_ne!(answer.json()["pid"].as_u64(), Some(u64::from(victim)));
    assert_eq!(answer.json()["slot"], 0);
}

#[test]
fn a_worker_that_dies_in_a_request_is_a_compute_fault_where_faultwrap_stands() {
    let front = Front::start(&Layout::havana());
    let answer = front.post("/v2/t1/servers?pasteway.exit=1", b"{}");
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(answer.json()["computeFault"]["code"], 500);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=UTF-8"));
}

#[test]
fn a_worker_that_dies_in_a_request_is_a_bad_gateway_without_faultwrap() {
    let front = Front::start(&Layout::bare());
    assert_eq!(front.post("/v2/t1/servers?pasteway.exit=1", b"{}").status, 502);
}

#[test]
fn a_request_that_kills_every_worker_it_meets_is_given_up() {
    let front = Front::start(&Layout::bare().default("osapi_compute_workers = 2"));
    assert_eq!(front.get("/v2/t1/servers?pasteway.exit=1").status, 502);
    assert_eq!(front.get("/v2/t1/servers").status, 200);
}

#[test]
fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    let answer = client.get("/v2/t1/servers?pasteway.exit=body&pasteway.size=100000", &[]);
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(front.get("/v2/t1/servers").status, 200);
}

#[test]
fn requests_wait_while_the_only_worker_is_replaced() {
    let front = Front::start(&Layout::bare());
    let victim = *front.workers().first().expect("a worker");
    process::signal(victim, Signal::KILL);
    for _ in 0..20 {
        assert_eq!(front.get("/v2/t1/servers").status, 200);
    }
}

#[test]
fn past_the_queue_comes_503_with_retry_after() {
    let layout = Layout::bare().pasteway("worker_threads = 1").pasteway("queue_size = 1");
    let front = Front::start(&layout);
    let slow: Vec<_> = (0..4)
        .map(|_| {
            let mut client = front.client();
            std::thread::spawn(move || client.get("/v2/t1/servers?pasteway.delay=1000", &[]).expect("an answer"))
        })
        .collect();
    let answers: Vec<_> = slow.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    // One is served, one waits for it, two find the queue full.
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 2);
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|answer| answer.header("retry-after").is_some()));
    assert_eq!(front.metric("pasteway_queue_rejected_total", COMPUTE), 2.0);
}

#[test]
fn load_is_spread_over_the_workers() {
    let front = Front::start(&Layout::bare().default("osapi_compute_workers = 2"));
    let mut clients: Vec<_> = (0..6).map(|_| front.client()).collect();
    for (n, client) in (1..).zip(&mut clients) {
        client.send("GET /v2/x?pasteway.delay=3000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        eventually("the request is on a worker", || {
            (front.metric("pasteway_worker_in_flight", COMPUTE) == f64::from(n)).then_some(())
        });
    }
    for slot in ["0", "1"] {
        let labels = [("api", "osapi_compute"), ("slot", slot)];
        assert_eq!(front.metric("pasteway_worker_in_flight", &labels), 3.0, "slot {slot}");
    }
    for client in &mut clients {
        assert_eq!(client.answer("GET").expect("an answer").status, 200);
    }
}

#[test]
fn requests_that_a_dead_worker_has_not_accepted_do_not_wait_for_the_next_one_in_its_slot() {
    let front = Front::start(&Layout::bare().default("osapi_compute_workers = 2").pasteway("worker_threads = 100"));
    let slot = || front.admin("/workers").json()[0].clone();
    let pid = || slot()["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a number");
    // So often that the next one is waited for.
    for _ in 0..5 {
        let victim = eventually("a worker", || (slot()["state"] == "serving").then(pid));
        process::signal(victim, Signal::KILL);
        eventually("its end", || (pid() != victim).then_some(()));
    }
    let victim = eventually("a worker", || (slot()["state"] == "serving").then(pid));
    process::signal(victim, Signal::STOP);
    // A fresh worker gets a small share.
    let mut clients: Vec<_> = (0..50).map(|_| front.client()).collect();
    for client in &mut clients {
        client.send("GET /v2/x?pasteway.delay=200 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    }
    eventually("some of them are on it", || (slot()["in_flight"].as_u64() >= Some(2)).then_some(()));
    process::signal(victim, Signal::KILL);
    for client in &mut clients {
        assert_eq!(client.answer("GET").expect("an answer").status, 200);
    }
    assert_eq!(slot()["state"], "backoff", "the others have served them");
}

#[test]
fn workers_leave_when_the_front_is_killed() {
    let mut front = Front::start(&Layout::havana().default("osapi_compute_workers = 2"));
    let workers = front.workers();
    assert_eq!(workers.len(), 4);
    front.signal(Signal::KILL);
    front.exit();
    let began = Instant::now();
    eventually("all workers gone", || workers.iter().all(|pid| !process::lives(*pid)).then_some(()));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// What a worker of somebody else's has: its connections, which can be closed, and the count of answers that it has wholly
/// sent.
#[derive(Clone, Default)]
struct Foreign {
    open: Arc<Mutex<Vec<UnixStream>>>,
    said: Arc<AtomicUsize>,
}

/// A worker of somebody else's, which answers every request in turn with the next of these bytes; what comes behind a
/// form feed is sent a moment later.
fn foreign(path: &Path, answers: &'static [&'static str]) -> Foreign {
    let listener = UnixListener::bind(path).expect("a socket");
    let worker = Foreign::default();
    let kept = worker.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            kept.open.lock().expect("no panic").push(stream.try_clone().expect("a descriptor"));
            let said = Arc::clone(&kept.said);
            std::thread::spawn(move || serve_foreign(stream, answers, &said));
        }
    });
    worker
}

fn serve_foreign(mut stream: UnixStream, answers: &[&str], said: &AtomicUsize) {
    let mut answers = answers.iter().cycle();
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..n]);
        if !seen.ends_with(b"\r\n\r\n") {
            continue;
        }
        let probed = seen.starts_with(b"GET / ");
        seen.clear();
        // Long enough for all of a handful of requests to be here at the same time.
        std::thread::sleep(Duration::from_millis(100));
        for part in answers.next().expect("it cycles").split('\x0c') {
            let _ = stream.write_all(part.as_bytes());
            std::thread::sleep(Duration::from_millis(20));
        }
        // Nobody waits for those.
        if !probed {
            said.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn with_foreign(answers: &'static [&'static str]) -> (Front, Foreign, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("w.sock");
    let worker = foreign(&socket, answers);
    let layout = Layout::bare().pasteway("worker_kind = external").pasteway("worker_threads = 100");
    let layout = layout.pasteway("front_threads = 1").pasteway(&format!("worker_sockets = {}", socket.display()));
    (Front::start(&layout), worker, directory)
}

#[test]
fn connections_that_a_worker_has_closed_are_noticed_in_time() {
    let (front, worker, _directory) = with_foreign(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    let address = front.address("osapi_compute");
    for _ in 0..5 {
        let get = move || Client::connect(address).and_then(|mut client| client.get("/v2/x", &[]));
        let clients: Vec<_> = (0..8).map(|_| std::thread::spawn(get)).collect();
        for client in clients {
            assert_eq!(client.join().expect("no panic").expect("an answer").status, 200);
        }
        for stream in worker.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        assert_eq!(front.get("/v2/x").status, 200);
    }
}

#[test]
fn what_a_worker_says_too_much_is_nobodys_answer() {
    let (front, worker, _directory) = with_foreign(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\x0cHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    ]);
    for _ in 0..10 {
        let before = worker.said.load(Ordering::SeqCst);
        assert_eq!(front.get("/v2/x").text(), "ok");
        // What came with the next request on its way could be told from an answer by nobody.
        eventually("it has said too much", || (worker.said.load(Ordering::SeqCst) > before).then_some(()));
    }
}
