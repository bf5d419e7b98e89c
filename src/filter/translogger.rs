//! `translogger`: a line in the log for every answer, in the combined form of Apache (`paste.translogger`, Paste 1.7
//! to 3.10).
//!
//! It is written when the head of the answer is there, with the length that the head tells. The line goes where the
//! front's log goes, under the logger's name and if the log's levels let it; `setup_console_handler` and
//! `set_logger_level`, which gave Paste's logger an output and a level of its own, are read and change nothing.
//! The offset of the time is the true one; Paste takes that of summer all year, and counts half hours as 50.
//! Must not know where log lines go.

use std::borrow::Cow;
use std::time::SystemTime;

use chrono::{DateTime, Local};
use http::header::{CONTENT_LENGTH, REFERER, USER_AGENT};
use http::{HeaderName, Version};
use serde_json::Value;
use tracing::Level;

use super::headers::joined;
use super::prelude::*;
use super::python::is_python3;
use crate::telemetry::Template;

/// What it takes.
static OPTIONS: &[OptionSpec] = &[
    spec("logger_name", "wsgi", "the logger"),
    spec("format", FORMAT, "the line; see paste.translogger for its fields"),
    spec("logging_level", "INFO", "the level of the lines"),
    spec("setup_console_handler", "true", "read, and without effect: the front's log decides"),
    spec("set_logger_level", "DEBUG", "read, and without effect: the front's log decides"),
];

const fn spec(name: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, group: "", default, help }
}

const FORMAT: &str = "%(REMOTE_ADDR)s - %(REMOTE_USER)s [%(time)s] \"%(REQUEST_METHOD)s %(REQUEST_URI)s \
                      %(HTTP_VERSION)s\" %(status)s %(bytes)s \"%(HTTP_REFERER)s\" \"%(HTTP_USER_AGENT)s\"";

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "translogger",
    about: "logs a line for every request, in Apache's combined form",
    eras: "Paste 1.7 to 3.10",
    aliases: &["egg:Paste#translogger", "egg:paste#translogger", "paste.translogger:make_filter"],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    RemoteAddr,
    RemoteUser,
    Method,
    Uri,
    Version,
    Time,
    Status,
    Bytes,
    Referer,
    UserAgent,
}

const FIELDS: &[(&str, Field)] = &[
    ("REMOTE_ADDR", Field::RemoteAddr),
    ("REMOTE_USER", Field::RemoteUser),
    ("REQUEST_METHOD", Field::Method),
    ("REQUEST_URI", Field::Uri),
    ("HTTP_VERSION", Field::Version),
    ("time", Field::Time),
    ("status", Field::Status),
    ("bytes", Field::Bytes),
    ("HTTP_REFERER", Field::Referer),
    ("HTTP_USER_AGENT", Field::UserAgent),
];

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    let logger = build.local("logger_name").map_or_else(|| "wsgi".to_owned(), |setting| setting.value);
    let lines = level(build, "logging_level", Level::INFO);
    // Checked, although the front's log has its own levels.
    level(build, "set_logger_level", Level::DEBUG);
    let handler = build.local("setup_console_handler");
    build.paste_flag(handler, true);
    let format = build.local("format").filter(|setting| !setting.value.is_empty());
    let template = match Template::compile(format.as_ref().map_or(FORMAT, |setting| &setting.value), FIELDS) {
        Ok(template) => template,
        Err(error) => {
            build.error(format.as_ref(), error.to_string(), "fields are written `%(status)s`");
            return None;
        }
    };
    Some(Box::new(TransLogger { logger, level: lines, template, python3: is_python3(build.release) }))
}

/// A level by Python's name for it. Paste on Python 3 cannot read one at all.
fn level(build: &mut Build<'_>, name: &str, default: Level) -> Level {
    let Some(setting) = build.local(name) else { return default };
    match setting.value.as_str() {
        "CRITICAL" | "ERROR" => Level::ERROR,
        "WARNING" | "WARN" => Level::WARN,
        "INFO" => Level::INFO,
        "DEBUG" | "NOTSET" => Level::DEBUG,
        _ => {
            let text = format!("`{}` is not a level", setting.value);
            build.error(Some(&setting), text, "write one of DEBUG, INFO, WARNING, ERROR, CRITICAL");
            default
        }
    }
}

struct TransLogger {
    logger: String,
    level: Level,
    template: Template<Field>,
    python3: bool,
}

impl Filter for TransLogger {
    fn sees_requests(&self) -> bool {
        false
    }

    fn response(&self, cx: &mut Context, request: &Request, response: &mut Response) {
        let line = || self.line(cx, request, response);
        let logger = self.logger.as_str();
        // A macro's level is a constant. It does not call `line` when nobody listens.
        match self.level {
            Level::ERROR => tracing::error!(logger, "{}", line()),
            Level::WARN => tracing::warn!(logger, "{}", line()),
            Level::INFO => tracing::info!(logger, "{}", line()),
            _ => tracing::debug!(logger, "{}", line()),
        }
    }
}

impl TransLogger {
    fn line(&self, cx: &Context, request: &Request, response: &Response) -> String {
        let header = |name: &HeaderName| joined(request.headers(), name).map(Cow::into_owned);
        self.template.line(|field, out| match field {
            Field::RemoteAddr => match header(&FORWARDED_FOR).filter(|said| !said.is_empty()) {
                Some(said) => out.extend_from_slice(said.as_bytes()),
                None => out.extend_from_slice(cx.remote_addr.to_string().as_bytes()),
            },
            Field::RemoteUser => {
                let user = cx.get("REMOTE_USER").and_then(Value::as_str).filter(|user| !user.is_empty());
                out.extend_from_slice(user.unwrap_or("-").as_bytes());
            }
            Field::Method => out.extend_from_slice(request.method().as_str().as_bytes()),
            Field::Uri => {
                self.quote(&cx.script_name, out);
                self.quote(&cx.path_info, out);
                if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
                    out.push(b'?');
                    out.extend_from_slice(query.as_bytes());
                }
            }
            Field::Version => {
                let old = request.version() == Version::HTTP_10;
                out.extend_from_slice(if old { b"HTTP/1.0" } else { b"HTTP/1.1" });
            }
            Field::Time => {
                let began: DateTime<Local> = (SystemTime::now() - cx.started.elapsed()).into();
                out.extend_from_slice(began.format("%d/%b/%Y:%H:%M:%S %z").to_string().as_bytes());
            }
            Field::Status => out.extend_from_slice(response.status().as_str().as_bytes()),
            Field::Bytes => {
                let length = response.headers().get(CONTENT_LENGTH).map(|length| length.as_bytes());
                out.extend_from_slice(length.unwrap_or(b"-"));
            }
            Field::Referer => out.extend_from_slice(header(&REFERER).as_deref().unwrap_or("-").as_bytes()),
            Field::UserAgent => out.extend_from_slice(header(&USER_AGENT).as_deref().unwrap_or("-").as_bytes()),
        })
    }

    /// `urllib.quote`: Python 3 takes the bytes of a path for Latin-1 and writes them as UTF-8.
    fn quote(&self, path: &[u8], out: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let percent = |byte: u8, out: &mut Vec<u8>| {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'?');
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        };
        for &byte in path {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'/' => out.push(byte),
                b'~' if self.python3 => out.push(byte),
                128.. if self.python3 => {
                    char::from(byte).encode_utf8(&mut [0; 2]).bytes().for_each(|byte| percent(byte, out));
                }
                _ => percent(byte, out),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, answer, build, built};

    /// What Paste 1.7.5.1 on Python 2.7 and Paste 3.10.1 on Python 3.11 wrote; made by
    /// `integration/golden/paste/record.py`.
    const RECORDED: [(Release, &str); 2] = [
        (Release::HAVANA, include_str!("../../integration/golden/paste/translogger.py27.json")),
        (Release::NEWEST, include_str!("../../integration/golden/paste/translogger.py3.json")),
    ];

    fn logger(release: Release, format: &str) -> TransLogger {
        let format = if format.is_empty() { FORMAT } else { format };
        TransLogger {
            logger: "wsgi".into(),
            level: Level::INFO,
            template: Template::compile(format, FIELDS).expect("a format"),
            python3: is_python3(release),
        }
    }

    /// The line with the time masked.
    fn masked(line: &str) -> String {
        match (line.find('['), line.find(']')) {
            (Some(from), Some(to)) => format!("{}TIME{}", &line[..=from], &line[to..]),
            _ => line.to_owned(),
        }
    }

    #[test]
    fn the_lines_are_those_that_were_recorded() {
        for (release, recorded) in RECORDED {
            let recorded: Vec<Value> = serde_json::from_str(recorded).expect("JSON");
            assert!(recorded.len() > 5);
            for recording in recorded {
                let text = |key: &str| recording[key].as_str().expect("text").to_owned();
                let latin1 = |key: &str| text(key).chars().map(|c| c as u8).collect::<Vec<_>>();
                let mut case = Case::new("GET", &format!("/?{}", text("query")));
                case.cx.script_name = latin1("script");
                case.cx.path_info = latin1("path");
                if let Some(user) = recording["user"].as_str() {
                    case.cx.set("REMOTE_USER", user);
                }
                for (name, value) in recording["headers"].as_object().expect("headers") {
                    let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                    case.request.headers_mut().insert(name, value.as_str().expect("text").parse().expect("a value"));
                }
                let mut response = answer(200, &[]);
                *response.status_mut() =
                    u16::try_from(recording["status"].as_u64().expect("a status")).unwrap().try_into().unwrap();
                if let Some(length) = recording["length"].as_str() {
                    response.headers_mut().insert(CONTENT_LENGTH, length.parse().expect("a length"));
                }
                let format = recording["options"]["format"].as_str().unwrap_or_default();
                let line = logger(release, format).line(&case.cx, &case.request, &response);
                assert_eq!(masked(&line), text("line"), "{release} {recording}");
            }
        }
    }

    #[test]
    fn the_time_is_apaches() {
        let case = Case::new("GET", "/");
        let line = logger(Release::NEWEST, "%(time)s").line(&case.cx, &case.request, &answer(200, &[]));
        let pattern = regex::Regex::new(r"^\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}$").unwrap();
        assert!(pattern.is_match(&line), "{line}");
    }

    #[test]
    fn a_client_cannot_forge_a_line() {
        let mut case = Case::new("GET", "/x\n6.6.6.6").header("user-agent", "tab\there");
        case.cx.remote_addr = RemoteAddr::Said("1.2.3.4\n5.6.7.8".into());
        let line = logger(Release::NEWEST, "").line(&case.cx, &case.request, &answer(200, &[]));
        assert!(!line.contains(['\n', '\t']), "{line}");
        assert!(line.starts_with("1.2.3.4\\x0a5.6.7.8 - - ["), "{line}");
        assert!(line.contains("\"GET /x%0A6.6.6.6 HTTP/1.1\""), "{line}");
    }

    #[test]
    fn the_reference_shows_the_format_that_holds_and_mistakes_are_told() {
        let all: Vec<_> = OPTIONS.iter().map(|option| (option.name, option.default)).collect();
        drop(built(&FACTORY, Release::NEWEST, &all, &[]));
        for (name, value, message) in [
            (
                "format",
                "%(bites)s",
                "column 1: `bites` is not a field of this format; it has REMOTE_ADDR, REMOTE_USER, REQUEST_METHOD, REQUEST_URI, HTTP_VERSION, time, status, bytes, HTTP_REFERER, HTTP_USER_AGENT",
            ),
            ("logging_level", "LOUD", "`LOUD` is not a level"),
            ("set_logger_level", "info", "`info` is not a level"),
            ("setup_console_handler", "maybe", "String is not true/false: \"maybe\""),
            ("time_format", "%H", "[filter:tested] has no option `time_format`"),
        ] {
            let (_, _, findings) = build(&FACTORY, Release::NEWEST, &[(name, value)], &[]);
            assert_eq!(findings[0].message, message);
        }
    }
}
