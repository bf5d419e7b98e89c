//! Resolves names and URIs to contexts: `paste.deploy.loadwsgi`'s `loadcontext` and `ConfigLoader`, without
//! importing anything.
//!
//! Must not know what any factory does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use super::draft::{Conf, Draft, Form, Shared, shared};
use super::file::{File, join};
use super::python::parent_path;
use super::uri::{self, Uri};
use super::{Context, Dialect, Document, Error, Kind, Library, Object, Rules, Section};
use crate::config::{Reading, Setting, Text, Via};
use crate::message::{Place, nearest};

/// How deep references may nest. Python's own stack ends at about 480 of them; nobody's file goes beyond ten, and
/// a thread's stack must hold ours.
const DEPTH: usize = 200;

/// Sections that one load may resolve. References that fan out again and again would take the original years.
const SECTIONS: usize = 100_000;

/// Loads contexts from one load's view of the disk.
pub struct Loader<'r> {
    reading: &'r Reading,
    rules: Rules,
    documents: RefCell<HashMap<String, Result<Arc<Document>, Error>>>,
    stack: RefCell<Vec<Step>>,
    resolved: Cell<usize>,
}

/// A reference that is being followed.
struct Step {
    target: String,
    file: String,
    at: Option<Place>,
}

impl<'r> Loader<'r> {
    /// A loader that reads files through `reading`.
    pub fn new(reading: &'r Reading, rules: Rules) -> Self {
        let (documents, stack) = (RefCell::default(), RefCell::default());
        Self { reading, rules, documents, stack, resolved: Cell::new(0) }
    }

    /// Whose grammar and precedence it follows.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// What `uri` names (`loadcontext`): its fragment, else `name`, else `main`. `relative_to` is the directory of
    /// relative `config:` paths; `global_conf` what the caller passes on.
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
        self.start();
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
        self.start();
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

    /// Every text of the files that were read, not interpolated.
    pub fn texts(&self) -> Vec<Text> {
        let documents = self.documents.borrow();
        let mut read: Vec<_> = documents.values().filter_map(|read| read.as_ref().ok()).collect();
        read.sort_by(|a, b| a.path.cmp(&b.path));
        let mut texts = Vec::new();
        for document in read {
            let sections = document.sections.values().map(|section| (section.name.as_str(), &section.entries));
            for (section, entries) in [("DEFAULT", &document.defaults)].into_iter().chain(sections) {
                texts.extend(entries.iter().map(|(name, entry)| Text {
                    section: section.to_owned(),
                    name: name.clone(),
                    setting: Setting {
                        value: entry.value.clone(),
                        place: Some(document.place(entry.key)),
                        via: Via::Local,
                    },
                }));
            }
        }
        texts
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

    fn start(&self) {
        self.resolved.set(0);
        self.stack.borrow_mut().clear();
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
            return self.step(dist, name, at, || self.uri(kind, name, None, None, global, at));
        }
        let name = if name.is_empty() { "main" } else { name };
        let object = Object::Egg { dist: dist.to_owned(), name: name.to_owned() };
        Ok(Draft::bare(kind, object, global, at.cloned().unwrap_or_default()))
    }

    /// What a name means inside a file: a URI, or one of its sections.
    fn within(
        &self,
        file: &Rc<File>,
        kind: Kind,
        name: &str,
        global: Option<Shared>,
        at: Option<&Place>,
    ) -> Result<Draft, Error> {
        if uri::is_absolute(name) {
            let base = parent_path(&file.name);
            return self.step(&file.name, name, at, || self.uri(kind, name, None, Some(base), global, at));
        }
        let section = file.find(kind, name, at)?;
        self.step(&file.name, &section.name, at, || self.section(file, kind, section, global))
    }

    /// Resolves a section: its options first, then what it refers to.
    fn section(&self, file: &Rc<File>, kind: Kind, section: &Section, passed: Option<Shared>) -> Result<Draft, Error> {
        let Options { global, additions, mut local } = self.options(file, section, passed)?;
        let filter_with = match kind {
            Kind::Server => None,
            Kind::App | Kind::Filter => local.shift_remove("filter-with"),
        };
        // Whether the distributions are installed is for the interpreter that runs the factories to say.
        local.shift_remove("require");
        let at = Within { file, section, kind };
        let (global, local) = (shared(global), shared(local));
        let draft = if section.name.starts_with("filter-app:") {
            self.filter_app(&at, &global, &local, &additions)
        } else if section.name.starts_with("pipeline:") {
            self.pipeline(&at, &global, &local)
        } else {
            self.object(&at, &global, &local, &additions)
        }?;
        let Some(named) = filter_with else { return Ok(draft) };
        let place = at.place(&named);
        let filter = self.within(file, Kind::Filter, &named.value, Some(Rc::clone(&global)), Some(&place))?;
        let form = Form::FilteredWith { filter: Box::new(filter), next: Box::new(draft) };
        Ok(at.combination(form, global, local))
    }

    /// Splits a section's options into what goes to the factory's two dictionaries.
    fn options(&self, file: &File, section: &Section, passed: Option<Shared>) -> Result<Options, Error> {
        let defaults = file.defaults()?;
        let passed = passed.map(|conf| conf.borrow().clone()).unwrap_or_default();
        let mut global = match self.rules.library {
            Library::One => {
                let mut conf = passed;
                conf.extend(defaults.iter().map(|(key, setting)| (key.clone(), setting.clone())));
                conf
            }
            Library::Two => {
                let mut conf = defaults.clone();
                conf.extend(passed);
                conf
            }
        };
        let strip = |name| self.rules.dialect.strip(name).to_owned();
        let (mut additions, mut local, mut gets) = (Conf::new(), Conf::new(), Conf::new());
        let mut failed = None;
        for key in file.options(section) {
            let (set, get) = (key.strip_prefix("set "), key.strip_prefix("get "));
            if set.is_none() && get.is_none() && defaults.contains_key(key) {
                continue;
            }
            let setting = match file.get(Some(section), key) {
                Ok(Some(setting)) => setting,
                Ok(None) => continue,
                Err(error) => {
                    join(&mut failed, error);
                    continue;
                }
            };
            if let Some(name) = set.map(strip) {
                let setting = Setting { via: Via::Set, ..setting };
                global.insert(name.clone(), setting.clone());
                additions.insert(name, setting);
            } else if let Some(name) = get.map(strip) {
                gets.insert(name, setting);
            } else {
                local.insert(key.to_owned(), setting);
            }
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
        for (name, wanted) in gets {
            let Some(value) = global.get(&wanted.value) else {
                let ours = format!("`get {name}` asks for `{}`, which is neither set nor in [DEFAULT]", wanted.value);
                let near = nearest(&wanted.value, global.keys().map(String::as_str));
                return Err(Error::new("KeyError", self.rules.dialect.repr(&wanted.value), wanted.place, ours)
                    .maybe_help(near.map(|near| format!("did you mean `{near}`?"))));
            };
            local.insert(name, Setting { via: Via::Get, ..value.clone() });
        }
        Ok(Options { global, additions, local })
    }

    /// A section that names one object, by `use` or by a protocol key.
    fn object(&self, at: &Within<'_>, global: &Shared, local: &Shared, additions: &Conf) -> Result<Draft, Error> {
        let named = local.borrow_mut().shift_remove("use");
        match named {
            Some(named) => self.used(at, &named, global, local, additions),
            None => self.explicit(at, global, local),
        }
    }

    /// What `use` names, with this section's options laid over it.
    fn used(
        &self,
        at: &Within<'_>,
        named: &Setting,
        global: &Shared,
        local: &Shared,
        additions: &Conf,
    ) -> Result<Draft, Error> {
        let place = at.place(named);
        let mut target = self.within(at.file, at.kind, &named.value, Some(Rc::clone(global)), Some(&place))?;
        let own_file = global.borrow().get("__file__").cloned();
        {
            let mut theirs = target.global.borrow_mut();
            theirs.extend(additions.iter().map(|(key, setting)| (key.clone(), setting.clone())));
            theirs.extend(own_file.map(|setting| ("__file__".to_owned(), setting)));
        }
        {
            let mut theirs = target.local.borrow_mut();
            for setting in theirs.values_mut().filter(|setting| setting.via == Via::Local) {
                setting.via = Via::Use;
            }
            theirs.extend(local.borrow().iter().map(|(key, setting)| (key.clone(), setting.clone())));
        }
        target.loader = Some(Rc::clone(at.file));
        target.section = Some(at.section.name.clone());
        target.place = at.file.document.place((at.section.line, 1));
        // Of an egg, the installed distribution decides.
        if target.protocol.is_none() && !matches!(target.object, Some(Object::Egg { .. })) {
            target.protocol = Some(match at.section.name.split(':').next().unwrap_or_default() {
                "app" | "application" => "paste.app_factory".to_owned(),
                "composite" | "composit" => "paste.composit_factory".to_owned(),
                prefix => format!("paste.{prefix}_factory"),
            });
        }
        Ok(target)
    }

    /// The object of the section's own protocol key.
    fn explicit(&self, at: &Within<'_>, global: &Shared, local: &Shared) -> Result<Draft, Error> {
        let (section, dialect) = (&at.section.name, self.rules.dialect);
        let mut possible = Vec::new();
        for group in at.kind.protocols() {
            let conf = local.borrow();
            possible.extend(group.iter().find_map(|key| Some((*key, conf.get(*key)?.clone()))));
        }
        let place = at.file.document.place((at.section.line, 1));
        let Some((protocol, found)) = possible.first() else {
            let keys = at.kind.protocols().concat().join("`, `");
            let message = format!("No loader given in section {}", dialect.repr(section));
            return Err(Error::new("LookupError", message, place, format!("[{section}] names no factory"))
                .help(format!("add `use`, or one of `{keys}`")));
        };
        if let Some((_, second)) = possible.get(1) {
            let pairs: Vec<String> = possible
                .iter()
                .map(|(key, setting)| format!("({}, {})", dialect.repr(key), dialect.repr(&setting.value)))
                .collect();
            let section_repr = dialect.repr(section);
            let message = format!("Multiple protocols given in section {section_repr}: [{}]", pairs.join(", "));
            let ours = format!("[{section}] names more than one factory");
            return Err(Error::new("LookupError", message, second.place.clone(), ours).help("keep one of them"));
        }
        local.borrow_mut().shift_remove(*protocol);
        Ok(Draft {
            form: Form::Plain(at.kind),
            object: Some(Object::Import(found.value.clone())),
            protocol: Some((*protocol).to_owned()),
            section: Some(section.clone()),
            place,
            global: Rc::clone(global),
            local: Rc::clone(local),
            loader: Some(Rc::clone(at.file)),
        })
    }

    fn filter_app(&self, at: &Within<'_>, global: &Shared, local: &Shared, additions: &Conf) -> Result<Draft, Error> {
        let next = local.borrow_mut().shift_remove("next").ok_or_else(|| at.missing("next"))?;
        let place = at.place(&next);
        let next = self.within(at.file, Kind::App, &next.value, Some(Rc::clone(global)), Some(&place))?;
        let filter = self.object(&Within { kind: Kind::Filter, ..*at }, global, local, additions)?;
        let form = Form::FilterApp { filter: Box::new(filter), next: Box::new(next) };
        Ok(at.combination(form, Rc::clone(global), Rc::clone(local)))
    }

    fn pipeline(&self, at: &Within<'_>, global: &Shared, local: &Shared) -> Result<Draft, Error> {
        let setting = local.borrow_mut().shift_remove("pipeline").ok_or_else(|| at.missing("pipeline"))?;
        self.no_extras(at, &local.borrow())?;
        let words = at.file.document.words(&setting);
        let Some((last, names)) = words.split_last() else {
            let ours = format!("the pipeline of [{}] is empty", at.section.name);
            return Err(Error::new("IndexError", "list index out of range", setting.place, ours)
                .help("name its filters, and its app last"));
        };
        let resolve = |kind, (word, place): &(&str, Place)| {
            self.within(at.file, kind, word, Some(Rc::clone(global)), Some(place))
        };
        let (mut failed, mut filters) = (None, Vec::with_capacity(names.len()));
        let app = resolve(Kind::App, last).map_err(|error| join(&mut failed, error)).ok();
        for word in names {
            if failed.as_ref().is_some_and(Error::is_exhaustion) {
                break;
            }
            match resolve(Kind::Filter, word) {
                Ok(filter) => filters.push(filter),
                Err(error) => join(&mut failed, error),
            }
        }
        match (app, failed) {
            (Some(app), None) => {
                let form = Form::Pipeline { filters, app: Box::new(app) };
                Ok(at.combination(form, Rc::clone(global), Rc::clone(local)))
            }
            (_, failed) => Err(failed.unwrap_or_else(|| at.missing("pipeline"))),
        }
    }

    /// A pipeline section takes nothing but its pipeline.
    fn no_extras(&self, at: &Within<'_>, local: &Conf) -> Result<(), Error> {
        let Some((key, setting)) = local.first() else { return Ok(()) };
        let extra = local.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let (section, file) = (&at.section.name, &at.file.name);
        let (class, message) = match self.rules.library {
            // The code that makes the message is itself broken there.
            Library::One => ("TypeError", "not enough arguments for format string".to_owned()),
            Library::Two => (
                "LookupError",
                format!("The [{section}] pipeline section in {file} has extra (disallowed) settings: {extra}"),
            ),
        };
        Err(Error::new(
            class,
            message,
            setting.place.clone(),
            format!("[{section}] is a pipeline and takes no `{key}`"),
        )
        .help("give the option to the section of the filter or app that wants it"))
    }

    /// Follows a reference, unless it goes in circles.
    fn step(
        &self,
        file: &str,
        target: &str,
        at: Option<&Place>,
        follow: impl FnOnce() -> Result<Draft, Error>,
    ) -> Result<Draft, Error> {
        self.resolved.set(self.resolved.get() + 1);
        let step = Step { target: target.to_owned(), file: file.to_owned(), at: at.cloned() };
        self.stack.borrow_mut().push(step);
        let result = if self.stack.borrow().len() > DEPTH {
            Err(self.circle())
        } else if self.resolved.get() > SECTIONS {
            let ours = format!("more than {SECTIONS} sections are resolved for one name");
            Err(Error::new("MemoryError", "", at.cloned(), ours).help("sections refer to each other again and again"))
        } else {
            follow()
        };
        self.stack.borrow_mut().pop();
        result
    }

    /// The references nest without end.
    fn circle(&self) -> Error {
        let stack = self.stack.borrow();
        let key = |step: &Step| (step.file.clone(), step.target.clone());
        let mut seen = HashMap::new();
        let circle = stack.iter().enumerate().find_map(|(n, step)| Some((seen.insert(key(step), n)?, n)));
        let steps = circle.and_then(|(first, last)| stack.get(first..=last)).unwrap_or_default();
        let one_file = steps.windows(2).all(|pair| matches!(pair, [a, b] if a.file == b.file));
        let (class, message) = match (self.rules.dialect, steps.first().filter(|_| one_file)) {
            (Dialect::Py2, Some(_)) => ("RuntimeError", "maximum recursion depth exceeded in cmp".to_owned()),
            (Dialect::Py3, Some(step)) => {
                ("RecursionError", format!("Error in file {}: maximum recursion depth exceeded", step.file))
            }
            (Dialect::Py2, None) => ("RuntimeError", DEEP.to_owned()),
            (Dialect::Py3, None) => ("RecursionError", DEEP.to_owned()),
        };
        let place = steps.last().or(stack.first()).and_then(|step| step.at.clone());
        if steps.is_empty() {
            return Error::new(class, message, place, "sections refer to each other too deeply");
        }
        let route: Vec<String> = steps.iter().map(|step| format!("[{}]", step.target)).collect();
        Error::new(class, message, place, format!("sections refer to each other in a circle: {}", route.join(" → ")))
            .help("let one of them name a factory")
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
        Error::new(class, message, place, format!("cannot read `{name}`: {error}"))
    }
}

const DEEP: &str = "maximum recursion depth exceeded while calling a Python object";

/// A section's options, sorted by where they go.
struct Options {
    global: Conf,
    additions: Conf,
    local: Conf,
}

/// The section that is being resolved, and what is wanted of it.
#[derive(Clone, Copy)]
struct Within<'s> {
    file: &'s Rc<File>,
    section: &'s Section,
    kind: Kind,
}

impl Within<'_> {
    /// Where a reference stands.
    fn place(&self, setting: &Setting) -> Place {
        setting.place.clone().unwrap_or_else(|| self.file.document.place((self.section.line, 1)))
    }

    fn missing(&self, key: &str) -> Error {
        let (section, file) = (&self.section.name, &self.file.name);
        let message = format!("The [{section}] section in {file} is missing a '{key}' setting");
        let place = self.file.document.place((self.section.line, 1));
        let error = Error::new("LookupError", message, place, format!("[{section}] has no `{key}`"));
        if self.file.document.defaults.contains_key(key) {
            return error.help(format!("`{key}` in [DEFAULT] does not count: move it into the section"));
        }
        let near = nearest(key, self.section.entries.keys().map(String::as_str));
        error.maybe_help(near.map(|near| format!("did you mean `{key}` by `{near}`?")))
    }

    /// A context that has no object of its own.
    fn combination(&self, form: Form, global: Shared, local: Shared) -> Draft {
        Draft {
            form,
            object: None,
            protocol: None,
            section: Some(self.section.name.clone()),
            place: self.file.document.place((self.section.line, 1)),
            global,
            local,
            loader: Some(Rc::clone(self.file)),
        }
    }
}
