//! Workers that are replaced: after so many requests, at so much memory, when a request never ends; and those that are
//! left alone.

use std::time::{Duration, Instant};

use crate::support::traffic::{Style, Traffic};
use crate::support::{Front, Layout, eventually};

const COMPUTE: (&str, &str) = ("api", "osapi_compute");

fn exits(front: &Front, reason: &str) -> f64 {
    front.metric("pasteway_worker_exits_total", &[COMPUTE, ("reason", reason)])
}

#[test]
fn workers_are_replaced_after_their_requests_and_no_request_fails_for_it() {
    let layout = Layout::bare().default("osapi_compute_workers = 2").pasteway("worker_max_requests = 200");
    let front = Front::start(&layout);
    let before = front.workers();
    let post = Style { method: "POST", fresh: false };
    let traffic = Traffic::start(front.address("osapi_compute"), &[post, post]);
    eventually("two workers to be replaced", || {
        // Never both at once: one always serves.
        assert!(front.metric("pasteway_workers", &[COMPUTE, ("state", "serving")]) >= 1.0);
        (exits(&front, "max_requests") >= 2.0).then_some(())
    });
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::<String>::new(), 0));
    assert!(front.workers().iter().all(|pid| !before.contains(pid)));
    assert_eq!([exits(&front, "signal"), exits(&front, "exit"), exits(&front, "asked")], [0.0; 3]);
}

#[test]
fn a_worker_that_grew_too_large_is_replaced_and_the_bound_is_live() {
    let front = Front::start(&Layout::bare());
    let before = front.workers();
    front.edit_conf(|text| text.replace("[pasteway]\n", "[pasteway]\nworker_max_rss = 1\n"));
    eventually("the worker to be replaced", || (exits(&front, "rss") >= 1.0).then_some(()));
    assert_eq!(front.get("/v2/t1/servers").status, 200);
    front.edit_conf(|text| text.replace("worker_max_rss = 1\n", ""));
    eventually("the bound to be gone", || (front.generation() == 3).then_some(()));
    eventually("one worker, another one", || {
        let now = front.workers();
        (now.len() == 1 && now != before).then_some(())
    });
}

#[test]
fn a_request_that_never_ends_is_given_up_and_its_worker_ended_as_hung() {
    let layout = Layout::bare().default("osapi_compute_workers = 2").pasteway("worker_request_timeout = 0.5");
    let front = Front::start(&layout);
    let begun = Instant::now();
    // A GET may be sent again when a worker dies, but not one that has just hung a worker.
    assert_eq!(front.get("/v2/t1/servers?pasteway.delay=60000").status, 502);
    assert!(begun.elapsed() < Duration::from_secs(30));
    eventually("the worker's end", || (exits(&front, "hang") >= 1.0).then_some(()));
    assert_eq!(front.get("/v2/t1/servers").status, 200);
    eventually("another in its place", || (front.workers().len() == 2).then_some(()));
    assert_eq!(exits(&front, "hang"), 1.0);
    assert_eq!(front.metric("pasteway_upstream_errors_total", &[COMPUTE, ("reason", "timeout")]), 1.0);
}
