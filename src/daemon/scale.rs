//! One worker more or less, by a signal: for each API whose workers are ours.
//!
//! The next reload that is applied sets what the files say, as gunicorn's does. Must not know how workers are started.

use std::rc::Rc;

use serde_json::json;

use super::Daemon;

impl Daemon {
    /// SIGTTIN, SIGTTOU. It takes its turn among reloads; never below one worker.
    pub(super) fn scale(self: &Rc<Self>, more: bool) {
        let daemon = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let _turn = daemon.reloading.lock().await;
            if daemon.refuse_while_stopping().is_ok() {
                daemon.scale_now(more).await;
            }
        });
    }

    async fn scale_now(&self, more: bool) {
        let running = Rc::clone(&self.current.borrow().running);
        for (api, pool) in running.plan.apis.iter().zip(&running.pools) {
            let (name, pool) = (&api.settings.name, &pool.pool);
            let before = pool.wanted();
            let wanted = if more { before.saturating_add(1) } else { before.saturating_sub(1).max(1) };
            if !pool.spec().is_own() || wanted == before {
                continue;
            }
            match self.supervisor.resize(pool, wanted, api.settings.drain_timeout).await {
                Ok(()) => {
                    tracing::info!(target: "pasteway::worker", "{name} has {wanted} workers, before {before} (asked by signal)");
                    self.tell("scale", &json!({ "api": name, "workers": wanted, "previous": before }));
                }
                Err(error) => tracing::error!(target: "pasteway::worker", "{name} keeps {before} workers: {error}"),
            }
        }
    }
}
