//! Precedence: which of the texts that set an option counts (`_Namespace._get_value`, `ConfigOpts._do_get`).
//!
//! Must not know types or substitution.

use std::fmt;

use super::Library;
use super::parser::Document;
use crate::message::Place;

/// What was taken in, one after the other; a later layer wins.
#[derive(Debug)]
pub(super) enum Layer {
    /// A file.
    File(Document),
    /// An option of the command line, of `[DEFAULT]`.
    Argument { name: String, value: String },
    /// An option that the program itself sets; there is no layer above.
    Told { group: String, name: String, value: String },
}

/// The texts that count for an option, and where they are from.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// One, or all of an option that may be given several times.
    pub texts: Vec<String>,
    /// Those that stand before it in the same section and have no effect.
    pub outdone: Vec<String>,
    pub origin: Origin,
    /// The source that the original blames for a bad text, and the group of the section in it.
    pub blamed: Origin,
    pub group: String,
    /// The spelling that was used, where it is an old one.
    pub old_name: Option<(String, String)>,
}

impl Found {
    /// One text, under the option's own name.
    pub fn plain(text: &str, origin: Origin) -> Self {
        Self {
            texts: vec![text.to_owned()],
            outdone: Vec::new(),
            blamed: origin.clone(),
            origin,
            group: String::new(),
            old_name: None,
        }
    }
}

/// Where a text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File(Place),
    /// An environment variable.
    Environment(String),
    /// An argument.
    CommandLine,
    /// Nobody set it.
    Default,
}

/// `nova.conf:3:9`, `OS_DEFAULT__DEBUG`, `the command line`, `the default`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) => place.fmt(f),
            Self::Environment(name) => f.write_str(name),
            Self::CommandLine => f.write_str("the command line"),
            Self::Default => f.write_str("the default"),
        }
    }
}

impl Origin {
    /// As `LocationInfo` prints in error texts; `file` is the file that the original names.
    pub(super) fn original(&self, file: &str) -> String {
        let (location, detail) = match self {
            Self::File(_) => ("user: (4, True)", file.to_owned()),
            Self::CommandLine => ("command_line: (5, True)", String::new()),
            Self::Environment(name) => ("environment: (6, True)", name.clone()),
            Self::Default => ("opt_default: (1, False)", String::new()),
        };
        format!("LocationInfo(location=<Locations.{location}>, detail='{detail}')")
    }

    /// The line, where it is one.
    pub fn place(&self) -> Option<&Place> {
        if let Self::File(place) = self { Some(place) } else { None }
    }
}

/// How an option is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub group: &'a str,
    pub name: &'a str,
    /// Older names, best first.
    pub deprecated: &'a [(&'a str, &'a str)],
    /// Whether `group` and `name` count, or only the older names do.
    pub current: bool,
    pub cli: bool,
    pub multi: bool,
}

impl<'a> Wanted<'a> {
    /// The names in the order in which one file is searched.
    fn names(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.current.then_some((self.group, self.name)).into_iter().chain(self.deprecated.iter().copied())
    }

    /// The text that counts. `variable` looks an environment variable up.
    pub fn choose<'v>(
        &self,
        layers: &[Layer],
        library: Library,
        variable: impl FnOnce(&str) -> Option<&'v String>,
    ) -> Option<Found> {
        let found = if self.multi { self.all(layers) } else { layers.iter().rev().find_map(|layer| self.one(layer)) };
        if library == Library::New {
            // A value of the command line beats the environment only while no file sets the option too: a quirk of
            // oslo.config, whose files overwrite what the command line had set.
            let given = matches!(&found, Some(Found { origin: Origin::CommandLine, .. }));
            let in_file = |layer: &Layer| matches!(layer, Layer::File(_)) && self.one(layer).is_some();
            if !given || layers.iter().any(in_file) {
                let name = format!("OS_{}__{}", self.group.to_uppercase(), self.name.to_uppercase());
                if let Some(text) = variable(&name) {
                    let origin = Origin::Environment(name);
                    let found = Found::plain(text, origin);
                    // What stands in a file is blamed for it.
                    let file = layers.iter().rev().filter(|layer| matches!(layer, Layer::File(_)));
                    return Some(match file.filter_map(|layer| self.one(layer)).next() {
                        Some(Found { blamed, group, old_name, .. }) => Found { blamed, group, old_name, ..found },
                        None => found,
                    });
                }
            }
        }
        found
    }

    fn one(&self, layer: &Layer) -> Option<Found> {
        match layer {
            Layer::File(document) => self.names().find_map(|(group, name)| {
                let (assignment, outdone) = document.all(group, name).split_last()?;
                Some(Found {
                    outdone: outdone.iter().map(|assignment| assignment.value.clone()).collect(),
                    group: group.to_owned(),
                    old_name: self.old_name(group, name),
                    ..Found::plain(&assignment.value, Origin::File(assignment.place.clone()))
                })
            }),
            Layer::Told { group, name, value } => {
                (group == self.group && name == self.name).then(|| Found::plain(value, Origin::CommandLine))
            }
            Layer::Argument { name, value } => {
                (self.cli && name == self.name).then(|| Found::plain(value, Origin::CommandLine))
            }
        }
    }

    /// Earlier files first; inside one file, older names first.
    fn all(&self, layers: &[Layer]) -> Option<Found> {
        let mut found: Option<Found> = None;
        for layer in layers.iter().rev() {
            let Layer::File(document) = layer else { continue };
            for (group, name) in self.names() {
                let all = document.all(group, name);
                let Some(first) = all.first() else { continue };
                let texts: Vec<_> = all.iter().map(|assignment| assignment.value.clone()).collect();
                let found = found.get_or_insert_with(|| Found {
                    texts: Vec::new(),
                    group: group.to_owned(),
                    ..Found::plain("", Origin::File(first.place.clone()))
                });
                found.texts.splice(..0, texts);
                found.origin = Origin::File(first.place.clone());
                found.old_name = self.old_name(group, name).or(found.old_name.take());
            }
        }
        found
    }

    /// The name, if it is one to warn of.
    fn old_name(&self, group: &str, name: &str) -> Option<(String, String)> {
        (self.current && (group, name) != (self.group, self.name)).then(|| (group.to_owned(), name.to_owned()))
    }
}
