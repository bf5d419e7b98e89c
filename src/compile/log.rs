//! The log as nova.conf wants it, in the terms of the telemetry.

use tracing::level_filters::LevelFilter;

use crate::config::oslo::Conf;
use crate::config::settings::{Level, LogFormat, Settings};
use crate::message::Diagnostic;
use crate::telemetry::{Destination, Formats, Levels, LogConfig, LogError, LogStyle, facility_named};

/// The telemetry's configuration from the log options; `program` names the syslog entries.
pub fn config(settings: &Settings, program: &str) -> LogConfig {
    let log = &settings.log;
    let mut destinations = Vec::new();
    destinations.extend(log.file.clone().map(Destination::File));
    destinations.extend(log.stderr.then_some(Destination::Stderr));
    destinations.extend(log.stdout.then_some(Destination::Stdout));
    let facility = log.syslog.as_deref().and_then(facility_named);
    destinations.extend(facility.map(|facility| Destination::Syslog { facility, program: program.to_owned() }));
    let json = log.json || settings.pasteway.log_format == LogFormat::Json;
    LogConfig {
        style: if json { LogStyle::Json } else { LogStyle::Oslo },
        formats: Formats {
            default: log.default_format.clone(),
            context: log.context_format.clone(),
            debug_suffix: log.debug_suffix.clone(),
            user_identity: log.user_identity_format.clone().unwrap_or_default(),
            date: log.date_format.clone(),
        },
        own_names: log.own_names,
        levels: Levels::new(filter(log.level), log.levels.iter().map(|(name, level)| (name.clone(), filter(*level)))),
        destinations,
    }
}

/// Why the log cannot be so, at the option that wants it.
pub fn problem(error: &LogError, conf: &Conf) -> Diagnostic {
    let options: &[&str] = match error {
        LogError::Format { option: "log_date_format", .. } => &["log_date_format"],
        // It stands for both of the two longer ones.
        LogError::Format { option, .. } => &["log_format", option],
        LogError::Open { .. } => &["log_file", "log_dir"],
        LogError::Thread(_) => &[],
    };
    let place = options.iter().find_map(|option| conf.place("DEFAULT", option));
    Diagnostic::error(place.or_else(|| conf.last_file()), error.to_string())
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Debug => LevelFilter::DEBUG,
        Level::Info | Level::Audit => LevelFilter::INFO,
        Level::Warning => LevelFilter::WARN,
        Level::Error | Level::Critical => LevelFilter::ERROR,
    }
}
