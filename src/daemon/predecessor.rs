//! The front in whose place this one starts: what it has handed over, and what it does until it is gone.
//!
//! Must not know what is made of the sockets.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use super::Daemon;
use super::generation::now;
use super::handover::{self, Channel, ENV_UPGRADE, Handover, Word};
use super::inherited::Sockets;
use super::reload::millis;
use super::upgrade::VERSION;
use crate::command::{PredecessorReport, UpgradeOutcome, UpgradeReport};

/// The front before this one.
pub struct Predecessor {
    /// What it has told.
    pub handover: Handover,
    /// The lock of `runtime_dir`; once.
    pub lock: Option<OwnedFd>,
    end: OwnedFd,
    began: Instant,
    when: f64,
}

impl Predecessor {
    /// It and its sockets, if this process was started to take its place.
    ///
    /// # Errors
    /// The environment says so, but nothing is handed over.
    pub fn find() -> io::Result<Option<(Self, Sockets)>> {
        if std::env::var_os(ENV_UPGRADE).is_none() {
            return Ok(None);
        }
        let end = rustix::stdio::stdin().try_clone_to_owned()?;
        let (handover, mut descriptors) = handover::take(&end)?;
        // Nobody whom this process starts is to hold the other end open.
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        let sockets = Sockets::handed_over(handover.sockets.clone(), descriptors.split_off(1));
        let lock = descriptors.pop();
        Ok(Some((Self { handover, lock, end, began: Instant::now(), when: now() }, sockets)))
    }

    /// Tells it that it must stay.
    pub fn failed(&self, reason: &str) {
        handover::say(self.end.as_fd(), &Word::Failed { reason: reason.to_owned() });
    }

    /// Tells it that this front could serve, and waits until it is to. One that is gone meanwhile can serve no more.
    ///
    /// # Errors
    /// The system cannot watch it.
    pub async fn released(&self) -> io::Result<Channel> {
        let channel = Channel::new(self.end.try_clone()?)?;
        channel.tell(&Word::Ready { version: VERSION.to_owned() });
        while let Some(word) = channel.hear().await {
            if word == Word::Go {
                break;
            }
        }
        Ok(channel)
    }

    /// How this front came, for those who ask.
    pub fn upgrade(&self) -> UpgradeReport {
        UpgradeReport {
            outcome: UpgradeOutcome::Upgraded,
            pid: std::process::id(),
            version: VERSION.to_owned(),
            previous_pid: self.handover.pid,
            previous_version: self.handover.version.clone(),
            when: self.when,
            took_ms: millis(self.began.elapsed()),
            reason: None,
        }
    }
}

impl Daemon {
    /// Listens to the front before this one until it is gone, and removes what it has left.
    pub(super) async fn see_off(self: Rc<Self>, pid: u32, channel: Channel) {
        *self.predecessor.borrow_mut() = Some(PredecessorReport { pid, in_flight: 0, connections: 0 });
        loop {
            match channel.hear().await {
                Some(Word::Draining { in_flight, connections }) => {
                    *self.predecessor.borrow_mut() = Some(PredecessorReport { pid, in_flight, connections });
                }
                Some(_) => {}
                None => break,
            }
        }
        self.runtime_dir.clear_after(pid);
        *self.predecessor.borrow_mut() = None;
        self.seen_off.notify_one();
        tracing::info!(target: "pasteway", "the front before this one, pid {pid}, is gone");
    }
}
