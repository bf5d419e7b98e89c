//! What the client commands read from the front's answers; fields that they do not show are left out.
//!
//! Must not know how it is shown. The front may be of another version: what it does not send is empty.

use serde::Deserialize;

use crate::command::{
    Change, FileReport, HolderReport, Outcome, PredecessorReport, Source, TrialReport, UpgradeReport,
};
use crate::message::Diagnostic;

/// `POST /reload`.
#[derive(Debug, Deserialize)]
pub(super) struct Reload {
    pub(super) outcome: Outcome,
    pub(super) generation: u64,
    pub(super) previous: u64,
    pub(super) took_ms: u64,
    #[serde(default)]
    pub(super) dry_run: bool,
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) changes: Vec<Change>,
    pub(super) extra_memory_bytes: Option<u64>,
    #[serde(default)]
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) trial: Option<TrialReport>,
}

/// `GET /status`.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) uptime_seconds: f64,
    pub(super) generation: u64,
    pub(super) state: String,
    #[serde(default)]
    pub(super) not_ready: Vec<String>,
    #[serde(default)]
    pub(super) not_live: Vec<String>,
    #[serde(default)]
    pub(super) apis: Vec<Api>,
    #[serde(default)]
    pub(super) config_file_differs: bool,
    pub(super) config_file_differs_because: Option<String>,
    pub(super) trial: Option<TrialReport>,
    #[serde(default)]
    pub(super) in_flight: u64,
    #[serde(default)]
    pub(super) connections: usize,
    pub(super) last_reload: Option<LastReload>,
    pub(super) last_upgrade: Option<UpgradeReport>,
    pub(super) predecessor: Option<PredecessorReport>,
}

/// One API of [`Status`].
#[derive(Debug, Deserialize)]
pub(super) struct Api {
    pub(super) name: String,
    pub(super) listen: String,
    #[serde(default)]
    pub(super) tls: bool,
    pub(super) workers_serving: usize,
    pub(super) workers_wanted: usize,
    pub(super) queued: usize,
}

/// The newest reload of [`Status`].
#[derive(Debug, Deserialize)]
pub(super) struct LastReload {
    pub(super) outcome: Outcome,
    pub(super) source: Source,
    pub(super) when: f64,
    pub(super) took_ms: u64,
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// One slot of `GET /workers`.
#[derive(Debug, Deserialize)]
pub(super) struct Slot {
    pub(super) api: String,
    pub(super) slot: u32,
    pub(super) state: String,
    pub(super) kind: String,
    pub(super) pid: u32,
    pub(super) generation: u64,
    pub(super) in_flight: usize,
    pub(super) requests: u64,
    pub(super) rss_bytes: u64,
    pub(super) age_seconds: f64,
    #[serde(default)]
    pub(super) ejected_seconds: f64,
    pub(super) starts: u64,
    pub(super) python: Option<String>,
    pub(super) last_exit: Option<String>,
    #[serde(default)]
    pub(super) stderr: Vec<String>,
}

/// One of `GET /generations`.
#[derive(Debug, Deserialize)]
pub(super) struct Generation {
    pub(super) generation: u64,
    pub(super) sha256: String,
    pub(super) when: f64,
    pub(super) source: Source,
    pub(super) peer: Option<String>,
    #[serde(default)]
    pub(super) changes: Vec<Change>,
    pub(super) in_flight: u64,
    pub(super) oldest_request_seconds: Option<f64>,
    #[serde(default)]
    pub(super) holders: Vec<HolderReport>,
    pub(super) undone: Option<String>,
    pub(super) cannot_go_back: Option<String>,
    pub(super) state: String,
}

/// `GET /generations/N`.
#[derive(Debug, Deserialize)]
pub(super) struct GenerationFiles {
    #[serde(flatten)]
    pub(super) generation: Generation,
    #[serde(default)]
    pub(super) files: Vec<FileReport>,
}
