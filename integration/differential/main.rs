//! Random and mutated configuration files through the real PasteDeploy and oslo.config, and through Pasteway: results,
//! exceptions and warnings must be the same. `run` beside this file installs the real ones and says where they are.
//!
//! Must not know how Pasteway comes to its results: it asks the library's public functions.

mod grow;
mod oracle;
mod oslo;
mod paste;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use oracle::Oracle;

/// How long a run is and how it began.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Of the random numbers.
    pub seed: u64,
    /// Files of each kind.
    pub cases: usize,
    /// When it ends, whatever is done by then.
    pub end: Instant,
}

impl Run {
    fn of_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
        let clock = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
            now.as_millis() as u64
        };
        Self {
            seed: number("PASTEWAY_SEED").unwrap_or_else(clock),
            cases: number("PASTEWAY_CASES").unwrap_or(3000) as usize,
            end: Instant::now() + Duration::from_secs(number("PASTEWAY_SECONDS").unwrap_or(120)),
        }
    }
}

/// What a comparison of many cases came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// Files that were compared.
    pub cases: usize,
    /// Questions that both answered alike.
    pub same: usize,
    /// Those of them that were answered by an error.
    pub errors: usize,
    /// Differences on purpose, by id and reason.
    pub on_purpose: BTreeMap<(&'static str, &'static str), usize>,
    /// Differences.
    pub wrong: Vec<String>,
}

fn compare(what: &str, version: u8, run: fn(&mut Oracle, Run) -> Tally) {
    let (name, path) = (format!("PASTEWAY_ORACLE_{version}"), format!("PASTEWAY_ORACLE_{version}_PATH"));
    let Some(python) = std::env::var_os(&name) else {
        eprintln!("SKIPPED: set {name}, or run integration/differential/run, to compare {what} with the real one");
        return;
    };
    let settings = Run::of_environment();
    let begun = Instant::now();
    let mut oracle = Oracle::start(&python, std::env::var_os(path).as_deref());
    let tally = run(&mut oracle, settings);
    eprintln!(
        "differential: {what}, Python {version}: {} cases, {} answers alike, {} of them exceptions, {} different on \
         purpose, {} different, {:.1} s, seed {}",
        tally.cases,
        tally.same,
        tally.errors,
        tally.on_purpose.values().sum::<usize>(),
        tally.wrong.len(),
        begun.elapsed().as_secs_f64(),
        settings.seed,
    );
    for ((id, reason), times) in &tally.on_purpose {
        eprintln!("  on purpose, {times} times: {id}: {reason}");
    }
    assert!(tally.wrong.is_empty(), "repeat with PASTEWAY_SEED={}\n{}", settings.seed, tally.wrong.join("\n"));
}

#[test]
fn paste_files_mean_the_same_to_pastedeploy_on_python_3() {
    compare("Paste files", 3, |oracle, run| paste::compare(oracle, run, paste::NEW));
}

#[test]
fn paste_files_mean_the_same_to_pastedeploy_on_python_2() {
    compare("Paste files", 2, |oracle, run| paste::compare(oracle, run, paste::OLD));
}

#[test]
fn options_mean_the_same_to_oslo_config_on_python_3() {
    compare("oslo.config files", 3, |oracle, run| oslo::compare(oracle, run, pasteway::config::oslo::Library::New));
}

#[test]
fn options_mean_the_same_to_oslo_config_on_python_2() {
    compare("oslo.config files", 2, |oracle, run| oslo::compare(oracle, run, pasteway::config::oslo::Library::Old));
}
