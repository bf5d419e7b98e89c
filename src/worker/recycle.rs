//! When a worker has lived long enough: after so many requests, so much time, at so much memory.
//!
//! One worker of the front is replaced at a time, and by one that serves already: see [`Supervisor::replace`]. Each life
//! has bounds of its own a little below the given ones, so that workers that began together do not end together.
//! Must not know how a worker is replaced.
//!
//! [`Supervisor::replace`]: super::Supervisor::replace

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::state::Reason;

/// How much less than the given bounds a life may have.
const JITTER: f64 = 0.1;

/// The bounds of a worker's life; zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recycling {
    /// `worker_max_requests`.
    pub requests: u64,
    /// `worker_max_lifetime`.
    pub lifetime: Duration,
    /// `worker_max_rss`, bytes.
    pub rss: u64,
}

/// What a life has come to.
#[derive(Clone, Copy, Debug)]
pub struct Lived {
    /// Its number.
    pub life: u64,
    /// Requests that it got.
    pub requests: u64,
    /// Its age.
    pub age: Duration,
}

impl Recycling {
    /// Why the worker is to be replaced now. Its memory (bytes) is asked for only where there is a bound to it.
    pub fn due(&self, lived: &Lived, rss: impl FnOnce() -> u64) -> Option<Reason> {
        let share = 1.0 - JITTER * spread(lived.life);
        let over = |value: f64, bound: f64, share: f64| bound > 0.0 && value >= bound * share;
        if over(lived.requests as f64, self.requests as f64, share) {
            Some(Reason::MaxRequests)
        } else if over(lived.age.as_secs_f64(), self.lifetime.as_secs_f64(), share) {
            Some(Reason::Lifetime)
        } else if self.rss > 0 && rss() >= self.rss {
            Some(Reason::Rss)
        } else {
            None
        }
    }

    /// Whether there is any bound.
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

/// From 0 to 1, always the same for a life in this process.
fn spread(life: u64) -> f64 {
    static KEYS: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);
    KEYS.hash_one(life) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Recycling = Recycling { requests: 1000, lifetime: Duration::from_secs(1000), rss: 1 << 30 };
    const YOUNG: Lived = Lived { life: 1, requests: 899, age: Duration::from_secs(899) };

    #[test]
    fn each_bound_has_its_reason_and_none_has_none() {
        let small = || (1 << 30) - 1;
        assert_eq!(BOUNDS.due(&YOUNG, small), None);
        assert_eq!(BOUNDS.due(&Lived { requests: 1000, ..YOUNG }, small), Some(Reason::MaxRequests));
        assert_eq!(BOUNDS.due(&Lived { age: Duration::from_secs(1000), ..YOUNG }, small), Some(Reason::Lifetime));
        assert_eq!(BOUNDS.due(&YOUNG, || 1 << 30), Some(Reason::Rss));
        let old = Lived { life: 1, requests: u64::MAX, age: Duration::MAX };
        assert_eq!(Recycling::default().due(&old, || panic!("nobody needs to know")), None);
        assert!(Recycling::default().is_off() && !BOUNDS.is_off());
    }

    #[test]
    fn lives_that_began_together_do_not_end_together() {
        let due = |life, requests| BOUNDS.due(&Lived { life, requests, ..YOUNG }, || 0).is_some();
        let ends = |requests| (0..100).filter(|&life| due(life, requests)).count();
        assert!((10..90).contains(&ends(950)), "{}", ends(950));
        assert_eq!((ends(899), ends(1000)), (0, 100));
    }
}
