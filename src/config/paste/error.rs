//! What goes wrong in the Paste loader: the original's exception, byte for byte, and our own words for it.
//!
//! Must not know which rule was broken.

use crate::message::{Diagnostic, Place};

/// A failure to read or resolve a Paste file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{diagnostic}")]
pub struct Error {
    /// The Python exception that the original raises, e.g. `LookupError`.
    pub class: &'static str,
    /// Its text, byte for byte.
    pub message: String,
    /// The same in our own words, with its place and what to do about it.
    pub diagnostic: Box<Diagnostic>,
    /// What else is wrong, found by going on where the original stops.
    pub more: Vec<Diagnostic>,
}

impl Error {
    /// The exception `class` with the text `message`, which we explain by `ours`.
    pub(crate) fn new(
        class: &'static str,
        message: impl Into<String>,
        place: impl Into<Option<Place>>,
        ours: impl Into<String>,
    ) -> Self {
        let message = message.into();
        let diagnostic = Box::new(Diagnostic::error(place, ours).original(class, message.as_str()));
        Self { class, message, diagnostic, more: Vec::new() }
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.diagnostic.help = Some(help.into());
        self
    }

    /// Adds what to do about it, when there is something to say.
    #[must_use]
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.diagnostic.help = help;
        self
    }

    /// Whether the original ran out of stack or memory: going on after it finds nothing new.
    pub(crate) fn is_exhaustion(&self) -> bool {
        matches!(self.class, "RecursionError" | "RuntimeError" | "MemoryError")
    }

    /// Everything found, the original's own error first.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut all = vec![*self.diagnostic];
        all.extend(self.more);
        all
    }
}
