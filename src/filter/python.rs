//! Text as Python's own functions write it, for answers that must not differ from the original's by a byte.
//!
//! Must not know where the text is shown.

use std::fmt::Write;

use crate::release::Release;

/// Whether a release's services run on Python 3; dictionaries keep their order and escaping is stricter there.
pub fn is_python3(release: Release) -> bool {
    release >= Release::STEIN
}

/// `json.dumps` of a string: ASCII only, in double quotes.
pub fn json_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
    out
}

/// `cgi.escape(text, True)` of Python 2, `html.escape(text)` of Python 3 (which takes the apostrophe too).
pub fn html_escape(text: &str, python3: bool) -> String {
    let escaped = tag_escape(text).replace('"', "&quot;");
    if python3 { escaped.replace('\'', "&#x27;") } else { escaped }
}

/// `cgi.escape(text)`: quotes stay.
pub fn tag_escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_ascii_and_astral_characters_are_pairs() {
        assert_eq!(json_string("a\"\\\n\u{7f}é😀"), r#""a\"\\\n\u007f\u00e9\ud83d\ude00""#);
    }

    #[test]
    fn only_python3_escapes_the_apostrophe() {
        assert_eq!(html_escape("<'\"&", false), "&lt;'&quot;&amp;");
        assert_eq!(html_escape("<'\"&", true), "&lt;&#x27;&quot;&amp;");
    }
}
