//! The access log: one line per request, gathered per data thread.
//!
//! Must not know requests, and nothing of the lines of other threads.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use tracing::Level;

use super::access::{AccessFormat, AccessRecord, Escaped};
use super::record::{Record, Severity};
use super::stamp::{DateFormat, Stamp};
use super::writer::Writer;
use super::{Active, stamp};

/// How one API's access lines look; part of a generation.
#[derive(Clone, Debug)]
pub struct AccessStyle {
    /// `nova.<api>.wsgi.server`
    pub logger: String,
    /// `wsgi_log_format`
    pub format: AccessFormat,
    /// Whether an empty line follows each: the messages of eventlet 0.13 (Nova 2013.2) end with a newline of their own.
    pub blank_line: bool,
}

/// Lines are handed to the log thread in buffers of about this size.
const BUFFER: usize = 16 * 1024;

/// The access log of one data thread; made by [`super::Log::access`].
///
/// Lines wait in it until the buffer is full or [`flush`](Self::flush) is called, which the thread does every now and then.
pub struct AccessLog {
    lines: Lines,
    /// BaseHTTPServer's `log_date_time_string`.
    date_time: Stamp,
}

impl AccessLog {
    pub(super) fn new(latest: Arc<ArcSwap<Active>>, writer: Writer) -> Self {
        let active = latest.load_full();
        // A constant that strftime knows; were it not so, the field would be empty.
        let date_time = DateFormat::compile("%d/%b/%Y %H:%M:%S").unwrap_or_default();
        let lines = Lines {
            latest: Cache::new(latest),
            stamp: Stamp::new(active.date.clone()),
            active,
            writer,
            process: std::process::id(),
            buffer: Vec::new(),
            count: 0,
        };
        Self { lines, date_time: Stamp::new(date_time) }
    }

    /// Adds the line of a request. Neither allocates (JSON does) nor locks.
    pub fn log(&mut self, style: &AccessStyle, record: &AccessRecord<'_>) {
        let now = stamp::now();
        let date_time = if style.format.has_date() { self.date_time.at(now) } else { "" };
        let context = record.request_id.map(|id| [("request_id", id)]);
        let context = context.as_ref().map_or(&[][..], |known| &known[..]);
        self.lines.add(style, now, context, Some(record.generation), &|out| style.format.write(out, record, date_time));
    }

    /// Adds another line of the API's server, such as `(16642) accepted ('127.0.0.1', 35354)`.
    pub fn note(&mut self, style: &AccessStyle, message: fmt::Arguments<'_>) {
        self.lines.add(style, stamp::now(), &[], None, &|out| {
            // Writing to a Vec does not fail.
            let _ = write!(Escaped(out), "{message}");
        });
    }

    /// Hands the lines so far to the log thread.
    pub fn flush(&mut self) {
        self.lines.flush();
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("waiting", &self.lines.count).finish_non_exhaustive()
    }
}

/// Lines on their way to the log thread, and what is needed to add one.
struct Lines {
    latest: Cache<Arc<ArcSwap<Active>>, Arc<Active>>,
    active: Arc<Active>,
    writer: Writer,
    stamp: Stamp,
    process: u32,
    buffer: Vec<u8>,
    count: u64,
}

impl Lines {
    fn add(
        &mut self,
        style: &AccessStyle,
        now: Duration,
        context: &[(&str, &str)],
        generation: Option<u64>,
        message: &dyn Fn(&mut Vec<u8>),
    ) {
        let latest = self.latest.load();
        if !Arc::ptr_eq(latest, &self.active) {
            self.active = Arc::clone(latest);
            self.stamp = Stamp::new(self.active.date.clone());
        }
        if !self.active.levels.allow(&style.logger, Level::INFO) {
            return;
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(BUFFER + BUFFER / 8);
        }
        // A text line is the original's, in which only its own format puts anything.
        let generation = generation.filter(|_| !self.active.format.is_text());
        let extra = generation.map(|number| [("generation", number.to_string())]);
        let record = Record {
            now,
            asctime: self.stamp.at(now),
            severity: Severity::Info,
            name: &style.logger,
            process: self.process,
            file: "",
            line: 0,
            module: "",
            instance: "",
            context,
            extra: extra.as_ref().map_or(&[][..], |known| &known[..]),
            message,
        };
        self.active.format.write(&mut self.buffer, &record);
        if style.blank_line && self.active.format.is_text() {
            self.buffer.push(b'\n');
        }
        self.count += 1;
        if self.buffer.len() >= BUFFER {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.writer.send(std::mem::take(&mut self.buffer), self.count, Severity::Info.syslog());
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use tracing::level_filters::LevelFilter;

    use super::super::{Destination, Formats, Levels, Log, LogConfig, LogStyle};
    use super::*;

    const DEFAULT: &str = "%(client_ip)s \"%(request_line)s\" status: %(status_code)s len: %(body_length)s \
                           time: %(wall_seconds).7f";

    const RECORD: AccessRecord<'_> = AccessRecord {
        client_ip: &Ipv4Addr::LOCALHOST,
        client_port: 35354,
        request_line: &[b"GET", b"/v2/t1/x", b"HTTP/1.1"],
        status: 200,
        body_length: 3505,
        wall_seconds: 0.061_948_1,
        request_id: None,
        generation: 7,
    };

    fn style(blank_line: bool) -> AccessStyle {
        let format = AccessFormat::compile(DEFAULT).expect("a good format");
        AccessStyle { logger: "nova.osapi_compute.wsgi.server".into(), format, blank_line }
    }

    fn config(destination: Destination) -> LogConfig {
        LogConfig {
            style: LogStyle::Oslo,
            formats: Formats { date: "then".into(), ..Formats::default() },
            own_names: false,
            levels: Levels::new(LevelFilter::INFO, []),
            destinations: vec![destination],
        }
    }

    #[test]
    fn lines_wait_for_the_flush_and_have_the_era_s_empty_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("api.log");
        let log = Log::start(&config(Destination::File(file.clone()))).expect("a log");
        let mut access = log.access();
        access.log(&style(true), &RECORD);
        access.note(&style(false), format_args!("({}) accepted", 7));
        assert!(log.flush(Duration::from_secs(20)));
        assert_eq!(std::fs::read_to_string(&file).expect("text"), "");
        access.flush();
        assert!(log.flush(Duration::from_secs(20)));
        let text = std::fs::read_to_string(&file).expect("text");
        let lines: Vec<_> = text.split('\n').collect();
        assert!(lines[0].starts_with("then."), "{text}");
        assert!(lines[0].contains(" INFO nova.osapi_compute.wsgi.server [-] 127.0.0.1 \"GET /v2/t1/x"), "{text}");
        assert_eq!(lines[1], "");
        assert!(lines[2].ends_with("[-] (7) accepted"), "{text}");
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_running_access_log_follows_the_configuration() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("api.log");
        let mut wanted = config(Destination::File(file.clone()));
        wanted.levels = Levels::new(LevelFilter::WARN, []);
        let log = Log::start(&wanted).expect("a log");
        let mut access = log.access();
        access.log(&style(true), &RECORD);
        wanted.levels = Levels::new(LevelFilter::INFO, []);
        wanted.style = LogStyle::Json;
        log.reconfigure(&wanted).expect("a good configuration");
        let with_id = AccessRecord { request_id: Some("req-1"), ..RECORD };
        access.log(&style(true), &with_id);
        drop(access);
        assert!(log.flush(Duration::from_secs(20)));
        let text = std::fs::read_to_string(&file).expect("text");
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(line["context"]["request_id"], "req-1");
        assert_eq!(line["extra"]["generation"], "7");
        assert_eq!(line["name"], "nova.osapi_compute.wsgi.server");
    }

    #[test]
    fn the_cost_of_a_line_is_printed() {
        let log = Log::start(&config(Destination::File("/dev/null".into()))).expect("a log");
        let (mut access, style) = (log.access(), style(true));
        let rounds = 100_000_u32;
        let start = Instant::now();
        for _ in 0..rounds {
            access.log(&style, &RECORD);
        }
        println!("one access line: {:?}", start.elapsed() / rounds);
        access.flush();
        assert!(log.flush(Duration::from_secs(20)));
    }
}
