//! How long a worker may say nothing while a request waits for it (`worker_request_timeout`): one list per data thread,
//! looked at by its tick, so that no request needs a timer of its own.
//!
//! The tick only wakes who waits; who finds nothing then either has waited too long. So a front that was itself stopped
//! for a while does not take its workers for hung. Must not know requests or what becomes of a worker that is too slow.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The requests of one data thread that are on a worker.
#[derive(Default)]
pub struct Overdue {
    watched: RefCell<HashMap<u64, Rc<Waiting>>>,
    next: Cell<u64>,
}

/// What a request waits for now.
#[derive(Default)]
struct Waiting {
    /// `None`: it does not wait for its worker.
    until: Cell<Option<Instant>>,
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A request's place in the list, until it is dropped.
pub struct Watch {
    list: Rc<Overdue>,
    key: u64,
    patience: Duration,
    waiting: Rc<Waiting>,
}

impl Overdue {
    /// Watches a request: its worker may be silent for so long at a time.
    pub fn watch(self: &Rc<Self>, patience: Duration) -> Watch {
        let key = self.next.replace(self.next.get() + 1);
        let waiting = Rc::<Waiting>::default();
        self.watched.borrow_mut().insert(key, Rc::clone(&waiting));
        Watch { list: Rc::clone(self), key, patience, waiting }
    }

    /// Wakes those whose time is over.
    pub fn tick(&self, now: Instant) {
        for waiting in self.watched.borrow().values() {
            if waiting.until.get().is_some_and(|until| until <= now) {
                waiting.over.set(true);
                waiting.waker.take().into_iter().for_each(Waker::wake);
            }
        }
    }
}

impl Watch {
    /// The worker has said something, or is not who is waited for.
    pub fn rest(&self) {
        self.waiting.until.set(None);
        self.waiting.over.set(false);
    }

    /// The worker is waited for, and has said nothing; ready when that is so for too long.
    pub fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let waiting = &self.waiting;
        if waiting.over.get() {
            return Poll::Ready(());
        }
        if waiting.until.get().is_none() {
            waiting.until.set(Some(Instant::now() + self.patience));
        }
        let mut waker = waiting.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.list.watched.borrow_mut().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);

    fn is_over(watch: &Watch) -> bool {
        watch.poll_over(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_waited_too_long_is_told_at_the_tick_and_who_has_gone_is_forgotten() {
        let list = Rc::new(Overdue::default());
        let (late, not_waiting) = (list.watch(PATIENCE), list.watch(PATIENCE));
        drop(list.watch(PATIENCE));
        assert_eq!(list.watched.borrow().len(), 2);
        assert!(!is_over(&late));
        list.tick(Instant::now());
        assert!(!is_over(&late), "early");
        list.tick(Instant::now() + PATIENCE);
        assert!(is_over(&late));
        assert!(!is_over(&not_waiting));
    }

    #[test]
    fn every_word_of_the_worker_begins_the_time_anew() {
        let list = Rc::new(Overdue::default());
        let watch = list.watch(PATIENCE);
        assert!(!is_over(&watch));
        list.tick(Instant::now() + PATIENCE);
        // It came in the same moment.
        watch.rest();
        list.tick(Instant::now() + PATIENCE);
        assert!(!is_over(&watch), "from now on");
        list.tick(Instant::now() + PATIENCE);
        assert!(is_over(&watch));
    }
}
