//! How things stand: what `status`, `tree`, `/config` and `generations` show.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{Daemon, Phase};
use crate::command::{ApiReport, GenerationReport, StatusReport};
use crate::compile::show;
use crate::metrics::Gauges;

impl Daemon {
    pub(super) fn status(&self) -> StatusReport {
        let current = self.current.borrow();
        let running = &current.running;
        let mut not_ready = Vec::new();
        if self.state.get() == Phase::Draining {
            not_ready.push("the front is stopping".to_owned());
        }
        let apis = running.plan.apis.iter().zip(&running.listeners).zip(&running.pools).map(|((api, listener), pool_in_use)| {
            let pool = pool_in_use.pool.pool();
            let serving = pool.members().len();
            if serving == 0 {
                not_ready.push(format!("{}: no worker is serving", api.settings.name));
            }
            ApiReport {
                name: api.settings.name.clone(),
                listen: listener.address.to_string(),
                tls: api.tls.is_some(),
                workers_serving: serving,
                workers_wanted: usize::try_from(pool_in_use.pool.wanted()).unwrap_or(usize::MAX),
                queued: pool.waiting(),
            }
        });
        StatusReport {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            generation: current.record.number,
            apis: apis.collect(),
            not_ready,
            not_live: Vec::new(),
            config_file_differs: self.differs.get(),
            last_reload: self.last_reload.borrow().clone(),
            state: match self.state.get() {
                Phase::Serving => "serving",
                Phase::Draining => "draining",
            },
        }
    }

    pub(super) fn tree(&self) -> Value {
        show::json(&self.current.borrow().running.plan)
    }

    pub(super) fn generations(&self) -> Vec<GenerationReport> {
        self.history.borrow().iter().map(|record| record.report()).collect()
    }

    /// Effective options; the values of secret ones are hidden.
    pub(super) fn effective_config(&self) -> Value {
        let current = self.current.borrow();
        let plan = &current.running.plan;
        json!({
            "generation": current.record.number,
            "release": plan.config.settings.release.to_string(),
            "files": plan.config.reading.sources().iter().map(|s| s.path.display().to_string()).collect::<Vec<_>>(),
            "options": plan.config.conf.effective(),
        })
    }
}
