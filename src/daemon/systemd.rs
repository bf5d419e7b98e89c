//! What the service manager is told (sd_notify(3)); nothing, where there is none.
//!
//! Must not know when. A message that does not arrive is no reason to serve worse.

use std::time::Duration;

use sd_notify::NotifyState::{self, ExtendTimeoutUsec, MainPid, Ready, Reloading, Status, Stopping, Watchdog};
use tokio::time::sleep;

/// How often something that takes long is told.
pub const LOOK: Duration = Duration::from_secs(1);
/// The service manager is to wait for so long each time.
const PATIENCE: Duration = Duration::from_secs(15);

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

/// It still does something that must not be cut off; to be told again and again, as often as [`LOOK`].
pub fn busy(status: &str) {
    tell(&[ExtendTimeoutUsec(u32::try_from(PATIENCE.as_micros()).unwrap_or(u32::MAX)), Status(status)]);
}

/// Tells so for as long as a part of the start or of a reload takes: `TimeoutStartSec=` counts for both, and what they
/// wait for has time limits of its own.
pub async fn busy_with<T>(status: &str, part: impl Future<Output = T>) -> T {
    let telling = async {
        loop {
            sleep(LOOK).await;
            busy(status);
        }
    };
    tokio::select! {
        done = part => done,
        () = telling => std::future::pending().await,
    }
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
