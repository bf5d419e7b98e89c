//! How a generation's requests went: what counts, and what a generation on trial is compared with.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Front, Layout, Save, Tunnel, eventually};

/// Far more than a request to the stand-in takes.
const LONG: Duration = Duration::from_millis(1500);

/// Adds a mount point.
fn with(number: u32) -> impl FnOnce(String) -> String {
    move |text| text.replace("/v2: app\n", &format!("/v2: app\n/g{number}: app\n"))
}

#[track_caller]
fn generation(front: &Front, number: u64) -> Value {
    let all = front.admin("/generations").json();
    let one = all.as_array().expect("a list").iter().find(|one| one["generation"] == number);
    one.expect("remembered").clone()
}

#[track_caller]
fn begun(front: &Front, what: &str) {
    eventually(what, || (front.metric("pasteway_requests_in_flight", &[]) == 1.0).then_some(()));
}

#[test]
fn a_generation_answers_for_its_own_time_alone() {
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    for _ in 0..20 {
        assert_eq!(front.get("/v2/x").status, 200);
    }
    // Each of these lasts as long as its client likes: a tunnel, a slow upload, a slow download, who does not wait.
    let tunnel = Tunnel::open(&front);
    sleep(LONG);
    drop(tunnel);
    let mut upload = front.client();
    upload.send("POST /v2/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na").expect("sent");
    sleep(LONG);
    upload.send("bc").expect("sent");
    assert_eq!(upload.answer("POST").expect("an answer").status, 200);
    let mut download = front.client();
    download.send("GET /v2/x?pasteway.size=40000000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    begun(&front, "the download");
    sleep(LONG);
    assert_eq!(download.answer("GET").expect("an answer").status, 200);
    let mut impatient = front.client();
    impatient.send("GET /v2/x?pasteway.delay=4000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    begun(&front, "the impatient one");
    sleep(LONG);
    drop(impatient);
    eventually("all have ended", || (generation(&front, 1)["in_flight"] == 0).then_some(()));
    let one = generation(&front, 1);
    assert_eq!((one["answers"].as_u64(), one["errors"].as_u64()), (Some(23), Some(0)), "{one}");
    assert!(one["p99_seconds"].as_f64().expect("a time") < LONG.as_secs_f64() / 2.0, "{one}");
    // What it does answer for: a worker's time, and its failures.
    front.get("/v2/x?pasteway.delay=1500");
    assert_eq!(front.post("/v2/x?pasteway.exit=1", b"").status, 502);
    let one = generation(&front, 1);
    assert_eq!((one["answers"].as_u64(), one["errors"].as_u64()), (Some(25), Some(1)), "{one}");
    assert!(one["p99_seconds"].as_f64().expect("a time") >= LONG.as_secs_f64(), "{one}");
}

#[test]
fn a_request_that_a_drain_has_ended_is_no_answer() {
    let front = Front::start(&Layout::bare().pasteway("watch = false").pasteway("drain_timeout = 0"));
    let mut client = front.client();
    client.send("GET /v2/x?pasteway.delay=4000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    begun(&front, "it");
    front.edit(Save::Rename, with(1));
    assert_eq!(front.reload("").0, 200);
    eventually("retired", || (generation(&front, 1)["state"] == "retired").then_some(()));
    let old = generation(&front, 1);
    assert_eq!((old["ended"].as_u64(), old["answers"].as_u64()), (Some(1), Some(0)), "{old}");
}

#[track_caller]
fn asks(front: &Front, times: usize, path: &str, status: u16) {
    for _ in 0..times {
        assert_eq!(front.get(path).status, status);
    }
}

#[track_caller]
fn reloads(front: &Front, change: impl FnOnce(String) -> String, query: &str) {
    front.edit(Save::Rename, change);
    let (status, verdict) = front.reload(query);
    assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
}

/// Longer than some looks at a trial take.
const LOOKS: Duration = Duration::from_millis(700);
const BAD: &str = "/v2/x?pasteway.status=500";

#[test]
fn a_mend_is_tried_while_all_requests_fail() {
    let front = Front::start(&Layout::bare().pasteway("watch = false").pasteway("reload_confirm_requests = 10"));
    asks(&front, 12, BAD, 500);
    // This one has answered nothing when the next comes.
    reloads(&front, |text| format!("# a comment\n{text}"), "");
    reloads(&front, with(1), "?confirm=600");
    asks(&front, 12, BAD, 500);
    sleep(LOOKS);
    assert_eq!(front.generation(), 3, "no worse than it was");
    assert_eq!(front.order("/confirm").1["confirmed"], 3);
    // What went well before is a measure too, and over generations that have answered nothing.
    asks(&front, 500, "/v2/x", 200);
    reloads(&front, |text| format!("# a comment\n{text}"), "");
    reloads(&front, with(2), "?confirm=600");
    asks(&front, 12, BAD, 500);
    eventually("it goes back", || (front.generation() == 6).then_some(()));
    let reason = front.admin("/status").json()["last_reload"]["reason"].as_str().expect("why").to_owned();
    assert!(reason.contains("100.0 % of its 12 answers are server errors, 2.3 % before"), "{reason}");
}

#[test]
fn without_a_record_no_generation_is_taken_back_for_its_answers() {
    let front = Front::start(&Layout::bare().pasteway("watch = false").pasteway("reload_confirm_requests = 10"));
    asks(&front, 9, "/v2/x", 200);
    reloads(&front, with(1), "?confirm=2");
    asks(&front, 12, BAD, 500);
    sleep(LOOKS);
    assert_eq!(front.generation(), 2);
    eventually("its time is over", || (front.generation() == 3).then_some(()));
    let status = front.admin("/status").json();
    assert!(status["last_reload"]["reason"].as_str().expect("why").contains("not confirmed"), "{status}");
}
