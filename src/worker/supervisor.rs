//! Starts pools of workers, resizes and retires them, and ends them all.
//!
//! Must not know what the workers host, nor drive any of them itself: each slot has a task of its own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::command::SlotReport;
use crate::id::{ApiName, Generation};
use crate::metrics::Metrics;
use crate::worker::announce;
use crate::worker::choice::Record;
use crate::worker::external::ExternalSlot;
use crate::worker::place::{Place, Staff};
use crate::worker::pool::Pool;
use crate::worker::slot::Slot;
use crate::worker::spawn::Spawner;
use crate::worker::spec::{HEARTBEAT_LIMIT, Kind, PoolSpec, StartError, Tuning};
use crate::worker::standing::{History, Proof, STATES, Standing};
use crate::worker::state::{Order, Reason};

/// How often the workers' lives are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A worker that could not be replaced is tried again after this time.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// How long a process may take to vanish after SIGKILL (the disk may hold it).
const LAST_WAIT: Duration = Duration::from_secs(2);

/// A slot as the supervisor sees it.
#[derive(Clone, Debug)]
struct SlotHandle {
    index: u32,
    orders: mpsc::UnboundedSender<Order>,
    standing: watch::Receiver<Standing>,
    /// Whether it was told to go.
    leaving: bool,
}

impl SlotHandle {
    fn order(&self, order: Order) {
        // A slot that is over needs none.
        let _ = self.orders.send(order);
    }

    fn is_over(&self) -> bool {
        self.orders.is_closed()
    }

    /// Waits until it served or failed.
    async fn proof(mut self) -> Result<(), StartError> {
        let proven = self.standing.wait_for(|s| s.proof != Proof::Pending).await;
        match proven.map(|s| s.proof.clone()) {
            Ok(Proof::Failed(error)) => Err(error),
            // The task tells an end before it goes.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// A pool and the slots that feed it; cheap to clone.
#[derive(Clone, Debug)]
pub struct StartedPool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spec: Arc<PoolSpec>,
    pool: Arc<Pool>,
    tuning: watch::Sender<Tuning>,
    slots: Mutex<Vec<SlotHandle>>,
    /// Of every slot that it ever had.
    histories: Mutex<BTreeMap<u32, Arc<History>>>,
}

impl StartedPool {
    /// Where requests find workers; empty until some are ready.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    /// What it was started as; [`wanted`](Self::wanted) may differ from its count.
    pub fn spec(&self) -> &PoolSpec {
        &self.0.spec
    }

    /// Whose files its workers read.
    pub fn generation(&self) -> Generation {
        self.0.spec.generation
    }

    /// How many workers it should have.
    pub fn wanted(&self) -> u32 {
        self.0.pool.wanted()
    }

    /// Gives it, and the workers that live in it, what may change while they do.
    pub fn tune(&self, tuning: Tuning) {
        self.pool().set_queue(tuning.queue_size, tuning.queue_timeout);
        self.pool().set_balance(tuning.balance);
        self.0.tuning.send_replace(tuning);
    }

    /// The first slot whose worker is to be replaced, why, and how long that one may take to finish.
    fn due(&self) -> Option<(u32, Reason, Duration)> {
        let Tuning { recycling, patience, .. } = *self.0.tuning.borrow();
        if recycling.is_off() {
            return None;
        }
        // Nobody waits for the slots while processes are looked at.
        let slots = self.slots().clone();
        let mut lives = slots.iter().filter(|slot| !slot.leaving);
        lives.find_map(|slot| {
            let standing = slot.standing.borrow().clone();
            let why = standing.lived().and_then(|lived| recycling.due(&lived, || standing.rss()))?;
            Some((slot.index, why, patience))
        })
    }

    /// The slots that it has, but for those that are told to go.
    pub fn indexes(&self) -> BTreeSet<u32> {
        self.slots().iter().filter(|slot| !slot.leaving).map(|slot| slot.index).collect()
    }

    /// The slots that go when only so many are to be left: at first those that do not serve, then those that are left out
    /// by the balancing; of equal ones the highest.
    fn surplus(&self, count: u32) -> BTreeSet<u32> {
        let now = self.pool().now();
        let mut worth: BTreeMap<u32, u8> = BTreeMap::new();
        for slot in self.slots().iter().filter(|slot| !slot.leaving) {
            let own = match &slot.standing.borrow().member {
                None => 0,
                Some(member) if member.is_draining() => 0,
                Some(member) if member.record.is_ejected(now) => 1,
                Some(_) => 2,
            };
            // One that is being replaced has two workers.
            let of_slot = worth.entry(slot.index).or_default();
            *of_slot = own.max(*of_slot);
        }
        let mut order: Vec<_> = worth.into_iter().map(|(index, worth)| (worth, Reverse(index))).collect();
        order.sort_unstable();
        let left = usize::try_from(count).unwrap_or(usize::MAX);
        order.iter().take(order.len().saturating_sub(left)).map(|(_, Reverse(index))| *index).collect()
    }

    /// Returns when all its slots are over.
    pub async fn gone(&self) {
        let slots = self.slots().clone();
        for slot in slots {
            slot.orders.closed().await;
        }
    }

    fn slots(&self) -> MutexGuard<'_, Vec<SlotHandle>> {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|slot| !slot.is_over());
        slots
    }

    /// Tells slots that they are to go.
    fn order(&self, order: Order, chosen: impl Fn(&SlotHandle) -> bool) {
        for slot in self.slots().iter_mut().filter(|slot| chosen(slot)) {
            slot.leaving = true;
            slot.order(order);
        }
    }
}

/// The workers did not go in time and were killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("workers had to be killed: they did not end within {0:?}")]
pub struct OutOfGrace(pub Duration);

/// The parent of all workers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Supervisor {
    runtime: Handle,
    staff: Arc<Staff>,
    pools: Arc<Mutex<Vec<StartedPool>>>,
    /// Of all pools, one worker is replaced at a time.
    replacing: Arc<tokio::sync::Mutex<()>>,
}

/// A slot at a glance: what can be said without a look at its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Whose slot.
    pub api: ApiName,
    /// Its index.
    pub slot: u32,
    /// Whose files its worker reads.
    pub generation: Generation,
    /// Which of the slot's lives it is; 0 before the first.
    pub life: u64,
    /// One of [`STATES`].
    pub state: &'static str,
    /// Its process; 0 = none of ours.
    pub pid: u32,
}

impl Supervisor {
    /// A supervisor whose tasks run on `runtime`. Its workers end when the process ends.
    ///
    /// # Errors
    /// When the thread that starts processes cannot be made.
    pub fn new(runtime: Handle, metrics: Metrics) -> io::Result<Self> {
        let spawner = Spawner::start(runtime.clone())?;
        let staff = Arc::new(Staff::new(spawner, metrics));
        Ok(Self { runtime, staff, pools: Arc::default(), replacing: Arc::default() })
    }

    /// Begins to fill a pool; at most `surge` workers are starting at the same time. Without one it returns when every
    /// worker was started (or could not be), so that the launcher's log lines come in the launcher's order; with it, at
    /// once. Either way nobody is ready yet.
    pub async fn start(&self, spec: PoolSpec, tuning: Tuning, surge: Option<usize>) -> StartedPool {
        let pool = Pool::new(spec.api.clone(), tuning.queue_size, tuning.queue_timeout, HEARTBEAT_LIMIT);
        pool.want(spec.slots());
        pool.set_balance(tuning.balance);
        let started = StartedPool(Arc::new(Inner {
            tuning: watch::Sender::new(tuning),
            pool: Arc::new(pool),
            slots: Mutex::default(),
            histories: Mutex::default(),
            spec: Arc::new(spec),
        }));
        self.pools().push(started.clone());
        if started.spec().is_own() {
            self.runtime.spawn(self.clone().keep_young(Arc::downgrade(&started.0)));
        }
        let spec = started.spec();
        if spec.is_own() {
            announce::starting(spec.release, spec.count);
        }
        let turns = surge.map(turns);
        for index in 0..spec.slots() {
            let spawned = self.fill(&started, index, turns.clone());
            if turns.is_none() {
                // An error says the same: there is nothing more to wait for.
                let _ = spawned.await;
            }
        }
        started
    }

    /// Waits until every slot serves. A pool that cannot is ended completely before its first error is returned.
    ///
    /// # Errors
    /// What kept the first slot that failed from serving.
    pub async fn ready(&self, started: &StartedPool) -> Result<Arc<Pool>, StartError> {
        let slots: Vec<_> = started.slots().iter().filter(|slot| !slot.leaving).cloned().collect();
        match all_served(slots).await {
            Ok(()) => Ok(Arc::clone(started.pool())),
            Err(error) => {
                started.order(Order::Kill, |_| true);
                started.gone().await;
                Err(error)
            }
        }
    }

    /// Changes the number of workers. More: at most `surge` are starting at the same time; returns when all serve. Fewer:
    /// those that do not serve go, then the highest slots are drained, which is not waited for. External pools have as many
    /// workers as sockets and stay as they are.
    ///
    /// # Errors
    /// What kept a new worker from serving; the pool is as it was before then.
    pub async fn resize(
        &self,
        started: &StartedPool,
        count: u32,
        drain: Duration,
        surge: usize,
    ) -> Result<(), StartError> {
        let spec = started.spec();
        if !spec.is_own() {
            return Ok(());
        }
        let before = started.pool().want(count);
        let surplus = started.surplus(count);
        let goes = |slot: &SlotHandle| surplus.contains(&slot.index) && !slot.leaving;
        started.order(Order::Retire { drain, why: Reason::Asked }, goes);
        let present = started.indexes();
        let turns = turns(surge);
        let more = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(present.len());
        let missing: BTreeSet<u32> = (0..count).filter(|index| !present.contains(index)).take(more).collect();
        for index in &missing {
            self.fill(started, *index, Some(Arc::clone(&turns)));
        }
        let is_new = |slot: &SlotHandle| missing.contains(&slot.index) && !slot.leaving;
        let new: Vec<_> = started.slots().iter().filter(|slot| is_new(slot)).cloned().collect();
        let served = all_served(new).await;
        if served.is_err() {
            started.pool().want(before);
            started.order(Order::Kill, is_new);
        }
        served
    }

    /// Puts a new worker into a slot, beside the old one, which is drained once the new one serves. A slot that has no
    /// worker now stays as it is.
    ///
    /// # Errors
    /// What kept the new worker from serving; the old one serves on.
    pub async fn replace(
        &self,
        started: &StartedPool,
        index: u32,
        why: Reason,
        drain: Duration,
    ) -> Result<(), StartError> {
        let _turn = self.replacing.lock().await;
        self.replace_now(started, index, why, drain).await
    }

    /// The same, by who has the turn.
    async fn replace_now(
        &self,
        started: &StartedPool,
        index: u32,
        why: Reason,
        drain: Duration,
    ) -> Result<(), StartError> {
        let of_slot = |slot: &&SlotHandle| slot.index == index && !slot.leaving;
        let Some(old) = started.slots().iter().find(of_slot).map(|slot| slot.orders.clone()) else { return Ok(()) };
        // It may be heard or not: readiness is what counts.
        drop(self.fill(started, index, None));
        let new = started.slots().iter().rfind(of_slot).cloned();
        let Some(new) = new.filter(|new| !new.orders.same_channel(&old)) else { return Ok(()) };
        let orders = new.orders.clone();
        let proof = new.proof().await;
        let (order, leaving) = match &proof {
            Ok(()) => (Order::Retire { drain, why }, old),
            Err(_) => (Order::Kill, orders),
        };
        started.order(order, |slot| slot.orders.same_channel(&leaving));
        proof
    }

    /// Replaces the workers of a pool that have lived long enough, until the pool is gone.
    async fn keep_young(self, pool: Weak<Inner>) {
        loop {
            sleep(LOOK).await;
            // Looked at in its turn: meanwhile a worker may have died and another one have come.
            let turn = self.replacing.lock().await;
            let Some(started) = pool.upgrade().map(StartedPool) else { return };
            let Some((index, why, drain)) = started.due() else { continue };
            tracing::info!(
                target: "pasteway::worker",
                "worker {} is replaced ({})", started.spec().slot(index), why.as_str(),
            );
            if self.replace_now(&started, index, why, drain).await.is_err() {
                // It was logged by the slot. What fails now would fail again at once.
                drop((started, turn));
                sleep(AFTER_FAILURE).await;
            }
        }
    }

    /// Takes a pool out of service: no new requests, SIGTERM to each worker when its last one is answered or after
    /// `drain`. [`StartedPool::gone`] tells the end.
    pub fn retire(&self, started: &StartedPool, drain: Duration) {
        started.order(Order::Retire { drain, why: Reason::Asked }, |_| true);
    }

    /// The launcher's stop: SIGTERM to every worker, and time to finish (zero: as long as it takes).
    ///
    /// # Errors
    /// [`OutOfGrace`] when some had to be killed.
    pub async fn stop(&self, grace: Duration) -> Result<(), OutOfGrace> {
        let pools = self.pools().clone();
        let children = self.glance().iter().filter(|slot| slot.pid != 0).count();
        for pool in &pools {
            pool.order(Order::Stop { grace: None }, |_| true);
        }
        let release = pools.last().map(|pool| pool.spec().release);
        if let Some(release) = release.filter(|_| children > 0) {
            announce::waiting(release, children);
        }
        if grace.is_zero() {
            all_gone(&pools).await;
        } else if timeout(grace, all_gone(&pools)).await.is_err() {
            if let Some(release) = release {
                announce::out_of_grace(release);
            }
            self.stop_now().await;
            return Err(OutOfGrace(grace));
        }
        Ok(())
    }

    /// SIGKILL to every worker.
    pub async fn stop_now(&self) {
        let pools = self.pools().clone();
        for pool in &pools {
            pool.order(Order::Kill, |_| true);
        }
        // What does not vanish even now ends with us or never.
        let _ = timeout(LAST_WAIT, all_gone(&pools)).await;
    }

    /// Every slot that is not over.
    pub fn glance(&self) -> Vec<Glance> {
        let mut found = Vec::new();
        for pool in self.pools().iter() {
            found.extend(pool.slots().iter().map(|slot| {
                let (api, generation) = (pool.spec().api.clone(), pool.generation());
                let standing = slot.standing.borrow();
                let (life, state, pid) = (standing.starts, standing.state, standing.pid);
                Glance { api, slot: slot.index, generation, life, state, pid }
            }));
        }
        found
    }

    /// Every slot that is not over, by API, slot and generation, with the memory of its processes.
    pub fn report(&self) -> Vec<SlotReport> {
        let mut reports: Vec<SlotReport> = Vec::new();
        // Nobody waits for the pools or the slots while processes are looked at.
        let pools = self.pools().clone();
        for pool in &pools {
            let (spec, now) = (pool.spec(), pool.pool().now());
            let slots = pool.slots().clone();
            reports.extend(slots.iter().map(|slot| slot.standing.borrow().clone().report(spec, slot.index, now)));
        }
        reports.sort_by(|a, b| (&a.api, a.slot, a.generation).cmp(&(&b.api, b.slot, b.generation)));
        reports
    }

    /// Slots per API and state, zeros included.
    pub fn states(&self) -> BTreeMap<(ApiName, &'static str), u64> {
        let mut states = BTreeMap::new();
        for pool in self.pools().iter() {
            for state in STATES {
                states.entry((pool.spec().api.clone(), state)).or_default();
            }
            for slot in pool.slots().iter() {
                *states.entry((pool.spec().api.clone(), slot.standing.borrow().state)).or_default() += 1;
            }
        }
        states
    }

    /// Gives a pool one more slot; the receiver hears when its first worker was started.
    fn fill(&self, started: &StartedPool, index: u32, turns: Option<Arc<Semaphore>>) -> oneshot::Receiver<()> {
        let (orders, receiver) = mpsc::unbounded_channel();
        let history = {
            let mut histories = started.0.histories.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(histories.entry(index).or_default())
        };
        let (standing, seen) = watch::channel(Standing::new(history));
        let (spawned, heard) = oneshot::channel();
        let place = Place {
            id: started.spec().slot(index),
            spec: Arc::clone(&started.0.spec),
            tuning: started.0.tuning.subscribe(),
            pool: Arc::clone(started.pool()),
            staff: Arc::clone(&self.staff),
            standing,
            orders: receiver,
            deserted: false,
        };
        started.slots().push(SlotHandle { index, orders, standing: seen, leaving: false });
        match &started.spec().kind {
            Kind::Builtin | Kind::Python { .. } | Kind::Command(_) => {
                self.runtime.spawn(Slot::new(place).run(turns, spawned));
            }
            Kind::External { sockets } => {
                let socket = usize::try_from(index).ok().and_then(|index| sockets.get(index)).cloned();
                let socket = socket.unwrap_or_default();
                let record = self.known_of(&socket);
                self.runtime.spawn(ExternalSlot::new(place, socket, record).run());
            }
        }
        heard
    }

    /// What is known of the worker at that socket: its health is not forgotten where a new pool has it too.
    fn known_of(&self, socket: &Path) -> Arc<Record> {
        let pools = self.pools();
        let mut members = pools.iter().rev().flat_map(|pool| Vec::clone(&pool.pool().members()));
        members.find(|member| member.socket == socket).map(|member| Arc::clone(&member.record)).unwrap_or_default()
    }

    /// The pools that still have slots, or are being given some.
    fn pools(&self) -> MutexGuard<'_, Vec<StartedPool>> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| Arc::strong_count(&pool.0) > 1 || !pool.slots().is_empty());
        pools
    }
}

/// So many may be starting at the same time.
fn turns(surge: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(surge.clamp(1, Semaphore::MAX_PERMITS)))
}

/// Waits until all have served; the first failure ends the wait.
async fn all_served(slots: Vec<SlotHandle>) -> Result<(), StartError> {
    let mut waits: JoinSet<_> = slots.into_iter().map(SlotHandle::proof).collect();
    while let Some(wait) = waits.join_next().await {
        // A wait is neither aborted nor does it panic.
        wait.unwrap_or(Ok(()))?;
    }
    Ok(())
}

async fn all_gone(pools: &[StartedPool]) {
    for pool in pools {
        pool.gone().await;
    }
}

#[cfg(test)]
mod tests;
