//! One worker more or less, by a signal: for each API whose workers are ours.
//!
//! The next reload that is applied, or that somebody asks for, sets what the files say, as gunicorn's does. A worker that
//! is long in coming keeps nobody from reloading: it is begun anew behind the reload. Must not know how workers are
//! started.

use std::rc::Rc;

use serde_json::json;

use super::Daemon;
use super::generation::PoolInUse;
use super::retire::worker_patience;
use crate::compile::ApiPlan;

impl Daemon {
    /// SIGTTIN, SIGTTOU. It takes its turn among reloads; never below one worker.
    pub(super) fn scale(self: &Rc<Self>, more: bool) {
        let daemon = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let _only = daemon.scaling.lock().await;
            while !daemon.scale_unless_overtaken(more).await {}
        });
    }

    /// Whether it is done: somebody else may have wanted the turn first.
    async fn scale_unless_overtaken(&self, more: bool) -> bool {
        let _turn = self.reloading.lock().await;
        if self.refuse_while_stopping().is_err() {
            return true;
        }
        let running = Rc::clone(&self.current.borrow().running);
        let before: Vec<u32> = running.pools.iter().map(|pool| pool.pool.wanted()).collect();
        let wanted = |_: &ApiPlan, now: u32| if more { now.saturating_add(1) } else { now.saturating_sub(1) };
        tokio::select! {
            biased;
            () = self.scale_to(wanted, "a signal") => return true,
            () = self.reloading.is_wanted() => {}
        }
        for ((api, pool), before) in running.plan.apis.iter().zip(&running.pools).zip(before) {
            if pool.pool.wanted() != before {
                self.resize(api, pool, before, "a reload that does not wait").await;
            }
        }
        false
    }

    /// What the files say is wanted again.
    pub(super) async fn scale_as_written(&self) {
        self.scale_to(|api, _| api.settings.slots(), "a reload").await;
    }

    async fn scale_to(&self, wanted: impl Fn(&ApiPlan, u32) -> u32, by: &str) {
        let running = Rc::clone(&self.current.borrow().running);
        for (api, pool) in running.plan.apis.iter().zip(&running.pools) {
            let before = pool.pool.wanted();
            match wanted(api, before) {
                _ if !pool.pool.spec().is_own() => {}
                0 => tracing::info!(target: "pasteway::worker", "{} keeps its last worker", api.settings.name),
                wanted if wanted == before => {}
                wanted => self.resize(api, pool, wanted, by).await,
            }
        }
    }

    async fn resize(&self, api: &ApiPlan, pool: &PoolInUse, wanted: u32, by: &str) {
        let (name, before) = (&api.settings.name, pool.pool.wanted());
        let running = Rc::clone(&self.current.borrow().running);
        let settings = &running.plan.config.settings.pasteway;
        let patience = worker_patience(api, settings);
        match self.supervisor.resize(&pool.pool, wanted, patience, settings.worker_surge).await {
            Ok(()) => {
                tracing::info!(target: "pasteway::worker", "{name} has {wanted} workers, before {before} (asked by {by})");
                self.tell("scale", &json!({ "api": name, "workers": wanted, "previous": before }));
            }
            Err(error) => tracing::error!(target: "pasteway::worker", "{name} keeps {before} workers: {error}"),
        }
    }
}
