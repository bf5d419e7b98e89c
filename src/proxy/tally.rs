//! How a generation's requests went: answers, server errors, and a coarse histogram of their times.
//!
//! One data thread writes a [`Tally`] with plain stores; whoever compares generations reads. Must not know what is
//! concluded from it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Four buckets to each doubling of microseconds: up to 2³² µs, more than an hour, each within a fifth of its time.
const BUCKETS: usize = 4 * 32;

/// What one data thread counts of one generation.
#[derive(Debug)]
pub struct Tally {
    answers: AtomicU64,
    errors: AtomicU64,
    times: [AtomicU64; BUCKETS],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            answers: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            times: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Tally {
    /// A request was answered with `status` after `took`. Only the thread that owns the tally may call this.
    pub fn count(&self, status: u16, took: Duration) {
        add(&self.answers);
        if status >= 500 {
            add(&self.errors);
        }
        if let Some(bucket) = self.times.get(bucket(took)) {
            add(bucket);
        }
    }
}

/// One writer: a load and a store, without the bus lock of an atomic addition.
fn add(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(4);
    let octave = micros.ilog2() as usize;
    // The two bits below the highest.
    let quarter = (micros >> (octave - 2)) as usize & 3;
    (octave * 4 + quarter).min(BUCKETS - 1)
}

/// The first time that a bucket does not hold any more.
fn end_of(bucket: usize) -> Duration {
    let (octave, quarter) = (bucket / 4, bucket % 4);
    let quarter = u64::try_from(quarter).unwrap_or_default();
    Duration::from_micros((1_u64 << octave) + (((quarter + 1) << octave) >> 2))
}

/// The sum over all threads, as of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tallied {
    /// Requests that were answered.
    pub answers: u64,
    /// Those of them with a status from 500 on.
    pub errors: u64,
    times: [u64; BUCKETS],
}

impl Default for Tallied {
    fn default() -> Self {
        Self { answers: 0, errors: 0, times: [0; BUCKETS] }
    }
}

impl Tallied {
    /// Adds what one thread has counted.
    pub fn add(&mut self, tally: &Tally) {
        self.answers += tally.answers.load(Ordering::Relaxed);
        self.errors += tally.errors.load(Ordering::Relaxed);
        for (sum, count) in self.times.iter_mut().zip(&tally.times) {
            *sum += count.load(Ordering::Relaxed);
        }
    }

    /// Adds what others have summed up.
    pub fn merge(&mut self, other: &Self) {
        self.answers += other.answers;
        self.errors += other.errors;
        for (sum, count) in self.times.iter_mut().zip(&other.times) {
            *sum += count;
        }
    }

    /// What was counted since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let mut times = self.times;
        for (now, then) in times.iter_mut().zip(&before.times) {
            *now = now.saturating_sub(*then);
        }
        let answers = self.answers.saturating_sub(before.answers);
        Self { answers, errors: self.errors.saturating_sub(before.errors), times }
    }

    /// Server errors in percent of the answers; 0 without any.
    pub fn error_percent(&self) -> f64 {
        if self.answers == 0 { 0.0 } else { self.errors as f64 * 100.0 / self.answers as f64 }
    }

    /// The time that 99 of 100 requests kept, rounded up to its bucket's end; zero without any.
    pub fn p99(&self) -> Duration {
        let all: u64 = self.times.iter().sum();
        let rank = all.saturating_mul(99).div_ceil(100);
        let mut seen = 0;
        for (at, count) in self.times.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= rank {
                return end_of(at);
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: impl IntoIterator<Item = (u16, Duration)>) -> Tallied {
        let (tally, mut sum) = (Tally::default(), Tallied::default());
        times.into_iter().for_each(|(status, took)| tally.count(status, took));
        sum.add(&tally);
        sum
    }

    #[test]
    fn a_bucket_holds_its_time_within_a_quarter() {
        for micros in (4..5_000).chain([1 << 20, 77_777_777, (1 << 32) - 1]) {
            let took = Duration::from_micros(micros);
            let end = end_of(bucket(took));
            assert!(end > took && end <= took * 5 / 4 + Duration::from_micros(1), "{took:?} {end:?}");
        }
        for took in [Duration::ZERO, Duration::MAX] {
            assert!(bucket(took) < BUCKETS);
        }
    }

    #[test]
    fn the_p99_leaves_out_one_in_a_hundred() {
        let fast = Duration::from_millis(1);
        let slow = Duration::from_secs(1);
        let one = of((0..100).map(|n| (200, if n == 0 { slow } else { fast })));
        assert!(one.p99() < 2 * fast, "{:?}", one.p99());
        let two = of((0..100).map(|n| (200, if n < 2 { slow } else { fast })));
        assert!(two.p99() >= slow, "{:?}", two.p99());
        assert_eq!(Tallied::default().p99(), Duration::ZERO);
    }

    #[test]
    fn only_server_errors_count_as_errors_and_a_difference_forgets_what_was() {
        let tally = Tally::default();
        [200, 404, 499, 500].into_iter().for_each(|status| tally.count(status, Duration::ZERO));
        let (mut before, mut after) = (Tallied::default(), Tallied::default());
        before.add(&tally);
        assert!((before.error_percent() - 25.0).abs() < f64::EPSILON);
        tally.count(503, Duration::from_secs(1));
        after.add(&tally);
        let since = after.since(&before);
        assert_eq!((since.answers, since.errors), (1, 1));
        assert!(since.p99() >= Duration::from_secs(1));
    }
}
