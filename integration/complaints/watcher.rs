//! Complaints about the watcher: storms, traps, blindness. One edit, one reload.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::reload::{reloads, with};
use crate::support::{Front, Layout, Save, eventually};

#[test]
fn the_watcher_is_neither_stormed_nor_trapped() {
    let front = Front::start(&Layout::bare());
    let here = front.directory();
    let attempts = || front.metric("pasteway_config_reloads_total", &[]);
    // A file that was written in the moment of the start is looked at once more; after an edit that is over.
    front.edit(Save::Rename, with(9));
    eventually("the edit", || (reloads(&front, "applied") == 1.0).then_some(()));
    let before = attempts();
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
    eventually("the edit", || (reloads(&front, "applied") == 2.0).then_some(()));
    assert_eq!(attempts() - before, 1.0, "nothing else was taken for an edit");

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
    for number in 2..5 {
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
