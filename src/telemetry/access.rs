//! `wsgi_log_format`: what the access log says of a request.
//!
//! Must not know what a request is beyond these values, or what becomes of the line.

use std::fmt::{self, Display, Write};

use super::percent::{self, FormatError, Piece};
use super::record::escape;
use super::spec::Spec;

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
    /// The generation of the configuration that answered.
    pub generation: u64,
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
    Generation,
}

/// The keys that eventlet 0.13 to 0.40 give to the format (`eventlet/wsgi.py`, `HttpProtocol.handle_one_response`), and
/// `generation`, which is ours.
const FIELDS: &[(&str, Field)] = &[
    ("client_ip", Field::ClientIp),
    ("client_port", Field::ClientPort),
    ("date_time", Field::DateTime),
    ("request_line", Field::RequestLine),
    ("status_code", Field::StatusCode),
    ("body_length", Field::BodyLength),
    ("wall_seconds", Field::WallSeconds),
    ("generation", Field::Generation),
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

    /// Whether `date_time` is asked for.
    pub(super) fn has_date(&self) -> bool {
        self.has_date
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
                Field::Generation => spec.integer(out, record.generation),
            }
        }
    }
}

/// Writes texts of strangers.
pub(super) struct Escaped<'a>(pub(super) &'a mut Vec<u8>);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text.as_bytes(), true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

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
            generation: 7,
        }
    }

    fn written(format: &str, record: &AccessRecord<'_>) -> String {
        let mut out = Vec::new();
        AccessFormat::compile(format).expect("a good format").write(&mut out, record, "08/Jan/2014 18:41:18");
        String::from_utf8(out).expect("UTF-8")
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
                "%(client_port)d [%(date_time)s] %(status_code)5d|%(body_length)-6s|%(wall_seconds)s g%(generation)s 100%%",
                &record(&"x", LINE)
            ),
            "35354 [08/Jan/2014 18:41:18]   200|3505  |0.0619481 g7 100%"
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
             request_line, status_code, body_length, wall_seconds, generation"
        );
        assert_eq!(error("%(request_line)d"), "column 1: `request_line` is a text; write `%(request_line)s`");
    }
}
