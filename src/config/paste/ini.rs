//! The INI grammar of Paste files in both dialects: Python 2.7's `ConfigParser` and Python 3's `configparser`
//! with its defaults, keys not lower-cased. Every key and value keeps its line and column.
//!
//! Must not know what a section's name or an option's key means.

use std::path::Path;
use std::sync::OnceLock;

use indexmap::IndexMap;
use smallvec::smallvec;

use super::document::{Entry, Piece, column, count};
use super::file::join;
use super::section::Index;
use super::{Dialect, Document, Error, Section};
use crate::message::Place;

impl Document {
    /// Reads a file's bytes by the grammar of `dialect`.
    ///
    /// # Errors
    /// `MissingSectionHeaderError`, `ParsingError`; under Python 3 also `DuplicateSectionError`,
    /// `DuplicateOptionError` and `UnicodeDecodeError`.
    pub fn parse(path: &Path, bytes: &[u8], dialect: Dialect) -> Result<Self, Error> {
        let text = match dialect {
            // Python 2 never decodes; what is not UTF-8 is most often a name in a comment.
            Dialect::Py2 => String::from_utf8_lossy(bytes),
            Dialect::Py3 => std::str::from_utf8(bytes).map_err(|e| undecodable(path, bytes, &e))?.into(),
        };
        let mut reader = Reader {
            path,
            dialect,
            sections: IndexMap::new(),
            defaults: IndexMap::new(),
            here: Here::Nowhere,
            open: None,
            indent: 0,
            bad: Vec::new(),
            failed: None,
        };
        for (line, number) in lines(&text, dialect).zip(1..) {
            let read = match dialect {
                Dialect::Py2 => reader.py2(line, number),
                Dialect::Py3 => reader.py3(line, number),
            };
            // Here the original stops.
            if let Err(error) = read {
                join(&mut reader.failed, error);
            }
        }
        reader.finish()
    }
}

/// A line's text and whether a line break ended it.
type Line<'t> = (&'t str, bool);

/// Python 2 ends lines at `\n` alone, Python 3 at `\r` and `\r\n` too.
fn lines(text: &str, dialect: Dialect) -> impl Iterator<Item = Line<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = match dialect {
            Dialect::Py2 => rest.find('\n'),
            Dialect::Py3 => rest.find(['\n', '\r']),
        };
        let Some((line, tail)) = end.and_then(|end| rest.split_at_checked(end)) else {
            return Some((std::mem::take(&mut rest), false));
        };
        rest = tail.strip_prefix("\r\n").or_else(|| tail.get(1..)).unwrap_or_default();
        Some((line, true))
    })
}

/// The section that lines go into.
enum Here {
    Nowhere,
    Defaults,
    Section(usize),
}

/// The state of a parse between two lines.
struct Reader<'p> {
    path: &'p Path,
    dialect: Dialect,
    sections: IndexMap<String, Section>,
    defaults: IndexMap<String, Entry>,
    here: Here,
    /// The option of this section that a continuation line adds to.
    open: Option<usize>,
    /// Python 3: how deep the last header or option stood.
    indent: usize,
    /// Lines that are neither header nor option: number and `repr`.
    bad: Vec<(u32, String)>,
    /// What ends the original's parse at once.
    failed: Option<Error>,
}

impl Reader<'_> {
    fn py2(&mut self, line: Line<'_>, number: u32) -> Result<(), Error> {
        let text = line.0;
        let stripped = self.dialect.strip(text);
        let remark = || self.dialect.words(text).next().is_some_and(|word| word.eq_ignore_ascii_case("rem"));
        if stripped.is_empty() || text.starts_with(['#', ';']) || (text.starts_with(['r', 'R']) && remark()) {
            return Ok(());
        }
        if text.starts_with(|c| self.dialect.is_space(c)) && self.open.is_some() {
            self.continues(text, stripped, number);
            return Ok(());
        }
        let header = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name);
        if let Some(name) = header.filter(|name| !name.is_empty()) {
            self.header(name, number);
            return Ok(());
        }
        if matches!(self.here, Here::Nowhere) {
            return Err(self.headless(line, number));
        }
        let option = text.split_once([':', '=']).filter(|(key, _)| !key.starts_with(|c| self.dialect.is_space(c)));
        match option.filter(|(key, _)| !key.is_empty()) {
            None => self.unreadable(line, number),
            Some((key, rest)) => {
                let after = self.dialect.strip_start(rest);
                let mut value = after;
                if let Some((kept, _)) = after.split_once(';') {
                    // `optval[pos - 1]` is the last character when `pos` is 0: so a `;` that begins the value
                    // is a comment if a blank ends the line.
                    let before = if kept.is_empty() { after } else { kept };
                    if before.ends_with(|c| self.dialect.is_space(c)) {
                        value = kept;
                    }
                }
                let value = self.dialect.strip(value);
                let value = if value == "\"\"" { "" } else { value };
                self.option(self.dialect.strip_end(key), value, (number, 1), column(text, after));
            }
        }
        Ok(())
    }

    fn py3(&mut self, line: Line<'_>, number: u32) -> Result<(), Error> {
        let text = line.0;
        let stripped = self.dialect.strip(text);
        if stripped.starts_with(['#', ';']) {
            return Ok(());
        }
        if stripped.is_empty() {
            if let Some(entry) = self.open_entry() {
                entry.value.push('\n');
            }
            return Ok(());
        }
        let indent = text.chars().take_while(|&c| self.dialect.is_space(c)).count();
        if self.open.is_some() && indent > self.indent {
            self.continues(text, stripped, number);
            return Ok(());
        }
        self.indent = indent;
        let header = stripped.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')).map(|(name, _)| name);
        if let Some(name) = header.filter(|name| !name.is_empty()) {
            let twice = self.sections.get(name).map(|first| {
                self.duplicate(
                    "DuplicateSectionError",
                    (number, column(text, stripped)),
                    &format!("section {} already exists", self.dialect.repr(name)),
                    format!("section [{name}] stands in the file twice"),
                    first.line,
                )
            });
            self.header(name, number);
            return twice.map_or(Ok(()), Err);
        }
        if matches!(self.here, Here::Nowhere) {
            return Err(self.headless(line, number));
        }
        let Some((key, rest)) = stripped.split_once(['=', ':']) else {
            self.unreadable(line, number);
            return Ok(());
        };
        let key = self.dialect.strip_end(key);
        if key.is_empty() {
            self.unreadable(line, number);
        }
        let at = (number, column(text, stripped));
        let (name, entries) = match self.here {
            Here::Section(n) => match self.sections.get_index(n) {
                Some((name, section)) => (name.as_str(), &section.entries),
                None => ("DEFAULT", &self.defaults),
            },
            _ => ("DEFAULT", &self.defaults),
        };
        let twice = entries.get(key).map(|first| {
            let message =
                format!("option {} in section {} already exists", self.dialect.repr(key), self.dialect.repr(name));
            let ours = format!("option `{key}` stands in [{name}] twice");
            self.duplicate("DuplicateOptionError", at, &message, ours, first.key.0)
        });
        let value = self.dialect.strip(rest);
        self.option(key, value, at, column(text, self.dialect.strip_start(rest)));
        twice.map_or(Ok(()), Err)
    }

    fn header(&mut self, name: &str, line: u32) {
        self.open = None;
        self.here = if name == "DEFAULT" {
            Here::Defaults
        } else {
            let section = || Section { name: name.to_owned(), line, entries: IndexMap::new() };
            let entry = self.sections.entry(name.to_owned());
            let n = entry.index();
            entry.or_insert_with(section);
            Here::Section(n)
        };
    }

    fn option(&mut self, key: &str, value: &str, at: (u32, u32), column: u32) {
        let pieces = smallvec![Piece { line: at.0, column, start: 0 }];
        let entry = Entry { value: value.to_owned(), key: at, pieces };
        let n = self.entries().map(|entries| entries.insert_full(key.to_owned(), entry).0);
        // Python takes an empty key for none: nothing continues it.
        self.open = n.filter(|_| !key.is_empty());
    }

    fn continues(&mut self, text: &str, stripped: &str, line: u32) {
        let column = column(text, stripped);
        if let Some(entry) = self.open_entry() {
            entry.value.push('\n');
            entry.pieces.push(Piece { line, column, start: entry.value.len() });
            entry.value.push_str(stripped);
        }
    }

    fn entries(&mut self) -> Option<&mut IndexMap<String, Entry>> {
        match self.here {
            Here::Nowhere => None,
            Here::Defaults => Some(&mut self.defaults),
            Here::Section(n) => self.sections.get_index_mut(n).map(|(_, section)| &mut section.entries),
        }
    }

    fn open_entry(&mut self) -> Option<&mut Entry> {
        let n = self.open?;
        self.entries()?.get_index_mut(n).map(|(_, entry)| entry)
    }

    fn finish(mut self) -> Result<Document, Error> {
        if self.dialect == Dialect::Py3 {
            let all = self.sections.values_mut().flat_map(|s| s.entries.values_mut()).chain(self.defaults.values_mut());
            for entry in all {
                let end = Dialect::Py3.strip_end(&entry.value).len();
                entry.value.truncate(end);
            }
        }
        if !self.bad.is_empty() {
            let error = self.parsing_error();
            join(&mut self.failed, error);
        }
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let index = Index::new(self.sections.keys(), self.dialect);
        Ok(Document {
            path: self.path.to_owned(),
            dialect: self.dialect,
            sections: self.sections,
            defaults: self.defaults,
            index,
            lines: OnceLock::new(),
        })
    }
}

/// How the exceptions of the two parsers read.
impl Reader<'_> {
    fn place(&self, line: u32, column: u32) -> Place {
        Place { file: self.path.to_owned(), line, column }
    }

    fn named(&self) -> String {
        let path = self.path.to_string_lossy();
        if self.dialect == Dialect::Py3 { self.dialect.repr(&path) } else { path.into_owned() }
    }

    fn unreadable(&mut self, (text, ended): Line<'_>, number: u32) {
        let line = if ended { format!("{text}\n") } else { text.to_owned() };
        self.bad.push((number, self.dialect.repr(&line)));
    }

    fn headless(&mut self, (text, ended): Line<'_>, number: u32) -> Error {
        // Once is enough: what follows goes where most of it belongs.
        self.here = Here::Defaults;
        let line = self.dialect.repr(&if ended { format!("{text}\n") } else { text.to_owned() });
        let message = format!("File contains no section headers.\nfile: {}, line: {number}\n{line}", self.named());
        let error = Error::new(
            "MissingSectionHeaderError",
            message,
            self.place(number, 1),
            "this line stands before any `[section]` header",
        );
        if text.starts_with('\u{feff}') {
            error.help("save the file without a byte order mark")
        } else {
            error.help("begin the file with a header such as `[DEFAULT]`")
        }
    }

    fn parsing_error(&self) -> Error {
        let mut message = match self.dialect {
            Dialect::Py2 => format!("File contains parsing errors: {}", self.named()),
            Dialect::Py3 => format!("Source contains parsing errors: {}", self.named()),
        };
        for (number, line) in &self.bad {
            message.push_str(&format!("\n\t[line {number:2}]: {line}"));
        }
        let mut all = self.bad.iter().map(|(number, line)| {
            Error::new(
                "ParsingError",
                message.as_str(),
                self.place(*number, 1),
                format!("{line} is neither a `[section]` header nor a `key = value` line"),
            )
            .help("write `key = value`, begin a comment with `#`, and indent only what continues a value")
        });
        let mut first = all.next().unwrap_or_else(|| Error::new("ParsingError", message.as_str(), None, "not INI"));
        first.more = all.map(|error| *error.diagnostic).collect();
        first
    }

    fn duplicate(
        &self,
        class: &'static str,
        (line, column): (u32, u32),
        fact: &str,
        ours: String,
        first: u32,
    ) -> Error {
        let message = format!("While reading from {} [line {line:2}]: {fact}", self.named());
        Error::new(class, message, self.place(line, column), ours).help(format!(
            "the first is in line {first}; Python 3 takes no second one: join them, or write `ini_dialect = py2` into \
                 [pasteway] if Python 2 is meant"
        ))
    }
}

fn undecodable(path: &Path, bytes: &[u8], error: &std::str::Utf8Error) -> Error {
    let start = error.valid_up_to();
    let end = error.error_len().map_or(bytes.len(), |n| start + n);
    let first = bytes.get(start).copied().unwrap_or_default();
    let reason = match error.error_len() {
        None => "unexpected end of data",
        Some(_) if matches!(first, 0xc2..=0xf4) => "invalid continuation byte",
        Some(_) => "invalid start byte",
    };
    let message = if end - start == 1 {
        format!("'utf-8' codec can't decode byte 0x{first:02x} in position {start}: {reason}")
    } else {
        format!("'utf-8' codec can't decode bytes in position {start}-{}: {reason}", end.saturating_sub(1))
    };
    let before = bytes.get(..start).unwrap_or_default();
    let line = count(before.iter().filter(|&&byte| byte == b'\n').count() + 1);
    let place = Place { file: path.to_owned(), line, column: 0 };
    Error::new("UnicodeDecodeError", message, place, "this line is not UTF-8").help("save the file as UTF-8")
}
