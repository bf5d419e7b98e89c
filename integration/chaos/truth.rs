//! What a front says of itself, beside what the kernel says.
//!
//! Must not know what was done to it. A death takes a moment to be heard of; what does not come right in that moment
//! was a lie.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Front, process};

/// What is not true after this time was a lie.
const MOMENT: Duration = Duration::from_secs(10);
/// A slot whose workers died again and again waits up to half a minute for its next one.
const HEALING: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// All that is compared.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    pid: u64,
    generation: u64,
    workers: BTreeSet<u64>,
    ports: BTreeSet<SocketAddr>,
    /// Fronts that have files in `runtime_dir`.
    fronts: BTreeSet<u64>,
    /// Sockets of slots there, and sockets for what their processes say.
    sockets: usize,
    notifications: usize,
    /// Generations with files there.
    generations: BTreeSet<u64>,
}

fn list(front: &Front, path: &str) -> Vec<Value> {
    front.admin(path).json().as_array().expect("a list").clone()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// What the admin API says, and how many programs may not have come to bind their socket yet; `Err` where it contradicts
/// itself.
fn said(front: &Front) -> Result<(Facts, usize), String> {
    let (status, workers, generations) =
        (front.admin("/status").json(), list(front, "/workers"), list(front, "/generations"));
    let agree = |what: &str, one: f64, other: f64| {
        if one == other { Ok(()) } else { Err(format!("{what}: {one} and {other}")) }
    };
    let live: Vec<u64> =
        (generations.iter().filter(|one| one["state"] == "live")).map(|one| number(&one["generation"])).collect();
    let generation = number(&status["generation"]);
    if live != [generation] {
        return Err(format!("generation {generation} serves, and live are {live:?}"));
    }
    agree("the generation", generation as f64, front.metric("pasteway_config_generation", &[]))?;
    agree("live generations", 1.0, front.metric("pasteway_generations", &[("state", "live")]))?;
    for state in ["starting", "serving", "draining", "backoff"] {
        let shown = workers.iter().filter(|slot| slot["state"] == state).count();
        agree(state, shown as f64, front.metric("pasteway_workers", &[("state", state)]))?;
    }
    let apis = status["apis"].as_array().expect("a list");
    for api in apis {
        // Those of a generation that is still prepared serve nobody yet.
        let serves = |slot: &&Value| slot["state"] == "serving" && number(&slot["generation"]) <= generation;
        let serving = workers.iter().filter(|slot| slot["api"] == api["name"]).filter(serves).count();
        agree("serving workers", serving as f64, number(&api["workers_serving"]) as f64)?;
    }
    let living = || workers.iter().filter(|slot| slot["pid"] != 0);
    let in_use = generations.iter().filter(|one| one["state"] != "retired").chain(&workers);
    let early = living().filter(|slot| slot["kind"] == "command" && slot["state"] == "starting").count();
    let facts = Facts {
        pid: number(&status["pid"]),
        generation,
        workers: living().map(|slot| number(&slot["pid"])).collect(),
        ports: apis.iter().map(|api| api["listen"].as_str().and_then(|l| l.parse().ok()).expect("a port")).collect(),
        fronts: [number(&status["pid"])].into(),
        sockets: living().count(),
        notifications: living().filter(|slot| slot["kind"] != "command").count(),
        generations: in_use.map(|one| number(&one["generation"])).collect(),
    };
    Ok((facts, early))
}

/// What /proc and the directory say.
fn real(front: &Front, generation: u64) -> Facts {
    let names = |directory: PathBuf| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let numbers = |names: Vec<String>| names.iter().filter_map(|name| name.parse().ok()).collect();
    let run = front.directory().join("run");
    let pid = front.serving_pid().unwrap_or_default();
    let directory = run.join(pid.to_string());
    let own = names(directory.clone());
    let ending = |end: &str| own.iter().filter(|name| name.ends_with(end)).count();
    Facts {
        pid: u64::from(pid),
        generation,
        // Whoever else lives has been forgotten.
        workers: front.processes().into_iter().filter(|other| *other != pid).map(u64::from).collect(),
        ports: process::listens_on(pid),
        sockets: ending(".sock"),
        notifications: ending(".notify"),
        generations: numbers(names(directory.join("generations"))),
        fronts: numbers(names(run)),
    }
}

/// The front says what is: processes, ports, sockets, directories, and the same in every report and metric.
#[track_caller]
pub fn is_told(front: &Front) {
    let deadline = Instant::now() + MOMENT;
    loop {
        let lie = match said(front) {
            Ok((mut said, early)) => {
                let real = real(front, said.generation);
                said.sockets -= said.sockets.saturating_sub(real.sockets).min(early);
                if said == real {
                    return;
                }
                format!("said {said:?}\nreal {real:?}")
            }
            Err(contradiction) => contradiction,
        };
        assert!(Instant::now() < deadline, "{lie}");
        std::thread::sleep(LOOK);
    }
}

/// The same, and so many workers serve: whatever happened is over.
#[track_caller]
pub fn is_told_and_all_serve(front: &Front, workers: usize) {
    let deadline = Instant::now() + HEALING;
    let count = || (front.metric("pasteway_workers", &[("state", "serving")]), front.processes().len());
    while count() != (workers as f64, workers + 1) {
        assert!(Instant::now() < deadline, "not {workers} workers: {}", front.admin("/workers").text());
        std::thread::sleep(LOOK);
    }
    is_told(front);
}
