//! Which worker gets a request when some of them fail, are fresh, hang, or have to be tried because nobody else is left.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::external::{layout, serving};
use crate::support::app::reply;
use crate::support::{App, Asked, Client, Front, Layout, eventually, process};

/// How a worker is.
#[derive(Clone, Copy)]
enum Mood {
    /// Answers with its name after some milliseconds.
    Good,
    /// Closes the connection instead.
    Breaks,
    /// Says 500 at once.
    Errs,
}

/// A worker that something else runs.
struct Worker {
    app: App,
    mood: Arc<AtomicU8>,
}

impl Worker {
    /// Answers take this many milliseconds; those to `/v2/held` until `held` is passed by the test too.
    fn start(directory: &TempDir, name: &str, millis: u64, held: &Arc<Barrier>) -> Self {
        let mood = Arc::new(AtomicU8::new(Mood::Good as u8));
        let (now, held, name) = (Arc::clone(&mood), Arc::clone(held), name.to_owned());
        let app = App::start(&directory.path().join(&name), move |asked: &Asked, stream: &mut UnixStream| {
            match now.load(Ordering::SeqCst) {
                it if it == Mood::Breaks as u8 => return false,
                it if it == Mood::Errs as u8 => {
                    return stream.write_all(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n").is_ok();
                }
                _ if asked.line == "GET /v2/held" => drop(held.wait()),
                _ => std::thread::sleep(Duration::from_millis(millis)),
            }
            reply(stream, &name)
        });
        Self { app, mood }
    }

    fn be(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.app.asked().len()
    }
}

struct Stage {
    directory: TempDir,
    held: Arc<Barrier>,
    front: Front,
}

/// A front and its workers, which all serve.
fn stage<const N: usize>(names: [&str; N], millis: u64, options: &[&str]) -> (Stage, [Worker; N]) {
    let directory = tempfile::tempdir().expect("a directory");
    let held = Arc::new(Barrier::new(2));
    let workers = names.map(|name| Worker::start(&directory, name, millis, &held));
    let sockets = names.map(|name| directory.path().join(name));
    let layout = layout(&sockets.each_ref().map(|path| path.as_path() as &Path));
    let front = Front::start(&options.iter().fold(layout, |layout, option| layout.pasteway(option)));
    eventually("all serve", || (serving(&front) == N as f64).then_some(()));
    (Stage { directory, held, front }, workers)
}

fn ejected(front: &Front) -> Vec<bool> {
    let slots = front.admin("/workers").json();
    slots.as_array().expect("a list").iter().map(|slot| slot["ejected_seconds"].as_f64() > Some(0.0)).collect()
}

/// Requests until these workers are left out; each is answered by another one.
#[track_caller]
fn until_ejected(front: &Front, which: &[usize]) {
    eventually("they are left out", || {
        assert_eq!(front.get("/v2/x").status, 200);
        let ejected = ejected(front);
        which.iter().all(|index| ejected[*index]).then_some(())
    });
}

#[test]
fn a_worker_that_fails_at_once_does_not_draw_the_requests() {
    let (stage, [_good, bad]) = stage(["good", "bad"], 5, &["balance = p2c_ewma"]);
    bad.be(Mood::Errs);
    let mut client = stage.front.client();
    let status = |_| client.get("/v2/x", &[]).expect("an answer").status;
    let failed = (0..150).map(status).filter(|status| *status == 500).count();
    assert!(failed < 20, "{failed} of 150");
}

#[test]
fn a_fresh_worker_of_which_nothing_is_known_is_not_flooded() {
    let (stage, [_kept, gone]) = stage(["kept", "gone"], 300, &["balance = p2c_ewma", "worker_threads = 100"]);
    let front = &stage.front;
    drop(gone);
    eventually("one is gone", || (serving(front) == 1.0).then_some(()));
    assert_eq!(front.get("/v2/x").status, 200);
    // What is left is no fresh one any more.
    std::thread::sleep(Duration::from_secs(3));
    let fresh = Worker::start(&stage.directory, "gone", 300, &stage.held);
    eventually("it is back", || (serving(front) == 2.0).then_some(()));
    let mut clients: Vec<_> = (0..40).map(|_| front.client()).collect();
    for client in &mut clients {
        client.send("GET /v2/x HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.answer("GET").expect("an answer").status, 200));
    assert!((1..30).contains(&fresh.asked()), "{} of 40", fresh.asked());
}

#[test]
fn requests_one_after_the_other_are_spread_over_workers_that_came_one_after_the_other() {
    let (stage, [_first, second]) = stage(["first", "second"], 0, &[]);
    let front = &stage.front;
    drop(second);
    eventually("one is gone", || (serving(front) == 1.0).then_some(()));
    let second = Worker::start(&stage.directory, "second", 0, &stage.held);
    eventually("it is back", || (serving(front) == 2.0).then_some(()));
    // So that the shares differ, and by little.
    std::thread::sleep(Duration::from_secs(4));
    let mut client = front.client();
    (0..100).for_each(|_| assert_eq!(client.get("/v2/x", &[]).expect("an answer").status, 200));
    assert!((10..90).contains(&second.asked()), "{} of 100", second.asked());
}

#[test]
fn workers_that_are_left_out_are_tried_when_all_others_are_dead() {
    let (stage, [a, b, c, d]) = stage(["a", "b", "c", "d"], 0, &["queue_timeout = 5"]);
    [&a, &b].iter().for_each(|worker| worker.be(Mood::Breaks));
    until_ejected(&stage.front, &[0, 1]);
    [&a, &b].iter().for_each(|worker| worker.be(Mood::Good));
    drop((c, d));
    for _ in 0..10 {
        let answer = stage.front.get("/v2/x");
        assert_eq!(answer.status, 200);
        assert!(["a", "b"].contains(&answer.text().as_str()), "{}", answer.text());
    }
}

#[test]
fn a_worker_that_is_left_out_is_tried_when_the_other_one_has_just_died() {
    let (stage, [a, b]) = stage(["a", "b"], 0, &["queue_timeout = 5"]);
    a.be(Mood::Breaks);
    until_ejected(&stage.front, &[0]);
    a.be(Mood::Good);
    drop(b);
    let answer = stage.front.get("/v2/x");
    assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
}

#[test]
fn who_waits_gets_a_worker_as_soon_as_it_is_no_longer_left_out() {
    let (stage, [a, b]) = stage(["a", "b"], 0, &["worker_threads = 1"]);
    let front = &stage.front;
    // b is busy until the end of the test; a breaks the requests that come to it, which wait for b.
    a.be(Mood::Breaks);
    let mut busy = front.client();
    busy.send("GET /v2/held HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    eventually("it is on b", || (b.asked() == 1).then_some(()));
    let mut failed = Vec::new();
    eventually("a is left out", || {
        let mut client = front.client();
        client.send("GET /v2/x HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        failed.push(client);
        std::thread::sleep(Duration::from_millis(20));
        ejected(front)[0].then_some(())
    });
    a.be(Mood::Good);
    let answer = front.get("/v2/x");
    assert_eq!((answer.status, answer.text().as_str()), (200, "a"));
    assert_eq!(b.asked(), 1, "the held one is held");
    stage.held.wait();
    assert_eq!(busy.answer("GET").expect("an answer").text(), "b");
    failed.iter_mut().for_each(|client| assert_eq!(client.answer("GET").expect("an answer").status, 200));
}

#[test]
fn a_worker_that_is_frozen_is_spared_requests_until_it_goes_on() {
    let front = Front::start(&Layout::bare().default("osapi_compute_workers = 2"));
    let requests = || {
        let of = |slot| front.metric("pasteway_worker_requests_total", &[("api", "osapi_compute"), ("slot", slot)]);
        [of("0"), of("1")]
    };
    let frozen = front.workers()[0];
    process::signal(frozen, Signal::STOP);
    let index = eventually("one is left out", || ejected(&front).iter().position(|ejected| *ejected));
    let before = requests()[index];
    for _ in 0..30 {
        assert_eq!(front.get("/v2/x").status, 200);
    }
    assert_eq!(requests()[index], before);
    process::signal(frozen, Signal::CONT);
    eventually("none is", || (!ejected(&front).contains(&true)).then_some(()));
    eventually("it gets some", || {
        assert_eq!(front.get("/v2/x").status, 200);
        (requests()[index] > before).then_some(())
    });
}

#[test]
fn frozen_workers_are_tried_where_there_are_no_others() {
    let front = Front::start(&Layout::bare());
    let address = front.address("osapi_compute");
    process::signal(front.workers()[0], Signal::STOP);
    eventually("it is left out", || ejected(&front)[0].then_some(()));
    let waiting = std::thread::spawn(move || Client::connect(address)?.get("/v2/x", &[]));
    eventually("a request is on it", || {
        (front.metric("pasteway_worker_in_flight", &[("api", "osapi_compute")]) == 1.0).then_some(())
    });
    process::signal(front.workers()[0], Signal::CONT);
    assert_eq!(waiting.join().expect("no panic").expect("an answer").status, 200);
}
