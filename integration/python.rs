//! Python workers: the real PasteDeploy and a small service behind the front.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::front::executable;
use crate::support::python::{PASTE, layout, python, venv, with_interpreter};
use crate::support::{Front, Save, eventually, process};

/// The workers that serve, by process id.
#[track_caller]
fn serving(front: &Front) -> BTreeSet<u64> {
    let workers = front.admin("/workers").json();
    let serving = workers.as_array().expect("a list").iter().filter(|slot| slot["state"] == "serving");
    serving.map(|slot| slot["pid"].as_u64().expect("a pid")).collect()
}

/// Two workers that serve, when all of these are gone.
#[track_caller]
fn replacing(front: &Front, before: &BTreeSet<u64>) -> BTreeSet<u64> {
    eventually("two other workers", || Some(serving(front)).filter(|now| now.len() == 2 && now.is_disjoint(before)))
}

/// What the service shows of a GET.
#[track_caller]
fn shown(front: &Front, path: &str) -> Value {
    let answer = front.get(path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Waits until a reload took the front to this generation; answers its changes as `class what`.
#[track_caller]
fn changes(front: &Front, generation: u64) -> Vec<String> {
    eventually(&format!("generation {generation}"), || {
        let all = front.admin("/generations").json();
        let newest = all.as_array().and_then(|all| all.first().cloned()).filter(|it| it["generation"] == generation)?;
        let text = |change: &Value| {
            format!("{} {}", change["class"].as_str().unwrap_or_default(), change["what"].as_str().unwrap_or_default())
        };
        Some(newest["changes"].as_array().expect("a list").iter().map(text).collect())
    })
}

#[track_caller]
fn pasteway(front: &Front, arguments: &[&str]) -> Output {
    let mut command = Command::new(executable());
    command.args(arguments).arg("--config-file").arg(front.conf());
    command.envs(layout(PASTE).variables()).output().expect("the executable")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_stands_behind_the_cut_runs_in_python_with_the_environ_of_a_wsgi_server() {
    let front = Front::start(&layout(PASTE));
    let headers = [("Origin", "http://one.example"), ("X-Some-Header", "a"), ("Content-Type", "text/x-test")];
    let answer = front.client().request("POST", "/v2/a%20b/c?d=%20e", &headers, b"the body").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers("access-control-allow-origin"), ["http://one.example"], "a filter of the front");
    assert_eq!(answer.headers("x-tag"), ["one"], "a filter of the worker");
    let shown = answer.json();
    assert_eq!((&shown["greeting"], &shown["body"]), (&"hello".into(), &"the body".into()));
    for (name, value) in [
        ("REQUEST_METHOD", "POST"),
        ("SCRIPT_NAME", "/v2"),
        ("PATH_INFO", "/a b/c"),
        ("QUERY_STRING", "d=%20e"),
        ("CONTENT_TYPE", "text/x-test"),
        ("CONTENT_LENGTH", "8"),
        ("HTTP_HOST", "127.0.0.1:8774"),
        ("HTTP_X_SOME_HEADER", "a"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("wsgi.url_scheme", "http"),
    ] {
        assert_eq!(shown["environ"][name], value, "{name} in {}", shown["environ"]);
    }
    assert_eq!(shown["environ"]["wsgi.multithread"], true);
}

#[test]
fn a_worker_is_told_whether_it_is_the_only_one_and_when_that_changes() {
    let front = Front::start(&layout(PASTE));
    let wait_for = |multiprocess: bool| {
        eventually(&format!("wsgi.multiprocess is {multiprocess}"), || {
            (shown(&front, "/v2/a")["environ"]["wsgi.multiprocess"] == multiprocess).then_some(())
        });
    };
    wait_for(true);
    front.signal(Signal::TTOU);
    wait_for(false);
    front.signal(Signal::TTIN);
    wait_for(true);
}

#[test]
fn workers_show_their_kind_their_python_and_what_they_print_and_the_tree_shows_the_cut() {
    let front = Front::start(&layout(PASTE));
    let workers = front.admin("/workers").json();
    let workers = workers.as_array().expect("a list");
    assert_eq!(workers.len(), 2);
    for worker in workers {
        assert_eq!((&worker["kind"], &worker["generation"]), (&"python".into(), &1.into()));
        assert!(worker["python"].as_str().is_some_and(|version| version.starts_with("3.")), "{worker}");
        assert_eq!(worker["stdout"], Value::from(vec!["an app that says hello"]), "{worker}");
        let pid = worker["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a pid");
        let title = process::title(pid);
        assert!(title.ends_with(&format!("pasteway: osapi_compute worker {}", worker["slot"])), "{title}");
    }
    front.logged("an app that says hello");
    let chosen = front.logged("release 31 (as `release` says)");
    assert!(chosen.contains("ini_dialect py3, paste_library 2 (PasteDeploy 3.1.0 is installed)"), "{chosen}");
    let tree = front.admin("/tree").text();
    assert!(tree.contains("no native filter for service:tag_factory"), "{tree}");
}

#[test]
fn only_what_the_worker_side_is_made_from_replaces_workers_and_plan_says_so_before() {
    let front = Front::start(&layout(PASTE).pasteway("watch = false"));
    let mut workers = serving(&front);
    let plan = |want: &[&str]| {
        let output = pasteway(&front, &["plan"]);
        let said = text(&output.stdout);
        let code = if want.is_empty() { 0 } else { 3 };
        assert_eq!(output.status.code(), Some(code), "{said}{}", text(&output.stderr));
        want.iter().for_each(|line| assert!(said.contains(line), "{line} is not in\n{said}"));
        said
    };
    let mut generation = 1;
    let mut reload = |replaced: bool, why: &str| {
        println!("{why}");
        let (status, verdict) = front.reload("");
        generation += 1;
        assert_eq!((status, &verdict["generation"]), (200, &generation.into()), "{verdict:#}");
        if replaced {
            workers = replacing(&front, &workers);
        } else {
            assert_eq!(serving(&front), workers, "{why}");
        }
    };
    plan(&[]);

    front.edit_conf(|text| text.replace("http://one.example", "http://two.example"));
    let said = plan(&["live    [cors] allowed_origin: http://one.example -> http://two.example"]);
    assert!(!said.contains("MiB"), "{said}");
    reload(false, "an option of a filter of the front");

    front.edit_conf(|text| text.replace("watch_settle = 0.02", "watch_settle = 0.03"));
    plan(&["live    [pasteway] watch_settle"]);
    reload(false, "an option of ours");

    front.edit(Save::Rename, |text| text.replace("greeting = hello", "greeting = good day"));
    plan(&["rolling [app:app] greeting: hello -> good day", "api-paste.ini:18)", "MiB"]);
    reload(true, "a section of the worker");

    front.edit_conf(|text| text.replace("[cors]", "[database]\npool_debug = 7\n[cors]"));
    plan(&["rolling [database] pool_debug: 7 (new)"]);
    reload(true, "an option that nobody here knows");

    front.edit_conf(|text| text.replace("[DEFAULT]", "[DEFAULT]\ndebug = true"));
    plan(&["rolling [DEFAULT] debug"]);
    reload(true, "the workers' own log");

    std::fs::write(front.directory().join("policy.yaml"), "one: role:admin\n").expect("written");
    plan(&["rolling a file of the service", "policy.yaml"]);
    reload(true, "a policy file that was not there");
    plan(&[]);

    front.edit(Save::Rename, |text| text.replace("paste.app_factory = service", "paste.app_factory = sevrice"));
    let output = pasteway(&front, &["plan"]);
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("[app:app] needs the module `sevrice`"), "{}", text(&output.stderr));
}

#[test]
fn policies_come_and_go_with_generations_and_not_by_themselves() {
    let front = Front::start(&layout(PASTE));
    let policy = front.directory().join("policy.yaml");
    assert_eq!(shown(&front, "/v2/x")["policy"], Value::Null);
    Save::Rename.save(&policy, "one: role:admin\n").expect("saved");
    assert_eq!(changes(&front, 2), ["rolling a file of the service"]);
    assert_eq!(shown(&front, "/v2/x")["policy"], "one: role:admin\n");
    let more = front.directory().join("policy.d");
    std::fs::create_dir(&more).expect("made");
    Save::Rename.save(&more.join("a.yaml"), "two: role:member\n").expect("saved");
    eventually("a directory of policies", || {
        (shown(&front, "/v2/x")["more"] == Value::from(vec!["a.yaml"])).then_some(())
    });
    let generation = front.generation();
    std::fs::remove_file(&policy).expect("it was there");
    assert_eq!(changes(&front, generation + 1), ["rolling a file of the service"]);
    assert_eq!(shown(&front, "/v2/x")["policy"], Value::Null);
}

#[test]
fn a_worker_that_comes_back_reads_what_its_generation_was_accepted_with() {
    let front = Front::start(&layout(PASTE).pasteway("watch = false"));
    let policy = front.directory().join("policy.yaml");
    std::fs::write(&policy, "accepted\n").expect("written");
    assert_eq!(front.reload("").0, 200);
    std::fs::write(&policy, "not yet\n").expect("written");
    front.edit(Save::Rename, |text| text.replace("greeting = hello", "greting = hello").replace("[filter:tag]", "["));
    front.edit_conf(|text| text.replace("use_stderr = true", "use_stderr = never"));
    let before = serving(&front);
    for pid in &before {
        process::signal(u32::try_from(*pid).expect("a pid"), Signal::KILL);
    }
    replacing(&front, &before);
    let shown = shown(&front, "/v2/x");
    assert_eq!((&shown["greeting"], &shown["policy"]), (&"hello".into(), &"accepted\n".into()));
    assert!(shown["conf"].as_str().is_some_and(|conf| conf.contains("use_stderr = true")), "{shown:#}");
}

#[test]
fn a_change_is_told_of_the_file_that_it_stands_in() {
    let front = Front::start(&layout(&format!("[DEFAULT]\nmark = a\n\n{PASTE}")).pasteway("watch = false"));
    let other = front.directory().join("other.ini");
    let app = |mark: &str| {
        let text =
            format!("[DEFAULT]\nmark = {mark}\n[app:main]\npaste.app_factory = service:app_factory\ngreeting = hi\n");
        std::fs::write(&other, text).expect("written");
    };
    app("b");
    front.edit(Save::Rename, |text| text.replace("/v2: tail\n", "/v2: tail\n/other: config:other.ini\n"));
    assert_eq!(front.reload("").0, 200);
    // The second file's has the first one's name, and is passed over in its favour.
    app("c");
    assert_eq!(front.reload("").0, 200);
    assert_eq!(changes(&front, 3), ["live [DEFAULT] mark"]);
    front.edit(Save::Rename, |text| text.replace("mark = a", "mark = d"));
    assert_eq!(front.reload("").0, 200);
    assert_eq!(changes(&front, 4), ["rolling [DEFAULT] mark"]);
}

#[test]
fn a_front_whose_workers_cannot_start_says_why_line_by_line_and_ends() {
    let mut front = Front::launch(&layout(&PASTE.replace("service:tag_factory", "broken:factory")));
    assert_eq!(front.exit().code(), Some(1), "{}", front.log().join("\n"));
    front.logged("error: worker osapi_compute/");
    front.logged("    ModuleNotFoundError: No module named 'a_module_that_nobody_has'");
    front.logged("  = help: mend the cause and start again");
}

#[test]
fn a_filter_that_cannot_be_imported_is_reported_once_and_the_old_generation_serves_on() {
    let front = Front::start(&layout(PASTE).pasteway("watch = false"));
    let before = serving(&front);
    front.edit(Save::Rename, |text| {
        text.replace("cors tag app", "cors tag broken app")
            + "\n[filter:broken]\npaste.filter_factory = broken:factory\n"
    });
    let (status, verdict) = front.reload("");
    assert_eq!((status, &verdict["outcome"]), (422, &"rejected".into()));
    let message = verdict["diagnostics"][0]["message"].as_str().expect("a message").to_owned();
    assert!(message.contains("[filter:broken] (broken:factory) cannot be built"), "{message}");
    assert!(
        message.contains("broken.py:3") && message.contains("No module named 'a_module_that_nobody_has'"),
        "{message}"
    );
    assert_eq!((serving(&front), front.generation()), (before, 1));
    assert_eq!(shown(&front, "/v2/x")["greeting"], "hello");
}

#[test]
fn a_virtualenv_s_link_that_points_elsewhere_replaces_the_workers() {
    let room = tempfile::tempdir().expect("a directory");
    for name in ["one", "two"] {
        let dir = room.path().join(name);
        std::fs::create_dir_all(dir.join("bin")).expect("made");
        for part in ["pyvenv.cfg", "lib", "bin/python"] {
            symlink(venv().join(part), dir.join(part)).expect("linked");
        }
    }
    let link = room.path().join("venv");
    symlink(room.path().join("one"), &link).expect("linked");
    let front = Front::start(&with_interpreter(PASTE, &link.join("bin/python")));
    let before = serving(&front);
    let next = room.path().join("next");
    symlink(room.path().join("two"), &next).expect("linked");
    std::fs::rename(&next, &link).expect("renamed");
    // By watching alone a link to an equal file may go unnoticed.
    assert_eq!(front.reload("").0, 200);
    assert_eq!(changes(&front, 2), ["rolling the workers' Python"]);
    replacing(&front, &before);
}

#[test]
fn a_python_that_cannot_run_the_service_is_an_error_that_names_the_way_out() {
    let check = |paste: &str, python: &str| {
        let room = tempfile::tempdir().expect("a directory");
        let layout = with_interpreter(paste, python.as_ref());
        // What lies where the command happens to be called is nothing that workers find.
        std::fs::write(room.path().join("sevrice.py"), "").expect("written");
        std::fs::write(room.path().join("api-paste.ini"), layout.paste()).expect("written");
        std::fs::write(room.path().join("nova.conf"), layout.conf(room.path())).expect("written");
        let mut command = Command::new(executable());
        command.current_dir(room.path()).args(["check", "--config-file"]).arg(room.path().join("nova.conf"));
        let output = command.envs(layout.variables()).output().expect("the executable");
        assert_eq!(output.status.code(), Some(78), "{}", text(&output.stdout));
        text(&output.stderr)
    };
    let said = check(PASTE, "/nonexistent/python3");
    assert!(
        said.contains("cannot start the workers' Python /nonexistent/python3") && said.contains("worker_kind"),
        "{said}"
    );
    let said = check(PASTE, "no-such-python");
    assert!(said.contains("`no-such-python` is not in PATH"), "{said}");
    let said = check(&PASTE.replace("service:app", "sevrice:app"), &python().display().to_string());
    assert!(said.contains("api-paste.ini:16") && said.contains("[app:app] needs the module `sevrice`"), "{said}");
    assert!(said.contains("worker_kind: builtin"), "{said}");
}
