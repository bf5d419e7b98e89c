//! A front with few file descriptors: who waits for one, and what goes on meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::{Answer, Client, Front, Layout, Save, eventually, process};

/// What the front may have; its workers have as many each.
const LIMIT: u32 = 512;
const CLIENTS: usize = 400;

#[track_caller]
fn start(layout: &Layout) -> Front {
    let layout = layout.clone().default("osapi_compute_workers = 2").pasteway("worker_threads = 1000");
    let layout = layout.pasteway("front_threads = 2");
    Front::start_after(&format!("ulimit -n {LIMIT}"), &layout)
}

/// Clients that come, and when no more are let in all ask at once, `rounds` times on one connection each. Every request
/// is a POST, which is never sent twice, and has a body of its own.
#[track_caller]
fn crowd(front: &Front, rounds: usize, milliseconds: u32) -> Vec<JoinHandle<io::Result<Vec<Answer>>>> {
    let (address, full) = (front.address("osapi_compute"), Arc::new(AtomicBool::new(false)));
    let path: Arc<str> = format!("/v2/x?pasteway.echo=1&pasteway.delay={milliseconds}").into();
    let client = |number: usize| {
        let (path, full) = (Arc::clone(&path), Arc::clone(&full));
        thread::spawn(move || {
            let mut client = Client::connect(address)?;
            // The front answers this by itself.
            assert_eq!(client.get("/", &[])?.status, 404);
            while !full.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
            (0..rounds).map(|round| client.request("POST", &path, &[], body(number, round).as_bytes())).collect()
        })
    };
    let clients = (0..CLIENTS).map(client).collect();
    front.logged("few descriptors are left, the next connection waits");
    full.store(true, Ordering::Relaxed);
    front.logged("no descriptor is left for a connection to a worker");
    clients
}

fn body(number: usize, round: usize) -> String {
    format!("client {number}, round {round}")
}

#[test]
fn more_clients_than_descriptors_are_all_served_and_the_front_can_be_steered_meanwhile() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("api.log");
    let layout = Layout::bare().pasteway("watch = false").default(&format!("log_file = {}", file.display()));
    let front = start(&layout.default("use_stderr = true"));
    let crowd = crowd(&front, 3, 300);
    let before = front.workers();
    front.edit(Save::Rename, |text| text.replace("[app:app]", "[app:app]\nnew = option"));
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
    assert!(front.workers().iter().any(|worker| !before.contains(worker)), "it has started workers");
    std::fs::rename(&file, directory.path().join("old.log")).expect("moved");
    let mut asked = 0;
    while !crowd.iter().all(JoinHandle::is_finished) {
        assert_eq!(front.admin("/status").status, 200);
        assert!(front.metric("process_open_fds", &[]) < f64::from(LIMIT));
        asked += 1;
    }
    assert!(asked > 10, "only {asked} looks at a front without descriptors");
    for (number, client) in crowd.into_iter().enumerate() {
        let answers = client.join().expect("no panic").expect("answers");
        for (round, answer) in answers.iter().enumerate() {
            assert_eq!((answer.status, &*answer.text()), (200, &*body(number, round)));
        }
    }
    for name in ["pasteway_upstream_errors_total", "pasteway_upstream_retries_total", "pasteway_queue_rejected_total"] {
        assert_eq!(front.metric(name, &[]), 0.0, "{name}");
    }
    eventually("the log is opened again", || std::fs::read_to_string(&file).ok().filter(|log| log.contains("POST")));
}

#[test]
fn who_finds_no_descriptor_in_the_queues_time_is_told_so_as_by_the_queue() {
    let front = start(&Layout::bare().pasteway("queue_timeout = 0.5"));
    // What is open stays busy for longer than the others wait.
    let crowd = crowd(&front, 1, 3000);
    let spent = process::ticks(front.pid());
    let answers = crowd.into_iter().map(|client| client.join().expect("no panic").expect("an answer").remove(0));
    let (served, refused): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.status == 200);
    assert!(!served.is_empty() && !refused.is_empty());
    for answer in &refused {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    }
    let rejected = front.metric("pasteway_queue_rejected_total", &[("reason", "timeout")]);
    assert_eq!((rejected, front.metric("pasteway_upstream_errors_total", &[])), (refused.len() as f64, 0.0));
    let spent = process::ticks(front.pid()) - spent;
    assert!(spent < 100, "{spent} ticks in 3 s of waiting");
    assert_eq!(front.get("/v2/x").status, 200);
}
