//! How one slot stands: written by the task that drives it, read by reports and by those who wait for readiness.
//!
//! Must not know what the task does.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::command::SlotReport;
use crate::worker::member::Member;
use crate::worker::output::Tail;
use crate::worker::recycle::Lived;
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
    /// Lives so far.
    pub starts: u64,
    /// How the life before ended.
    pub last_exit: Option<(String, Reason)>,
    /// The last lines on standard output, of all lives.
    pub stdout: Arc<Tail>,
    /// The same of standard error.
    pub tail: Arc<Tail>,
}

impl Standing {
    /// A slot that nothing happened in yet.
    pub fn new() -> Self {
        Self {
            state: "starting",
            proof: Proof::Pending,
            pid: 0,
            born: Instant::now(),
            member: None,
            starts: 0,
            last_exit: None,
            stdout: Arc::default(),
            tail: Arc::default(),
        }
    }

    /// A process was started.
    pub fn begin(&mut self, pid: u32) {
        self.pid = pid;
        self.born = Instant::now();
        self.starts += 1;
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
        self.last_exit = Some((how, why));
    }

    /// What its life has come to, while it serves.
    pub fn lived(&self) -> Option<Lived> {
        let member = self.member.as_deref().filter(|member| !member.is_draining())?;
        let rss = rss(self.pid).unwrap_or(0);
        Some(Lived { life: member.life, requests: member.requests(), age: self.born.elapsed(), rss })
    }

    /// For `GET /workers`.
    /// `now` is the pool's clock.
    pub fn report(&self, spec: &PoolSpec, slot: u32, now: Duration) -> SlotReport {
        let member = self.member.as_deref();
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
            rss_bytes: rss(self.pid).unwrap_or(0),
            age_seconds: self.born.elapsed().as_secs_f64(),
            ejected_seconds: member.map_or(0.0, |member| member.record.ejected_for(now).as_secs_f64()),
            starts: self.starts,
            last_exit: self.last_exit.as_ref().map(|(how, _)| how.clone()),
            last_exit_reason: self.last_exit.as_ref().map(|(_, why)| why.as_str()),
            stdout: self.stdout.lines(),
            stderr: self.tail.lines(),
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

/// Resident memory of a process in bytes.
fn rss(pid: u32) -> Option<u64> {
    if pid == 0 {
        return None;
    }
    resident(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

/// The line `VmRSS:      1234 kB` of proc_pid_status(5).
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_told_as_the_launcher_tells_it() {
        assert_eq!(describe(ExitStatus::from_raw(9)), "killed by signal 9");
        assert_eq!(describe(ExitStatus::from_raw(3 << 8)), "exited with status 3");
    }

    #[test]
    fn resident_memory_is_read_where_there_is_some() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t1\n"), Some(1234 * 1024));
        assert_eq!(resident("Name:\tkthreadd\n"), None);
        assert!(rss(std::process::id()).is_some_and(|bytes| bytes > 100_000));
    }
}
