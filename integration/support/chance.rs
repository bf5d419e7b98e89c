//! Random numbers of a test, made from one seed that is printed: `PASTEWAY_SEED` repeats a run, `PASTEWAY_CHAOS` makes
//! it so many times as long.
//!
//! Must not know what is decided by them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastrand::Rng;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

/// The random numbers of the running test, whatever others run beside it.
pub fn chance() -> Rng {
    static SEED: OnceLock<u64> = OnceLock::new();
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
    let seed = *SEED.get_or_init(|| number("PASTEWAY_SEED").unwrap_or_else(clock));
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    println!("{test}: repeat with PASTEWAY_SEED={seed}");
    let mut hasher = DefaultHasher::new();
    (seed, test).hash(&mut hasher);
    Rng::with_seed(hasher.finish())
}

/// How often something is done that is done `n` times in a short run.
pub fn times(n: usize) -> usize {
    n * number("PASTEWAY_CHAOS").unwrap_or(1).max(1) as usize
}

/// Lets some time pass, up to so many milliseconds.
pub fn pause(chance: &mut Rng, most: u64) {
    std::thread::sleep(Duration::from_millis(chance.u64(0..=most)));
}

/// One of several.
#[track_caller]
pub fn one<T: Copy>(chance: &mut Rng, of: &[T]) -> T {
    *chance.choice(of).expect("there is one")
}
