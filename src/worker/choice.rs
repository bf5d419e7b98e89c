//! Which worker gets the next request, and what is remembered of each for that: how fast it answers, whether it fails,
//! how fresh it is.
//!
//! - A worker that fails [`FAILURES`] exchanges in a row is left out for a while ([`EJECTION`], longer each time until
//!   it has given [`FORGIVING`] good answers), but never so many that fewer than half of them are left: what fails
//!   everywhere is not one worker's fault. Who is left out is tried all the same where nobody else could take the request.
//! - Answers of the app, a 500 too, are no such failures: a client can provoke them. By expected wait they make a worker
//!   count as slower ([`FAILING_WEIGHT`]): who fails at once is not fast. Where all fail alike, that changes nothing.
//! - A fresh worker among older ones begins with a small share, which grows over [`SLOW_START`]: its caches are cold.
//!
//! Must not know queues or permits.

use std::sync::Arc;
use std::time::Duration;

use super::member::Member;
use crate::balance::Balance;
use crate::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Failures in a row after which a worker is left out.
pub const FAILURES: u32 = 3;
/// For how long at first; doubled each time up to [`LONGEST_EJECTION`].
pub const EJECTION: Duration = Duration::from_secs(1);
/// The longest time for which a worker is left out.
pub const LONGEST_EJECTION: Duration = Duration::from_secs(30);
/// So many good answers after it was left out make that forgotten.
pub const FORGIVING: u32 = 10;
/// How long a fresh worker is spared.
pub const SLOW_START: Duration = Duration::from_secs(10);
/// The share that it begins with.
const FIRST_SHARE: f64 = 0.1;
/// What was seen of a worker counts half after about 7 s.
const MEMORY: f64 = 10.0;
/// How much the newest answer counts among those that failed or did not.
const NEWEST: f64 = 1.0 / 8.0;
/// A worker that fails always counts as slower by so many times what answers take.
const FAILING_WEIGHT: f64 = 9.0;
/// An expected wait that is not shorter than this share of another one is as good as equal to it.
const SHORTER: f64 = 0.9;

/// A figure that means the less the older it is. Several threads write; a lost update is a lost sample.
#[derive(Debug, Default)]
struct Fading {
    /// The bits of an `f64`; 0 = nothing is known.
    value: AtomicU64,
    /// When it was set, in milliseconds on the pool's clock.
    at: AtomicU64,
}

impl Fading {
    /// The value, and how much it means still, from 0 to 1.
    fn get(&self, now: Duration) -> (f64, f64) {
        let value = f64::from_bits(self.value.load(Ordering::Relaxed));
        let age = millis(now).saturating_sub(self.at.load(Ordering::Relaxed));
        (value, if value == 0.0 { 0.0 } else { (-(age as f64) / 1000.0 / MEMORY).exp() })
    }

    fn set(&self, value: f64, now: Duration) {
        self.value.store(value.to_bits(), Ordering::Relaxed);
        self.at.store(millis(now), Ordering::Relaxed);
    }
}

/// What is remembered of one life of a worker.
#[derive(Debug, Default)]
pub struct Record {
    /// Milliseconds on the pool's clock; 0 = from the beginning.
    admitted: AtomicU64,
    /// Seconds that it takes to answer: quick to rise, slow to fall.
    answer_time: Fading,
    /// The share of its last answers that failed.
    failing: Fading,
    failures: AtomicU32,
    ejections: AtomicU32,
    /// Good answers since the last ejection.
    good: AtomicU32,
    /// Until when it is left out because it failed, in milliseconds.
    ejected_until: AtomicU64,
    /// Until when it is left out because it gives no sign of life.
    suspected_until: AtomicU64,
}

impl Record {
    /// The worker begins to serve.
    pub fn admit(&self, now: Duration) {
        self.admitted.store(millis(now), Ordering::Relaxed);
    }

    /// An answer came.
    pub fn recover(&self) {
        // Plain looks first: most workers never fail, and a store would take the line from the other threads.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.ejections.load(Ordering::Relaxed) != 0 && self.good.fetch_add(1, Ordering::Relaxed) + 1 >= FORGIVING {
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// The head of a good answer came after `took`.
    pub fn answered(&self, took: Duration, now: Duration) {
        let (old, kept) = self.answer_time.get(now);
        let took = took.as_secs_f64();
        self.answer_time.set(if took >= old { took } else { old * kept + took * (1.0 - kept) }, now);
        let (failing, kept) = self.failing.get(now);
        if failing != 0.0 {
            self.failing.set(failing * kept * (1.0 - NEWEST), now);
        }
    }

    /// It gave no good answer.
    pub fn erred(&self, now: Duration) {
        let (failing, kept) = self.failing.get(now);
        self.failing.set(failing * kept * (1.0 - NEWEST) + NEWEST, now);
    }

    /// The worker could not be spoken to, or gave no usable answer. Whether it has now failed too often in a row.
    pub fn failed(&self, now: Duration) -> bool {
        self.erred(now);
        self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES
    }

    /// Leaves it out for a while because it failed; for how long.
    pub fn eject(&self, now: Duration) -> Duration {
        let times = self.ejections.fetch_add(1, Ordering::Relaxed).min(8);
        self.good.store(0, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        let time = (EJECTION * 2_u32.pow(times)).min(LONGEST_EJECTION);
        self.ejected_until.store(millis(now + time), Ordering::Relaxed);
        time
    }

    /// Leaves it out until then, whatever it is left out for besides.
    pub fn suspect(&self, until: Duration) {
        self.suspected_until.store(millis(until), Ordering::Relaxed);
    }

    /// Whether it is left out.
    pub fn is_ejected(&self, now: Duration) -> bool {
        !self.ejected_for(now).is_zero()
    }

    /// For how long it is left out from now on.
    pub fn ejected_for(&self, now: Duration) -> Duration {
        let until = self.ejected_until.load(Ordering::Relaxed).max(self.suspected_until.load(Ordering::Relaxed));
        Duration::from_millis(until.saturating_sub(millis(now)))
    }

    /// The share of a full worker's requests that it is to have now.
    fn share(&self, now: Duration) -> f64 {
        let age = millis(now).saturating_sub(self.admitted.load(Ordering::Relaxed)) as f64;
        (age / SLOW_START.as_millis() as f64).clamp(FIRST_SHARE, 1.0)
    }
}

/// How long an answer of each of two workers is to be expected to take, in seconds. What is not known of one, or not any
/// more, is taken from the other.
fn expected([a, b]: [&Record; 2], now: Duration) -> [f64; 2] {
    let times = [a, b].map(|record| record.answer_time.get(now));
    let known: f64 = times.iter().map(|(_, known)| known).sum();
    let sum: f64 = times.iter().map(|(time, known)| time * known).sum();
    let mean = if known > 0.0 { sum / known } else { 1.0 };
    let slower = |record: &Record| {
        let (failing, kept) = record.failing.get(now);
        1.0 + FAILING_WEIGHT * failing * kept
    };
    let of = |record, (time, known): (f64, f64)| (mean + (time - mean) * known) * slower(record);
    [of(a, times[0]), of(b, times[1])]
}

fn millis(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

/// How a pool chooses.
#[derive(Debug, Default)]
pub struct Choice {
    balance: AtomicUsize,
    /// Whose turn it is.
    turn: AtomicUsize,
    /// While the pool's clock is before this, some worker is fresh or left out; else nobody needs to look at a clock.
    unsettled_until: AtomicU64,
}

impl Choice {
    /// Changes the way of choosing.
    pub fn set(&self, balance: Balance) {
        self.balance.store(balance as usize, Ordering::Relaxed);
    }

    /// The way of choosing.
    pub fn balance(&self) -> Balance {
        match self.balance.load(Ordering::Relaxed) {
            1 => Balance::P2cEwma,
            2 => Balance::RoundRobin,
            _ => Balance::LeastRequest,
        }
    }

    /// Workers are to be looked at closely until then.
    pub fn unsettle(&self, until: Duration) {
        self.unsettled_until.fetch_max(millis(until), Ordering::Relaxed);
    }

    /// The next worker with room; `now` is the pool's clock, asked at most once. Sound ones are preferred, then those
    /// that are left out, then those that have failed this request (`tried`): with a full one of the better kind, a
    /// request has something to wait for.
    pub fn next<'a>(
        &self,
        members: &'a [Arc<Member>],
        tried: &[u64],
        now: impl FnOnce() -> Duration,
    ) -> Option<&'a Arc<Member>> {
        if members.len() < 2 {
            return members.iter().find(|member| member.has_room());
        }
        let balance = self.balance();
        let until = self.unsettled_until.load(Ordering::Relaxed);
        let now = (until != 0 || balance == Balance::P2cEwma).then(now);
        let unsettled = now.filter(|now| millis(*now) < until);
        if until != 0 && unsettled.is_none() {
            // Who unsettles meanwhile does it again with the next event; the worst is one even choice.
            let _ = self.unsettled_until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        let rank = |member: &Arc<Member>| match unsettled {
            _ if tried.contains(&member.life) => 2,
            Some(now) if member.record.is_ejected(now) => 1,
            _ => 0,
        };
        let best = members.iter().filter(|member| !member.is_draining()).map(rank).min()?;
        let start = match balance {
            Balance::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed) % members.len(),
            _ => fastrand::usize(..members.len()),
        };
        let around = || members.iter().cycle().skip(start).take(members.len());
        let mut fit = around().filter(|member| rank(member) == best && member.has_room());
        let shares = unsettled.map(|now| (now, fullest(members, now)));
        let share = |member: &Member| shares.map_or(1.0, |(now, full)| member.record.share(now) / full);
        match balance {
            // Starting anywhere spreads equal loads.
            Balance::LeastRequest if shares.is_none() => fit.min_by_key(|member| member.in_flight()),
            Balance::LeastRequest => {
                // A random part of a request decides between equal loads, in proportion to the shares.
                let load = |member: &Member| (member.in_flight() as f64 + fastrand::f64()) / share(member);
                fit.map(|member| (load(member), member)).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, member)| member)
            }
            Balance::P2cEwma => {
                // The two are neighbours of a random start: all pairs would be no better for so few workers.
                let first = fit.next()?;
                let (Some(second), Some(now)) = (fit.next(), now) else { return Some(first) };
                let times = expected([&first.record, &second.record], now);
                // In proportion to its share, a fresh one counts as if it were none.
                let load = |member: &Member| (member.in_flight() + 1) as f64 / lucky(share(member));
                Some(if load(second) * times[1] < SHORTER * load(first) * times[0] { second } else { first })
            }
            Balance::RoundRobin => {
                let first = fit.next()?;
                let full = |member: &&Arc<Member>| lucky(share(member)) >= 1.0;
                std::iter::once(first).chain(fit).find(full).or(Some(first))
            }
        }
    }
}

/// A full share for as many of the draws as the share is large.
fn lucky(share: f64) -> f64 {
    if share >= 1.0 || fastrand::f64() < share { 1.0 } else { share }
}

/// The largest share of all: where everybody is fresh, nobody is spared.
fn fullest(members: &[Arc<Member>], now: Duration) -> f64 {
    members.iter().map(|member| member.record.share(now)).fold(FIRST_SHARE, f64::max)
}

/// Whether one more of them may be left out: at least half stay.
pub fn may_eject(members: &[Arc<Member>], now: Duration) -> bool {
    let out = members.iter().filter(|member| member.record.is_ejected(now)).count();
    2 * (out + 1) <= members.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SlotId;

    const NOW: Duration = Duration::from_secs(1000);

    fn members(count: u32) -> Vec<Arc<Member>> {
        let slot = |index| SlotId { api: "osapi_compute".into(), index };
        (0..count).map(|n| Arc::new(Member::new(slot(n), u64::from(n), 1, "/w.sock".into(), 100))).collect()
    }

    /// How often each of them is chosen.
    fn chosen(choice: &Choice, members: &[Arc<Member>], times: usize) -> Vec<usize> {
        let mut counts = vec![0; members.len()];
        for _ in 0..times {
            let life = choice.next(members, &[], || NOW).expect("room").life;
            counts[usize::try_from(life).expect("small")] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_goes_round() {
        let (choice, members) = (Choice::default(), members(3));
        choice.set(Balance::RoundRobin);
        assert_eq!(chosen(&choice, &members, 30), [10, 10, 10]);
    }

    #[test]
    fn a_slow_worker_and_one_that_fails_get_fewer_requests_by_expected_wait() {
        let (choice, members) = (Choice::default(), members(3));
        choice.set(Balance::P2cEwma);
        members[0].record.answered(Duration::from_millis(10), NOW);
        members[1].record.answered(Duration::from_millis(500), NOW);
        members[2].record.failed(NOW);
        let counts = chosen(&choice, &members, 3000);
        // Of the three pairs of neighbours, the fast one is in two, and the failing one never wins.
        assert!(counts[0] > 1800 && counts[1] > 800 && counts[2] == 0, "{counts:?}");
    }

    /// What the one is expected to take beside one that answers in a second.
    fn beside_a_second(record: &Record, now: Duration) -> f64 {
        let other = Record::default();
        other.answered(Duration::from_secs(1), now);
        expected([record, &other], now)[0]
    }

    #[test]
    fn answer_times_rise_at_once_and_fall_slowly_and_are_forgotten() {
        let record = Record::default();
        assert_eq!(beside_a_second(&record, NOW), 1.0, "what is not known is taken from the other");
        record.answered(Duration::from_secs(5), NOW);
        record.answered(Duration::from_millis(1), NOW);
        assert_eq!(beside_a_second(&record, NOW), 5.0);
        let later = NOW + Duration::from_secs(60);
        assert!((1.0..1.1).contains(&beside_a_second(&record, later)));
        record.answered(Duration::from_millis(1), later);
        assert!(beside_a_second(&record, later) < 0.02);
    }

    /// Requests one after the other, each answered with this.
    fn in_turn(members: &[Arc<Member>], times: usize, answer: impl Fn(&Member)) -> Vec<usize> {
        let choice = Choice::default();
        choice.set(Balance::P2cEwma);
        let mut counts = vec![0; members.len()];
        for _ in 0..times {
            let member = choice.next(members, &[], || NOW).expect("room");
            answer(member);
            counts[usize::try_from(member.life).expect("small")] += 1;
        }
        counts
    }

    #[test]
    fn a_worker_that_fails_at_once_is_not_fast() {
        let fails = |life| {
            move |member: &Member| match member.life {
                it if it == life => member.record.erred(NOW),
                _ => member.record.answered(Duration::from_millis(10), NOW),
            }
        };
        for workers in [2, 3, 8] {
            let counts = in_turn(&members(workers), 1000, fails(1));
            assert!(counts[1] < 5, "{counts:?}");
        }
        // It comes into question again.
        let two = members(2);
        in_turn(&two, 1000, fails(1));
        two[0].record.answered(Duration::from_millis(10), NOW + Duration::from_secs(60));
        let [good, bad] = expected([&two[0].record, &two[1].record], NOW + Duration::from_secs(60));
        assert!(bad * SHORTER < good, "{bad} {good}");
    }

    #[test]
    fn where_all_fail_alike_nothing_changes() {
        let counts = in_turn(&members(4), 4000, |member| member.record.erred(NOW));
        assert!(counts.iter().all(|count| (700..1300).contains(count)), "{counts:?}");
    }

    #[test]
    fn who_fails_in_a_row_is_left_out_for_a_while_and_longer_each_time() {
        let (choice, members) = (Choice::default(), members(3));
        let record = &members[1].record;
        assert!(!record.failed(NOW) && !record.failed(NOW));
        record.recover();
        assert!(!record.failed(NOW) && !record.failed(NOW) && record.failed(NOW));
        assert!(may_eject(&members, NOW));
        choice.unsettle(NOW + record.eject(NOW));
        assert_eq!(chosen(&choice, &members, 300)[1], 0);
        assert!(!record.is_ejected(NOW + EJECTION));
        assert_eq!(record.eject(NOW), 2 * EJECTION);
        for _ in 0..20 {
            record.eject(NOW);
        }
        assert_eq!(record.eject(NOW), LONGEST_EJECTION);
    }

    #[test]
    fn good_answers_after_it_was_left_out_are_forgiveness() {
        let record = Record::default();
        record.eject(NOW);
        for _ in 1..FORGIVING {
            record.recover();
        }
        assert_eq!(record.eject(NOW), 2 * EJECTION, "not yet");
        for _ in 0..FORGIVING {
            record.recover();
        }
        assert_eq!(record.eject(NOW), EJECTION);
    }

    #[test]
    fn who_is_left_out_is_tried_where_nobody_else_could_take_the_request() {
        for balance in [Balance::LeastRequest, Balance::P2cEwma, Balance::RoundRobin] {
            let slot = |index| SlotId { api: "osapi_compute".into(), index };
            let two: Vec<_> =
                (0..2).map(|n| Arc::new(Member::new(slot(n), u64::from(n), 1, "/w.sock".into(), 1))).collect();
            let choice = Choice::default();
            choice.set(balance);
            choice.unsettle(NOW + two[0].record.eject(NOW));
            let next = |tried: &[u64]| choice.next(&two, tried, || NOW).map(|member| member.life);
            assert_eq!(next(&[]), Some(1));
            assert_eq!(next(&[1]), Some(0), "the sound one has failed this request");
            assert_eq!(next(&[0]), Some(1));
            assert!(next(&[0, 1]).is_some(), "nobody is left");
            assert!(two[1].try_acquire());
            assert_eq!(next(&[]), None, "it waits for the sound one");
            two[1].drain();
            assert_eq!(next(&[]), Some(0), "which is gone");
        }
    }

    #[test]
    fn at_least_half_of_the_workers_are_never_left_out() {
        let four = members(4);
        four.iter().take(2).for_each(|member| assert_eq!(member.record.eject(NOW), EJECTION));
        assert!(!may_eject(&four, NOW));
        assert!(!may_eject(&members(1), NOW));
    }

    #[test]
    fn a_fresh_worker_among_older_ones_begins_with_a_small_share() {
        for balance in [Balance::LeastRequest, Balance::P2cEwma, Balance::RoundRobin] {
            for others in [1, 7] {
                let (choice, members) = (Choice::default(), members(others + 1));
                choice.set(balance);
                let (fresh, old) = members.split_first().expect("some");
                old.iter().for_each(|member| member.record.answered(Duration::from_millis(1), NOW));
                // Nobody knows yet how fast it is.
                fresh.record.admit(NOW);
                choice.unsettle(NOW + SLOW_START);
                let counts = chosen(&choice, &members, 8000);
                let full = 8000 / members.len();
                assert!((1..full / 3).contains(&counts[0]), "{balance:?} {counts:?}");
            }
        }
    }

    #[test]
    fn a_fresh_worker_has_its_share_of_requests_that_last_too() {
        let (choice, members) = (Choice::default(), members(8));
        members[0].record.admit(NOW);
        choice.unsettle(NOW + SLOW_START);
        for _ in 0..400 {
            assert!(choice.next(&members, &[], || NOW).expect("room").try_acquire());
        }
        let counts: Vec<_> = members.iter().map(|member| member.in_flight()).collect();
        assert!((3..=9).contains(&counts[0]) && counts[1..].iter().all(|count| *count > 50), "{counts:?}");
    }

    #[test]
    fn who_came_a_moment_earlier_does_not_get_everything() {
        for balance in [Balance::LeastRequest, Balance::P2cEwma, Balance::RoundRobin] {
            let (choice, members) = (Choice::default(), members(2));
            choice.set(balance);
            members[0].record.admit(NOW - Duration::from_millis(3000));
            members[1].record.admit(NOW - Duration::from_millis(2990));
            choice.unsettle(NOW + SLOW_START);
            let counts = chosen(&choice, &members, 1000);
            assert!(counts.iter().all(|count| *count > 400), "{balance:?} {counts:?}");
        }
    }

    #[test]
    fn where_all_are_fresh_nobody_is_spared() {
        let (choice, members) = (Choice::default(), members(2));
        members.iter().for_each(|member| member.record.admit(NOW));
        choice.unsettle(NOW + SLOW_START);
        let counts = chosen(&choice, &members, 1000);
        assert!(counts.iter().all(|count| *count > 400), "{counts:?}");
    }
}
