//! What happens rarely: reloads, and the lives of workers. Any thread may count here; a lock guards it.
//!
//! Must not know how reloads are made or workers are run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::cell::{Durations, DurationsSum, WAITING};
use super::families::{
    CONFIG_FILE_DIFFERS, CONFIG_GENERATION, CONFIG_LAST_RELOAD_SUCCESS, CONFIG_LAST_RELOAD_SUCCESSFUL,
    CONFIG_RELOAD_DURATION, CONFIG_RELOADS, DRAIN_ENDED, KEYSTONE_DURATION, KEYSTONE_REQUESTS, TOKEN_CACHE, UPGRADES,
    WORKER_EXITS, WORKER_STARTS,
};
use super::page::Page;
use super::tally::Tally;
use super::words::{
    self, CacheOutcome, ExitReason, KeystoneOutcome, OUTCOMES, Phase, SOURCES, UPGRADES as UPGRADE_OUTCOMES,
};
use crate::command::{Outcome, Source, UpgradeOutcome};
use crate::id::{ApiName, Generation, SlotId};

#[derive(Debug)]
pub(super) struct Rare {
    pub(super) generation: Generation,
    pub(super) file_differs: bool,
    reloads: [[u64; SOURCES.len()]; OUTCOMES.len()],
    last_successful: bool,
    /// Seconds since 1970; 0 before the first.
    last_success: f64,
    phases: [Durations; Phase::ALL.len()],
    upgrades: [u64; UPGRADE_OUTCOMES.len()],
    workers: BTreeMap<ApiName, Lives>,
    /// Requests that were ended at their generation's deadline.
    drain_ended: BTreeMap<ApiName, u64>,
    /// Requests of lives that have ended.
    ended: BTreeMap<SlotId, u64>,
    /// By filter.
    keystone: BTreeMap<&'static str, Asked>,
    /// By filter.
    token_caches: BTreeMap<&'static str, Arc<Tally<{ CacheOutcome::ALL.len() }>>>,
}

/// What a filter asked Keystone.
#[derive(Debug)]
struct Asked {
    outcomes: [u64; KeystoneOutcome::ALL.len()],
    duration: Durations,
}

impl Default for Asked {
    fn default() -> Self {
        Self { outcomes: Default::default(), duration: Durations::new(WAITING) }
    }
}

#[derive(Debug, Default)]
struct Lives {
    starts: u64,
    exits: [u64; ExitReason::ALL.len()],
}

impl Rare {
    pub(super) fn new() -> Self {
        Self {
            generation: Generation::default(),
            file_differs: false,
            reloads: Default::default(),
            last_successful: true,
            last_success: 0.0,
            phases: std::array::from_fn(|_| Durations::new(WAITING)),
            upgrades: Default::default(),
            workers: BTreeMap::new(),
            drain_ended: BTreeMap::new(),
            ended: BTreeMap::new(),
            keystone: BTreeMap::new(),
            token_caches: BTreeMap::new(),
        }
    }

    /// `now` in seconds since 1970.
    pub(super) fn reloaded(&mut self, outcome: Outcome, source: Source, now: f64) {
        for (counts, of) in self.reloads.iter_mut().zip(OUTCOMES) {
            for (count, by) in counts.iter_mut().zip(SOURCES) {
                *count += u64::from(of == outcome && by == source);
            }
        }
        self.last_successful = !matches!(outcome, Outcome::Rejected | Outcome::RolledBack);
        if self.last_successful {
            self.last_success = now;
        }
    }

    pub(super) fn upgraded(&mut self, outcome: UpgradeOutcome) {
        for (count, of) in self.upgrades.iter_mut().zip(UPGRADE_OUTCOMES) {
            *count += u64::from(of == outcome);
        }
    }

    pub(super) fn phase(&mut self, phase: Phase, took: Duration) {
        if let Some(durations) = self.phases.get(phase as usize) {
            durations.observe(took);
        }
    }

    pub(super) fn worker_started(&mut self, api: &ApiName) {
        self.workers.entry(api.clone()).or_default().starts += 1;
    }

    pub(super) fn worker_exited(&mut self, slot: &SlotId, reason: ExitReason, requests: u64) {
        if let Some(count) = self.workers.entry(slot.api.clone()).or_default().exits.get_mut(reason as usize) {
            *count += 1;
        }
        *self.ended.entry(slot.clone()).or_default() += requests;
    }

    pub(super) fn drain_ended(&mut self, api: &ApiName) {
        *self.drain_ended.entry(api.clone()).or_default() += 1;
    }

    pub(super) fn keystone_request(&mut self, filter: &'static str, outcome: KeystoneOutcome, took: Duration) {
        let asked = self.keystone.entry(filter).or_default();
        if let Some(count) = asked.outcomes.get_mut(outcome as usize) {
            *count += 1;
        }
        asked.duration.observe(took);
    }

    pub(super) fn token_cache(&mut self, filter: &'static str) -> Arc<Tally<{ CacheOutcome::ALL.len() }>> {
        Arc::clone(self.token_caches.entry(filter).or_default())
    }

    /// Requests that the ended lives of each slot had.
    pub(super) fn ended(&self) -> &BTreeMap<SlotId, u64> {
        &self.ended
    }

    pub(super) fn show(&self, page: &mut Page, canary: bool) {
        page.family(&WORKER_STARTS, |s| {
            for (api, lives) in &self.workers {
                s.counter(&[api.as_str()], lives.starts);
            }
        });
        page.family(&WORKER_EXITS, |s| {
            for (api, lives) in &self.workers {
                for (reason, n) in ExitReason::ALL.iter().zip(&lives.exits) {
                    s.counter(&[api.as_str(), reason.as_str()], *n);
                }
            }
        });
        page.family(&DRAIN_ENDED, |s| self.drain_ended.iter().for_each(|(api, n)| s.counter(&[api.as_str()], *n)));
        page.family(&TOKEN_CACHE, |s| {
            for (filter, tally) in &self.token_caches {
                for (outcome, n) in CacheOutcome::ALL.iter().zip(tally.sums()) {
                    s.counter(&[filter, outcome.as_str()], n);
                }
            }
        });
        page.family(&KEYSTONE_REQUESTS, |s| {
            for (filter, asked) in &self.keystone {
                for (outcome, n) in KeystoneOutcome::ALL.iter().zip(&asked.outcomes) {
                    s.counter(&[filter, outcome.as_str()], *n);
                }
            }
        });
        page.family(&KEYSTONE_DURATION, |s| {
            for (filter, asked) in &self.keystone {
                let mut sum = DurationsSum::default();
                asked.duration.add_to(&mut sum);
                s.histogram(&[filter], &sum);
            }
        });
        page.family(&CONFIG_GENERATION, |s| s.gauge(&[], self.generation.0 as f64));
        page.family(&CONFIG_RELOADS, |s| {
            for (outcome, counts) in OUTCOMES.iter().zip(&self.reloads) {
                for (source, n) in SOURCES.iter().zip(counts) {
                    s.counter(&[words::outcome(*outcome), words::source(*source)], *n);
                }
            }
        });
        page.family(&CONFIG_RELOAD_DURATION, |s| {
            for (phase, durations) in Phase::ALL.iter().zip(&self.phases) {
                let mut sum = DurationsSum::default();
                durations.add_to(&mut sum);
                s.histogram(&[phase.as_str()], &sum);
            }
        });
        page.family(&CONFIG_LAST_RELOAD_SUCCESSFUL, |s| s.gauge(&[], f64::from(self.last_successful)));
        page.family(&CONFIG_LAST_RELOAD_SUCCESS, |s| s.gauge(&[], self.last_success));
        page.family(&CONFIG_FILE_DIFFERS, |s| s.gauge(&[], f64::from(self.file_differs || canary)));
        page.family(&UPGRADES, |s| {
            for (outcome, n) in UPGRADE_OUTCOMES.iter().zip(self.upgrades) {
                s.counter(&[words::upgrade(*outcome)], n);
            }
        });
    }
}
