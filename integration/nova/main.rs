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
mod compare;
mod requests;

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use behind::{Behind, answering};
use compare::{Facts, Nova, differences, play};
use stack::{Served, Stack};

/// One more of the current Nova under gunicorn, on ports of its own.
struct Another {
    compute: Served,
    metadata: Served,
}

impl Another {
    fn start(stack: &Stack) -> Self {
        let start = |api: &str| {
            let environment = stack.value(&format!("/nova/environment/{api}"));
            Served::start(stack.value("/nova/command"), &[environment], &[])
        };
        std::thread::scope(|scope| {
            let metadata = scope.spawn(|| start("metadata"));
            Self { compute: start("compute"), metadata: metadata.join().expect("no panic") }
        })
    }
}

/// The real services, started by the first test that asks; `None`, loudly, when nobody wants them.
fn stack() -> Option<&'static Stack> {
    static STACK: OnceLock<Option<Stack>> = OnceLock::new();
    STACK.get_or_init(|| Stack::up(&["keystone", "nova"])).as_ref()
}

fn reference(stack: &Stack) -> Nova {
    Nova { compute: stack.address("/nova/url"), metadata: stack.address("/nova/metadata_url") }
}

/// Compares, and prints the slowest requests: a second that nobody expects would hide in the sum.
#[track_caller]
fn same(stack: &Stack, one: Nova, other: Nova) {
    let steps = requests::all();
    assert!(steps.len() >= 60, "{}", steps.len());
    let facts = Facts::of(stack, "nova");
    let (first, second) = (play(&steps, one, &facts), play(&steps, other, &facts));
    for (step, ((_, one), (_, other))) in steps.iter().zip(first.iter().zip(&second)) {
        if *one.max(other) > Duration::from_secs(1) {
            eprintln!("slow: {} {}: {one:.1?}, {other:.1?}", step.method, step.path);
        }
    }
    let sum = |play: &[(_, Duration)]| play.iter().map(|(_, took)| *took).sum::<Duration>();
    eprintln!("nova: {} requests, {:.1?} and {:.1?}", steps.len(), sum(&first), sum(&second));
    let found = differences(&steps, &first, &second);
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
fn two_references_answer_alike() {
    let _alone = alone();
    let Some(stack) = stack() else { return };
    let other = Another::start(stack);
    same(stack, reference(stack), Nova { compute: other.compute.address, metadata: other.metadata.address });
}

#[test]
fn the_command_line_prints_the_same_of_two_references() {
    let _alone = alone();
    let Some(stack) = stack() else { return };
    let other = Another::start(stack);
    same_printed(stack, reference(stack).compute, other.compute.address);
}

#[test]
fn a_nova_behind_pasteway_answers_as_it_does_by_itself() {
    let _alone = alone();
    let Some(stack) = stack() else { return };
    let front = Behind::of(stack, "nova").start();
    same(stack, reference(stack), answering(&front));
}
