//! The log: lines as oslo.log and eventlet write them, made where things happen and written by one thread.
//!
//! ```text
//! tracing event ─▶ [LogLayer] ─┐
//!                              ├─▶ LineFormat ─▶ Writer (bounded) ─▶ log thread ─▶ file, stderr, syslog
//! request done ──▶ [AccessLog] ┘   one buffer     never waits
//! ```
//!
//! See [`LogLayer`] and [`AccessLog`] for the two ways in, [`Destination`] for the ways out.
//!
//! An event's target is its logger (`target: "nova.wsgi"`). These fields of an event have a meaning of their own; all
//! others are printed behind the message as ` key=value`:
//!
//! | field | |
//! |---|---|
//! | `logger` | the logger's name, where it is not known at compile time (`nova.<api>.wsgi.server`) |
//! | `process` | the pid to print instead of the front's: a line on behalf of a worker |
//! | `critical = true` | an ERROR that ends the program: CRITICAL |
//! | `audit = true` | an INFO of the level AUDIT (Nova up to 2014.2) |
//! | `instance` | printed as `[instance: …] ` |
//! | `request_id` | the line belongs to a request: `logging_context_format_string` holds, and fields like `user`, `project`, `global_request_id` are its context |
//!
//! Must not know the configuration's files, requests or workers.

mod access;
mod access_log;
mod destination;
mod layer;
mod level;
mod line;
mod number;
mod oslo_format;
mod percent;
mod record;
mod spec;
mod stamp;
mod template;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fmt, io};

use arc_swap::ArcSwap;
use tracing_subscriber::layer::SubscriberExt;

pub use access::{AccessFormat, AccessRecord};
pub use access_log::{AccessLog, AccessStyle};
pub use destination::{Destination, facility_named};
pub use layer::LogLayer;
pub use level::{Levels, level_named};
pub use oslo_format::Formats;
pub use percent::FormatError;
pub use template::Template;

use destination::Sink;
use line::LineFormat;
use oslo_format::OsloFormat;
use stamp::{DateFormat, Stamp};
use writer::Writer;

/// What the log shall be. All of it can change while the front runs.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Text or JSON (`log_format`, `use_json`).
    pub style: LogStyle,
    /// How text lines look; of these JSON needs only the date.
    pub formats: Formats,
    /// Events go by their targets, also those that name a logger of the original's.
    pub own_names: bool,
    /// Which events are logged.
    pub levels: Levels,
    /// Where to; every line goes to all of them.
    pub destinations: Vec<Destination>,
}

/// What a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogStyle {
    /// Text as oslo.log formats it.
    #[default]
    Oslo,
    /// One JSON object.
    Json,
}

/// The log cannot be as the configuration wants it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A format string.
    #[error("{option}: {error}")]
    Format {
        /// The option with the format.
        option: &'static str,
        /// What is wrong with it.
        error: FormatError,
    },
    /// A destination.
    #[error("cannot open {path}: {error}")]
    Open {
        /// The file or socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The log thread.
    #[error("cannot start the log thread: {0}")]
    Thread(io::Error),
}

impl LogConfig {
    /// Compiles the formats and opens the destinations: everything about a new configuration that can fail.
    ///
    /// # Errors
    /// A format that cannot be used, a file that cannot be opened.
    pub fn prepare(&self) -> Result<PreparedLog, LogError> {
        let (date, format) = self.compile()?;
        let sinks = self.destinations.iter().map(|to| Sink::open(to).map_err(|error| unopened(to, error)));
        let sinks = sinks.collect::<Result<_, _>>()?;
        let stamp = Mutex::new(Stamp::new(date.clone()));
        let (own_names, levels) = (self.own_names, self.levels.clone());
        Ok(PreparedLog { active: Arc::new(Active { format, own_names, levels, date, stamp }), sinks })
    }

    /// Whether the formats can be used.
    ///
    /// # Errors
    /// One that cannot.
    pub fn check_formats(&self) -> Result<(), LogError> {
        self.compile().map(drop)
    }

    /// Whether the destinations can be opened, as far as that can be told without doing it.
    ///
    /// # Errors
    /// A file that cannot.
    pub fn check_destinations(&self) -> Result<(), LogError> {
        self.destinations.iter().try_for_each(|to| to.check().map_err(|error| unopened(to, error)))
    }

    fn compile(&self) -> Result<(DateFormat, LineFormat), LogError> {
        let at = |option| move |error| LogError::Format { option, error };
        let date = DateFormat::compile(&self.formats.date).map_err(at("log_date_format"))?;
        let format = match self.style {
            LogStyle::Json => LineFormat::Json,
            LogStyle::Oslo => LineFormat::Oslo(
                OsloFormat::compile(&self.formats).map_err(|(option, error)| LogError::Format { option, error })?,
            ),
        };
        Ok((date, format))
    }
}

fn unopened(to: &Destination, error: io::Error) -> LogError {
    let path = match to {
        Destination::File(path) => path.clone(),
        _ => "/dev/log".into(),
    };
    LogError::Open { path, error }
}

/// A configuration of the log that can be put into force without failing.
pub struct PreparedLog {
    active: Arc<Active>,
    sinks: Vec<Sink>,
}

impl fmt::Debug for PreparedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedLog").field("sinks", &self.sinks).finish_non_exhaustive()
    }
}

/// The configuration in force.
struct Active {
    format: LineFormat,
    own_names: bool,
    levels: Levels,
    date: DateFormat,
    /// For events; every access log has its own.
    stamp: Mutex<Stamp>,
}

/// The log of this process; cheap to clone.
#[derive(Clone)]
pub struct Log {
    active: Arc<ArcSwap<Active>>,
    writer: Writer,
}

impl Log {
    /// Opens the destinations and starts the log thread.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn start(config: &LogConfig) -> Result<Self, LogError> {
        let PreparedLog { active, sinks } = config.prepare()?;
        let writer = Writer::start(sinks).map_err(LogError::Thread)?;
        Ok(Self { active: Arc::new(ArcSwap::new(active)), writer })
    }

    /// What makes lines of `tracing`'s events.
    pub fn layer(&self) -> LogLayer {
        LogLayer::new(Arc::clone(&self.active), self.writer.clone())
    }

    /// Makes this the log of the process. Only the first call in a process has an effect.
    ///
    /// # Errors
    /// There is one already.
    pub fn install(&self) -> Result<(), tracing::subscriber::SetGlobalDefaultError> {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(self.layer()))
    }

    /// An access log for one data thread.
    pub fn access(&self) -> AccessLog {
        AccessLog::new(Arc::clone(&self.active), self.writer.clone())
    }

    /// Puts a prepared configuration into force; cannot fail.
    pub fn apply(&self, prepared: PreparedLog) {
        self.active.store(prepared.active);
        self.writer.redirect(prepared.sinks);
        // Call sites remember whether they are wanted.
        tracing::callsite::rebuild_interest_cache();
    }

    /// Prepares and applies in one step.
    ///
    /// # Errors
    /// See [`LogError`]; then nothing has changed.
    pub fn reconfigure(&self, config: &LogConfig) -> Result<(), LogError> {
        self.apply(config.prepare()?);
        Ok(())
    }

    /// Lines that did not reach a destination, since the start: the queue or the disk was full.
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// Waits until all lines logged so far are written; `false` when that took longer than `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.writer.flush(timeout)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("writer", &self.writer).finish_non_exhaustive()
    }
}
