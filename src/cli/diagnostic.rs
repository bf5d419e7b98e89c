//! Findings about the operator's files, printed as rustc prints its own: place, line, caret, help.
//!
//! Must not know how the findings were made or where the text of a file comes from.

use std::fmt::Write;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::terminal::{color as takes_color, complain, plain};
use crate::message::{Diagnostic, Place, Severity};

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// Gives the text of a file, for the line that a finding is about; `None` where there is none to show.
pub type Text<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// Prints all findings and their count to standard error, in colour where it takes that.
pub fn print(diagnostics: &[Diagnostic], text: Text<'_>) {
    complain(&render(diagnostics, text, takes_color(&io::stderr())));
}

/// All findings as text, in their order, and the count at the end; empty when there are none.
///
/// ```text
/// error: filter `authtokn` is not defined
///   --> api-paste.ini:31:12
///    |
/// 31 | pipeline = faultwrap authtokn
///    |                      ^
///    = help: did you mean `authtoken` (line 74)?
/// ```
pub fn render(diagnostics: &[Diagnostic], text: Text<'_>, color: bool) -> String {
    let mut out = String::new();
    let paint = Paint { color };
    for diagnostic in diagnostics {
        paint.diagnostic(&mut out, diagnostic, text);
        out.push('\n');
    }
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let warnings = diagnostics.len() - errors;
    let counts = [(errors, "error"), (warnings, "warning")];
    let counts: Vec<_> = counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| count(n, what)).collect();
    if !counts.is_empty() {
        let _ = writeln!(out, "{}", counts.join(", "));
    }
    out
}

/// All findings as a JSON array of `{"severity", "file", "line", "column", "message", "help"}`.
pub fn json(diagnostics: &[Diagnostic]) -> Value {
    // Fails only for a file name that is not UTF-8.
    diagnostics.iter().map(|d| serde_json::to_value(d).unwrap_or_else(|_| Value::String(d.to_string()))).collect()
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Writes into a `String`, which never fails; hence the ignored results.
#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

impl Paint {
    fn paint(self, style: &str, text: &str) -> String {
        if self.color { format!("{style}{text}{RESET}") } else { text.to_owned() }
    }

    fn diagnostic(self, out: &mut String, diagnostic: &Diagnostic, text: Text<'_>) {
        let (style, severity) = match diagnostic.severity {
            Severity::Error => (RED, "error"),
            Severity::Warning => (YELLOW, "warning"),
        };
        // What a worker said may follow the fact.
        let mut lines = diagnostic.message.lines();
        let message = self.paint(BOLD, &format!(": {}", plain(lines.next().unwrap_or_default())));
        let _ = writeln!(out, "{}{message}", self.paint(style, severity));
        for more in lines {
            let _ = writeln!(out, "{}", plain(more));
        }
        let line = diagnostic.place.as_ref().and_then(|place| line(place, text));
        let width = line.as_ref().map_or(1, |_| diagnostic.place.as_ref().map_or(0, |p| p.line.to_string().len()));
        let gap = " ".repeat(width);
        if let Some(place) = &diagnostic.place {
            let _ = writeln!(out, "{gap}{} {}", self.paint(BLUE, "-->"), plain(&place.to_string()));
            if let Some(line) = &line {
                let bar = self.paint(BLUE, "|");
                let number = self.paint(BLUE, &place.line.to_string());
                let _ = writeln!(out, "{gap} {bar}");
                let _ = writeln!(out, "{number} {bar} {}", shown(line));
                if let Some(indent) = indent(line, place.column) {
                    let _ = writeln!(out, "{gap} {bar} {indent}{}", self.paint(style, "^"));
                }
            }
        }
        let equals = self.paint(BLUE, "=");
        for (what, note) in notes(diagnostic) {
            let what = self.paint(BOLD, what);
            let mut lines = note.lines();
            let _ = writeln!(out, "{gap} {equals} {what}: {}", plain(lines.next().unwrap_or_default()));
            for more in lines {
                let _ = writeln!(out, "{gap}   {}", plain(more));
            }
        }
    }
}

/// What stands below the line.
fn notes(diagnostic: &Diagnostic) -> Vec<(&'static str, String)> {
    let help = diagnostic.help.iter().map(|help| ("help", help.clone()));
    let original = diagnostic.original.iter().map(|o| ("original", format!("{}: {}", o.class, o.message)));
    help.chain(original).collect()
}

/// The line that the place names.
fn line(place: &Place, text: Text<'_>) -> Option<String> {
    let index = usize::try_from(place.line).ok()?.checked_sub(1)?;
    text(&place.file)?.lines().nth(index).map(str::to_owned)
}

/// The line as a terminal may show it: a tab keeps its place as four spaces.
fn shown(line: &str) -> String {
    plain(&line.replace('\t', "    ")).into_owned()
}

/// The space before the caret; `None` when the place names no column in the line.
fn indent(line: &str, column: u32) -> Option<String> {
    let before = usize::try_from(column).ok()?.checked_sub(1)?;
    let width = |c: char| if c == '\t' { 4 } else { 1 };
    (before <= line.chars().count()).then(|| " ".repeat(line.chars().take(before).map(width).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[pipeline:x]\npipeline = faultwrap authtokn\n\tport\t= eighty\n";

    fn at(line: u32, column: u32) -> Place {
        Place { file: "api-paste.ini".into(), line, column }
    }

    fn rendered(diagnostic: Diagnostic) -> String {
        render(&[diagnostic], &|_| Some(FILE.to_owned()), false)
    }

    #[test]
    fn the_caret_stands_below_the_column() {
        let diagnostic = Diagnostic::error(at(2, 22), "filter `authtokn` is not defined")
            .help("did you mean `authtoken` (line 74)?")
            .original("LookupError", "No section 'authtokn'");
        assert_eq!(
            rendered(diagnostic),
            "\
error: filter `authtokn` is not defined
 --> api-paste.ini:2:22
  |
2 | pipeline = faultwrap authtokn
  |                      ^
  = help: did you mean `authtoken` (line 74)?
  = original: LookupError: No section 'authtokn'

1 error
"
        );
    }

    #[test]
    fn a_tab_does_not_move_the_caret() {
        let text = rendered(Diagnostic::warning(at(3, 9), "port is no number"));
        assert!(text.contains("3 |     port    = eighty\n  |               ^\n"), "{text}");
        assert!(text.starts_with("warning: port is no number\n") && text.ends_with("\n1 warning\n"), "{text}");
    }

    #[test]
    fn a_place_without_a_line_or_a_file_without_text_still_has_its_name() {
        let whole = rendered(Diagnostic::error(Place::file("nova.conf"), "the file is missing"));
        assert_eq!(whole, "error: the file is missing\n --> nova.conf\n\n1 error\n");
        let beyond = rendered(Diagnostic::error(at(99, 1), "odd"));
        assert_eq!(beyond, "error: odd\n --> api-paste.ini:99:1\n\n1 error\n");
        let nowhere = rendered(Diagnostic::error(None, "no API is enabled"));
        assert_eq!(nowhere, "error: no API is enabled\n\n1 error\n");
        let far = rendered(Diagnostic::error(at(1, 500), "odd"));
        assert!(!far.contains('^'), "{far}");
    }

    #[test]
    fn what_follows_the_fact_keeps_its_lines() {
        let text = rendered(Diagnostic::error(at(2, 1), "it did not start\n  one\x1b\n  two").help("mend it"));
        assert!(text.starts_with("error: it did not start\n  one\u{fffd}\n  two\n --> api-paste.ini:2:1\n"), "{text}");
    }

    #[test]
    fn no_findings_are_no_text() {
        assert_eq!(render(&[], &|_| None, true), "");
        assert_eq!(json(&[]), serde_json::json!([]));
    }

    #[test]
    fn colour_is_only_where_it_is_asked_for() {
        let diagnostic = [Diagnostic::error(at(2, 1), "bad\x1b[2J")];
        assert!(render(&diagnostic, &|_| None, true).contains(RED));
        assert!(!render(&diagnostic, &|_| Some(FILE.into()), false).contains('\x1b'));
    }

    #[test]
    fn json_has_the_place_beside_the_message() {
        let value = json(&[Diagnostic::error(at(2, 22), "m").help("h")]);
        assert_eq!(
            value,
            serde_json::json!([{"severity": "error", "file": "api-paste.ini", "line": 2, "column": 22, "message": "m", "help": "h"}])
        );
    }
}
