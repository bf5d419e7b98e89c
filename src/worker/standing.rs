//! How one slot stands: written by the task that drives it, read by reports and by those who wait for readiness.
//!
//! Must not know what the task does.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::command::SlotReport;
use crate::worker::member::Member;
use crate::worker::output::Tail;
use crate::worker::recycle::Lived;
use crate::worker::resident;
use crate::worker::spec::{Kind, PoolSpec, StartError};
use crate::worker::state::Reason;

/// The words of [`SlotReport::state`] and of the label `state` of the metric `workers`.
pub const STATES: [&str; 5] = ["starting", "serving", "draining", "backoff", "stopped"];

/// Whether a slot has shown that it can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not yet.
    Pending,
    /// It served.
    Served,
    /// Its start counts as failed; it may be tried again all the same.
    Failed(StartError),
}

/// One slot at one moment.
#[derive(Clone, Debug)]
pub struct Standing {
    /// One of [`STATES`].
    pub state: &'static str,
    /// Whether it has served.
    pub proof: Proof,
    /// Of the process in it; 0 = none of ours.
    pub pid: u32,
    /// When that began to live.
    pub born: Instant,
    /// What the pool knows of it; `None` until it is ready.
    pub member: Option<Arc<Member>>,
    /// Which life of the slot it is; 0 before the first.
    pub starts: u64,
    /// The last lines on standard error, of the lives that this task has driven.
    pub tail: Arc<Tail>,
    /// What is known of the slot beyond them.
    pub history: Arc<History>,
}

/// What is remembered of a slot over all its lives: one that is replaced has two for a while.
#[derive(Debug, Default)]
pub struct History {
    starts: AtomicU64,
    last_exit: Mutex<Option<(String, Reason)>>,
    /// The last lines on standard output.
    pub stdout: Arc<Tail>,
    /// The same of standard error.
    pub stderr: Arc<Tail>,
}

impl History {
    /// How the last life that is over ended.
    pub fn last_exit(&self) -> Option<(String, Reason)> {
        self.last_exit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Standing {
    /// A task that nothing happened in yet, of a slot with such a history.
    pub fn new(history: Arc<History>) -> Self {
        Self {
            state: "starting",
            proof: Proof::Pending,
            pid: 0,
            born: Instant::now(),
            member: None,
            starts: 0,
            tail: Arc::default(),
            history,
        }
    }

    /// A process was started.
    pub fn begin(&mut self, pid: u32) {
        self.pid = pid;
        self.born = Instant::now();
        self.starts = self.history.starts.fetch_add(1, Ordering::Relaxed) + 1;
    }

    /// The worker takes requests.
    pub fn serve(&mut self, member: Arc<Member>) {
        self.member = Some(member);
        self.proof = Proof::Served;
    }

    /// The worker is gone.
    pub fn end(&mut self, how: String, why: Reason) {
        self.pid = 0;
        self.member = None;
        *self.history.last_exit.lock().unwrap_or_else(PoisonError::into_inner) = Some((how, why));
    }

    /// What its life has come to, while it serves.
    pub fn lived(&self) -> Option<Lived> {
        let member = self.member.as_deref().filter(|member| !member.is_draining())?;
        Some(Lived { life: member.life, requests: member.requests(), age: self.born.elapsed() })
    }

    /// The memory of its process and of what that has started; 0 where there is none of ours.
    pub fn rss(&self) -> u64 {
        if self.pid == 0 { 0 } else { resident::of_tree(self.pid) }
    }

    /// For `GET /workers`; `now` is the pool's clock.
    pub fn report(&self, spec: &PoolSpec, slot: u32, now: Duration) -> SlotReport {
        let member = self.member.as_deref();
        let last_exit = self.history.last_exit();
        SlotReport {
            api: spec.api.clone(),
            slot,
            state: self.state,
            kind: spec.kind.as_str(),
            python: match &spec.kind {
                Kind::Python { version, .. } => Some(version.clone()),
                Kind::Builtin | Kind::Command(_) | Kind::External { .. } => None,
            },
            pid: self.pid,
            generation: spec.generation,
            in_flight: member.map_or(0, Member::in_flight),
            requests: member.map_or(0, Member::requests),
            rss_bytes: self.rss(),
            age_seconds: self.born.elapsed().as_secs_f64(),
            ejected_seconds: member.map_or(0.0, |member| member.record.ejected_for(now).as_secs_f64()),
            starts: self.history.starts.load(Ordering::Relaxed),
            last_exit_reason: last_exit.as_ref().map(|(_, why)| why.as_str()),
            last_exit: last_exit.map(|(how, _)| how),
            stdout: self.history.stdout.lines(),
            stderr: self.history.stderr.lines(),
        }
    }
}

/// `exited with status 1`, `killed by signal 9`.
pub fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("killed by signal {signal}"),
        None => format!("exited with status {}", status.code().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_told_as_the_launcher_tells_it() {
        assert_eq!(describe(ExitStatus::from_raw(9)), "killed by signal 9");
        assert_eq!(describe(ExitStatus::from_raw(3 << 8)), "exited with status 3");
    }
}
