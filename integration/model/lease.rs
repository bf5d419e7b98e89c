//! Leases on workers, the queue in front of them, the drain of a worker, and workers that are left out.

use std::sync::Arc;
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;

use crate::id::SlotId;
use crate::worker::{Lease, Member, Pool};

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
    let lease = block_on(pool.lease(&[])).expect("nothing ends the wait but a worker");
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
                let mut lease = std::pin::pin!(pool.lease(&[]));
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

/// The end of the queue's time comes in any order with a worker that becomes free.
pub fn whose_time_is_over_takes_nobodys_turn() {
    let pool = pool(&[1]);
    let (ends, end) = tokio::sync::oneshot::channel();
    let impatient = {
        let pool = Arc::clone(&pool);
        thread::spawn(move || block_on(pool.wait(&[], async { drop(end.await) })).map(drop))
    };
    let clock = thread::spawn(move || ends.send(()).is_ok());
    let patient: Vec<_> = (0..2)
        .map(|_| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || request(&pool, 1))
        })
        .collect();
    // Served or told that it was not, both are right.
    let _ = impatient.join().expect("no panic");
    clock.join().expect("no panic");
    patient.into_iter().for_each(|request| request.join().expect("no panic"));
    is_calm(&pool);
}

/// A pool of two workers that take one request each: the first one is left out, the second one is busy.
fn one_left_out() -> (Arc<Pool>, Arc<Member>, Lease) {
    let pool = pool(&[1, 1]);
    let out = pool.members().iter().find(|member| member.life == 0).map(Arc::clone).expect("there");
    pool.suspect(&out, Duration::from_secs(3600));
    let busy = pool.try_lease(&[]).expect("room");
    assert_eq!(busy.member().life, 1);
    (pool, out, busy)
}

fn requests(pool: &Arc<Pool>, count: usize) -> Vec<thread::JoinHandle<()>> {
    let request = |pool: Arc<Pool>| thread::spawn(move || request(&pool, 1));
    (0..count).map(|_| request(Arc::clone(pool))).collect()
}

pub fn who_waits_gets_one_that_is_no_longer_left_out() {
    let (pool, out, busy) = one_left_out();
    let requests = requests(&pool, 3);
    pool.trust(&out);
    requests.into_iter().for_each(|request| request.join().expect("no panic"));
    // All on the other one.
    drop(busy);
    is_calm(&pool);
}

pub fn who_waits_gets_one_that_is_left_out_when_the_last_sound_one_goes() {
    let (pool, _out, busy) = one_left_out();
    let requests = requests(&pool, 3);
    pool.dismiss(1);
    requests.into_iter().for_each(|request| request.join().expect("no panic"));
    drop(busy);
    is_calm(&pool);
}

pub fn at_least_half_are_never_left_out() {
    let pool = pool(&[1; 4]);
    let failing: Vec<_> = (0..3)
        .map(|life| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let others: Vec<_> = (0..4).filter(|other| *other != life).collect();
                for _ in 0..4 {
                    let lease = pool.try_lease(&others).expect("nobody else asks for it");
                    lease.failed();
                    let left_out = pool.members().iter().filter(|it| it.record.is_ejected(pool.now())).count();
                    assert!(left_out <= 2, "{left_out} of 4");
                }
            })
        })
        .collect();
    failing.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert!(pool.members().iter().any(|it| it.record.is_ejected(pool.now())));
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
