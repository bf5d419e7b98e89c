//! The command line: what it says of files, and of a running front.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::front::executable;
use crate::support::{Front, Layout, Save, eventually};

/// A directory with the files of a layout, and no front.
fn files(layout: &Layout) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("nova.conf"), layout.conf(directory.path())).expect("nova.conf");
    std::fs::write(directory.path().join("api-paste.ini"), layout.paste()).expect("api-paste.ini");
    directory
}

/// `pasteway COMMAND --config-file nova.conf ARGS`
#[track_caller]
fn pasteway(directory: &Path, command: &str, args: &[&str]) -> Output {
    let mut all = Command::new(executable());
    all.arg(command).arg("--config-file").arg(directory.join("nova.conf")).args(args).stdin(Stdio::null());
    all.output().expect("the executable")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in {}", out(output)))
}

#[test]
fn good_files_pass_the_check() {
    for layout in [Layout::havana(), Layout::current()] {
        let output = pasteway(files(&layout).path(), "check", &[]);
        assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    }
}

#[test]
fn a_paste_file_by_itself_has_one_worker_where_nothing_says_more() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect(name);
    let tree = |args: &[&str]| {
        let serve = ["--paste", "a.ini", "--listen", "127.0.0.1:6543", "--worker-kind", "builtin"];
        let mut all = Command::new(executable());
        all.current_dir(directory.path()).arg("tree").args(serve).args(args).stdin(Stdio::null());
        out(&all.output().expect("the executable"))
    };
    write("a.ini", "[app:main]\npaste.app_factory = a.b:c\n");
    assert!(tree(&[]).contains("127.0.0.1:6543, 1 workers"), "{}", tree(&[]));
    write("more.conf", "[DEFAULT]\nmain_workers = 3\n");
    assert!(tree(&["--config-file", "more.conf"]).contains(", 3 workers"));
    write("a.ini", "[app:main]\npaste.app_factory = a.b:c\n[server:main]\nuse = egg:gunicorn#main\nworkers = 4\n");
    assert!(tree(&["--config-file", "more.conf"]).contains(", 4 workers"));
    assert!(tree(&["--config-file", "more.conf", "--workers", "2"]).contains(", 2 workers"));
}

#[test]
fn explain_names_what_a_pipeline_has_by_its_uri_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = "[pipeline:main]\npipeline = egg:Paste#lint app\n[app:app]\npaste.app_factory = a.b:c\n";
    std::fs::write(directory.path().join("a.ini"), text).expect("a.ini");
    let mut explain = Command::new(executable());
    explain.current_dir(directory.path()).args(["explain", "main", "GET", "/", "--paste", "a.ini"]);
    let output = explain.args(["--listen", "127.0.0.1:6543", "--worker-kind", "builtin"]).output();
    let said = out(&output.expect("the executable"));
    assert!(said.contains("in the worker: egg:Paste#lint  ("), "{said}");
    assert!(said.contains("in the worker: [app:app] a.b:c  ("), "{said}");
}

#[test]
fn the_check_finds_all_problems_at_once() {
    let layout = Layout::compute(
        "[composite:osapi_compute]\nuse = egg:Paste#urlmap\n/v2: compute\n/v3: nowhere\n\n\
         [pipeline:compute]\npipeline = faultwrp app\n\n\
         [filter:faultwrap]\npaste.filter_factory = nova.api.openstack:FaultWrapper.factory\n\n\
         [app:app]\npaste.app_factory = a.b:c\n",
    );
    let directory = files(&layout);
    let output = pasteway(directory.path(), "check", &[]);
    assert_eq!(output.status.code(), Some(78), "{}", out(&output));
    let said = out(&output);
    assert!(said.contains("api-paste.ini:4:") && said.contains("api-paste.ini:7:"), "{said}");
    assert!(said.contains("help: did you mean `faultwrap`"), "{said}");
    let output = pasteway(directory.path(), "check", &["--format", "json"]);
    let found = json(&output);
    let list = found.as_array().or_else(|| found["diagnostics"].as_array()).expect("a list").clone();
    let lines: Vec<u64> = list.iter().filter_map(|finding| finding["line"].as_u64()).collect();
    assert!(lines.contains(&4) && lines.contains(&7), "{found}");
}

#[test]
fn the_tree_is_drawn_in_four_formats() {
    let directory = files(&Layout::havana());
    for format in ["text", "json", "dot", "mermaid"] {
        let output = pasteway(directory.path(), "tree", &["--format", format]);
        assert_eq!(output.status.code(), Some(0), "{}", out(&output));
        for name in ["osapi_compute", "/v1.1", "sizelimit", "ratelimit"] {
            assert!(out(&output).contains(name), "{name} is not in {}", out(&output));
        }
    }
}

#[test]
fn a_request_is_explained() {
    let directory = files(&Layout::havana());
    let args = ["osapi_compute", "GET", "/v2/t1/servers", "-H", "X-Auth-Token: a"];
    let output = pasteway(directory.path(), "explain", &args);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    for name in ["/v2", "faultwrap", "sizelimit", "noauth", "osapi_compute_app_v2"] {
        assert!(out(&output).contains(name), "{name} is not in {}", out(&output));
    }
}

#[test]
fn a_running_front_is_asked_through_its_runtime_directory() {
    let front = Front::start(&Layout::havana());
    let ask = |command, args: &[&str]| pasteway(front.directory(), command, args);
    let status = ask("status", &["--format", "json"]);
    assert_eq!(status.status.code(), Some(0), "{}", out(&status));
    assert_eq!(json(&status)["pid"], front.pid());
    for command in ["workers", "generations"] {
        let output = ask(command, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", out(&output));
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn reload_waits_for_the_verdict_and_exits_by_it() {
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    let reload = |args: &[&str]| pasteway(front.directory(), "reload", args);
    assert_eq!(reload(&[]).status.code(), Some(0));
    front.edit(Save::Rename, |text| text.replace("/v2: app", "/v2: app\n/v3: app"));
    let dry = reload(&["--dry-run"]);
    assert_eq!(dry.status.code(), Some(0), "{}", out(&dry));
    assert_eq!(front.generation(), 1);
    assert_eq!(reload(&[]).status.code(), Some(0));
    assert_eq!(front.generation(), 2);
    front.edit(Save::Rename, |text| text.replace("/v2: app", "/v2: ap"));
    let rejected = reload(&[]);
    assert_eq!(rejected.status.code(), Some(78), "{}", out(&rejected));
    assert!(out(&rejected).contains("api-paste.ini:3:"), "{}", out(&rejected));
}

#[test]
fn a_second_front_in_the_same_runtime_directory_is_refused() {
    let front = Front::start(&Layout::bare());
    let output = pasteway(front.directory(), "serve", &[]);
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    eventually("the first one serves on", || (front.get("/v2/x").status == 200).then_some(()));
}

/// All commands that only ask a running front, the last one ends it.
#[track_caller]
fn is_reached(front: &mut Front, why: &str) {
    let ask = |command, args: &[&str]| pasteway(front.directory(), command, args);
    for (command, args) in [("status", vec![]), ("workers", vec![]), ("generations", vec![]), ("rollback", vec!["1"])] {
        let output = ask(command, &args);
        assert_eq!(output.status.code(), Some(0), "{why}: {command}: {}", out(&output));
    }
    assert!(out(&ask("confirm", &[])).contains("409"), "{why}");
    let output = ask("drain", &[]);
    assert_eq!(output.status.code(), Some(0), "{why}: {}", out(&output));
    assert!(front.exit().success());
}

#[test]
fn a_front_is_reached_whatever_its_files_say_by_now() {
    type Breaking = fn(&Path);
    let breakings: [(&str, Breaking); 5] = [
        ("no line of a configuration", |conf| append(conf, "oops\n")),
        ("an unknown option", |conf| append(conf, "[pasteway]\nno_such = 1\n")),
        ("another directory", |conf| append(conf, "[pasteway]\nruntime_dir = /nonexistent/elsewhere\n")),
        ("nothing", |conf| std::fs::write(conf, "").expect("written")),
        ("gone", |conf| std::fs::remove_file(conf).expect("removed")),
    ];
    for (why, breaking) in breakings {
        let mut front = Front::start(&Layout::bare().pasteway("watch = false"));
        breaking(&front.conf());
        is_reached(&mut front, why);
    }
}

fn append(path: &Path, text: &str) {
    let old = std::fs::read_to_string(path).expect("text");
    std::fs::write(path, old + text).expect("written");
}

#[test]
fn files_that_cannot_be_used_are_told_by_the_front_that_runs() {
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    append(&front.conf(), "[pasteway]\nruntime_dir = /nonexistent/elsewhere\n");
    let lines = std::fs::read_to_string(front.conf()).expect("text").lines().count();
    for command in ["plan", "reload"] {
        let output = pasteway(front.directory(), command, &[]);
        assert_eq!(output.status.code(), Some(78), "{}", out(&output));
        let place = format!("nova.conf:{lines}:");
        assert!(out(&output).contains("runtime_dir") && out(&output).contains(&place), "{}", out(&output));
    }
    append(&front.conf(), "oops\n");
    let output = pasteway(front.directory(), "plan", &[]);
    assert_eq!(output.status.code(), Some(78), "{}", out(&output));
    assert!(out(&output).contains(&format!("nova.conf:{}", lines + 1)), "{}", out(&output));
}

#[test]
fn of_two_fronts_each_is_found_by_its_own_files() {
    let fronts = [(); 2].map(|()| Front::start(&Layout::bare().pasteway("watch = false")));
    for (front, other) in [(&fronts[0], &fronts[1]), (&fronts[1], &fronts[0])] {
        let pid = |output: Output| json(&output)["pid"].clone();
        std::fs::write(front.conf(), "").expect("emptied");
        assert_eq!(pid(pasteway(front.directory(), "status", &["--format", "json"])), front.pid());
        let there = other.directory().join("run");
        let args = ["--format", "json", "--runtime-dir", there.to_str().expect("a path")];
        assert_eq!(pid(pasteway(front.directory(), "status", &args)), other.pid());
    }
}

#[test]
fn files_that_say_nothing_do_not_lead_to_another_front() {
    let front = Front::start(&Layout::bare());
    let directory = tempfile::tempdir().expect("a directory");
    let emptied = directory.path().join("shop.conf");
    std::fs::write(&emptied, "").expect("written");
    // Where a front is by default.
    std::os::unix::fs::symlink(front.directory().join("run"), directory.path().join("pasteway")).expect("a link");
    let mut drain = Command::new(executable());
    drain.arg("drain").arg("--config-file").arg(&emptied).env("XDG_RUNTIME_DIR", directory.path());
    let output = drain.stdin(Stdio::null()).output().expect("the executable");
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    assert!(out(&output).contains("runs with other files"), "{}", out(&output));
    assert_eq!(front.admin("/status").json()["state"], "serving");
}

#[test]
fn without_a_front_there_is_no_status() {
    let output = pasteway(files(&Layout::bare()).path(), "status", &[]);
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
}

#[test]
fn wrong_usage_exits_with_two() {
    let output =
        Command::new(executable()).arg("--no-such-flag").stdin(Stdio::null()).output().expect("the executable");
    assert_eq!(output.status.code(), Some(2), "{}", out(&output));
}
