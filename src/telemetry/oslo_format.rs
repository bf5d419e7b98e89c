//! A log line as oslo.log prints it, from the format strings of nova.conf.
//!
//! Fields and texts are those of oslo.log 8.3 (`oslo_log/formatters.py`, `ContextFormatter`) and of
//! `nova/openstack/common/log.py` in Nova 2013.2. Must not know where lines go or who wrote the event.

use super::percent::{self, FormatError, Piece};
use super::record::{Record, Severity, escape};
use super::spec::Spec;
use crate::release::Release;

/// The format strings of the log, as nova.conf names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formats {
    /// `logging_default_format_string`: for lines that belong to no request.
    pub default: String,
    /// `logging_context_format_string`: for lines with a request id.
    pub context: String,
    /// `logging_debug_format_suffix`: behind DEBUG lines, after a blank.
    pub debug_suffix: String,
    /// `logging_user_identity_format`: what `%(user_identity)s` stands for.
    pub user_identity: String,
    /// `log_date_format`, for strftime(3).
    pub date: String,
}

impl Default for Formats {
    /// The defaults of oslo.log 8.3.
    fn default() -> Self {
        const HEAD: &str = "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s";
        Self {
            default: format!("{HEAD} [-] %(instance)s%(message)s"),
            context: format!("{HEAD} [%(global_request_id)s %(request_id)s %(user_identity)s] %(instance)s%(message)s"),
            debug_suffix: "%(funcName)s %(pathname)s:%(lineno)d".to_owned(),
            user_identity: "%(user)s %(project)s %(domain)s %(system_scope)s %(user_domain)s %(project_domain)s"
                .to_owned(),
            date: "%Y-%m-%d %H:%M:%S".to_owned(),
        }
    }
}

impl Formats {
    /// The defaults of a Nova release: 2013.2 shows user and tenant by themselves.
    pub fn of(release: Release) -> Self {
        let newest = Self::default();
        if release > Release::HAVANA {
            return newest;
        }
        let identity = "%(global_request_id)s %(request_id)s %(user_identity)s";
        Self { context: newest.context.replace(identity, "%(request_id)s %(user)s %(tenant)s"), ..newest }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    AscTime,
    Msecs,
    Created,
    Process,
    ProcessName,
    Thread,
    ThreadName,
    LevelName,
    LevelNumber,
    Name,
    Message,
    Instance,
    Path,
    File,
    Line,
    Module,
    UserIdentity,
    /// Terminal colours; the front writes none.
    Color,
    Context(&'static str),
}

const FIELDS: &[(&str, Field)] = &[
    ("asctime", Field::AscTime),
    ("msecs", Field::Msecs),
    ("created", Field::Created),
    ("process", Field::Process),
    ("processName", Field::ProcessName),
    ("thread", Field::Thread),
    ("threadName", Field::ThreadName),
    ("levelname", Field::LevelName),
    ("levelno", Field::LevelNumber),
    ("name", Field::Name),
    ("message", Field::Message),
    ("instance", Field::Instance),
    ("pathname", Field::Path),
    ("filename", Field::File),
    ("lineno", Field::Line),
    ("module", Field::Module),
    ("funcName", Field::Module),
    ("user_identity", Field::UserIdentity),
    ("color", Field::Color),
    ("reset_color", Field::Color),
];

/// The attributes of a request's context (oslo.context 6) that a format may name.
pub(super) const CONTEXT: &[&str] = &[
    "request_id",
    "global_request_id",
    "user",
    "user_id",
    "user_name",
    "user_domain",
    "user_domain_id",
    "user_domain_name",
    "tenant",
    "project",
    "project_id",
    "project_name",
    "project_domain",
    "project_domain_id",
    "project_domain_name",
    "domain",
    "domain_id",
    "domain_name",
    "system_scope",
    "remote_address",
    "resource",
    "resource_uuid",
    "error_summary",
];

impl Field {
    fn named(name: &str) -> Option<Self> {
        let fixed = FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
        fixed.or_else(|| CONTEXT.iter().find(|known| **known == name).map(|known| Self::Context(known)))
    }

    fn is_number(self) -> bool {
        use Field::{Created, LevelNumber, Line, Msecs, Process, Thread};
        matches!(self, Msecs | Created | Process | Thread | LevelNumber | Line)
    }
}

#[derive(Clone, Debug)]
enum Segment {
    Literal(String),
    Field(Field, Spec),
}

fn compile(format: &str) -> Result<Vec<Segment>, FormatError> {
    percent::parse(format)?
        .into_iter()
        .map(|piece| match piece {
            Piece::Literal(text) => Ok(Segment::Literal(text)),
            Piece::Field { column, name, spec } => match Field::named(&name) {
                Some(field) if spec.takes_text() || field.is_number() => Ok(Segment::Field(field, spec)),
                Some(_) => Err(FormatError::NotANumber { column, name }),
                None => {
                    let known: Vec<_> = FIELDS.iter().map(|(name, _)| *name).chain(CONTEXT.iter().copied()).collect();
                    Err(FormatError::Unknown { column, name, known: known.join(", ") })
                }
            },
        })
        .collect()
}

/// Compiled [`Formats`].
#[derive(Clone, Debug)]
pub(super) struct OsloFormat {
    default: Vec<Segment>,
    context: Vec<Segment>,
    debug_suffix: Vec<Segment>,
    user_identity: Vec<Segment>,
}

impl OsloFormat {
    /// # Errors
    /// The option that cannot be used, and why.
    pub(super) fn compile(formats: &Formats) -> Result<Self, (&'static str, FormatError)> {
        let of = |option, text: &str| compile(text).map_err(|error| (option, error));
        let mut user_identity = of("logging_user_identity_format", &formats.user_identity)?;
        // It cannot stand for itself.
        user_identity.retain(|segment| !matches!(segment, Segment::Field(Field::UserIdentity, _)));
        Ok(Self {
            default: of("logging_default_format_string", &formats.default)?,
            context: of("logging_context_format_string", &formats.context)?,
            debug_suffix: of("logging_debug_format_suffix", &formats.debug_suffix)?,
            user_identity,
        })
    }

    /// Writes the line without a newline at its end.
    pub(super) fn write(&self, out: &mut Vec<u8>, record: &Record<'_>) {
        let with_context = record.of_context("request_id").is_some();
        self.fill(out, if with_context { &self.context } else { &self.default }, record);
        if record.severity == Severity::Debug && !self.debug_suffix.is_empty() {
            out.push(b' ');
            self.fill(out, &self.debug_suffix, record);
        }
    }

    fn fill(&self, out: &mut Vec<u8>, segments: &[Segment], record: &Record<'_>) {
        for segment in segments {
            match segment {
                Segment::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Segment::Field(field, spec) => self.field(out, *field, *spec, record),
            }
        }
    }

    fn field(&self, out: &mut Vec<u8>, field: Field, spec: Spec, record: &Record<'_>) {
        let text = match field {
            Field::Msecs => return spec.integer(out, record.now.subsec_millis().into()),
            Field::Created => return spec.float(out, record.now.as_secs_f64()),
            Field::Process => return spec.integer(out, record.process.into()),
            Field::Thread => {
                let id = rustix::thread::gettid().as_raw_pid();
                return spec.integer(out, id.try_into().unwrap_or_default());
            }
            Field::LevelNumber => return spec.integer(out, record.severity.number().into()),
            Field::Line => return spec.integer(out, record.line.into()),
            Field::Message => return spec.text(out, |out| record.write_message(out)),
            Field::Instance if !record.instance.is_empty() => {
                return spec.text(out, |out| {
                    out.extend_from_slice(b"[instance: ");
                    escape(out, record.instance.as_bytes(), false);
                    out.extend_from_slice(b"] ");
                });
            }
            Field::UserIdentity => match record.of_context("user_identity") {
                Some(identity) => identity,
                None => return spec.text(out, |out| self.fill(out, &self.user_identity, record)),
            },
            Field::ThreadName => {
                let thread = std::thread::current();
                return spec.text(out, |out| out.extend_from_slice(thread.name().unwrap_or("-").as_bytes()));
            }
            Field::Context(key) => record.of_context(key).unwrap_or(match key {
                "global_request_id" => "None",
                "resource" | "error_summary" => "",
                _ => "-",
            }),
            Field::AscTime => record.asctime,
            Field::LevelName => record.severity.name(),
            Field::Name => record.name,
            Field::Path => record.file,
            Field::File => record.file.rsplit('/').next().unwrap_or_default(),
            Field::Module => record.module,
            Field::ProcessName => "MainProcess",
            Field::Instance | Field::Color => "",
        };
        spec.text(out, |out| escape(out, text.as_bytes(), false));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line<'a>(format: &OsloFormat, change: impl FnOnce(&mut Record<'a>)) -> String {
        let mut record = Record {
            now: Duration::from_millis(1_389_206_478_091),
            asctime: "2014-01-08 18:41:18",
            severity: Severity::Info,
            name: "nova.wsgi",
            process: 3438,
            file: "src/proxy/listener.rs",
            line: 7,
            module: "pasteway::proxy",
            instance: "",
            context: &[],
            extra: &[],
            message: &|out| out.extend_from_slice(b"ec2 listening on 0.0.0.0:8773"),
        };
        change(&mut record);
        let mut out = Vec::new();
        format.write(&mut out, &record);
        String::from_utf8(out).expect("UTF-8")
    }

    fn oslo() -> OsloFormat {
        OsloFormat::compile(&Formats::default()).expect("good formats")
    }

    #[test]
    fn a_line_without_a_request_has_a_dash() {
        assert_eq!(
            line(&oslo(), |_| {}),
            "2014-01-08 18:41:18.091 3438 INFO nova.wsgi [-] ec2 listening on 0.0.0.0:8773"
        );
    }

    #[test]
    fn a_line_of_a_request_has_its_context_and_dashes_for_what_is_missing() {
        let context = [("request_id", "req-e568ee6b"), ("user", "u1")];
        assert_eq!(
            line(&oslo(), |record| record.context = &context),
            "2014-01-08 18:41:18.091 3438 INFO nova.wsgi [None req-e568ee6b u1 - - - - -] ec2 listening on 0.0.0.0:8773"
        );
    }

    #[test]
    fn havana_shows_user_and_tenant_of_a_request() {
        let context = [("request_id", "req-e568ee6b"), ("user", "u1"), ("tenant", "t1")];
        let havana = OsloFormat::compile(&Formats::of(Release::HAVANA)).expect("good formats");
        let text = line(&havana, |record| record.context = &context);
        assert!(text.contains(" nova.wsgi [req-e568ee6b u1 t1] ec2"), "{text}");
    }

    #[test]
    fn a_debug_line_says_where_it_was_written() {
        assert_eq!(
            line(&oslo(), |record| record.severity = Severity::Debug),
            "2014-01-08 18:41:18.091 3438 DEBUG nova.wsgi [-] ec2 listening on 0.0.0.0:8773 \
             pasteway::proxy src/proxy/listener.rs:7"
        );
    }

    #[test]
    fn other_fields_follow_the_message_on_the_same_line() {
        let extra = [("reason", "line\nbreak".to_owned())];
        let text = line(&oslo(), |record| record.extra = &extra);
        assert!(text.ends_with("0.0.0.0:8773 reason=line\\x0abreak"), "{text}");
    }

    #[test]
    fn an_instance_stands_before_the_message() {
        let text = line(&oslo(), |record| record.instance = "abc");
        assert!(text.contains("[-] [instance: abc] ec2"), "{text}");
    }

    #[test]
    fn mistakes_in_a_format_say_what_and_where() {
        let compiled = |default: &str| {
            let formats = Formats { default: default.to_owned(), ..Formats::default() };
            OsloFormat::compile(&formats).err().map(|(_, e)| e.to_string()).unwrap_or_default()
        };
        assert!(compiled("ab %(msg)s").starts_with("column 4: `msg` is not a field of this format; it has asctime,"));
        assert_eq!(compiled("%(name)d"), "column 1: `name` is a text; write `%(name)s`");
    }
}
