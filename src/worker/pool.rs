//! A pool: the serving workers of one API, the leases on them, and the queue in front of them.
//!
//! Must not know how workers are started or how requests are spoken to them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::id::{ApiName, SlotId};

/// One life of a worker, as the balancer sees it.
#[derive(Debug)]
pub struct Member {
    /// The slot that it lives in.
    pub slot: SlotId,
    /// Unique in this front: keys the kept connections to it.
    pub life: u64,
    /// Process id; 0 for a worker that something else runs.
    pub pid: u32,
    /// The Unix socket that it serves.
    pub socket: PathBuf,
    limit: usize,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    heartbeat: AtomicU64,
    draining: AtomicBool,
    idle: Notify,
}

impl Member {
    /// A member that takes `limit` requests at a time.
    pub fn new(slot: SlotId, life: u64, pid: u32, socket: PathBuf, limit: usize) -> Self {
        Self {
            slot,
            life,
            pid,
            socket,
            limit,
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            heartbeat: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            idle: Notify::new(),
        }
    }

    /// Requests that hold a lease now.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Leases granted since it was born.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Notes that the worker said that it lives (`now` on the clock of [`Pool::now`]).
    pub fn beat(&self, now: Duration) {
        self.heartbeat.store(now.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When it last said that it lives.
    pub fn last_beat(&self) -> Duration {
        Duration::from_millis(self.heartbeat.load(Ordering::Relaxed))
    }

    /// Whether it takes no new requests and its kept connections are to be closed.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Takes no new requests from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Returns when no lease is left. Meaningful after [`drain`](Self::drain).
    pub async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.in_flight.load(Ordering::SeqCst) == 0 {
                return;
            }
            notified.await;
        }
    }

    fn try_acquire(&self) -> bool {
        if self.is_draining() {
            return false;
        }
        let taken = self
            .in_flight
            // Also the look: who finds no room has said before that it waits, and must see any release after that.
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n < self.limit).then_some(n + 1))
            .is_ok();
        // Drained in between: whoever waits for idleness may have looked before this lease.
        if taken && self.draining.load(Ordering::SeqCst) {
            self.release();
            return false;
        }
        if taken {
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    fn release(&self) {
        let left = self.in_flight.fetch_sub(1, Ordering::SeqCst) - 1;
        if left == 0 && self.draining.load(Ordering::SeqCst) {
            self.idle.notify_waiters();
        }
    }
}

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
    members: ArcSwap<Vec<Arc<Member>>>,
    queue_size: AtomicUsize,
    queue_timeout_ms: AtomicU64,
    waiting: AtomicUsize,
    freed: Notify,
    epoch: Instant,
    /// How old a heartbeat may be before the worker counts as not answering.
    heartbeat_limit: Duration,
}

impl Pool {
    /// A pool without members yet.
    pub fn new(api: ApiName, queue_size: usize, queue_timeout: Duration, heartbeat_limit: Duration) -> Self {
        let pool = Self {
            api,
            members: ArcSwap::default(),
            queue_size: AtomicUsize::new(0),
            queue_timeout_ms: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            epoch: Instant::now(),
            heartbeat_limit,
        };
        pool.set_queue(queue_size, queue_timeout);
        pool
    }

    /// Changes the bounds of the queue; requests that wait already are not affected.
    pub fn set_queue(&self, size: usize, timeout: Duration) {
        self.queue_size.store(size, Ordering::Relaxed);
        self.queue_timeout_ms.store(timeout.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The pool's own clock, for [`Member::beat`].
    pub fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The workers that take requests now.
    pub fn members(&self) -> Arc<Vec<Arc<Member>>> {
        self.members.load_full()
    }

    /// Adds a worker that is ready, and lets waiting requests try it.
    pub fn admit(&self, member: Arc<Member>) {
        member.beat(self.now());
        self.members.rcu(|old| {
            let mut new = Vec::clone(old);
            new.push(Arc::clone(&member));
            new.sort_by(|a, b| a.slot.cmp(&b.slot));
            new
        });
        for _ in 0..self.waiting.load(Ordering::SeqCst) {
            self.freed.notify_one();
        }
    }

    /// Takes a worker out: it gets no new requests. Its leases go on.
    pub fn dismiss(&self, life: u64) {
        for member in self.members.load().iter().filter(|m| m.life == life) {
            member.drain();
        }
        self.members.rcu(|old| old.iter().filter(|m| m.life != life).cloned().collect::<Vec<_>>());
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

    /// The serving worker with the fewest requests, if one has room.
    ///
    /// `avoid` is the life that just failed this request: it is taken only when no other has room.
    pub fn try_lease(self: &Arc<Self>, avoid: Option<u64>) -> Option<Lease> {
        let members = self.members.load();
        // Starting anywhere spreads equal loads; a lost race for the last permit just tries the next best.
        let start = if members.len() > 1 { fastrand::usize(..members.len()) } else { 0 };
        let mut tried = 0_u64;
        loop {
            let mut best: Option<(usize, bool, usize)> = None;
            for step in 0..members.len() {
                let index = (start + step) % members.len();
                let Some(member) = members.get(index) else { continue };
                if index < 64 && tried & (1 << index) != 0 {
                    continue;
                }
                let key = (avoid == Some(member.life), member.in_flight());
                if best.is_none_or(|(_, avoided, load)| key < (avoided, load)) {
                    best = Some((index, key.0, key.1));
                }
            }
            let (index, ..) = best?;
            let member = members.get(index)?;
            if member.try_acquire() {
                return Some(Lease { member: Arc::clone(member), pool: Arc::clone(self) });
            }
            if index >= 64 {
                return None;
            }
            tried |= 1 << index;
        }
    }

    /// A worker for a request: at once when one has room and nobody waits, else after waiting in the queue.
    ///
    /// # Errors
    /// [`QueueError::Full`] at once, [`QueueError::Timeout`] after the queue's time.
    pub async fn lease(self: &Arc<Self>, avoid: Option<u64>) -> Result<Lease, QueueError> {
        if self.waiting.load(Ordering::Relaxed) == 0
            && let Some(lease) = self.try_lease(avoid)
        {
            return Ok(lease);
        }
        let limit = self.queue_size.load(Ordering::Relaxed);
        if self.waiting.fetch_update(Ordering::SeqCst, Ordering::Relaxed, |n| (n < limit).then_some(n + 1)).is_err() {
            return Err(QueueError::Full);
        }
        let _place = Waiting(self);
        let timeout = Duration::from_millis(self.queue_timeout_ms.load(Ordering::Relaxed));
        let wait = async {
            loop {
                // Registered before the last look, so that a release in between is not lost.
                let mut notified = std::pin::pin!(self.freed.notified());
                notified.as_mut().enable();
                if let Some(lease) = self.try_lease(avoid) {
                    return lease;
                }
                notified.await;
            }
        };
        tokio::time::timeout(timeout, wait).await.map_err(|_| QueueError::Timeout)
    }
}

/// A request's place in the queue.
struct Waiting<'a>(&'a Pool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The right to one request on one worker; given back when dropped, which is to be after the last byte
/// of the response.
#[derive(Debug)]
pub struct Lease {
    member: Arc<Member>,
    pool: Arc<Pool>,
}

impl Lease {
    /// The worker.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member.release();
        if self.pool.waiting.load(Ordering::SeqCst) > 0 {
            self.pool.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(limits: &[usize]) -> Arc<Pool> {
        let api = ApiName::from("osapi_compute");
        let pool = Pool::new(api.clone(), 1, Duration::from_secs(5), Duration::from_secs(3));
        for (n, limit) in (0..).zip(limits) {
            let slot = SlotId { api: api.clone(), index: n };
            pool.admit(Arc::new(Member::new(slot, u64::from(n), 1, "/w.sock".into(), *limit)));
        }
        Arc::new(pool)
    }

    #[test]
    fn the_worker_with_the_fewest_requests_is_chosen() {
        let pool = pool(&[9, 9]);
        let first = pool.try_lease(None).expect("room");
        for _ in 0..20 {
            let second = pool.try_lease(None).expect("room");
            assert_ne!(second.member().life, first.member().life);
        }
    }

    #[test]
    fn a_worker_that_failed_the_request_is_taken_only_when_no_other_has_room() {
        let pool = pool(&[1, 1]);
        let other = pool.try_lease(Some(0)).expect("room");
        assert_eq!(other.member().life, 1);
        assert_eq!(pool.try_lease(Some(0)).map(|l| l.member().life), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_and_a_freed_worker_serves_who_waits() {
        let pool = pool(&[1]);
        let lease = pool.lease(None).await.expect("room");
        let waiter = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.lease(None).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(pool.lease(None).await.map(drop), Err(QueueError::Full));
        drop(lease);
        assert_eq!(waiter.await.expect("no panic"), Ok(()));
        assert_eq!(pool.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dismissed_worker_takes_nothing_more_and_is_idle_after_its_last_lease() {
        let pool = pool(&[1]);
        let lease = pool.lease(None).await.expect("room");
        let member = Arc::clone(lease.member());
        pool.dismiss(0);
        assert!(pool.try_lease(None).is_none());
        assert!(pool.health().is_err());
        let idle = tokio::spawn(async move { member.idle().await });
        tokio::task::yield_now().await;
        assert!(!idle.is_finished());
        drop(lease);
        idle.await.expect("no panic");
    }
}
