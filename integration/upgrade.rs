//! The upgrade: another process of the program takes over, and no request is lost; or it cannot, and nothing changes.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpgid};
use serde_json::Value;

use crate::support::front::executable;
use crate::support::python;
use crate::support::traffic::{Style, Traffic};
use crate::support::{Answer, App, Client, Front, Layout, Save, eventually, process};

const KEPT: Style = Style { method: "GET", fresh: false };
const STYLES: [Style; 3] = [KEPT, Style { method: "POST", ..KEPT }, Style { fresh: true, ..KEPT }];

fn layout() -> Layout {
    Layout::bare()
        .default("osapi_compute_workers = 2")
        .pasteway("access_log = false")
        .pasteway("generation_header = true")
}

/// `pasteway upgrade`
#[track_caller]
fn upgrade(front: &Front) -> Output {
    client(front, "upgrade").output().expect("the executable")
}

fn client(front: &Front, command: &str) -> Command {
    let mut client = Command::new(executable());
    client.arg(command).arg("--config-file").arg(front.conf()).stdin(Stdio::null());
    client
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A request that takes this long on a worker of the front that serves now.
#[track_caller]
fn slow(front: &Front, method: &'static str, delay: Duration) -> std::thread::JoinHandle<std::io::Result<Answer>> {
    let mut client = front.client();
    let path = format!("/v2/slow?pasteway.delay={}", delay.as_millis());
    let thread = std::thread::spawn(move || client.request(method, &path, &[], b""));
    eventually("the request is on a worker", || {
        (front.metric("pasteway_worker_in_flight", &[("api", "osapi_compute")]) >= 1.0).then_some(())
    });
    thread
}

fn status(front: &Front) -> Value {
    front.admin("/status").json()
}

fn pid_of(value: &Value) -> u32 {
    value.as_u64().and_then(|pid| pid.try_into().ok()).expect("a process id")
}

/// The fronts before the one that serves: their processes and requests.
fn predecessors(front: &Front) -> Vec<(u32, u64)> {
    let seen = status(front);
    let list = seen["predecessors"].as_array().expect("a list");
    list.iter().map(|it| (pid_of(&it["pid"]), it["in_flight"].as_u64().expect("a number"))).collect()
}

/// The process that serves once the old one has gone.
#[track_caller]
fn successor(front: &mut Front) -> u32 {
    assert_eq!(front.exit().code(), Some(0));
    let pid = pid_of(&status(front)["pid"]);
    assert_ne!(pid, front.pid());
    assert_eq!(front.serving_pid(), Some(pid));
    eventually("the old front is seen off", || predecessors(front).is_empty().then_some(()));
    pid
}

/// What each front has of its own in the runtime directory.
fn parts(front: &Front) -> Vec<String> {
    let entries = fs::read_dir(front.directory().join("run")).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    names.filter(|name| name.parse::<u32>().is_ok()).collect()
}

#[test]
fn an_upgrade_under_load_loses_no_request() {
    let mut front = Front::start_by_link(&layout());
    let (old, workers) = (front.pid(), front.workers());
    assert_eq!(workers.len(), 2);
    let mut idle = front.client();
    assert_eq!(idle.get("/v2/x", &[]).expect("an answer").header("x-pasteway-generation"), Some("1"));
    let traffic = Traffic::start(front.address("osapi_compute"), &STYLES);
    let request = slow(&front, "POST", Duration::from_secs(8));
    let mut download = front.client();
    let head = "GET /v2/x?pasteway.size=50000000 HTTP/1.1\r\nHost: a\r\n\r\n";
    download.send(head).expect("sent");

    let key = || {
        let instance = fs::read(front.directory().join("run/front.json")).expect("the instance file");
        serde_json::from_slice::<Value>(&instance).expect("JSON")["key"].clone()
    };
    let before = key();
    let output = upgrade(&front);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).starts_with("upgraded in "), "{}", said(&output));
    assert!(before.as_str().is_some_and(|key| key.len() == 32) && key() == before, "who has it may ask the new one");
    // A connection that was kept is served once more, by the old one, and says that it ends.
    let answer = idle.get("/v2/x", &[]).expect("an answer");
    assert_eq!((answer.status, answer.header("x-pasteway-generation"), answer.closes()), (200, Some("1"), true));
    // The old one has requests still; the new one serves, and tells of the other.
    assert!(process::lives(old) && !request.is_finished());
    let before = traffic.served();
    eventually("the new one serves", || (traffic.served() > before + 500).then_some(()));
    let seen = predecessors(&front);
    assert!(seen.len() == 1 && seen[0].0 == old && seen[0].1 >= 2, "{seen:?}");
    assert_eq!(status(&front)["state"], "serving");

    assert_eq!(request.join().expect("no panic").expect("an answer").status, 200);
    assert_eq!(download.answer("GET").expect("an answer").body.len(), 50_000_000);
    drop(download);
    let new = successor(&mut front);
    let report = traffic.stop();
    assert_eq!(report.failed, Vec::<String>::new());
    assert!(workers.iter().all(|pid| !process::lives(*pid)), "its workers are gone too");
    assert_eq!(parts(&front), [new.to_string()]);
    assert_eq!(process::children(new).len(), 2);
    let last = &status(&front)["last_upgrade"];
    assert_eq!((&last["outcome"], pid_of(&last["previous_pid"])), (&Value::from("upgraded"), old));
    assert_eq!(front.metric("pasteway_upgrades_total", &[("outcome", "upgraded")]), 1.0);
    assert_eq!(front.get("/v2/x").header("x-pasteway-generation"), Some("2"), "numbers go on");
    println!("{} requests, {} connections closed with an announcement", report.served, report.closed);
}

#[test]
fn an_upgraded_front_reloads_is_upgraded_again_and_stops() {
    let mut front = Front::start_by_link(&layout());
    front.signal(Signal::USR2);
    let second = successor(&mut front);
    let group = |pid: u32| getpgid(Pid::from_raw(pid.try_into().expect("a process id"))).expect("it lives");
    assert_eq!(group(second), group(std::process::id()), "it hears what the first would have: Ctrl-C");
    front.edit(Save::Rename, |text| text.replace("/v2: app\n", "/v2: app\n/v3: app\n"));
    eventually("/v3 is mounted", || (front.get("/v3/x").status == 200).then_some(()));
    let traffic = Traffic::start(front.address("osapi_compute"), &STYLES);
    process::signal(second, Signal::USR2);
    eventually("the second is gone", || (!process::lives(second)).then_some(()));
    let third = pid_of(&status(&front)["pid"]);
    assert_eq!(front.get("/v3/x").header("x-pasteway-generation"), Some("4"));
    assert_eq!(traffic.stop().failed, Vec::<String>::new());
    process::signal(third, Signal::TERM);
    eventually("the third is gone", || (!process::lives(third)).then_some(()));
    assert!(Client::connect(front.address("osapi_compute")).is_err());
    let left: Vec<_> = fs::read_dir(front.directory().join("run")).expect("a directory").collect();
    assert_eq!(left.len(), 1, "only the lock: {left:?}");
    assert!(!front.directory().join("admin.sock").exists());
}

#[test]
fn python_workers_are_replaced_by_those_of_the_new_front() {
    let mut front = Front::start_by_link(&python::layout(python::PASTE));
    let workers = front.workers();
    let traffic = Traffic::start(front.address("osapi_compute"), &STYLES);
    let output = upgrade(&front);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let served = traffic.served();
    eventually("the new ones serve", || (traffic.served() > served + 100).then_some(()));
    assert_eq!(traffic.stop().failed, Vec::<String>::new());
    let new = successor(&mut front);
    assert!(workers.iter().all(|pid| !process::lives(*pid)));
    assert_eq!(process::children(new).len(), 2);
}

#[test]
fn a_number_that_a_canary_had_is_not_given_again() {
    let mut front = Front::start_by_link(&layout().pasteway("watch = false"));
    let good = fs::read_to_string(front.paste()).expect("read");
    front.edit(Save::Rename, |text| text.replace("/v2: app\n", "/v2: app\n/v3: app\n"));
    assert_eq!(front.reload("?canary=100").0, 200);
    let (code, report) = front.order("/upgrade");
    assert_eq!(code, 409, "{report}");
    assert!(report["reason"].as_str().expect("a reason").contains("on trial"), "{report}");
    fs::write(front.paste(), good).expect("written");
    assert_eq!(front.reload("").1["outcome"], "unchanged");
    assert_eq!(front.order("/upgrade").0, 200);
    successor(&mut front);
    assert_eq!(front.get("/v2/x").header("x-pasteway-generation"), Some("3"));
}

#[test]
fn a_binary_that_cannot_take_over_leaves_the_old_one_serving() {
    let front = Front::start_by_link(&layout().pasteway("upgrade_timeout = 2"));
    let workers = front.workers();
    let traffic = Traffic::start(front.address("osapi_compute"), &STYLES);
    let broken: [(&str, u32, &[&str]); 7] = [
        ("#!/bin/sh\nexit 1\n", 0o755, &["ended before it was ready", "exit status: 1"]),
        ("no program at all\n", 0o755, &["cannot be run", "Exec format error"]),
        ("#!/bin/sh\nexit 1\n", 0o644, &["cannot be run", "Permission denied"]),
        ("#!/bin/sh\nexec sleep 600\n", 0o755, &["not ready within 2 s (upgrade_timeout)"]),
        ("#!/bin/sh\nsleep 600\n", 0o755, &["not ready within 2 s (upgrade_timeout)"]),
        ("#!/bin/sh\nexec 3<&0\nsleep 600 <&3 &\n", 0o755, &["not ready within 2 s (upgrade_timeout)"]),
        ("#!/bin/sh\nexec sleep 600 <&-\n", 0o755, &["closed its standard input"]),
    ];
    let processes = front.processes();
    for (n, (text, mode, why)) in broken.iter().enumerate() {
        front.replace_program(text, *mode);
        let output = upgrade(&front);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let last = status(&front)["last_upgrade"].clone();
        assert_eq!((&last["outcome"], pid_of(&last["pid"])), (&Value::from("failed"), front.pid()), "{last}");
        for words in *why {
            assert!(said(&output).contains(words), "{words}: {}", said(&output));
            assert!(last["reason"].as_str().expect("a reason").contains(words), "{words}: {last}");
        }
        assert_eq!(front.metric("pasteway_upgrades_total", &[("outcome", "failed")]), (n + 1) as f64);
        eventually("its workers, and nobody else", || (front.processes() == processes).then_some(()));
        assert_eq!(front.workers(), workers);
        assert_eq!(parts(&front), [front.pid().to_string()]);
        assert_eq!((status(&front)["state"].clone(), front.admin("/ready").status), ("serving".into(), 200));
    }
    fs::remove_file(front.program()).expect("removed");
    assert_eq!(upgrade(&front).status.code(), Some(1));
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::new(), 0));
    front.logged("upgrade failed, this front serves on");
    front.restore_program();
    assert_eq!(upgrade(&front).status.code(), Some(0));
}

#[test]
fn a_new_front_that_is_killed_while_it_starts_changes_nothing() {
    let front = Front::start_by_link(&layout());
    // A pasteway that waits before it runs, so that there is a time in which to kill it.
    let script = format!("#!/bin/sh\nsleep 600 & wait\nexec {} \"$@\"\n", executable().display());
    front.replace_program(&script, 0o755);
    let workers = front.workers();
    front.signal(Signal::USR2);
    let new = eventually("the new one starts", || {
        front.workers().into_iter().find(|pid| !workers.contains(pid) && process::children(*pid).len() == 1)
    });
    assert_eq!(status(&front)["state"], "upgrading");
    let sleeper = process::children(new);
    process::signal(new, Signal::KILL);
    sleeper.iter().for_each(|pid| process::signal(*pid, Signal::KILL));
    let last = eventually("a verdict", || Some(status(&front)["last_upgrade"].clone()).filter(|last| !last.is_null()));
    assert!(last["reason"].as_str().expect("a reason").contains("signal: 9"), "{last}");
    assert_eq!(front.get("/v2/x").status, 200);
    front.restore_program();
    assert_eq!(upgrade(&front).status.code(), Some(0));
}

#[test]
fn an_old_front_that_is_killed_after_the_upgrade_is_missed_by_its_own_requests_alone() {
    let mut front = Front::start_by_link(&layout());
    let request = slow(&front, "POST", Duration::from_secs(20));
    assert_eq!(upgrade(&front).status.code(), Some(0));
    let traffic = Traffic::start(front.address("osapi_compute"), &STYLES);
    front.signal(Signal::KILL);
    assert!(request.join().expect("no panic").is_err());
    assert_eq!(front.exit().code(), None);
    let new = pid_of(&status(&front)["pid"]);
    eventually("what it left is removed", || (parts(&front) == [new.to_string()]).then_some(()));
    assert_eq!(traffic.stop().failed, Vec::<String>::new());
}

#[test]
fn an_old_front_that_is_killed_while_the_new_one_starts_is_replaced_all_the_same() {
    let room = tempfile::tempdir().expect("a directory");
    let hold = room.path().join("hold");
    let mut front = Front::start_by_link(&python::held(&hold).pasteway("generation_header = true"));
    fs::write(&hold, "").expect("written");
    front.signal(Signal::USR2);
    eventually("the new one has the sockets", || (parts(&front).len() == 2).then_some(()));
    front.signal(Signal::KILL);
    assert_eq!(front.exit().code(), None);
    // Nobody accepts now; the socket is open all the same, and who comes now waits.
    let mut early = front.client();
    fs::remove_file(&hold).expect("removed");
    assert_eq!(early.get("/v2/x", &[]).expect("an answer").header("x-pasteway-generation"), Some("2"));
    let new = eventually("it serves", || front.serving_pid().filter(|pid| *pid != front.pid()));
    eventually("what the old one left is removed", || (parts(&front) == [new.to_string()]).then_some(()));
    eventually("its workers, and nobody else", || (front.processes().len() == 3).then_some(()));
    assert_eq!(front.admin("/ready").status, 200);
}

#[test]
fn external_workers_have_answered_before_the_new_front_takes_over() {
    let sockets = tempfile::tempdir().expect("a directory");
    let path = sockets.path().join("worker.sock");
    let app = App::echo(&path);
    let layout = layout().pasteway("worker_kind = external").pasteway(&format!("worker_sockets = {}", path.display()));
    let layout = layout.pasteway("worker_ready_request = GET /probe").pasteway("worker_start_timeout = 1");
    let mut front = Front::start_by_link(&layout);
    drop(app);
    let output = upgrade(&front);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("osapi_compute/0 did not become ready"), "{}", said(&output));
    let _app = App::echo(&path);
    let output = upgrade(&front);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    successor(&mut front);
}

#[test]
fn an_upgrade_is_refused_while_files_and_front_differ_or_another_is_under_way() {
    let mut front = Front::start_by_link(&layout().pasteway("watch = false"));
    let good = fs::read_to_string(front.paste()).expect("read");
    front.edit(Save::Rename, |text| text.replace("/v2: app\n", "/v2: app\n/v3: app\n"));
    let (code, report) = front.order("/upgrade");
    assert_eq!((code, &report["outcome"]), (409, &Value::from("refused")));
    assert!(report["reason"].as_str().expect("a reason").contains("`pasteway reload` first"), "{report}");
    front.edit(Save::Rename, |text| text.replace("/v3: app\n", "/v3: nobody\n"));
    let (code, report) = front.order("/upgrade");
    assert_eq!(code, 409);
    assert!(report["reason"].as_str().expect("a reason").contains("api-paste.ini:4"), "{report}");
    fs::write(front.paste(), good).expect("written");

    front.replace_program("#!/bin/sh\nexec sleep 600\n", 0o755);
    front.signal(Signal::USR2);
    eventually("it is under way", || (status(&front)["state"] == "upgrading").then_some(()));
    let (code, report) = front.order("/upgrade");
    assert_eq!((code, report["reason"].as_str()), (409, Some("another upgrade is under way")));
    assert_eq!(front.metric("pasteway_upgrades_total", &[("outcome", "refused")]), 3.0);
    assert_eq!(status(&front)["last_upgrade"], Value::Null, "none was tried to its end");
    front.signal(Signal::INT);
    front.exit();
}

#[test]
fn a_reload_waits_for_an_upgrade_and_a_stop_ends_both() {
    let mut front = Front::start_by_link(&layout().pasteway("watch = false").pasteway("upgrade_timeout = 2"));
    front.replace_program("#!/bin/sh\nexec sleep 600\n", 0o755);
    let workers = front.workers();
    front.signal(Signal::USR2);
    eventually("it is under way", || (status(&front)["state"] == "upgrading").then_some(()));
    front.edit(Save::Rename, |text| text.replace("/v2: app\n", "/v2: app\n/v3: app\n"));
    let (code, verdict) = front.reload("");
    assert_eq!((code, &verdict["outcome"]), (200, &Value::from("applied")));
    assert_eq!(status(&front)["last_upgrade"]["outcome"], "failed", "the upgrade had its time first");

    front.signal(Signal::USR2);
    let new = eventually("the new one", || front.workers().into_iter().find(|pid| !workers.contains(pid)));
    let began = Instant::now();
    front.signal(Signal::TERM);
    assert_eq!(front.exit().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(!process::lives(new));
}

#[test]
fn a_stop_at_once_takes_the_new_front_along() {
    let mut front = Front::start_by_link(&layout());
    front.replace_program("#!/bin/sh\nexec sleep 600\n", 0o755);
    let workers = front.workers();
    front.signal(Signal::USR2);
    let new = eventually("the new one", || front.workers().into_iter().find(|pid| !workers.contains(pid)));
    front.signal(Signal::INT);
    front.exit();
    eventually("the new one is gone", || (!process::lives(new)).then_some(()));
}

#[test]
fn a_stop_waits_for_the_front_before_too() {
    let mut front = Front::start_by_link(&layout());
    let request = slow(&front, "POST", Duration::from_secs(3));
    assert_eq!(upgrade(&front).status.code(), Some(0));
    let new = pid_of(&status(&front)["pid"]);
    process::signal(new, Signal::TERM);
    eventually("it stops", || Client::connect(front.address("osapi_compute")).is_err().then_some(()));
    assert!(process::lives(new) && !request.is_finished());
    assert_eq!(request.join().expect("no panic").expect("an answer").status, 200);
    assert_eq!(front.exit().code(), Some(0));
    eventually("both are gone", || (!process::lives(new)).then_some(()));
}

#[test]
fn of_fronts_that_follow_each_other_each_finishes_what_it_has_begun_and_the_last_waits_for_all() {
    let mut front = Front::start_by_link(&layout());
    let (first, begun_on_first) = (front.pid(), slow(&front, "POST", Duration::from_secs(9)));
    assert_eq!(upgrade(&front).status.code(), Some(0));
    assert_eq!(predecessors(&front), [(first, 1)], "known at once");
    let second = pid_of(&status(&front)["pid"]);
    let begun_on_second = slow(&front, "POST", Duration::from_secs(6));
    assert_eq!(upgrade(&front).status.code(), Some(0));
    assert_eq!(predecessors(&front), [(second, 1), (first, 1)]);
    let third = pid_of(&status(&front)["pid"]);
    let shown = said(&client(&front, "status").output().expect("the executable"));
    for pid in [first, second] {
        assert!(shown.contains(&format!("pid {pid}, before this one, still has 1 requests")), "{shown}");
    }
    process::signal(third, Signal::TERM);
    eventually("it stops", || Client::connect(front.address("osapi_compute")).is_err().then_some(()));
    assert_eq!(begun_on_second.join().expect("no panic").expect("an answer").status, 200);
    eventually("the second is gone", || (!process::lives(second)).then_some(()));
    assert!(process::lives(first) && process::lives(third) && !begun_on_first.is_finished());
    assert_eq!(begun_on_first.join().expect("no panic").expect("an answer").status, 200);
    assert_eq!(front.exit().code(), Some(0));
    eventually("all are gone", || front.processes().is_empty().then_some(()));
    let left: Vec<_> = fs::read_dir(front.directory().join("run")).expect("a directory").collect();
    assert_eq!(left.len(), 1, "only the lock: {left:?}");
    front.start_again();
}

#[test]
fn a_front_is_known_to_the_one_after_next_whatever_becomes_of_the_one_between() {
    let mut front = Front::start_by_link(&layout());
    let (first, request) = (front.pid(), slow(&front, "POST", Duration::from_secs(5)));
    assert_eq!(upgrade(&front).status.code(), Some(0));
    let second = pid_of(&status(&front)["pid"]);
    let lost = slow(&front, "POST", Duration::from_secs(60));
    assert_eq!(upgrade(&front).status.code(), Some(0));
    process::signal(second, Signal::KILL);
    assert!(lost.join().expect("no panic").is_err());
    eventually("the second is missed", || (predecessors(&front) == [(first, 1)]).then_some(()));
    assert_eq!(request.join().expect("no panic").expect("an answer").status, 200);
    let third = successor(&mut front);
    assert_eq!(parts(&front), [third.to_string()]);
    eventually("its workers, and nobody else", || (front.processes().len() == 3).then_some(()));
}

#[test]
fn a_program_that_hangs_holds_neither_the_ports_nor_the_lock() {
    let mut front = Front::start_by_link(&layout().pasteway("upgrade_timeout = 1"));
    // One of them is where no signal to the group reaches it.
    let hangs = "#!/bin/sh\nexec 3<&0\nsetsid sleep 600 <&3 &\nsleep 600\n";
    let sleepers = |front: &Front| {
        let titles = front.processes().into_iter().map(process::title);
        titles.filter(|title| title == "sleep 600").count()
    };
    front.replace_program(hangs, 0o755);
    assert_eq!(upgrade(&front).status.code(), Some(1));
    eventually("the group is gone", || (sleepers(&front) == 1).then_some(()));
    front.restore_program();
    front.signal(Signal::TERM);
    assert_eq!(front.exit().code(), Some(0));
    assert!(Client::connect(front.address("osapi_compute")).is_err(), "nobody has the port");
    front.start_again();
    front.replace_program(hangs, 0o755);
    front.signal(Signal::USR2);
    eventually("it hangs", || (sleepers(&front) == 3).then_some(()));
    front.restore_program();
    front.signal(Signal::KILL);
    assert_eq!(front.exit().code(), None);
    assert!(Client::connect(front.address("osapi_compute")).is_err(), "nobody has the port");
    front.start_again();
    assert_eq!(front.get("/v2/x").status, 200);
}

#[test]
fn workers_of_a_new_front_that_is_killed_go_with_it_even_if_they_hear_no_signal() {
    let room = tempfile::tempdir().expect("a directory");
    let hold = room.path().join("hold");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/fixtures/python/");
    let command = format!(
        "worker_command = sh -c 'test -e {hold} && exec python3 {program}stubborn.py {{socket}} {hold}; \
         exec python3 {program}ledger.py {{socket}} /dev/null'",
        hold = hold.display()
    );
    let commands = python::held(&hold).pasteway("worker_kind = command").pasteway(&command);
    for layout in [python::held(&hold), commands] {
        let front = Front::start_by_link(&layout);
        let processes = front.processes();
        fs::write(&hold, "").expect("written");
        front.signal(Signal::USR2);
        let (new, workers) = eventually("the new one has two workers that hear nothing", || {
            let new = front.workers().into_iter().find(|pid| !processes.contains(pid))?;
            let workers = process::children(new);
            (workers.len() == 2 && workers.iter().all(|pid| ignores_sigterm(*pid))).then_some((new, workers))
        });
        process::signal(new, Signal::KILL);
        eventually("they are gone", || workers.iter().all(|pid| !process::lives(*pid)).then_some(()));
        eventually("nobody else is", || (front.processes() == processes).then_some(()));
        fs::remove_file(&hold).expect("removed");
        assert_eq!(upgrade(&front).status.code(), Some(0));
    }
}

/// By proc_pid_status(5).
fn ignores_sigterm(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let bit = 1 << (Signal::TERM.as_raw() - 1);
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & bit != 0)
}

#[test]
fn who_asks_for_a_reload_during_an_upgrade_gets_the_verdict_of_the_new_front() {
    let mut front = Front::start_by_link(&layout().pasteway("watch = false"));
    let script = format!("#!/bin/sh\nsleep 2\nexec {} \"$@\"\n", executable().display());
    front.replace_program(&script, 0o755);
    front.signal(Signal::USR2);
    eventually("it is under way", || (status(&front)["state"] == "upgrading").then_some(()));
    front.edit(Save::Rename, |text| text.replace("/v2: app\n", "/v2: app\n/v3: app\n"));
    let mut command = client(&front, "reload");
    let reload = std::thread::spawn(move || command.output().expect("the executable"));
    front.signal(Signal::HUP);
    let mut curl = front.admin_client();
    curl.send("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").expect("sent");
    let answer = curl.answer("POST").expect("an answer");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    let output = reload.join().expect("no panic");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let passed_on = |line: &String| line.contains("nothing to reload") && line.contains("(asked by signal, -)");
    eventually("a signal is passed on", || front.log().iter().any(passed_on).then_some(()));
    successor(&mut front);
    assert_eq!(front.get("/v3/x").status, 200);
    assert!(!front.log().iter().any(|line| line.contains("reload rejected")), "{:?}", front.log());
}
