//! What Python's string functions do where the loader's results depend on them: blanks, `repr`, paths.
//!
//! Must not know INI files.

use super::Dialect;

impl Dialect {
    /// `str.isspace` of one character: ASCII for Python 2's byte strings, Unicode for Python 3's text.
    pub(super) fn is_space(self, c: char) -> bool {
        match self {
            Self::Py2 => matches!(c, ' ' | '\t'..='\r'),
            Self::Py3 => c.is_whitespace() || ('\x1c'..='\x1f').contains(&c),
        }
    }

    /// `str.strip()`.
    pub(crate) fn strip(self, text: &str) -> &str {
        text.trim_matches(|c| self.is_space(c))
    }

    /// `str.rstrip()`.
    pub(super) fn strip_end(self, text: &str) -> &str {
        text.trim_end_matches(|c| self.is_space(c))
    }

    /// `str.lstrip()`.
    pub(super) fn strip_start(self, text: &str) -> &str {
        text.trim_start_matches(|c| self.is_space(c))
    }

    /// `str.split()`.
    pub(crate) fn words(self, text: &str) -> impl Iterator<Item = &str> {
        text.split(move |c| self.is_space(c)).filter(|word| !word.is_empty())
    }

    /// `repr(str)`: of the bytes under Python 2, of the characters under Python 3.
    pub(crate) fn repr(self, text: &str) -> String {
        let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
        let mut out = String::with_capacity(text.len() + 2);
        out.push(quote);
        for c in text.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                _ if c == quote => out.extend(['\\', c]),
                ' '..='~' => out.push(c),
                _ if self == Self::Py2 => {
                    let mut bytes = [0; 4];
                    out.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\x{byte:02x}")));
                }
                _ if is_printable(c) => out.push(c),
                _ => out.push_str(&match u32::from(c) {
                    code @ 0..=0xff => format!("\\x{code:02x}"),
                    code @ 0x100..=0xffff => format!("\\u{code:04x}"),
                    code => format!("\\U{code:08x}"),
                }),
            }
        }
        out.push(quote);
        out
    }
}

/// `str.isprintable`. Rust's own escapes follow the same Unicode categories, but also escape a combining mark
/// that begins a text.
fn is_printable(c: char) -> bool {
    !format!("x{c}").escape_debug().to_string().starts_with("x\\")
}

/// `os.path.normpath` on a POSIX system.
pub(super) fn normal_path(path: &str) -> String {
    let slashes = match path {
        _ if path.starts_with("///") => 1,
        _ if path.starts_with("//") => 2,
        _ => usize::from(path.starts_with('/')),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|&last| last != "..") => {
                parts.pop();
            }
            ".." if slashes > 0 => {}
            _ => parts.push(part),
        }
    }
    let normal = "/".repeat(slashes) + &parts.join("/");
    if normal.is_empty() { ".".to_owned() } else { normal }
}

/// `os.path.abspath` on a POSIX system.
pub(super) fn absolute_path(path: &str) -> String {
    if path.starts_with('/') {
        return normal_path(path);
    }
    let here = std::env::current_dir().map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default();
    normal_path(&format!("{here}/{path}"))
}

/// `os.path.dirname`.
pub(super) fn parent_path(path: &str) -> &str {
    let head = path.rfind('/').and_then(|end| path.get(..=end)).unwrap_or_default();
    let parent = head.trim_end_matches('/');
    if parent.is_empty() { head } else { parent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repr_shows_bytes_under_python_2_and_characters_under_python_3() {
        for (text, py2, py3) in [
            ("a", "'a'", "'a'"),
            ("it's", "\"it's\"", "\"it's\""),
            ("'\"", "'\\'\"'", "'\\'\"'"),
            ("\t\n\r\\", "'\\t\\n\\r\\\\'", "'\\t\\n\\r\\\\'"),
            ("é", "'\\xc3\\xa9'", "'é'"),
            ("\u{feff}", "'\\xef\\xbb\\xbf'", "'\\ufeff'"),
            ("\u{a0}", "'\\xc2\\xa0'", "'\\xa0'"),
            ("\u{301}", "'\\xcc\\x81'", "'\u{301}'"),
            ("\u{1f600}", "'\\xf0\\x9f\\x98\\x80'", "'\u{1f600}'"),
            ("\x7f", "'\\x7f'", "'\\x7f'"),
        ] {
            assert_eq!(Dialect::Py2.repr(text), py2);
            assert_eq!(Dialect::Py3.repr(text), py3);
        }
    }

    #[test]
    fn paths_are_cleaned_as_posixpath_does() {
        for (path, normal) in [
            ("/a/./b//c/../d", "/a/b/d"),
            ("//a", "//a"),
            ("///a", "/a"),
            ("/..", "/"),
            ("../a/..", ".."),
            ("a/..", "."),
            ("", "."),
        ] {
            assert_eq!(normal_path(path), normal, "{path}");
        }
        for (path, parent) in [("/a/b", "/a"), ("/a", "/"), ("a", ""), ("/a//b", "/a"), ("//", "//")] {
            assert_eq!(parent_path(path), parent, "{path}");
        }
    }

    #[test]
    fn only_python_3_strips_unicode_blanks() {
        assert_eq!(Dialect::Py3.strip("\u{a0}x\x1c"), "x");
        assert_eq!(Dialect::Py2.strip("\u{a0}x\x0b"), "\u{a0}x");
    }
}
