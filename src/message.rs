//! What Pasteway tells people about their files: one finding, with its place and its help. And why something failed: an
//! error with what is below it.
//!
//! Must not know which module found it.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be loaded.
    Error,
    /// It can be loaded, but does something that its writer may not expect.
    Warning,
}

/// A place in a file: line and column count from 1; 0 = not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The file, as the operator named it.
    pub file: PathBuf,
    /// From 1; 0 = the file as a whole.
    pub line: u32,
    /// From 1; 0 = the line as a whole.
    pub column: u32,
}

impl Place {
    /// The place of a whole file.
    pub fn file(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match (self.line, self.column) {
            (0, _) => Ok(()),
            (line, 0) => write!(f, ":{line}"),
            (line, column) => write!(f, ":{line}:{column}"),
        }
    }
}

/// One finding about the operator's files.
///
/// The message is lower case and says the fact first; `help` says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Where; `None` for findings that belong to no file (a command-line argument).
    #[serde(flatten)]
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// What the program that Pasteway replaces would have raised: class and text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original: Option<Original>,
}

/// The error of the replaced program at the same point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// Python exception class, e.g. `LookupError`.
    pub class: String,
    /// Its text, byte for byte.
    pub message: String,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(place: impl Into<Option<Place>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place: place.into(), message: message.into(), help: None, original: None }
    }

    /// A warning at a place.
    pub fn warning(place: impl Into<Option<Place>>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what the original would have raised.
    #[must_use]
    pub fn original(mut self, class: impl Into<String>, message: impl Into<String>) -> Self {
        self.original = Some(Original { class: class.into(), message: message.into() });
        self
    }

    /// Whether it keeps the configuration from being loaded.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// `file:line:column: message`, and the help on a line of its own.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

/// The known name that is nearest to a mistyped one, if any is near enough to suggest.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wanted.chars().count() / 3).max(1);
    known
        .into_iter()
        // Adjacent characters swapped count as one slip.
        .map(|name| (strsim::osa_distance(wanted, name), name))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

/// An error and its causes, the outermost first.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The cause at the bottom of an error: `Connection refused (os error 111)`. Those above it often only say what was tried.
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_gets_a_suggestion_and_a_stranger_none() {
        assert_eq!(nearest("authtokn", ["faultwrap", "authtoken"]), Some("authtoken"));
        assert_eq!(nearest("autohtken", ["faultwrap", "authtoken"]), Some("authtoken"));
        assert_eq!(nearest("swift", ["faultwrap", "authtoken"]), None);
    }

    #[test]
    fn a_diagnostic_reads_as_place_fact_help() {
        let d = Diagnostic::error(
            Place { file: "api-paste.ini".into(), line: 31, column: 12 },
            "filter `authtokn` is not defined",
        )
        .help("did you mean `authtoken` (line 74)?");
        assert_eq!(
            d.to_string(),
            "api-paste.ini:31:12: filter `authtokn` is not defined\nhelp: did you mean `authtoken` (line 74)?"
        );
    }
}
