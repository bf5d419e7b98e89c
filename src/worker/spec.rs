//! What a pool of workers is to be, and why it may not come to be.
//!
//! Must not know how workers are run.

use std::path::PathBuf;
use std::time::Duration;

use crate::balance::Balance;
use crate::id::{ApiName, Generation, SlotId};
use crate::release::Release;
use crate::worker::line::CommandLine;
use crate::worker::probe::Tongue;
use crate::worker::recycle::Recycling;
use crate::worker::spawn::WATCHDOG;
use crate::worker::state::Limits;

/// Who runs the workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The front, from its own binary.
    Builtin,
    /// The front, by an interpreter that runs the host ([`crate::worker::host`]).
    Python {
        /// The interpreter; no link is followed, for a virtualenv is found by this path.
        interpreter: PathBuf,
        /// Its version, for reports.
        version: String,
        /// The host's file.
        host: PathBuf,
    },
    /// The front, by a command of the operator's, which serves the whole API.
    Command(CommandLine),
    /// Something else: slot 0 is the first of these Unix sockets.
    External {
        /// Where the workers listen.
        sockets: Vec<PathBuf>,
    },
}

impl Kind {
    /// The value of `worker_kind`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Python { .. } => "python",
            Self::Command(_) => "command",
            Self::External { .. } => "external",
        }
    }
}

/// The wanted workers of one API in one generation: what holds for as long as they live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Whose requests they take.
    pub api: ApiName,
    /// Whose files they read.
    pub generation: Generation,
    /// Who runs them.
    pub kind: Kind,
    /// How many; for [`Kind::External`] the number of sockets counts instead.
    pub count: u32,
    /// Requests that one worker takes at a time (`worker_threads`).
    pub threads: usize,
    /// From the spawn to `READY=1` (`worker_start_timeout`).
    pub start_timeout: Duration,
    /// From one sign of life to the next, after which a worker is killed as hung.
    pub hang_timeout: Duration,
    /// What the workers host: a file with a [`Manifest`](crate::worker::manifest::Manifest).
    pub manifest: PathBuf,
    /// Where sockets are made; nobody else may enter it.
    pub runtime_dir: PathBuf,
    /// The executable of builtin workers; [`OWN_BINARY`] but for tests.
    pub program: PathBuf,
    /// What workers are probed in.
    pub tongue: Tongue,
    /// Method and path that `command` and `external` workers are probed with (`worker_ready_request`).
    pub ready_request: String,
    /// Whose log lines hold.
    pub release: Release,
}

/// What may change while the workers live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Requests that may wait for a worker (`queue_size`).
    pub queue_size: usize,
    /// How long (`queue_timeout`).
    pub queue_timeout: Duration,
    /// How a worker is chosen (`balance`).
    pub balance: Balance,
    /// From SIGTERM to SIGKILL (`worker_stop_timeout`); `None` = a worker may take as long as it needs.
    pub stop_timeout: Option<Duration>,
    /// When a worker has lived long enough.
    pub recycling: Recycling,
    /// How long its requests may take then.
    pub patience: Duration,
    /// The API's address for the log, without a slash at its end: `http://0.0.0.0:8773`.
    pub url: String,
}

/// The binary that runs now, even after a package upgrade replaced the file.
pub const OWN_BINARY: &str = "/proc/self/exe";

/// A worker that said nothing for this long does not count as answering.
pub const HEARTBEAT_LIMIT: Duration = WATCHDOG.saturating_mul(3);

/// The usual [`PoolSpec::hang_timeout`]: far beyond any pause of a worker that is merely slow.
pub const HANG_TIMEOUT: Duration = Duration::from_secs(30);

impl PoolSpec {
    /// How many slots the pool begins with.
    pub fn slots(&self) -> u32 {
        match &self.kind {
            Kind::Builtin | Kind::Python { .. } | Kind::Command(_) => self.count,
            Kind::External { sockets } => sockets.len().try_into().unwrap_or(u32::MAX),
        }
    }

    /// Whether the front starts the workers.
    pub fn is_own(&self) -> bool {
        !matches!(self.kind, Kind::External { .. })
    }

    pub(super) fn slot(&self, index: u32) -> SlotId {
        SlotId { api: self.api.clone(), index }
    }

    pub(super) fn limits(&self, tuning: &Tuning) -> Limits {
        Limits { start: self.start_timeout, stop: tuning.stop_timeout, hang: self.hang_timeout, quiet: HEARTBEAT_LIMIT }
    }
}

/// Why a pool is not ready and never will be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("worker {slot} did not become ready: {reason}")]
pub struct StartError {
    /// The first slot that failed.
    pub slot: SlotId,
    /// What happened to its worker.
    pub reason: String,
    /// The last lines that the worker wrote to its standard error.
    pub stderr: Vec<String>,
}
