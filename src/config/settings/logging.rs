//! Where log lines go, which ones, and how they look (`nova/openstack/common/log.py` to Juno, oslo.log after it).
//!
//! Must not know how a line is written.

use std::path::{Path, PathBuf};

use super::reader::Reader;
use crate::config::options;
use crate::release::Release;

/// How much is logged, in the order of Python's logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Level {
    Debug,
    Info,
    /// Havana's own level above INFO.
    Audit,
    Warning,
    Error,
    Critical,
}

impl Level {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "DEBUG" | "NOTSET" => Self::Debug,
            "INFO" => Self::Info,
            "AUDIT" => Self::Audit,
            "WARN" | "WARNING" => Self::Warning,
            "ERROR" => Self::Error,
            "CRITICAL" | "FATAL" => Self::Critical,
            _ => return None,
        })
    }
}

/// The log of the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Lines below it are not written.
    pub level: Level,
    /// The file, already joined to its directory. It is opened anew when it is moved away.
    pub file: Option<PathBuf>,
    /// Whether lines go to standard error.
    pub stderr: bool,
    /// Whether lines go to standard output, for want of another place.
    pub stdout: bool,
    /// The facility (`LOG_USER`) when lines go to `/dev/log`.
    pub syslog: Option<String>,
    /// Whether oslo.log's JSON is asked for.
    pub json: bool,
    /// strftime's format of `%(asctime)s`.
    pub date_format: String,
    /// Python format of lines that belong to a request.
    pub context_format: String,
    /// Python format of all other lines.
    pub default_format: String,
    /// Appended to the format of DEBUG lines after a blank.
    pub debug_suffix: String,
    /// Python format that stands before each line of a traceback.
    pub exception_prefix: String,
    /// Python format of `%(user_identity)s`; `None` before Kilo.
    pub user_identity_format: Option<String>,
    /// Levels of single loggers, by name.
    pub levels: Vec<(String, Level)>,
    /// Whether all options are logged at DEBUG.
    pub log_options: bool,
    /// What is served is not of Nova's: no line names a logger of Nova's.
    pub own_names: bool,
}

/// Reads them.
pub(super) fn log(read: &mut Reader<'_>) -> LogSettings {
    let release = read.release;
    if read.get::<Option<String>>(&options::LOG_CONFIG_APPEND).is_some() {
        let text = "log_config_append is in a format of Python's: only Python workers read it";
        read.warn(&options::LOG_CONFIG_APPEND, text, "the front logs by log_file, log_dir and debug");
    }
    if read.get::<bool>(&options::USE_JOURNAL) {
        let text = "use_journal is not spoken: systemd's journal takes the lines from standard error";
        read.warn(&options::USE_JOURNAL, text, "set use_stderr = true");
    }
    let given: Option<PathBuf> = read.get(&options::LOG_FILE);
    let file = file(read, given.as_deref());
    let stderr = read.get(&options::USE_STDERR);
    // Until Mitaka a log_dir alone does not keep lines off standard output.
    let elsewhere = if release >= Release::OCATA { file.is_some() } else { given.is_some() };
    let facility: String = read.get(&options::SYSLOG_LOG_FACILITY);
    let format: Option<String> = read.get(&options::LOG_FORMAT);
    LogSettings {
        level: level(read),
        file,
        stderr,
        stdout: !stderr && !elsewhere,
        syslog: read.get::<bool>(&options::USE_SYSLOG).then_some(facility),
        json: read.get(&options::USE_JSON),
        date_format: read.get(&options::LOG_DATE_FORMAT),
        context_format: match &format {
            Some(format) => format.clone(),
            None => read.get(&options::LOGGING_CONTEXT_FORMAT_STRING),
        },
        default_format: match format {
            Some(format) => format,
            None => read.get(&options::LOGGING_DEFAULT_FORMAT_STRING),
        },
        debug_suffix: read.get(&options::LOGGING_DEBUG_FORMAT_SUFFIX),
        exception_prefix: read.get(&options::LOGGING_EXCEPTION_PREFIX),
        user_identity_format: read.get(&options::LOGGING_USER_IDENTITY_FORMAT),
        levels: levels(read),
        log_options: read.get(&options::LOG_OPTIONS),
        own_names: false,
    }
}

fn level(read: &mut Reader<'_>) -> Level {
    match (read.get(&options::DEBUG), read.get(&options::VERBOSE)) {
        (true, _) => Level::Debug,
        (_, true) => Level::Info,
        _ => Level::Warning,
    }
}

/// An absolute log_file stands for itself; a log_dir alone holds a file of the program's name.
fn file(read: &mut Reader<'_>, file: Option<&Path>) -> Option<PathBuf> {
    let dir: Option<PathBuf> = read.get(&options::LOG_DIR);
    match (file, dir) {
        (Some(file), dir) => Some(dir.unwrap_or_default().join(file)),
        (None, Some(dir)) => Some(dir.join(format!("{}.log", read.conf.program()))),
        (None, None) => None,
    }
}

fn levels(read: &mut Reader<'_>) -> Vec<(String, Level)> {
    let mut levels = Vec::new();
    for pair in read.items(&options::DEFAULT_LOG_LEVELS) {
        match pair.split_once('=').and_then(|(name, level)| Some((name.to_owned(), Level::parse(level)?))) {
            Some(pair) => levels.push(pair),
            None => {
                let text = format!("default_log_levels: `{pair}` is no logger and level");
                read.error(&options::DEFAULT_LOG_LEVELS, text, "write `name=WARN`");
            }
        }
    }
    levels
}
