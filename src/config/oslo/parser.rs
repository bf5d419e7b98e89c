//! The line grammar of oslo.config files (`oslo_config/iniparser.py`, the same in 1.2.1 and 10.7).
//!
//! Must not know options, types or precedence.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::{Library, python};
use crate::message::{Diagnostic, Place};

/// A file as sections of assignments, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Document {
    /// As the operator named it.
    pub path: PathBuf,
    assignments: IndexMap<(String, String), Vec<Assignment>>,
    /// As they are written.
    headers: BTreeSet<String>,
}

/// One `key = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Without its quotes; continuation lines are joined by line feeds.
    pub value: String,
    /// Where the value begins.
    pub place: Place,
}

impl Document {
    /// All assignments to an option, in the order of the file. Groups other than `DEFAULT` are in lower case.
    pub fn all(&self, group: &str, key: &str) -> &[Assignment] {
        self.assignments.get(&(group.to_owned(), key.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// Whether a section's header is written in exactly these letters.
    pub fn has_header(&self, name: &str) -> bool {
        self.headers.contains(name)
    }

    /// Every (group, key) that is assigned, with its last assignment.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &str, &Assignment)> {
        self.assignments.iter().filter_map(|((group, key), all)| Some((group.as_str(), key.as_str(), all.last()?)))
    }
}

/// A group's name as oslo.config compares it: in lower case, except `DEFAULT`.
pub fn normalize(group: &str) -> String {
    if group == "DEFAULT" { group.to_owned() } else { group.to_lowercase() }
}

/// Reads a file. All problems are reported; the document holds what could be read in spite of them.
pub fn parse(path: &Path, bytes: &[u8], library: Library) -> (Document, Vec<Diagnostic>) {
    let document = Document { path: path.to_owned(), ..Document::default() };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count();
            let place = Place { file: path.to_owned(), line: number(line).saturating_add(1), column: 0 };
            let found = Diagnostic::error(place, "the file is not UTF-8 text").help("save it as UTF-8");
            return (document, vec![found]);
        }
    };
    let mut parser =
        Parser { document, library, line: 0, section: None, open: None, homeless: false, problems: Vec::new() };
    // Python 3 opens text files with universal newlines, Python 2 splits at line feeds only.
    let text = if library == Library::New { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() };
    // `str::lines` would also cut a carriage return; the last terminator begins no further line.
    if !text.is_empty() {
        text.strip_suffix('\n').unwrap_or(&text).split('\n').for_each(|line| parser.line(line));
    }
    parser.flush();
    (parser.document, parser.problems)
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// What has been read so far.
struct Parser {
    document: Document,
    library: Library,
    line: u32,
    section: Option<String>,
    open: Option<Open>,
    /// An assignment before any section was reported.
    homeless: bool,
    problems: Vec<Diagnostic>,
}

/// An assignment that the next lines may continue.
struct Open {
    key: String,
    value: String,
    place: Place,
}

impl Parser {
    fn line(&mut self, line: &str) {
        self.line = self.line.saturating_add(1);
        let line = python::strip_end(line, self.library);
        if line.is_empty() {
            // A blank line ends a value of several lines.
            self.flush();
        } else if line.starts_with([' ', '\t']) {
            match &mut self.open {
                Some(open) => {
                    open.value.push('\n');
                    open.value.push_str(python::strip_start(line, self.library));
                }
                None => self.problem(
                    "Unexpected continuation line",
                    line,
                    "an indented line continues the option above it, and there is none",
                    "remove the blanks at its beginning, or the empty line before it",
                ),
            }
        } else {
            self.flush();
            if line.starts_with('[') {
                self.header(line);
            } else if !line.starts_with(['#', ';']) {
                self.assignment(line);
            }
        }
    }

    fn header(&mut self, line: &str) {
        match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some("") => self.problem("Empty section name", line, "the section has no name", "write [DEFAULT]"),
            Some(name) => {
                self.document.headers.insert(name.to_owned());
                self.section = Some(normalize(name));
            }
            None => self.problem(
                "Invalid section (must end with ])",
                line,
                "the section's line does not end with `]`",
                "nothing may follow the bracket, not even a comment",
            ),
        }
    }

    fn assignment(&mut self, line: &str) {
        let Some((key, value)) = line.split_once(['=', ':']) else {
            return self.problem(
                "No ':' or '=' found in assignment",
                line,
                "the line is no assignment: it has neither `=` nor `:`",
                "write `option = value`, or `#` before a comment",
            );
        };
        let key = python::strip(key, self.library);
        if key.is_empty() {
            return self.problem(
                "Key cannot be empty",
                line,
                "an option's name is missing before the sign",
                "write `option = value`",
            );
        }
        let text = python::strip(value, self.library);
        let before = line.len() - python::strip_start(value, self.library).len();
        let column = number(line.get(..before).map_or(0, |head| head.chars().count()).saturating_add(1));
        let place = Place { file: self.document.path.clone(), line: self.line, column };
        self.open = Some(Open { key: key.to_owned(), value: unquoted(text).to_owned(), place });
    }

    /// Stores the assignment that is open.
    fn flush(&mut self) {
        let Some(Open { key, value, place }) = self.open.take() else { return };
        let Some(section) = self.section.clone() else {
            // Once is enough: all that follows has the same cause.
            if std::mem::replace(&mut self.homeless, true) {
                return;
            }
            let empty = if self.library == Library::Old { "None" } else { "''" };
            let found = Diagnostic::error(place, format!("`{key}` is set before any section begins"))
                .help("put a line with [DEFAULT] above it");
            return self.report(found, "Section must be started before assignment", empty);
        };
        self.document.assignments.entry((section, key)).or_default().push(Assignment { value, place });
    }

    fn problem(&mut self, original: &str, line: &str, fact: &str, help: &str) {
        let blanks = line.chars().count() - python::strip_start(line, self.library).chars().count();
        let column = number(blanks).saturating_add(1);
        let place = Place { file: self.document.path.clone(), line: self.line, column };
        let shown = python::repr(line, self.library);
        self.report(Diagnostic::error(place, fact).help(help), original, &shown);
    }

    /// The original names the line that it was at when it noticed.
    fn report(&mut self, found: Diagnostic, original: &str, line: &str) {
        let file = self.document.path.display();
        let text = format!("Failed to parse {file}: at {file}:{}, {original}: {line}", self.line);
        self.problems.push(found.original("ConfigFileParseError", text));
    }
}

/// Without a pair of equal quotes around it. A lone quote counts as a pair, as in Python's `value[1:-1]`.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return if rest.is_empty() { rest } else { rest.strip_suffix(quote).unwrap_or(value) };
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Document, Vec<Diagnostic>) {
        parse(Path::new("nova.conf"), text.as_bytes(), Library::New)
    }

    #[test]
    fn a_place_is_that_of_the_value() {
        let (document, problems) = read("# c\n[DEFAULT]\nhé =  x\n");
        assert!(problems.is_empty());
        let found = document.all("DEFAULT", "hé").last().expect("set");
        assert_eq!((found.place.line, found.place.column), (3, 7));
        assert_eq!(found.place.to_string(), "nova.conf:3:7");
    }

    #[test]
    fn all_problems_of_a_file_are_reported_at_once() {
        let (document, problems) = read("[DEFAULT\n[DEFAULT]\nfoo\n= x\nok = 1\n\n  b\n");
        let places: Vec<_> = problems.iter().filter_map(|p| p.place.as_ref()).map(|p| (p.line, p.column)).collect();
        assert_eq!(places, [(1, 1), (3, 1), (4, 1), (7, 3)]);
        assert_eq!(document.all("DEFAULT", "ok").last().map(|a| a.value.as_str()), Some("1"));
    }

    #[test]
    fn an_assignment_before_any_section_is_reported_where_it_stands_and_the_original_where_it_noticed() {
        let (_, problems) = read("s = 1\n# c\nt = 2\n");
        let [found] = problems.as_slice() else { panic!("one problem: {problems:?}") };
        assert_eq!(found.place.as_ref().map(|p| p.line), Some(1));
        let text = found.original.as_ref().map(|o| o.message.as_str());
        assert_eq!(
            text,
            Some("Failed to parse nova.conf: at nova.conf:2, Section must be started before assignment: ''")
        );
    }

    #[test]
    fn bytes_that_are_not_text_are_an_error_with_a_line() {
        let (_, problems) = parse(Path::new("f"), b"[DEFAULT]\na = \xff\n", Library::New);
        assert_eq!(problems.first().and_then(|p| p.place.as_ref()).map(|p| p.line), Some(2));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(Path::new("f"), &bytes, Library::Old);
            parse(Path::new("f"), &bytes, Library::New);
        }

        #[test]
        fn every_line_is_read_or_reported(text in "([\\[\\]=:#;'\" \tab\r\n\u{a0}é]{0,12}\n){0,8}") {
            let (old, _) = parse(Path::new("f"), text.as_bytes(), Library::Old);
            let (new, _) = parse(Path::new("f"), text.as_bytes(), Library::New);
            prop_assert!(old.keys().chain(new.keys()).all(|(_, key, _)| !key.is_empty()));
        }
    }
}
