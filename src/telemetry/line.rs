//! How a record becomes a line: oslo.log's text or one JSON object.
//!
//! Must not know where lines go.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::oslo_format::OsloFormat;
use super::record::Record;

/// What lines look like.
#[derive(Clone, Debug)]
pub(super) enum LineFormat {
    Oslo(OsloFormat),
    Json,
}

impl LineFormat {
    /// Whether lines are for people.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Oslo(_))
    }

    /// Writes a whole line, newline included.
    pub(super) fn write(&self, out: &mut Vec<u8>, record: &Record<'_>) {
        match self {
            Self::Oslo(format) => format.write(out, record),
            Self::Json => json(out, record),
        }
        out.push(b'\n');
    }
}

/// The keys are those of oslo.log's `JSONFormatter`, as far as the front knows them.
#[derive(Serialize)]
struct Object<'a> {
    asctime: &'a str,
    created: f64,
    process: u32,
    levelname: &'static str,
    levelno: u8,
    name: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pathname: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    lineno: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    instance: &'a str,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    context: Pairs<'a, &'a str>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    extra: Pairs<'a, String>,
}

fn is_zero(line: &u32) -> bool {
    *line == 0
}

struct Pairs<'a, T>(&'a [(&'a str, T)]);

impl<T> Pairs<'_, T> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize> Serialize for Pairs<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

fn json(out: &mut Vec<u8>, record: &Record<'_>) {
    let mut message = Vec::with_capacity(256);
    (record.message)(&mut message);
    let message = String::from_utf8_lossy(&message);
    let object = Object {
        asctime: record.asctime,
        created: record.now.as_secs_f64(),
        process: record.process,
        levelname: record.severity.name(),
        levelno: record.severity.number(),
        name: record.name,
        // The newline that eventlet's messages end with is for people.
        message: message.trim_end_matches('\n'),
        pathname: record.file,
        lineno: record.line,
        instance: record.instance,
        context: Pairs(record.context),
        extra: Pairs(record.extra),
    };
    // Neither the map's keys nor a Vec can make this fail.
    let _ = serde_json::to_writer(out, &object);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::record::Severity;
    use super::*;

    #[test]
    fn a_json_line_is_one_object_whatever_the_message_holds() {
        let record = Record {
            now: Duration::from_millis(1500),
            asctime: "1970-01-01 00:00:01",
            severity: Severity::Warning,
            name: "nova.wsgi",
            process: 7,
            file: "",
            line: 0,
            module: "",
            instance: "",
            context: &[("request_id", "req-1")],
            extra: &[("peer", "a\"b".to_owned())],
            message: &|out| out.extend_from_slice(b"two\n\"lines\"\n"),
        };
        let mut out = Vec::new();
        LineFormat::Json.write(&mut out, &record);
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({
                "asctime": "1970-01-01 00:00:01", "created": 1.5, "process": 7, "levelname": "WARNING", "levelno": 30,
                "name": "nova.wsgi", "message": "two\n\"lines\"", "context": {"request_id": "req-1"},
                "extra": {"peer": "a\"b"},
            })
        );
    }
}
