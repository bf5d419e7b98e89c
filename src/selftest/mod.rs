//! `pasteway selftest reload`: a scratch instance of this same executable under an open-loop load, while its files are
//! edited in every way in which editors, scripts and volumes do it.
//!
//! ```text
//! scratch (the instance, its files) ◀─ drive (edit, wait for the verdict, compare) ─▶ report
//!        ▲                               │ files (what they say) ─▶ save (how it is written)
//!        │                               ▼
//!        └──── load (own thread) ◀── stage (windows, addresses, counters)
//!               pace ─▶ kind ─▶ client ─▶ tally
//! ```
//!
//! - [`pace`]: requests are due at a fixed rate whatever the answers do, and latencies count from then.
//! - [`drive`]: one edit at a time; it ends when the instance has told its verdict, which must be the one expected.
//! - [`tally`]: what became of the requests, inside and outside of the windows in which an edit was under way.
//!
//! Knows the instance only from outside, as an operator's client does: its files, ports, admin socket and process id.

mod admin;
mod client;
mod drive;
mod files;
mod load;
mod pace;
mod report;
mod save;
mod scratch;
mod stage;
mod tally;
mod upload;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use report::{EditRow, Latency, Report, RequestRow};
pub use save::Save;

use drive::Driver;
use scratch::Scratch;
use stage::Stage;

/// What is asked of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Requests per second.
    pub rate: u32,
    /// Reloads that are to be applied.
    pub reloads: u32,
    /// How long the load lasts at least; the reloads are spread over it.
    pub seconds: u32,
    /// Decides the order of the edits.
    pub seed: u64,
}

impl Task {
    /// Requests that are to be made.
    pub fn requests(&self) -> u64 {
        u64::from(self.rate) * u64::from(self.seconds)
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Since the load began.
    pub elapsed: Duration,
    /// Requests that have ended.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Reloads that were applied.
    pub reloads: u32,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The machine: no directory, no process, no thread.
    #[error("{0}")]
    Machine(#[from] io::Error),
    /// The instance did not start, or ended.
    #[error("{what}{}", last_words(.log))]
    Instance {
        /// What happened.
        what: String,
        /// The end of its log.
        log: String,
    },
    /// SIGINT or SIGTERM came.
    #[error("interrupted")]
    Interrupted,
}

fn last_words(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; its last words:\n{log}") }
}

/// Makes the run. The instance and its directory are gone when this returns, whatever happened.
///
/// # Errors
/// When there is nothing to report on. Lost requests and wrong outcomes are no error here: the report has them.
pub fn reload(task: Task, progress: &dyn Fn(Progress)) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupted = std::pin::pin!(interrupted()?);
        let mut scratch = Scratch::new(task.seed)?;
        let run = async {
            scratch.start().await?;
            run(task, &mut scratch, progress).await
        };
        let result = tokio::select! {
            result = run => result,
            () = &mut interrupted => Err(Failure::Interrupted),
        };
        let stopped = scratch.stop().await;
        let mut report = result?;
        report.note_end(stopped);
        Ok(report)
    })
}

async fn run(task: Task, scratch: &mut Scratch, progress: &dyn Fn(Progress)) -> Result<Report, Failure> {
    let stage = Arc::new(Stage::new(scratch.addresses().await?));
    let begun = Instant::now();
    // Ends the load when this future is dropped too: nobody else would.
    let _ends = stage.ends();
    let load = load::start(Arc::clone(&stage), task.rate)?;
    let edits = Driver::new(task, scratch, &stage).await?.run(progress, begun).await?;
    stage.finish(task.requests());
    let tally = load.ended(&stage, begun, progress, edits.applied()).await?;
    Ok(Report::new(task, begun.elapsed(), tally, edits))
}

/// Completes at the first SIGINT or SIGTERM.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
