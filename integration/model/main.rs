//! The model check: swap, lease, ejection and drain in the orders in which a front's threads can run, by the program's own files.
//!
//! shuttle runs the threads one at a time and decides at every atomic, lock and message who goes on: at random, and by
//! few preemptions at random places (PCT), which finds what needs a certain order. Who waits for ever is a deadlock, and
//! fails. The files are the program's, included by their paths; they name `crate::sync`, which here is shuttle's. tokio's
//! `Notify` and channels and arc-swap are the real ones, each operation one step: that they keep their contracts is
//! checked where they come from. Memory orderings are not tried (all are taken for SeqCst).

// Of the included files only a part is used.
#![allow(dead_code)]

#[path = "../../src/balance.rs"]
mod balance;
#[path = "../../src/id.rs"]
mod id;
mod lease;
mod proxy;
mod stubs;
mod swap;
mod sync;
mod worker;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};
use stubs::{filter, metrics, release};

/// Stack of a thread: the default is for smaller programs.
const STACK: usize = 256 * 1024;
/// Preemptions that PCT places in one run.
const PREEMPTIONS: usize = 3;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

fn run(scheduler: impl Scheduler + 'static, protocol: fn()) {
    let mut config = Config::new();
    config.stack_size = STACK;
    Runner::new(scheduler, config).run(move || {
        // The pools' choice among equals is part of what is to be repeated.
        fastrand::seed(1);
        protocol();
    });
}

fn main() {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let seed = number("PASTEWAY_SEED").unwrap_or_else(clock);
    let orders = number("PASTEWAY_ORDERS").map_or(50_000, |orders| orders as usize);
    println!("model: repeat with PASTEWAY_SEED={seed}");
    // Timers of the queue are made and never end: nobody may depend on one.
    let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a clock");
    let _clock = clock.enter();
    let protocols: [(&str, fn()); 9] = [
        ("whoever waits for a worker gets one", lease::whoever_waits_gets_one),
        ("who gives up takes nobody's turn", lease::who_gives_up_takes_nobodys_turn),
        ("whose time is over takes nobody's turn", lease::whose_time_is_over_takes_nobodys_turn),
        ("who waits gets a worker that is no longer left out", lease::who_waits_gets_one_that_is_no_longer_left_out),
        (
            "who waits gets a worker that is left out when the last sound one goes",
            lease::who_waits_gets_one_that_is_left_out_when_the_last_sound_one_goes,
        ),
        ("at least half of the workers are never left out", lease::at_least_half_are_never_left_out),
        ("a dismissed worker becomes idle", lease::a_dismissed_worker_becomes_idle),
        ("a generation is retired once, after its last request", swap::retired_once_after_the_last_request),
        ("a canary is promoted or taken out under load", swap::a_canary_comes_and_goes),
    ];
    for (name, protocol) in protocols {
        let begun = Instant::now();
        run(RandomScheduler::new_from_seed(seed, orders), protocol);
        run(PctScheduler::new_from_seed(seed, PREEMPTIONS, orders), protocol);
        println!("model: {name}: {} orders, {:.1} s", 2 * orders, begun.elapsed().as_secs_f64());
    }
}
