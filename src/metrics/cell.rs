//! Counters and histograms with one writer and any number of readers.
//!
//! Must not know what they count.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A counter that one thread writes: a plain load and store, without the bus lock of an atomic addition.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters by HTTP status, made when the first is counted.
#[derive(Debug, Default)]
pub(super) struct Codes(OnceLock<Box<[Count]>>);

const FIRST_CODE: u16 = 100;
/// 100 to 599, and one for all others.
const CODES: usize = 501;

impl Codes {
    pub(super) fn add(&self, code: u16) {
        let counts = self.0.get_or_init(|| (0..CODES).map(|_| Count::default()).collect());
        let at = usize::from(code.wrapping_sub(FIRST_CODE)).min(CODES - 1);
        if let Some(count) = counts.get(at) {
            count.add(1);
        }
    }

    /// Codes that have been seen, with their counts; `None` stands for all beyond 599.
    pub(super) fn seen(&self) -> impl Iterator<Item = (Option<u16>, u64)> {
        let counts = self.0.get().map(AsRef::as_ref).unwrap_or_default();
        (FIRST_CODE..)
            .zip(counts)
            .map(|(code, count)| ((code < 600).then_some(code), count.get()))
            .filter(|(_, n)| *n > 0)
    }
}

/// Upper bounds of a histogram's buckets, in nanoseconds.
pub(super) type Scale = [u64; 16];

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// For what a client or an operator waits for: 0.5 ms to 60 s.
pub(super) const WAITING: &Scale = &[
    500 * MICROSECOND,
    MILLISECOND,
    2_500 * MICROSECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
];

/// For filters, which take microseconds unless they have to ask someone: 1 µs to 10 s.
pub(super) const COMPUTING: &Scale = &[
    MICROSECOND,
    2_500,
    5 * MICROSECOND,
    10 * MICROSECOND,
    25 * MICROSECOND,
    50 * MICROSECOND,
    100 * MICROSECOND,
    250 * MICROSECOND,
    500 * MICROSECOND,
    MILLISECOND,
    5 * MILLISECOND,
    25 * MILLISECOND,
    100 * MILLISECOND,
    500 * MILLISECOND,
    2_500 * MILLISECOND,
    10 * SECOND,
];

/// Durations in the buckets of a [`Scale`].
#[derive(Debug)]
pub(super) struct Durations {
    scale: &'static Scale,
    /// Not cumulative; the last one is for what exceeds the scale.
    buckets: [Count; 17],
    nanos: Count,
}

impl Durations {
    pub(super) fn new(scale: &'static Scale) -> Self {
        Self { scale, buckets: Default::default(), nanos: Count::default() }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let at: usize = self.scale.iter().map(|bound| usize::from(nanos > *bound)).sum();
        if let Some(bucket) = self.buckets.get(at) {
            bucket.add(1);
        }
        self.nanos.add(nanos);
    }

    /// Adds what was observed to a sum over threads.
    pub(super) fn add_to(&self, sum: &mut DurationsSum) {
        sum.scale = Some(self.scale);
        for (sum, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.get();
        }
        sum.nanos = sum.nanos.wrapping_add(self.nanos.get());
    }
}

/// [`Durations`] of several threads.
#[derive(Clone, Debug, Default)]
pub(super) struct DurationsSum {
    pub(super) scale: Option<&'static Scale>,
    pub(super) buckets: [u64; 17],
    pub(super) nanos: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let durations = Durations::new(WAITING);
        for nanos in [0, WAITING[0], WAITING[0] + 1, WAITING[15], WAITING[15] + 1, u64::MAX / 2] {
            durations.observe(Duration::from_nanos(nanos));
        }
        let counts: Vec<_> = durations.buckets.iter().map(Count::get).collect();
        assert_eq!((counts[0], counts[1], counts[15], counts[16]), (2, 1, 1, 2));
    }

    #[test]
    fn bounds_grow() {
        assert!(WAITING.is_sorted() && COMPUTING.is_sorted());
    }

    #[test]
    fn a_code_beyond_those_of_http_is_still_counted() {
        let codes = Codes::default();
        for code in [100, 200, 200, 599, 600, 999, 42] {
            codes.add(code);
        }
        assert_eq!(codes.seen().collect::<Vec<_>>(), [(Some(100), 1), (Some(200), 2), (Some(599), 1), (None, 3)]);
    }
}
