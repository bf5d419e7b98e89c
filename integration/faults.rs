//! What the machine and bad clients do to a front: no descriptors, no disk, no patience.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use crate::support::disk::SmallDisk;
use crate::support::process::{resident, ticks};
use crate::support::traffic::{Style, Traffic};
use crate::support::{Front, Layout, Save, eventually};

const GET: &str = "GET /v2/x HTTP/1.1\r\nHost: a\r\n\r\n";

/// `Layout::bare` with one more mount, `/gN`.
fn with_mount(number: usize) -> String {
    Layout::bare().paste().replace("/v2: app\n", &format!("/v2: app\n/g{number}: app\n"))
}

#[test]
fn without_descriptors_the_front_serves_whom_it_has_and_recovers() {
    let front = Front::start(&Layout::bare().pasteway("front_threads = 1"));
    let mut served = front.client();
    assert_eq!(served.get("/v2/x", &[]).expect("an answer").status, 200);
    let open = fs::read_dir(format!("/proc/{}/fd", front.pid())).expect("descriptors").count() as u64;
    let limit = Rlimit { current: Some(open + 40), maximum: Some(open + 40) };
    prlimit(Pid::from_raw(front.pid() as i32), Resource::Nofile, limit).expect("a limit");
    let crowd: Vec<_> = (0..200).map(|_| front.client()).collect();
    front.logged("few descriptors are left");
    let (before, began) = (ticks(front.pid()), Instant::now());
    while began.elapsed() < Duration::from_secs(1) {
        assert_eq!(served.get("/v2/x", &[]).expect("an answer").status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    let spent = ticks(front.pid()) - before;
    assert!(spent < 30, "{spent} ticks in a second in which nothing could be accepted");
    let told = front.log().iter().filter(|line| line.contains("few descriptors are left")).count();
    assert_eq!(told, 1, "lines about it");
    drop(crowd);
    let mut late = front.client();
    assert_eq!(late.get("/v2/x", &[]).expect("an answer").status, 200);
    eventually("ready", || (front.admin("/ready").status == 200).then_some(()));
}

#[test]
fn a_full_log_disk_costs_lines_that_are_counted_and_no_request() {
    let front = Front::start(&Layout::bare().default("use_stderr = true").default("log_file = /dev/full"));
    let mut client = front.client();
    for _ in 0..100 {
        assert_eq!(client.get("/v2/x", &[]).expect("an answer").status, 200);
    }
    eventually("lost lines are counted", || {
        (front.metric("pasteway_log_lines_dropped_total", &[]) >= 100.0).then_some(())
    });
}

#[test]
fn a_log_file_that_is_moved_away_is_opened_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let (log, moved) = (directory.path().join("api.log"), directory.path().join("api.log.1"));
    let option = format!("log_file = {}", log.display());
    let front = Front::start(&Layout::bare().default("use_stderr = true").default(&option));
    assert_eq!(front.get("/v2/before").status, 200);
    let holds = |path: &Path, text: &str| fs::read_to_string(path).is_ok_and(|all| all.contains(text));
    eventually("the line", || holds(&log, "/v2/before").then_some(()));
    fs::rename(&log, &moved).expect("moved");
    eventually("a line in the new file", || {
        assert_eq!(front.get("/v2/after").status, 200);
        holds(&log, "/v2/after").then_some(())
    });
    assert!(!holds(&log, "/v2/before"));
}

#[test]
fn a_full_runtime_dir_rejects_the_reload_and_nothing_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(disk) = SmallDisk::mount(directory.path().join("disk")) else { return };
    let option = format!("runtime_dir = {}", disk.path().display());
    let front = Front::start(&Layout::bare().pasteway(&option).pasteway("watch = false"));
    let filler = disk.path().join("filler");
    assert!(fs::write(&filler, vec![0; 512 * 1024]).is_err(), "the disk is full");
    Save::Rename.save(&front.paste(), &with_mount(1)).expect("saved");
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
    let message = verdict["diagnostics"][0]["message"].as_str().expect("a message");
    assert!(message.contains("runtime_dir") && message.contains("No space left on device"), "{message}");
    assert_eq!(front.get("/g1/x").status, 404);
    assert_eq!(front.get("/v2/x").status, 200);
    assert_eq!(front.admin("/ready").status, 200);
    fs::remove_file(&filler).expect("room again");
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
    assert_eq!(front.get("/g1/x").status, 200);
}

#[test]
fn idle_and_slow_clients_do_not_hinder_others() {
    let front = Front::start(&Layout::bare());
    let mut idle: Vec<_> = (0..500).map(|_| front.client()).collect();
    for client in &mut idle {
        assert_eq!(client.get("/v2/x", &[]).expect("an answer").status, 200);
    }
    let mut slow: Vec<_> = (0..50).map(|_| front.client()).collect();
    let mut heads = GET.as_bytes().chunks(8);
    let mut step = || {
        let Some(part) = heads.next() else { return false };
        slow.iter_mut().for_each(|client| client.send(part).expect("sent"));
        true
    };
    let kept = Style { method: "GET", fresh: false };
    let traffic = Traffic::start(front.address("osapi_compute"), &[kept, Style { fresh: true, ..kept }]);
    while step() {
        let served = traffic.served();
        eventually("others are served", || (traffic.served() > served + 50).then_some(()));
    }
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::new(), 0));
    for client in slow.iter_mut().chain(&mut idle) {
        // The slow ones get the answer that they are owed; the idle ones have asked nothing since theirs.
        client.send("").expect("open");
    }
    for client in &mut slow {
        assert_eq!(client.answer("GET").expect("an answer").status, 200);
    }
    for client in &mut idle {
        assert_eq!(client.get("/v2/x", &[]).expect("an answer").status, 200);
    }
}

#[test]
fn an_answer_that_nobody_reads_does_not_fill_the_fronts_memory() {
    const SIZE: usize = 50_000_000;
    let front = Front::start(&Layout::bare());
    assert_eq!(front.get("/v2/x?pasteway.size=1000000").status, 200);
    let before = resident(front.pid());
    let mut client = front.client();
    client.send(format!("GET /v2/x?pasteway.size={SIZE} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("sent");
    let began = Instant::now();
    let mut most = 0;
    while began.elapsed() < Duration::from_millis(1500) {
        most = most.max(resident(front.pid()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let in_flight = front.metric("pasteway_worker_in_flight", &[("api", "osapi_compute")]);
    assert_eq!(in_flight, 1.0, "the worker waits for the client");
    let grown = most.saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB more");
    assert_eq!(front.get("/v2/x").status, 200, "others are served");
    let answer = client.answer("GET").expect("the whole answer, in the end");
    assert_eq!(answer.body.len(), SIZE);
}

#[test]
fn a_storm_of_sighup_costs_no_request() {
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    let kept = Style { method: "GET", fresh: false };
    let traffic = Traffic::start(front.address("osapi_compute"), &[kept, Style { method: "POST", ..kept }]);
    for number in 1..=20 {
        Save::Rename.save(&front.paste(), &with_mount(number)).expect("saved");
        for _ in 0..20 {
            front.signal(Signal::HUP);
        }
        let mut client = front.client();
        eventually("the edit is in force", || {
            let answer = client.get(&format!("/g{number}/x"), &[]).expect("an answer");
            (answer.status == 200).then_some(())
        });
    }
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::new(), 0));
    assert_eq!(front.generation(), 21, "an unchanged file makes no generation");
    assert_eq!(front.workers().len(), 1);
}

#[test]
fn with_watch_off_nothing_is_loaded_unasked() {
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    Save::Rename.save(&front.paste(), &with_mount(1)).expect("saved");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!((front.generation(), front.get("/g1/x").status), (1, 404));
    assert_eq!(front.reload("").0, 200);
    assert_eq!(front.get("/g1/x").status, 200);
}

#[test]
fn with_watch_poll_every_way_to_save_a_file_is_seen() {
    let front = Front::start(&Layout::bare().pasteway("watch = poll"));
    for (number, save) in (1..).zip(Save::OF_FILES) {
        save.save(&front.paste(), &with_mount(number)).expect("saved");
        let mut client = front.client();
        eventually(&format!("the edit by {save:?}"), || {
            let answer = client.get(&format!("/g{number}/x"), &[]).expect("an answer");
            (answer.status == 200).then_some(())
        });
    }
}

#[test]
fn a_client_that_says_nothing_for_client_socket_timeout_is_closed() {
    let front = Front::start(&Layout::bare().default("client_socket_timeout = 1"));
    let (mut silent, mut idle) = (front.client(), front.client());
    assert_eq!(idle.get("/v2/x", &[]).expect("an answer").status, 200);
    // A request that takes longer than that is no silence of the client's.
    let mut waiting = front.client();
    waiting.send("GET /v2/x?pasteway.delay=2500 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    assert!(silent.is_closed().expect("closed"));
    assert!(idle.is_closed().expect("closed"));
    assert_eq!(waiting.answer("GET").expect("an answer").status, 200);
}

#[test]
fn a_client_that_stops_in_its_body_is_closed_and_the_worker_is_free() {
    let front = Front::start(&Layout::bare().default("client_socket_timeout = 1").pasteway("worker_threads = 1"));
    let mut stopped = front.client();
    stopped.send("POST /v2/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart").expect("sent");
    eventually("it is on the worker", || {
        (front.metric("pasteway_worker_in_flight", &[("api", "osapi_compute")]) == 1.0).then_some(())
    });
    assert!(stopped.is_closed().expect("closed"));
    assert_eq!(front.get("/v2/x").status, 200);
}

#[test]
fn under_more_clients_than_there_is_room_for_everybody_has_a_turn() {
    let layout = Layout::bare().default("osapi_compute_workers = 2").pasteway("worker_threads = 2");
    let front = Front::start(&layout);
    let style = Style { method: "POST", fresh: false };
    let traffic = Traffic::start(front.address("osapi_compute"), &[style; 24]);
    eventually("thousands of turns", || (traffic.served() > 3000).then_some(()));
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::new(), 0));
    assert!(front.metric("pasteway_queue_duration_seconds_count", &[("api", "osapi_compute")]) > 0.0);
    eventually("nobody waits, nothing is in flight", || {
        let value = |name| front.metric(name, &[("api", "osapi_compute")]);
        (value("pasteway_queue_length") + value("pasteway_worker_in_flight") == 0.0).then_some(())
    });
}
