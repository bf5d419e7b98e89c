//! The swap, which cannot fail, and what is retired after it.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::generation::{Current, PoolInUse, Record, Running, State, now};
use super::prepare::{Prepared, tune};
use super::{Daemon, HISTORY};
use crate::command::{Change, Source};
use crate::id::{ApiName, Generation};
use crate::metrics::Phase;
use crate::proxy::snapshot::{Api, Snapshot, Usage};
use crate::proxy::thread::Message;

impl Prepared {
    /// What requests will see, after what they see now.
    pub fn snapshot(&self, before: Option<&Snapshot>) -> Snapshot {
        let now: Vec<u64> = self.listeners.iter().map(|listener| listener.id).collect();
        let former = |name: &ApiName| {
            let before = before.and_then(|before| before.apis.iter().find(|api| api.name == *name));
            let all = before.map(|api| api.former.iter().chain([&api.listener]).copied());
            all.into_iter().flatten().filter(|id| !now.contains(id)).collect()
        };
        let release = self.plan.config.settings.release;
        let parts = self.plan.apis.iter().zip(&self.listeners).zip(&self.pools);
        let apis = parts.map(|((api, listener), pool)| {
            Arc::new(Api {
                name: api.settings.name.clone(),
                listener: listener.id,
                former: former(&api.settings.name),
                host: listener.address.to_string(),
                tls: api.tls.clone(),
                root: api.tree.node(release),
                mounts: u32::try_from(api.mounts.len()).unwrap_or(u32::MAX),
                filter_names: api.filter_names.clone(),
                door: api.door.clone(),
                limits: api.limits,
                access: api.access.clone(),
                pool: Arc::clone(pool.pool.pool()),
                wire: api.wire.clone(),
            })
        });
        Snapshot { generation: self.number, release, apis: apis.collect(), usage: Arc::default(), header: false, canary: None }
    }

    /// The record of the generation, from the moment it is live.
    pub fn record(&self, usage: Arc<Usage>, source: Source, peer: Option<String>, changes: Vec<Change>) -> Arc<Record> {
        Arc::new(Record {
            number: self.number,
            digest: self.plan.config.digest(),
            when: now(),
            source,
            peer,
            changes,
            usage,
            state: AtomicU8::new(State::Live as u8),
        })
    }

    /// What runs from now on.
    pub fn running(self) -> Rc<Running> {
        Rc::new(Running { plan: self.plan, listeners: self.listeners, pools: self.pools })
    }
}

impl Daemon {
    /// Puts a prepared generation into force; the old one is retired beside the loop.
    pub(super) fn swap(
        self: &Rc<Self>,
        mut prepared: Prepared,
        source: Source,
        peer: Option<String>,
        changes: Vec<Change>,
    ) {
        let snapshot = Arc::new(prepared.snapshot(Some(&self.live.load())));
        let record = prepared.record(Arc::clone(&snapshot.usage), source, peer, changes);
        let log = prepared.log.take();
        let (admin, token) = (std::mem::take(&mut prepared.admin), prepared.admin_token.take());
        let old = self.current.borrow().clone();

        // From here on new requests see the new generation.
        self.live.store(snapshot);

        let running = prepared.running();
        for listener in &running.listeners {
            if !old.running.listeners.iter().any(|before| before.id == listener.id) {
                self.acceptor.accept(Arc::clone(listener));
            }
        }
        for (api, pool) in running.plan.apis.iter().zip(&running.pools) {
            let settings = &running.plan.config.settings.pasteway;
            tune(&pool.pool, api, settings);
            if api.settings.slots() < pool.pool.wanted() {
                self.shrink(pool, api.settings.slots(), api.settings.drain_timeout);
            }
        }
        if let Some(log) = log {
            self.log.apply(log);
        }
        let (before, now) = (&old.running.plan.config.settings.pasteway, &running.plan.config.settings.pasteway);
        if (before.watch, before.watch_settle) != (now.watch, now.watch_settle) {
            self.rewatch(now, &running.plan.config);
        }
        self.administer(admin, now, token);
        self.metrics.generation(record.number);
        self.pools.borrow_mut().extend(running.pools.iter().map(Rc::downgrade));
        self.remember(&record);
        *self.current.borrow_mut() = Current { record, running };
        let daemon = Rc::clone(self);
        tokio::task::spawn_local(async move { daemon.retire(old).await });
    }

    /// Drains the highest slots of a pool, beside the loop.
    fn shrink(&self, pool: &PoolInUse, count: u32, drain: Duration) {
        let (supervisor, pool) = (self.supervisor.clone(), pool.pool.clone());
        tokio::task::spawn_local(async move {
            // Fewer slots cannot fail to start.
            let _ = supervisor.resize(&pool, count, drain).await;
        });
    }

    fn remember(&self, record: &Arc<Record>) {
        let mut history = self.history();
        history.push_front(Arc::clone(record));
        let mut newer = 0..;
        history.retain(|record| newer.next() < Some(HISTORY) || record.state() != State::Retired);
    }

    /// Drains a generation that was replaced, and ends what only it used.
    async fn retire(self: Rc<Self>, old: Current) {
        let begun = Instant::now();
        old.record.enter(State::Draining);
        for listener in &old.running.listeners {
            if !self.current.borrow().running.listeners.iter().any(|kept| kept.id == listener.id) {
                self.acceptor.close(listener.id).await;
            }
        }
        self.refresh_threads().await;
        let limit = old.running.plan.apis.iter().map(|api| api.settings.drain_timeout).max().unwrap_or_default();
        let drained = tokio::time::timeout(limit, old.record.usage.drained()).await.is_ok();
        if !drained {
            tracing::warn!(
                target: "pasteway::reload",
                "generation {} still has {} requests after {} s; its workers are ended",
                old.record.number, old.record.usage.in_flight(), limit.as_secs(),
            );
        }
        // The last generation that holds a pool ends it.
        for pool in old.running.pools.iter().filter(|pool| Rc::strong_count(pool) == 1) {
            self.supervisor.retire(&pool.pool, Duration::ZERO);
        }
        self.metrics.phase(Phase::Drain, begun.elapsed());
        old.record.enter(State::Retired);
        let mut read: Vec<Generation> = old.running.pools.iter().map(|pool| pool.born).collect();
        read.push(old.record.number);
        drop(old.running);
        self.forget_unused(&read);
    }

    /// Has every data thread look at the live snapshot, so that no request begins with an older one any more.
    pub(super) async fn refresh_threads(&self) {
        for thread in self.threads.iter() {
            let (done, seen) = oneshot::channel();
            if thread.messages.send(Message::Refresh(done)).is_ok() {
                let _ = seen.await;
            }
        }
    }

    /// Removes the frozen files of those generations whose workers are all gone.
    fn forget_unused(&self, generations: &[Generation]) {
        let mut alive = self.pools.borrow_mut();
        alive.retain(|pool| pool.strong_count() > 0);
        for number in generations {
            if !alive.iter().filter_map(Weak::upgrade).any(|pool| pool.born == *number) {
                self.runtime_dir.forget(*number);
            }
        }
    }
}
