//! Metrics: counted where things happen without waiting for anyone, summed when a scrape comes.
//!
//! ```text
//! data thread ─▶ [ThreadMetrics] ─▶ [ApiBlock] ─┐ one writer each, relaxed loads and stores
//! data thread ─▶ [ThreadMetrics] ─▶ [ApiBlock] ─┼─▶ collector (sums) ─┐
//! reloads, lives of workers ─▶ rare (a lock) ───┼─────────────────────┼─▶ page ─▶ text
//! pools, generations ─▶ [Gauges] (asked then) ──┘─────────────────────┘
//! ```
//!
//! See [`Metrics`], [`ThreadMetrics`], [`ApiBlock`] and [`Gauges`]; [`FAMILIES`] names them all.
//!
//! Metrics are made once per process and outlive every generation, so that no series vanishes or begins anew at a
//! reload. Must not know requests, pools or the configuration: they report here.

mod block;
mod cell;
mod collector;
mod families;
mod gauges;
mod page;
mod process;
mod rare;
mod tally;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use block::{ApiBlock, FilterBlock, ThreadMetrics};
pub use families::{FAMILIES, Family};
pub use gauges::Gauges;
pub use tally::Tally;
pub use words::{CacheOutcome, ExitReason, KeystoneOutcome, Phase, QueueRejection, TunnelEnd, UpstreamError};

use block::ApiCells;
use collector::ApiSum;
use page::Page;
use rare::Rare;

use crate::command::{Outcome, Source, UpgradeOutcome};
use crate::id::{ApiName, Generation, SlotId};

/// The `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The metrics of the process; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<State>);

type Reporter = Box<dyn Fn(&mut Gauges) + Send + Sync>;

struct State {
    /// Of all threads; none is ever removed.
    blocks: Mutex<Vec<(ApiName, Arc<ApiCells>)>>,
    rare: Mutex<Rare>,
    reporters: Mutex<Vec<Reporter>>,
    gauges: Mutex<Gauges>,
    /// Seconds since 1970.
    start: f64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet. To be called once, at the start of the process.
    pub fn new() -> Self {
        Self(Arc::new(State {
            blocks: Mutex::default(),
            rare: Mutex::new(Rare::new()),
            reporters: Mutex::default(),
            gauges: Mutex::default(),
            start: process::now(),
        }))
    }

    /// Metrics for one data thread, to be called once by each.
    pub fn thread(&self) -> ThreadMetrics {
        ThreadMetrics::new(self.clone())
    }

    fn add_block(&self, api: ApiName, cells: Arc<ApiCells>) {
        lock(&self.0.blocks).push((api, cells));
    }

    /// Has `report` asked at every scrape, for as long as the process lives.
    pub fn on_scrape(&self, report: impl Fn(&mut Gauges) + Send + Sync + 'static) {
        lock(&self.0.reporters).push(Box::new(report));
    }

    /// A reload has ended. Dry runs do not count.
    pub fn reloaded(&self, outcome: Outcome, source: Source) {
        lock(&self.0.rare).reloaded(outcome, source, process::now());
    }

    /// An upgrade has ended, or is the way by which this front came.
    pub fn upgraded(&self, outcome: UpgradeOutcome) {
        lock(&self.0.rare).upgraded(outcome);
    }

    /// A phase of a reload is over.
    pub fn phase(&self, phase: Phase, took: Duration) {
        lock(&self.0.rare).phase(phase, took);
    }

    /// A request was ended at its generation's deadline.
    pub fn drain_ended(&self, api: &ApiName) {
        lock(&self.0.rare).drain_ended(api);
    }

    /// This generation serves now.
    pub fn generation(&self, generation: Generation) {
        lock(&self.0.rare).generation = generation;
    }

    /// Whether the files on disk differ from what runs.
    pub fn config_file_differs(&self, differs: bool) {
        lock(&self.0.rare).file_differs = differs;
    }

    /// A worker was spawned.
    pub fn worker_started(&self, api: &ApiName) {
        lock(&self.0.rare).worker_started(api);
    }

    /// A worker has ended after this many requests; nobody reports its life to [`Gauges::worker`] any more.
    pub fn worker_exited(&self, slot: &SlotId, reason: ExitReason, requests: u64) {
        lock(&self.0.rare).worker_exited(slot, reason, requests);
    }

    /// A filter has asked Keystone something.
    pub fn keystone_request(&self, filter: &'static str, outcome: KeystoneOutcome, took: Duration) {
        lock(&self.0.rare).keystone_request(filter, outcome, took);
    }

    /// The counters of a filter's cache of tokens, by [`CacheOutcome`]; to be kept and not asked for per request.
    pub fn token_cache(&self, filter: &'static str) -> Arc<Tally<{ CacheOutcome::ALL.len() }>> {
        lock(&self.0.rare).token_cache(filter)
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut page = Page::default();
        {
            let blocks = lock(&self.0.blocks);
            let mut apis: BTreeMap<&str, ApiSum> = BTreeMap::new();
            for (api, cells) in blocks.iter() {
                apis.entry(api.as_str()).or_default().add(cells);
            }
            collector::show(&mut page, &apis);
        }
        // Before those that live: a life that ends meanwhile is counted by the next page, and not twice by this one.
        let ended = lock(&self.0.rare).ended().clone();
        let mut gauges = lock(&self.0.gauges);
        gauges.begin();
        for report in lock(&self.0.reporters).iter() {
            report(&mut gauges);
        }
        gauges.show(&mut page, &ended);
        lock(&self.0.rare).show(&mut page, gauges.canary);
        process::show(&mut page, self.0.start);
        page.render()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
