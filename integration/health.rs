//! Honest health: what the front says by itself is true of its workers.

use rustix::process::Signal;

use crate::support::{Answer, Front, Layout, eventually, process};

/// The filter at /v2/healthcheck, the app at /health.
const PASTE: &str = "\
[composite:osapi_compute]
use = egg:Paste#urlmap
/v2: checked
/health: healthapp

[pipeline:checked]
pipeline = healthcheck app

[filter:healthcheck]
paste.filter_factory = oslo_middleware:Healthcheck.factory
path = /v2/healthcheck

[app:healthapp]
paste.app_factory = oslo_middleware:Healthcheck.app_factory

[app:app]
paste.app_factory = somewhere.else:app_factory
";

const PATHS: [&str; 2] = ["/v2/healthcheck", "/health"];

/// What the filter, the app and `/ready` say.
#[track_caller]
fn asked(front: &Front) -> [Answer; 3] {
    let address = front.listening("osapi_compute");
    let get = |path| crate::support::Client::connect(address)?.get(path, &[]);
    [get(PATHS[0]).expect("an answer"), get(PATHS[1]).expect("an answer"), front.admin("/ready")]
}

#[track_caller]
fn healthy(front: &Front) {
    eventually("healthy", || asked(front).iter().all(|answer| matches!(answer.status, 200)).then_some(()));
}

/// Waits until all three say 503 for this reason.
#[track_caller]
fn sick(front: &Front, reason: &str) {
    eventually(reason, || {
        asked(front).iter().all(|answer| answer.status == 503 && answer.text().contains(reason)).then_some(())
    });
}

#[test]
fn the_filter_and_the_app_are_healthy_while_a_worker_serves() {
    let front = Front::start(&Layout::compute(PASTE));
    healthy(&front);
    assert_eq!(front.client().request("HEAD", PATHS[0], &[], b"").expect("an answer").status, 204);
    assert_eq!(front.get("/v2/other").json()["PATH_INFO"], "/other", "other paths are the app's");
}

#[test]
fn without_a_serving_worker_they_say_503_and_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let nobody = format!("worker_sockets = {}/none.sock", directory.path().display());
    let layout = Layout::compute(PASTE).pasteway("worker_kind = external").pasteway(&nobody);
    let front = Front::launch(&layout);
    sick(&front, "osapi_compute: no worker is serving");
}

#[test]
fn workers_that_hang_make_them_say_503_and_workers_that_go_on_200() {
    let front = Front::start(&Layout::compute(PASTE).default("osapi_compute_workers = 2"));
    healthy(&front);
    let workers = front.workers();
    workers.iter().for_each(|pid| process::signal(*pid, Signal::STOP));
    sick(&front, "osapi_compute: no worker answers its heartbeat");
    process::signal(workers[0], Signal::CONT);
    healthy(&front);
    process::signal(workers[1], Signal::CONT);
}

#[test]
fn a_file_takes_an_api_out_of_rotation_and_its_end_brings_it_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("off");
    let paste = PASTE.replace(
        "path = /v2/healthcheck\n",
        &format!("path = /v2/healthcheck\nbackends = disable_by_file\ndisable_by_file_path = {}\n", file.display()),
    );
    let front = Front::start(&Layout::compute(&paste));
    let ask = || front.client().get(PATHS[0], &[]).map(|answer| (answer.status, answer.text())).expect("an answer");
    assert_eq!(ask(), (200, "OK".to_owned()));
    std::fs::write(&file, "").expect("the file");
    assert_eq!(ask(), (503, "DISABLED BY FILE".to_owned()));
    assert_eq!(front.get("/v2/x").status, 200, "what comes is served all the same");
    std::fs::remove_file(&file).expect("the file");
    assert_eq!(ask(), (200, "OK".to_owned()));
}

#[test]
fn in_its_lame_duck_time_a_front_says_503_and_serves_all_the_same() {
    let mut front = Front::start(&Layout::compute(PASTE).pasteway("lame_duck = 2"));
    let mut kept = front.client();
    assert_eq!(kept.get("/v2/x", &[]).expect("an answer").status, 200);
    front.signal(Signal::TERM);
    eventually("not ready", || (front.admin("/ready").status == 503).then_some(()));
    for path in PATHS {
        assert_eq!(front.get(path).status, 503, "{path}");
    }
    assert_eq!(kept.get("/v2/x", &[]).expect("an answer").status, 200);
    assert_eq!(front.get("/v2/x").status, 200, "new connections are accepted still");
    assert_eq!(front.exit().code(), Some(0));
}
