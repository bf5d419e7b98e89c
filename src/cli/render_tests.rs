//! The texts, from answers as the front gives them.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_status_names_every_reason_and_every_api() {
    let text = status(&read(json!({
        "version": "0.1.0", "pid": 42, "uptime_seconds": 7300.5, "generation": 7, "state": "serving",
        "not_ready": ["ec2 has no serving worker"], "not_live": [], "config_file_differs": true,
        "apis": [
            {"name": "osapi_compute", "listen": "0.0.0.0:8774", "tls": true, "workers_serving": 4, "workers_wanted": 4, "queued": 0},
            {"name": "ec2", "listen": "0.0.0.0:8773", "tls": false, "workers_serving": 0, "workers_wanted": 1, "queued": 12},
        ],
        "last_reload": {"outcome": "rejected", "source": "watch", "when": 0.0, "took_ms": 3, "diagnostics": []},
        "last_upgrade": {
            "outcome": "upgraded", "pid": 42, "version": "0.1.0", "previous_pid": 41, "previous_version": "0.0.9",
            "when": 0.0, "took_ms": 170,
        },
        "predecessors": [
            {"pid": 41, "in_flight": 1, "connections": 2}, {"pid": 40, "in_flight": 3, "connections": 3},
        ],
    })));
    assert_eq!(
        text,
        "\
pasteway 0.1.0, pid 42, up 2 h, generation 7, serving
not ready: ec2 has no serving worker
the files on disk differ from what runs
last reload: rejected by watch at 1970-01-01 00:00:00Z, 3 ms
last upgrade: at 1970-01-01 00:00:00Z, upgraded in 170 ms: pasteway 0.1.0, pid 42; before 0.0.9, pid 41, which ends with its last request
pid 41, before this one, still has 1 requests, 2 connections
pid 40, before this one, still has 3 requests, 3 connections

API            LISTENS ON          WORKERS  QUEUED
osapi_compute  0.0.0.0:8774 (TLS)  4/4      0
ec2            0.0.0.0:8773        0/1      12
"
    );
}

#[test]
fn an_upgrade_that_failed_says_who_serves_on_and_why() {
    let report = json!({
        "outcome": "failed", "pid": 41, "version": "0.1.0", "previous_pid": 41, "previous_version": "0.1.0",
        "when": 0.0, "took_ms": 3, "reason": "it ended before it was ready: exit status: 1",
    });
    assert_eq!(
        upgrade(&read(report)),
        "failed: pasteway 0.1.0, pid 41, serves on: it ended before it was ready: exit status: 1\n"
    );
}

#[test]
fn a_reload_lists_its_changes_with_their_class_and_place() {
    let report = json!({
        "outcome": "applied", "generation": 7, "previous": 6, "took_ms": 12, "diagnostics": [],
        "changes": [
            {"class": "live", "what": "filter:sizelimit limit", "old": "1", "new": "2", "file": "a.ini", "line": 9},
            {"class": "rebind", "what": "ec2", "old": "0.0.0.0:8773"},
        ],
    });
    assert_eq!(
        reload(&read(report)),
        "\
applied in 12 ms: generation 7, before 6
  live    filter:sizelimit limit: 1 -> 2 (a.ini:9)
  rebind  ec2: 0.0.0.0:8773 (gone)
"
    );
}

#[test]
fn a_dry_run_never_says_that_something_was_done() {
    for (outcome, want) in [("applied", "would be applied"), ("rejected", "would be rejected")] {
        let report = json!({"outcome": outcome, "generation": 6, "previous": 6, "took_ms": 1, "dry_run": true});
        assert!(reload(&read(report)).starts_with(want));
    }
}

#[test]
fn a_worker_that_does_not_serve_shows_its_last_words() {
    let slot = |slot: u32, state: &str| {
        json!({
            "api": "ec2", "slot": slot, "state": state, "kind": "builtin", "pid": 0, "generation": 1, "in_flight": 0,
            "requests": 0, "rss_bytes": 0, "age_seconds": 0.0, "starts": 3, "last_exit": "exited with status 1",
            "stderr": ["no \u{1b}[31mmemory"],
        })
    };
    let text = workers(&read::<Vec<Slot>>(json!([slot(0, "serving"), slot(1, "backoff")])));
    assert!(text.ends_with("\nec2/1 wrote last:\n  no \u{fffd}[31mmemory\n"), "{text}");
    assert!(!text.contains("ec2/0 wrote"), "{text}");
    assert!(text.contains("ec2/1  backoff  builtin  -"), "{text}");
}

#[test]
fn generations_show_who_made_them() {
    let text = generations(&read::<Vec<Generation>>(json!([{
        "generation": 7, "sha256": "0123456789abcdef", "when": 86400.9, "source": "admin", "peer": "uid 0",
        "changes": [{"class": "live", "what": "debug"}], "in_flight": 3, "oldest_request_seconds": 130.0, "state": "live",
    }])));
    let line = text.lines().nth(1).unwrap();
    assert_eq!(line, "7           live   1970-01-02 00:00:00Z  admin, uid 0  3          2 min   0123456789ab  debug");
}

#[test]
fn a_verdict_says_what_came_of_it_where_its_outcome_says_too_little() {
    let report = |outcome: &str| {
        json!({
            "outcome": outcome, "generation": 1, "previous": 1, "took_ms": 2,
            "reason": "generation 2 is on trial: 20 % of the requests",
        })
    };
    assert_eq!(reload(&read(report("unchanged"))), "unchanged: generation 2 is on trial: 20 % of the requests\n");
    assert_eq!(reload(&read(report("applied"))), "applied in 2 ms: generation 2 is on trial: 20 % of the requests\n");
    assert_eq!(plan(&read(report("unchanged"))), "nothing to do: generation 2 is on trial: 20 % of the requests\n");
}

#[test]
fn a_trial_that_cannot_go_back_says_why() {
    let trial = json!({
        "generation": 2, "back": 1, "confirm_seconds": 0, "canary": null, "cannot_go_back": "the port is taken",
    });
    let text = trial_text(&read(trial));
    assert_eq!(text, "generation 2 should go, but cannot go back to generation 1: the port is taken");
}
