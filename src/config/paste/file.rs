//! One opened Paste file: its document, the defaults that hold in it, and its options' interpolated values
//! (PasteDeploy's `NicerConfigParser`).
//!
//! Must not know what an option means.

use std::cell::OnceCell;
use std::sync::Arc;

use super::draft::Conf;
use super::interpolate::{Names, interpolate};
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
    pub(super) raw: Conf,
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
        let section = |n: usize| self.document.sections.get_index(n).map(|(_, section)| section);
        let others = [Kind::App, Kind::Filter, Kind::Server].into_iter().filter(|other| *other != kind);
        if let Some(other) = others.flat_map(|other| self.document.index.find(other, name)).find_map(section) {
            let (header, line, noun) = (&other.name, other.line, kind.noun());
            let order = "the last name of a pipeline is its app, the others are filters";
            return Some(format!("[{header}] (line {line}) is no {noun}: {order}"));
        }
        if let Some(clean) = name.strip_suffix(',') {
            return Some(format!("write `{clean}` without the comma: names are separated by blanks"));
        }
        if let Some(line) = self.unclosed(name) {
            return Some(format!("line {line} would be its header if that were closed by `]`; so it is an option"));
        }
        let near = nearest(name, self.document.index.names(kind).map(|(name, _)| name))?;
        let line = section(*self.document.index.find(kind, near).first()?)?.line;
        Some(format!("did you mean `{near}` (line {line})?"))
    }

    /// The line that says `[app:NAME` and has no end: an option `[app` to Python.
    fn unclosed(&self, name: &str) -> Option<u32> {
        let sections = self.document.sections.values().flat_map(|section| &section.entries);
        let mut all = sections.chain(&self.document.defaults);
        let is_it = |value: &str| value.lines().next() == Some(name);
        all.find(|(key, entry)| key.starts_with('[') && is_it(&entry.value)).map(|(_, entry)| entry.key.0)
    }
}

/// Adds a failure to those before it: the first stays the original's.
pub(super) fn join(failed: &mut Option<Error>, error: Error) {
    match failed {
        Some(first) => first.more.extend(error.into_diagnostics()),
        None => *failed = Some(error),
    }
}
