//! What became of the requests: by kind, inside and outside of the edits' windows, and why some failed.
//!
//! Must not know how they were made.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::stage::Place;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// GET on a kept connection.
    Kept,
    /// GET on a connection of its own.
    Fresh,
    /// POST in chunks, which come back.
    Chunked,
    /// POST whose body takes longer than a reload, and comes back.
    Slow,
    /// A round trip on a connection that has been upgraded.
    Upgraded,
    /// GET on the API whose port moves; on a kept connection and on one of its own in turn.
    Moving,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 6] =
        [Self::Kept, Self::Fresh, Self::Chunked, Self::Slow, Self::Upgraded, Self::Moving];

    /// In the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kept => "keep-alive",
            Self::Fresh => "fresh connection",
            Self::Chunked => "chunked",
            Self::Slow => "slow body",
            Self::Upgraded => "upgraded",
            Self::Moving => "moving port",
        }
    }
}

/// Reasons that are told apart; what comes after is counted together.
const REASONS: usize = 50;

/// Everything that was seen.
pub(super) struct Tally {
    kinds: BTreeMap<Kind, Count>,
    /// Times that failed requests had the same reason.
    pub(super) reasons: BTreeMap<String, u64>,
    /// Nanoseconds.
    inside: Histogram<u64>,
    outside: Histogram<u64>,
    /// Kept connections that the front closed.
    pub(super) closed: u64,
    /// Which tail of the service each generation's front was seen with.
    pub(super) pairs: BTreeMap<u64, u64>,
}

/// Requests of one kind.
pub(super) struct Count {
    /// Requests.
    pub(super) requests: u64,
    /// Those that failed.
    pub(super) failed: u64,
    /// Nanoseconds.
    pub(super) latency: Histogram<u64>,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        let kinds = Kind::ALL.map(|kind| (kind, Count { requests: 0, failed: 0, latency: histogram() }));
        Self {
            kinds: kinds.into(),
            reasons: BTreeMap::new(),
            inside: histogram(),
            outside: histogram(),
            closed: 0,
            pairs: BTreeMap::new(),
        }
    }

    /// A request has ended, rightly after so long or for a reason.
    pub(super) fn record(&mut self, kind: Kind, place: Place, outcome: Result<Duration, String>) {
        let Some(count) = self.kinds.get_mut(&kind) else { return };
        count.requests += 1;
        match outcome {
            Ok(took) => {
                let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                count.latency.saturating_record(nanos);
                match place {
                    Place::Before => {}
                    Place::Inside => self.inside.saturating_record(nanos),
                    Place::Outside => self.outside.saturating_record(nanos),
                }
            }
            Err(reason) => {
                count.failed += 1;
                let reason = format!("{}: {reason}", kind.name());
                let known = self.reasons.len() < REASONS || self.reasons.contains_key(&reason);
                *self.reasons.entry(if known { reason } else { "others".to_owned() }).or_default() += 1;
            }
        }
    }

    /// A front of that generation answered with that tail.
    ///
    /// # Errors
    /// It had another one before: a front was paired with the tail of another generation.
    pub(super) fn pair(&mut self, generation: u64, tail: u64) -> Result<(), String> {
        match *self.pairs.entry(generation).or_insert(tail) {
            before if before == tail => Ok(()),
            _ => Err("the front of one generation with the tail of another".to_owned()),
        }
    }

    /// By kind.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (Kind, &Count)> {
        self.kinds.iter().map(|(kind, count)| (*kind, count))
    }

    /// Latencies inside and outside of the windows.
    pub(super) fn latencies(&self) -> (&Histogram<u64>, &Histogram<u64>) {
        (&self.inside, &self.outside)
    }
}

/// Of nanoseconds up to a minute, with three digits.
#[expect(clippy::expect_used, reason = "it refuses only other digits than 0 to 5 and a range that is none")]
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("three digits of a minute")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_with_the_tail_of_another_generation_is_told() {
        let mut tally = Tally::new();
        assert!(tally.pair(1, 1).is_ok() && tally.pair(2, 1).is_ok() && tally.pair(1, 1).is_ok());
        assert!(tally.pair(2, 2).is_err());
    }

    #[test]
    fn what_failed_has_no_latency_and_a_reason() {
        let mut tally = Tally::new();
        tally.record(Kind::Kept, Place::Inside, Ok(Duration::from_millis(3)));
        tally.record(Kind::Kept, Place::Outside, Ok(Duration::from_millis(5)));
        for _ in 0..2 {
            tally.record(Kind::Kept, Place::Inside, Err("502".to_owned()));
        }
        let (inside, outside) = tally.latencies();
        assert_eq!((inside.len(), outside.len()), (1, 1));
        assert!(outside.max() >= 5_000_000 && inside.max() < 4_000_000);
        assert_eq!(tally.reasons, [("keep-alive: 502".to_owned(), 2)].into());
        let kept = tally.kinds().find(|(kind, _)| *kind == Kind::Kept).expect("all kinds").1;
        assert_eq!((kept.requests, kept.failed), (4, 2));
    }

    #[test]
    fn reasons_without_end_are_counted_together() {
        let mut tally = Tally::new();
        for n in 0..200 {
            tally.record(Kind::Fresh, Place::Inside, Err(n.to_string()));
        }
        assert_eq!(tally.reasons.len(), REASONS + 1);
        assert_eq!(tally.reasons.values().sum::<u64>(), 200);
    }
}
