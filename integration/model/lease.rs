//! Leases on workers, the queue in front of them, and the drain of a worker.

use std::sync::Arc;
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;

use crate::id::SlotId;
use crate::worker::{Member, Pool};

/// A pool whose workers take so many requests each.
pub fn pool(limits: &[usize]) -> Arc<Pool> {
    let hour = Duration::from_secs(3600);
    let pool = Arc::new(Pool::new("api".into(), 100, hour, hour));
    for (life, limit) in (0..).zip(limits) {
        pool.admit(member(life, *limit));
    }
    pool
}

pub fn member(life: u64, limit: usize) -> Arc<Member> {
    let slot = SlotId { api: "api".into(), index: 0 };
    Arc::new(Member::new(slot, life, 1, "/w.sock".into(), limit))
}

/// One request on some worker, which has never more than it takes.
fn request(pool: &Arc<Pool>, limit: usize) {
    let lease = block_on(pool.lease(None)).expect("nothing ends the wait but a worker");
    let in_flight = lease.member().in_flight();
    assert!((1..=limit).contains(&in_flight), "{in_flight} on a worker that takes {limit}");
    thread::yield_now();
}

/// Nothing is left of the requests.
fn is_calm(pool: &Arc<Pool>) {
    assert_eq!(pool.waiting(), 0);
    assert!(pool.members().iter().all(|member| member.in_flight() == 0));
}

pub fn whoever_waits_gets_one() {
    let pool = pool(&[1, 1]);
    let requests: Vec<_> = (0..4)
        .map(|_| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || (0..2).for_each(|_| request(&pool, 1)))
        })
        .collect();
    requests.into_iter().for_each(|request| request.join().expect("no panic"));
    is_calm(&pool);
}

pub fn who_gives_up_takes_nobodys_turn() {
    let pool = pool(&[1]);
    let impatient = {
        let pool = Arc::clone(&pool);
        thread::spawn(move || {
            block_on(async {
                let mut lease = std::pin::pin!(pool.lease(None));
                // Asks once, and goes away with what it may have got meanwhile.
                let asked = std::future::poll_fn(|cx| std::task::Poll::Ready(lease.as_mut().poll(cx))).await;
                thread::yield_now();
                drop(asked);
            });
        })
    };
    let patient: Vec<_> = (0..2)
        .map(|_| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || request(&pool, 1))
        })
        .collect();
    impatient.join().expect("no panic");
    patient.into_iter().for_each(|request| request.join().expect("no panic"));
    is_calm(&pool);
}

pub fn a_dismissed_worker_becomes_idle() {
    let pool = pool(&[2]);
    let old = Arc::clone(&pool.members()[0]);
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || request(&pool, 2))
        })
        .collect();
    // As a replacement does: the new one first.
    pool.admit(member(1, 2));
    pool.dismiss(0);
    block_on(old.idle());
    let served = old.requests();
    requests.into_iter().for_each(|request| request.join().expect("no panic"));
    assert_eq!((old.in_flight(), old.requests()), (0, served), "an idle one gets no more");
    is_calm(&pool);
}
