//! What the outside (admin listener, signals, watcher) may ask of the daemon, and what it answers.
//!
//! Must not know who asks or how the answer travels; the reports are what `--format json` and the admin API show.

use std::fmt;
use std::path::PathBuf;

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
}

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
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Watch => "watch",
            Self::Admin => "admin",
            Self::Signal => "signal",
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
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Rejected => "rejected",
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
    /// What differs between the two.
    pub changes: Vec<Change>,
    /// Of a dry run that would start workers beside the old ones: the resident memory of those now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_memory_bytes: Option<u64>,
    /// What was found in the files.
    pub diagnostics: Vec<Diagnostic>,
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
    /// The newest verdict; `None` before the first reload.
    pub last_reload: Option<LastReload>,
    /// `starting`, `serving`, `draining`.
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
    /// What was found in the files.
    pub diagnostics: Vec<Diagnostic>,
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
    /// When it was swapped in, in seconds since 1970.
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
    /// `live`, `draining`, `retired`.
    pub state: &'static str,
}
