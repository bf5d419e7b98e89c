//! From `tracing`'s events to lines.
//!
//! Must not know who emits them; the fields with a meaning are listed in [`super`].

use std::fmt::{self, Debug};
use std::sync::{Arc, PoisonError};

use arc_swap::ArcSwap;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::oslo_format::CONTEXT;
use super::record::{Record, Severity};
use super::writer::Writer;
use super::{Active, stamp};

/// Prints events; made by [`super::Log::layer`].
pub struct LogLayer {
    active: Arc<ArcSwap<Active>>,
    writer: Writer,
}

impl LogLayer {
    pub(super) fn new(active: Arc<ArcSwap<Active>>, writer: Writer) -> Self {
        Self { active, writer }
    }
}

impl Debug for LogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLayer").finish_non_exhaustive()
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // Where the event itself names its logger, only the event can tell.
        let logger_is_a_field = metadata.fields().field("logger").is_some();
        let active = self.active.load();
        metadata.is_event() && (logger_is_a_field || active.levels.allow(metadata.target(), *metadata.level()))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.active.load().levels.most())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let active = self.active.load();
        let mut seen = Seen::default();
        event.record(&mut seen);
        let named = seen.logger.as_deref().filter(|_| !active.own_names);
        let name = named.unwrap_or(metadata.target());
        if seen.logger.is_some() && !active.levels.allow(name, *metadata.level()) {
            return;
        }
        let now = stamp::now();
        let asctime = active.stamp.lock().unwrap_or_else(PoisonError::into_inner).at(now).to_owned();
        let mut context: Vec<_> = seen.context.iter().map(|(key, value)| (*key, value.as_str())).collect();
        if !context.iter().any(|(key, _)| *key == "request_id") {
            // Without a request there is no context to print, and a field must not be lost.
            context.clear();
            seen.extra.extend(seen.context.iter().cloned());
        }
        let severity = severity(*metadata.level(), seen.critical, seen.audit);
        let record = Record {
            now,
            asctime: &asctime,
            severity,
            name,
            process: seen.process.unwrap_or_else(std::process::id),
            file: metadata.file().unwrap_or_default(),
            line: metadata.line().unwrap_or_default(),
            module: metadata.module_path().unwrap_or_default(),
            instance: &seen.instance,
            context: &context,
            extra: &seen.extra,
            message: &|out| out.extend_from_slice(seen.message.as_bytes()),
        };
        let mut line = Vec::with_capacity(256);
        active.format.write(&mut line, &record);
        self.writer.send(line, 1, severity.syslog());
    }
}

fn severity(level: Level, critical: bool, audit: bool) -> Severity {
    match level {
        Level::ERROR if critical => Severity::Critical,
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO if audit => Severity::Audit,
        Level::INFO => Severity::Info,
        _ => Severity::Debug,
    }
}

/// An event's fields.
#[derive(Default)]
struct Seen {
    message: String,
    logger: Option<String>,
    process: Option<u32>,
    critical: bool,
    audit: bool,
    instance: String,
    context: Vec<(&'static str, String)>,
    extra: Vec<(&'static str, String)>,
}

impl Seen {
    fn text(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "logger" => self.logger = Some(value),
            "instance" => self.instance = value,
            name if name == "user_identity" || CONTEXT.contains(&name) => self.context.push((name, value)),
            name => self.extra.push((name, value)),
        }
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        match field.name() {
            "critical" => self.critical = value,
            "audit" => self.audit = value,
            _ => self.text(field, value.to_string()),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match (field.name(), u32::try_from(value)) {
            ("process", Ok(pid)) => self.process = Some(pid),
            _ => self.text(field, value.to_string()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        match u64::try_from(value) {
            Ok(value) => self.record_u64(field, value),
            Err(_) => self.text(field, value.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use tracing::{debug, error, info, warn};
    use tracing_subscriber::layer::SubscriberExt;

    use super::super::{Destination, Formats, Levels, Log, LogConfig, LogStyle};
    use super::*;

    fn config(file: &Path, level: LevelFilter) -> LogConfig {
        LogConfig {
            style: LogStyle::Oslo,
            // Without times, so that lines can be compared.
            formats: Formats {
                default: "%(process)d %(levelname)s %(name)s [-] %(instance)s%(message)s".into(),
                context: "%(levelname)s %(name)s [%(request_id)s %(user)s] %(message)s".into(),
                debug_suffix: "debug".into(),
                ..Formats::default()
            },
            own_names: false,
            levels: Levels::new(level, [("nova.quiet".to_owned(), LevelFilter::WARN)]),
            destinations: vec![Destination::File(file.to_owned())],
        }
    }

    fn logged(level: LevelFilter, events: impl FnOnce(&Log)) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("api.log");
        let log = Log::start(&config(&file, level)).expect("a log");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log.layer()), || events(&log));
        assert!(log.flush(Duration::from_secs(20)));
        std::fs::read_to_string(&file).expect("text")
    }

    #[test]
    fn the_target_is_the_logger_unless_a_field_names_another() {
        let text = logged(LevelFilter::INFO, |_| {
            info!(target: "nova.wsgi", process = 12, "{} listening on {}:{}", "ec2", "::1", 8773);
            info!(logger = format!("nova.{}.wsgi.server", "ec2"), process = 12_u32, "(12) wsgi starting up\n");
        });
        assert_eq!(
            text,
            "12 INFO nova.wsgi [-] ec2 listening on ::1:8773\n12 INFO nova.ec2.wsgi.server [-] (12) wsgi starting up\n\n"
        );
    }

    #[test]
    fn no_logger_of_the_original_s_is_named_where_only_own_names_are_wanted() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("own.log");
        logged(LevelFilter::INFO, |log| {
            log.reconfigure(&LogConfig { own_names: true, ..config(&file, LevelFilter::INFO) }).expect("a log");
            info!(target: "a", logger = "nova.quiet.x", process = 1, "x");
        });
        assert_eq!(std::fs::read_to_string(&file).expect("text"), "1 INFO a [-] x\n");
    }

    #[test]
    fn levels_have_the_names_of_python() {
        let text = logged(LevelFilter::DEBUG, |_| {
            debug!(target: "a", process = 1, "x");
            warn!(target: "a", process = 1, "x");
            error!(target: "a", process = 1, "x");
            error!(target: "a", process = 1, critical = true, "x");
            info!(target: "a", process = 1, audit = true, "x");
        });
        let levels: Vec<_> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(levels, ["DEBUG", "WARNING", "ERROR", "CRITICAL", "AUDIT"]);
        assert!(text.starts_with("1 DEBUG a [-] x debug\n"), "{text}");
    }

    #[test]
    fn a_request_id_chooses_the_format_with_context() {
        let text = logged(LevelFilter::INFO, |_| {
            info!(target: "a", request_id = "req-1", peer = %"1.2.3.4", "x");
            info!(target: "a", process = 1, user = "u", "x");
        });
        assert_eq!(text, "INFO a [req-1 -] x peer=1.2.3.4\n1 INFO a [-] x user=u\n");
    }

    #[test]
    fn a_loggers_own_level_holds_for_targets_and_for_the_field() {
        let text = logged(LevelFilter::INFO, |_| {
            info!(target: "nova.quiet.x", "no");
            info!(logger = "nova.quiet.x", "no");
            warn!(logger = "nova.quiet.x", process = 1, "yes");
        });
        assert_eq!(text, "1 WARNING nova.quiet.x [-] yes\n");
    }

    #[test]
    fn level_format_and_file_change_while_it_runs() {
        let directory = tempfile::tempdir().expect("a directory");
        let second = directory.path().join("second.log");
        let text = logged(LevelFilter::WARN, |log| {
            let event = || info!(target: "a", process = 1, "x");
            event();
            let mut wanted = config(&second, LevelFilter::INFO);
            wanted.style = LogStyle::Json;
            log.reconfigure(&wanted).expect("a good configuration");
            event();
            wanted.formats.date = "%Q".into();
            assert!(log.reconfigure(&wanted).is_err());
            event();
        });
        assert_eq!(text, "");
        let lines = std::fs::read_to_string(&second).expect("text");
        assert_eq!(lines.lines().count(), 2);
        let first: serde_json::Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
        assert_eq!((&first["message"], &first["process"]), (&"x".into(), &1.into()));
    }
}
