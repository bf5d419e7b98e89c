//! What a line is made from.
//!
//! Must not know what the line will look like.

use std::time::Duration;

/// A level with the name and number of Python's logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Debug,
    Info,
    /// oslo-incubator's own level, up to Juno.
    Audit,
    Warning,
    Error,
    Critical,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Audit => "AUDIT",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }

    /// As syslog(3) numbers severities.
    pub(super) fn syslog(self) -> u8 {
        match self {
            Self::Debug => 7,
            Self::Info => 6,
            Self::Audit => 5,
            Self::Warning => 4,
            Self::Error => 3,
            Self::Critical => 2,
        }
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Self::Debug => 10,
            Self::Info => 20,
            Self::Audit => 21,
            Self::Warning => 30,
            Self::Error => 40,
            Self::Critical => 50,
        }
    }
}

/// All that a line can tell.
pub(super) struct Record<'a> {
    /// Since 1970.
    pub now: Duration,
    /// The same in `log_date_format`.
    pub asctime: &'a str,
    pub severity: Severity,
    /// The logger.
    pub name: &'a str,
    pub process: u32,
    pub file: &'a str,
    pub line: u32,
    pub module: &'a str,
    /// Empty, or the instance's UUID.
    pub instance: &'a str,
    /// Attributes of the request's context that are known: `request_id`, `user`, …
    pub context: &'a [(&'a str, &'a str)],
    /// What else the event has; printed behind the message.
    pub extra: &'a [(&'a str, String)],
    /// Writes the message.
    pub message: &'a dyn Fn(&mut Vec<u8>),
}

impl Record<'_> {
    pub(super) fn of_context(&self, key: &str) -> Option<&str> {
        self.context.iter().find(|(k, _)| *k == key).map(|(_, value)| *value)
    }

    pub(super) fn write_message(&self, out: &mut Vec<u8>) {
        (self.message)(out);
        for (key, value) in self.extra {
            out.push(b' ');
            out.extend_from_slice(key.as_bytes());
            out.push(b'=');
            escape(out, value.as_bytes(), false);
        }
    }
}

/// Writes text of a stranger so that it stays on its line: what is not printable becomes `\xNN`.
pub(super) fn escape(out: &mut Vec<u8>, mut text: &[u8], ascii: bool) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    while let Some(at) = text.iter().position(|b| b.is_ascii_control() || (ascii && !b.is_ascii())) {
        let (plain, rest) = text.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, rest)) = rest.split_first() else { return };
        let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'?');
        out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
        text = rest;
    }
    out.extend_from_slice(text);
}
