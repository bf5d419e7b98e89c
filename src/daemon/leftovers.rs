//! What a front that is gone has left: workers, and files.
//!
//! Must not know why it is gone.

use std::time::Duration;

use super::Daemon;
use super::runtime_dir::RuntimeDir;
use crate::worker::leftover;

/// Workers get so long where `worker_stop_timeout` says nothing: nobody waits for their answers.
const LEFTOVER_TIME: Duration = Duration::from_secs(30);

impl Daemon {
    /// Ends what is left of a front that this one has started, or was started by, and removes its files.
    pub(super) fn clear_after(&self, pid: u32) {
        let current = self.current.borrow();
        end_leftovers(&self.runtime_dir, current.running.plan.config.settings.pasteway.worker_stop_timeout);
        self.runtime_dir.clear_after(pid);
    }
}

/// Ends the workers of fronts that are gone. Nobody waits for it: what they serve is not ours.
pub fn end_leftovers(runtime_dir: &RuntimeDir, stop_timeout: Option<Duration>) {
    let grace = stop_timeout.filter(|time| !time.is_zero()).unwrap_or(LEFTOVER_TIME);
    let left = match leftover::find(runtime_dir.path()) {
        Ok(left) if left.is_empty() => return,
        Ok(left) => left,
        Err(error) => {
            return tracing::warn!(target: "pasteway::worker", "cannot look for workers of a front before: {error}");
        }
    };
    let thread = std::thread::Builder::new().name("leftover".to_owned());
    if let Err(error) = thread.spawn(move || leftover::end(&left, grace)) {
        tracing::warn!(target: "pasteway::worker", "workers of a front before are left alone: {error}");
    }
}
