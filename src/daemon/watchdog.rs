//! Tells the service manager that the front is alive, as long as it really is: this task runs on the control thread, and
//! asks every data thread first.
//!
//! Must not know what becomes of a front that is silent.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Daemon, systemd};

impl Daemon {
    /// Tells it twice in each `period`, until another process is the one to tell.
    pub(super) async fn watch_over(self: Rc<Self>, period: Duration) {
        let half = period / 2;
        while self.successor.borrow().is_none() {
            let next = tokio::time::Instant::now() + half;
            match timeout(half, self.refresh_threads()).await {
                Ok(()) => systemd::alive(),
                Err(_) => {
                    tracing::error!(target: "pasteway", "a data thread has not answered for {} s", half.as_secs_f64())
                }
            }
            tokio::time::sleep_until(next).await;
        }
    }
}
