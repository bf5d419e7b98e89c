//! Complaints about what a reload does to those who are being served, and to what is remembered of them.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::app::PROBE;
use crate::support::traffic::{Style, Traffic};
use crate::support::{App, Client, Front, Layout, Save, Tunnel, eventually, process};

const COMPUTE: &[(&str, &str)] = &[("api", "osapi_compute")];

/// Changes something and has it loaded: the verdict.
type Edit<'a> = &'a dyn Fn() -> (u16, serde_json::Value);

/// Adds a mount point.
fn with(number: u32) -> impl FnOnce(String) -> String {
    move |text| text.replace("/v2: app\n", &format!("/v2: app\n/g{number}: app\n"))
}

/// Beside the bare osapi_compute, a metadata that is as bare.
fn two_apis() -> Layout {
    let bare = Layout::bare();
    let other =
        "[composite:metadata]\nuse = egg:Paste#urlmap\n/: other\n\n[app:other]\npaste.app_factory = some:where\n";
    let paste = bare.paste().to_owned() + other;
    bare.with_paste(&paste).apis(&["osapi_compute", "metadata"]).default("metadata_workers = 1")
}

#[track_caller]
fn applied(front: &Front) {
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
}

#[test]
fn a_reload_does_not_forget_health() {
    let room = tempfile::tempdir().expect("a directory");
    let sockets = ["a", "b", "c"].map(|name| room.path().join(name));
    let [well, ill, gone] = sockets.each_ref().map(|path| App::echo(path));
    let all = sockets.each_ref().map(|path| path.display().to_string()).join(",");
    let layout = Layout::bare().pasteway("watch = false").pasteway("worker_kind = external");
    let layout = layout.pasteway(&format!("worker_ready_request = {PROBE}"));
    let front = Front::start(&layout.pasteway(&format!("worker_sockets = {all}")));
    let serving = || front.metric("pasteway_workers", &[("state", "serving")]);
    eventually("all serve", || (serving() == 3.0).then_some(()));
    drop((ill, gone));
    eventually("two are out", || (serving() == 1.0).then_some(()));
    let errors = || front.metric("pasteway_upstream_errors_total", COMPUTE);
    let before = errors();
    for number in 1..=10 {
        front.edit(Save::Rename, with(number));
        applied(&front);
        assert_eq!(serving(), 1.0, "nobody is well by a reload");
        for _ in 0..5 {
            assert_eq!(front.get("/v2/x").status, 200);
        }
    }
    assert_eq!(errors(), before, "nobody was sent to those who are not there");
    assert!(well.asked().len() >= 50);
}

#[test]
fn long_lived_connections_do_not_die_for_unrelated_edits() {
    const SIZE: usize = 40_000_000;
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    // One that is read slowly, one that waits for its answer, one that sends its body slowly, one that asks now and then.
    let (mut reader, mut waiter, mut writer, mut kept) =
        (front.client(), front.client(), front.client(), front.client());
    reader.send(format!("GET /v2/x?pasteway.size={SIZE} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("sent");
    waiter.send("GET /v2/x?pasteway.delay=4000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    writer.send("POST /v2/x?pasteway.echo=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n").expect("sent");
    eventually("they have begun", || (front.metric("pasteway_requests_in_flight", COMPUTE) == 3.0).then_some(()));
    let workers = front.workers();
    for number in 1..=20 {
        front.edit(Save::Rename, with(number));
        applied(&front);
        writer.send("x").expect("it is still there");
        let answer = kept.get(&format!("/g{number}/x"), &[]).expect("the same connection");
        assert_eq!((answer.status, answer.closes()), (200, false));
    }
    let answer = reader.answer("GET").expect("the whole answer");
    assert_eq!((answer.status, answer.body.len(), answer.closes()), (200, SIZE, false));
    let answer = writer.answer("POST").expect("an answer");
    assert_eq!((answer.status, answer.body, answer.line.as_str()), (200, vec![b'x'; 20], "HTTP/1.1 200 OK"));
    let answer = waiter.answer("GET").expect("an answer");
    assert_eq!((answer.status, answer.closes()), (200, false));
    assert_eq!(front.workers(), workers);
    assert_eq!(front.metric("pasteway_connections_total", COMPUTE), 4.0);
}

#[test]
fn long_lived_connections_outlast_every_drain_but_that_of_their_own_workers() {
    const SIZE: usize = 40_000_000;
    let front = Front::start(&two_apis().pasteway("watch = false").pasteway("drain_timeout = 1"));
    let mut tunnel = Tunnel::open(&front);
    let mut reader = front.client();
    reader.send(format!("GET /v2/x?pasteway.size={SIZE} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("sent");
    eventually("both are there", || (front.metric("pasteway_requests_in_flight", COMPUTE) == 2.0).then_some(()));
    let newest = || front.admin("/generations").json()[0].clone();
    let live = |number| {
        front.edit(Save::Rename, with(number));
        front.reload("")
    };
    let edits: [Edit<'_>; 5] = [
        &|| live(1),
        &|| live(2),
        &|| {
            front.edit_conf(|text| text.replace("metadata_workers = 1", "metadata_workers = 2"));
            front.reload("")
        },
        &|| {
            front.edit(Save::Rename, |text| text.replace("[app:other]\n", "[app:other]\nnew = option\n"));
            front.reload("")
        },
        &|| front.order("/rollback"),
    ];
    for edit in edits {
        let (status, verdict) = edit();
        assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
        std::thread::sleep(Duration::from_millis(1500));
        tunnel.echoes();
        let all = front.admin("/generations").json();
        let older = all.as_array().expect("a list").iter().skip(1).map(|one| &one["state"]);
        assert!(older.clone().all(|state| state == "retired"), "they hold none of them: {all}");
        let holders = newest()["holders"].to_string();
        assert!(holders.contains(&tunnel.peer().to_string()), "it is told of the live one: {holders}");
    }
    let answer = reader.answer("GET").expect("the whole answer");
    assert_eq!((answer.status, answer.body.len()), (200, SIZE));
    // Now its own worker goes.
    front.edit(Save::Rename, |text| text.replace("[app:app]\n", "[app:app]\nnew = option\n"));
    applied(&front);
    tunnel.echoes();
    let old = front.admin("/generations").json()[1].clone();
    assert_eq!((&old["state"], &old["in_flight"]), (&"draining".into(), &1.into()), "{old}");
    assert_eq!(old["holders"][0]["peer"], tunnel.peer().to_string(), "{old}");
    assert_eq!(tunnel.rest(), "");
    let asked = [("api", "osapi_compute"), ("reason", "asked")];
    eventually("its end is counted", || (front.metric("pasteway_tunnels_ended_total", &asked) == 1.0).then_some(()));
    assert_eq!(front.metric("pasteway_drain_ended_total", COMPUTE), 1.0, "the only one in all of this");
    front.logged(&format!("its requests are ended: GET of osapi_compute from {}", tunnel.peer()));
}

#[test]
fn old_generations_do_not_pile_up() {
    const MANY: usize = 30;
    let layout = Layout::bare().pasteway("watch = false").pasteway("worker_threads = 100");
    let front = Front::start(&layout.pasteway("drain_timeout = 1").pasteway("drain_kill_timeout = 2"));
    let alive = || {
        let all = front.admin("/generations").json();
        all.as_array().expect("a list").iter().filter(|one| one["state"] != "retired").count()
    };
    // In each generation somebody asks for what never comes; every fifth needs other workers.
    let (mut holders, mut most): (Vec<Client>, usize) = (Vec::new(), 0);
    for number in 1..=MANY {
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        let mut client = front.client();
        let head = format!("{method} /v2/x?pasteway.delay=600000 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        client.send(head).expect("sent");
        holders.push(client);
        eventually("it has begun", || {
            let newest = front.admin("/generations").json()[0].clone();
            (newest["in_flight"] == 1).then_some(())
        });
        if number % 5 == 0 {
            front.edit_conf(|text| text + &format!("[pasteway]\nworker_threads = {}\n", 100 + number));
        } else {
            front.edit(Save::Rename, with(number as u32));
        }
        applied(&front);
        most = most.max(alive());
    }
    assert!(most > 1, "they are seen while they drain");
    eventually("one is left", || (alive() == 1).then_some(()));
    // Of those that are gone nobody is told any more to hold them.
    let all = front.admin("/generations").json();
    for gone in all.as_array().expect("a list").iter().filter(|one| one["state"] == "retired") {
        assert_eq!((&gone["holders"], &gone["in_flight"]), (&serde_json::json!([]), &0.into()), "{gone}");
        assert!(gone["oldest_request_seconds"].is_null(), "{gone}");
    }
    eventually("its workers alone are left", || (front.workers().len() == 1).then_some(()));
    let directories = std::fs::read_dir(front.own().join("generations")).expect("a directory").count();
    assert_eq!(directories, 1, "files of the live one, which has started its workers");
    assert_eq!(front.metric("pasteway_drain_ended_total", COMPUTE), MANY as f64);
    assert_eq!(front.metric("pasteway_generations", &[("state", "draining")]), 0.0);
    for mut holder in holders {
        assert!(holder.is_closed().expect("closed"));
    }
}

#[test]
fn statistics_neither_vanish_nor_lie_at_a_reload() {
    let front = Front::start(&Layout::bare());
    let traffic = Traffic::start(front.address("osapi_compute"), &[Style { method: "GET", fresh: false }]);
    eventually("traffic", || (traffic.served() > 100).then_some(()));
    let series = |text: &str| -> Vec<(String, f64)> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(n, v)| (n.to_owned(), v.parse().expect("a number")))
            .collect()
    };
    let before = series(&front.admin("/metrics").text());
    front.edit(Save::Rename, with(1));
    eventually("generation 2", || (front.generation() == 2).then_some(()));
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::new(), 0));
    let after = series(&front.admin("/metrics").text());
    for (name, old) in before {
        let found = after.iter().find(|(other, _)| *other == name);
        let (_, new) = found.unwrap_or_else(|| panic!("{name} vanished"));
        let counts = name.split('{').next().is_some_and(|n| n.ends_with("_total") || n.ends_with("_count"));
        assert!(!counts || *new >= old, "{name}: {old} → {new}");
    }
    let of_get = [("api", "osapi_compute"), ("method", "GET"), ("code", "200")];
    eventually("every answer is counted, and none twice", || {
        (front.metric("pasteway_requests_total", &of_get) == report.served as f64).then_some(())
    });
}

#[test]
fn draining_is_gradual() {
    let front = Front::start(&Layout::bare().pasteway("lame_duck = 4").pasteway("watch = false"));
    let mut kept: Vec<Client> = (0..40).map(|_| front.client()).collect();
    // A reload sends nobody away, not even gradually.
    front.edit(Save::Rename, with(1));
    applied(&front);
    for client in &mut kept {
        let answer = client.get("/g1/x", &[]).expect("an answer");
        assert_eq!((answer.status, answer.closes()), (200, false));
    }
    // A front that goes sends one after the other.
    front.signal(Signal::TERM);
    let mut rounds = 0;
    while !kept.is_empty() && process::lives(front.pid()) {
        let before = kept.len();
        kept.retain_mut(|client| match client.get("/v2/x", &[]) {
            Ok(answer) => {
                assert_eq!(answer.status, 200);
                !answer.closes()
            }
            // In the last moment idle connections are closed.
            Err(_) => false,
        });
        rounds += usize::from(kept.len() < before);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(rounds >= 3, "all were sent away in {rounds} rounds");
}
