//! The access log: one line per request in `wsgi_log_format`, gathered per data thread.
//!
//! Must not know what a request is beyond the values of its line.

use std::fmt::{self, Display, Write};
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use tracing::Level;

use super::oslo_format::{Record, Severity, escape};
use super::percent::{self, FormatError, Piece, Spec};
use super::stamp::{DateFormat, Stamp};
use super::writer::Writer;
use super::{Active, stamp};

/// What one request leaves behind.
pub struct AccessRecord<'a> {
    /// `REMOTE_ADDR`, which may be text that a client sent.
    pub client_ip: &'a dyn Display,
    /// The peer's port; 0 = not known.
    pub client_port: u16,
    /// The request line, in parts that are joined by blanks: method, target, version; or a whole line.
    pub request_line: &'a [&'a [u8]],
    /// As sent.
    pub status: u16,
    /// Bytes sent to the client, head included, as eventlet counts them.
    pub body_length: u64,
    /// From the request's head to the last byte.
    pub wall_seconds: f64,
    /// The request's id, when it is known in the front.
    pub request_id: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    ClientIp,
    ClientPort,
    DateTime,
    RequestLine,
    StatusCode,
    BodyLength,
    WallSeconds,
}

/// The keys that eventlet 0.13 to 0.40 give to the format (`eventlet/wsgi.py`, `HttpProtocol.handle_one_response`).
const FIELDS: &[(&str, Field)] = &[
    ("client_ip", Field::ClientIp),
    ("client_port", Field::ClientPort),
    ("date_time", Field::DateTime),
    ("request_line", Field::RequestLine),
    ("status_code", Field::StatusCode),
    ("body_length", Field::BodyLength),
    ("wall_seconds", Field::WallSeconds),
];

#[derive(Clone, Debug)]
enum Segment {
    Literal(String),
    Field(Field, Spec),
}

/// A compiled `wsgi_log_format`.
#[derive(Clone, Debug)]
pub struct AccessFormat {
    segments: Vec<Segment>,
    has_date: bool,
}

impl AccessFormat {
    /// Compiles a format such as `%(client_ip)s "%(request_line)s" status: %(status_code)s`.
    ///
    /// # Errors
    /// What is wrong with it, and at which column.
    pub fn compile(format: &str) -> Result<Self, FormatError> {
        let segments = percent::parse(format)?.into_iter().map(|piece| {
            let (column, name, spec) = match piece {
                Piece::Literal(text) => return Ok(Segment::Literal(text)),
                Piece::Field { column, name, spec } => (column, name, spec),
            };
            use Field::{ClientIp, DateTime, RequestLine};
            match FIELDS.iter().find(|(known, _)| *known == name) {
                Some((_, ClientIp | DateTime | RequestLine)) if !spec.takes_text() => {
                    Err(FormatError::NotANumber { column, name })
                }
                Some((_, field)) => Ok(Segment::Field(*field, spec)),
                None => {
                    let known: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
                    Err(FormatError::Unknown { column, name, known: known.join(", ") })
                }
            }
        });
        let segments = segments.collect::<Result<Vec<_>, _>>()?;
        let has_date = segments.iter().any(|segment| matches!(segment, Segment::Field(Field::DateTime, _)));
        Ok(Self { segments, has_date })
    }

    /// Writes the line without a newline. What is not printable ASCII in the parts that clients send is written as
    /// `\xNN`. `date_time` stands for `%(date_time)s`.
    pub fn write(&self, out: &mut Vec<u8>, record: &AccessRecord<'_>, date_time: &str) {
        for segment in &self.segments {
            let (field, spec) = match segment {
                Segment::Literal(text) => {
                    out.extend_from_slice(text.as_bytes());
                    continue;
                }
                Segment::Field(field, spec) => (field, spec),
            };
            match field {
                Field::ClientIp => spec.text(out, |out| {
                    // Writing to a Vec does not fail.
                    let _ = write!(Escaped(out), "{}", record.client_ip);
                }),
                Field::ClientPort => spec.integer(out, record.client_port.into()),
                Field::DateTime => spec.text(out, |out| out.extend_from_slice(date_time.as_bytes())),
                Field::RequestLine => spec.text(out, |out| {
                    for (n, part) in record.request_line.iter().enumerate() {
                        if n > 0 {
                            out.push(b' ');
                        }
                        escape(out, part, true);
                    }
                }),
                Field::StatusCode => spec.integer(out, record.status.into()),
                Field::BodyLength => spec.integer(out, record.body_length),
                Field::WallSeconds => spec.float(out, record.wall_seconds),
            }
        }
    }
}

struct Escaped<'a>(&'a mut Vec<u8>);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text.as_bytes(), true);
        Ok(())
    }
}

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
    latest: Cache<Arc<ArcSwap<Active>>, Arc<Active>>,
    active: Arc<Active>,
    writer: Writer,
    stamp: Stamp,
    /// BaseHTTPServer's `log_date_time_string`.
    date_time: Stamp,
    process: u32,
    buffer: Vec<u8>,
    lines: u64,
}

impl AccessLog {
    pub(super) fn new(latest: Arc<ArcSwap<Active>>, writer: Writer) -> Self {
        let active = latest.load_full();
        // A constant that strftime knows; were it not so, the field would be empty.
        let date_time = DateFormat::compile("%d/%b/%Y %H:%M:%S").unwrap_or_default();
        Self {
            latest: Cache::new(latest),
            stamp: Stamp::new(active.date.clone()),
            date_time: Stamp::new(date_time),
            active,
            writer,
            process: std::process::id(),
            buffer: Vec::new(),
            lines: 0,
        }
    }

    /// Adds the line of a request. Costs no allocation and no lock.
    pub fn log(&mut self, style: &AccessStyle, record: &AccessRecord<'_>) {
        let now = stamp::now();
        let date_time = if style.format.has_date { self.date_time.at(now).to_owned() } else { String::new() };
        let context = record.request_id.map(|id| [("request_id", id)]);
        let context = context.as_ref().map_or(&[][..], |known| &known[..]);
        self.line(style, now, context, &|out| style.format.write(out, record, &date_time));
    }

    /// Adds another line of the API's server, such as `(16642) accepted ('127.0.0.1', 35354)`.
    pub fn note(&mut self, style: &AccessStyle, message: fmt::Arguments<'_>) {
        self.line(style, stamp::now(), &[], &|out| {
            let _ = write!(Escaped(out), "{message}");
        });
    }

    fn line(
        &mut self,
        style: &AccessStyle,
        now: std::time::Duration,
        context: &[(&str, &str)],
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
            extra: &[],
            message,
        };
        self.active.format.write(&mut self.buffer, &record);
        if style.blank_line && self.active.format.is_text() {
            self.buffer.push(b'\n');
        }
        self.lines += 1;
        if self.buffer.len() >= BUFFER {
            self.flush();
        }
    }

    /// Hands the lines so far to the log thread.
    pub fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.writer.send(std::mem::take(&mut self.buffer), self.lines, Severity::Info.syslog());
            self.lines = 0;
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("lines", &self.lines).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::{Duration, Instant};

    use tracing::level_filters::LevelFilter;

    use super::super::{Destination, Formats, Levels, Log, LogConfig, LogStyle};
    use super::*;

    const DEFAULT: &str = "%(client_ip)s \"%(request_line)s\" status: %(status_code)s len: %(body_length)s \
                           time: %(wall_seconds).7f";

    fn record<'a>(client_ip: &'a dyn Display, request_line: &'a [&'a [u8]]) -> AccessRecord<'a> {
        AccessRecord {
            client_ip,
            client_port: 35354,
            request_line,
            status: 200,
            body_length: 3505,
            wall_seconds: 0.061_948_1,
            request_id: None,
        }
    }

    fn written(format: &str, record: &AccessRecord<'_>) -> String {
        let mut out = Vec::new();
        AccessFormat::compile(format).expect("a good format").write(&mut out, record, "08/Jan/2014 18:41:18");
        String::from_utf8(out).expect("UTF-8")
    }

    fn style(blank_line: bool) -> AccessStyle {
        let format = AccessFormat::compile(DEFAULT).expect("a good format");
        AccessStyle { logger: "nova.osapi_compute.wsgi.server".into(), format, blank_line }
    }

    fn config(destination: Destination) -> LogConfig {
        LogConfig {
            style: LogStyle::Oslo,
            formats: Formats { date: "then".into(), ..Formats::default() },
            levels: Levels::new(LevelFilter::INFO, []),
            destinations: vec![destination],
        }
    }

    const LINE: &[&[u8]] = &[b"GET", b"/v2/t1/x", b"HTTP/1.1"];

    #[test]
    fn the_default_format_gives_eventlets_line() {
        assert_eq!(
            written(DEFAULT, &record(&Ipv4Addr::LOCALHOST, LINE)),
            "127.0.0.1 \"GET /v2/t1/x HTTP/1.1\" status: 200 len: 3505 time: 0.0619481"
        );
    }

    #[test]
    fn other_fields_and_widths_are_pythons() {
        assert_eq!(
            written(
                "%(client_port)d [%(date_time)s] %(status_code)5d|%(body_length)-6s|%(wall_seconds)s 100%%",
                &record(&"x", LINE)
            ),
            "35354 [08/Jan/2014 18:41:18]   200|3505  |0.0619481 100%"
        );
    }

    #[test]
    fn a_client_cannot_begin_a_line_of_its_own() {
        let line: &[&[u8]] = &[b"GET /\r\n2014 CRITICAL\x1b[2J\xff"];
        assert_eq!(
            written("%(client_ip)s %(request_line)s", &record(&"1.2.3.4\n5", line)),
            "1.2.3.4\\x0a5 GET /\\x0d\\x0a2014 CRITICAL\\x1b[2J\\xff"
        );
    }

    #[test]
    fn mistakes_in_a_format_say_what_and_where() {
        let error = |format| AccessFormat::compile(format).err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(
            error("%(client_ip)s %(status)s"),
            "column 15: `status` is not a field of this format; it has client_ip, client_port, date_time, \
             request_line, status_code, body_length, wall_seconds"
        );
        assert_eq!(error("%(request_line)d"), "column 1: `request_line` is a text; write `%(request_line)s`");
    }

    #[test]
    fn lines_wait_for_the_flush_and_have_the_era_s_empty_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("api.log");
        let log = Log::start(&config(Destination::File(file.clone()))).expect("a log");
        let mut access = log.access();
        access.log(&style(true), &record(&Ipv4Addr::LOCALHOST, LINE));
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
        access.log(&style(true), &record(&Ipv4Addr::LOCALHOST, LINE));
        wanted.levels = Levels::new(LevelFilter::INFO, []);
        wanted.style = LogStyle::Json;
        log.reconfigure(&wanted).expect("a good configuration");
        let mut with_id = record(&Ipv4Addr::LOCALHOST, LINE);
        with_id.request_id = Some("req-1");
        access.log(&style(true), &with_id);
        drop(access);
        assert!(log.flush(Duration::from_secs(20)));
        let text = std::fs::read_to_string(&file).expect("text");
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(line["context"]["request_id"], "req-1");
        assert_eq!(line["name"], "nova.osapi_compute.wsgi.server");
    }

    #[test]
    fn the_cost_of_a_line_is_printed() {
        let log = Log::start(&config(Destination::File("/dev/null".into()))).expect("a log");
        let (mut access, style) = (log.access(), style(true));
        let rounds = 100_000_u32;
        let start = Instant::now();
        for _ in 0..rounds {
            access.log(&style, &record(&Ipv4Addr::LOCALHOST, LINE));
        }
        println!("one access line: {:?}", start.elapsed() / rounds);
        access.flush();
        assert!(log.flush(Duration::from_secs(20)));
    }
}
