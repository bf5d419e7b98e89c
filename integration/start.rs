//! The start: ports, processes, the lines of the log, and the program's old name.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use regex::Regex;
use rustix::process::Signal;

use crate::support::{Client, Front, Layout, eventually, front::executable, process};

#[test]
fn three_apis_listen_on_three_ports_and_answer() {
    let front = Front::start(&Layout::havana());
    let ports: std::collections::HashSet<u16> =
        ["ec2", "osapi_compute", "metadata"].iter().map(|api| front.address(api).port()).collect();
    assert_eq!(ports.len(), 3);
    assert!(!ports.contains(&0));
    for (api, path) in
        [("ec2", "/services/Cloud?AWSAccessKeyId=u1:t1"), ("osapi_compute", "/v2/t1/servers"), ("metadata", "/latest")]
    {
        let mut client = Client::connect(front.address(api)).expect("a connection");
        let answer = client.get(path, &[("X-Auth-Token", "u1:t1")]).expect("an answer");
        assert_eq!(answer.status, 200, "{api}: {}", answer.text());
        assert_eq!(answer.json()["api"], api);
    }
}

#[test]
fn each_api_listens_starts_its_workers_and_tells_their_ids_before_the_next_one_begins() {
    let front = Front::start(&Layout::havana().default("osapi_compute_workers = 2"));
    let workers = front.workers();
    let word =
        Regex::new(r" \[-\] (?:(\w+) listening on .*|(Starting \d+ workers)|(Started child) \d+)$").expect("a regex");
    let own = format!(" {} INFO ", front.pid());
    let said: Vec<String> = front
        .log()
        .iter()
        .filter(|line| line.contains(&own))
        .filter_map(|line| word.captures(line))
        .filter_map(|found| found.iter().skip(1).flatten().next().map(|m| m.as_str().to_owned()))
        .collect();
    let wanted = [
        ["ec2", "Starting 1 workers", "Started child"].as_slice(),
        &["osapi_compute", "Starting 2 workers", "Started child", "Started child"],
        &["metadata", "Starting 1 workers", "Started child"],
    ];
    assert_eq!(said, wanted.concat());
    for pid in &workers {
        front.logged(&format!("Started child {pid}"));
    }
}

#[test]
fn log_lines_have_the_format_of_the_original() {
    let front = Front::start(&Layout::havana());
    let line = front.logged("ec2 listening on ");
    let format = format!(
        r"^\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{{3}} {} INFO nova\.wsgi \[-\] ec2 listening on 127\.0\.0\.1:\d+$",
        front.pid()
    );
    assert!(Regex::new(&format).expect("a regex").is_match(&line), "{line}");
    let line = front.logged("Starting 1 workers");
    assert!(line.contains(" INFO nova.openstack.common.service [-] Starting 1 workers"), "{line}");
}

#[test]
fn a_request_leaves_a_line_in_wsgi_log_format() {
    let front = Front::start(&Layout::havana());
    assert_eq!(front.get("/v2/t1/servers?name=a").status, 200);
    let line = front.logged("\"GET /v2/t1/servers?name=a HTTP/1.1\"");
    let format = r#"INFO nova\.osapi_compute\.wsgi\.server \[.*\] (\(\d+\) )?127\.0\.0\.1 "GET /v2/t1/servers\?name=a HTTP/1\.1" status: 200 len: \d+ time: \d+\.\d{7}$"#;
    assert!(Regex::new(format).expect("a regex").is_match(&line), "{line}");
}

#[test]
fn there_is_one_parent_and_each_worker_says_in_its_title_what_it_serves() {
    let front = Front::start(&Layout::havana());
    let workers = front.workers();
    assert_eq!(workers.len(), 3, "{:?}", workers.iter().map(|pid| process::title(*pid)).collect::<Vec<_>>());
    for api in ["ec2", "osapi_compute", "metadata"] {
        let title = format!("pasteway: {api} worker 0");
        let titled = workers.iter().filter(|pid| process::title(**pid) == title).count();
        assert_eq!(titled, 1, "{title}");
    }
    for pid in workers {
        assert_eq!(process::children(pid), Vec::<u32>::new());
    }
}

#[test]
fn under_its_old_name_it_serves_and_writes_its_log_to_logfile() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_owned();
    let layout = Layout::havana();
    std::fs::write(path.join("nova.conf"), layout.conf(&path)).expect("nova.conf");
    std::fs::write(path.join("api-paste.ini"), layout.paste()).expect("api-paste.ini");
    symlink(executable(), path.join("nova-api")).expect("a link");
    let log = path.join("nova-api.log");
    let mut command = Command::new(path.join("nova-api"));
    command.arg("--config-file").arg(path.join("nova.conf")).arg("--logfile").arg(&log);
    let front = Front::spawn(directory, command);
    let text = eventually("the last API in the log file", || {
        std::fs::read_to_string(&log).ok().filter(|text| text.contains("metadata listening on "))
    });
    assert!(text.contains("ec2 listening on 127.0.0.1:"));
    eventually("ready", || (front.admin("/ready").status == 200).then_some(()));
}

#[test]
fn the_log_of_a_paste_file_by_itself_names_nothing_of_nova_s() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_owned();
    std::fs::write(path.join("a.ini"), "[app:main]\npaste.app_factory = a.b:c\n").expect("a.ini");
    let conf = format!(
        "[DEFAULT]\nuse_stderr = true\n[pasteway]\nruntime_dir = {0}/run\nadmin_listen = unix:{0}/admin.sock\n",
        path.display()
    );
    std::fs::write(path.join("nova.conf"), conf).expect("nova.conf");
    let mut command = Command::new(executable());
    command.arg("serve").arg("--config-file").arg(path.join("nova.conf")).arg("--paste").arg(path.join("a.ini"));
    command.args(["--listen", "127.0.0.1:0", "--worker-kind", "builtin"]);
    let mut front = Front::spawn(directory, command);
    front.logged("INFO pasteway::launcher [-] main listening on 127.0.0.1:");
    front.logged("wsgi starting up");
    let address = front.listening("main");
    assert_eq!(Client::connect(address).and_then(|mut client| client.get("/", &[])).expect("an answer").status, 200);
    front.logged("INFO pasteway::access [-] 127.0.0.1 \"GET / HTTP/1.1\" status: 200");
    front.signal(Signal::TERM);
    assert_eq!(front.exit().code(), Some(0));
    let log = front.log().join("\n");
    assert!(!["nova", "oslo", "release"].iter().any(|word| log.contains(word)), "{log}");
}

#[test]
fn under_its_old_name_a_port_in_use_is_critical_and_the_exit_status_is_one() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let layout = Layout::havana().default(&format!("ec2_listen_port = {port}"));
    let (status, log) = as_nova_api(&layout);
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("CRITICAL nova [-] [Errno 98] Address already in use"), "{log}");
}

#[test]
fn under_its_old_name_a_missing_paste_file_is_critical_and_the_exit_status_is_one() {
    let layout = Layout::havana().default("api_paste_config = /nonexistent.ini");
    let (status, log) = as_nova_api(&layout);
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("CRITICAL nova [-] Could not find config at /nonexistent.ini"), "{log}");
}

#[test]
fn serve_refuses_a_broken_file_with_its_place_and_status_78() {
    let layout = Layout::compute("[composite:osapi_compute]\nuse = egg:Paste#urlmap\n/: nowhere\n");
    let mut front = Front::launch(&layout);
    assert_eq!(front.exit().code(), Some(78), "{}", front.log().join("\n"));
    front.logged("error: app `nowhere` is not defined");
    front.logged(" --> ").split_once("api-paste.ini:3:4").expect("the place");
}

/// Runs `nova-api` to its end: exit status and log.
fn as_nova_api(layout: &Layout) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_owned();
    std::fs::write(path.join("nova.conf"), layout.conf(&path)).expect("nova.conf");
    std::fs::write(path.join("api-paste.ini"), layout.paste()).expect("api-paste.ini");
    symlink(executable(), path.join("nova-api")).expect("a link");
    let mut command = Command::new(path.join("nova-api"));
    command.arg("--config-file").arg(path.join("nova.conf"));
    let mut front = Front::spawn(directory, command);
    let status = front.exit().code();
    // The end of the pipe may come a moment after the exit.
    let log = eventually("the log", || {
        Some(front.log().join("\n")).filter(|log| log.contains("CRITICAL") || status == Some(0))
    });
    (status, log)
}

#[test]
fn a_start_that_fails_on_a_terminal_says_why_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let layout = Layout::bare().default("use_stderr = true").with_paste("[app:another]\npaste.app_factory = a.b:c\n");
    std::fs::write(directory.path().join("nova.conf"), layout.conf(directory.path())).expect("nova.conf");
    std::fs::write(directory.path().join("api-paste.ini"), layout.paste()).expect("api-paste.ini");
    let serve = format!("{} serve --config-file {}/nova.conf", executable().display(), directory.path().display());
    let said = |command: &mut Command| {
        let output = command.stdin(Stdio::null()).output().expect("a terminal");
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let all = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&all).matches("`osapi_compute`").count()
    };
    assert_eq!(said(Command::new("script").args(["-qec", &serve, "/dev/null"]).env("NO_COLOR", "1")), 1);
    assert_eq!(said(Command::new("sh").args(["-c", &serve])), 2, "a log that is collected has it too");
}
