//! The front is killed at random moments and started again.

use std::fs;

use fastrand::Rng;
use rustix::process::Signal;

use super::orders::Orders;
use super::truth;
use crate::support::chance::{chance, one, pause, times};
use crate::support::{Front, eventually, process};

/// What the front is in the middle of when it is killed.
fn begin_something(front: &Front, chance: &mut Rng) {
    let victim = one(chance, &front.workers());
    match chance.u8(0..5) {
        0 => println!("nothing"),
        1 => {
            println!("workers are being replaced");
            let threads = chance.u8(3..9);
            front.edit_conf(|text| text + &format!("[pasteway]\nworker_threads = {threads}\n"));
        }
        2 => {
            println!("a worker is being followed by another");
            process::signal(victim, Signal::KILL);
        }
        3 => {
            println!("a worker is frozen");
            process::signal(victim, Signal::STOP);
        }
        _ => {
            println!("it is stopping");
            front.signal(Signal::TERM);
        }
    }
    pause(chance, 300);
}

#[test]
fn a_front_that_is_killed_leaves_no_process_and_the_next_one_no_file_of_it() {
    let (mut chance, mut orders) = (chance(), Orders::new());
    let mut front = Front::start(&orders.python().pasteway("worker_stop_timeout = 2"));
    for _ in 0..times(5) {
        orders.at(front.address("osapi_compute"));
        let served = orders.acknowledged();
        eventually("orders are taken", || (orders.acknowledged() > served + 20).then_some(()));
        // As if a front before that one had left them.
        let older = front.directory().join("run/4711");
        fs::create_dir_all(older.join("generations/12/files")).expect("made");
        for name in ["osapi_compute.0.17.sock", "osapi_compute.0.17.notify"] {
            fs::write(older.join(name), "").expect("written");
        }
        begin_something(&front, &mut chance);
        let family = process::family(front.pid());
        orders.nowhere();
        if process::lives(front.pid()) {
            front.signal(Signal::KILL);
        }
        front.start_again();
        eventually("no worker of the front before is left", || {
            family.iter().all(|member| !member.lives()).then_some(())
        });
        truth::is_told_and_all_serve(&front, 3);
    }
    let fates = orders.settle();
    assert!(fates.refused.values().all(|status| *status == 502), "{:?}", fates.refused);
}

#[test]
fn programs_of_a_front_that_is_killed_do_not_outlive_the_next_start() {
    let (mut chance, orders) = (chance(), Orders::new());
    let mut front = Front::start(&orders.command().pasteway("worker_stop_timeout = 1"));
    for _ in 0..times(2) {
        let family = process::family(front.pid());
        assert_eq!(family.len(), 3, "{family:?}");
        process::signal(one(&mut chance, &front.workers()), Signal::STOP);
        front.signal(Signal::KILL);
        front.start_again();
        eventually("no program of the front before is left", || {
            family.iter().all(|member| !member.lives()).then_some(())
        });
        truth::is_told_and_all_serve(&front, 3);
    }
}
