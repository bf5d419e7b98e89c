//! What the commands `paste`, `conf`, `man`, `check` and `explain` say of files, and which files a front watches.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::front::{executable, obedient};
use crate::support::{Front, Layout, eventually};

/// The executable in a directory, with no environment of oslo.config's.
fn pasteway(directory: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(executable());
    command.args(args).current_dir(directory).env("HOME", directory).stdin(Stdio::null());
    command.output().expect("the executable")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in {}", out(output)))
}

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        std::fs::write(path, text).expect("written");
    }
}

/// Every recorded call of a file of cases, through the command line.
fn replay(recording: &str, dialect: &str, library: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/golden").join(recording);
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("a recording")).expect("JSON");
    // One in five, and another fifth for the other recording: all of them are replayed beside the code.
    for case in cases.iter().skip(usize::from(dialect == "py2")).step_by(5) {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().to_str().expect("a plain path");
        let files = case["files"].as_object().expect("files");
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str().expect("text"))).collect();
        write(directory.path(), &files);
        for (call, want) in
            case["calls"].as_array().expect("calls").iter().zip(case["results"].as_array().expect("all"))
        {
            let mut args = vec!["paste", call["uri"].as_str().expect("a URI")];
            // What has no scheme is a file here, and an error to the library.
            if !args[1].contains(':') {
                continue;
            }
            args.extend(["--dialect", dialect, "--library", library, "--type", call["kind"].as_str().expect("a kind")]);
            let name = call["name"].as_str().map(|name| format!("--name={name}"));
            args.extend(name.as_deref());
            let conf = call["global_conf"].as_object().into_iter().flatten();
            let passed: Vec<_> =
                conf.map(|(key, value)| format!("--global={key}={}", value.as_str().expect("text"))).collect();
            args.extend(passed.iter().map(String::as_str));
            let output = pasteway(directory.path(), &args);
            let text = String::from_utf8_lossy(&output.stdout).replace(root, "@ROOT@");
            let got: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {}", out(&output)));
            assert_eq!(&got, want, "{}", case["id"]);
            assert_eq!(output.status.code(), Some(if want.get("ok").is_some() { 0 } else { 78 }), "{}", case["id"]);
        }
    }
}

#[test]
fn recorded_cases_come_out_of_the_command_line_alike() {
    replay("paste-cases.py27-pd152.json", "py2", "1");
    replay("paste-cases.py311-pd310.json", "py3", "2");
}

#[test]
fn a_whole_paste_file_is_shown_section_by_section() {
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), &[("a.ini", "[DEFAULT]\nx = 1\n[filter:f]\nuse = nope\n[app:a]\nuse = egg:P\n[nova]\n")]);
    let all = json_of(&pasteway(directory.path(), &["paste", "a.ini", "--all"]));
    assert_eq!(all["sections"], json!(["filter:f", "app:a", "nova"]));
    assert_eq!(all["defaults"]["x"], "1");
    assert_eq!(all["contexts"]["filter:f"]["error"], "LookupError");
    assert_eq!(all["contexts"]["app:a"]["ok"]["object"], "egg:P#main");
    assert_eq!(all["contexts"].as_object().map(serde_json::Map::len), Some(2));
    write(directory.path(), &[("a.ini", "x = 1\n")]);
    let broken = pasteway(directory.path(), &["paste", "a.ini", "--all"]);
    assert_eq!(broken.status.code(), Some(78));
    assert_eq!(json_of(&broken)["parse_error"], "MissingSectionHeaderError");
}

#[test]
fn without_a_dialect_the_layout_of_the_file_tells_it() {
    let directory = tempfile::tempdir().expect("a directory");
    write(
        directory.path(),
        &[
            ("old.ini", "[app:main]\npaste.app_factory = nova.api.openstack.compute:APIRouter.factory\nx = 100%\n"),
            ("new.ini", "[app:main]\npaste.app_factory = mine:factory\nx = 100%\n"),
        ],
    );
    assert_eq!(json_of(&pasteway(directory.path(), &["paste", "old.ini"]))["ok"]["local_conf"]["x"], "100%");
    assert_eq!(json_of(&pasteway(directory.path(), &["paste", "new.ini"]))["error"], "InterpolationSyntaxError");
}

#[test]
fn options_are_shown_with_where_they_came_from() {
    let directory = tempfile::tempdir().expect("a directory");
    let conf = Layout::havana().default("tcp_keepidle = 7").group("[database]\nconnection = mysql://u:secret@h/n");
    write(directory.path(), &[("api-paste.ini", conf.paste()), ("nova.conf", &conf.conf(directory.path()))]);
    let show = |args: &[&str]| {
        let output = pasteway(directory.path(), &[&["conf", "--config-file", "nova.conf"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", out(&output));
        json_of(&output)
    };
    let all = show(&[]);
    assert_eq!((&all["wsgi.tcp_keepidle"], &all["database.connection"]), (&json!(7), &json!("***")));
    let some = show(&[
        "--origin",
        "--debug",
        "--option",
        "debug",
        "--option",
        "wsgi.tcp_keepidle",
        "--option",
        "cors.max_age",
    ]);
    assert_eq!(some["DEFAULT.debug"], json!({ "value": true, "from": null, "via": "the command line" }));
    let line =
        conf.conf(directory.path()).lines().position(|line| line.starts_with("tcp_keepidle")).expect("there") + 1;
    assert_eq!(some["wsgi.tcp_keepidle"]["from"], format!("nova.conf:{line}:16"));
    assert_eq!(some["cors.max_age"]["via"], "the built-in default");
    assert_eq!(some.as_object().map(serde_json::Map::len), Some(3));
    let filters = show(&["--origin"])["filters"].clone();
    assert!(filters["osapi_compute"]["filter:sizelimit"]["options"].is_array(), "{filters}");
}

#[test]
fn an_option_that_cannot_be_read_is_the_originals_exception() {
    let directory = tempfile::tempdir().expect("a directory");
    write(directory.path(), &[("nova.conf", "[pasteway]\nrelease = 31\n[DEFAULT]\nosapi_compute_workers = 0\n")]);
    let args = ["conf", "--config-file", "nova.conf", "--option", "DEFAULT.osapi_compute_workers"];
    let output = pasteway(directory.path(), &args);
    assert_eq!(output.status.code(), Some(78));
    let shown = json_of(&output)["DEFAULT.osapi_compute_workers"].clone();
    assert_eq!(shown["error"], "ConfigFileValueError");
    let text = "Value for option osapi_compute_workers from LocationInfo(location=<Locations.user: (4, True)>, \
                detail='nova.conf') is not valid: Should be greater than or equal to 1";
    assert_eq!(shown["message"], text);
    write(directory.path(), &[("nova.conf", "nonsense\n")]);
    let broken = pasteway(directory.path(), &["conf", "--config-file", "nova.conf"]);
    assert_eq!(json_of(&broken)["error"], "ConfigFileParseError");
    assert_eq!(broken.status.code(), Some(78));
}

#[test]
fn an_environment_variable_and_a_config_dir_have_their_place() {
    let directory = tempfile::tempdir().expect("a directory");
    write(
        directory.path(),
        &[("nova.conf", "[DEFAULT]\nhost = file\nlog_dir = file\n"), ("d/x.conf", "[DEFAULT]\nhost = dir\n")],
    );
    let mut command = Command::new(executable());
    let args = [
        "conf",
        "--origin",
        "--config-file",
        "nova.conf",
        "--config-dir",
        "d",
        "--option",
        "host",
        "--option",
        "log_dir",
    ];
    command.args(args).current_dir(directory.path()).env("OS_DEFAULT__LOG_DIR", "env").stdin(Stdio::null());
    let shown = json_of(&command.output().expect("the executable"));
    assert_eq!(shown["DEFAULT.host"], json!({ "value": "dir", "from": "d/x.conf:2:8", "via": "a file" }));
    assert_eq!(
        shown["DEFAULT.log_dir"],
        json!({ "value": "env", "from": "OS_DEFAULT__LOG_DIR", "via": "the environment" })
    );
}

#[test]
fn every_option_of_a_filter_is_explained_by_its_file_and_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let layout = Layout::compute(
        "[DEFAULT]\nmax_age = 5\n[pipeline:osapi_compute]\npipeline = cors size app\n\
         [filter:cors]\nuse = base\nallowed_origin = http://a\nlatent_allow_headers = X-A\nmax_aeg = 3\n\
         [filter:base]\npaste.filter_factory = oslo_middleware.cors:filter_factory\nlatent_expose_headers = X-B\n\
         set allow_credentials = false\n\
         [filter:size]\npaste.filter_factory = nova.api.sizelimit:RequestBodySizeLimiter.factory\n\
         [app:app]\npaste.app_factory = m:a\n",
    );
    let layout = layout.default("osapi_max_request_body_size = 9").group("[cors]\nallow_methods = GET");
    let conf = layout.conf(directory.path());
    write(directory.path(), &[("api-paste.ini", layout.paste()), ("nova.conf", &conf)]);
    let args = ["explain", "osapi_compute", "GET", "/", "--format", "json", "--config-file", "nova.conf"];
    let explained = json_of(&pasteway(directory.path(), &args));
    let steps = explained["steps"].as_array().expect("steps");
    let options = steps.iter().filter_map(|step| step["options"].as_array()).flatten();
    let seen: Vec<(String, String, String)> = options
        .map(|option| {
            let text = |key: &str| option[key].as_str().unwrap_or_default().to_owned();
            let from = text("from");
            let place = from.rsplit('/').next().unwrap_or_default().to_owned();
            (text("option"), place, text("via"))
        })
        .collect();
    let line = |start: &str| conf.lines().position(|line| line.starts_with(start)).expect("there") + 1;
    for (option, place, via) in [
        ("allowed_origin", "api-paste.ini:7:18".to_owned(), "the section itself"),
        ("latent_expose_headers", "api-paste.ini:12:25".to_owned(), "the section that `use` names"),
        ("allow_credentials", "api-paste.ini:13:25".to_owned(), "a `set` line"),
        ("max_age", "api-paste.ini:2:11".to_owned(), "[DEFAULT]"),
        ("allow_methods", format!("nova.conf:{}:17", line("allow_methods")), "nova.conf"),
        ("osapi_max_request_body_size", format!("nova.conf:{}:31", line("osapi_max")), "nova.conf"),
        ("max_aeg", "api-paste.ini:9:11".to_owned(), "the section itself"),
        ("expose_headers", String::new(), "the built-in default"),
    ] {
        let one = (option.to_owned(), place, via.to_owned());
        assert!(seen.contains(&one), "{one:?} is not among {seen:#?}");
    }
}

#[test]
fn the_check_finds_the_problems_of_all_files_and_warns_of_what_is_never_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let layout = Layout::compute(
        "[app:osapi_compute]\npaste.app_factory = m:a\n[filter:unused]\nuse = nope\n[pipeline:bad]\npipeline = x y\n",
    );
    let conf = layout.conf(directory.path());
    write(directory.path(), &[("api-paste.ini", layout.paste()), ("nova.conf", &conf)]);
    let check = |format: &str| pasteway(directory.path(), &["check", "--config-file", "nova.conf", "--format", format]);
    let fine = check("json");
    assert_eq!(fine.status.code(), Some(0), "{}", out(&fine));
    let found = json_of(&fine)["diagnostics"].clone();
    let all: Vec<_> =
        found.as_array().expect("a list").iter().map(|d| (d["severity"].clone(), d["line"].clone())).collect();
    assert_eq!(all, [(json!("warning"), json!(4)), (json!("warning"), json!(6)), (json!("warning"), json!(6))]);
    // A broken line, a bad value and a missing section, in two files.
    let conf = format!("{conf}nonsense\nqueue_size = many\n");
    let paste = layout.paste().replace("paste.app_factory = m:a", "use = missing");
    write(directory.path(), &[("api-paste.ini", &paste), ("nova.conf", &conf)]);
    let bad = check("text");
    assert_eq!(bad.status.code(), Some(78));
    let said = out(&bad);
    for want in ["the line is no assignment", "`many` is not a whole number", "app `missing` is not defined"] {
        assert!(said.contains(want), "{want} is not in {said}");
    }
    let caret = said.lines().skip_while(|line| !line.contains("use = missing")).nth(1).unwrap_or_default();
    assert_eq!(
        caret.find('^'),
        said.lines().find(|line| line.contains("use = missing")).and_then(|l| l.find("missing"))
    );
}

#[test]
fn a_file_that_is_there_and_cannot_be_read_is_not_called_missing() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().expect("a directory");
    let layout = Layout::bare();
    write(directory.path(), &[("etc/api-paste.ini", layout.paste()), ("nova.conf", &layout.conf(directory.path()))]);
    let at = |name: &str| directory.path().join(name);
    let conf = std::fs::read_to_string(at("nova.conf")).expect("nova.conf");
    std::fs::write(at("nova.conf"), conf.replace("/api-paste.ini", "/etc/api-paste.ini")).expect("written");
    let mode = |name: &str, mode: u32| {
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    let check = || {
        let mut command = obedient();
        command
            .args(["check", "--config-file", "nova.conf"])
            .current_dir(directory.path())
            .env("HOME", directory.path());
        out(&command.output().expect("the executable"))
    };
    let said = check();
    assert!(!said.contains("cannot"), "{said}");
    let cannot = |said: &str, why: &str, help: &str| {
        assert!(said.contains(why) && said.contains(help) && !said.contains("cannot be found"), "{said}");
    };
    mode("etc/api-paste.ini", 0o000);
    cannot(&check(), "/etc/api-paste.ini`: Permission denied", "let the front's user read it");
    mode("etc/api-paste.ini", 0o644);
    mode("etc", 0o000);
    cannot(&check(), "cannot be reached: Permission denied", "let the front's user enter the directories");
    mode("etc", 0o755);
    // A hole as long as that takes no room.
    let file = std::fs::OpenOptions::new().write(true).open(at("etc/api-paste.ini")).expect("opened");
    file.set_len(65 << 20).expect("made longer");
    cannot(&check(), "larger than 64 MiB", "this is no Paste file");
    // What is not named but looked for is there too.
    std::fs::rename(at("nova.conf"), at(".nova.conf")).and_then(|()| std::fs::create_dir(at(".nova"))).expect("made");
    std::fs::rename(at(".nova.conf"), at(".nova/nova.conf")).expect("moved");
    mode(".nova/nova.conf", 0o000);
    let mut command = obedient();
    command.arg("check").current_dir(directory.path()).env("HOME", directory.path());
    cannot(&out(&command.output().expect("the executable")), ".nova/nova.conf", "let the front's user read it");
}

#[test]
fn the_manual_is_made_from_the_definitions() {
    let output = pasteway(Path::new("/"), &["man"]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    let text = out(&output).replace("\\-", "-");
    for word in [".TH pasteway 1", "osapi_compute_listen_port", "[cors]", "--dialect", "Change: rebind."] {
        assert!(text.contains(word), "{word} is not in the manual");
    }
}

#[test]
fn a_new_file_in_a_config_dir_and_an_included_paste_file_are_watched() {
    let directory = tempfile::tempdir().expect("a directory");
    let layout = Layout::compute("[app:osapi_compute]\nuse = config:more.ini#app\n");
    write(
        directory.path(),
        &[
            ("api-paste.ini", layout.paste()),
            ("more.ini", "[app:app]\npaste.app_factory = m:a\n"),
            ("nova.conf", &layout.conf(directory.path())),
            ("conf.d/a.conf", "[DEFAULT]\n"),
        ],
    );
    let (conf, more) = (directory.path().join("nova.conf"), directory.path().join("more.ini"));
    let dir = directory.path().join("conf.d");
    let mut command = Command::new(executable());
    command.arg("serve").arg("--config-file").arg(conf).arg("--config-dir").arg(&dir);
    let front = Front::spawn(directory, command);
    front.listening("osapi_compute");
    eventually("ready", || (front.admin("/ready").status == 200).then_some(()));
    std::fs::write(dir.join("b.conf"), "[pasteway]\nqueue_size = 7\n").expect("written");
    eventually("the new file is in effect", || (front.generation() == 2).then_some(()));
    std::fs::write(more, "[app:app]\npaste.app_factory = m:b\n").expect("written");
    eventually("the included file is in effect", || (front.generation() == 3).then_some(()));
}
