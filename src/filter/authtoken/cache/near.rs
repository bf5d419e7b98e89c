//! The memory of a front: bounded by weight, and nothing in it lives longer than it was given.
//!
//! The map is keyed by the SHA-256 of a token with a hasher that is seeded at random, so nobody can choose tokens that
//! collide; and it takes in what is asked for often before what is asked for once (TinyLFU), so a flood of made-up
//! tokens does not drive out those in use. Must not know memcached, or tokens themselves.

use std::time::{Duration, Instant};

use super::super::token::{Outcome, TokenHash};

/// Bytes that the entries of one cache may weigh.
const CAPACITY: u64 = 64 << 20;
/// Bytes of an entry beside Keystone's answer: its place in the map, and the fixed parts.
const OVERHEAD: usize = 512;
/// Bytes of a user's headers, in the three forms in which they are kept.
const HEADERS: usize = 2048;
/// What is made of an answer (header values, the catalog in its older shape) weighs about as much again, twice.
const COPIES: usize = 3;

/// Outcomes by token.
pub(super) struct Near {
    map: moka::sync::Cache<TokenHash, Kept>,
}

#[derive(Clone)]
struct Kept {
    outcome: Outcome,
    /// `None`: it has no end.
    until: Option<Instant>,
}

impl Near {
    /// Keeps nothing for longer than `longest`.
    pub(super) fn new(longest: Option<Duration>) -> Self {
        let builder = moka::sync::Cache::builder().max_capacity(CAPACITY).weigher(|_, kept: &Kept| weight(kept));
        let map = match longest {
            Some(longest) => builder.time_to_live(longest.min(Duration::from_secs(1 << 30))).build(),
            None => builder.build(),
        };
        Self { map }
    }

    /// What is known at `now`.
    pub(super) fn get(&self, token: &TokenHash, now: Instant) -> Option<Outcome> {
        let kept = self.map.get(token)?;
        kept.until.is_none_or(|until| now < until).then_some(kept.outcome)
    }

    /// Remembers an outcome until then.
    pub(super) fn put(&self, token: TokenHash, outcome: Outcome, until: Option<Instant>) {
        self.map.insert(token, Kept { outcome, until });
    }

    /// Forgets a token.
    pub(super) fn remove(&self, token: &TokenHash) {
        self.map.invalidate(token);
    }
}

fn weight(kept: &Kept) -> u32 {
    let body = match &kept.outcome {
        Outcome::Valid(entry) => entry.body.len().saturating_mul(COPIES).saturating_add(HEADERS),
        Outcome::Invalid => 0,
    };
    u32::try_from(OVERHEAD.saturating_add(body)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> TokenHash {
        TokenHash::of(&n.to_be_bytes())
    }

    #[test]
    fn an_entry_ends_when_it_was_given_to_end() {
        let (near, now) = (Near::new(Some(Duration::from_secs(300))), Instant::now());
        near.put(hash(1), Outcome::Invalid, Some(now + Duration::from_secs(5)));
        near.put(hash(2), Outcome::Invalid, None);
        assert!(near.get(&hash(1), now + Duration::from_millis(4999)).is_some());
        assert!(near.get(&hash(1), now + Duration::from_secs(5)).is_none());
        assert!(near.get(&hash(2), now + Duration::from_secs(5)).is_some());
        near.remove(&hash(2));
        assert!(near.get(&hash(2), now).is_none());
        assert!(near.get(&hash(3), now).is_none());
    }

    #[test]
    fn made_up_tokens_neither_fill_the_memory_nor_drive_out_those_in_use() {
        let (near, now) = (Near::new(None), Instant::now());
        near.put(hash(0), Outcome::Invalid, None);
        let places = CAPACITY / OVERHEAD as u64;
        for n in 1..=2 * places {
            near.put(hash(n), Outcome::Invalid, None);
            if n % 1024 == 0 {
                assert!(near.get(&hash(0), now).is_some(), "after {n}");
            }
        }
        near.map.run_pending_tasks();
        assert!(near.map.weighted_size() <= CAPACITY);
        assert!(near.map.entry_count() <= places);
    }
}
