//! Generations, and the way back from them: what users of other reloaders miss, each a test.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::front::executable;
use crate::support::{Answer, DEADLINE, Front, Layout, Save, eventually};

pub const QUIET: &str = "watch = false";

/// A front whose answers name their generation.
pub fn front(options: &[&str]) -> Front {
    let layout = options.iter().fold(Layout::bare(), |layout, line| layout.pasteway(line));
    Front::start(&layout.pasteway("generation_header = true"))
}

/// Adds a mount point, which only this text has.
pub fn with(number: u32) -> impl FnOnce(String) -> String {
    move |text| text.replace("/v2: app", &format!("/v2: app\n/g{number}: app"))
}

pub fn post(front: &Front, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    let mut client = front.admin_client();
    let answer = client.send(head + body).and_then(|()| client.answer("POST")).expect("an answer");
    (answer.status, answer.json())
}

pub fn generation_of(answer: &Answer) -> u64 {
    let field = answer.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-pasteway-generation"));
    field.expect("the field").1.parse().expect("a number")
}

pub fn generations(front: &Front) -> Vec<Value> {
    front.admin("/generations").json().as_array().expect("a list").clone()
}

pub fn state(front: &Front, number: u64) -> String {
    let all = generations(front);
    let one = all.iter().find(|one| one["generation"] == number).expect("remembered");
    one["state"].as_str().expect("a state").to_owned()
}

#[track_caller]
pub fn applied(answer: &(u16, Value), generation: u64) {
    assert_eq!((answer.0, &answer.1["outcome"]), (200, &Value::from("applied")), "{}", answer.1);
    assert_eq!(answer.1["generation"], generation, "{}", answer.1);
}

#[test]
fn a_generation_tells_what_it_is_who_wanted_it_and_what_it_changed() {
    let front = front(&[QUIET]);
    front.edit(Save::Rename, with(1));
    applied(&front.reload(""), 2);
    let all = generations(&front);
    let newest = &all[0];
    assert_eq!((newest["generation"].as_u64(), newest["source"].as_str()), (Some(2), Some("admin")));
    assert!(newest["peer"].as_str().expect("a peer").starts_with("uid "), "{newest}");
    assert_eq!(newest["sha256"].as_str().expect("a digest").len(), 64);
    assert_ne!(newest["sha256"], all[1]["sha256"]);
    let change = &newest["changes"][0];
    assert_eq!(change["class"], "live", "{change}");
    assert!(change["line"].is_u64() && change["file"].is_string(), "{change}");
    assert_eq!(generation_of(&front.get("/g1/x")), 2);
}

#[test]
fn a_rollback_is_made_from_the_kept_bytes_and_the_bad_text_is_not_taken_again() {
    let front = front(&[]);
    let text = std::fs::read_to_string(front.paste()).expect("text");
    let bad = with(1)(text.clone());
    Save::Rename.save(&front.paste(), &bad).expect("saved");
    eventually("generation 2", || (front.generation() == 2).then_some(()));
    applied(&post(&front, "/rollback", ""), 3);
    assert_eq!(front.get("/g1/x").status, 404);
    assert_eq!(front.metric("pasteway_config_file_differs", &[]), 1.0);
    assert_eq!(front.metric("pasteway_config_reloads_total", &[("outcome", "applied"), ("source", "rollback")]), 1.0);
    let status = front.admin("/status").json();
    assert_eq!(status["config_file_differs"], true);
    assert!(status["config_file_differs_because"].as_str().expect("why").contains("generation 2"), "{status}");
    // Saved again, it is the same text.
    Save::Rename.save(&front.paste(), &(bad.clone() + "\n")).expect("saved");
    eventually("another text is taken", || (front.generation() == 4).then_some(()));
    applied(&post(&front, "/rollback", r#"{"generation": 3}"#), 5);
    Save::Rename.save(&front.paste(), &bad).expect("saved");
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
    let found = &verdict["diagnostics"][0];
    assert!(found["help"].as_str().expect("help").contains("pasteway rollback 2"), "{found}");
    front.signal(rustix::process::Signal::HUP);
    let by_signal = [("outcome", "rejected"), ("source", "signal")];
    eventually("the signal's verdict", || {
        (front.metric("pasteway_config_reloads_total", &by_signal) == 1.0).then_some(())
    });
    assert_eq!(front.generation(), 5);
    applied(&post(&front, "/rollback", r#"{"generation": 2}"#), 6);
    assert_eq!(front.get("/g1/x").status, 200, "who asks for it by its number gets it");
    assert_eq!(front.metric("pasteway_config_file_differs", &[]), 0.0);
    assert_eq!(front.reload("").1["outcome"], "unchanged");
}

#[test]
fn a_generation_tells_its_files_and_gives_back_what_they_held() {
    let front = Front::launch(&Layout::bare().pasteway(QUIET).pasteway("admin_listen = 127.0.0.1:0"));
    front.logged("administration on");
    let (conf, paste) = (front.conf(), front.paste());
    let ask = |args: &[&str]| {
        let mut command = Command::new(executable());
        command.arg("generations").arg("--config-file").arg(&conf).args(args).stdin(Stdio::null());
        command.output().expect("the executable")
    };
    // No text in any encoding.
    let old = [&std::fs::read(&paste).expect("bytes")[..], b"# \xff\r\n"].concat();
    std::fs::write(&paste, &old).expect("saved");
    let mut reload = Command::new(executable());
    assert!(reload.arg("reload").arg("--config-file").arg(&conf).output().expect("the executable").status.success());
    std::fs::write(&conf, "").expect("emptied");
    std::fs::remove_file(&paste).expect("removed");
    let told: Value = serde_json::from_slice(&ask(&["2", "--format", "json"]).stdout).expect("JSON");
    let files = told["files"].as_array().expect("a list");
    let name = paste.to_str().expect("a path");
    let told = files.iter().find(|file| file["path"] == name).expect("is told");
    assert_eq!((told["bytes"].as_u64(), told["sha256"].as_str().map(str::len)), (Some(old.len() as u64), Some(64)));
    let listed = String::from_utf8(ask(&["2"]).stdout).expect("text");
    assert!(listed.contains(name) && listed.contains(conf.to_str().expect("a path")), "{listed}");
    assert_eq!(ask(&["2", "--file", name]).stdout, old);
    let unknown = ask(&["2", "--file", "/etc/hostname"]);
    assert_eq!((unknown.status.code(), unknown.stdout.len()), (Some(1), 0));
}

#[test]
fn nothing_to_go_back_to_is_said_and_changes_nothing() {
    let front = front(&[QUIET]);
    for body in ["", r#"{"generation": 9}"#] {
        let (status, verdict) = post(&front, "/rollback", body);
        assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
    }
    assert_eq!(post(&front, "/confirm", "").0, 409);
    assert_eq!(front.generation(), 1);
}

#[test]
fn a_reload_that_nobody_confirms_goes_back_by_itself_and_says_why() {
    let front = front(&[QUIET]);
    front.edit(Save::Rename, with(1));
    let answer = front.reload("?confirm=1");
    applied(&answer, 2);
    assert_eq!(answer.1["trial"]["back"], 1, "{}", answer.1);
    eventually("back", || (front.generation() == 3).then_some(()));
    assert_eq!(front.get("/g1/x").status, 404);
    let rolled = [("outcome", "rolled_back"), ("source", "admin")];
    eventually("counted", || (front.metric("pasteway_config_reloads_total", &rolled) == 1.0).then_some(()));
    let status = front.admin("/status").json();
    assert_eq!(status["last_reload"]["outcome"], "rolled_back");
    assert!(status["last_reload"]["reason"].as_str().expect("why").contains("not confirmed"), "{status}");
    assert!(generations(&front)[1]["undone"].as_str().expect("why").contains("not confirmed"));
    front.logged("generation 2 is rolled back");
}

#[test]
fn a_confirmed_reload_stays_and_lets_the_old_workers_go() {
    let front = front(&[QUIET]);
    let before = front.workers();
    front.edit_conf(|text| text.replace("worker_threads = 16", "worker_threads = 8"));
    applied(&front.reload("?confirm=600"), 2);
    eventually("standby", || (state(&front, 1) == "standby").then_some(()));
    let during = front.workers();
    assert!(before.iter().all(|pid| during.contains(pid)), "the way back is kept warm");
    assert_eq!(post(&front, "/confirm", "").1["confirmed"], 2);
    eventually("retired", || (state(&front, 1) == "retired").then_some(()));
    eventually("they are gone", || before.iter().all(|pid| !front.workers().contains(pid)).then_some(()));
    assert_eq!(front.generation(), 2);
}

#[test]
fn a_way_back_takes_the_kept_workers_and_starts_none() {
    let front = front(&[QUIET]);
    let before = front.workers();
    front.edit_conf(|text| text.replace("worker_threads = 16", "worker_threads = 8"));
    applied(&front.reload("?confirm=600"), 2);
    applied(&post(&front, "/rollback", ""), 3);
    eventually("only they are left", || (front.workers() == before).then_some(()));
    assert_eq!(front.get("/v2/t1/servers").status, 200);
}

#[test]
fn a_generation_with_more_server_errors_goes_back_at_once() {
    let front = front(&[QUIET, "reload_confirm = 600", "reload_confirm_requests = 10"]);
    for _ in 0..20 {
        assert_eq!(front.get("/v2/x").status, 200);
    }
    front.edit(Save::Rename, with(1));
    applied(&front.reload(""), 2);
    // Other requests meet the generation while it is there.
    eventually("back", || {
        front.get("/v2/x?pasteway.status=500");
        (front.generation() == 3).then_some(())
    });
    let status = front.admin("/status").json();
    assert!(status["last_reload"]["reason"].as_str().expect("why").contains("server errors"), "{status}");
}

#[test]
fn a_canary_gets_its_share_exactly_until_it_is_promoted() {
    let front = front(&[QUIET, "canary_header = X-Try: new"]);
    front.edit(Save::Rename, with(1));
    let answer = front.reload("?canary=20");
    applied(&answer, 2);
    assert_eq!(front.generation(), 1, "the old one is what serves");
    assert_eq!(state(&front, 2), "canary");
    let differs = || {
        let status = front.admin("/status").json();
        let because = status["config_file_differs_because"].as_str().unwrap_or_default().to_owned();
        (status["config_file_differs"] == true, front.metric("pasteway_config_file_differs", &[]), because)
    };
    let because = "they are those of generation 2, a canary: 20 % of the requests, and requests with the header x-try";
    assert_eq!(differs(), (true, 1.0, because.to_owned()), "what is on disk does not run for all");
    // On one connection, which one data thread counts out.
    let mut client = front.client();
    let mut ask = |headers: &[(&str, &str)]| generation_of(&client.get("/v2/x", headers).expect("an answer"));
    let tried = (0..50).filter(|_| ask(&[]) == 2).count();
    assert_eq!(tried, 10);
    assert_eq!(ask(&[("X-Try", "new")]), 2, "who asks for it by name gets it");
    assert_eq!(post(&front, "/confirm", "").1["confirmed"], 2);
    assert!((0..20).all(|_| ask(&[]) == 2));
    assert_eq!(front.generation(), 2);
    assert_eq!(differs(), (false, 0.0, String::new()));
    eventually("the old one is retired", || (state(&front, 1) == "retired").then_some(()));
}

#[test]
fn a_canary_that_is_rolled_back_is_gone_and_its_text_not_taken_again() {
    let front = front(&[QUIET]);
    let before = front.workers();
    front.edit_conf(|text| text.replace("worker_threads = 16", "worker_threads = 8"));
    applied(&front.reload("?canary=50"), 2);
    assert!(front.workers().len() > before.len());
    assert_eq!(post(&front, "/rollback", "").0, 200);
    assert_eq!(front.generation(), 1);
    eventually("its workers are gone", || (front.workers() == before).then_some(()));
    assert_eq!(state(&front, 2), "retired");
    assert_eq!(front.reload("").1["outcome"], "rejected");
    assert_eq!(front.metric("pasteway_config_file_differs", &[]), 1.0);
}

#[test]
fn a_canary_that_fails_its_requests_is_taken_out_by_itself() {
    let front = front(&[QUIET, "canary_header = X-Try", "reload_confirm_requests = 5"]);
    for _ in 0..5 {
        assert_eq!(front.get("/v2/x").status, 200);
    }
    front.edit(Save::Rename, with(1));
    applied(&front.reload(""), 2);
    eventually("taken out", || {
        let _ = front.client().get("/v2/x?pasteway.status=500", &[("X-Try", "1")]);
        (state(&front, 2) != "canary").then_some(())
    });
    assert_eq!(front.generation(), 1);
    front.logged("canary generation 2 is taken out");
}

#[test]
fn a_canary_that_is_no_worse_is_promoted_by_itself() {
    let front = front(&[
        QUIET,
        "canary_share = 50",
        "canary_time = 1",
        "reload_confirm_requests = 5",
        "reload_confirm_p99 = 0",
    ]);
    front.edit(Save::Rename, with(1));
    applied(&front.reload(""), 2);
    eventually("promoted", || {
        front.get("/v2/x");
        (front.generation() == 2).then_some(())
    });
}

#[test]
fn a_listener_cannot_move_with_a_canary() {
    let front = front(&[QUIET]);
    let moved = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = moved.local_addr().expect("an address").port();
    front.edit_conf(|text| {
        text.replace("osapi_compute_listen_port = 0", &format!("osapi_compute_listen_port = {port}"))
    });
    let (status, verdict) = front.reload("?canary=10");
    assert_eq!(status, 422, "{verdict}");
    let found = verdict["diagnostics"][0]["message"].as_str().expect("a message");
    assert!(found.contains("canary"), "{verdict}");
    assert_eq!(front.generation(), 1);
}

#[test]
fn an_old_generation_does_not_stay_for_ever_and_tells_who_holds_it() {
    let front = front(&[QUIET, "drain_timeout = 1"]);
    let mut reader = front.client();
    reader.send("GET /v2/x?pasteway.delay=60000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    eventually("it has begun", || (front.metric("pasteway_requests_in_flight", &[]) == 1.0).then_some(()));
    front.edit(Save::Rename, with(1));
    applied(&front.reload(""), 2);
    let holder = eventually("the holder", || {
        let old = generations(&front).into_iter().find(|one| one["generation"] == 1)?;
        old["holders"].get(0).cloned()
    });
    assert_eq!((holder["method"].as_str(), holder["api"].as_str()), (Some("GET"), Some("osapi_compute")));
    assert!(holder["peer"].as_str().expect("a peer").starts_with("127.0.0.1:"), "{holder}");
    eventually("retired", || (state(&front, 1) == "retired").then_some(()));
    assert_eq!(front.metric("pasteway_drain_ended_total", &[("api", "osapi_compute")]), 1.0);
    front.logged("its requests are ended: GET of osapi_compute from 127.0.0.1:");
    assert!(reader.answer("GET").is_err(), "its connection is closed");
}

#[test]
fn what_changes_something_is_not_ended_before_its_own_deadline() {
    let front = front(&[QUIET, "drain_timeout = 0", "drain_kill_timeout = 1"]);
    let mut writer = front.client();
    writer.send("POST /v2/x?pasteway.delay=60000 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").expect("sent");
    eventually("it has begun", || (front.metric("pasteway_requests_in_flight", &[]) == 1.0).then_some(()));
    front.edit(Save::Rename, with(1));
    applied(&front.reload(""), 2);
    let line = front.logged("its requests are ended: POST of osapi_compute");
    assert!(line.contains("had 1 s to drain"), "{line}");
}

#[test]
fn an_edit_elsewhere_keeps_connections_counters_and_workers_also_over_a_rollback() {
    let front = front(&[QUIET]);
    let (workers, mut client) = (front.workers(), front.client());
    let mut ask = || client.get("/v2/x", &[]).expect("the same connection");
    assert_eq!(generation_of(&ask()), 1);
    front.edit(Save::Rename, with(1));
    applied(&front.reload(""), 2);
    assert_eq!(generation_of(&ask()), 2);
    applied(&post(&front, "/rollback", ""), 3);
    assert_eq!(generation_of(&ask()), 3);
    assert_eq!(front.workers(), workers);
    let of_get = [("api", "osapi_compute"), ("method", "GET"), ("code", "200")];
    eventually("three are counted", || (front.metric("pasteway_requests_total", &of_get) == 3.0).then_some(()));
    assert_eq!(front.metric("pasteway_connections_total", &[("api", "osapi_compute")]), 1.0);
    let slots = front.admin("/workers").json();
    let requests: u64 = slots.as_array().expect("slots").iter().filter_map(|slot| slot["requests"].as_u64()).sum();
    assert_eq!(requests, 3);
}

#[test]
fn workers_are_replaced_by_hand_one_after_the_other() {
    let front = front(&[QUIET]);
    let before = front.workers();
    let (status, report) = post(&front, "/workers/osapi_compute/restart", "");
    assert_eq!(status, 200, "{report}");
    eventually("others", || {
        let now = front.workers();
        (now.len() == before.len() && before.iter().all(|pid| !now.contains(pid))).then_some(())
    });
    assert_eq!(post(&front, "/workers/osapi_compute/99/restart", "").0, 404);
    assert_eq!(post(&front, "/workers/nova/restart", "").0, 404);
}

#[test]
fn events_tell_reloads_generations_and_workers() {
    let front = front(&[QUIET]);
    let mut listener = UnixStream::connect(front.directory().join("admin.sock")).expect("a connection");
    listener.set_read_timeout(Some(DEADLINE)).expect("set");
    listener.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let seen = std::thread::spawn(move || {
        let mut text = String::new();
        while !["event: reload\n", "event: generation\n", "event: worker\n"].iter().all(|kind| text.contains(kind)) {
            let mut some = [0; 4096];
            let length = listener.read(&mut some).expect("an event");
            assert!(length > 0, "the stream has ended: {text}");
            text.push_str(&String::from_utf8_lossy(&some[..length]));
        }
        text
    });
    let mut number = 0;
    eventually("all kinds", || {
        number += 1;
        front.edit(Save::Rename, with(number));
        front.reload("");
        post(&front, "/workers/osapi_compute/restart", "");
        seen.is_finished().then_some(())
    });
    assert!(seen.join().expect("no panic").contains("\"outcome\":\"applied\""));
}

#[test]
fn a_drain_is_shown_and_ends_the_front() {
    let mut front = front(&[QUIET]);
    let mut command = Command::new(executable());
    command.args(["drain", "--config-file"]).arg(front.conf()).stdin(Stdio::null());
    let mut slow = front.client();
    slow.send("GET /v2/x?pasteway.delay=600 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    eventually("it has begun", || (front.metric("pasteway_requests_in_flight", &[]) == 1.0).then_some(()));
    let output = command.output().expect("the executable");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.starts_with("draining: 1 requests in flight") && text.ends_with("the front is gone\n"), "{text}");
    assert_eq!(slow.answer("GET").expect("what was begun is finished").status, 200);
    assert!(front.exit().success());
}
