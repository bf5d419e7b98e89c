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
    let room = tempfile::tempdir().expect("a directory");
    let token = room.path().join("token");
    fs::write(&token, "secret").expect("written");
    let front =
        Front::start(&Layout::bare().pasteway(QUIET).pasteway(&format!("admin_token_file = {}", token.display())));
    let workers = front.workers();
    assert_eq!(pasteway(&front, "check").0, Some(0));
    let (code, said) = pasteway(&front, "plan");
    assert_eq!(code, Some(0), "nothing to do: {said}");

    // What no text shows is told too: the next reload would make a generation of it.
    front.edit_conf(|text| format!("# A comment.\n{text}"));
    let (code, said) = pasteway(&front, "plan");
    assert_eq!(code, Some(3), "{said}");
    assert!(said.starts_with("live    nothing that counts: comments, ") && said.contains("nova.conf)"), "{said}");
    front.edit_conf(|text| text.replace("# A comment.\n", ""));
    fs::write(&token, "another").expect("written");
    let (code, said) = pasteway(&front, "plan");
    assert_eq!(code, Some(3), "{said}");
    let of_token = format!("live    [pasteway] admin_token_file, the file {}: *** -> *** (", token.display());
    assert!(said.starts_with(&of_token) && said.contains("nova.conf:") && !said.contains("another"), "{said}");
    fs::write(&token, "secret").expect("written");
    assert_eq!(pasteway(&front, "plan").0, Some(0));

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
    let elsewhere = format!("{good}runtime_dir = {}/elsewhere\n", front.directory().display());
    let cannot = [
        ("front_threads", good.replace("front_threads = 2", "front_threads = 3")),
        ("runtime_dir = ", elsewhere.replacen("runtime_dir =", "#untime_dir =", 1)),
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
        assert!(
            found["message"].as_str().is_some_and(|message| message.contains(option.trim_end_matches(" = "))),
            "{found}"
        );
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

/// `class what` of each change.
#[track_caller]
fn applied(front: &Front) -> Vec<String> {
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
    let text = |change: &serde_json::Value| {
        format!("{} {}", change["class"].as_str().expect("a class"), change["what"].as_str().expect("a text"))
    };
    verdict["changes"].as_array().expect("a list").iter().map(text).collect()
}

#[test]
fn what_is_said_to_be_live_is_and_takes_no_worker() {
    let room = tempfile::tempdir().expect("a directory");
    let two = "[app:metadata]\npaste.app_factory = somewhere.else:app_factory\n";
    let layout = Layout::bare();
    let layout = layout.clone().with_paste(&format!("{}{two}", layout.paste())).apis(&["osapi_compute", "metadata"]);
    let front = Front::start(&layout.pasteway(QUIET));
    let workers = front.workers();
    front.edit_conf(|text| {
        text.replace("enabled_apis = osapi_compute,metadata", "enabled_apis = metadata,osapi_compute")
    });
    assert_eq!(applied(&front), ["live [DEFAULT] enabled_apis"]);
    front.edit_conf(|text| text.replace("[DEFAULT]\n", "[DEFAULT]\ngraceful_shutdown_timeout = 7\n"));
    assert_eq!(applied(&front), ["live [DEFAULT] graceful_shutdown_timeout"]);
    front.edit_conf(|text| format!("{text}worker_surge = 4\nworker_stop_timeout = 5\n"));
    assert_eq!(applied(&front), ["live [pasteway] worker_surge", "live [pasteway] worker_stop_timeout"]);
    assert_eq!((front.workers(), front.get("/v2/x").status), (workers.clone(), 200));
    // Another place of the Paste file is another file to the workers, and is said to be.
    let elsewhere = room.path().join("api-paste.ini");
    fs::copy(front.paste(), &elsewhere).expect("copied");
    front.edit_conf(|text| {
        let line = text.lines().find(|line| line.starts_with("api_paste_config")).expect("there").to_owned();
        text.replace(&line, &format!("api_paste_config = {}", elsewhere.display()))
    });
    let found = applied(&front);
    assert!(found.contains(&"rolling [DEFAULT] api_paste_config".to_owned()), "{found:?}");
    eventually("other workers", || (front.workers().iter().all(|pid| !workers.contains(pid))).then_some(()));
}

#[test]
fn what_the_machine_would_refuse_is_told_with_its_line_before_it_is_tried() {
    let front = Front::start(&Layout::bare().pasteway(QUIET));
    let good = fs::read_to_string(front.conf()).expect("a file");
    let with = |line: &str| good.replace("[DEFAULT]\n", &format!("[DEFAULT]\n{line}\n"));
    let token = format!("{good}admin_token_file = /nonexistent/token\n");
    let place_of_token = format!("nova.conf:{}:20: ", token.lines().count());
    for (text, place, said) in [
        (with("log_file = /nonexistent/x.log"), "nova.conf:2:12: ", "cannot open /nonexistent/x.log"),
        (with("log_date_format = %"), "nova.conf:2:19: ", "log_date_format"),
        (token, &*place_of_token, "admin_token_file /nonexistent/token: "),
    ] {
        Save::Rename.save(&front.conf(), &text).expect("saved");
        for command in ["plan", "reload"] {
            let (code, all) = pasteway(&front, command);
            assert_eq!(code, Some(78), "{command}: {all}");
            assert!(all.contains(place.trim_end_matches(": ")) && all.contains(said), "{command}: {all}");
        }
        assert_eq!((front.generation(), front.get("/v2/x").status), (1, 200));
    }
    assert!(!std::path::Path::new("/nonexistent").exists());
    // A file that is not there yet is made by a reload, and not by a plan.
    let log = front.directory().join("new.log");
    Save::Rename.save(&front.conf(), &with(&format!("log_file = {}", log.display()))).expect("saved");
    assert_eq!((pasteway(&front, "plan").0, log.exists()), (Some(3), false));
    assert_eq!((pasteway(&front, "reload").0, log.exists()), (Some(0), true));
    // A port that somebody else has: only the reload can know it, and names the line.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let moved = good.replace("osapi_compute_listen_port = 0", &format!("osapi_compute_listen_port = {port}"));
    Save::Rename.save(&front.conf(), &moved).expect("saved");
    let (code, all) = pasteway(&front, "reload");
    assert!(code == Some(78) && all.contains("nova.conf:5:29") && all.contains("cannot listen on"), "{all}");
}
