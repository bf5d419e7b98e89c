//! The options of one load: from every place that may set them to typed values.
//!
//! Must not know what any option means.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::choose::{Found, Layer, Origin, Wanted};
use super::files::{self, Environment, Plan, Step};
use super::parser::{self, normalize};
use super::read::{Fault, Trail};
use super::{Arguments, FromValue, Library, Value, arguments, convert};
use crate::config::options::{Kind, Opt, Table};
use crate::config::{ConfSource, Reading, Setting, Text, Via};
use crate::message::{Diagnostic, Place};
use crate::release::Release;

/// All that was read, ready to be asked.
#[derive(Debug)]
pub struct Conf {
    pub(super) library: Library,
    pub(super) layers: Vec<Layer>,
    pub(super) table: Table,
    program: String,
    release: Cell<Option<Release>>,
    env: Environment,
    dirs: Vec<PathBuf>,
    paste: Option<PathBuf>,
    stale: RefCell<IndexMap<(String, String), Diagnostic>>,
    faults: RefCell<Vec<Diagnostic>>,
}

impl Conf {
    /// Reads every file that the command line, the environment and the search path name.
    ///
    /// # Errors
    /// All that keeps the original from starting: files that are not there or cannot be parsed, with the original's
    /// error first.
    pub fn load(
        reading: &Reading,
        arguments: &Arguments,
        env: &Environment,
        library: Library,
    ) -> Result<Self, Vec<Diagnostic>> {
        let (conf, problems) = Self::read_all(Table::OWN, reading, arguments, env, library);
        if problems.is_empty() { Ok(conf) } else { Err(problems) }
    }

    /// The same for any options, going on after a problem: what can be read, and what keeps the original from
    /// starting.
    pub fn read_all(
        table: Table,
        reading: &Reading,
        arguments: &Arguments,
        env: &Environment,
        library: Library,
    ) -> (Self, Vec<Diagnostic>) {
        let Plan { steps, dirs, paste } = files::plan(reading, arguments, env, library);
        let mut problems = Vec::new();
        let mut layers = Vec::new();
        let mut missing = Vec::new();
        for step in steps {
            match step {
                Step::Option { name, value } => layers.push(Layer::Argument { name, value }),
                Step::Told { group, name, value } => layers.push(Layer::Told { group, name, value }),
                Step::Problem(problem) => problems.push(problem),
                Step::File(path) => match reading.file(&env.cwd.join(&path)) {
                    Ok(source) => {
                        let (document, found) = parser::parse(&path, &source.bytes, library);
                        problems.extend(found);
                        if library == Library::Old {
                            problems.extend(arguments::in_file(&document, &(table.all)()));
                        }
                        layers.push(Layer::File(document));
                    }
                    Err(error) => missing.push((path, error)),
                },
            }
        }
        let conf = Self {
            library,
            layers,
            table,
            program: arguments.program.clone(),
            release: Cell::new(None),
            env: env.clone(),
            dirs,
            paste,
            stale: RefCell::default(),
            faults: RefCell::default(),
        };
        // With half of the files, the values are nobody's.
        if problems.is_empty() && library == Library::New {
            problems = conf.in_arguments();
        }
        problems.extend(files::unreadable(&missing, library));
        (conf, problems)
    }

    /// What `_validate_cli_options` ends the program for: options of the command line that a file or an argument
    /// sets to what they cannot be.
    fn in_arguments(&self) -> Vec<Diagnostic> {
        let mut options = (self.table.all)();
        options.retain(|opt| opt.cli);
        options.sort_by_key(|opt| opt.name);
        let fault = |opt: &&'static Opt| {
            // The environment has no say in it.
            let found = self.wanted(opt.group, opt.name).choose(&self.layers, self.library, |_| None)?;
            let problem = |text: &String| match self.substituted(text, opt.group, &mut Trail::default()) {
                Err(fault) => Some(self.diagnostic(opt.group, opt.name, fault)),
                Ok(text) => {
                    let invalid = convert(opt.kind, &text, self.library).err()?;
                    let text = format!("{}: {}", shown(opt.group, opt.name), invalid.fact);
                    let help = format!("it is:{}", opt.help);
                    Some(Diagnostic::error(found.origin.place().cloned(), text).help(help).original("SystemExit", "1"))
                }
            };
            found.texts.iter().find_map(problem)
        };
        options.iter().filter_map(fault).collect()
    }

    /// Says whose defaults and names hold. Until then the newest release's defaults do, and every name.
    pub fn set_release(&self, release: Release) {
        self.release.set(Some(release));
        // What was noted before went by another release's names.
        self.stale.borrow_mut().clear();
    }

    /// The release that was set.
    pub fn release(&self) -> Option<Release> {
        self.release.get()
    }

    /// Which oslo.config's rules hold.
    pub fn library(&self) -> Library {
        self.library
    }

    /// The program's name, after which its log file and `<program>.conf` are named.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The environment of the load.
    pub fn environment(&self) -> &Environment {
        &self.env
    }

    /// The files that were read, as they were named (perhaps relative to the working directory), in their order.
    pub fn files(&self) -> Vec<PathBuf> {
        let path = |layer: &Layer| match layer {
            Layer::File(document) => Some(document.path.clone()),
            Layer::Argument { .. } | Layer::Told { .. } => None,
        };
        self.layers.iter().filter_map(path).collect()
    }

    /// The paste file that `OS_NOVA_CONFIG_FILES` names, which beats `api_paste_config`.
    pub(super) fn wsgi_paste_file(&self) -> Option<&Path> {
        self.paste.as_deref()
    }

    /// The `--config-dir` directories, and the default ones, that were read.
    pub fn config_dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// The value of an option.
    ///
    /// # Errors
    /// Its text is not of its type, or refers to what there is not; or it is unset and `T` cannot say so.
    pub fn get<T: FromValue>(&self, opt: &'static Opt) -> Result<T, Diagnostic> {
        self.get_named(opt.group, opt.name)
    }

    /// The value of an option that each API has: `API_LISTEN` for `ec2` is `ec2_listen`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_for<T: FromValue>(&self, opt: &'static Opt, api: &str) -> Result<T, Diagnostic> {
        self.get_named(opt.group, &opt.name.replace("<api>", api))
    }

    /// The value of an option by its group and name, which the table need not know.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_named<T: FromValue>(&self, group: &str, name: &str) -> Result<T, Diagnostic> {
        let value = self.value(group, name).map_err(|fault| self.diagnostic(group, name, fault))?;
        let unset = matches!(value, Value::None);
        T::from_value(value).ok_or_else(|| {
            let place = self.place(group, name);
            if unset {
                Diagnostic::error(place, format!("{} has no value", shown(group, name))).help("set it")
            } else {
                Diagnostic::error(place, format!("{} is out of range", shown(group, name)))
                    .help("write a smaller number")
            }
        })
    }

    /// The typed value, or what Python would have raised.
    pub(super) fn value(&self, group: &str, name: &str) -> Result<Value, Fault> {
        let mut trail = Trail::default();
        let value = self.read(group, name, &mut trail);
        // Attribute access on [DEFAULT] turns every error but a ValueError of the newer library into this one;
        // attribute access on a group turns none.
        value.map_err(|fault| match self.library {
            _ if group != "DEFAULT" => fault,
            Library::New if fault.is_value_error() => fault,
            library => Fault::no_such_option(name, group, library).because(fault),
        })
    }

    fn diagnostic(&self, group: &str, name: &str, fault: Fault) -> Diagnostic {
        let message = format!("{}: {}", shown(group, name), fault.fact);
        let mut found = Diagnostic::error(self.place(group, name), message).original(fault.class, fault.text);
        found.help = fault.help.or_else(|| (self.table.find)(group, name).map(|opt| format!("it is:{}", opt.help)));
        found
    }

    /// Where the text of an option comes from.
    pub fn origin(&self, group: &str, name: &str) -> Origin {
        self.choose(group, name).map_or(Origin::Default, |found| found.origin)
    }

    /// The line that sets an option; `None` when no file does.
    pub fn place(&self, group: &str, name: &str) -> Option<Place> {
        self.choose(group, name).and_then(|found| found.origin.place().cloned())
    }

    /// Where an option stands, or may be written.
    pub fn place_or_file(&self, group: &str, name: &str) -> Option<Place> {
        self.place(group, name).or_else(|| self.last_file())
    }

    /// The last file as a whole: where an option may be written that no file sets.
    pub fn last_file(&self) -> Option<Place> {
        self.files().pop().map(Place::file)
    }

    /// Every (group, name) that a file sets, known or not, with the place of the assignment that comes last.
    pub fn assigned(&self) -> IndexMap<(String, String), Place> {
        let mut all = IndexMap::new();
        for layer in &self.layers {
            if let Layer::File(document) = layer {
                all.extend(document.keys().map(|(g, n, a)| ((g.to_owned(), n.to_owned()), a.place.clone())));
            }
        }
        all
    }

    /// Every text that a file sets, known or not, that of the last file where several do.
    pub fn texts(&self) -> Vec<Text> {
        let mut all: IndexMap<(String, String), Setting> = IndexMap::new();
        for layer in &self.layers {
            if let Layer::File(document) = layer {
                all.extend(document.keys().map(|(group, name, assignment)| {
                    let setting = Setting {
                        value: assignment.value.clone(),
                        place: Some(assignment.place.clone()),
                        via: Via::Conf,
                    };
                    ((group.to_owned(), name.to_owned()), setting)
                }));
            }
        }
        all.into_iter().map(|((section, name), setting)| Text { section, name, setting }).collect()
    }

    /// Every text that files set for an option of this very name, in their order.
    pub fn all_of(&self, group: &str, name: &str) -> Vec<String> {
        let texts = |layer: &Layer| match layer {
            Layer::File(document) => document.all(group, name).iter().map(|one| one.value.clone()).collect(),
            Layer::Argument { .. } | Layer::Told { .. } => Vec::new(),
        };
        self.layers.iter().flat_map(texts).collect()
    }

    /// The old names that were used so far, and the options that were asked for and are gone: each once.
    pub fn warnings(&self) -> Vec<Diagnostic> {
        self.stale.borrow().values().cloned().collect()
    }

    /// What was wrong with options that were asked for by [`raw`](ConfSource::raw), which cannot say it.
    pub fn faults(&self) -> Vec<Diagnostic> {
        self.faults.borrow().clone()
    }

    /// The text that counts for an option, its default included.
    pub(super) fn choose(&self, group: &str, name: &str) -> Option<Found> {
        let (opt, release) = ((self.table.find)(group, name), self.release.get());
        let wanted = self.wanted(group, name);
        let (group, name) = (wanted.group, wanted.name);
        let found = wanted.choose(&self.layers, self.library, |name| self.env.vars.get(name));
        let found = found.filter(|found| !self.is_stale(opt, (group, name), found));
        found.or_else(|| {
            let text = match (group, name) {
                ("DEFAULT", "host") => self.env.hostname.as_str(),
                ("DEFAULT", "my_ip") => self.env.my_ip.as_str(),
                _ => opt?.default(release.unwrap_or(Release::NEWEST))?,
            };
            Some(Found::plain(text, Origin::Default))
        })
    }

    /// How an option is looked for; one that was asked for by an old name is the option.
    fn wanted<'a>(&self, group: &'a str, name: &'a str) -> Wanted<'a> {
        let (opt, release) = ((self.table.find)(group, name), self.release.get());
        let pattern = opt.is_some_and(|opt| opt.name.contains('<'));
        let (group, name) = opt.filter(|_| !pattern).map_or((group, name), |opt| (opt.group, opt.name));
        Wanted {
            group,
            name,
            deprecated: opt.map_or(&[], |opt| opt.deprecated),
            current: opt.is_none_or(|opt| release.is_none_or(|release| release >= opt.since)),
            cli: opt.is_some_and(|opt| opt.cli),
            multi: opt.is_some_and(|opt| opt.kind == Kind::Multi),
        }
    }

    /// Notes that a value refers to an option by an old name.
    pub(super) fn note_old_reference(&self, group: &str, name: &str) {
        let Some(opt) = (self.table.find)(group, name).filter(|opt| opt.deprecated.contains(&(group, name))) else {
            return;
        };
        let shown_group = if group == "DEFAULT" { "None" } else { group };
        let text = format!(
            "Config option {shown_group}.{name}  is deprecated. Use option {}.{} instead.",
            opt.group, opt.name
        );
        let found = Diagnostic::warning(None, format!("a value refers to `${name}`, which is a deprecated name"))
            .help(format!("write ${}", opt.name))
            .original("WARNING", text);
        self.stale.borrow_mut().entry((format!("${group}"), name.to_owned())).or_insert(found);
    }

    /// Whether a text has no effect because its option is gone. Notes a warning for that, and for an old name.
    fn is_stale(&self, opt: Option<&Opt>, (group, name): (&str, &str), found: &Found) -> bool {
        let release = self.release.get();
        let gone = opt.and_then(|opt| opt.gone).filter(|gone| release.is_some_and(|release| release >= *gone));
        let known = release.is_some() || opt.is_some_and(|opt| opt.since == Release::HAVANA);
        let place = found.origin.place().cloned();
        let (key, warning) = match (&found.old_name, gone) {
            (_, Some(gone)) => {
                let text = format!("{} has no effect: it is gone since release {gone}", shown(group, name));
                let help = "remove it, or set `release` in [pasteway] if an older Nova runs here";
                ((group.to_owned(), name.to_owned()), Diagnostic::warning(place, text).help(help))
            }
            (Some(old), None) if known => {
                let text = format!("{} is a deprecated name", shown(&old.0, &old.1));
                let found = Diagnostic::warning(place, text).help(format!("write {}", shown(group, name)));
                // oslo.config 1.2.1 said nothing.
                let found = match self.library {
                    Library::Old => found,
                    Library::New => found.original("WARNING", deprecated(old, group, name)),
                };
                (old.clone(), found)
            }
            _ => return false,
        };
        self.stale.borrow_mut().entry(key).or_insert(warning);
        gone.is_some()
    }

    /// Groups that have an option in the table or stand in a file.
    pub(super) fn is_group(&self, name: &str) -> bool {
        let written = |layer: &Layer| match layer {
            Layer::File(document) => document.keys().any(|(group, ..)| group == name),
            Layer::Argument { .. } | Layer::Told { .. } => false,
        };
        name != "DEFAULT" && ((self.table.all)().iter().any(|opt| opt.group == name) || self.layers.iter().any(written))
    }

    /// Options of a group that a file or the environment sets and the table does not know.
    pub fn unknown(&self, group: &str) -> Vec<(String, Place)> {
        let unknown =
            self.assigned().into_iter().filter(|((g, name), _)| g == group && (self.table.find)(g, name).is_none());
        unknown.map(|((_, name), place)| (name, Place { column: 1, ..place })).collect()
    }
}

/// What the original logs of an old name.
fn deprecated((old_group, old_name): &(String, String), group: &str, name: &str) -> String {
    format!(
        "Option \"{old_name}\" from group \"{old_group}\" is deprecated. Use option \"{name}\" from group \"{group}\"."
    )
}

/// An option as people write it.
pub(super) fn shown(group: &str, name: &str) -> String {
    if group == "DEFAULT" { format!("`{name}`") } else { format!("`{name}` of [{group}]") }
}

impl ConfSource for Conf {
    /// A text that refers to what there is not is `None`, and one of [`faults`](Conf::faults).
    fn raw(&self, group: &str, name: &str) -> Option<Setting> {
        let group = normalize(group);
        match self.text(&group, name) {
            Ok((value, origin)) => {
                let via = if matches!(origin, Origin::Default) { Via::BuiltIn } else { Via::Conf };
                Some(Setting { value: value?, place: origin.place().cloned(), via })
            }
            Err(fault) => {
                let found = self.diagnostic(&group, name, fault);
                let mut faults = self.faults.borrow_mut();
                if !faults.contains(&found) {
                    faults.push(found);
                }
                None
            }
        }
    }
}
