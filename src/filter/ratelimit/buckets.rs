//! How much of its limits each user has used up.
//!
//! A limit is a bucket that holds as many seconds as its unit has. A request pours in a share of it; time lets it run
//! out; a request for which there is no room is refused and leaves no trace but the time. The original keeps every user
//! it ever saw. Here there is room for 65 536 of them, and below that no answer differs. Above it, the user whose
//! buckets run dry first, of a few looked at, is forgotten: who is dry already is refused nothing more and nothing less
//! than an unknown user, since a dry bucket and an untouched one take the same amount (only the `remaining` that
//! `GET /limits` tells is that of an untouched one again). Keystone's users are not as many; where tokens are made up
//! (noauth), limits stop nobody anyway.
//!
//! Must not know which requests a limit is for.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use indexmap::{Equivalent, IndexMap};
use smallvec::SmallVec;

use super::rules::Rule;

/// A power of two: threads seldom meet in one.
const SHARDS: usize = 64;
/// Users in a shard.
const USERS: usize = 1024;
/// Users that are looked at when one must go.
const CANDIDATES: usize = 8;

/// The buckets of all users; those of nobody too.
pub struct Buckets {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    users: IndexMap<Option<Box<[u8]>>, User>,
    /// Where the next candidates stand.
    cursor: usize,
}

/// A user to look for, without a copy of the name.
#[derive(Hash)]
struct Who<'a>(Option<&'a [u8]>);

impl Equivalent<Option<Box<[u8]>>> for Who<'_> {
    fn equivalent(&self, key: &Option<Box<[u8]>>) -> bool {
        self.0 == key.as_deref()
    }
}

struct User {
    buckets: Box<[Bucket]>,
    /// When the last of them is dry.
    dry: f64,
}

/// One limit of one user. Times are in seconds from any one moment.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    water: f64,
    last: f64,
    next: Option<f64>,
    remaining: u64,
}

/// What a user may know of a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Requests left, as of the last one that was counted.
    pub remaining: u64,
    /// When the next one is taken, in seconds from now; in the past where there is room.
    pub wait: f64,
}

/// What became of a request.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Go on; the levels are in the order of the rules.
    Room(SmallVec<[Level; 8]>),
    /// Refused: by which rule, and for how many seconds.
    Over(usize, f64),
}

impl Default for Buckets {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Buckets {
    /// Counts a request of `user` at `now` against those of its `rules` that are `hit`, all of them, also when one has
    /// no room.
    pub fn count(&self, user: Option<&[u8]>, rules: &[Rule], hit: &[bool], now: f64) -> Verdict {
        let at = self.hasher.hash_one(user) as usize % SHARDS;
        let Some(shard) = self.shards.get(at) else { return Verdict::Room(untouched(rules)) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if !shard.users.contains_key(&Who(user)) {
            if !hit.contains(&true) {
                return Verdict::Room(untouched(rules));
            }
            shard.make_room();
            let buckets = rules.iter().map(Bucket::new).collect();
            shard.users.insert(user.map(Into::into), User { buckets, dry: now });
        }
        let Some(user) = shard.users.get_mut(&Who(user)) else { return Verdict::Room(untouched(rules)) };
        let mut over: Option<(f64, usize)> = None;
        for (index, ((bucket, rule), _)) in
            user.buckets.iter_mut().zip(rules).zip(hit).enumerate().filter(|(_, (_, hit))| **hit)
        {
            let Some(delay) = bucket.pour(rule, now) else { continue };
            let text = |index: usize| rules.get(index).map(|rule| &rule.message);
            if over.is_none_or(|(least, of)| delay < least || (delay == least && text(index) < text(of))) {
                over = Some((delay, index));
            }
        }
        user.dry = user.buckets.iter().map(|bucket| bucket.last + bucket.water).fold(f64::MIN, f64::max);
        match over {
            Some((delay, index)) => Verdict::Over(index, delay),
            None => Verdict::Room(user.buckets.iter().map(|bucket| bucket.level(now)).collect()),
        }
    }
}

fn untouched(rules: &[Rule]) -> SmallVec<[Level; 8]> {
    rules.iter().map(|rule| Level { remaining: rule.value, wait: 0.0 }).collect()
}

impl Shard {
    /// Forgets a user if the shard is full.
    fn make_room(&mut self) {
        let users = self.users.len();
        if users < USERS {
            return;
        }
        let candidates = (0..CANDIDATES).map(|n| (self.cursor + n) % users);
        let dries = |at: &usize| self.users.get_index(*at).map_or(f64::MAX, |(_, user)| user.dry);
        let first = candidates.min_by(|a, b| dries(a).total_cmp(&dries(b)));
        self.cursor = (self.cursor + CANDIDATES) % users;
        if let Some(at) = first {
            self.users.swap_remove_index(at);
        }
    }
}

impl Bucket {
    fn new(rule: &Rule) -> Self {
        Self { water: 0.0, last: f64::NEG_INFINITY, next: None, remaining: rule.value }
    }

    /// A request at `now`; the seconds until there is room for it, if there is none.
    fn pour(&mut self, rule: &Rule, now: f64) -> Option<f64> {
        let capacity = rule.unit.seconds();
        let share = capacity / rule.value as f64;
        // Requests that had to wait elsewhere may come in another order than they arrived.
        let now = now.max(self.last);
        self.water = (self.water - (now - self.last)).max(0.0) + share;
        self.last = now;
        let difference = self.water - capacity;
        if difference > 0.0 {
            self.water -= share;
            self.next = Some(now + difference);
            return Some(difference);
        }
        self.remaining = ((capacity - self.water) / capacity * rule.value as f64).floor() as u64;
        self.next = Some(now);
        None
    }

    fn level(&self, now: f64) -> Level {
        Level { remaining: self.remaining, wait: self.next.map_or(0.0, |next| next - now) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::parse;
    use super::*;

    fn remaining(verdict: Verdict) -> Vec<u64> {
        match verdict {
            Verdict::Room(levels) => levels.iter().map(|level| level.remaining).collect(),
            Verdict::Over(..) => panic!("no room"),
        }
    }

    #[test]
    fn a_bucket_takes_its_share_and_runs_out_again() {
        let (buckets, rules) = (Buckets::default(), parse("(POST, *, .*, 3, MINUTE)").unwrap());
        let post = |now| buckets.count(Some(b"u1"), &rules, &[true], now);
        assert_eq!(remaining(post(100.0)), [2]);
        assert_eq!(remaining(post(100.0)), [1]);
        assert_eq!(remaining(post(100.0)), [0]);
        assert_eq!(post(100.0), Verdict::Over(0, 20.0));
        // What was refused did not count.
        assert_eq!(post(110.0), Verdict::Over(0, 10.0));
        assert_eq!(remaining(post(120.0)), [0]);
        assert_eq!(post(120.0), Verdict::Over(0, 20.0));
        assert_eq!(remaining(post(500.0)), [2]);
    }

    #[test]
    fn users_have_buckets_of_their_own_and_so_has_nobody() {
        let (buckets, rules) = (Buckets::default(), parse("(POST, *, .*, 1, DAY)").unwrap());
        for user in [Some(b"a".as_slice()), Some(b"b"), Some(b""), None] {
            assert_eq!(remaining(buckets.count(user, &rules, &[true], 0.0)), [0]);
            assert_eq!(buckets.count(user, &rules, &[true], 0.0), Verdict::Over(0, 84400.0));
        }
    }

    #[test]
    fn all_limits_are_charged_and_the_shortest_wait_is_told() {
        let rules = parse("(POST, *, .*, 1, HOUR); (POST, *, .*, 1, MINUTE); (GET, *, .*, 5, DAY)").unwrap();
        let buckets = Buckets::default();
        let hit = [true, true, false];
        assert_eq!(remaining(buckets.count(None, &rules, &hit, 0.0)), [0, 0, 5]);
        assert_eq!(buckets.count(None, &rules, &hit, 0.0), Verdict::Over(1, 60.0));
        // The minute has room at 60 s and is charged although the hour has none.
        assert_eq!(buckets.count(None, &rules, &hit, 60.0), Verdict::Over(0, 3540.0));
        assert_eq!(buckets.count(None, &rules, &[false, true, false], 60.0), Verdict::Over(1, 60.0));
        // Of equal waits the lesser text is told.
        let rules = parse("(POST, b, .*, 1, HOUR); (POST, a, .*, 1, HOUR)").unwrap();
        let buckets = Buckets::default();
        buckets.count(None, &rules, &[true, true], 0.0);
        assert_eq!(buckets.count(None, &rules, &[true, true], 0.0), Verdict::Over(1, 3600.0));
    }

    #[test]
    fn the_levels_tell_of_the_last_request_that_counted() {
        let (buckets, rules) = (Buckets::default(), parse("(POST, *, .*, 3, SECOND)").unwrap());
        assert_eq!(
            buckets.count(None, &rules, &[false], 5.0),
            Verdict::Room([Level { remaining: 3, wait: 0.0 }].into_iter().collect())
        );
        buckets.count(None, &rules, &[true], 5.0);
        assert_eq!(
            buckets.count(None, &rules, &[false], 9.0),
            Verdict::Room([Level { remaining: 2, wait: -4.0 }].into_iter().collect())
        );
    }

    #[test]
    fn time_that_seems_to_go_back_is_no_charge() {
        let (buckets, rules) = (Buckets::default(), parse("(POST, *, .*, 2, MINUTE)").unwrap());
        buckets.count(None, &rules, &[true], 100.0);
        assert_eq!(remaining(buckets.count(None, &rules, &[true], 40.0)), [0]);
    }

    #[test]
    fn users_without_end_take_no_room_without_end_and_the_driest_goes_first() {
        let (buckets, rules) = (Buckets::default(), parse("(POST, *, .*, 1, MINUTE)").unwrap());
        for n in 0..3 * SHARDS * USERS {
            buckets.count(Some(n.to_string().as_bytes()), &rules, &[true], n as f64);
        }
        let kept: usize = buckets.shards.iter().map(|shard| shard.lock().unwrap().users.len()).sum();
        assert!(kept <= SHARDS * USERS, "{kept}");
        // Whoever came last is still known.
        let now = (3 * SHARDS * USERS) as f64;
        let last = (3 * SHARDS * USERS - 1).to_string();
        assert_eq!(buckets.count(Some(last.as_bytes()), &rules, &[true], now), Verdict::Over(0, 59.0));
    }

    proptest::proptest! {
        /// That a dry bucket takes what an untouched one takes: what the bound on users stands on.
        #[test]
        fn a_dry_bucket_is_as_good_as_an_untouched_one(value in 1u64..50, early in proptest::collection::vec(0.0f64..100.0, 0..60), late in proptest::collection::vec(0.0f64..100.0, 0..60)) {
            let rule = &parse(&format!("(GET, *, .*, {value}, MINUTE)")).unwrap()[0];
            let (mut used, mut fresh) = (Bucket::new(rule), Bucket::new(rule));
            for now in early {
                used.pour(rule, now);
            }
            let dry = used.last.max(0.0) + used.water;
            for offset in late {
                let now = 1000.0 + dry + offset;
                proptest::prop_assert_eq!(used.pour(rule, now).map(f64::to_bits), fresh.pour(rule, now).map(f64::to_bits));
            }
        }
    }
}
