//! Workers that are killed, frozen, thawed and replaced at random, and hang, while clients order and give up.

use std::time::Duration;

use fastrand::Rng;
use rustix::process::Signal;

use super::orders::{CLIENTS, Orders};
use super::truth;
use crate::support::chance::{chance, one, pause, times};
use crate::support::traffic::{Style, Traffic};
use crate::support::{Front, Layout, process};

const WORKERS: usize = 3;

/// One thing that happens; how many workers it may cost the requests on them.
fn strike(front: &Front, orders: &Orders, chance: &mut Rng) -> usize {
    let workers = front.workers();
    if workers.is_empty() {
        return 0;
    }
    let victim = one(chance, &workers);
    // Who is chosen may be gone already.
    let signal = |pid: u32, signal| process::Process::of(pid).into_iter().for_each(|it| it.signal(signal));
    match chance.u8(0..14) {
        0..=3 => {
            println!("kill {victim}");
            signal(victim, Signal::KILL);
            1
        }
        4 => {
            println!("kill {workers:?}");
            workers.iter().for_each(|pid| signal(*pid, Signal::KILL));
            workers.len()
        }
        5..=7 => {
            println!("freeze {victim} for a while");
            signal(victim, Signal::STOP);
            pause(chance, 600);
            signal(victim, Signal::CONT);
            0
        }
        8 => {
            println!("freeze {victim} for good");
            signal(victim, Signal::STOP);
            1
        }
        9 => {
            println!("{victim} is asked to go by somebody else");
            signal(victim, Signal::TERM);
            1
        }
        10 | 11 => {
            println!("an app hangs by itself");
            orders.hang_one();
            1
        }
        12 => {
            println!("other workers for all");
            let threads = chance.u8(3..9);
            front.edit_conf(|text| text + &format!("[pasteway]\nworker_threads = {threads}\n"));
            0
        }
        _ => {
            println!("an edit of the front alone");
            let size = chance.u32(1000..100_000);
            front.edit_conf(|text| text + &format!("[pasteway]\nqueue_size = {size}\n"));
            0
        }
    }
}

#[track_caller]
fn storm(layout: impl FnOnce(&Orders) -> Layout) {
    let (mut chance, mut orders) = (chance(), Orders::new());
    let layout = layout(&orders).pasteway("worker_request_timeout = 3").pasteway("worker_stop_timeout = 3");
    // One that is frozen before it is ready is given up after this time, which is to be less than the healing may take.
    let layout = layout.pasteway("worker_start_timeout = 30");
    let front = Front::start(&layout);
    orders.at(front.address("osapi_compute"));
    let mut struck = 0;
    for _ in 0..times(12) {
        pause(&mut chance, 400);
        struck += strike(&front, &orders, &mut chance);
        truth::is_told(&front);
    }
    truth::is_told_and_all_serve(&front, WORKERS);
    let served = orders.acknowledged();
    crate::support::eventually("orders are taken again", || (orders.acknowledged() > served + 50).then_some(()));
    let fates = orders.settle();
    // Whatever was struck had at most one request of each client.
    assert!(fates.refused.len() <= struck * CLIENTS, "{struck} workers: {:?}", fates.refused);
    assert!(fates.refused.values().all(|status| matches!(status, 502 | 503)), "{:?}", fates.refused);
    assert!(fates.unanswered.is_empty(), "the front was there all the time: {:?}", fates.unanswered);
    truth::is_told_and_all_serve(&front, WORKERS);
}

#[test]
fn python_workers_that_are_killed_and_frozen_lose_no_acknowledged_order_and_do_none_twice() {
    storm(Orders::python);
}

#[test]
fn programs_that_are_killed_and_frozen_lose_no_acknowledged_order_and_do_none_twice() {
    storm(Orders::command);
}

#[test]
fn a_front_that_is_frozen_itself_takes_nobody_for_hung() {
    let (mut chance, mut orders) = (chance(), Orders::new());
    let front = Front::start(&orders.python().pasteway("worker_request_timeout = 1"));
    let workers = front.workers();
    orders.at(front.address("osapi_compute"));
    for _ in 0..times(3) {
        pause(&mut chance, 200);
        front.signal(Signal::STOP);
        // Longer than a heartbeat may take before a worker counts as sick.
        std::thread::sleep(Duration::from_millis(chance.u64(500..2500)));
        front.signal(Signal::CONT);
        truth::is_told_and_all_serve(&front, WORKERS);
    }
    let fates = orders.settle();
    assert!(fates.refused.is_empty() && fates.unanswered.is_empty(), "{fates:?}");
    assert_eq!(front.workers(), workers, "nobody was replaced");
}

#[test]
fn workers_are_recycled_one_at_a_time_and_there_are_never_fewer_for_it() {
    let mut chance = chance();
    let layout = Layout::bare().default(&format!("osapi_compute_workers = {WORKERS}"));
    let front = Front::start(&layout.pasteway("worker_max_requests = 100").pasteway("access_log = false"));
    let get = Style { method: "GET", fresh: false };
    let traffic = Traffic::start(front.address("osapi_compute"), &[get, get]);
    let exits = |reason: &str| front.metric("pasteway_worker_exits_total", &[("reason", reason)]) as usize;
    // Those that were killed until now, and whether none has come in the last one's place yet.
    let (mut deaths, mut killed) = (0, false);
    while exits("max_requests") < times(5) {
        let noticed = exits("signal") == deaths;
        let workers = front.admin("/workers").json();
        let slots = workers.as_array().expect("a list");
        let of = |state: &str| slots.iter().filter(|slot| slot["state"] == state).collect::<Vec<_>>();
        let (serving, starting) = (of("serving"), of("starting"));
        killed &= !noticed || serving.len() < WORKERS;
        assert!(serving.len() >= WORKERS - usize::from(killed), "{workers}");
        assert!(starting.len() <= 1 + usize::from(killed), "{workers}");
        if !killed && chance.u8(0..100) == 0 {
            let victim = one(&mut chance, &serving)["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
            println!("kill {victim:?}");
            (deaths, killed) = (deaths + 1, true);
            victim.and_then(process::Process::of).into_iter().for_each(|it| it.signal(Signal::KILL));
        }
        pause(&mut chance, 10);
    }
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::new(), 0));
    truth::is_told_and_all_serve(&front, WORKERS);
}
