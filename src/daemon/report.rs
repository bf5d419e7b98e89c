//! How things stand: what `status`, `tree`, `/config` and `generations` show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::generation::{Record, State};
use super::handover::Load;
use super::upgrade::VERSION;
use super::{Daemon, Phase};
use crate::command::{ApiReport, GenerationReport, StatusReport};
use crate::compile::{Plan, show};
use crate::id::SlotId;
use crate::metrics::Gauges;

impl Daemon {
    pub(super) fn status(&self) -> StatusReport {
        let current = self.current.borrow();
        let running = &current.running;
        let mut not_ready = Vec::new();
        if self.state.get() == Phase::Draining {
            not_ready.push("the front is stopping".to_owned());
        }
        let apis = running.plan.apis.iter().zip(&running.listeners).zip(&running.pools).map(
            |((api, listener), pool_in_use)| {
                let pool = pool_in_use.pool.pool();
                let serving = pool.members().len();
                if let Err(reason) = pool.health() {
                    not_ready.push(reason);
                }
                ApiReport {
                    name: api.settings.name.clone(),
                    listen: listener.address.to_string(),
                    tls: api.tls.is_some(),
                    workers_serving: serving,
                    workers_wanted: usize::try_from(pool_in_use.pool.wanted()).unwrap_or(usize::MAX),
                    queued: pool.waiting(),
                }
            },
        );
        let Load { in_flight, connections } = self.load();
        let differs = self.why_files_differ();
        StatusReport {
            version: VERSION,
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            generation: current.record.number,
            apis: apis.collect(),
            not_ready,
            not_live: Vec::new(),
            config_file_differs: differs.is_some(),
            config_file_differs_because: differs,
            trial: self.trial_report(),
            in_flight,
            connections,
            last_reload: self.last_reload.borrow().clone(),
            last_upgrade: self.last_upgrade.borrow().clone(),
            predecessors: self.predecessor_reports(),
            state: match self.state.get() {
                Phase::Serving if self.upgrading.try_lock().is_err() => "upgrading",
                Phase::Serving => "serving",
                Phase::Draining => "draining",
            },
        }
    }

    /// Why the files on disk are not what runs for all: what was found so, or that they are a canary's.
    fn why_files_differ(&self) -> Option<String> {
        self.differs_because.borrow().clone().or_else(|| {
            let trial = self.trial_report()?;
            Some(format!("they are those of generation {}, a canary: {}", trial.generation, trial.canary?))
        })
    }

    /// Requests that are being answered, and connections of clients.
    pub(super) fn load(&self) -> Load {
        Load {
            in_flight: self.history().iter().map(|record| record.usage.in_flight()).sum(),
            connections: self.threads.iter().map(|thread| thread.load.load(Ordering::Relaxed)).sum(),
        }
    }

    /// In one line, for `systemctl status`.
    pub(super) fn summary(&self) -> String {
        let generation = self.current.borrow().record.number;
        match self.why_files_differ() {
            Some(why) => {
                format!("serving generation {generation}; the files on disk are not what runs: {}", first_line(&why))
            }
            None => format!("serving generation {generation}"),
        }
    }

    pub(super) fn tree(&self) -> Value {
        show::json(&self.current.borrow().running.plan)
    }

    pub(super) fn generations(&self) -> Vec<GenerationReport> {
        let trial = self.trial_report();
        let of_trial = |report: GenerationReport| {
            let trial = trial.as_ref().filter(|trial| trial.generation == report.generation.0);
            GenerationReport { cannot_go_back: trial.and_then(|trial| trial.cannot_go_back.clone()), ..report }
        };
        self.history().iter().map(|record| of_trial(record.report())).collect()
    }

    /// A generation that is remembered.
    pub(super) fn generation(&self, number: u64) -> Option<Arc<Record>> {
        self.history().iter().find(|record| record.number.0 == number).cloned()
    }

    /// Has the metrics ask for what is known only when a scrape comes.
    pub(super) fn report_to_metrics(&self) {
        let (supervisor, live, log) = (self.supervisor.clone(), Arc::clone(&self.live), self.log.clone());
        let (history, file_changes) = (Arc::clone(&self.history), Arc::clone(&self.file_changes));
        self.metrics.generation(self.current.borrow().record.number);
        self.metrics.on_scrape(move |gauges: &mut Gauges| {
            for ((api, state), n) in supervisor.states() {
                gauges.workers(&api, state, n);
            }
            for slot in supervisor.report() {
                let id = SlotId { api: slot.api, index: slot.slot };
                gauges.worker(&id, slot.requests, slot.in_flight as u64, slot.rss_bytes);
            }
            for api in &live.load().apis {
                gauges.queue_length(&api.name, api.pool.waiting() as u64);
            }
            let history = history.lock().unwrap_or_else(PoisonError::into_inner);
            for state in State::ALL {
                let n = history.iter().filter(|record| record.state() == state).count();
                gauges.generations(state.as_str(), n as u64);
                if state == State::Canary && n > 0 {
                    gauges.canary();
                }
            }
            gauges.log_lines_dropped(log.dropped());
            let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
            gauges.file_changes(of(&file_changes.seen), of(&file_changes.coalesced));
        });
    }

    /// Effective options; the values of secret ones are hidden.
    pub(super) fn effective_config(&self) -> Value {
        let current = self.current.borrow();
        let plan = &current.running.plan;
        json!({
            "generation": current.record.number,
            "release": plan.config.settings.release.to_string(),
            "files": plan.config.reading.sources().iter().map(|s| s.path.display().to_string()).collect::<Vec<_>>(),
            "options": options(plan),
        })
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Every option with its value and where it comes from, as `group.name`.
fn options(plan: &Plan) -> Value {
    let options = plan.config.conf.effective().into_iter().map(|option| {
        let value = if option.secret { "***" } else { &option.setting.value };
        let from = option.setting.place.as_ref().map(ToString::to_string);
        (format!("{}.{}", option.group, option.name), json!({ "value": value, "from": from }))
    });
    Value::Object(options.collect())
}
