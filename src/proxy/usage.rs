//! Who still uses a generation: the count of a thread's requests, and the wait for the last thread to leave.
//!
//! Its protocol is checked by a model (`integration/model`). Must not know what a generation is made of.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::holder::{HOLDERS, Holder};
use super::tally::{Tallied, Tally};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// Who still uses a generation: data threads write, reports read.
#[derive(Debug, Default)]
pub struct Usage {
    cells: Mutex<Vec<Arc<UsageCell>>>,
    left: Notify,
}

/// One data thread's use of a generation. Only that thread writes, so plain stores do.
#[derive(Debug, Default)]
pub struct UsageCell {
    in_flight: AtomicU64,
    /// Start of its oldest request in ms since 1970, as of the thread's last tick; 0 = none.
    oldest_ms: AtomicU64,
    left: AtomicBool,
    tally: Tally,
    /// Its oldest requests, as of the thread's last tick.
    holders: Mutex<Vec<Holder>>,
}

impl Usage {
    /// A data thread begins to use the generation.
    pub fn enter(&self) -> Arc<UsageCell> {
        let cell = Arc::new(UsageCell::default());
        self.cells().push(Arc::clone(&cell));
        cell
    }

    /// A data thread has ended its last request of the generation and will begin no other.
    pub fn leave(&self, cell: &UsageCell) {
        // No tick will: it tells of those that are there.
        cell.tell_oldest(0, Vec::new());
        cell.left.store(true, Ordering::Release);
        self.left.notify_one();
    }

    /// Returns when every thread that entered has left. Meaningful once no thread enters any more.
    pub async fn drained(&self) {
        loop {
            if self.cells().iter().all(|cell| cell.left.load(Ordering::Acquire)) {
                return;
            }
            self.left.notified().await;
        }
    }

    /// Requests that it serves now.
    pub fn in_flight(&self) -> u64 {
        self.cells().iter().map(|cell| cell.in_flight.load(Ordering::Relaxed)).sum()
    }

    /// When its oldest request began, in ms since 1970.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.cells().iter().map(|cell| cell.oldest_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0).min()
    }

    /// How its requests went so far.
    pub fn tallied(&self) -> Tallied {
        let mut sum = Tallied::default();
        self.cells().iter().for_each(|cell| sum.add(&cell.tally));
        sum
    }

    /// Who holds it: its oldest requests, the oldest first.
    pub fn holders(&self) -> Vec<Holder> {
        let mut all: Vec<Holder> = self.cells().iter().flat_map(|cell| cell.holders().clone()).collect();
        all.sort_by_key(|holder| holder.began);
        all.truncate(HOLDERS);
        all
    }

    fn cells(&self) -> MutexGuard<'_, Vec<Arc<UsageCell>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UsageCell {
    /// A request begins.
    pub fn begin(&self) {
        self.in_flight.store(self.in_flight.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// A request has ended, with its last byte.
    pub fn end(&self) {
        self.in_flight.store(self.in_flight.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// A request was answered, and the generation has taken so long for it.
    pub fn count(&self, status: u16, took: Duration) {
        self.tally.count(status, took);
    }

    /// Tells the oldest requests, the oldest first, and when that one began, in ms since 1970; 0 = there is none.
    pub fn tell_oldest(&self, ms: u64, holders: Vec<Holder>) {
        self.oldest_ms.store(ms, Ordering::Relaxed);
        *self.holders() = holders;
    }

    fn holders(&self) -> MutexGuard<'_, Vec<Holder>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_generation_is_drained_when_every_thread_has_left() {
        let usage = Arc::new(Usage::default());
        let (a, b) = (usage.enter(), usage.enter());
        a.begin();
        assert_eq!(usage.in_flight(), 1);
        usage.leave(&b);
        let drained = tokio::spawn({
            let usage = Arc::clone(&usage);
            async move { usage.drained().await }
        });
        tokio::task::yield_now().await;
        assert!(!drained.is_finished());
        a.end();
        usage.leave(&a);
        drained.await.expect("no panic");
        assert_eq!(usage.in_flight(), 0);
    }

    #[test]
    fn who_has_left_holds_nothing_whatever_was_told_last() {
        let usage = Usage::default();
        let (cell, began) = (usage.enter(), std::time::Instant::now());
        let holder =
            Holder { peer: ([127, 0, 0, 1], 1).into(), api: "ec2".into(), method: "GET", began, client_gone: false };
        cell.tell_oldest(7, vec![holder]);
        assert_eq!((usage.oldest_ms(), usage.holders().len()), (Some(7), 1));
        usage.leave(&cell);
        assert_eq!((usage.oldest_ms(), usage.holders().len()), (None, 0));
    }
}
