//! One worker more, one worker less: by signals, until a reload sets what the files say.

use rustix::process::Signal;

use crate::support::python;
use crate::support::traffic::{Style, Traffic};
use crate::support::{Front, Layout, Save, eventually, process};

#[track_caller]
fn wanted(front: &Front, workers: usize) {
    eventually(&format!("{workers} workers"), || {
        let status = front.admin("/status").json();
        let api = &status["apis"][0];
        let of = |name: &str| api[name].as_u64().and_then(|n| usize::try_from(n).ok());
        let serving = [("api", "osapi_compute"), ("state", "serving")];
        (of("workers_wanted") == Some(workers)
            && of("workers_serving") == Some(workers)
            && front.metric("pasteway_workers", &serving) == workers as f64
            && front.workers().len() == workers)
            .then_some(())
    });
}

#[test]
fn signals_add_and_remove_workers_and_never_the_last() {
    let front = Front::start(&Layout::bare().pasteway("access_log = false"));
    let traffic = Traffic::start(front.address("osapi_compute"), &[Style { method: "POST", fresh: false }; 2]);
    front.signal(Signal::TTIN);
    wanted(&front, 2);
    front.signal(Signal::TTIN);
    wanted(&front, 3);
    front.logged("osapi_compute has 3 workers, before 2 (asked by a signal)");
    for left in [2, 1] {
        front.signal(Signal::TTOU);
        wanted(&front, left);
    }
    front.signal(Signal::TTOU);
    front.logged("osapi_compute keeps its last worker");
    front.signal(Signal::TTIN);
    wanted(&front, 2);
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::new(), 0));
}

#[test]
fn a_reload_sets_what_the_files_say() {
    let front = Front::start(&Layout::bare().default("osapi_compute_workers = 2"));
    front.signal(Signal::TTIN);
    wanted(&front, 3);
    // Nothing has changed, but somebody asks.
    front.signal(Signal::HUP);
    wanted(&front, 2);
    front.signal(Signal::TTOU);
    wanted(&front, 1);
    front.edit(Save::Rename, |text| text.replace("/v2: app\n", "/v2: app\n/v3: app\n"));
    wanted(&front, 2);
}

#[test]
fn a_worker_that_is_long_in_coming_keeps_no_reload_waiting_and_comes_all_the_same() {
    let room = tempfile::tempdir().expect("a directory");
    let hold = room.path().join("hold");
    let front = Front::start(&python::held(&hold).pasteway("watch = false"));
    std::fs::write(&hold, "").expect("written");
    let before = front.workers();
    let new = || front.workers().into_iter().find(|pid| !before.contains(pid));
    front.signal(Signal::TTIN);
    let first = eventually("a worker that is not ready", new);
    front.signal(Signal::TTIN);
    front.edit(Save::Rename, |text| text.replace("/v2: app\n", "/v2: app\n/v3: app\n"));
    assert_eq!(front.reload("").1["outcome"], "applied", "with the workers that are there");
    eventually("another in its place", || new().filter(|pid| *pid != first));
    std::fs::remove_file(&hold).expect("removed");
    wanted(&front, 4);
    assert!(!process::lives(first));
}

#[test]
fn one_worker_less_in_a_crash_loop_leaves_the_one_that_serves() {
    let front = Front::start(&Layout::bare().default("osapi_compute_workers = 2").pasteway("queue_timeout = 1"));
    let slots = || front.admin("/workers").json();
    let pid = || slots()[0]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a number");
    // So often that the next one is waited for, for some seconds.
    for _ in 0..6 {
        let victim = eventually("a worker", || (slots()[0]["state"] == "serving").then(pid));
        process::signal(victim, Signal::KILL);
        eventually("its end", || (pid() != victim).then_some(()));
    }
    assert_eq!(slots()[0]["state"], "backoff");
    front.signal(Signal::TTOU);
    wanted(&front, 1);
    assert_eq!((&slots()[0]["slot"], &slots()[0]["state"]), (&1.into(), &"serving".into()));
    assert_eq!(front.get("/v2/x").status, 200);
    assert_eq!(front.admin("/ready").status, 200);
    assert_eq!(front.order("/workers/osapi_compute/0/restart").0, 404, "there is no such slot");
    // What is free is filled again.
    front.edit_conf(|text| text.replace("osapi_compute_workers = 2", "osapi_compute_workers = 3"));
    wanted(&front, 3);
    let found: Vec<_> = slots().as_array().expect("a list").iter().map(|slot| slot["slot"].as_u64()).collect();
    assert_eq!(found, [Some(0), Some(1), Some(2)]);
}
