//! The upgrade, as the front sees it that is to be replaced: the program is started again, is given every socket, and
//! proves itself ready; then this front accepts nothing any more and drains.
//!
//! ```text
//! refuse ─▶ start ─▶ ready ─▶ give way ─▶ drain (shutdown)
//!              └───▶ failed: it is ended, and nothing has changed
//! ```
//!
//! Both processes have the same sockets, hence the same queues in the kernel: a connection that this front does not
//! accept any more is accepted by the other. Must not know how the new front starts.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
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
use crate::command::{Outcome, Source, Terms, UpgradeOutcome, UpgradeReport};
use crate::proxy::listener::ListenKey;

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
            verdict = proof(&channel, &mut child) => verdict,
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
                end(&mut child).await;
                self.runtime_dir.clear_after(pid);
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
        let cannot = |error| format!("the sockets cannot be handed over: {error}");
        let (handover, sockets) = self.handover().map_err(cannot)?;
        let (ours, theirs) = handover::pair().map_err(cannot)?;
        let mut descriptors = vec![self.runtime_dir.lock()];
        descriptors.extend(sockets.iter().map(AsFd::as_fd));
        handover::give(&ours, &handover, &descriptors).map_err(cannot)?;
        let channel = Channel::new(ours).map_err(cannot)?;
        let mut command = self.program.successor();
        command.stdin(Stdio::from(theirs));
        let child = tokio::process::Command::from(command).spawn();
        let child = child.map_err(|error| format!("{} cannot be run: {error}", self.program.path().display()))?;
        Ok((channel, child))
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
        channel.tell(&Word::Go);
        *self.successor.borrow_mut() = Some(channel);
        self.drain_wanted.notify_one();
    }

    /// Ends a new front that is still on its way.
    pub(super) fn kill_successor(&self) {
        if let Some(pid) = self.successor_pid.take() {
            signal(pid, Signal::KILL);
            self.runtime_dir.clear_after(pid);
        }
    }
}

/// Waits until the new front could serve; its version, or why it cannot.
async fn proof(channel: &Channel, child: &mut Child) -> Result<String, String> {
    loop {
        match channel.hear().await {
            Some(Word::Ready { version }) => return Ok(version),
            Some(Word::Failed { reason }) => return Err(reason),
            Some(_) => {}
            None => break,
        }
    }
    match tokio::time::timeout(ABOUT_TO_END, child.wait()).await {
        Ok(Ok(status)) => Err(format!("it ended before it was ready: {status}")),
        _ => {
            Err("it closed its standard input before it was ready: is it a pasteway that can be upgraded to?"
                .to_owned())
        }
    }
}

/// Has a new front end that is not wanted, and waits for it.
async fn end(child: &mut Child) {
    if let Some(pid) = child.id() {
        signal(pid, Signal::TERM);
    }
    if tokio::time::timeout(LAST_GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = pid.try_into().ok().and_then(Pid::from_raw) {
        // It is gone already.
        let _ = kill_process(pid, signal);
    }
}
