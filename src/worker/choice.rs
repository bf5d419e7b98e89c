//! Which worker gets the next request, and what is remembered of each for that: how fast it answers, whether it fails,
//! how fresh it is.
//!
//! - A worker that fails [`FAILURES`] exchanges in a row is left out for a while ([`EJECTION`], longer each time), but
//!   never so many that fewer than half of them are left: what fails everywhere is not one worker's fault.
//! - A fresh worker among older ones begins with a small share, which grows over [`SLOW_START`]: its caches are cold.
//!
//! Answers of the app, a 500 too, are no failures: a client can provoke them. Must not know queues or permits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::member::Member;
use crate::balance::Balance;

/// Failures in a row after which a worker is left out.
pub const FAILURES: u32 = 3;
/// For how long at first; doubled each time up to [`LONGEST_EJECTION`].
pub const EJECTION: Duration = Duration::from_secs(1);
/// The longest time for which a worker is left out.
pub const LONGEST_EJECTION: Duration = Duration::from_secs(30);
/// How long a fresh worker is spared.
pub const SLOW_START: Duration = Duration::from_secs(10);
/// The share that it begins with.
const FIRST_SHARE: f64 = 0.1;
/// An answer time counts half after about 7 s.
const MEMORY: f64 = 10.0;
/// A failure counts as an answer that took so long, or twice as long as the worker usually takes.
const FAILED_TIME: f64 = 1.0;

/// What is remembered of one life of a worker. Several threads write; a lost update is a lost sample.
#[derive(Debug, Default)]
pub struct Record {
    /// Milliseconds on the pool's clock; 0 = from the beginning.
    admitted: AtomicU64,
    /// Seconds, as the bits of an `f64`.
    answer_time: AtomicU64,
    /// When that was last updated, in milliseconds.
    answered: AtomicU64,
    failures: AtomicU32,
    ejections: AtomicU32,
    /// Until when it is left out, in milliseconds.
    ejected_until: AtomicU64,
}

impl Record {
    /// The worker begins to serve.
    pub fn admit(&self, now: Duration) {
        self.admitted.store(millis(now), Ordering::Relaxed);
    }

    /// An answer came.
    pub fn recover(&self) {
        // A plain look first: most workers never fail, and a store would take the line from the other threads.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
        }
    }

    /// The head of an answer came after `took`.
    pub fn answered(&self, took: Duration, now: Duration) {
        self.recover();
        self.observe(took.as_secs_f64(), now);
    }

    /// The worker could not be spoken to, or gave no usable answer. Whether it has now failed too often in a row.
    pub fn failed(&self, now: Duration) -> bool {
        self.observe(FAILED_TIME.max(2.0 * self.answer_time()), now);
        self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES
    }

    /// Leaves it out for a while; until when.
    pub fn eject(&self, now: Duration) -> Duration {
        let times = self.ejections.fetch_add(1, Ordering::Relaxed).min(8);
        self.failures.store(0, Ordering::Relaxed);
        let until = now + (EJECTION * 2_u32.pow(times)).min(LONGEST_EJECTION);
        self.ejected_until.store(millis(until), Ordering::Relaxed);
        until
    }

    /// Whether it is left out.
    pub fn is_ejected(&self, now: Duration) -> bool {
        !self.ejected_for(now).is_zero()
    }

    /// For how long it is left out from now on.
    pub fn ejected_for(&self, now: Duration) -> Duration {
        Duration::from_millis(self.ejected_until.load(Ordering::Relaxed).saturating_sub(millis(now)))
    }

    /// How long it usually takes to answer, in seconds: quick to rise, slow to fall.
    pub fn answer_time(&self) -> f64 {
        f64::from_bits(self.answer_time.load(Ordering::Relaxed))
    }

    fn observe(&self, took: f64, now: Duration) {
        let (old, now) = (self.answer_time(), millis(now));
        let since = now.saturating_sub(self.answered.swap(now, Ordering::Relaxed));
        let new = if took >= old {
            took
        } else {
            let kept = (-(since as f64) / 1000.0 / MEMORY).exp();
            old * kept + took * (1.0 - kept)
        };
        self.answer_time.store(new.to_bits(), Ordering::Relaxed);
    }

    /// The share of a full worker's requests that it is to have now.
    fn share(&self, now: Duration) -> f64 {
        let age = millis(now).saturating_sub(self.admitted.load(Ordering::Relaxed)) as f64;
        (age / SLOW_START.as_millis() as f64).clamp(FIRST_SHARE, 1.0)
    }
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

    /// The next worker among those that have room and are not `avoid`; `now` is the pool's clock, asked at most once.
    pub fn next<'a>(
        &self,
        members: &'a [Arc<Member>],
        avoid: Option<u64>,
        now: impl FnOnce() -> Duration,
    ) -> Option<&'a Arc<Member>> {
        let room = |member: &&Arc<Member>| avoid != Some(member.life) && member.has_room();
        if members.len() < 2 {
            return members.iter().find(room);
        }
        let until = self.unsettled_until.load(Ordering::Relaxed);
        let now = (until != 0).then(now).filter(|now| millis(*now) < until);
        if until != 0 && now.is_none() {
            // Who unsettles meanwhile does it again with the next event; the worst is one even choice.
            let _ = self.unsettled_until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
        let sound = |member: &&Arc<Member>| room(member) && now.is_none_or(|now| !member.record.is_ejected(now));
        let start = match self.balance() {
            Balance::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed) % members.len(),
            _ => fastrand::usize(..members.len()),
        };
        let around = || members.iter().cycle().skip(start).take(members.len());
        let shares = now.map(|now| (now, fullest(members, now)));
        let share = |member: &Member| shares.map_or(1.0, |(now, full)| member.record.share(now) / full);
        let load = |member: &Member| (member.in_flight() + 1) as f64 / share(member);
        match self.balance() {
            // Starting anywhere spreads equal loads.
            Balance::LeastRequest if now.is_none() => around().filter(sound).min_by_key(|member| member.in_flight()),
            Balance::LeastRequest => around().filter(sound).min_by(|a, b| load(a).total_cmp(&load(b))),
            Balance::P2cEwma => {
                // The two are neighbours of a random start: all pairs would be no better for so few workers.
                let wait = |member: &Member| load(member) * member.record.answer_time().max(f64::MIN_POSITIVE);
                around().filter(sound).take(2).min_by(|a, b| wait(a).total_cmp(&wait(b)))
            }
            Balance::RoundRobin => around()
                .filter(sound)
                .find(|member| share(member) >= 1.0 || fastrand::f64() < share(member))
                .or_else(|| around().find(sound)),
        }
    }
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
            let life = choice.next(members, None, || NOW).expect("room").life;
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

    #[test]
    fn answer_times_rise_at_once_and_fall_slowly() {
        let record = Record::default();
        record.answered(Duration::from_secs(1), NOW);
        record.answered(Duration::from_millis(1), NOW);
        assert_eq!(record.answer_time(), 1.0);
        record.answered(Duration::from_millis(1), NOW + Duration::from_secs(60));
        assert!(record.answer_time() < 0.01);
    }

    #[test]
    fn who_fails_in_a_row_is_left_out_for_a_while_and_longer_each_time() {
        let (choice, members) = (Choice::default(), members(3));
        let record = &members[1].record;
        assert!(!record.failed(NOW) && !record.failed(NOW));
        record.answered(Duration::from_millis(1), NOW);
        assert!(!record.failed(NOW) && !record.failed(NOW) && record.failed(NOW));
        assert!(may_eject(&members, NOW));
        choice.unsettle(record.eject(NOW));
        assert_eq!(chosen(&choice, &members, 300)[1], 0);
        assert!(!record.is_ejected(NOW + EJECTION));
        assert_eq!(record.eject(NOW), NOW + 2 * EJECTION);
        for _ in 0..20 {
            record.eject(NOW);
        }
        assert_eq!(record.eject(NOW), NOW + LONGEST_EJECTION);
    }

    #[test]
    fn at_least_half_of_the_workers_are_never_left_out() {
        let four = members(4);
        four.iter().take(2).for_each(|member| assert!(member.record.eject(NOW) > NOW));
        assert!(!may_eject(&four, NOW));
        assert!(!may_eject(&members(1), NOW));
    }

    #[test]
    fn a_fresh_worker_among_older_ones_begins_with_a_small_share() {
        for balance in [Balance::LeastRequest, Balance::P2cEwma, Balance::RoundRobin] {
            let (choice, members) = (Choice::default(), members(2));
            choice.set(balance);
            members[0].record.answered(Duration::from_millis(1), NOW);
            members[1].record.admit(NOW);
            members[1].record.answered(Duration::from_millis(1), NOW);
            choice.unsettle(NOW + SLOW_START);
            let counts = chosen(&choice, &members, 1000);
            assert!(counts[1] < 200, "{balance:?} {counts:?}");
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
