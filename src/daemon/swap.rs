//! The swap, which cannot fail.

use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

use super::generation::{Current, Origin, PoolInUse, Record, Running, State, now};
use super::prepare::{Prepared, tuning};
use super::retire::worker_patience;
use super::{Daemon, HISTORY};
use crate::command::Change;
use crate::id::{ApiName, Generation};
use crate::proxy::snapshot::{Api, Snapshot};
use crate::proxy::thread::Message;
use crate::proxy::usage::Usage;
use crate::worker::announce;

/// So often, and after such a pause, a directory is tried again that cannot be removed.
const FORGETTING: u32 = 60;
const PAUSE: Duration = Duration::from_secs(1);

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
        let header = self.plan.config.settings.pasteway.generation_header;
        Snapshot { generation: self.number, release, apis: apis.collect(), usage: Arc::default(), header, canary: None }
    }

    /// The record of the generation, which is not live yet. What it was made from shares the bytes of `older`.
    pub fn record(
        &self,
        usage: Arc<Usage>,
        origin: Origin,
        changes: Vec<Change>,
        older: Option<&Record>,
    ) -> Arc<Record> {
        let Origin { source, peer, text_of } = origin;
        Arc::new(Record {
            number: self.number,
            text_of: text_of.unwrap_or(self.number),
            digest: self.plan.config.digest(),
            when: now(),
            live_since: OnceLock::new(),
            source,
            peer,
            changes,
            usage,
            state: AtomicU8::new(State::Canary as u8),
            frozen: self.plan.config.reading.freeze(older.map(|older| &older.frozen)),
            ended: AtomicU64::new(0),
            undone: Mutex::default(),
        })
    }

    /// What runs from now on.
    pub fn running(self) -> Rc<Running> {
        Rc::new(Running { plan: self.plan, listeners: self.listeners, pools: self.pools })
    }
}

impl Daemon {
    /// Puts a prepared generation into force; the old one is retired beside the loop.
    pub(super) fn swap(self: &Rc<Self>, prepared: Prepared, origin: Origin, changes: Vec<Change>) {
        let snapshot = Arc::new(prepared.snapshot(Some(&self.live.load())));
        let older = Arc::clone(&self.current.borrow().record);
        let record = prepared.record(Arc::clone(&snapshot.usage), origin, changes, Some(&older));
        // A scrape may look at once: it is no canary.
        record.enter(State::Live);
        self.remember(&record);
        self.install(prepared, snapshot, record, true);
    }

    /// The same of a generation that is remembered already. Without the turn it takes no workers away: they may be of a
    /// reload that is being prepared, which sets the number when it comes.
    pub(super) fn install(
        self: &Rc<Self>,
        mut prepared: Prepared,
        snapshot: Arc<Snapshot>,
        record: Arc<Record>,
        has_turn: bool,
    ) {
        let log = prepared.log.take();
        let (admin, token) = (std::mem::take(&mut prepared.admin), prepared.admin_token.take());
        let old = self.current.borrow().clone();

        // From here on new requests see the new generation.
        self.live.store(snapshot);

        let running = prepared.running();
        let keepidle = running.plan.config.settings.tcp_keepidle;
        for (api, listener) in running.plan.apis.iter().zip(&running.listeners) {
            if !old.running.listeners.iter().any(|before| before.id == listener.id) {
                announce::listening(running.plan.config.settings.release, &api.settings.name, listener.address);
                self.acceptor.accept(Arc::clone(listener));
            } else if let Err(error) = listener.set_keepidle(keepidle) {
                tracing::warn!(target: "pasteway::reload", "tcp_keepidle of {}: {error}", listener.address);
            }
        }
        for ((api, pool), listener) in running.plan.apis.iter().zip(&running.pools).zip(&running.listeners) {
            let settings = &running.plan.config.settings.pasteway;
            pool.pool.tune(tuning(api, settings, listener));
            if has_turn && api.settings.slots() < pool.pool.wanted() {
                self.shrink(pool, api.settings.slots(), worker_patience(api, settings));
            }
        }
        if let Some(log) = log {
            self.log.apply(log);
        }
        let (before, now) = (&old.running.plan.config.settings.pasteway, &running.plan.config.settings.pasteway);
        if (before.watch, before.watch_settle) != (now.watch, now.watch_settle) {
            self.rewatch(now, &running.plan.config);
        }
        self.administer(admin, &running.plan.config, token);
        self.metrics.generation(record.number);
        self.pools.borrow_mut().extend(running.pools.iter().map(Rc::downgrade));
        self.enter(&record, State::Live);
        *self.current.borrow_mut() = Current { record, running };
        let daemon = Rc::clone(self);
        tokio::task::spawn_local(async move { daemon.retire(old).await });
    }

    /// Drains the highest slots of a pool, beside the loop.
    pub(super) fn shrink(&self, pool: &PoolInUse, count: u32, drain: Duration) {
        let (supervisor, pool) = (self.supervisor.clone(), pool.pool.clone());
        tokio::task::spawn_local(async move {
            // Fewer slots cannot fail to start.
            let _ = supervisor.resize(&pool, count, drain, 1).await;
        });
    }

    /// Adds a generation to those that are remembered.
    pub(super) fn remember(&self, record: &Arc<Record>) {
        let mut history = self.history();
        history.push_front(Arc::clone(record));
        let mut newer = 0..;
        history.retain(|record| newer.next() < Some(HISTORY) || record.state() != State::Retired);
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

    /// Removes the frozen files of those generations whose workers are all gone. Where no descriptor is free, no directory
    /// can be looked into, so it is tried again.
    pub(super) async fn forget_unused(&self, generations: &[Generation]) {
        self.pools.borrow_mut().retain(|pool| pool.strong_count() > 0);
        for number in generations {
            let is_used = || self.pools.borrow().iter().filter_map(Weak::upgrade).any(|pool| pool.born == *number);
            for _ in 0..FORGETTING {
                if is_used() || self.runtime_dir.forget(*number).is_ok() {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
