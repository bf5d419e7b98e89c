//! An open loop's clock: numbers requests at a fixed rate, and tells when each was due.
//!
//! A timer of the kernel, since tokio's have a resolution of a millisecond, which is more than most answers take.
//! Must not know what is sent.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use tokio::net::unix::pipe::Receiver;

/// Numbers from 1 on, each due one interval after the one before.
pub(super) struct Pace {
    /// A timerfd is read like a pipe, and tokio's own type for any descriptor is unsafe to make.
    timer: Receiver,
    start: Instant,
    interval: Duration,
    given: u64,
}

impl Pace {
    /// Starts the clock.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(rate: u32) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let interval = Duration::from_secs(1) / rate.max(1);
        let every = Timespec::try_from(interval).map_err(io::Error::other)?;
        let start = Instant::now();
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: every, it_value: every })?;
        Ok(Self { timer: Receiver::from_owned_fd_unchecked(timer)?, start, interval, given: 0 })
    }

    /// Waits until at least one is due; all that became due meanwhile, those of a stall too.
    ///
    /// # Errors
    /// What the system says.
    pub(super) async fn due(&mut self) -> io::Result<Range<u64>> {
        let mut expirations = [0_u8; 8];
        loop {
            self.timer.readable().await?;
            match self.timer.try_read(&mut expirations) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        let first = self.given + 1;
        self.given += u64::from_ne_bytes(expirations);
        Ok(first..self.given + 1)
    }

    /// When that number was due.
    pub(super) fn due_at(&self, number: u64) -> Instant {
        let nanos = self.interval.as_nanos() * u128::from(number);
        self.start + Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_fell_due_during_a_stall_is_given_at_once_and_was_due_then() {
        let mut pace = Pace::start(1000).expect("a timer");
        std::thread::sleep(Duration::from_millis(30));
        let due = pace.due().await.expect("a tick");
        assert_eq!(due.start, 1);
        assert!(due.end > 25, "{due:?}");
        assert_eq!(pace.due_at(20) - pace.due_at(10), Duration::from_millis(10));
        assert!(pace.due_at(due.end - 1) <= Instant::now());
        assert_eq!(pace.due().await.expect("a tick").start, due.end, "no number is given twice or left out");
    }
}
