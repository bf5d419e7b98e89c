//! The end of a generation: its requests finish, or have had their time, and what only it used goes.
//!
//! ```text
//! drained ◀─ requests end ─▶ drain_timeout of each API: requests that change nothing are ended
//!                          ─▶ drain_kill_timeout: all are
//! ```
//!
//! Must not know what replaced it.

use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Daemon;
use super::generation::{Current, PoolInUse, Record, State};
use crate::compile::{ApiPlan, Plan};
use crate::config::settings::PastewaySettings;
use crate::id::{ApiName, Generation};
use crate::metrics::Phase;
use crate::proxy::holder::{HOLDERS, Holder};
use crate::proxy::thread::{Ending, Message};

/// Connections that are told to close do so at once; their threads may be busy.
const LAST_WAIT: Duration = Duration::from_secs(2);

impl Daemon {
    /// Drains a generation that was replaced, and ends what only it used.
    pub(super) async fn retire(self: Rc<Self>, old: Current) {
        let begun = Instant::now();
        self.enter(&old.record, State::Draining);
        for listener in &old.running.listeners {
            if !self.current.borrow().running.listeners.iter().any(|kept| kept.id == listener.id) {
                self.acceptor.close(listener.id).await;
            }
        }
        self.refresh_threads().await;
        self.drain(&old, begun, deadlines(&old.running.plan), old.record.usage.drained()).await;
        self.metrics.phase(Phase::Drain, begun.elapsed());
        loop {
            let over = self.trial_over.notified();
            if !self.trial.borrow().as_ref().is_some_and(|trial| trial.keeps(&old.running)) {
                break;
            }
            self.enter(&old.record, State::Standby);
            over.await;
        }
        // The last generation that holds a pool ends it.
        let shared = self.end_unshared(&old.running.pools);
        self.enter(&old.record, State::Retired);
        // One that is being prepared may hold a pool, and come to nothing.
        let turn = self.reloading.lock().await;
        self.end_unshared(shared);
        drop(turn);
        let mut read: Vec<Generation> = old.running.pools.iter().map(|pool| pool.born).collect();
        read.push(old.record.number);
        drop(old.running);
        self.forget_unused(&read).await;
    }

    /// Ends the pools that nobody else holds; the others.
    fn end_unshared<'a>(&self, pools: impl IntoIterator<Item = &'a Rc<PoolInUse>>) -> Vec<&'a Rc<PoolInUse>> {
        let (own, shared): (Vec<_>, Vec<_>) = pools.into_iter().partition(|pool| Rc::strong_count(pool) == 1);
        own.into_iter().for_each(|pool| self.supervisor.retire(&pool.pool, Duration::ZERO));
        shared
    }

    /// Waits until it is `drained`, and ends the requests of it whose time has come. Whether it is drained then.
    pub(super) async fn drain(
        &self,
        old: &Current,
        begun: Instant,
        deadlines: Deadlines,
        drained: impl Future<Output = ()>,
    ) -> bool {
        let mut drained = pin!(drained);
        for (time, apis) in deadlines {
            let left = time.saturating_sub(begun.elapsed());
            if tokio::time::timeout(left, drained.as_mut()).await.is_ok() {
                return true;
            }
            self.end(&old.record, apis, time).await;
        }
        // What does not go even now is cut off with its worker.
        tokio::time::timeout(LAST_WAIT, drained).await.is_ok()
    }

    /// Ends the requests of some APIs that change nothing, or all requests; counts and names them.
    async fn end(&self, record: &Record, apis: Option<Vec<ApiName>>, limit: Duration) {
        let harmless = apis.is_some();
        let mut ended = Vec::new();
        for thread in self.threads.iter() {
            let (done, told) = oneshot::channel();
            let ending = Ending { generation: record.number, apis: apis.clone(), harmless };
            if thread.messages.send(Message::End(ending, done)).is_ok() {
                ended.extend(told.await.unwrap_or_default());
            }
        }
        ended.iter().for_each(|holder| self.metrics.drain_ended(&holder.api));
        record.ended.fetch_add(ended.len() as u64, Ordering::Relaxed);
        if !ended.is_empty() {
            tracing::warn!(
                target: "pasteway::reload",
                "generation {} had {} s to drain; {} of its requests are ended: {}",
                record.number, limit.as_secs_f64(), ended.len(), names(&mut ended),
            );
        }
    }
}

/// How long a worker may take to finish that goes while its generation stays: nobody ends its requests, and so that none
/// is cut off that changes something, it waits as long as those may take.
pub fn worker_patience(api: &ApiPlan, settings: &PastewaySettings) -> Duration {
    api.settings.drain_timeout.max(settings.drain_kill_timeout)
}

/// When which requests are ended: those of some APIs that change nothing, and at last all.
pub type Deadlines = Vec<(Duration, Option<Vec<ApiName>>)>;

/// Those of a generation that another has replaced, here or in another process.
pub fn deadlines(plan: &Plan) -> Deadlines {
    with(plan, |api| Some(api.settings.drain_timeout))
}

/// Those of a stop, which takes `limit` (`graceful_shutdown_timeout`) at most, or less where an API has its own.
pub fn deadlines_of_stop(plan: &Plan, limit: Option<Duration>) -> Deadlines {
    with(plan, |api| api.settings.own_drain_timeout.into_iter().chain(limit).min())
}

fn with(plan: &Plan, time: impl Fn(&ApiPlan) -> Option<Duration>) -> Deadlines {
    let mut deadlines = Deadlines::new();
    for api in &plan.apis {
        let (Some(time), name) = (time(api), api.settings.name.clone()) else { continue };
        match deadlines.iter_mut().find(|(other, _)| *other == time) {
            Some((_, apis)) => apis.get_or_insert_default().push(name),
            None => deadlines.push((time, Some(vec![name]))),
        }
    }
    deadlines.sort_by_key(|(time, _)| *time);
    let last = deadlines.last().map(|(time, _)| *time).unwrap_or_default();
    deadlines.push((plan.config.settings.pasteway.drain_kill_timeout.max(last), None));
    deadlines
}

/// The oldest of them, for the log.
fn names(holders: &mut [Holder]) -> String {
    holders.sort_by_key(|holder| holder.began);
    let named = holders.iter().take(HOLDERS).map(|holder| {
        let age = holder.began.elapsed().as_secs_f64();
        let gone = if holder.client_gone { ", who has gone" } else { "" };
        format!("{} of {} from {} ({age:.1} s{gone})", holder.method, holder.api, holder.peer)
    });
    let more = if holders.len() > HOLDERS { ", …" } else { "" };
    named.collect::<Vec<_>>().join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_the_oldest_and_says_that_there_are_more() {
        let now = Instant::now();
        let holder = |ms| Holder {
            peer: ([127, 0, 0, 1], 4000).into(),
            api: "ec2".into(),
            method: "GET",
            began: now - Duration::from_millis(ms),
            client_gone: ms == 100,
        };
        assert!(names(&mut [holder(0)]).starts_with("GET of ec2 from 127.0.0.1:4000 (0."));
        let text = names(&mut [0, 100, 200, 300, 400, 500].map(holder));
        assert!(text.ends_with("(0.1 s, who has gone), …") && !text.contains("(0.0 s)"), "{text}");
    }
}
