//! The few rules of Python that oslo.config's results and error texts inherit: stripping, `repr`, `int()`, `float()`.
//!
//! Must not know options or files.

use std::borrow::Cow;

use super::Library;
use crate::config::paste::Dialect;

/// What `str.strip` removes: ASCII blanks on Python 2 (byte strings), all of Unicode's on Python 3.
fn is_space(c: char, library: Library) -> bool {
    match library {
        Library::Old => matches!(c, ' ' | '\t'..='\r'),
        Library::New => c.is_whitespace() || matches!(c, '\x1c'..='\x1f'),
    }
}

/// `text.strip()`.
pub fn strip(text: &str, library: Library) -> &str {
    text.trim_matches(|c| is_space(c, library))
}

/// `text.lstrip()`.
pub fn strip_start(text: &str, library: Library) -> &str {
    text.trim_start_matches(|c| is_space(c, library))
}

/// `text.rstrip()`.
pub fn strip_end(text: &str, library: Library) -> &str {
    text.trim_end_matches(|c| is_space(c, library))
}

/// `repr(text)`: of a byte string on Python 2, of a string on Python 3.
pub fn repr(text: &str, library: Library) -> String {
    match library {
        Library::Old => Dialect::Py2,
        Library::New => Dialect::Py3,
    }
    .repr(text)
}

/// `repr` of a list of strings.
pub fn list_repr<'a>(items: impl IntoIterator<Item = &'a String>, library: Library) -> String {
    let items: Vec<_> = items.into_iter().map(|item| repr(item, library)).collect();
    format!("[{}]", items.join(", "))
}

/// `int(text)`; `None` where Python raises. Numbers beyond 64 bits stop at the nearest that fits.
pub fn int(text: &str, library: Library) -> Option<i64> {
    let (digits, negative) = match strip(text, library) {
        t if t.starts_with('-') => (t.trim_start_matches('-'), true),
        t => (t.strip_prefix('+').unwrap_or(t), false),
    };
    // Only one sign was there to take away.
    if negative && strip(text, library).len() != digits.len() + 1 {
        return None;
    }
    let digits = without_underscores(&in_ascii(digits, library), library)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().unwrap_or(i64::MAX);
    Some(if negative { -size } else { size })
}

/// `float(text)`; `None` where Python raises.
pub fn float(text: &str, library: Library) -> Option<f64> {
    let text = in_ascii(strip(text, library), library);
    without_underscores(&text, library)?.parse().ok()
}

/// Where the ten digits of each script begin, of those that `unicodedata.decimal` of Python 3.11 knows.
const ZEROS: [u32; 65] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
    0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0,
    0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0,
    0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0,
    0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// Python 3 takes the digits of every script.
fn in_ascii(text: &str, library: Library) -> Cow<'_, str> {
    if library == Library::Old || text.is_ascii() {
        return text.into();
    }
    let digit = |c: char| {
        let before = ZEROS.partition_point(|zero| *zero <= u32::from(c)).checked_sub(1)?;
        let digit = u32::from(c).checked_sub(*ZEROS.get(before)?).filter(|digit| *digit < 10)?;
        char::from_digit(digit, 10)
    };
    text.chars().map(|c| digit(c).unwrap_or(c)).collect::<String>().into()
}

/// Python 3 lets one underscore stand between two digits.
fn without_underscores(text: &str, library: Library) -> Option<String> {
    if library == Library::Old || !text.contains('_') {
        return Some(text.to_owned());
    }
    let well_placed = text.split('_').collect::<Vec<_>>().windows(2).all(|pair| match pair {
        [before, after] => {
            before.ends_with(|c: char| c.is_ascii_digit()) && after.starts_with(|c: char| c.is_ascii_digit())
        }
        _ => true,
    });
    well_placed.then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        use Library::{New, Old};
        for (text, library, want) in [
            (" 7 ", New, Some(7)),
            ("+5", Old, Some(5)),
            ("-1", New, Some(-1)),
            ("010", New, Some(10)),
            ("--1", New, None),
            ("+-1", New, None),
            ("1_000", New, Some(1000)),
            ("1_000", Old, None),
            ("1__0", New, None),
            ("_1", New, None),
            ("0x10", New, None),
            ("\u{663}\u{ff10}", New, Some(30)),
            ("\u{663}", Old, None),
            ("", New, None),
            ("99999999999999999999", New, Some(i64::MAX)),
        ] {
            assert_eq!(int(text, library), want, "{text}");
        }
        assert_eq!(float("1.5", New), Some(1.5));
        assert_eq!(float("1,5", New), None);
    }

    #[test]
    fn a_repr_is_quoted_and_escaped_as_the_python_in_question_does_it() {
        assert_eq!(repr("it's", Library::New), "\"it's\"");
        assert_eq!(repr("a\\b'\"", Library::New), "'a\\\\b\\'\"'");
        assert_eq!(repr("\u{feff}h\u{e9}", Library::New), "'\\ufeffh\u{e9}'");
        assert_eq!(repr("\u{feff}h\u{e9}", Library::Old), "'\\xef\\xbb\\xbfh\\xc3\\xa9'");
        assert_eq!(repr("\u{a0}", Library::New), "'\\xa0'");
    }
}
