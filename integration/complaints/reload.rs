//! Complaints about the reload itself: that it kills, that nobody knows what became of it, that it does half.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::front::executable;
use crate::support::python::{PASTE, layout};
use crate::support::{Front, Layout, Save, eventually, process};

const QUIET: &str = "watch = false";

/// Adds a mount point.
pub(super) fn with(number: u32) -> impl FnOnce(String) -> String {
    move |text| text.replace("/v2: app\n", &format!("/v2: app\n/g{number}: app\n"))
}

/// Reloads that ended so.
#[track_caller]
pub(super) fn reloads(front: &Front, outcome: &str) -> f64 {
    front.metric("pasteway_config_reloads_total", &[("outcome", outcome)])
}

/// Exit status and all that was said.
#[track_caller]
fn pasteway(front: &Front, command: &str) -> (Option<i32>, String) {
    let mut all = Command::new(executable());
    let output = all.args([command, "--config-file"]).arg(front.conf()).stdin(Stdio::null()).output();
    let output = output.expect("the executable");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_bad_reload_does_not_kill_the_service() {
    let room = tempfile::tempdir().expect("a directory");
    let module = room.path().join("fragile.py");
    let code = "import service\napp_factory = service.app_factory\n";
    fs::write(&module, code).expect("written");
    let paths = format!("{}/integration/fixtures/python:{}", env!("CARGO_MANIFEST_DIR"), room.path().display());
    let paste = PASTE.replace("service:app_factory", "fragile:app_factory");
    let front = Front::start(&layout(&paste).pasteway(QUIET).env("PYTHONPATH", &paths));
    let workers = front.workers();
    let refused = |number: f64| {
        front.signal(Signal::HUP);
        eventually("the verdict", || (reloads(&front, "rejected") == number).then_some(()));
        assert_eq!(front.get("/v2/x").json()["greeting"], "hello");
        assert_eq!((front.generation(), front.workers()), (1, workers.clone()));
    };
    front.edit(Save::Rename, |text| text.replace("[app:app]", "[app:app"));
    refused(1.0);
    // Now the code, beside an edit that needs new workers.
    front.edit(Save::Rename, |text| text.replace("[app:app", "[app:app]").replace("= hello", "= good day"));
    fs::write(&module, "def app_factory(:\n").expect("written");
    refused(2.0);
    fs::write(&module, "raise SystemExit('no')\n").expect("written");
    refused(3.0);
    fs::remove_file(front.paste()).expect("removed");
    refused(4.0);
    // And the next good one is taken.
    Save::Rename.save(&front.paste(), &paste.replace("= hello", "= good day")).expect("saved");
    fs::write(&module, code).expect("written");
    front.signal(Signal::HUP);
    eventually("the good one", || (front.get("/v2/x").json()["greeting"] == "good day").then_some(()));
    assert!(process::lives(front.pid()));
}

#[test]
fn whether_an_edit_was_taken_is_told() {
    let front = Front::start(&Layout::bare());
    let metric = |name: &str| front.metric(&format!("pasteway_config_{name}"), &[]);
    let of = |name: &str| front.admin("/status").json()[name].clone();
    front.edit(Save::Rename, with(1));
    eventually("it is taken", || (reloads(&front, "applied") == 1.0).then_some(()));
    assert_eq!((metric("file_differs"), metric("last_reload_successful"), metric("generation")), (0.0, 1.0, 2.0));
    assert_eq!(reloads(&front, "rejected"), 0.0);
    assert_eq!(of("last_reload")["outcome"], "applied");
    let taken_at = metric("last_reload_success_timestamp_seconds");

    front.edit(Save::Rename, |text| text.replace("/v2: app\n", "/v2: ap\n"));
    eventually("it is refused", || (reloads(&front, "rejected") == 1.0).then_some(()));
    assert_eq!((metric("file_differs"), metric("last_reload_successful"), metric("generation")), (1.0, 0.0, 2.0));
    assert_eq!(metric("last_reload_success_timestamp_seconds"), taken_at);
    let last = of("last_reload");
    assert_eq!((&last["outcome"], &last["source"]), (&"rejected".into(), &"watch".into()), "{last}");
    assert_eq!(last["diagnostics"][0]["line"], 3, "{last}");
    let (code, said) = pasteway(&front, "status");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the files on disk differ from what runs") && said.contains("api-paste.ini:3:"), "{said}");
    let (code, said) = pasteway(&front, "reload");
    assert_eq!(code, Some(78), "who asks gets the verdict: {said}");

    front.edit(Save::Rename, |text| text.replace("/v2: ap\n", "/v2: app\n"));
    eventually("the files are what runs", || (metric("file_differs") == 0.0).then_some(()));
    assert_eq!(of("config_file_differs"), false);
    assert_eq!(pasteway(&front, "reload").0, Some(0));
}

#[test]
fn there_are_a_check_a_dry_run_and_a_difference() {
    let front = Front::start(&Layout::bare().pasteway(QUIET));
    let workers = front.workers();
    assert_eq!(pasteway(&front, "check").0, Some(0));
    let (code, said) = pasteway(&front, "plan");
    assert_eq!(code, Some(0), "nothing to do: {said}");

    front.edit(Save::Rename, with(1));
    front.edit_conf(|text| text.replace("worker_threads = 16", "worker_threads = 8"));
    let (code, said) = pasteway(&front, "plan");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("live    [composite:osapi_compute] /g1: app (new)"), "{said}");
    assert!(said.contains("rolling [pasteway] worker_threads: 16 -> 8 (") && said.contains("nova.conf:"), "{said}");
    let (status, verdict) = front.reload("?dry_run=true");
    assert_eq!((status, verdict["changes"].as_array().map(Vec::len)), (200, Some(2)), "{verdict}");
    assert_eq!((front.generation(), front.get("/g1/x").status, front.workers()), (1, 404, workers));

    front.edit(Save::Rename, |text| text.replace("/g1: app", "/g1: ap"));
    for command in ["check", "plan"] {
        let (code, said) = pasteway(&front, command);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("api-paste.ini:4:") && said.contains("app `ap` is not defined"), "{said}");
    }
}

/// After how many seconds of silence the kernel asks whether the client of an idle connection is still there.
#[track_caller]
fn keepidle(front: SocketAddr) -> u64 {
    let stream = TcpStream::connect(front).expect("a connection");
    let client = stream.local_addr().expect("an address");
    let hex = |address: SocketAddr| format!("0100007F:{:04X}", address.port());
    let ends = format!("{} {}", hex(front), hex(client));
    eventually("the front's end of it", || {
        let table = fs::read_to_string("/proc/net/tcp").expect("a table");
        let line = table.lines().find(|line| line.contains(&ends))?;
        // The sixth field is the timer: 02 is keepalive, then the time in 1/100 s.
        let timer = line.split_ascii_whitespace().nth(5)?.strip_prefix("02:")?;
        u64::from_str_radix(timer, 16).ok().map(|ticks| ticks.div_ceil(100))
    })
}

#[test]
fn no_field_is_silently_left_out_or_half_applied() {
    let front = Front::start(&Layout::bare().default("tcp_keepidle = 600").pasteway(QUIET));
    let address = front.address("osapi_compute");
    assert!(keepidle(address) > 300);
    front.edit(Save::Rename, with(1));
    front.edit_conf(|text| text.replace("tcp_keepidle = 600", "tcp_keepidle = 100"));
    let good = fs::read_to_string(front.conf()).expect("a file");
    // With these nothing of the rest is taken, and their line is told.
    let cannot = [
        ("front_threads", good.replace("front_threads = 2", "front_threads = 3")),
        ("no_such_option", format!("{good}no_such_option = 1\n")),
        ("queue_size", format!("{good}queue_size = many\n")),
    ];
    for (option, text) in cannot {
        Save::Rename.save(&front.conf(), &text).expect("saved");
        let (status, verdict) = front.reload("");
        assert_eq!(status, 422, "{verdict}");
        let found = &verdict["diagnostics"][0];
        let line = text.lines().position(|line| line.starts_with(option)).map(|at| at + 1);
        assert_eq!(found["line"].as_u64(), line.map(|line| line as u64), "{option}: {found}");
        assert!(found["message"].as_str().is_some_and(|message| message.contains(option)), "{found}");
        assert_eq!((front.generation(), front.get("/g1/x").status), (1, 404));
        assert!(keepidle(address) > 300);
    }
    // Without them all of it is, also what the listener was made with, which stays.
    Save::Rename.save(&front.conf(), &good).expect("saved");
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["changes"].as_array().map(Vec::len)), (200, Some(2)), "{verdict}");
    assert_eq!(front.get("/g1/x").status, 200);
    assert!(keepidle(address) <= 100);
}
