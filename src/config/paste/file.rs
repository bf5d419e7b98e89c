//! One opened Paste file: its document, the defaults that hold in it, and its options' interpolated values
//! (PasteDeploy's `NicerConfigParser`).
//!
//! Must not know what an option means.

use std::cell::OnceCell;
use std::sync::Arc;

use super::draft::Conf;
use super::interpolate::{Fault, Names, interpolate};
use super::python::{absolute_path, parent_path};
use super::{Dialect, Document, Error, Kind, Section};
use crate::config::{Setting, Via};
use crate::message::{Place, nearest};

/// A file as one reference sees it.
pub(super) struct File {
    /// As the reference named it.
    pub name: String,
    pub document: Arc<Document>,
    /// What the referring file passed on.
    pub inherited: Arc<Conf>,
    /// `here`, `__file__`, `[DEFAULT]` and what was inherited, not interpolated.
    raw: Conf,
    defaults: OnceCell<Result<Conf, Error>>,
}

/// The names that a section's values can refer to.
struct Scope<'f> {
    section: Option<&'f Section>,
    raw: &'f Conf,
    dialect: Dialect,
}

impl Names for Scope<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let own = self.section.and_then(|section| match section.entries.get(name) {
            Some(entry) => Some(entry.value.as_str()),
            // Python 2 keeps every section's name under this key.
            None if name == "__name__" && self.dialect == Dialect::Py2 => Some(section.name.as_str()),
            None => None,
        });
        own.or_else(|| self.raw.get(name).map(|setting| setting.value.as_str()))
    }

    fn repr(&self) -> String {
        let own = self.section.into_iter().flat_map(|section| section.entries.keys());
        let others = self.raw.keys().filter(|key| self.section.is_none_or(|s| !s.entries.contains_key(*key)));
        let pair = |key: &String| {
            let value = self.get(key).unwrap_or_default();
            format!("{}: {}", self.dialect.repr(key), self.dialect.repr(value))
        };
        format!("{{{}}}", own.chain(others).map(pair).collect::<Vec<_>>().join(", "))
    }
}

impl File {
    /// The file `name`, with the entries of `inherited` added to its defaults where it has none of that name.
    pub fn new(name: String, document: Arc<Document>, inherited: Arc<Conf>) -> Self {
        let path = absolute_path(&name);
        let built_in = |value: &str| Setting { value: value.to_owned(), place: None, via: Via::BuiltIn };
        let mut raw = Conf::from_iter([
            ("here".to_owned(), built_in(parent_path(&path))),
            ("__file__".to_owned(), built_in(&path)),
        ]);
        for (key, entry) in &document.defaults {
            let place = Some(document.place(entry.at()));
            raw.insert(key.clone(), Setting { value: entry.value.clone(), place, via: Via::Default });
        }
        for (key, setting) in inherited.iter() {
            raw.entry(key.clone()).or_insert_with(|| Setting { via: Via::Default, ..setting.clone() });
        }
        Self { name, document, inherited, raw, defaults: OnceCell::new() }
    }

    /// The defaults, interpolated.
    pub fn defaults(&self) -> Result<&Conf, Error> {
        let made = self.defaults.get_or_init(|| {
            let mut conf = Conf::with_capacity(self.raw.len());
            let mut failed = None;
            for (key, raw) in &self.raw {
                match self.get(None, key) {
                    // An empty result falls back to the raw text.
                    Ok(Some(setting)) if setting.value.is_empty() => conf.insert(key.clone(), raw.clone()),
                    Ok(setting) => setting.and_then(|setting| conf.insert(key.clone(), setting)),
                    Err(error) => {
                        join(&mut failed, error);
                        None
                    }
                };
            }
            failed.map_or(Ok(conf), Err)
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// The options of a section: its own, then those of `[DEFAULT]`.
    pub fn options<'f>(&'f self, section: &'f Section) -> impl Iterator<Item = &'f str> {
        let own = section.entries.keys();
        let others = self.raw.keys().filter(|key| !section.entries.contains_key(*key));
        let hidden = self.document.dialect == Dialect::Py2;
        own.chain(others).map(String::as_str).filter(move |key| !(hidden && *key == "__name__"))
    }

    /// An option's interpolated value, with the place of its text; `section` is `None` for `[DEFAULT]`.
    pub fn get(&self, section: Option<&Section>, key: &str) -> Result<Option<Setting>, Error> {
        let raw = match section.and_then(|section| section.entries.get(key)) {
            Some(entry) => {
                let place = Some(self.document.place(entry.at()));
                Setting { value: entry.value.clone(), place, via: Via::Local }
            }
            None => match self.raw.get(key) {
                Some(setting) => setting.clone(),
                None => return Ok(None),
            },
        };
        if !raw.value.contains('%') {
            return Ok(Some(raw));
        }
        let scope = Scope { section, raw: &self.raw, dialect: self.document.dialect };
        match interpolate(&raw.value, &scope, self.document.dialect) {
            Ok(value) => Ok(Some(Setting { value, ..raw })),
            Err(fault) => Err(self.unresolved(section, key, &raw, fault)),
        }
    }

    /// The section that a name stands for.
    pub fn find(&self, kind: Kind, name: &str, at: Option<&Place>) -> Result<&Section, Error> {
        let found = self.document.index.find(kind, name);
        if let [one] = found.as_slice()
            && let Some((_, section)) = self.document.sections.get_index(*one)
        {
            return Ok(section);
        }
        let dialect = self.document.dialect;
        let place = at.cloned().unwrap_or_else(|| Place::file(&self.name));
        let (name_repr, prefixes, file) = (dialect.repr(name), kind.prefix_list(), &self.name);
        let found: Vec<&Section> =
            found.iter().filter_map(|n| self.document.sections.get_index(*n).map(|(_, section)| section)).collect();
        let noun = kind.noun();
        if found.is_empty() {
            let message = format!("No section {name_repr} (prefixed by {prefixes}) found in config {file}");
            let ours = format!("{noun} `{name}` is not defined");
            return Err(Error::new("LookupError", message, place, ours).maybe_help(self.advice(kind, name)));
        }
        let names: Vec<String> = found.iter().map(|section| dialect.repr(&section.name)).collect();
        let names = names.join(", ");
        let message = format!(
            "Ambiguous section names [{names}] for section {name_repr} (prefixed by {prefixes}) found in config {file}"
        );
        let places: Vec<String> = found.iter().map(|s| format!("[{}] in line {}", s.name, s.line)).collect();
        Err(Error::new("LookupError", message, place, format!("{noun} `{name}` has more than one section"))
            .help(format!("keep one of {}", places.join(", "))))
    }

    /// What to do about a name that no section has.
    fn advice(&self, kind: Kind, name: &str) -> Option<String> {
        let line = |n: usize| {
            self.document.sections.get_index(n).map_or((String::new(), 0), |(_, s)| (s.name.clone(), s.line))
        };
        for other in [Kind::App, Kind::Filter, Kind::Server] {
            if let [n, ..] = self.document.index.find(other, name).as_slice() {
                let (section, line) = line(*n);
                return Some(format!(
                    "[{section}] (line {line}) is no {}: the last name of a pipeline is its app, the others are filters",
                    kind.noun()
                ));
            }
        }
        if let Some(clean) = name.strip_suffix(',') {
            return Some(format!("write `{clean}` without the comma: names are separated by blanks"));
        }
        let near = nearest(name, self.document.index.names(kind).map(|(name, _)| name))?;
        let (_, n) = self.document.index.names(kind).find(|(known, _)| *known == near)?;
        Some(format!("did you mean `{near}` (line {})?", line(n).1))
    }

    /// The exception that a value's interpolation ends in.
    fn unresolved(&self, section: Option<&Section>, key: &str, raw: &Setting, fault: Fault) -> Error {
        let dialect = self.document.dialect;
        let name = section.map_or("DEFAULT", |section| section.name.as_str());
        let entry = section.and_then(|s| s.entries.get(key)).or_else(|| self.document.defaults.get(key));
        let at = |text: &str| match (entry, &raw.place) {
            (Some(entry), Some(_)) => Some(self.document.place(entry.locate(text))),
            _ => Some(raw.place.clone().unwrap_or_else(|| Place::file(&self.name))),
        };
        let value = &raw.value;
        let error = |class, text: String, place, ours: String| {
            Error::new(class, format!("Error in file {}: {text}", self.name), place, ours)
        };
        match fault {
            Fault::Missing(missing) => {
                let text = match dialect {
                    Dialect::Py2 => format!(
                        "Bad value substitution:\n\tsection: [{name}]\n\toption : {key}\n\tkey    : {missing}\n\trawval : {value}\n"
                    ),
                    Dialect::Py3 => format!(
                        "Bad value substitution: option {} in section {} contains an interpolation key {} which is not a valid option name. Raw value: {}",
                        dialect.repr(key),
                        dialect.repr(name),
                        dialect.repr(&missing),
                        dialect.repr(value)
                    ),
                };
                let place = at(&format!("%({missing})"));
                let ours = format!("`{key}` refers to `{missing}`, which is neither in [{name}] nor in [DEFAULT]");
                let known = section.into_iter().flat_map(|s| s.entries.keys()).chain(self.raw.keys());
                let near = nearest(&missing, known.map(String::as_str));
                error("InterpolationMissingOptionError", text, place, ours)
                    .maybe_help(near.map(|near| format!("did you mean `%({near})s`?")))
            }
            Fault::Depth => {
                let text = match dialect {
                    Dialect::Py2 => format!(
                        "Value interpolation too deeply recursive:\n\tsection: [{name}]\n\toption : {key}\n\trawval : {value}\n"
                    ),
                    Dialect::Py3 => format!(
                        "Recursion limit exceeded in value substitution: option {} in section {} contains an interpolation key which cannot be substituted in 10 steps. Raw value: {}",
                        dialect.repr(key),
                        dialect.repr(name),
                        dialect.repr(value)
                    ),
                };
                let ours = format!("`{key}` refers to itself, or through more than ten other values");
                error("InterpolationDepthError", text, at("%("), ours)
            }
            Fault::Syntax(text, rest) => {
                let word = dialect.words(&rest).next().unwrap_or("%");
                let ours = format!("`{key}` has a `%` that begins no `%(name)s`");
                error("InterpolationSyntaxError", text, at(word), ours).help("write `%%` for a percent sign")
            }
            Fault::Operator(class, text) => {
                let ours = format!("`{key}` is not a format that Python 2 can fill in: {text}");
                error(class, text, at("%"), ours).help("write references as `%(name)s`, and `%%` for a percent sign")
            }
            Fault::TooLong => {
                let ours = format!("`{key}` grows beyond all bounds when its references are replaced");
                error("MemoryError", String::new(), at("%("), ours)
            }
        }
    }
}

/// Adds a failure to those before it: the first stays the original's.
pub(super) fn join(failed: &mut Option<Error>, error: Error) {
    match failed {
        Some(first) => first.more.extend(error.into_diagnostics()),
        None => *failed = Some(error),
    }
}
