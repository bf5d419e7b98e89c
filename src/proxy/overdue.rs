//! Requests that a worker must begin to answer in time (`worker_request_timeout`): one list per data thread, looked at
//! by its tick, so that no request needs a timer of its own.
//!
//! Must not know requests or what becomes of a worker that is too slow.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use crate::worker::Member;

/// The requests of one data thread that wait for the head of their answer.
#[derive(Default)]
pub struct Overdue {
    waiting: RefCell<HashMap<u64, Waiting>>,
    next: Cell<u64>,
}

struct Waiting {
    deadline: Instant,
    member: Arc<Member>,
    told: Rc<Notify>,
}

/// A request's place in the list, until it is dropped.
pub struct Watch {
    list: Rc<Overdue>,
    key: u64,
    told: Rc<Notify>,
}

impl Overdue {
    /// Watches a request on a worker until `deadline`.
    pub fn watch(self: &Rc<Self>, deadline: Instant, member: &Arc<Member>) -> Watch {
        let key = self.next.replace(self.next.get() + 1);
        let told = Rc::new(Notify::new());
        let waiting = Waiting { deadline, member: Arc::clone(member), told: Rc::clone(&told) };
        self.waiting.borrow_mut().insert(key, waiting);
        Watch { list: Rc::clone(self), key, told }
    }

    /// Tells those whose time is over, and their workers' supervisor.
    pub fn tick(&self, now: Instant) {
        for waiting in self.waiting.borrow().values().filter(|waiting| waiting.deadline <= now) {
            waiting.member.hang();
            waiting.told.notify_one();
        }
    }
}

impl Watch {
    /// Returns when the time is over.
    pub async fn over(&self) {
        self.told.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.list.waiting.borrow_mut().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::SlotId;

    #[tokio::test]
    async fn who_is_late_is_told_and_who_has_gone_is_forgotten() {
        let slot = SlotId { api: "ec2".into(), index: 0 };
        let member = |life| Arc::new(Member::new(slot.clone(), life, 1, "/w.sock".into(), 9));
        let (list, now) = (Rc::new(Overdue::default()), Instant::now());
        let (late, gone, early) = (member(1), member(2), member(3));
        let watch = list.watch(now, &late);
        drop(list.watch(now, &gone));
        let _other = list.watch(now + Duration::from_secs(9), &early);
        list.tick(now);
        watch.over().await;
        assert_eq!([late.hangs(), gone.hangs(), early.hangs()], [true, false, false]);
    }
}
