//! What every end-to-end test needs: a front in a directory of its own, a client that speaks exact bytes, ways to
//! save a file, traffic, and a look at processes.
//!
//! Deadlines everywhere, retries nowhere: a wait is for a state that must come, never for a second chance.

pub mod app;
pub mod certificates;
pub mod chance;
pub mod client;
pub mod disk;
pub mod front;
pub mod keystone;
pub mod layout;
pub mod process;
pub mod python;
pub mod recording;
pub mod traffic;
pub mod tunnel;

use std::time::{Duration, Instant};

pub use app::{App, Asked};
pub use client::{Answer, Client};
pub use front::Front;
pub use layout::Layout;
pub use pasteway::selftest::Save;
pub use tunnel::Tunnel;

/// The longest that a test waits for something that must happen.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `look` finds something; `what` says in the panic what never came.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "after {DEADLINE:?} still not: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Says loudly that a test cannot be made here for want of something; where everything must be there (`PASTEWAY_CI`) it
/// fails.
#[track_caller]
pub fn missing(what: &str) {
    assert!(std::env::var_os("PASTEWAY_CI").is_none(), "{} needs {what}", test());
    skipped(what);
}

/// The same for what no installation brings and CI need not have either: it is skipped there too.
pub fn skipped(what: &str) {
    eprintln!("SKIPPED {}: it needs {what}", test());
}

fn test() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}
