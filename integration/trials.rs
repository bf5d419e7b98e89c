//! Generations on trial, and texts that were taken back: what must hold when edits, trials and ways back meet.

use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use crate::rollback::{QUIET, applied, front, generation_of, generations, post, state, with};
use crate::support::certificates::Authority;
use crate::support::{Client, Front, Layout, Save, eventually};

/// Another value of an option that only the front reads.
fn settle(value: &str) -> impl FnOnce(String) -> String {
    let line = format!("watch_settle = {value}\n");
    move |text| {
        let lines = text.lines().map(|old| format!("{old}\n"));
        lines.map(|old| if old.starts_with("watch_settle =") { line.clone() } else { old }).collect()
    }
}

/// An address that nobody has.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

fn save(front: &Front, text: &str) {
    Save::Rename.save(&front.paste(), text).expect("saved");
}

fn paste(front: &Front) -> String {
    std::fs::read_to_string(front.paste()).expect("text")
}

#[track_caller]
fn rejected(answer: &(u16, Value), words: &str) {
    assert_eq!((answer.0, &answer.1["outcome"]), (422, &Value::from("rejected")), "{}", answer.1);
    assert!(answer.1["diagnostics"].to_string().contains(words), "{words}: {}", answer.1);
}

fn status(front: &Front) -> Value {
    front.admin("/status").json()
}

fn differs_because(front: &Front) -> String {
    let status = status(front);
    assert_eq!(status["config_file_differs"], true, "{status}");
    status["config_file_differs_because"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_one_before_is_one_that_served_all_requests() {
    let front = front(&[QUIET]);
    let text = paste(&front);
    save(&front, &with(1)(text.clone()));
    applied(&front.reload("?canary=5"), 2);
    save(&front, &with(2)(text));
    applied(&front.reload("?canary=5"), 3);
    assert_eq!(post(&front, "/confirm", "").1["confirmed"], 3);
    applied(&post(&front, "/rollback", ""), 4);
    assert_eq!((front.get("/g1/x").status, front.get("/g2/x").status), (404, 404));
}

#[test]
fn all_that_nobody_confirmed_is_taken_back_with_what_failed() {
    let front = front(&[QUIET]);
    let text = paste(&front);
    save(&front, &with(1)(text.clone()));
    applied(&front.reload("?confirm=600"), 2);
    save(&front, &with(2)(text.clone()));
    applied(&front.reload(""), 3);
    assert_eq!(status(&front)["trial"]["back"], 1, "the deadline is handed on");
    applied(&post(&front, "/rollback", ""), 4);
    for (number, text) in [(2, with(1)(text.clone())), (3, with(2)(text.clone()))] {
        save(&front, &text);
        rejected(&front.reload(""), &format!("pasteway rollback {number}"));
    }
    rejected(&post(&front, "/rollback", ""), "no generation to go back to");
    assert_eq!(front.generation(), 4);
}

#[test]
fn a_rollback_after_a_rollback_goes_further_back_and_not_forward() {
    let front = front(&[QUIET]);
    let text = paste(&front);
    for number in [1, 2, 3] {
        save(&front, &with(number)(text.clone()));
        applied(&front.reload(""), u64::from(number) + 1);
    }
    applied(&post(&front, "/rollback", r#"{"generation": 2}"#), 5);
    applied(&post(&front, "/rollback", ""), 6);
    assert_eq!([1, 2, 3].map(|number| front.get(&format!("/g{number}/x")).status), [404; 3]);
    rejected(&post(&front, "/rollback", ""), "no generation to go back to");
}

#[test]
fn a_rollback_to_a_number_takes_the_canarys_text_back_too() {
    let front = front(&[QUIET]);
    let text = paste(&front);
    save(&front, &with(1)(text.clone()));
    applied(&front.reload(""), 2);
    save(&front, &with(2)(text));
    applied(&front.reload("?canary=20"), 3);
    applied(&post(&front, "/rollback", r#"{"generation": 1}"#), 4);
    assert!(differs_because(&front).contains("generation 3"), "{}", differs_because(&front));
    rejected(&front.reload(""), "pasteway rollback 3");
    assert_eq!(front.generation(), 4);
}

#[test]
fn a_rollback_to_the_text_that_serves_takes_a_canary_out() {
    let front = front(&[QUIET]);
    let text = paste(&front);
    save(&front, &with(1)(text.clone()));
    applied(&front.reload(""), 2);
    applied(&post(&front, "/rollback", r#"{"generation": 1}"#), 3);
    save(&front, &with(2)(text));
    applied(&front.reload("?canary=20"), 4);
    let (status, verdict) = post(&front, "/rollback", r#"{"generation": 1}"#);
    assert_eq!((status, &verdict["outcome"]), (200, &Value::from("applied")), "{verdict}");
    assert_eq!((front.generation(), state(&front, 4).as_str() == "canary"), (3, false));
    let (status, verdict) = post(&front, "/rollback", r#"{"generation": 1}"#);
    assert_eq!((status, &verdict["outcome"]), (200, &Value::from("unchanged")), "{verdict}");
    assert!(verdict["reason"].as_str().is_some_and(|why| why.contains("generation 1")), "{verdict}");
    assert!(differs_because(&front).contains("generation 4"));
}

#[test]
fn a_text_that_was_taken_back_does_not_come_with_another_edit() {
    let front = front(&[QUIET]);
    let text = paste(&front);
    save(&front, &with(1)(text.clone()));
    applied(&front.reload(""), 2);
    applied(&post(&front, "/rollback", ""), 3);
    front.edit_conf(settle("0.03"));
    let refused = front.reload("");
    rejected(&refused, "api-paste.ini");
    rejected(&refused, "pasteway rollback 2");
    // The edit alone is taken, and so is another text of that file.
    save(&front, &text);
    applied(&front.reload(""), 4);
    save(&front, &with(2)(text.clone()));
    applied(&front.reload(""), 5);
    save(&front, &with(1)(text));
    rejected(&front.reload(""), "pasteway rollback 2");
    // Who asks for it by its number has nothing against it any more.
    applied(&post(&front, "/rollback", r#"{"generation": 2}"#), 6);
    applied(&front.reload(""), 7);
    assert_eq!(front.get("/g1/x").status, 200);
}

#[test]
fn an_edit_beside_a_canary_is_tried_with_it() {
    let front = front(&[QUIET, "canary_header = X-Try: new"]);
    front.edit(Save::Rename, with(1));
    applied(&front.reload("?canary=20&confirm=600"), 2);
    front.edit_conf(settle("0.03"));
    let answer = front.reload("");
    applied(&answer, 3);
    let trial = &answer.1["trial"];
    assert_eq!((&trial["generation"], &trial["back"]), (&Value::from(3), &Value::from(1)), "{trial}");
    let share = "20 % of the requests, and requests with the header x-try";
    assert_eq!(trial["canary"], share, "{trial}");
    assert!(trial["confirm_seconds"].as_u64().is_some_and(|left| left <= 600), "{trial}");
    assert_eq!((front.generation(), state(&front, 3).as_str()), (1, "canary"));
    // What no canary can try waits for a decision.
    let moved = format!("osapi_compute_listen_port = {}", free().port());
    front.edit_conf(|text| text.replace("osapi_compute_listen_port = 0", &moved));
    rejected(&front.reload(""), "pasteway confirm");
    assert_eq!(state(&front, 3), "canary");
    front.edit_conf(|text| text.replace(&moved, "osapi_compute_listen_port = 0"));
    // Its own terms are another matter.
    front.edit_conf(settle("0.04"));
    applied(&front.reload("?canary=0&confirm=0"), 4);
    assert_eq!((front.generation(), &status(&front)["trial"]), (4, &Value::Null));
}

#[test]
fn workers_of_a_canary_stay_for_the_one_in_its_place() {
    let layout = Layout::bare().default("osapi_compute_workers = 1").pasteway(QUIET);
    let front = Front::start(&layout);
    front.edit_conf(|text| text.replace("osapi_compute_workers = 1", "osapi_compute_workers = 3"));
    applied(&front.reload("?canary=20"), 2);
    front.edit_conf(settle("0.03"));
    applied(&front.reload(""), 3);
    assert_eq!(post(&front, "/confirm", "").1["confirmed"], 3);
    assert_eq!(status(&front)["apis"][0]["workers_wanted"], 3);
    assert_eq!(front.workers().len(), 3);
}

#[test]
fn stated_terms_replace_those_of_the_trial() {
    let front = front(&[QUIET]);
    front.edit(Save::Rename, with(1));
    applied(&front.reload("?canary=20"), 2);
    for query in ["", "?dry_run=true"] {
        let (_, verdict) = front.reload(query);
        assert_eq!((&verdict["outcome"], &verdict["generation"]), (&"unchanged".into(), &1.into()), "{verdict}");
        let reason = verdict["reason"].as_str().expect("a reason");
        assert!(reason.contains("generation 2") && reason.contains("20 %"), "{verdict}");
    }
    let answer = front.reload("?canary=60");
    applied(&answer, 2);
    assert_eq!(answer.1["trial"]["canary"], "60 % of the requests", "{}", answer.1);
    let mut client = front.client();
    let mut ask = || generation_of(&client.get("/v2/x", &[]).expect("an answer"));
    assert_eq!((0..50).filter(|_| ask() == 2).count(), 30);
    let answer = front.reload("?canary=0&confirm=600");
    applied(&answer, 2);
    let trial = &answer.1["trial"];
    assert_eq!((front.generation(), &trial["back"], &trial["canary"]), (2, &1.into(), &Value::Null), "{trial}");
    eventually("the way back is kept", || (state(&front, 1) == "standby").then_some(()));
    let answer = front.reload("?confirm=300");
    assert!(answer.1["trial"]["confirm_seconds"].as_u64().is_some_and(|left| left <= 300), "{}", answer.1);
    rejected(&front.reload("?canary=10"), "serves all requests");
    assert_eq!(status(&front)["config_file_differs"], false);
    applied(&front.reload("?confirm=0"), 2);
    assert_eq!(status(&front)["trial"], Value::Null);
    eventually("nothing is kept", || (state(&front, 1) == "retired").then_some(()));
}

#[test]
fn a_new_deadline_of_the_same_text_holds() {
    let front = front(&[QUIET]);
    front.edit(Save::Rename, with(1));
    applied(&front.reload("?confirm=600"), 2);
    front.edit_conf(settle("0.03"));
    applied(&front.reload(""), 3);
    applied(&front.reload("?confirm=1"), 3);
    eventually("back", || (front.generation() == 4).then_some(()));
    assert_eq!(front.get("/g1/x").status, 404);
    rejected(&post(&front, "/rollback", ""), "no generation to go back to");
}

#[test]
fn a_canary_that_is_promoted_serves_since_then() {
    let front = front(&[QUIET]);
    front.edit(Save::Rename, with(1));
    applied(&front.reload("?canary=20"), 2);
    let since = || generations(&front)[0]["when"].as_f64().expect("a time");
    let staged = since();
    assert_eq!(post(&front, "/confirm", "").1["confirmed"], 2);
    assert!(since() > staged);
}

#[test]
fn the_log_tells_a_canary_from_what_is_live() {
    let front = front(&[QUIET]);
    front.edit(Save::Rename, with(1));
    applied(&front.reload("?canary=20"), 2);
    front.logged("generation 2 is a canary (20 % of the requests) after");
    applied(&post(&front, "/rollback", ""), 1);
    front.logged("generation 2 is taken out, generation 1 serves alone");
    assert!(!front.log().iter().any(|line| line.contains("is live")), "nothing came live");
}

#[test]
fn a_canary_cannot_try_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    Authority::new().issue().save(directory.path());
    let here = directory.path().display();
    let tls = format!("ssl_cert_file = {here}/cert.pem\nssl_key_file = {here}/key.pem\n");
    let layout = Layout::bare().default(&tls).pasteway(QUIET);
    let front = Front::start(&layout);
    front.edit_conf(|text| text.replace("ssl_cert_file", "enabled_ssl_apis = osapi_compute\nssl_cert_file"));
    rejected(&front.reload("?canary=50"), "TLS of osapi_compute");
    applied(&front.reload(""), 2);
    // The same files with other bytes.
    Authority::new().issue().save(directory.path());
    rejected(&front.reload("?canary=50"), "TLS of osapi_compute");
    applied(&front.reload(""), 3);
    front.edit_conf(settle("0.03"));
    applied(&front.reload("?canary=50"), 4);
    assert_eq!(front.generation(), 3);
}

/// A front with generation 2 on trial, and files with workers for metadata that start and never serve.
fn on_trial_and_slow(terms: &str) -> Front {
    let layout = Layout::havana().apis(&["osapi_compute", "metadata"]).pasteway(QUIET);
    let front = Front::start(&layout.pasteway("generation_header = true").pasteway("worker_start_timeout = 600"));
    front.edit_conf(settle("0.03"));
    applied(&front.reload(terms), 2);
    front.edit_conf(|text| text + "worker_kind_metadata = command\nworker_command_metadata = sleep 1000\n");
    front
}

#[track_caller]
fn starting(front: &Front) {
    eventually("a worker starts", || {
        let slots = front.admin("/workers").json();
        slots.as_array()?.iter().any(|slot| slot["kind"] == "command" && slot["state"] == "starting").then_some(())
    });
}

#[test]
fn a_way_back_overtakes_a_reload_that_waits_for_workers() {
    let front = on_trial_and_slow("?confirm=600");
    let before = front.workers().len();
    std::thread::scope(|scope| {
        let overtaken = scope.spawn(|| front.reload(""));
        starting(&front);
        // Also one that has not begun yet.
        let waiting = scope.spawn(|| front.reload(""));
        eventually("it waits", || {
            (front.log().iter().filter(|line| line.contains("admin: reload asked by")).count() == 3).then_some(())
        });
        applied(&post(&front, "/rollback", ""), 3);
        for verdict in [overtaken, waiting] {
            rejected(&verdict.join().expect("no panic"), "overtaken by a rollback by uid");
        }
    });
    // The watcher may have looked since: it says that nobody has loaded them.
    let because = differs_because(&front);
    assert!(["overtaken", "not been loaded"].iter().any(|why| because.contains(why)), "{because}");
    eventually("what was begun is ended", || (front.workers().len() == before).then_some(()));
}

#[test]
fn a_deadline_is_kept_while_a_reload_waits_for_workers() {
    let front = on_trial_and_slow("?confirm=2");
    std::thread::scope(|scope| {
        let overtaken = scope.spawn(|| front.reload(""));
        rejected(&overtaken.join().expect("no panic"), "overtaken by the way back from generation 2");
    });
    eventually("back", || (front.generation() == 3).then_some(()));
    assert_eq!(status(&front)["last_reload"]["outcome"], "rolled_back");
}

#[test]
fn confirm_means_what_was_on_trial_when_it_was_asked() {
    let front = on_trial_and_slow("?confirm=600");
    std::thread::scope(|scope| {
        let reload = scope.spawn(|| front.reload(""));
        starting(&front);
        let (status, refused) = post(&front, "/confirm", r#"{"generation": 3}"#);
        assert_eq!(status, 409, "{refused}");
        assert!(refused["error"].as_str().is_some_and(|why| why.contains("generation 2 is on trial")), "{refused}");
        assert_eq!(post(&front, "/confirm", r#"{"generation": 2}"#).1["confirmed"], 2);
        assert!(!reload.is_finished(), "nobody waits for it");
        applied(&post(&front, "/rollback", ""), 3);
        reload.join().expect("no panic");
    });
    eventually("retired", || (state(&front, 2) == "retired").then_some(()));
}

/// A front on trial that has moved its port, the old port, and who has it now.
fn without_its_port() -> (Front, SocketAddr, TcpListener) {
    let (old, new) = (free(), free());
    let line = |address: SocketAddr| format!("osapi_compute_listen_port = {}", address.port());
    let front = Front::start(&Layout::bare().default(&line(old)).pasteway(QUIET));
    front.edit_conf(|text| text.replace(&line(old), &line(new)));
    applied(&front.reload("?confirm=600"), 2);
    let taken = eventually("the old port is free", || TcpListener::bind(old).ok());
    (front, old, taken)
}

#[test]
fn a_trial_that_cannot_go_back_stays_one_until_it_can() {
    let (front, old, taken) = without_its_port();
    applied(&front.reload("?confirm=1"), 2);
    let why =
        eventually("it should go and cannot", || status(&front)["trial"]["cannot_go_back"].as_str().map(str::to_owned));
    assert!(why.contains("cannot listen on"), "{why}");
    assert!(differs_because(&front).contains("cannot go back: "), "{}", differs_because(&front));
    assert_eq!(generations(&front)[0]["cannot_go_back"], why.as_str());
    let last = &status(&front)["last_reload"];
    assert_eq!((&last["outcome"], &last["diagnostics"][0]["line"]), (&"rejected".into(), &Value::Null), "{last}");
    drop(taken);
    eventually("back", || (front.generation() == 3).then_some(()));
    let mut client = Client::connect(old).expect("the old port serves again");
    assert_eq!(client.get("/v2/x", &[]).expect("an answer").status, 200);
    let told = front.log().iter().filter(|line| line.contains("cannot go back")).count();
    assert_eq!(told, 1, "once");
    assert_eq!(status(&front)["trial"], Value::Null);
}

#[test]
fn a_trial_that_cannot_go_back_can_be_confirmed() {
    let (front, _, _taken) = without_its_port();
    rejected(&post(&front, "/rollback", ""), "cannot listen on");
    applied(&front.reload("?confirm=1"), 2);
    eventually("it cannot", || status(&front)["trial"]["cannot_go_back"].as_str().map(drop));
    assert_eq!(post(&front, "/confirm", "").1["confirmed"], 2);
    assert_eq!((front.generation(), &status(&front)["config_file_differs"]), (2, &false.into()));
}
