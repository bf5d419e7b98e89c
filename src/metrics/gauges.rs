//! What is asked for when a scrape comes: the state of workers, queues and generations.
//!
//! A series that was shown once is shown ever after: a gauge that nobody sets any more is 0, a counter stays.
//! Must not know where the answers come from.

use std::collections::BTreeMap;

use super::families::{
    Family, GENERATIONS, LOG_LINES_DROPPED, QUEUE_LENGTH, WORKER_IN_FLIGHT, WORKER_REQUESTS, WORKER_RSS, WORKERS,
};
use super::page::Page;
use crate::id::{ApiName, SlotId};

/// Filled by those who were given to [`super::Metrics::on_scrape`]. Values for the same labels add up, so that several
/// pools, lives or generations can each report their part.
#[derive(Debug, Default)]
pub struct Gauges {
    generations: BTreeMap<String, u64>,
    queues: BTreeMap<ApiName, u64>,
    workers: BTreeMap<(ApiName, String), u64>,
    slots: BTreeMap<SlotId, Slot>,
    log_lines_dropped: u64,
    pub(super) canary: bool,
}

#[derive(Debug, Default)]
struct Slot {
    in_flight: u64,
    rss_bytes: u64,
    /// Of the lives that were reported in this scrape.
    requests: u64,
    /// What was shown last: a life may end between two scrapes, or be counted by two for a moment.
    shown: u64,
}

impl Gauges {
    /// Generations in a state (`live`, `draining`, `retired`).
    pub fn generations(&mut self, state: &str, n: u64) {
        *self.generations.entry(state.to_owned()).or_default() += n;
    }

    /// Requests of an API that wait for a worker.
    pub fn queue_length(&mut self, api: &ApiName, n: u64) {
        *self.queues.entry(api.clone()).or_default() += n;
    }

    /// Workers of an API in a state (`starting`, `serving`, `draining`, `backoff`, `stopped`).
    pub fn workers(&mut self, api: &ApiName, state: &str, n: u64) {
        *self.workers.entry((api.clone(), state.to_owned())).or_default() += n;
    }

    /// A worker that lives: requests since its start, requests now, resident memory (0 = not known).
    pub fn worker(&mut self, slot: &SlotId, requests: u64, in_flight: u64, rss_bytes: u64) {
        let of = self.slots.entry(slot.clone()).or_default();
        of.requests += requests;
        of.in_flight += in_flight;
        of.rss_bytes += rss_bytes;
    }

    /// Log lines that were lost since the start.
    pub fn log_lines_dropped(&mut self, n: u64) {
        self.log_lines_dropped += n;
    }

    /// There is a canary: the files on disk are its, and not what runs for all.
    pub fn canary(&mut self) {
        self.canary = true;
    }

    /// Back to nothing, but the series stay.
    pub(super) fn begin(&mut self) {
        let Self { generations, queues, workers, slots, log_lines_dropped, canary } = self;
        generations.values_mut().chain(queues.values_mut()).chain(workers.values_mut()).for_each(|n| *n = 0);
        slots.values_mut().for_each(|slot| *slot = Slot { shown: slot.shown, ..Slot::default() });
        *log_lines_dropped = 0;
        *canary = false;
    }

    /// `ended` are the requests of lives that are over.
    pub(super) fn show(&mut self, page: &mut Page, ended: &BTreeMap<SlotId, u64>) {
        for slot in ended.keys() {
            self.slots.entry(slot.clone()).or_default();
        }
        for (id, slot) in &mut self.slots {
            slot.shown = slot.shown.max(slot.requests + ended.get(id).copied().unwrap_or_default());
        }
        page.family(&GENERATIONS, |s| self.generations.iter().for_each(|(state, n)| s.gauge(&[state], *n as f64)));
        page.family(&QUEUE_LENGTH, |s| self.queues.iter().for_each(|(api, n)| s.gauge(&[api.as_str()], *n as f64)));
        page.family(&WORKERS, |s| {
            self.workers.iter().for_each(|((api, state), n)| s.gauge(&[api.as_str(), state], *n as f64));
        });
        let slots: Vec<_> = self.slots.iter().map(|(id, slot)| (id.api.as_str(), id.index.to_string(), slot)).collect();
        page.family(&WORKER_REQUESTS, |s| {
            slots.iter().for_each(|(api, index, slot)| s.counter(&[api, index], slot.shown));
        });
        let gauge = |page: &mut Page, family: &Family, value: fn(&Slot) -> u64| {
            page.family(family, |s| {
                slots.iter().for_each(|(api, index, slot)| s.gauge(&[api, index], value(slot) as f64));
            });
        };
        gauge(page, &WORKER_IN_FLIGHT, |slot| slot.in_flight);
        gauge(page, &WORKER_RSS, |slot| slot.rss_bytes);
        page.family(&LOG_LINES_DROPPED, |s| s.counter(&[], self.log_lines_dropped));
    }
}
