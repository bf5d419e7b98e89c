//! A generation as the daemon holds it: what runs, what it was made from, and who still uses it.
//!
//! Must not know how one is made or ended.

use std::rc::Rc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::command::{Change, FileReport, GenerationFiles, GenerationReport, HolderReport, Source};
use crate::compile::Plan;
use crate::config::Frozen;
use crate::id::{Generation, hex};
use crate::proxy::listener::Listener;
use crate::proxy::usage::Usage;
use crate::worker::StartedPool;

/// Where a generation is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// New requests begin with it.
    Live,
    /// Some of them do.
    Canary,
    /// None does; its workers are kept until the one after it is confirmed.
    Standby,
    /// Requests that began with it are still in flight.
    Draining,
    /// Nobody uses it.
    Retired,
}

impl State {
    /// All of them; a record holds an index of this.
    pub const ALL: [Self; 5] = [Self::Live, Self::Canary, Self::Standby, Self::Draining, Self::Retired];

    /// The word in reports and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Canary => "canary",
            Self::Standby => "standby",
            Self::Draining => "draining",
            Self::Retired => "retired",
        }
    }
}

/// What runs while it lives; dropped when it is retired.
pub struct Running {
    /// The compiled configuration.
    pub plan: Plan,
    /// In the order of `plan.apis`.
    pub listeners: Vec<Arc<Listener>>,
    /// In the order of `plan.apis`.
    pub pools: Vec<Rc<PoolInUse>>,
}

/// A pool, and the generation whose files its workers read. Every generation that uses it holds it.
pub struct PoolInUse {
    /// The workers.
    pub pool: StartedPool,
    /// See [`ApiPlan::digest`](crate::compile::ApiPlan).
    pub digest: [u8; 32],
    /// The generation that started it: its directory stays as long as the pool.
    pub born: Generation,
}

/// A generation that was live once, or on its way there.
pub struct Record {
    /// Its number.
    pub number: Generation,
    /// The one whose files it was made from again; its own number, but for those that a way back made.
    pub text_of: Generation,
    /// Over all files that it was made from.
    pub digest: [u8; 32],
    /// When it came, in seconds since 1970.
    pub when: f64,
    /// When it came into force for all requests; never, for a canary that was not promoted.
    pub live_since: OnceLock<f64>,
    /// Who wanted it.
    pub source: Source,
    /// The asking peer.
    pub peer: Option<String>,
    /// Against the one before.
    pub changes: Vec<Change>,
    /// Who still uses it.
    pub usage: Arc<Usage>,
    /// Where it is in its life.
    pub state: AtomicU8,
    /// All that it was made from.
    pub frozen: Frozen,
    /// Requests that were ended at its deadline.
    pub ended: AtomicU64,
    /// Why it was taken back.
    pub undone: Mutex<Option<String>>,
}

impl Record {
    /// Where it is in its life.
    pub fn state(&self) -> State {
        State::ALL.get(usize::from(self.state.load(Ordering::Relaxed))).copied().unwrap_or(State::Retired)
    }

    /// It has come to this.
    pub fn enter(&self, state: State) {
        if state == State::Live {
            self.live_since.get_or_init(now);
        }
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Whether what follows is measured by how its requests went.
    pub fn is_a_standard(&self) -> bool {
        self.live_since.get().is_some() && self.undone().is_none()
    }

    /// Why it was taken back, if it was.
    pub fn undone(&self) -> Option<String> {
        self.undone.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It is taken back.
    pub fn undo(&self, why: &str) {
        *self.undone.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// For `GET /generations/N`.
    pub fn report_with_files(&self) -> GenerationFiles {
        let files = self.frozen.sources().map(|file| FileReport {
            path: file.path.display().to_string(),
            sha256: hex(&file.digest),
            bytes: file.bytes.len() as u64,
        });
        GenerationFiles { generation: self.report(), files: files.collect() }
    }

    /// What a file held that it was made from.
    pub fn file(&self, path: &str) -> Option<Bytes> {
        let file = self.frozen.sources().find(|file| file.path.display().to_string() == path)?;
        Some(Bytes::copy_from_slice(&file.bytes))
    }

    /// For `GET /generations`.
    pub fn report(&self) -> GenerationReport {
        let tallied = self.usage.tallied();
        let holders = self.usage.holders().into_iter().map(|holder| HolderReport {
            peer: holder.peer.to_string(),
            api: holder.api.to_string(),
            method: holder.method.to_owned(),
            age_seconds: holder.began.elapsed().as_secs_f64(),
            client_gone: holder.client_gone,
        });
        let oldest = self.usage.oldest_ms().map(|ms| (now() - ms as f64 / 1000.0).max(0.0));
        GenerationReport {
            generation: self.number,
            sha256: hex(&self.digest),
            when: self.live_since.get().copied().unwrap_or(self.when),
            source: self.source,
            peer: self.peer.clone(),
            changes: self.changes.clone(),
            in_flight: self.usage.in_flight(),
            oldest_request_seconds: oldest,
            holders: holders.collect(),
            ended: self.ended.load(Ordering::Relaxed),
            answers: tallied.answers,
            errors: tallied.errors,
            p99_seconds: tallied.p99().as_secs_f64(),
            undone: self.undone(),
            cannot_go_back: None,
            state: self.state().as_str(),
        }
    }
}

/// Who wanted a generation.
#[derive(Clone, Debug)]
pub struct Origin {
    /// In what way.
    pub source: Source,
    /// The asking peer.
    pub peer: Option<String>,
    /// The earlier generation whose files it is made from.
    pub text_of: Option<Generation>,
}

/// The live generation.
#[derive(Clone)]
pub struct Current {
    /// What is remembered of it afterwards.
    pub record: Arc<Record>,
    /// What runs.
    pub running: Rc<Running>,
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
