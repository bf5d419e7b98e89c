//! Complaints about the watcher: storms, traps, blindness. One edit, one reload.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use super::reload::{reloads, with};
use crate::support::python::{PASTE, layout};
use crate::support::{Front, Layout, Save, eventually};

#[test]
fn the_watcher_is_neither_stormed_nor_trapped() {
    let front = Front::start(&Layout::bare());
    let here = front.directory();
    let attempts = || front.metric("pasteway_config_reloads_total", &[]);
    // The files are as young as the front, which is no reason to load them again.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(attempts(), 0.0);
    // A log, an editor's leftovers and strangers, all beside our files.
    let mut log = OpenOptions::new().create(true).append(true).open(here.join("api.log")).expect("a log");
    for number in 0..200 {
        writeln!(log, "line {number}").expect("written");
        for name in [".nova.conf.swp", "nova.conf~", "4913", "stranger.txt"] {
            fs::write(here.join(name), "").and_then(|()| fs::remove_file(here.join(name))).expect("come and gone");
        }
        fs::read(front.conf()).expect("others read it too");
        std::thread::sleep(Duration::from_millis(2));
    }
    front.edit(Save::Rename, with(1));
    eventually("the edit", || (reloads(&front, "applied") == 1.0).then_some(()));
    assert_eq!(attempts(), 1.0, "nothing else was taken for an edit");

    // A storm: few reloads, and all of it is counted.
    let changes = |what: &str| front.metric(&format!("pasteway_config_file_changes_{what}"), &[]);
    assert_eq!((changes("total"), changes("coalesced_total")), (1.0, 0.0));
    for _ in 0..100 {
        front.edit(Save::Rename, |text| text + "# once more\n");
    }
    front.edit(Save::Rename, with(2));
    eventually("its end", || (front.get("/g2/x").status == 200).then_some(()));
    let (seen, coalesced) = (changes("total"), changes("coalesced_total"));
    assert!(coalesced > 0.0 && attempts() <= seen - coalesced, "{} reloads of {seen}, {coalesced}", attempts());

    // A volume of Kubernetes: the file is a link through a link to a directory, and that one is exchanged.
    let text = fs::read_to_string(front.paste()).expect("a file");
    let volume = |name: &str, text: &str| {
        fs::create_dir(here.join(name)).expect("made");
        fs::write(here.join(name).join("api-paste.ini"), text).expect("written");
        symlink(name, here.join("..new")).and_then(|()| fs::rename(here.join("..new"), here.join("..data")))
    };
    volume("..1", &text).expect("linked");
    symlink("..data/api-paste.ini", here.join("link")).expect("linked");
    fs::rename(here.join("link"), front.paste()).expect("renamed");
    for number in 3..6 {
        volume(&format!("..{number}"), &with(number)(text.clone())).expect("exchanged");
        eventually("the exchange", || (front.get(&format!("/g{number}/x")).status == 200).then_some(()));
    }
    assert_eq!(reloads(&front, "rejected"), 0.0);
}

#[test]
fn strangers_in_a_config_dir_are_no_edit() {
    let front = Front::start(&Layout::bare().config_dir("conf.d"));
    let dir = front.directory().join("conf.d");
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("written");
    let generation = |number: u64| {
        eventually("the next generation", || (front.generation() >= number).then_some(()));
        assert_eq!(front.generation(), number);
    };
    for number in 1..=20 {
        write(&format!("stranger.{number}"), "");
        write("nova.log.tmp", "");
        write(".10.conf.swp", "");
        fs::remove_file(dir.join("nova.log.tmp")).expect("removed");
        std::thread::sleep(Duration::from_millis(40));
    }
    // What is told now, is told of the first look after them.
    let (status, verdict) = front.reload("");
    assert_eq!((status, &verdict["outcome"]), (200, &"unchanged".into()), "{verdict}");
    write("10.conf", "[pasteway]\nqueue_size = 7\n");
    generation(2);
    fs::rename(dir.join("10.conf"), dir.join("10.conf.off")).expect("renamed");
    generation(3);
}

#[test]
fn a_directory_that_was_shut_for_a_while_is_watched_again() {
    let front = Front::start_obedient(
        &Layout::bare().default("use_stderr = true").pasteway("release = 34").config_dir("conf.d"),
    );
    let dir = front.directory().join("conf.d");
    let shut = |mode: u32| fs::set_permissions(&dir, Permissions::from_mode(mode)).expect("changed");
    let generation = |number: u64| {
        eventually("the next generation", || (front.generation() == number).then_some(()));
        assert_eq!(front.metric("pasteway_config_file_differs", &[]), 0.0);
    };
    let conf = dir.join("10.conf");
    fs::write(&conf, "[pasteway]\nqueue_size = 7\n").expect("written");
    generation(2);
    let mut file = OpenOptions::new().append(true).open(&conf).expect("opened");
    shut(0o000);
    eventually("it is told", || {
        let status = front.admin("/status").json();
        let why = status["config_file_differs_because"].as_str()?;
        why.contains("Permission denied").then_some(())
    });
    writeln!(file, "queue_timeout = 5").expect("written");
    drop(file);
    shut(0o755);
    generation(3);
    fs::write(&conf, "[pasteway]\nqueue_size = 8\n").expect("written");
    generation(4);
}

#[test]
fn a_file_that_is_written_slowly_is_one_edit() {
    let front = Front::start(&Layout::bare());
    // Now the watch stands: who had the file open before it is not known.
    front.edit(Save::Rename, with(9));
    eventually("the first edit", || (front.generation() == 2).then_some(()));
    let text = with(1)(fs::read_to_string(front.paste()).expect("a file"));
    let (head, last) = text.split_at(text.find("[app:app]").expect("a section"));
    let mut file = File::create(front.paste()).expect("opened");
    file.write_all(head.as_bytes()).expect("written");
    for number in 0..7 {
        std::thread::sleep(Duration::from_secs(1));
        writeln!(file, "# line {number}").expect("written");
    }
    assert_eq!((front.generation(), reloads(&front, "rejected")), (2, 0.0));
    file.write_all(last.as_bytes()).expect("written");
    drop(file);
    eventually("the edit", || (front.get("/g1/x").status == 200).then_some(()));
    assert_eq!(front.generation(), 3);
}

#[test]
fn an_edit_between_the_start_and_the_watch_is_taken() {
    let room = tempfile::tempdir().expect("a directory");
    let (began, go) = (room.path().join("began"), room.path().join("go"));
    let code = format!(
        "import os, time\nopen({began:?}, 'w').close()\nwhile not os.path.exists({go:?}):\n    time.sleep(0.01)\n\
         import service\napp_factory = service.app_factory\n"
    );
    fs::write(room.path().join("slow.py"), code).expect("written");
    let paths = format!("{}/integration/fixtures/python:{}", env!("CARGO_MANIFEST_DIR"), room.path().display());
    let paste = PASTE.replace("service:app_factory", "slow:app_factory");
    let front = Front::launch(&layout(&paste).env("PYTHONPATH", &paths));
    // The files are read, and nobody watches them yet.
    eventually("its workers begin", || began.exists().then_some(()));
    front.edit(Save::Rename, |text| text.replace("= hello", "= good day"));
    fs::write(&go, "").expect("written");
    eventually("the edit", || (front.generation() == 2).then_some(()));
    let newest = front.admin("/generations").json()[0].clone();
    assert_eq!(newest["source"], "watch", "{newest}");
    assert_eq!(front.metric("pasteway_config_file_differs", &[]), 0.0);
}

#[test]
fn without_a_watch_edits_are_told_of_all_the_same() {
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    let differs = |wanted: f64| {
        eventually("it is told", || (front.metric("pasteway_config_file_differs", &[]) == wanted).then_some(()));
    };
    let because = || front.admin("/status").json()["config_file_differs_because"].to_string();
    let old = fs::read_to_string(front.paste()).expect("a file");
    front.edit(Save::Rename, with(1));
    differs(1.0);
    assert!(because().contains("not been loaded"), "{}", because());
    front.logged("the files on disk have changed and are not what runs");
    assert_eq!(front.reload("").1["outcome"], "applied");
    differs(0.0);
    assert_eq!(front.order("/rollback").0, 200);
    differs(1.0);
    Save::Rename.save(&front.paste(), &old).expect("saved");
    differs(0.0);
    front.edit(Save::InPlace, |text| text.replace("/v2: app\n", "/v2: ap\n"));
    differs(1.0);
    assert!(because().contains("`ap` is not defined"), "{}", because());
    // It can be loaded again when it is another text, of which it is told too.
    front.edit(Save::InPlace, |text| text.replace("/v2: ap\n", "/v2: app\n/g2: app\n"));
    eventually("the next edit is told", || because().contains("not been loaded").then_some(()));
    let told = || front.log().iter().filter(|line| line.contains("have changed and are not what runs")).count();
    eventually("the log", || (told() >= 3).then_some(()));
    assert_eq!(told(), 3, "once for each edit that differs");
    assert_eq!(front.metric("pasteway_config_reloads_total", &[("source", "watch")]), 0.0);
    assert_eq!((front.generation(), front.get("/g2/x").status), (3, 404));
}

#[test]
fn who_has_loaded_an_edit_is_not_forgotten_when_the_watcher_comes_after_it() {
    let front = Front::start(&Layout::bare().pasteway("watch_settle = 0.3"));
    let watched = |outcome: &str| {
        let labels = [("outcome", outcome), ("source", "watch")];
        eventually("the watcher's look", || {
            (front.metric("pasteway_config_reloads_total", &labels) > 0.0).then_some(())
        });
        front.admin("/status").json()["last_reload"].clone()
    };
    // Now the watch stands.
    front.edit(Save::Rename, with(9));
    eventually("the first edit", || (front.generation() == 2).then_some(()));
    let old = fs::read_to_string(front.paste()).expect("a file");
    front.edit(Save::Rename, with(1));
    assert_eq!(front.reload("").1["outcome"], "applied");
    let last = watched("unchanged");
    assert_eq!((&last["source"], &last["outcome"]), (&"admin".into(), &"applied".into()), "{last}");
    // A rejection does not outlive its text.
    front.edit(Save::Rename, |_| old.replace("/v2: app\n", "/v2: ap\n"));
    assert_eq!(watched("rejected")["outcome"], "rejected");
    Save::Rename.save(&front.paste(), &with(1)(old)).expect("saved");
    eventually("the old text again", || {
        (front.admin("/status").json()["last_reload"]["outcome"] == "unchanged").then_some(())
    });
}
