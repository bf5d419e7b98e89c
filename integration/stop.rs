//! The stop: what is in flight, what is idle, and what is left behind.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Answer, Client, Front, Layout, Save, eventually, process};

/// A request that takes this long, once it is on a worker.
#[track_caller]
fn slow(front: &Front, delay: Duration) -> Slow {
    asked(front, "osapi_compute", "GET", delay)
}

type Slow = std::thread::JoinHandle<std::io::Result<Answer>>;

/// The same of any API and method.
#[track_caller]
fn asked(front: &Front, api: &str, method: &'static str, delay: Duration) -> Slow {
    let in_flight = || front.metric("pasteway_worker_in_flight", &[("api", api)]);
    let before = in_flight();
    let mut client = Client::connect(front.address(api)).expect("a connection");
    let path = format!("/v2/slow?pasteway.delay={}", delay.as_millis());
    let thread = std::thread::spawn(move || client.request(method, &path, &[], b""));
    eventually("the request is on a worker", || (in_flight() > before).then_some(()));
    thread
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_exits_with_zero() {
    let mut front = Front::start(&Layout::bare());
    let workers = front.workers();
    let request = slow(&front, Duration::from_millis(1500));
    front.signal(Signal::TERM);
    eventually("no new connection", || Client::connect(front.address("osapi_compute")).is_err().then_some(()));
    assert!(!request.is_finished());
    let answer = request.join().expect("no panic").expect("an answer");
    assert_eq!(answer.status, 200);
    assert_eq!(front.exit().code(), Some(0));
    assert!(workers.iter().all(|pid| !process::lives(*pid)));
    assert!(front.log().iter().any(|line| line.contains("Caught SIGTERM, stopping children")), "{:?}", front.log());
}

#[test]
fn an_idle_connection_does_not_hold_up_the_stop() {
    let mut front = Front::start(&Layout::bare());
    let mut idle = front.client();
    assert_eq!(idle.get("/v2/x", &[]).expect("an answer").status, 200);
    let began = Instant::now();
    front.signal(Signal::TERM);
    assert_eq!(front.exit().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(idle.is_closed().expect("closed"));
}

#[test]
fn a_silent_connection_does_not_hold_up_the_stop() {
    let mut front = Front::start(&Layout::bare());
    let mut silent = front.client();
    eventually("the connection is taken", || (front.metric("pasteway_connections", &[]) >= 1.0).then_some(()));
    let began = Instant::now();
    front.signal(Signal::TERM);
    assert_eq!(front.exit().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(silent.is_closed().expect("closed"));
}

#[test]
fn a_front_that_stops_reloads_nothing_any_more() {
    let front = Front::start(&Layout::bare().pasteway("lame_duck = 5").pasteway("watch = false"));
    front.signal(Signal::TERM);
    eventually("it is stopping", || (front.admin("/ready").status == 503).then_some(()));
    front.edit_conf(|text| text + "front_threads = 2\n");
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
    assert!(verdict.to_string().contains("stopping"), "{verdict}");
}

#[test]
fn a_hang_up_during_the_start_does_not_end_the_front() {
    let front = Front::launch(&Layout::bare());
    let address = front.listening("osapi_compute");
    front.signal(Signal::HUP);
    front.logged("nothing to reload");
    let answer = Client::connect(address).and_then(|mut client| client.get("/v2/x", &[]));
    assert_eq!(answer.expect("an answer").status, 200);
}

#[test]
fn sigint_stops_at_once() {
    let mut front = Front::start(&Layout::bare());
    let workers = front.workers();
    let request = slow(&front, Duration::from_secs(15));
    let began = Instant::now();
    front.signal(Signal::INT);
    front.exit();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(request.join().expect("no panic").is_err());
    eventually("no worker is left", || workers.iter().all(|pid| !process::lives(*pid)).then_some(()));
}

#[test]
fn a_second_sigterm_stops_at_once() {
    let mut front = Front::start(&Layout::bare());
    let request = slow(&front, Duration::from_secs(15));
    front.signal(Signal::TERM);
    front.logged("Caught SIGTERM");
    let began = Instant::now();
    front.signal(Signal::TERM);
    front.exit();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(request.join().expect("no panic").is_err());
}

#[test]
fn a_graceful_stop_has_an_end() {
    let mut front = Front::start(
        &Layout::bare()
            .pasteway("release = 31")
            .default("auth_strategy = keystone")
            .default("graceful_shutdown_timeout = 1")
            .default("use_stderr = true"),
    );
    let request = slow(&front, Duration::from_secs(15));
    let began = Instant::now();
    front.signal(Signal::TERM);
    front.exit();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(request.join().expect("no panic").is_err());
}

#[test]
fn a_lame_duck_serves_on_and_says_that_it_will_go() {
    let mut front = Front::start(&Layout::bare().pasteway("lame_duck = 1"));
    let mut client = front.client();
    front.signal(Signal::TERM);
    eventually("not ready", || (front.admin("/ready").status == 503).then_some(()));
    eventually("its turn to end", || {
        let answer = client.get("/v2/x", &[]).expect("an answer");
        assert_eq!(answer.status, 200);
        answer.closes().then_some(())
    });
    assert_eq!(front.exit().code(), Some(0));
}

#[test]
fn a_stop_ends_what_changes_nothing_first_and_all_else_at_its_own_deadline() {
    let layout = Layout::bare().default("graceful_shutdown_timeout = 1").pasteway("drain_kill_timeout = 6");
    let mut front = Front::start(&layout);
    let [get, post, endless] = [("GET", 60), ("POST", 3), ("POST", 60)]
        .map(|(method, seconds)| asked(&front, "osapi_compute", method, Duration::from_secs(seconds)));
    let began = Instant::now();
    front.signal(Signal::TERM);
    assert!(get.join().expect("no panic").is_err());
    assert!(!post.is_finished(), "a POST is not ended with it");
    assert_eq!(post.join().expect("no panic").expect("an answer").status, 200);
    assert!(!endless.is_finished());
    assert!(endless.join().expect("no panic").is_err());
    front.exit();
    assert!((6..15).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    front.logged("had 1 s to drain; 1 of its requests are ended: GET of osapi_compute");
    front.logged("had 6 s to drain; 1 of its requests are ended: POST of osapi_compute");
}

#[test]
fn each_api_has_its_own_deadline_at_a_stop() {
    let both = "[composite:osapi_compute]\nuse = egg:Paste#urlmap\n/v2: app\n\n\
                [composite:metadata]\nuse = egg:Paste#urlmap\n/v2: app\n\n\
                [app:app]\npaste.app_factory = somewhere.else:app_factory\n";
    let layout = Layout::havana().with_paste(both).apis(&["osapi_compute", "metadata"]);
    let mut front = Front::start(&layout.pasteway("drain_timeout = 0").pasteway("drain_timeout_osapi_compute = 1"));
    let short = asked(&front, "osapi_compute", "GET", Duration::from_secs(60));
    let long = asked(&front, "metadata", "GET", Duration::from_secs(4));
    front.signal(Signal::TERM);
    assert!(short.join().expect("no panic").is_err());
    assert!(!long.is_finished());
    assert_eq!(long.join().expect("no panic").expect("an answer").status, 200);
    front.exit();
}

#[test]
fn a_worker_that_is_replaced_finishes_what_it_has_begun() {
    let front = Front::start(&Layout::bare().pasteway("drain_timeout = 0").pasteway("worker_stop_timeout = 1"));
    let old = front.workers();
    let request = asked(&front, "osapi_compute", "POST", Duration::from_secs(4));
    assert_eq!(front.order("/workers/osapi_compute/restart").0, 200);
    assert!(!request.is_finished());
    assert_eq!(request.join().expect("no panic").expect("an answer").status, 200);
    eventually("the old one is gone", || (!process::lives(old[0])).then_some(()));
}

#[test]
fn an_edit_during_the_stop_is_no_rejected_reload() {
    let mut front = Front::start(&Layout::bare().pasteway("lame_duck = 2"));
    front.signal(Signal::TERM);
    eventually("it stops", || (front.admin("/ready").status == 503).then_some(()));
    front.edit(Save::Rename, |text| text.replace("/v2: app", "/v2: app\n/v3: app"));
    front.logged("reload given up: the front is stopping");
    assert_eq!(front.admin("/status").json()["config_file_differs"], false);
    assert!(front.exit().success());
    assert!(!front.log().iter().any(|line| line.contains("ERROR")), "{:?}", front.log());
}
