//! What the outside (admin listener, signals, watcher) may ask of the daemon, and what it answers.
//!
//! Must not know who asks or how the answer travels; the reports are what `--format json` and the admin API show.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::id::{ApiName, Generation};
use crate::message::Diagnostic;

/// The way to the daemon; cheap to clone.
pub type Commands = mpsc::Sender<Command>;

/// Something to do or to tell. Each carries the channel for its answer; a dropped channel is no error.
#[derive(Debug)]
pub enum Command {
    /// Load the files again.
    Reload {
        /// Who asks.
        source: Source,
        /// The asking peer, for the log: a uid or an address.
        peer: Option<String>,
        /// Only say what would change.
        dry_run: bool,
        /// How the new generation is tried.
        terms: Terms,
        /// The verdict, when there is one.
        reply: oneshot::Sender<ReloadReport>,
    },
    /// Tell how things stand.
    Status(oneshot::Sender<StatusReport>),
    /// The live tree, as `tree --format json` prints it.
    Tree(oneshot::Sender<Value>),
    /// Effective options, secrets redacted.
    Config(oneshot::Sender<Value>),
    /// The slots and who lives in them.
    Workers(oneshot::Sender<Vec<SlotReport>>),
    /// The generations that are remembered, newest first.
    Generations(oneshot::Sender<Vec<GenerationReport>>),
    /// Tell one of them.
    Generation {
        /// Which.
        generation: u64,
        /// `None`: it is not remembered.
        reply: oneshot::Sender<Option<GenerationFiles>>,
    },
    /// Tell what a file held when a generation was made from it.
    File {
        /// Which generation.
        generation: u64,
        /// As it is told in [`FileReport`].
        path: String,
        /// `None`: there is no such generation, or none of its files has this name.
        reply: oneshot::Sender<Option<Bytes>>,
    },
    /// The generation on trial is to stay; a canary is to serve all requests.
    Confirm {
        /// Which; `None` = whichever is on trial.
        generation: Option<u64>,
        /// The asking peer.
        peer: Option<String>,
        /// At once.
        reply: oneshot::Sender<Result<TrialReport, NotOnTrial>>,
    },
    /// What an earlier generation was made from is to run again.
    Rollback {
        /// Which; `None` = the one before.
        generation: Option<u64>,
        /// The asking peer.
        peer: Option<String>,
        /// The verdict.
        reply: oneshot::Sender<ReloadReport>,
    },
    /// Workers are to be replaced, one after the other, each by one that serves already.
    Restart {
        /// Whose.
        api: String,
        /// Only this one.
        slot: Option<u32>,
        /// The asking peer.
        peer: Option<String>,
        /// When it is done.
        reply: oneshot::Sender<Result<RestartReport, NoSuchWorker>>,
    },
    /// The program is to be started again, and to take this front's place when it is ready.
    Upgrade {
        /// The asking peer.
        peer: Option<String>,
        /// The verdict.
        reply: oneshot::Sender<UpgradeReport>,
    },
    /// The front is to stop as at SIGTERM.
    Drain {
        /// The asking peer.
        peer: Option<String>,
        /// At once.
        reply: oneshot::Sender<StatusReport>,
    },
    /// Tell what happens from now on; `None` when too many listen.
    Events(oneshot::Sender<Option<mpsc::Receiver<Event>>>),
}

/// How a new generation is tried; what is not said here, the options say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Within this time it must be confirmed; zero: it need not be.
    pub confirm: Option<Duration>,
    /// Of a hundred requests so many try it; 0: all get it at once.
    pub canary: Option<u8>,
}

/// Something that happened, for `GET /events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `reload`, `generation`, `worker`, `trial`, `ping`.
    pub kind: &'static str,
    /// JSON, on one line.
    pub data: Arc<str>,
}

/// Why workers cannot be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoSuchWorker(pub String);

/// Why nothing can be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotOnTrial(pub String);

/// Who wanted a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The first load.
    Start,
    /// A file changed.
    Watch,
    /// `POST /reload`, `pasteway reload`.
    Admin,
    /// SIGHUP.
    Signal,
    /// The front before this one was replaced by it.
    Upgrade,
    /// `POST /rollback`, `pasteway rollback`, or a trial that failed.
    Rollback,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Watch => "watch",
            Self::Admin => "admin",
            Self::Signal => "signal",
            Self::Upgrade => "upgrade",
            Self::Rollback => "rollback",
        })
    }
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A new generation serves.
    Applied,
    /// The files say what runs already.
    Unchanged,
    /// The files cannot be loaded, or the new generation did not become ready; the old one serves on.
    Rejected,
    /// It was applied, failed its trial and was taken back.
    RolledBack,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected => "rejected",
            Self::RolledBack => "rolled_back",
        })
    }
}

/// The verdict on a reload.
#[derive(Clone, Debug, Serialize)]
pub struct ReloadReport {
    /// How it ended.
    pub outcome: Outcome,
    /// The generation that serves now.
    pub generation: Generation,
    /// The one that served before.
    pub previous: Generation,
    /// From the first read to the verdict.
    pub took_ms: u64,
    /// Whether nothing was applied because nothing was to be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What came of it, where the outcome alone would say something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What differs between the two.
    pub changes: Vec<Change>,
    /// Of a dry run that would start workers beside the old ones: the resident memory of those now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_memory_bytes: Option<u64>,
    /// What was found in the files.
    pub diagnostics: Vec<Diagnostic>,
    /// How the new generation is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialReport>,
}

/// A generation on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialReport {
    /// Which.
    pub generation: u64,
    /// What runs again if it fails.
    pub back: u64,
    /// So much time is left to confirm it; `None` = any.
    pub confirm_seconds: Option<u64>,
    /// Which requests it gets: `10 % of the requests`; `None` = all.
    pub canary: Option<String>,
    /// It has failed, and what keeps the one before from running again; that is tried until it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_go_back: Option<String>,
}

/// What a change has to do to the running front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Front only: a pointer store.
    Live,
    /// New workers beside the old.
    Rolling,
    /// A listener appears, moves or goes.
    Rebind,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Live => "live",
            Self::Rolling => "rolling",
            Self::Rebind => "rebind",
        })
    }
}

/// One difference between two generations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it takes.
    pub class: Class,
    /// What it is about: an option, a section, an API.
    pub what: String,
    /// Before; `None` when it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// After; `None` when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Where the new text stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Line in `file`, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// `GET /status`.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// Of this build.
    pub version: &'static str,
    /// Of the front.
    pub pid: u32,
    /// Since the start.
    pub uptime_seconds: f64,
    /// The one that serves.
    pub generation: Generation,
    /// Reasons why `/ready` says 503; empty = ready.
    pub not_ready: Vec<String>,
    /// Reasons why `/live` says 503; empty = alive.
    pub not_live: Vec<String>,
    /// In the order of `enabled_apis`.
    pub apis: Vec<ApiReport>,
    /// Whether the files on disk differ from what runs.
    pub config_file_differs: bool,
    /// Why.
    pub config_file_differs_because: Option<String>,
    /// The generation on trial.
    pub trial: Option<TrialReport>,
    /// Requests that are being answered.
    pub in_flight: u64,
    /// Connections of clients.
    pub connections: usize,
    /// The newest verdict; `None` before the first reload.
    pub last_reload: Option<LastReload>,
    /// The newest upgrade that was tried, also the one by which this front came.
    pub last_upgrade: Option<UpgradeReport>,
    /// The front that this one has replaced, until it is gone.
    pub predecessor: Option<PredecessorReport>,
    /// `serving`, `upgrading`, `draining`.
    pub state: &'static str,
}

/// One API in [`StatusReport`].
#[derive(Clone, Debug, Serialize)]
pub struct ApiReport {
    /// Its name.
    pub name: ApiName,
    /// The address that it listens on, with the real port.
    pub listen: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Workers that take requests.
    pub workers_serving: usize,
    /// Workers that it should have.
    pub workers_wanted: usize,
    /// Requests waiting for a worker.
    pub queued: usize,
}

/// The newest reload in [`StatusReport`].
#[derive(Clone, Debug, Serialize)]
pub struct LastReload {
    /// How it ended.
    pub outcome: Outcome,
    /// Who wanted it.
    pub source: Source,
    /// When, in seconds since 1970.
    pub when: f64,
    /// How long it took.
    pub took_ms: u64,
    /// Why it was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was found in the files.
    pub diagnostics: Vec<Diagnostic>,
}

/// What became of workers that were to be replaced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestartReport {
    /// Whose.
    pub api: String,
    /// Slots with a new worker.
    pub restarted: Vec<u32>,
    /// Slots whose new worker did not become ready, and why; the old one serves on.
    pub failed: Vec<(u32, String)>,
}

/// How an upgrade ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeOutcome {
    /// Another process serves now.
    Upgraded,
    /// It did not become ready; the old one serves on.
    Failed,
    /// It was not tried.
    Refused,
}

/// The verdict on an upgrade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpgradeReport {
    /// How it ended.
    pub outcome: UpgradeOutcome,
    /// The process that serves now.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The process that served before.
    pub previous_pid: u32,
    /// Its version.
    pub previous_version: String,
    /// When it was asked for, in seconds since 1970.
    pub when: f64,
    /// From then to the verdict.
    pub took_ms: u64,
    /// Why it failed or was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The front that this one has replaced, while it still serves what began on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredecessorReport {
    /// Its process.
    pub pid: u32,
    /// Requests that it is answering.
    pub in_flight: u64,
    /// Connections of clients that it has.
    pub connections: usize,
}

/// One slot in `GET /workers`; `pid` and what follows are of the life in it.
#[derive(Clone, Debug, Serialize)]
pub struct SlotReport {
    /// Whose slot.
    pub api: ApiName,
    /// From 0.
    pub slot: u32,
    /// `starting`, `serving`, `draining`, `backoff`, `stopped`.
    pub state: &'static str,
    /// `python`, `builtin`, `external`.
    pub kind: &'static str,
    /// The interpreter's version, of a Python worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// 0 for a worker that something else runs, or when none lives.
    pub pid: u32,
    /// The generation whose files it reads.
    pub generation: Generation,
    /// Requests on it now.
    pub in_flight: usize,
    /// Requests since its start.
    pub requests: u64,
    /// Resident memory; 0 when not known.
    pub rss_bytes: u64,
    /// Since it was started.
    pub age_seconds: f64,
    /// For how long it gets no requests, because it failed several in a row; 0 = it gets some.
    pub ejected_seconds: f64,
    /// Lives that this slot has had.
    pub starts: u64,
    /// How the life before ended: `exited with status 1`, `killed by signal 9`.
    pub last_exit: Option<String>,
    /// Why, in one of the words of `worker_exits_total`.
    pub last_exit_reason: Option<&'static str>,
    /// The last lines that it wrote to its standard output.
    pub stdout: Vec<String>,
    /// The same for its standard error.
    pub stderr: Vec<String>,
}

/// One generation in `GET /generations`.
#[derive(Clone, Debug, Serialize)]
pub struct GenerationReport {
    /// Its number.
    pub generation: Generation,
    /// Over all files that it was made from, hex.
    pub sha256: String,
    /// When it was swapped in, or came as a canary that was not promoted, in seconds since 1970.
    pub when: f64,
    /// Who wanted it.
    pub source: Source,
    /// The asking peer.
    pub peer: Option<String>,
    /// Against the one before.
    pub changes: Vec<Change>,
    /// Requests that it serves now.
    pub in_flight: u64,
    /// Age of its oldest request.
    pub oldest_request_seconds: Option<f64>,
    /// Its oldest requests, the oldest first: who holds it.
    pub holders: Vec<HolderReport>,
    /// Requests that were ended at its deadline.
    pub ended: u64,
    /// Requests that it has answered.
    pub answers: u64,
    /// Those of them with a status from 500 on.
    pub errors: u64,
    /// 99 of 100 took no longer.
    pub p99_seconds: f64,
    /// Why it was taken back; the same files are not loaded again by themselves.
    pub undone: Option<String>,
    /// It should be taken back, and what keeps the one before from running again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cannot_go_back: Option<String>,
    /// `live`, `canary`, `standby` (kept until the next one is confirmed), `draining`, `retired`.
    pub state: &'static str,
}

/// `GET /generations/N`.
#[derive(Clone, Debug, Serialize)]
pub struct GenerationFiles {
    /// As in the list.
    #[serde(flatten)]
    pub generation: GenerationReport,
    /// What it was made from, in the order in which it was read.
    pub files: Vec<FileReport>,
}

/// A file that a generation was made from. What it held is kept with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// As it was found.
    pub path: String,
    /// Over what it held, hex.
    pub sha256: String,
    /// How much that was.
    pub bytes: u64,
}

/// A request that holds a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HolderReport {
    /// The other end of its connection.
    pub peer: String,
    /// The API that it is for.
    pub api: String,
    /// Its method.
    pub method: String,
    /// Since its head was read.
    pub age_seconds: f64,
    /// Its client has gone away; a worker is still at it.
    pub client_gone: bool,
}
