//! Resolves names and URIs to contexts: `paste.deploy.loadwsgi`'s `loadcontext` and `ConfigLoader`, without
//! importing anything.
//!
//! Must not know what any factory does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use super::draft::{Conf, Draft, Shared, shared};
use super::file::File;
use super::python::parent_path;
use super::trail::Trail;
use super::uri::{self, Uri};
use super::{Context, Dialect, Document, Error, Kind, Object, Rules};
use crate::config::{Reading, Setting};
use crate::message::Place;

/// Loads contexts from one load's view of the disk.
pub struct Loader<'r> {
    reading: &'r Reading,
    pub(super) rules: Rules,
    documents: RefCell<HashMap<String, Result<Arc<Document>, Error>>>,
    trail: Trail,
}

impl<'r> Loader<'r> {
    /// A loader that reads files through `reading`.
    pub fn new(reading: &'r Reading, rules: Rules) -> Self {
        Self { reading, rules, documents: RefCell::default(), trail: Trail::new(rules.dialect) }
    }

    /// Whose grammar and precedence it follows.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// What `uri` leads to (`loadcontext`), under `name`, else the URI's fragment, else `main`. `relative_to` is the
    /// directory of relative `config:` paths; `global_conf` what the caller passes on.
    ///
    /// # Errors
    /// The original's exception, and what else is wrong.
    pub fn load(
        &self,
        kind: Kind,
        uri: &str,
        name: Option<&str>,
        relative_to: Option<&Path>,
        global_conf: Option<&IndexMap<String, Setting>>,
    ) -> Result<Arc<Context>, Error> {
        let base = relative_to.map(|path| path.to_string_lossy());
        self.trail.start();
        self.uri(kind, uri, name, base.as_deref(), global_conf.cloned().map(shared), None).map(Draft::freeze)
    }

    /// The app that a composite's factory gets by `loader.get_app(name, global_conf)`.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn get_app(
        &self,
        from: &Context,
        name: &str,
        global_conf: Option<&IndexMap<String, Setting>>,
    ) -> Result<Arc<Context>, Error> {
        self.get(Kind::App, from, name, global_conf, &from.place)
    }

    /// The filter that a composite's factory gets by `loader.get_filter(name, global_conf)`.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn get_filter(
        &self,
        from: &Context,
        name: &str,
        global_conf: Option<&IndexMap<String, Setting>>,
    ) -> Result<Arc<Context>, Error> {
        self.get(Kind::Filter, from, name, global_conf, &from.place)
    }

    /// As [`Loader::get_app`], for a name that stands at `at`.
    pub(crate) fn get(
        &self,
        kind: Kind,
        from: &Context,
        name: &str,
        global_conf: Option<&Conf>,
        at: &Place,
    ) -> Result<Arc<Context>, Error> {
        self.trail.start();
        let global = global_conf.cloned().map(shared);
        let draft = match &from.object {
            Some(Object::Egg { dist, .. }) if from.loader.as_os_str().is_empty() => {
                self.egg(kind, dist, name, global, Some(at))
            }
            Some(object @ Object::Call(_)) if from.loader.as_os_str().is_empty() => {
                Ok(Draft::bare(kind, object.clone(), global, at.clone()))
            }
            _ => {
                let file = self.open(from.loader.to_string_lossy().into_owned(), &from.inherited, Some(at))?;
                self.within(&file, kind, name, global, Some(at))
            }
        };
        draft.map(Draft::freeze)
    }

    /// The files that were read and could be parsed, by their names.
    pub fn documents(&self) -> Vec<Arc<Document>> {
        let mut read: Vec<_> = self.documents.borrow().values().filter_map(|read| read.clone().ok()).collect();
        read.sort_by(|a, b| a.path.cmp(&b.path));
        read
    }

    /// The parsed file, read once.
    ///
    /// # Errors
    /// What `open()` raises, and what [`Document::parse`] gives.
    pub fn document(&self, path: &Path) -> Result<Arc<Document>, Error> {
        self.parsed(&path.to_string_lossy(), None)
    }

    /// The defaults that hold in a file, interpolated: `here`, `__file__`, and its `[DEFAULT]`.
    ///
    /// # Errors
    /// As [`Loader::document`], and what interpolation raises.
    pub fn defaults(&self, path: &Path) -> Result<IndexMap<String, Setting>, Error> {
        self.open(path.to_string_lossy().into_owned(), &Arc::default(), None)?.defaults().cloned()
    }

    /// The words of a value, each with the place where it is written.
    pub fn words<'s>(&self, setting: &'s Setting) -> Vec<(&'s str, Place)> {
        match self.written(setting) {
            Some(document) => document.words(setting),
            None => {
                let place = setting.place.clone().unwrap_or_default();
                self.rules.dialect.words(&setting.value).map(|word| (word, place.clone())).collect()
            }
        }
    }

    /// Where the key of a value is written.
    pub fn key_place(&self, setting: &Setting) -> Option<Place> {
        let (document, line) = (self.written(setting)?, setting.place.as_ref()?.line);
        document.entry_at(line).map(|entry| document.place(entry.key))
    }

    /// The file that a value is written in.
    fn written(&self, setting: &Setting) -> Option<Arc<Document>> {
        let name = setting.place.as_ref()?.file.to_str()?;
        self.documents.borrow().get(name)?.clone().ok()
    }

    fn uri(
        &self,
        kind: Kind,
        uri: &str,
        name: Option<&str>,
        relative_to: Option<&str>,
        global: Option<Shared>,
        at: Option<&Place>,
    ) -> Result<Draft, Error> {
        let (uri, name) = uri::split_name(uri, name);
        let dialect = self.rules.dialect;
        let fault = |(class, message): uri::Fault| {
            Error::new(class, message, at.cloned(), format!("`{uri}` cannot be loaded"))
                .help("write `config:FILE#NAME`, `egg:DISTRIBUTION#NAME`, `call:MODULE:FUNCTION`, or a section's name")
        };
        match uri::parse(uri, dialect).map_err(fault)? {
            Uri::Egg(dist) => self.egg(kind, dist, name, global, at),
            Uri::Call(spec) => {
                Ok(Draft::bare(kind, Object::Call(spec.to_owned()), global, at.cloned().unwrap_or_default()))
            }
            Uri::Config(path) => {
                let path = uri::config_path(uri, path, relative_to, dialect).map_err(fault)?;
                let inherited = global.as_ref().map(|conf| conf.borrow().clone()).unwrap_or_default();
                let file = self.open(path, &Arc::new(inherited), at)?;
                self.within(&file, kind, name, global, at)
            }
        }
    }

    fn egg(
        &self,
        kind: Kind,
        dist: &str,
        name: &str,
        global: Option<Shared>,
        at: Option<&Place>,
    ) -> Result<Draft, Error> {
        if uri::is_absolute(name) {
            return self.trail.step(dist, name.to_owned(), at, || self.uri(kind, name, None, None, global, at));
        }
        let name = if name.is_empty() { "main" } else { name };
        let object = Object::Egg { dist: dist.to_owned(), name: name.to_owned() };
        Ok(Draft::bare(kind, object, global, at.cloned().unwrap_or_default()))
    }

    /// What a name means inside a file: a URI, or one of its sections.
    pub(super) fn within(
        &self,
        file: &Rc<File>,
        kind: Kind,
        name: &str,
        global: Option<Shared>,
        at: Option<&Place>,
    ) -> Result<Draft, Error> {
        if uri::is_absolute(name) {
            let base = parent_path(&file.name);
            return self
                .trail
                .step(&file.name, name.to_owned(), at, || self.uri(kind, name, None, Some(base), global, at));
        }
        let section = file.find(kind, name, at)?;
        self.trail.step(&file.name, format!("[{}]", section.name), at, || self.section(file, kind, section, global))
    }

    fn open(&self, name: String, inherited: &Arc<Conf>, at: Option<&Place>) -> Result<Rc<File>, Error> {
        let document = self.parsed(&name, at)?;
        Ok(Rc::new(File::new(name, document, Arc::clone(inherited))))
    }

    fn parsed(&self, name: &str, at: Option<&Place>) -> Result<Arc<Document>, Error> {
        if let Some(known) = self.documents.borrow().get(name) {
            return known.clone();
        }
        let path = Path::new(name);
        let source = self.reading.file(path).map_err(|e| self.unreadable(name, &e, at))?;
        let parsed = Document::parse(path, &source.bytes, self.rules.dialect).map(Arc::new);
        self.documents.borrow_mut().insert(name.to_owned(), parsed.clone());
        parsed
    }

    /// What `open()` raises.
    fn unreadable(&self, name: &str, error: &io::Error, at: Option<&Place>) -> Error {
        let (class, number, text) = match error.kind() {
            io::ErrorKind::NotFound => ("FileNotFoundError", 2, "No such file or directory"),
            io::ErrorKind::PermissionDenied => ("PermissionError", 13, "Permission denied"),
            io::ErrorKind::NotADirectory => ("NotADirectoryError", 20, "Not a directory"),
            io::ErrorKind::IsADirectory => ("IsADirectoryError", 21, "Is a directory"),
            io::ErrorKind::InvalidFilename => ("OSError", 36, "File name too long"),
            _ => ("OSError", 5, "Input/output error"),
        };
        let class = if self.rules.dialect == Dialect::Py2 { "IOError" } else { class };
        let place = at.cloned().unwrap_or_else(|| Place::file(name));
        let message = format!("[Errno {number}] {text}: {}", self.rules.dialect.repr(name));
        let found = Error::new(class, message, place, format!("cannot read `{name}`: {error}"));
        match error.kind() {
            io::ErrorKind::PermissionDenied => found.help("let the front's user read it"),
            io::ErrorKind::FileTooLarge => found.help("this is no Paste file: correct the name that leads here"),
            _ => found,
        }
    }
}
