//! Complaints about those who look after workers.

use std::time::Duration;

use rustix::process::Signal;

use crate::chaos::orders::Orders;
use crate::support::{Client, Front, Layout, Save, eventually, process};

const COMPUTE: (&str, &str) = ("api", "osapi_compute");

/// The only slot of osapi_compute.
#[track_caller]
fn slot(front: &Front) -> serde_json::Value {
    let workers = front.admin("/workers").json();
    workers.as_array().expect("a list").iter().find(|slot| slot["api"] == "osapi_compute").expect("a slot").clone()
}

#[track_caller]
fn pid(slot: &serde_json::Value) -> u32 {
    slot["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a process id")
}

fn exits(front: &Front, reason: &str) -> f64 {
    front.metric("pasteway_worker_exits_total", &[COMPUTE, ("reason", reason)])
}

#[test]
fn a_rolling_restart_waits_for_readiness() {
    let mut orders = Orders::new();
    let front = Front::start(&orders.python().pasteway("watch = false"));
    orders.at(front.address("osapi_compute"));
    let old = front.workers();
    // Workers that take longer to start than any fixed sleep would think.
    front.edit(Save::Rename, |text| text + "boot = 1.5\n");
    std::thread::scope(|scope| {
        let verdict = scope.spawn(|| front.reload(""));
        eventually("new workers start", || {
            (front.metric("pasteway_workers", &[COMPUTE, ("state", "starting")]) >= 1.0).then_some(())
        });
        let served = orders.acknowledged();
        while !verdict.is_finished() {
            let now = front.workers();
            let serve = old.iter().all(|pid| now.contains(pid));
            assert!(serve || front.generation() > 1, "the old ones serve meanwhile");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(orders.acknowledged() > served);
        let (status, verdict) = verdict.join().expect("no panic");
        assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
    });
    eventually("only new ones", || {
        let now = front.workers();
        (now.len() == 3 && now.iter().all(|pid| !old.contains(pid))).then_some(())
    });
    let fates = orders.settle();
    assert!(fates.refused.is_empty() && fates.unanswered.is_empty(), "{fates:?}");
}

#[test]
fn a_crash_loop_is_neither_fast_nor_final_nor_everybodys() {
    let front = Front::start(&Layout::havana().apis(&["osapi_compute", "metadata"]).pasteway("watch = false"));
    let others = |front: &Front| -> Vec<u32> {
        let own = pid(&slot(front));
        front.workers().into_iter().filter(|pid| *pid != own).collect()
    };
    let metadata = others(&front);
    for _ in 0..6 {
        let victim =
            eventually("a worker", || Some(slot(&front)).filter(|it| it["state"] == "serving").map(|it| pid(&it)));
        process::signal(victim, Signal::KILL);
        eventually("its end", || (pid(&slot(&front)) != victim).then_some(()));
    }
    // Not fast: it is waited for, and said so.
    let waiting = slot(&front);
    assert_eq!((&waiting["state"], &waiting["last_exit"]), (&"backoff".into(), &"killed by signal 9".into()));
    assert_eq!(waiting["starts"], 6);
    assert!(front.admin("/ready").text().contains("osapi_compute: no worker is serving"));
    // Not everybody's.
    assert_eq!(others(&front), metadata);
    let answer = Client::connect(front.address("metadata")).and_then(|mut client| client.get("/latest", &[]));
    assert_eq!(answer.expect("an answer").status, 200);
    // Not final: requests wait for the next one.
    assert_eq!(front.get("/v2/t1/servers").status, 200);
    assert_eq!(slot(&front)["starts"], 7);

    // And a start that fails again and again is given up.
    let serving = front.workers();
    front.edit_conf(|text| text + "worker_kind_osapi_compute = command\nworker_command_osapi_compute = /bin/false\n");
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
    let message = verdict["diagnostics"][0]["message"].as_str().expect("a message");
    assert!(message.contains("exited with status 1, 3 times in a row"), "{message}");
    assert_eq!(front.workers(), serving);
}

#[test]
fn workers_have_metrics_of_their_own() {
    let front = Front::start(&Layout::bare());
    let of_slot = |name: &str| front.metric(&format!("pasteway_worker_{name}"), &[COMPUTE, ("slot", "0")]);
    let of_api = |name: &str| front.metric(&format!("pasteway_worker_{name}"), &[COMPUTE]);
    for _ in 0..7 {
        assert_eq!(front.get("/v2/x").status, 200);
    }
    assert_eq!((of_slot("requests_total"), of_api("starts_total"), of_api("exits_total")), (7.0, 1.0, 0.0));
    assert!(of_slot("rss_bytes") > 1e6);
    let mut slow = front.client();
    slow.send("GET /v2/x?pasteway.delay=60000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    eventually("it is on the worker", || (of_slot("in_flight") == 1.0).then_some(()));
    drop(slow);
    eventually("its client is known to be gone", || {
        (front.metric("pasteway_requests_total", &[COMPUTE, ("code", "499")]) == 1.0).then_some(())
    });
    assert_eq!(of_slot("in_flight"), 1.0, "the worker is still at it");
    process::signal(pid(&slot(&front)), Signal::KILL);
    eventually("a death with its reason, and a birth", || {
        (exits(&front, "signal") == 1.0 && of_api("starts_total") == 2.0).then_some(())
    });
    assert_eq!(of_slot("in_flight"), 0.0);
    assert_eq!(front.get("/v2/x").status, 200);
    assert_eq!(of_slot("requests_total"), 9.0, "over all lives");
    assert_eq!(front.metric("pasteway_workers", &[COMPUTE, ("state", "serving")]), 1.0);
    assert!(front.metric("pasteway_upstream_duration_seconds_count", &[COMPUTE]) >= 8.0);
}

#[test]
fn listeners_and_workers_come_and_go_and_who_hangs_or_grows_is_replaced() {
    let layout = Layout::havana().apis(&["osapi_compute"]).default("metadata_listen = 127.0.0.1");
    let layout = layout.default("osapi_compute_workers = 1").default("metadata_listen_port = 0");
    let front = Front::start(&layout.pasteway("worker_request_timeout = 2"));
    let mut kept = front.client();
    let mut serves = |what: &str| {
        let answer = kept.get("/v2/t1/servers", &[("X-Auth-Token", "u1:t1")]).expect("the same connection");
        assert_eq!((answer.status, answer.closes()), (200, false), "{what}");
    };
    serves("at first");
    front.edit_conf(|text| text.replace("enabled_apis = osapi_compute\n", "enabled_apis = osapi_compute,metadata\n"));
    let metadata = front.listening("metadata");
    let ask =
        || Client::connect(metadata).and_then(|mut client| client.get("/latest", &[])).map(|answer| answer.status);
    eventually("another listener", || (ask().ok() == Some(200)).then_some(()));
    serves("beside another listener");
    front.edit_conf(|text| text.replace("osapi_compute,metadata\n", "osapi_compute\n"));
    eventually("it is gone", || ask().is_err().then_some(()));
    serves("without it");
    for count in ["3", "2"] {
        front.edit_conf(|text| text + &format!("[DEFAULT]\nosapi_compute_workers = {count}\n"));
        eventually("so many workers", || (front.workers().len().to_string() == count).then_some(()));
        serves("with other workers");
    }
    // Who hangs is ended, not only left.
    let hung = front.get("/v2/t1/servers?pasteway.delay=60000").status;
    assert_eq!(hung, 500, "as faultwrap says it");
    eventually("its worker's end", || (exits(&front, "hang") == 1.0).then_some(()));
    serves("after one hung");
    // Who grows is replaced by one that serves already.
    front.edit_conf(|text| text + "[pasteway]\nworker_max_rss = 1\n");
    eventually("the grown ones' ends", || (exits(&front, "rss") >= 2.0).then_some(()));
    serves("after they grew");
    assert_eq!(exits(&front, "signal"), 0.0);
}
