//! JSON as Python's `json.dumps` writes it: a blank after `,` and `:`, and nothing but ASCII.
//!
//! Must not know what is written.

use std::io::{self, Write};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// The text of a value.
pub fn dumps(value: &Value) -> Bytes {
    let mut out = Vec::new();
    // Writing to a Vec cannot fail, and every key of a Value is a string.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut out, Python));
    out.into()
}

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        for c in fragment.chars() {
            match c {
                c if c.is_ascii() && c != '\u{7f}' => write!(out, "{c}")?,
                c => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(out, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_pythons() {
        let value = serde_json::json!({"a": ["é😀\"\n", 1, {}], "b": {"c": null}});
        assert_eq!(dumps(&value), r#"{"a": ["\u00e9\ud83d\ude00\"\n", 1, {}], "b": {"c": null}}"#);
    }
}
