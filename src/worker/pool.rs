//! A pool: the serving workers of one API, the leases on them, and the queue in front of them.
//!
//! Must not know how workers are started or how requests are spoken to them.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::oneshot;

use super::choice::{self, Choice};
use super::member::Member;
use crate::balance::Balance;
use crate::id::ApiName;
use crate::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// When the clock of all pools began: what is known of a worker holds in each that has it.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Why no worker could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// `queue_size` requests wait already.
    #[error("the queue is full")]
    Full,
    /// It waited for `queue_timeout`.
    #[error("no worker became free in time")]
    Timeout,
}

/// The workers of one API (of one identity of its worker side) and the requests that wait for them.
#[derive(Debug)]
pub struct Pool {
    /// Whose requests these are.
    pub api: ApiName,
    wanted: AtomicU32,
    members: ArcSwap<Vec<Arc<Member>>>,
    choice: Choice,
    queue_size: AtomicUsize,
    queue_timeout_ms: AtomicU64,
    waiting: AtomicUsize,
    /// Those who wait, the longest first; some may have gone.
    queue: Mutex<VecDeque<Waiter>>,
    /// Held by who leaves a worker out, so that two do not leave out one too many.
    ejecting: Mutex<()>,
    /// How old a heartbeat may be before the worker counts as not answering.
    heartbeat_limit: Duration,
    facts: OnceLock<Value>,
}

impl Pool {
    /// A pool without members yet.
    pub fn new(api: ApiName, queue_size: usize, queue_timeout: Duration, heartbeat_limit: Duration) -> Self {
        let pool = Self {
            api,
            wanted: AtomicU32::new(0),
            members: ArcSwap::default(),
            choice: Choice::default(),
            queue_size: AtomicUsize::new(0),
            queue_timeout_ms: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            ejecting: Mutex::default(),
            heartbeat_limit,
            facts: OnceLock::new(),
        };
        pool.set_queue(queue_size, queue_timeout);
        pool
    }

    /// Changes the bounds of the queue; requests that wait already are not affected.
    pub fn set_queue(&self, size: usize, timeout: Duration) {
        self.queue_size.store(size, Ordering::Relaxed);
        self.queue_timeout_ms.store(timeout.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How long a request may wait.
    pub fn queue_timeout(&self) -> Duration {
        Duration::from_millis(self.queue_timeout_ms.load(Ordering::Relaxed))
    }

    /// How many workers it should have; while one is replaced there may be one more.
    pub fn wanted(&self) -> u32 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Says how many workers it should have; how many that was before.
    pub(super) fn want(&self, count: u32) -> u32 {
        self.wanted.swap(count, Ordering::Relaxed)
    }

    /// What the first of its workers that was ready told of the service that it hosts: what only the service's code
    /// knows, e.g. `nova.microversions`, `["2.1", "2.104"]`. All workers of a pool host the same.
    pub fn facts(&self) -> Option<&Value> {
        self.facts.get()
    }

    pub(super) fn learn(&self, facts: Value) {
        // Those that come later say the same.
        let _ = self.facts.set(facts);
    }

    /// Changes how workers are chosen.
    pub fn set_balance(&self, balance: Balance) {
        self.choice.set(balance);
    }

    /// The pools' clock, for [`Member::beat`].
    pub fn now(&self) -> Duration {
        EPOCH.elapsed()
    }

    /// The workers that take requests now.
    pub fn members(&self) -> Arc<Vec<Arc<Member>>> {
        self.members.load_full()
    }

    /// Adds a worker that is ready, and lets waiting requests try it.
    pub fn admit(self: &Arc<Self>, member: Arc<Member>) {
        let now = self.now();
        member.beat(now);
        member.record.admit(now);
        // Of an external worker it is known from another pool.
        let left_out = member.record.ejected_for(now);
        self.choice.unsettle(now + choice::SLOW_START.max(left_out));
        if !left_out.is_zero() {
            self.hand_over_after(left_out);
        }
        self.members.rcu(|old| {
            let mut new = Vec::clone(old);
            new.push(Arc::clone(&member));
            new.sort_by(|a, b| a.slot.cmp(&b.slot));
            new
        });
        self.hand_over();
    }

    /// Takes a worker out: it gets no new requests. Its leases go on.
    pub fn dismiss(self: &Arc<Self>, life: u64) {
        for member in self.members.load().iter().filter(|m| m.life == life) {
            member.drain();
        }
        self.members.rcu(|old| old.iter().filter(|m| m.life != life).cloned().collect::<Vec<_>>());
        // Who waited for it may take one that is left out.
        self.hand_over();
    }

    /// A worker gives no sign of life: for so long others are preferred.
    pub fn suspect(self: &Arc<Self>, member: &Member, time: Duration) {
        let until = self.now() + time;
        member.record.suspect(until);
        self.choice.unsettle(until);
        // Who waited for it may take one that is left out.
        self.hand_over();
    }

    /// It gives one again.
    pub fn trust(self: &Arc<Self>, member: &Member) {
        member.record.suspect(Duration::ZERO);
        self.hand_over();
    }

    /// Leaves a worker out for a while because it fails, unless too many are already.
    fn eject(self: &Arc<Self>, member: &Member) {
        let time = {
            let _turn = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.now();
            // What failed together with the request that it was left out for is no news.
            if member.record.is_ejected(now) || !choice::may_eject(&self.members.load(), now) {
                return;
            }
            let time = member.record.eject(now);
            self.choice.unsettle(now + time);
            time
        };
        tracing::warn!(
            target: "pasteway::worker",
            "worker {} fails again and again: for {} s it gets requests only where nobody else could take them",
            member.slot, time.as_secs(),
        );
        self.hand_over_after(time);
    }

    /// Lets waiting requests look again when somebody is no longer left out.
    fn hand_over_after(self: &Arc<Self>, time: Duration) {
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            if let Some(pool) = pool.upgrade() {
                pool.hand_over();
            }
        });
    }

    /// Requests that wait for a worker now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether a worker serves and has answered its last heartbeat; else the reason why not.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn health(&self) -> Result<(), String> {
        let members = self.members.load();
        if members.is_empty() {
            return Err(format!("{}: no worker is serving", self.api));
        }
        let now = self.now();
        if members.iter().all(|m| now.saturating_sub(m.last_beat()) > self.heartbeat_limit) {
            return Err(format!("{}: no worker answers its heartbeat", self.api));
        }
        Ok(())
    }

    /// A serving worker that has room, if there is one. Those in `tried` (lives) have failed this request: it waits for
    /// another one, as long as there is any.
    pub fn try_lease(self: &Arc<Self>, tried: &[u64]) -> Option<Lease> {
        let members = self.members.load();
        // Who loses the race for a permit looks again: somebody else has won it.
        for _ in 0..=members.len() {
            let best = self.choice.next(&members, tried, || self.now())?;
            if best.try_acquire() {
                return Some(Lease { member: Arc::clone(best), pool: Some(Arc::clone(self)) });
            }
        }
        None
    }

    /// A worker for a request, if one has room and nobody waits: who comes later does not go before.
    pub fn lease_now(self: &Arc<Self>, tried: &[u64]) -> Option<Lease> {
        if self.waiting() == 0 { self.try_lease(tried) } else { None }
    }

    /// A worker for a request: at once when one has room and nobody waits, else after waiting in the queue, which is
    /// served in its order.
    ///
    /// # Errors
    /// [`QueueError::Full`] at once, [`QueueError::Timeout`] after the queue's time.
    pub async fn lease(self: &Arc<Self>, tried: &[u64]) -> Result<Lease, QueueError> {
        match self.lease_now(tried) {
            Some(lease) => Ok(lease),
            None => self.wait(tried, tokio::time::sleep(self.queue_timeout())).await,
        }
    }

    /// Waits in the queue until `end`.
    ///
    /// # Errors
    /// [`QueueError::Full`] at once, [`QueueError::Timeout`] at the end.
    pub async fn wait(self: &Arc<Self>, tried: &[u64], end: impl Future<Output = ()>) -> Result<Lease, QueueError> {
        let limit = self.queue_size.load(Ordering::Relaxed);
        if self.waiting.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |n| (n < limit).then_some(n + 1)).is_err() {
            return Err(QueueError::Full);
        }
        let place = Place(self);
        let (sender, mut receiver) = oneshot::channel();
        self.queue().push_back(Waiter { sender, tried: tried.into() });
        // A lease that ended before the line above has told nobody.
        self.hand_over();
        let lease = tokio::select! {
            biased;
            lease = &mut receiver => lease.ok(),
            () = end => None,
        };
        // Closed before the place is given up: the next in the queue gets what comes now.
        receiver.close();
        drop(place);
        lease.or_else(|| receiver.try_recv().ok()).ok_or(QueueError::Timeout)
    }

    /// Gives free permits to those who wait, the longest wait first.
    fn hand_over(self: &Arc<Self>) {
        let mut queue = self.queue();
        let mut place = 0;
        while let Some(waiter) = queue.get(place) {
            match self.try_lease(&waiter.tried) {
                Some(lease) => {
                    let given = queue.remove(place).map(|waiter| waiter.sender.send(lease));
                    // Who waited there may have gone. Whoever comes meanwhile waits for this queue.
                    if let Some(Err(lease)) = given {
                        lease.end_quietly();
                    }
                }
                None if waiter.tried.is_empty() => return,
                // It waits for certain workers; who stands behind it may take another one.
                None => place += 1,
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits.
#[derive(Debug)]
struct Waiter {
    sender: oneshot::Sender<Lease>,
    /// The workers that have failed it.
    tried: Box<[u64]>,
}

/// A request's place in the queue.
struct Place<'a>(&'a Pool);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.queue().retain(|waiter| !waiter.sender.is_closed());
    }
}

/// The right to one request on one worker; given back when dropped, which is to be after the last byte
/// of the response.
#[derive(Debug)]
pub struct Lease {
    member: Arc<Member>,
    /// Where the permit is handed over when it ends; `None` = nowhere.
    pool: Option<Arc<Pool>>,
}

impl Lease {
    /// The worker.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// The head of a good answer came: `took` after `begun`.
    pub fn answered(&self, begun: Instant, took: Duration) {
        self.member.record.recover();
        if self.watching().is_some() {
            self.member.record.answered(took, begun.saturating_duration_since(*EPOCH) + took);
        }
    }

    /// The app behind it failed, or said that something did (5xx).
    pub fn erred(&self) {
        self.member.record.recover();
        if let Some(pool) = self.watching() {
            self.member.record.erred(pool.now());
        }
    }

    /// The worker could not be spoken to, or gave no usable answer: who does so again and again is left out for a while.
    pub fn failed(&self) {
        if let Some(pool) = &self.pool
            && self.member.record.failed(pool.now())
        {
            pool.eject(&self.member);
        }
    }

    /// The worker was silent for too long.
    pub fn hang(&self) {
        self.member.hang();
        self.failed();
    }

    /// The pool, where it needs to know how workers answer.
    fn watching(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref().filter(|pool| pool.choice.balance() == Balance::P2cEwma)
    }

    /// Ends without handing the permit over: who does that already must not begin it again.
    fn end_quietly(mut self) {
        self.pool = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member.release();
        if let Some(pool) = &self.pool
            && pool.waiting.load(Ordering::SeqCst) > 0
        {
            pool.hand_over();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SlotId;

    fn pool(limits: &[usize]) -> Arc<Pool> {
        let api = ApiName::from("osapi_compute");
        let pool = Arc::new(Pool::new(api.clone(), 1, Duration::from_secs(5), Duration::from_secs(3)));
        for (n, limit) in (0..).zip(limits) {
            let slot = SlotId { api: api.clone(), index: n };
            pool.admit(Arc::new(Member::new(slot, u64::from(n), 1, "/w.sock".into(), *limit)));
        }
        pool
    }

    #[test]
    fn the_worker_with_the_fewest_requests_is_chosen() {
        let pool = pool(&[9, 9]);
        let first = pool.try_lease(&[]).expect("room");
        for _ in 0..20 {
            let second = pool.try_lease(&[]).expect("room");
            assert_ne!(second.member().life, first.member().life);
        }
    }

    #[test]
    fn a_worker_that_failed_the_request_is_taken_only_when_there_is_no_other() {
        let two = pool(&[1, 1]);
        let other = two.try_lease(&[0]).expect("room");
        assert_eq!(other.member().life, 1);
        assert!(two.try_lease(&[0]).is_none());
        assert_eq!(pool(&[1]).try_lease(&[0]).map(|l| l.member().life), Some(0));
    }

    /// Its worker could not be spoken to, so often that it is left out.
    fn leave_out(pool: &Arc<Pool>, life: u64) {
        let others: Vec<_> = pool.members().iter().map(|member| member.life).filter(|it| *it != life).collect();
        for _ in 0..choice::FAILURES {
            let lease = pool.try_lease(&others).expect("room");
            assert_eq!(lease.member().life, life);
            lease.failed();
        }
        assert!(pool.members().iter().any(|it| it.life == life && it.record.is_ejected(pool.now())));
    }

    #[tokio::test]
    async fn who_waits_is_told_when_a_worker_is_no_longer_left_out() {
        let pool = pool(&[1, 1]);
        leave_out(&pool, 0);
        let _busy = pool.try_lease(&[]).expect("the sound one");
        let lease = pool.lease(&[]).await.expect("the other one, after its time");
        assert_eq!(lease.member().life, 0);
        assert!(!lease.member().record.is_ejected(pool.now()));
    }

    #[tokio::test]
    async fn who_waits_takes_a_worker_that_is_left_out_when_the_last_sound_one_goes_or_is_silent() {
        let goes: fn(&Arc<Pool>) = |pool| pool.dismiss(1);
        let is_silent: fn(&Arc<Pool>) = |pool| pool.suspect(&Arc::clone(&pool.members()[1]), Duration::from_secs(60));
        for happens in [goes, is_silent] {
            let pool = pool(&[1, 1]);
            leave_out(&pool, 0);
            let _busy = pool.try_lease(&[]).expect("the sound one");
            let mut waiting = std::pin::pin!(pool.lease(&[]));
            assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await);
            happens(&pool);
            let lease = waiting.await.expect("a worker");
            assert_eq!(lease.member().life, 0);
            assert!(lease.member().record.is_ejected(pool.now()));
        }
    }

    #[tokio::test]
    async fn failures_of_one_moment_leave_a_worker_out_once_and_the_last_ones_never() {
        let pool = pool(&[20, 20]);
        let leases: Vec<_> = (0..20).map(|_| pool.try_lease(&[1]).expect("room")).collect();
        leases.iter().for_each(Lease::failed);
        let time = leases[0].member().record.ejected_for(pool.now());
        assert!(!time.is_zero() && time <= choice::EJECTION, "{time:?}");
        let others: Vec<_> = (0..20).map(|_| pool.try_lease(&[0]).expect("room")).collect();
        others.iter().for_each(Lease::failed);
        assert!(!others[0].member().record.is_ejected(pool.now()));
    }

    #[tokio::test]
    async fn a_worker_without_a_sign_of_life_is_avoided_until_it_gives_one() {
        let pool = pool(&[9, 9]);
        let member = Arc::clone(&pool.members()[0]);
        pool.suspect(&member, Duration::from_secs(60));
        let lives = || (0..50).map(|_| pool.try_lease(&[]).expect("room").member().life).collect::<Vec<_>>();
        assert_eq!(lives(), [1; 50]);
        pool.trust(&member);
        assert!(lives().contains(&0));
        leave_out(&pool, 0);
        pool.trust(&member);
        assert_eq!(lives(), [1; 50], "its failures are another matter");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_another_worker_keeps_nobody_else_waiting() {
        let pool = pool(&[1, 1]);
        pool.set_queue(3, Duration::from_secs(5));
        let first = pool.try_lease(&[1]).expect("room");
        let second = pool.try_lease(&[0]).expect("room");
        let wait = |tried: &'static [u64]| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.lease(tried).await.map(|lease| lease.member().life) })
        };
        let (failed, other) = (wait(&[0]), wait(&[]));
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(other.await.expect("no panic"), Ok(0));
        assert!(!failed.is_finished(), "that one has failed it");
        drop(second);
        assert_eq!(failed.await.expect("no panic"), Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_served_in_its_order_and_leaves_out_who_has_gone() {
        let pool = pool(&[1]);
        pool.set_queue(3, Duration::from_secs(5));
        let lease = pool.lease(&[]).await.expect("room");
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut waiters: Vec<_> = (0..3)
            .map(|n| {
                let (pool, served) = (Arc::clone(&pool), Arc::clone(&served));
                tokio::spawn(async move {
                    let lease = pool.lease(&[]).await;
                    served.lock().expect("no panic").push(n);
                    tokio::task::yield_now().await;
                    drop(lease);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        waiters.remove(1).abort();
        tokio::task::yield_now().await;
        drop(lease);
        // A newcomer does not go before those who wait.
        let newcomer = pool.lease(&[]).await.expect("a turn");
        assert_eq!(*served.lock().expect("no panic"), [0, 2]);
        drop(newcomer);
        assert_eq!((pool.waiting(), pool.queue().len()), (0, 0));
        assert!(pool.try_lease(&[]).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_nobody_takes_stays_free_while_somebody_is_about_to_go() {
        let pool = pool(&[2]);
        pool.set_queue(3, Duration::from_secs(5));
        let (first, second) = (pool.lease(&[]).await.expect("room"), pool.lease(&[]).await.expect("room"));
        let waiter = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.lease(&[]).await.map(drop) }
        });
        tokio::task::yield_now().await;
        // The first goes to the waiter, which has not run yet and still counts; the second goes to nobody.
        drop((first, second));
        assert_eq!(pool.waiting(), 1);
        assert_eq!(waiter.await.expect("no panic"), Ok(()));
        assert_eq!(pool.try_lease(&[]).map(|lease| lease.member().in_flight()), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_and_leaves_no_trace() {
        let pool = pool(&[1]);
        let _lease = pool.lease(&[]).await.expect("room");
        assert_eq!(pool.lease(&[]).await.map(drop), Err(QueueError::Timeout));
        assert_eq!((pool.waiting(), pool.queue().len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_and_a_freed_worker_serves_who_waits() {
        let pool = pool(&[1]);
        let lease = pool.lease(&[]).await.expect("room");
        let waiter = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.lease(&[]).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(pool.lease(&[]).await.map(drop), Err(QueueError::Full));
        drop(lease);
        assert_eq!(waiter.await.expect("no panic"), Ok(()));
        assert_eq!(pool.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dismissed_worker_takes_nothing_more_and_is_idle_after_its_last_lease() {
        let pool = pool(&[1]);
        let lease = pool.lease(&[]).await.expect("room");
        let member = Arc::clone(lease.member());
        pool.dismiss(0);
        assert!(pool.try_lease(&[]).is_none());
        assert!(pool.health().is_err());
        let idle = tokio::spawn(async move { member.idle().await });
        tokio::task::yield_now().await;
        assert!(!idle.is_finished());
        drop(lease);
        idle.await.expect("no panic");
    }

    #[tokio::test]
    async fn leases_end_while_another_is_on_its_way_to_who_waits() {
        let pool = pool(&[2]);
        let (a, b) = (pool.try_lease(&[]).expect("room"), pool.try_lease(&[]).expect("room"));
        let waiter = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.lease(&[]).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(pool.waiting(), 1);
        // The waiter has its lease now, but its task has not run.
        drop(a);
        drop(b);
        assert_eq!(pool.members()[0].in_flight(), 1);
        let lease = waiter.await.expect("no panic").expect("a lease");
        assert_eq!(pool.waiting(), 0);
        drop(lease);
        assert_eq!(pool.members()[0].in_flight(), 0);
    }
}
