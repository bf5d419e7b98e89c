//! `pasteway selftest reload`: a short run, its report, and what it leaves behind.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::front::executable;
use crate::support::{eventually, process};

/// The command, with a place of its own for temporary files.
fn selftest(place: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command.args(["selftest", "reload"]).args(args).env("TMPDIR", place);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn is_empty(place: &Path) -> bool {
    std::fs::read_dir(place).expect("a directory").next().is_none()
}

#[test]
fn a_short_run_loses_nothing_says_what_it_did_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().expect("a directory");
    let args = ["--rate", "200", "--reloads", "40", "--seconds", "10", "--seed", "3", "--format", "json"];
    let output = selftest(place.path(), &args).output().expect("the executable");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (report["ok"].as_bool(), report["failed"].as_u64(), report["closed"].as_u64()),
        (Some(true), Some(0), Some(0))
    );
    assert!(report["requests"].as_u64() >= Some(2000) && report["reloads"].as_u64() >= Some(40), "{said}");
    for kind in report["kinds"].as_array().expect("a list") {
        assert!(kind["requests"].as_u64() > Some(0), "{kind}");
    }
    for of in ["inside", "outside", "watched"] {
        let latency = &report[of];
        assert!(latency["count"].as_u64() > Some(0) && latency["p99_ms"].as_f64() > Some(0.0), "{of}: {latency}");
    }
    assert!(report["outcomes"]["rejected"].as_u64() > Some(0), "no save was broken: {}", report["outcomes"]);
    assert!(is_empty(place.path()));
}

#[test]
fn a_run_that_is_interrupted_ends_its_instance_and_removes_its_files() {
    let place = tempfile::tempdir().expect("a directory");
    let mut child = selftest(place.path(), &["--seconds", "600"]).spawn().expect("the executable");
    let front = eventually("the instance runs", || {
        let instance = std::fs::read_dir(place.path()).expect("a directory").next()?.expect("an entry").path();
        let text = std::fs::read(instance.join("run/front.json")).ok()?;
        let instance: Value = serde_json::from_slice(&text).ok()?;
        u32::try_from(instance["pid"].as_u64()?).ok()
    });
    std::thread::sleep(Duration::from_millis(200));
    process::signal(child.id(), Signal::INT);
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    assert!(!process::lives(front), "the instance lives on");
    assert!(is_empty(place.path()));
}
