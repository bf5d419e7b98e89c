//! A machine that gives nothing any more: no disk, no descriptors, no memory; and then gives again.

use std::fs::{self, File};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::orders::{CLIENTS, Orders};
use super::truth;
use crate::support::chance::{chance, one, pause, times};
use crate::support::disk::SmallDisk;
use crate::support::{Client, Front, Layout, Save, eventually, process};

/// `Layout::bare` with one more mount, `/gN`.
fn with_mount(number: usize) -> String {
    Layout::bare().paste().replace("/v2: app\n", &format!("/v2: app\n/g{number}: app\n"))
}

/// Gives a process no more of something than this, or again as much as we have.
#[track_caller]
fn limit(pid: u32, resource: Resource, most: Option<u64>) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process");
    // The bound of the bound stays, so that it can be raised again.
    let maximum = getrlimit(resource).maximum;
    prlimit(Some(pid), resource, Rlimit { current: most.or(maximum), maximum }).expect("a limit");
}

/// Takes all that is left of the disk: its bytes, or its files.
fn fill(disk: &SmallDisk, files: bool) {
    let at = |n: usize| disk.path().join(format!("filler{n}"));
    if files {
        let full = (0..1000).find(|n| File::create(at(*n)).is_err());
        assert!(full.is_some(), "the disk is full");
    } else {
        assert!(fs::write(at(0), vec![0; 512 * 1024]).is_err(), "the disk is full");
    }
}

fn free(disk: &SmallDisk) {
    for entry in fs::read_dir(disk.path()).expect("a directory").flatten() {
        if entry.file_name().to_string_lossy().starts_with("filler") {
            fs::remove_file(entry.path()).expect("removed");
        }
    }
}

#[test]
fn a_full_disk_rejects_edits_with_its_reason_and_takes_them_when_there_is_room_again() {
    let (mut chance, directory) = (chance(), tempfile::tempdir().expect("a directory"));
    let Some(disk) = SmallDisk::mount(directory.path().join("disk")) else { return };
    let here = disk.path().display();
    let layout = Layout::bare().default("osapi_compute_workers = 2").default("use_stderr = true");
    let layout = layout.default(&format!("log_file = {here}/api.log")).pasteway(&format!("runtime_dir = {here}/run"));
    let front = Front::start(&layout.pasteway("watch = false"));
    // Where the test looks for it.
    std::os::unix::fs::symlink(disk.path().join("run"), front.directory().join("run")).expect("a link");
    let lost = || front.metric("pasteway_log_lines_dropped_total", &[]);
    let mut kept = front.client();
    let mut ways = [true, false].repeat(times(2));
    chance.shuffle(&mut ways);
    for (number, files) in (1..).zip(ways) {
        println!("no room for more {}", if files { "files" } else { "bytes" });
        let before = lost();
        fill(&disk, files);
        let generation = front.generation();
        Save::Rename.save(&front.paste(), &with_mount(number)).expect("saved");
        let (status, verdict) = front.reload("");
        assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
        let message = verdict["diagnostics"][0]["message"].as_str().expect("a message");
        assert!(message.contains("runtime_dir") && message.contains("No space left on device"), "{message}");
        assert_eq!((front.generation(), front.get(&format!("/g{number}/x")).status), (generation, 404));
        if chance.bool() {
            let victim = one(&mut chance, &front.workers());
            println!("kill {victim}");
            process::signal(victim, Signal::KILL);
        }
        truth::is_told(&front);
        for _ in 0..60 {
            assert_eq!(kept.get("/v2/x", &[]).expect("an answer").status, 200);
        }
        if !files {
            eventually("lines that find no room are counted", || (lost() > before).then_some(()));
        }
        free(&disk);
        let (status, verdict) = front.reload("");
        assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
        assert_eq!(front.get(&format!("/g{number}/x")).status, 200);
        truth::is_told_and_all_serve(&front, 2);
    }
}

#[test]
fn with_few_descriptors_clients_wait_and_all_else_goes_on_and_without_any_what_was_begun_does() {
    let mut chance = chance();
    let front = Front::start(&Layout::bare().default("osapi_compute_workers = 2").pasteway("watch = false"));
    let said = |text: &str| front.log().iter().filter(|line| line.contains(text)).count();
    let (mut served, mut other) = (front.client(), front.client());
    let mut ask = |path: &str| served.get(path, &[]).expect("an answer").status;
    assert_eq!((ask("/v2/x"), other.get("/v2/x", &[]).expect("an answer").status), (200, 200));
    let calm = process::descriptors(front.pid());
    for number in 1..=times(2) {
        let full = said("accept on");
        let most = process::descriptors(front.pid()) as u64 + chance.u64(20..40);
        println!("{most} descriptors");
        limit(front.pid(), Resource::Nofile, Some(most));
        let crowd: Vec<Client> = (0..80).map(|_| front.client()).collect();
        // Of another crowd the log was told a moment ago.
        eventually("nobody is let in", || (said("accept on") > full || number > 1).then_some(()));
        kill_one(&mut chance, &front);
        truth::is_told_and_all_serve(&front, 2);
        Save::Rename.save(&front.paste(), &with_mount(2 * number)).expect("saved");
        assert_eq!(front.reload("").1["outcome"], "applied");
        assert_eq!((ask(&format!("/g{}/x", 2 * number)), ask("/v2/x")), (200, 200));

        println!("no descriptors");
        limit(front.pid(), Resource::Nofile, Some(4));
        let rejected = said("reload rejected");
        Save::Rename.save(&front.paste(), &with_mount(2 * number + 1)).expect("saved");
        front.signal(Signal::HUP);
        eventually("the verdict", || (said("reload rejected") > rejected).then_some(()));
        kill_one(&mut chance, &front);
        // Where it has no wire to the worker that is left, it waits.
        let waits = std::thread::spawn(move || (other.get("/v2/x", &[]).expect("an answer").status, other));
        let spent = process::ticks(front.pid());
        for _ in 0..20 {
            assert_eq!(ask(&format!("/g{}/x", 2 * number + 1)), 404);
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        let spent = process::ticks(front.pid()) - spent;
        assert!(spent < 40, "{spent} ticks in half a second in which nothing could begin");
        drop(crowd);
        limit(front.pid(), Resource::Nofile, None);
        let status;
        (status, other) = waits.join().expect("no panic");
        assert_eq!(status, 200);
        truth::is_told_and_all_serve(&front, 2);
        assert_eq!(front.reload("").1["outcome"], "applied");
        assert_eq!(ask(&format!("/g{}/x", 2 * number + 1)), 200);
        truth::is_told(&front);
    }
    assert_eq!(front.metric("pasteway_queue_rejected_total", &[]), 0.0);
    eventually("no descriptor is left over", || (process::descriptors(front.pid()) <= calm).then_some(()));
}

fn kill_one(chance: &mut fastrand::Rng, front: &Front) {
    let victim = one(chance, &front.workers());
    println!("kill {victim}");
    process::signal(victim, Signal::KILL);
}

#[test]
fn workers_without_memory_answer_errors_or_die_and_lose_nothing_that_was_acknowledged() {
    let (mut chance, mut orders) = (chance(), Orders::new());
    let front = Front::start(&orders.python().pasteway("worker_request_timeout = 3"));
    orders.at(front.address("osapi_compute"));
    let mut starved = 0;
    for _ in 0..times(3) {
        pause(&mut chance, 200);
        let victim = one(&mut chance, &front.workers());
        println!("no more memory for {victim}");
        limit(victim, Resource::As, Some(1));
        starved += 1;
        pause(&mut chance, 500);
        truth::is_told(&front);
        // As the kernel does when all memory is gone.
        println!("kill {victim}");
        let exits = |reason: &str| front.metric("pasteway_worker_exits_total", &[("reason", reason)]);
        let before = exits("signal") + exits("exit") + exits("hang");
        process::Process::of(victim).into_iter().for_each(|it| it.signal(Signal::KILL));
        eventually("its end is counted", || {
            (exits("signal") + exits("exit") + exits("hang") > before || !front.workers().contains(&victim))
                .then_some(())
        });
        truth::is_told_and_all_serve(&front, 3);
    }
    let slots = front.admin("/workers").json();
    let ended = slots.as_array().expect("slots").iter().filter(|slot| slot["last_exit"].is_string()).count();
    assert!(ended >= 1, "a death is told where it happened: {slots}");
    let fates = orders.settle();
    assert!(fates.unanswered.is_empty(), "{:?}", fates.unanswered);
    println!("{starved} workers without memory, {} orders refused by {CLIENTS} clients", fates.refused.len());
}

#[test]
fn a_command_that_has_no_memory_to_start_rejects_the_reload_with_its_last_words() {
    let orders = Orders::new();
    let front = Front::start(&orders.command().pasteway("watch = false"));
    let workers = front.workers();
    front.edit_conf(|text| {
        text.replace("worker_command = python3", "worker_command = sh -c 'ulimit -v 9000; exec python3 \"$@\"' sh")
    });
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
    let message = verdict["diagnostics"][0]["message"].as_str().expect("a message");
    assert!(message.contains("3 times in a row"), "{message}");
    assert_eq!((front.workers(), front.generation()), (workers, 1));
    truth::is_told(&front);
}
