//! Which sections answer to a name: the prefixes of each kind of object, and an index over a file's headers.
//!
//! Must not know what is in a section.

use std::collections::HashMap;

use super::Dialect;

/// What is asked for, and so which sections and protocols can answer (PasteDeploy's object types).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An application: apps, composites, pipelines, filter-apps.
    App,
    /// A filter.
    Filter,
    /// A server.
    Server,
}

impl Kind {
    /// The spellings of section prefixes: in each group the first one that has a match hides the others.
    pub(super) fn prefixes(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::App => &[&["app", "application"], &["composite", "composit"], &["pipeline"], &["filter-app"]],
            Self::Filter => &[&["filter"]],
            Self::Server => &[&["server"]],
        }
    }

    /// The same, all of them.
    pub(crate) fn all_prefixes(self) -> impl Iterator<Item = &'static str> {
        self.prefixes().iter().copied().flatten().copied()
    }

    /// The protocol keys: in each group the first one that is there wins; two groups contradict each other.
    pub(super) fn protocols(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::App => &[&["paste.app_factory"], &["paste.composite_factory"], &["paste.composit_factory"]],
            Self::Filter => &[&["paste.filter_factory", "paste.filter_app_factory"]],
            Self::Server => &[&["paste.server_factory", "paste.server_runner"]],
        }
    }

    /// The kind of section that has this prefix, if it is one that can be loaded.
    pub(crate) fn of_prefix(prefix: &str) -> Option<Self> {
        [Self::App, Self::Filter, Self::Server]
            .into_iter()
            .find(|kind| kind.prefixes().iter().any(|group| group.contains(&prefix)))
    }

    /// `'app' or 'application' or …`, as the messages have it.
    pub(super) fn prefix_list(self) -> String {
        let all: Vec<String> = self.prefixes().concat().iter().map(|prefix| format!("'{prefix}'")).collect();
        all.join(" or ")
    }

    /// With its article, for messages.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Filter => "filter",
            Self::Server => "server",
        }
    }
}

/// Section numbers by prefix and stripped name, so that a lookup does not scan the file.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<&'static str, HashMap<String, Vec<usize>>>);

impl Index {
    pub(super) fn new<'a>(headers: impl Iterator<Item = &'a String>, dialect: Dialect) -> Self {
        let mut index = Self::default();
        for (n, header) in headers.enumerate() {
            let Some((prefix, name)) = header.split_once(':') else { continue };
            let known = Kind::of_prefix(prefix).map(|kind| kind.prefixes().concat());
            if let Some(prefix) = known.and_then(|all| all.into_iter().find(|known| *known == prefix)) {
                index.0.entry(prefix).or_default().entry(dialect.strip(name).to_owned()).or_default().push(n);
            }
        }
        index
    }

    /// The sections that match, by their numbers in the file: one is the answer, more are ambiguous.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Vec<usize> {
        let matches = |prefix: &&'static str| self.0.get(*prefix).and_then(|names| names.get(name));
        kind.prefixes().iter().filter_map(|group| group.iter().find_map(matches)).flatten().copied().collect()
    }

    /// Every name that a kind can be asked for, with its section's number.
    pub(super) fn names(&self, kind: Kind) -> impl Iterator<Item = (&str, usize)> {
        let prefixes = kind.prefixes().iter().copied().flatten();
        let names = prefixes.filter_map(|prefix| self.0.get(prefix)).flatten();
        names.filter_map(|(name, sections)| Some((name.as_str(), *sections.first()?)))
    }
}
