//! What the service manager is told (sd_notify(3)); nothing, where there is none.
//!
//! Must not know when. A message that does not arrive is no reason to serve worse.

use std::time::Duration;

use sd_notify::NotifyState::{self, ExtendTimeoutUsec, MainPid, Ready, Reloading, Status, Stopping, Watchdog};

/// The front serves, again too.
pub fn ready(status: &str) {
    tell(&[Ready, Status(status)]);
}

/// A reload has begun; [`ready`] is its end, whatever came of it.
pub fn reloading() {
    // `Type=notify-reload` tells reloads apart by the time.
    if let Ok(since) = NotifyState::monotonic_usec_now() {
        tell(&[Reloading, since, Status("reloading")]);
    }
}

/// The front goes.
pub fn stopping(status: &str) {
    tell(&[Stopping, Status(status)]);
}

/// It still does something that must not be cut off within `time`.
pub fn busy(status: &str, time: Duration) {
    tell(&[ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX)), Status(status)]);
}

/// Another process takes this one's place.
pub fn main_process_is(pid: u32) {
    tell(&[MainPid(pid)]);
}

/// The front is alive.
pub fn alive() {
    tell(&[Watchdog]);
}

fn tell(words: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(words);
}
