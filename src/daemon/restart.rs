//! Workers replaced by hand: one after the other, each by one that serves already.
//!
//! Must not know how a worker is replaced.

use std::rc::Rc;

use super::Daemon;
use super::retire::worker_patience;
use crate::command::{NoSuchWorker, RestartReport};
use crate::config::settings::WorkerKind;
use crate::worker::Reason;

impl Daemon {
    /// `workers restart`.
    pub(super) async fn restart(
        self: &Rc<Self>,
        api: String,
        slot: Option<u32>,
        peer: Option<&str>,
    ) -> Result<RestartReport, NoSuchWorker> {
        let running = Rc::clone(&self.current.borrow().running);
        let mut both = running.plan.apis.iter().zip(&running.pools);
        let found = both.find(|(plan, _)| plan.settings.name.as_str() == api);
        let (plan, pool) = found.ok_or_else(|| NoSuchWorker(format!("`{api}` is no enabled API")))?;
        if matches!(plan.settings.kind, WorkerKind::External(_)) {
            return Err(NoSuchWorker(format!("something else runs the workers of {api}: restart them there")));
        }
        // Not the whole generation is held while one waits for a worker.
        let patience = worker_patience(plan, &running.plan.config.settings.pasteway);
        let pool = pool.pool.clone();
        drop(running);
        let present = pool.indexes();
        let slots: Vec<u32> = match slot {
            Some(slot) if !present.contains(&slot) => {
                let present: Vec<_> = present.iter().map(u32::to_string).collect();
                return Err(NoSuchWorker(format!("{api} has no slot {slot}: it has {}", present.join(", "))));
            }
            Some(slot) => vec![slot],
            None => present.into_iter().collect(),
        };
        tracing::info!(
            target: "pasteway::worker",
            "{} workers of {api} are replaced (asked by {})", slots.len(), peer.unwrap_or("-"),
        );
        let mut report = RestartReport { api, restarted: Vec::new(), failed: Vec::new() };
        for slot in slots {
            match self.supervisor.replace(&pool, slot, Reason::Asked, patience).await {
                Ok(()) => report.restarted.push(slot),
                Err(error) => report.failed.push((slot, error.to_string())),
            }
        }
        Ok(report)
    }
}
