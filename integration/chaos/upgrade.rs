//! Upgrades to what is no good program, and fronts that are killed in the middle of one.

use fastrand::Rng;
use rustix::process::Signal;

use super::orders::Orders;
use super::truth;
use crate::support::chance::{chance, pause, times};
use crate::support::{Front, Layout, eventually, process};

const WORKERS: usize = 3;

/// What may lie under the program's path one day; each has its own way not to become a front.
const BROKEN: [&str; 7] = [
    "no program at all\n",
    "#!/bin/sh\nexit 3\n",
    "#!/bin/sh\nkill -9 $$\n",
    "#!/bin/sh\nsleep 600\n",
    "#!/bin/sh\nexec 3<&0\nsleep 600 <&3 &\nsleep 600 <&3 & wait\n",
    "#!/bin/sh\ntrap '' TERM INT HUP\nsleep 600 & sleep 600\n",
    "#!/bin/sh\ncat >/dev/null & cat\n",
];

/// Three workers that take a while to start.
fn layout(orders: &Orders, timeout: u32) -> Layout {
    let slow = orders.python();
    let paste = format!("{}boot = 0.5\n", slow.paste());
    slow.with_paste(&paste)
        .pasteway(&format!("upgrade_timeout = {timeout}"))
        .pasteway("worker_stop_timeout = 2")
        .pasteway("watch = false")
}

/// The new front of an upgrade that has just begun; it is no front yet.
#[track_caller]
fn begin_upgrade(front: &Front) -> u32 {
    let before = front.processes();
    front.signal(Signal::USR2);
    eventually("a new front", || front.workers().into_iter().find(|pid| !before.contains(pid)))
}

#[track_caller]
fn fail(front: &Front, chance: &mut Rng, program: &str) {
    println!("{program:?}");
    front.replace_program(program, 0o755);
    if chance.bool() {
        assert_eq!(front.order("/upgrade").0, 422);
    } else {
        let failed = || front.metric("pasteway_upgrades_total", &[("outcome", "failed")]);
        let before = failed();
        front.signal(Signal::USR2);
        eventually("a verdict", || (failed() > before).then_some(()));
    }
}

#[test]
fn an_upgrade_to_a_broken_program_loses_no_order_and_leaves_no_process() {
    let (mut chance, mut orders) = (chance(), Orders::new());
    let front = Front::start_by_link(&layout(&orders, 1));
    orders.at(front.address("osapi_compute"));
    let mut broken = BROKEN.repeat(times(1));
    chance.shuffle(&mut broken);
    for program in broken {
        let served = orders.acknowledged();
        fail(&front, &mut chance, program);
        truth::is_told_and_all_serve(&front, WORKERS);
        eventually("orders are taken", || (orders.acknowledged() > served + 20).then_some(()));
    }
    let fates = orders.settle();
    assert!(fates.refused.is_empty() && fates.unanswered.is_empty(), "{fates:?}");
}

#[test]
fn whichever_front_is_killed_in_an_upgrade_no_acknowledged_order_is_lost_and_no_process_left() {
    let (mut chance, mut orders) = (chance(), Orders::new());
    let mut front = Front::start_by_link(&layout(&orders, 60));
    let mut victims = [true, false].repeat(times(3));
    chance.shuffle(&mut victims);
    for new_one in victims {
        orders.at(front.address("osapi_compute"));
        let new = begin_upgrade(&front);
        // Half a second is the least that its workers take.
        pause(&mut chance, 400);
        if new_one {
            println!("the new one is killed");
            process::signal(new, Signal::KILL);
            truth::is_told_and_all_serve(&front, WORKERS);
            let served = orders.acknowledged();
            eventually("orders are taken", || (orders.acknowledged() > served + 20).then_some(()));
            continue;
        }
        println!("the old one is killed");
        front.signal(Signal::KILL);
        front.exit();
        // Who had the sockets by then serves; who had not yet ends.
        let serves = eventually("either", || match front.serving_pid() {
            Some(pid) if pid != front.pid() => Some(true),
            _ => front.processes().is_empty().then_some(false),
        });
        println!("and the new one {}", if serves { "serves" } else { "is gone too" });
        if serves {
            truth::is_told_and_all_serve(&front, WORKERS);
            let served = orders.acknowledged();
            eventually("orders are taken", || (orders.acknowledged() > served + 20).then_some(()));
            orders.nowhere();
            process::signal(new, Signal::TERM);
            eventually("the end of all", || front.processes().is_empty().then_some(()));
        }
        orders.nowhere();
        front.start_again();
    }
    orders.settle();
}
