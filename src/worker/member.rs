//! One life of a worker, as the balancer sees it: its permits, its heartbeat, whether it drains.
//!
//! Must not know the queue in front of it or how it is spoken to.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Notify;

use super::choice::Record;
use crate::id::SlotId;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

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
    /// How it does.
    pub record: Record,
    limit: usize,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    heartbeat: AtomicU64,
    draining: AtomicBool,
    idle: Notify,
    hung: Notify,
    hangs: AtomicBool,
    parting: Notify,
    parts: AtomicBool,
}

impl Member {
    /// A member that takes `limit` requests at a time.
    pub fn new(slot: SlotId, life: u64, pid: u32, socket: PathBuf, limit: usize) -> Self {
        Self {
            slot,
            life,
            pid,
            socket,
            record: Record::default(),
            limit,
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            heartbeat: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            idle: Notify::new(),
            hung: Notify::new(),
            hangs: AtomicBool::new(false),
            parting: Notify::new(),
            parts: AtomicBool::new(false),
        }
    }

    /// Requests that hold a lease now.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it takes another request now.
    pub(super) fn has_room(&self) -> bool {
        !self.is_draining() && self.in_flight.load(Ordering::SeqCst) < self.limit
    }

    /// Leases granted since it was born.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Notes that the worker said that it lives (`now` on the clock of [`Pool::now`](super::Pool::now)).
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

    /// It was silent for too long while a request waited.
    pub fn hang(&self) {
        if !self.hangs.swap(true, Ordering::Relaxed) {
            self.hung.notify_one();
        }
    }

    /// Returns when it is said to hang; told once, to one listener.
    pub async fn hung(&self) {
        self.hung.notified().await;
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

    /// It is told to end, whoever has a lease on it still.
    pub(super) fn part(&self) {
        self.parts.store(true, Ordering::SeqCst);
        self.parting.notify_waiters();
    }

    /// Returns when it is told to end: what would never end by itself is to end now.
    pub async fn parted(&self) {
        let told = self.parting.notified();
        if !self.parts.load(Ordering::SeqCst) {
            told.await;
        }
    }

    pub(super) fn try_acquire(&self) -> bool {
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

    pub(super) fn release(&self) {
        let left = self.in_flight.fetch_sub(1, Ordering::SeqCst) - 1;
        if left == 0 && self.draining.load(Ordering::SeqCst) {
            self.idle.notify_waiters();
        }
    }
}
