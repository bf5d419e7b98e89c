//! A real Nova answers through Pasteway as it answers by itself: the same requests to both, and the answers compared.
//! `run` beside this file starts the real services.
//!
//! Must not know how either comes to its answers.

// Shared with the end-to-end tests, which need more of it.
#[path = "../stack/stack.rs"]
#[allow(dead_code, unused_imports)]
mod stack;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod behind;
mod cli;
mod commands;
mod compare;
mod requests;
mod storm;

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use behind::{Behind, answering};
use compare::{Excepted, Facts, Nova, differences, play};
use requests::Step;
use rustix::process::Signal;
use stack::Stack;
use support::{Client, eventually, process};

/// What eventlet's server does and Pasteway does not.
const EVENTLET: &[Excepted] = &[
    Excepted {
        method: "POST",
        path: "/v2.1/servers",
        chunked: true,
        times: 2,
        reason: "eventlet hands a chunked body to nobody: Nova sees none, and sizelimit no length",
    },
    Excepted {
        method: "DELETE",
        path: "/v2.1/os-keypairs/made",
        chunked: false,
        times: 1,
        reason: "204 has no Content-Length (RFC 9110, 8.6)",
    },
    Excepted {
        method: "DELETE",
        path: "/v2.1/os-server-groups/{group}",
        chunked: false,
        times: 1,
        reason: "204 has no Content-Length (RFC 9110, 8.6)",
    },
];

/// What a command's own pipeline does behind the front's.
const COMMAND: &[Excepted] = &[Excepted {
    method: "OPTIONS",
    path: "/v2.1/flavors",
    chunked: false,
    times: 1,
    reason: "the worker's cors has made it 200 already, and the front's compute_req_id marks that",
}];

/// The real services, started by the first test that asks; `None`, loudly, when nobody wants them.
fn stack() -> Option<&'static Stack> {
    static STACK: OnceLock<Option<Stack>> = OnceLock::new();
    STACK.get_or_init(|| Stack::up(&["keystone", "nova", "nova31"])).as_ref()
}

fn reference(stack: &Stack, nova: &str) -> Nova {
    let address = |what| stack.address(&format!("/{nova}/{what}"));
    Nova { compute: address("url"), metadata: address("metadata_url") }
}

/// Compares, and prints the slowest requests: a second that nobody expects would hide in the sum.
#[track_caller]
fn same(stack: &Stack, nova: &str, one: Nova, other: Nova, excepted: &[Excepted]) {
    let steps = requests::all();
    assert!(steps.len() >= 60, "{}", steps.len());
    same_of(&steps, stack, nova, one, other, excepted);
}

#[track_caller]
fn same_of(steps: &[Step], stack: &Stack, nova: &str, one: Nova, other: Nova, excepted: &[Excepted]) {
    let facts = Facts::of(stack, nova);
    let (first, second) = (play(steps, one, &facts), play(steps, other, &facts));
    for (step, ((_, one), (_, other))) in steps.iter().zip(first.iter().zip(&second)) {
        if *one.max(other) > Duration::from_secs(1) {
            eprintln!("slow: {} {}: {one:.1?}, {other:.1?}", step.method, step.path);
        }
    }
    let sum = |play: &[(_, Duration)]| play.iter().map(|(_, took)| *took).sum::<Duration>();
    eprintln!("{nova}: {} requests, {:.1?} and {:.1?}", steps.len(), sum(&first), sum(&second));
    let mut found = differences(steps, &first, &second);
    for one in excepted {
        let before = found.len();
        found.retain(|(step, _)| !one.concerns(step));
        let times = before - found.len();
        // One that agrees all of a sudden is no exception any more.
        assert_eq!(times, one.times, "{} {} differ: {}", one.method, one.path, one.reason);
    }
    let found: Vec<_> = found.into_iter().map(|(_, told)| told).collect();
    assert!(found.is_empty(), "{} of {} differ\n{}", found.len(), steps.len(), found.join("\n"));
}

/// Compares what the command line prints.
#[track_caller]
fn same_printed(stack: &Stack, one: SocketAddr, other: SocketAddr) {
    let (one, other) = (cli::run(stack, one), cli::run(stack, other));
    for word in ["m1.tiny", "vm-0", "by-command", "No Server found"] {
        assert!(one.iter().any(|line| line.contains(word)), "{word}: {}", one.join("\n"));
    }
    let differ: Vec<_> = one.iter().zip(&other).filter(|(one, other)| one != other).collect();
    assert!(differ.is_empty() && one.len() == other.len(), "{differ:#?}");
}

/// Both make and remove things on the same databases, and SQLite refuses a writer that read what another has changed.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_nova_behind_pasteway_answers_as_it_does_by_itself() {
    let _alone = alone();
    let Some(stack) = stack() else { return };
    let front = Behind::of(stack, "nova").start();
    same(stack, "nova", reference(stack, "nova"), answering(&front), &[]);
    // The agreement would be worth little if Python had answered everything.
    for filter in ["versions", "version", "authtoken", "sizelimit", "metadata"] {
        let replies = front.metric("pasteway_filter_replies_total", &[("filter", filter)]);
        assert!(replies >= 1.0, "{filter} answered nothing");
    }
    same_printed(stack, reference(stack, "nova").compute, answering(&front).compute);
}

#[test]
fn nova_31_behind_pasteway_answers_as_its_own_eventlet_servers_do() {
    let _alone = alone();
    let Some(stack) = stack() else { return };
    let front = Behind::of(stack, "nova31").start();
    same(stack, "nova31", reference(stack, "nova31"), answering(&front), EVENTLET);
}

#[test]
fn a_nova_that_a_command_serves_answers_as_it_does_by_itself() {
    let _alone = alone();
    let Some(stack) = stack() else { return };
    let Some(servers) = commands::servers() else { return };
    for server in commands::SERVERS {
        eprintln!("{server}");
        let front = commands::serve(stack, &servers, server);
        same_of(&requests::few(), stack, "nova", reference(stack, "nova"), answering(&front), COMMAND);
    }
}

#[test]
fn a_storm_of_edits_fails_no_request() {
    let _alone = alone();
    let Some(stack) = stack() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    storm::prepare(stack, directory.path());
    let conf = directory.path().join("nova.conf");
    let front = Behind { conf, ..Behind::of(stack, "nova") }.start_in(directory);
    storm::rage(&front, stack);
}

#[test]
fn version_documents_end_with_the_workers() {
    let _alone = alone();
    let Some(stack) = stack() else { return };
    let front = Behind::of(stack, "nova").start();
    let address = answering(&front).compute;
    let get = |path: &str| Client::connect(address).and_then(|mut client| client.get(path, &[])).expect("an answer");
    assert_eq!((get("/").status, get("/v2.1").status), (200, 200));
    let workers = front.admin("/workers").json();
    let workers = workers.as_array().expect("a list").iter();
    let pid = workers.filter(|it| it["api"] == "osapi_compute").find_map(|it| it["pid"].as_u64()).expect("a worker");
    let pid = u32::try_from(pid).expect("a pid");
    process::signal(pid, Signal::STOP);
    let refusal = eventually("no document of a worker that hangs", || Some(get("/")).filter(|it| it.status == 503));
    process::signal(pid, Signal::CONT);
    assert!(refusal.text().contains("no worker answers its heartbeat"), "{}", refusal.text());
    eventually("documents again", || (get("/v2.1").status == 200).then_some(()));
}
