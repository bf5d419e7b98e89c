//! The upgrade, as the front sees it that is to be replaced: the program is started again, is given every socket when it
//! asks for them, and proves itself ready; then this front accepts nothing any more and drains.
//!
//! ```text
//! refuse ─▶ start ─▶ ready ─▶ give way ─▶ drain (shutdown)
//!              └───▶ failed: it is ended with all that it has started, and nothing has changed
//! ```
//!
//! Both processes have the same sockets, hence the same queues in the kernel: a connection that this front does not
//! accept any more is accepted by the other. Must not know how the new front starts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::Child;

use super::generation::now;
use super::handover::{self, Asked, Channel, Handover, Word};
use super::reload::millis;
use super::{Daemon, Phase, systemd};
use crate::command::{Outcome, PredecessorReport, Source, Terms, UpgradeOutcome, UpgradeReport};
use crate::proxy::listener::ListenKey;
use crate::worker::signal_group_of;

/// Of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A new front that is not wanted gets so long to end its workers.
const LAST_GRACE: Duration = Duration::from_secs(5);
/// A process that has closed the channel has ended, or is about to.
const ABOUT_TO_END: Duration = Duration::from_secs(1);
/// Requests for administration that are under way when the other front takes over get so long.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// Why this front stays.
enum Stays {
    Refused(String),
    Failed(String),
}

/// The front that takes over.
struct Successor {
    pid: u32,
    version: String,
}

/// The front that has taken over, and who listens there to what this one still serves.
pub struct Replacement {
    pub pid: u32,
    pub channel: Channel,
}

impl Daemon {
    /// Has the program, as it is on disk now, take this front's place.
    pub(super) async fn upgrade(self: &Rc<Self>, source: Source, peer: Option<String>) -> UpgradeReport {
        let (when, begun) = (now(), Instant::now());
        let by = peer.as_deref().unwrap_or("-");
        tracing::info!(target: "pasteway", "upgrade asked by {source}, {by}");
        let own = std::process::id();
        let (outcome, pid, version, reason) = match self.try_upgrade(source, peer.clone()).await {
            Ok(Successor { pid, version }) => (UpgradeOutcome::Upgraded, pid, version, None),
            Err(Stays::Failed(reason)) => (UpgradeOutcome::Failed, own, VERSION.to_owned(), Some(reason)),
            Err(Stays::Refused(reason)) => (UpgradeOutcome::Refused, own, VERSION.to_owned(), Some(reason)),
        };
        let report = UpgradeReport {
            outcome,
            pid,
            version,
            previous_pid: own,
            previous_version: VERSION.to_owned(),
            when,
            took_ms: millis(begun.elapsed()),
            reason,
        };
        let why = report.reason.as_deref().unwrap_or_default();
        match outcome {
            UpgradeOutcome::Upgraded => tracing::info!(
                target: "pasteway",
                "pasteway {}, pid {pid}, serves after {} ms; this front ends with its last request", report.version, report.took_ms,
            ),
            UpgradeOutcome::Failed => {
                tracing::error!(target: "pasteway", "upgrade failed, this front serves on: {why}")
            }
            UpgradeOutcome::Refused => tracing::warn!(target: "pasteway", "upgrade refused: {why}"),
        }
        self.metrics.upgraded(outcome);
        self.tell("upgrade", &json!(report));
        if outcome != UpgradeOutcome::Refused {
            *self.last_upgrade.borrow_mut() = Some(report.clone());
        }
        report
    }

    async fn try_upgrade(self: &Rc<Self>, source: Source, peer: Option<String>) -> Result<Successor, Stays> {
        let Ok(_only) = self.upgrading.try_lock() else {
            return Err(Stays::Refused("another upgrade is under way".to_owned()));
        };
        // No generation comes or goes meanwhile; a reload that is asked for now waits.
        let _turn = self.reloading.lock().await;
        self.refuse_upgrade(source, peer).await.map_err(Stays::Refused)?;
        let (channel, mut child) = self.start_successor().map_err(Stays::Failed)?;
        let pid = child.id().unwrap_or_default();
        self.successor_pid.set(Some(pid));
        tracing::info!(target: "pasteway", "{} is started again, pid {pid}", self.program.path().display());
        let timeout = self.current.borrow().running.plan.config.settings.pasteway.upgrade_timeout;
        let verdict = tokio::select! {
            // What it says counts before what became of it.
            biased;
            verdict = self.proof(&channel, &mut child) => verdict,
            () = tokio::time::sleep(timeout) => {
                Err(format!("it was not ready within {} s (upgrade_timeout)", timeout.as_secs_f64()))
            }
            () = self.stopping.notified() => Err("the front was told to stop".to_owned()),
        };
        let verdict = match verdict {
            Ok(_) if self.state.get() == Phase::Draining => Err("the front was told to stop".to_owned()),
            verdict => verdict,
        };
        let verdict = match verdict {
            Ok(version) => {
                self.give_way(channel, pid).await;
                Ok(Successor { pid, version })
            }
            Err(reason) => {
                end(&mut child, pid).await;
                self.clear_after(pid);
                Err(Stays::Failed(reason))
            }
        };
        self.successor_pid.set(None);
        verdict
    }

    /// An upgrade changes the program and nothing else: what runs must be what the files say, and be there to stay.
    async fn refuse_upgrade(self: &Rc<Self>, source: Source, peer: Option<String>) -> Result<(), String> {
        if self.state.get() == Phase::Draining {
            return Err("the front is stopping".to_owned());
        }
        if self.trial.borrow().is_some() {
            return Err("a generation is on trial: `pasteway confirm` or `pasteway rollback` ends that".to_owned());
        }
        let looked = self.attempt(self.load_files(), source, peer, true, Terms::default()).await;
        match looked {
            Ok(report) if report.outcome == Outcome::Unchanged => Ok(()),
            Ok(report) => Err(format!(
                "the files on disk are not what runs ({} changes): `pasteway reload` first",
                report.changes.len()
            )),
            Err(found) => {
                let first = found.iter().find(|found| found.is_error()).map(ToString::to_string);
                Err(format!("the files on disk cannot be loaded: {}", first.unwrap_or_default()))
            }
        }
    }

    fn start_successor(&self) -> Result<(Channel, Child), String> {
        let (ours, theirs) = handover::pair().map_err(cannot)?;
        let channel = Channel::new(ours).map_err(cannot)?;
        let mut command = self.program.successor();
        command.stdin(Stdio::from(theirs)).process_group(0);
        let child = tokio::process::Command::from(command).spawn();
        let child = child.map_err(|error| format!("{} cannot be run: {error}", self.program.path().display()))?;
        Ok((channel, child))
    }

    /// Waits until the new front could serve; its version, or why it cannot.
    async fn proof(&self, channel: &Channel, child: &mut Child) -> Result<String, String> {
        loop {
            match channel.hear().await {
                Some(Word::Here) => self.hand_over(channel).map_err(cannot)?,
                Some(Word::Ready { version }) => return Ok(version),
                Some(Word::Failed { reason }) => return Err(reason),
                Some(_) => {}
                None => break,
            }
        }
        match tokio::time::timeout(ABOUT_TO_END, child.wait()).await {
            Ok(Ok(status)) => Err(format!("it ended before it was ready: {status}")),
            _ => Err("it closed its standard input before it was ready: is it a pasteway that can be upgraded to?"
                .to_owned()),
        }
    }

    /// Only to who asks: what lies in the channel of a program that never reads it would live as long as that one, the
    /// lock and the listening sockets included.
    fn hand_over(&self, channel: &Channel) -> io::Result<()> {
        let (handover, sockets) = self.handover()?;
        let predecessors = self.predecessors.borrow();
        let channels = predecessors.iter().map(|before| before.channel.as_fd());
        let sockets = sockets.iter().map(AsFd::as_fd);
        let descriptors: Vec<BorrowedFd<'_>> =
            std::iter::once(self.runtime_dir.lock()).chain(sockets).chain(channels).collect();
        channel.give(&handover, &descriptors)
    }

    /// What the new front is told, and the sockets that go with it.
    fn handover(&self) -> io::Result<(Handover, Vec<OwnedFd>)> {
        let current = self.current.borrow();
        let (mut asked, mut sockets) = (Vec::new(), Vec::new());
        for listener in &current.running.listeners {
            let ListenKey { host, port, api } = listener.key.clone();
            asked.push(Asked::Api { host, port, api: api.map(|api| api.to_string()) });
            sockets.push(listener.descriptor()?);
        }
        for (address, handle) in self.admin.borrow().iter() {
            for socket in handle.sockets() {
                asked.push(Asked::Admin(address.to_string()));
                sockets.push(socket.try_clone()?);
            }
        }
        let handover = Handover {
            version: VERSION.to_owned(),
            pid: std::process::id(),
            generation: self.history().front().map_or(0, |newest| newest.number.0),
            runtime_dir: self.runtime_dir.path().to_owned(),
            sockets: asked,
            predecessors: self.predecessor_reports(),
        };
        Ok((handover, sockets))
    }

    /// Leaves everything that is one for both fronts to the other, and then this one's loop.
    async fn give_way(&self, channel: Channel, pid: u32) {
        // Who waits for his turn to change something comes too late.
        self.state.set(Phase::Draining);
        *self.watcher.borrow_mut() = None;
        let listeners = self.current.borrow().running.listeners.clone();
        for listener in listeners {
            self.acceptor.leave(listener.id).await;
        }
        self.runtime_dir.leave();
        for (_, handle) in self.admin.borrow_mut().drain(..) {
            tokio::task::spawn_local(handle.leave(ADMIN_GRACE));
        }
        // The last that the service manager takes from this process, and before the first that it hears of the other.
        systemd::main_process_is(pid);
        self.leave_predecessors();
        channel.tell(&Word::Go(self.load()));
        *self.successor.borrow_mut() = Some(Replacement { pid, channel });
        self.drain_wanted.notify_one();
    }

    /// The front that has taken this one's place.
    pub(super) fn replaced_by(&self) -> Option<u32> {
        self.successor.borrow().as_ref().map(|successor| successor.pid)
    }

    /// The fronts before this one that still drain.
    pub(super) fn predecessor_reports(&self) -> Vec<PredecessorReport> {
        self.predecessors.borrow().iter().map(|before| before.report.clone()).collect()
    }

    /// Ends a new front that is still on its way.
    pub(super) async fn kill_successor(&self) {
        if let Some(pid) = self.successor_pid.take() {
            signal_group_of(pid, Signal::KILL);
            // The upgrade hears of its end, and clears up.
            drop(self.upgrading.lock().await);
        }
    }

    /// Has another front reload what this one was asked to, but did not get round to.
    pub(super) fn pass_on_reload(successor: u32) {
        if let Some(pid) = process(successor) {
            let _ = kill_process(pid, Signal::HUP);
        }
    }
}

fn cannot(error: io::Error) -> String {
    format!("the sockets cannot be handed over: {error}")
}

/// Has a new front end that is not wanted, and all that it has started, and waits for it.
async fn end(child: &mut Child, group: u32) {
    signal_group_of(group, Signal::TERM);
    let _ = tokio::time::timeout(LAST_GRACE, child.wait()).await;
    signal_group_of(group, Signal::KILL);
    let _ = child.wait().await;
}

/// The number as the system calls take it.
pub(super) fn process(pid: u32) -> Option<Pid> {
    pid.try_into().ok().and_then(Pid::from_raw)
}
