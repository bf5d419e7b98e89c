//! The front in whose place this one starts: what it has handed over, and what it, and those before it, do until they are
//! gone.
//!
//! Must not know what is made of the sockets.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;

use rustix::process::{Pid, getpgid, setpgid};
use tokio::task::AbortHandle;

use super::Daemon;
use super::generation::now;
use super::handover::{self, Channel, ENV_UPGRADE, Handover, Load, Word};
use super::inherited::Sockets;
use super::reload::millis;
use super::upgrade::{VERSION, process};
use crate::command::{PredecessorReport, UpgradeOutcome, UpgradeReport};

/// The front before this one.
pub struct Predecessor {
    /// What it has told.
    pub handover: Handover,
    /// The lock of `runtime_dir`; once.
    pub lock: Option<OwnedFd>,
    end: OwnedFd,
    /// To those before it, in the order of the handover.
    older: Vec<OwnedFd>,
    /// Its process group.
    group: Option<Pid>,
    began: Instant,
    when: f64,
}

/// A front that still drains, and what tells of it.
pub type Before = (PredecessorReport, Channel);

/// The same, as long as it is listened to.
pub struct Draining {
    pub report: PredecessorReport,
    pub channel: Rc<Channel>,
    listener: AbortHandle,
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
        handover::say(end.as_fd(), &Word::Here);
        let (handover, mut descriptors) = handover::take(&end)?;
        // Nobody whom this process starts is to hold the other end open.
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        let older = descriptors.split_off(1 + handover.sockets.len());
        let sockets = Sockets::handed_over(handover.sockets.clone(), descriptors.split_off(1));
        let lock = descriptors.pop();
        let group = process(handover.pid).and_then(|pid| getpgid(Some(pid)).ok());
        Ok(Some((Self { handover, lock, end, older, group, began: Instant::now(), when: now() }, sockets)))
    }

    /// Tells it that it must stay.
    pub fn failed(&self, reason: &str) {
        handover::say(self.end.as_fd(), &Word::Failed { reason: reason.to_owned() });
    }

    /// Tells it that this front could serve, and waits until it is to. One that is gone meanwhile can serve no more.
    /// Returns who is to be seen off.
    ///
    /// # Errors
    /// The system cannot watch them.
    pub async fn released(&self) -> io::Result<Vec<Before>> {
        let channel = Channel::new(self.end.try_clone()?)?;
        channel.tell(&Word::Ready { version: VERSION.to_owned() });
        let mut load = Load::default();
        while let Some(word) = channel.hear().await {
            if let Word::Go(left) = word {
                load = left;
                break;
            }
        }
        if let Some(group) = self.group {
            // Until now this process led one of its own, to be ended with all that it had started. From now on it hears
            // what its terminal says to the other (Ctrl-C). It leads a session where that fails: then it has no terminal.
            let _ = setpgid(None, Some(group));
        }
        let mut before = vec![(load.of(self.handover.pid), channel)];
        for (report, end) in self.handover.predecessors.iter().zip(&self.older) {
            before.push((report.clone(), Channel::new(end.try_clone()?)?));
        }
        Ok(before)
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
    /// Listens to the fronts before this one until they are gone.
    pub(super) fn see_off(self: &Rc<Self>, before: Vec<Before>) {
        for (report, channel) in before {
            let channel = Rc::new(channel);
            let listening = Rc::clone(self).listen_to(report.pid, Rc::clone(&channel));
            let listener = tokio::task::spawn_local(listening).abort_handle();
            self.predecessors.borrow_mut().push(Draining { report, channel, listener });
        }
    }

    /// Listens to one of them, and removes what it has left.
    async fn listen_to(self: Rc<Self>, pid: u32, channel: Rc<Channel>) {
        while let Some(word) = channel.hear().await {
            let mut predecessors = self.predecessors.borrow_mut();
            let before = predecessors.iter_mut().find(|before| before.report.pid == pid);
            if let (Word::Draining(load), Some(before)) = (word, before) {
                before.report = load.of(pid);
            }
        }
        self.clear_after(pid);
        self.predecessors.borrow_mut().retain(|before| before.report.pid != pid);
        self.seen_off.notify_one();
        tracing::info!(target: "pasteway", "the front before this one, pid {pid}, is gone");
    }

    /// Waits until all of them are gone.
    pub(super) async fn all_seen_off(&self) {
        while !self.predecessors.borrow().is_empty() {
            self.seen_off.notified().await;
        }
    }

    /// Leaves them to the front that takes this one's place.
    pub(super) fn leave_predecessors(&self) {
        self.predecessors.borrow_mut().drain(..).for_each(|before| before.listener.abort());
    }
}
