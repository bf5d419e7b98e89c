//! One load: from the command line to a [`Config`], in which every name is the thing that it names.
//!
//! ```text
//! nova.conf & co ─▶ Conf ─▶ release (option, the workers' Python, or the paste file's layout) ─▶ Settings
//! paste file ─▶ Loader ─▶ a tree of contexts per API
//! ```
//!
//! All problems of all files are told at once. Must not know what any filter or worker does with it.

// A failed load is large, and nothing here is on a request's path.
#![allow(clippy::result_large_err)]

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::composite::{self, Choice, Tree};
use super::interpreter::{Interpreter, Interpreters, search};
use super::layout;
use super::options::{self, Table};
use super::oslo::{self, Arguments, Conf, Environment};
use super::paste::{Dialect, Document, Kind, Library, Loader, Rules, file_uri};
use super::served::PasteService;
use super::service::{self, ServiceFiles};
use super::settings::{self, ApiSettings, PasteLibrary, Settings};
use super::{Frozen, Reading, Text, Watched, unreached};
use crate::message::Diagnostic;
use crate::release::Release;

/// What a process was started with: what every load begins from.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The command line, as far as it is oslo.config's.
    pub arguments: Arguments,
    /// Variables, home, working directory.
    pub environment: Environment,
    /// Processors that the process may use.
    pub cpus: usize,
    /// What is known of the workers' Python.
    pub interpreters: Interpreters,
    /// A Paste file to be served without a nova.conf.
    pub paste: Option<PasteService>,
}

/// A whole configuration, understood.
pub struct Config {
    /// What was read for it.
    pub reading: Rc<Reading>,
    /// nova.conf and its kin.
    pub conf: Conf,
    /// The options that Pasteway itself needs, typed.
    pub settings: Settings,
    /// In the order of `enabled_apis`; those that could be loaded.
    pub apis: Vec<ApiConfig>,
    /// The paste file.
    pub paste_file: PathBuf,
    /// Whether it is served without a nova.conf (`serve --paste`).
    pub paste_alone: bool,
    /// That of Python workers, where there are any.
    pub interpreter: Option<Interpreter>,
    /// What Python workers read by themselves; nothing where there are none.
    pub service: ServiceFiles,
    /// How `release`, `ini_dialect` and `paste_library` came out, for the log.
    pub chosen: String,
    /// What is known of the workers' Python.
    pub interpreters: Interpreters,
    /// What does not keep it from being used.
    pub warnings: Vec<Diagnostic>,
    /// When the reading began.
    pub read_at: SystemTime,
    documents: Vec<Arc<Document>>,
}

/// One API of a [`Config`].
pub struct ApiConfig {
    /// Its options.
    pub settings: ApiSettings,
    /// What its section of the paste file stands for.
    pub tree: Tree,
}

/// A load that gave no [`Config`].
pub struct Failed {
    /// Why not: every problem.
    pub diagnostics: Vec<Diagnostic>,
    /// What was looked at all the same.
    pub watched: Vec<Watched>,
    /// When the reading began.
    pub read_at: SystemTime,
    /// The options, when they at least are understood.
    pub settings: Option<Settings>,
    /// The program's name, for its log.
    pub program: String,
}

/// The steps of a load, for those who measure them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Files are read and taken apart.
    Read,
    /// Names are looked up.
    Resolve,
}

impl Config {
    /// Over everything that was read: equal digests mean equal configurations.
    pub fn digest(&self) -> [u8; 32] {
        self.reading.digest()
    }

    /// The files that it is written in, absolute.
    pub fn files(&self) -> Vec<PathBuf> {
        let cwd = &self.conf.environment().cwd;
        let paste = self.documents.iter().map(|document| document.path.clone());
        self.conf.files().into_iter().chain(paste).map(|file| cwd.join(file)).collect()
    }

    /// Every text of the Paste files.
    pub fn paste_texts(&self) -> Vec<Text> {
        self.documents.iter().flat_map(|document| document.texts()).collect()
    }

    /// What a Paste file that is served alone tells Python's `logging`, as `pserve` does; empty: nothing.
    pub fn paste_logging(&self) -> Vec<Text> {
        let tells = |section: &str| {
            ["loggers", "handlers", "formatters"].contains(&section)
                || ["logger_", "handler_", "formatter_"].iter().any(|kind| section.starts_with(kind))
        };
        let texts = if self.paste_alone { self.paste_texts() } else { Vec::new() };
        texts.into_iter().filter(|text| tells(&text.section)).collect()
    }
}

/// Loads everything that the command line leads to; `timed` hears how long each step took.
///
/// # Errors
/// All problems at once.
pub fn load(invocation: &Invocation, timed: &dyn Fn(Phase, Duration)) -> Result<Config, Failed> {
    run(invocation, Reading::new(), timed, false)
}

/// The same, from what an earlier load has seen.
///
/// # Errors
/// All problems at once.
pub fn load_again(invocation: &Invocation, frozen: &Frozen, timed: &dyn Fn(Phase, Duration)) -> Result<Config, Failed> {
    run(invocation, Reading::thaw(frozen), timed, false)
}

/// The same, and warns of what is wrong in the parts of the paste file that nothing leads to.
///
/// # Errors
/// All problems at once.
pub fn load_thoroughly(invocation: &Invocation) -> Result<Config, Failed> {
    load_from(invocation, Reading::new())
}

/// The same, from files that are there already.
///
/// # Errors
/// All problems at once.
pub fn load_from(invocation: &Invocation, reading: Reading) -> Result<Config, Failed> {
    run(invocation, reading, &|_, _| {}, true)
}

fn run(
    invocation: &Invocation,
    reading: Reading,
    timed: &dyn Fn(Phase, Duration),
    thorough: bool,
) -> Result<Config, Failed> {
    let read_at = SystemTime::now();
    match build(invocation, &reading, timed, thorough) {
        Ok(parts) => {
            let Parts { conf, settings, apis, paste_file, interpreter, service, chosen, warnings, documents } = parts;
            let interpreters = invocation.interpreters.clone();
            Ok(Config {
                reading: Rc::new(reading),
                conf,
                settings,
                apis,
                paste_file,
                paste_alone: invocation.paste.is_some(),
                interpreter,
                service,
                chosen,
                interpreters,
                warnings,
                read_at,
                documents,
            })
        }
        Err(Broken { diagnostics, settings }) => Err(Failed {
            diagnostics,
            watched: reading.watched(),
            read_at,
            settings,
            program: invocation.arguments.program.clone(),
        }),
    }
}

struct Broken {
    diagnostics: Vec<Diagnostic>,
    settings: Option<Settings>,
}

struct Parts {
    conf: Conf,
    settings: Settings,
    apis: Vec<ApiConfig>,
    paste_file: PathBuf,
    interpreter: Option<Interpreter>,
    service: ServiceFiles,
    chosen: String,
    warnings: Vec<Diagnostic>,
    documents: Vec<Arc<Document>>,
}

fn build(
    invocation: &Invocation,
    reading: &Reading,
    timed: &dyn Fn(Phase, Duration),
    thorough: bool,
) -> Result<Parts, Broken> {
    let begun = Instant::now();
    let Read { conf, release, from, interpreter, unusable, mut found } = read_all(invocation, reading);
    let paste_file = conf.paste_file(reading, release);
    timed(Phase::Read, begun.elapsed());

    let begun = Instant::now();
    let whole = found.is_empty();
    let (mut settings, said) = settings::draft(&conf, release, invocation.cpus, interpreter.as_ref());
    settings.log.own_names = invocation.paste.is_some() && matches!(from, Told::Nothing);
    let usable = whole && !said.iter().any(Diagnostic::is_error);
    // Of files that could not be read to their end, what is missing from them is no finding.
    for one in said {
        let told = found.iter().any(|other| other.place == one.place && other.message == one.message);
        if !told && (whole || one.place.as_ref().is_some_and(|place| place.line > 0)) {
            found.push(one);
        }
    }
    found.extend(unusable);
    read_named_files(&settings, reading);
    let loader = Loader::new(reading, rules(&settings));
    let mut apis = Vec::new();
    let paste_file = match paste_file {
        Ok(path) => {
            apis = trees(&loader, &path, &settings, thorough, &mut found);
            path
        }
        Err(problem) => {
            found.extend(Some(problem).filter(|_| whole));
            PathBuf::new()
        }
    };
    timed(Phase::Resolve, begun.elapsed());
    if apis.is_empty() && !found.iter().any(Diagnostic::is_error) {
        found.push(
            Diagnostic::error(conf.place("DEFAULT", "enabled_apis"), "no API is left to be served")
                .help("No APIs were started. Check the enabled_apis config option."),
        );
    }
    if found.iter().any(Diagnostic::is_error) {
        return Err(Broken { diagnostics: found, settings: Some(settings).filter(|_| usable) });
    }
    use settings::WorkerKind::{Command, Python};
    let python = settings.apis.iter().any(|api| matches!(api.kind, Python { .. } | Command(_)));
    let service = if python { service::collect(&conf, reading, &paste_file) } else { ServiceFiles::default() };
    let chosen = chosen(&settings, from, interpreter.as_ref());
    let documents = loader.documents();
    Ok(Parts { conf, settings, apis, paste_file, interpreter, service, chosen, warnings: found, documents })
}

/// `release 34 (the Nova of /srv/venv/bin/python: 34.0.0), ini_dialect py3, paste_library 2`
fn chosen(settings: &Settings, from: Told, interpreter: Option<&Interpreter>) -> String {
    let python = interpreter.map(|it| format!("{} (Python {})", it.program.display(), it.python)).unwrap_or_default();
    let from = match from {
        Told::Option => "as `release` says".to_owned(),
        Told::Python(version) => format!("the Nova of {python} is {version}"),
        Told::Layout => "by the layout of the paste file".to_owned(),
        Told::Nothing => "the newest, for nothing tells another".to_owned(),
    };
    let dialect = match settings.pasteway.ini_dialect {
        settings::Dialect::Py2 => "py2",
        settings::Dialect::Py3 => "py3",
    };
    let library = match settings.pasteway.paste_library {
        PasteLibrary::One => "1",
        PasteLibrary::Two => "2",
    };
    let installed =
        interpreter.map(|it| format!(" (PasteDeploy {} is installed)", it.paste_deploy)).unwrap_or_default();
    if settings.log.own_names {
        return format!("ini_dialect {dialect}, paste_library {library}{installed}");
    }
    format!("release {} ({from}), ini_dialect {dialect}, paste_library {library}{installed}", settings.release)
}

/// Who told the release.
enum Told {
    Option,
    Python(String),
    Layout,
    Nothing,
}

/// nova.conf and all that decides how it is read.
struct Read {
    conf: Conf,
    release: Release,
    from: Told,
    interpreter: Option<Interpreter>,
    /// Why there is none, where there should be one.
    unusable: Option<Diagnostic>,
    found: Vec<Diagnostic>,
}

/// nova.conf, and the release whose defaults hold. The release decides how nova.conf is read, and nova.conf may name
/// the release, or the paste file whose layout tells it. With problems, as much of both as can be told.
pub fn read_conf(invocation: &Invocation, reading: &Reading) -> (Conf, Release, Vec<Diagnostic>) {
    let Read { conf, release, found, .. } = read_all(invocation, reading);
    (conf, release, found)
}

fn read_all(invocation: &Invocation, reading: &Reading) -> Read {
    let mut arguments = invocation.arguments.clone();
    let served = invocation.paste.as_ref().map(|service| service.told(&invocation.environment.cwd, reading));
    let (told, wrong) = served.unwrap_or_default();
    // The last one wins.
    arguments.items.splice(..0, invocation.paste.iter().flat_map(PasteService::defaults));
    arguments.items.extend(told);
    let load = |library| Conf::read_all(Table::OWN, reading, &arguments, &invocation.environment, library);
    let (mut conf, mut found) = load(oslo::Library::New);
    let (interpreter, unusable) = match interpreter(&conf, invocation, reading) {
        Ok(interpreter) => (interpreter, None),
        Err(problem) => (None, Some(problem)),
    };
    let (release, from, unknown) = match settings::wanted_release(&conf) {
        Ok(Some(stated)) => (stated, Told::Option, None),
        Ok(None) => match interpreter.as_ref().and_then(|it| it.nova.clone()) {
            Some(version) => (installed(&version), Told::Python(version), None),
            None => match by_layout(&conf, reading) {
                Some(release) => (release, Told::Layout, None),
                None => (Release::NEWEST, Told::Nothing, None),
            },
        },
        Err(problem) => (Release::NEWEST, Told::Nothing, Some(problem)),
    };
    let library = oslo::Library::of(release);
    if library != conf.library() {
        (conf, found) = load(library);
    }
    found.extend(unknown);
    found.extend(wrong);
    conf.set_release(release);
    Read { conf, release, from, interpreter, unusable, found }
}

/// The interpreter of the Python workers; `None` when there are none, or nothing may be started.
fn interpreter(conf: &Conf, invocation: &Invocation, reading: &Reading) -> Result<Option<Interpreter>, Diagnostic> {
    if reading.is_closed() || !settings::wants_python(conf) {
        return Ok(None);
    }
    let opt = &options::WORKER_PYTHON;
    let name: String = conf.get(opt)?;
    // An empty one is told with the other options.
    let name = Some(name.trim()).filter(|name| !name.is_empty()).unwrap_or("python3");
    let env = &invocation.environment;
    let place = || conf.place_or_file(opt.group, opt.name);
    let program = search(name, env.vars.get("PATH").map(String::as_str), &env.cwd).ok_or_else(|| {
        Diagnostic::error(place(), format!("the workers' Python `{name}` is not in PATH"))
            .help("set worker_python to its path, or choose another worker_kind: builtin, external")
    })?;
    let told = invocation.interpreters.ask(&program);
    // Also one that cannot be used is watched: it may be mended.
    let identity = told.as_ref().map_or("", |interpreter| interpreter.target.as_str());
    reading.program(&program, identity);
    if let Some(dir) = program.parent().and_then(Path::parent) {
        reading.program(&dir.join("pyvenv.cfg"), "");
    }
    told.map(Some).map_err(|unusable| Diagnostic::error(place(), unusable.fact).help(unusable.help))
}

/// The release of an installed Nova; one that is newer than all known ones counts as the newest, also a version of
/// development (`35.0.0.0rc1`).
fn installed(version: &str) -> Release {
    version.parse().unwrap_or(Release::NEWEST)
}

fn by_layout(conf: &Conf, reading: &Reading) -> Option<Release> {
    conf.paste_file(reading, Release::NEWEST).ok().and_then(|path| {
        let loader = Loader::new(reading, Rules { dialect: Dialect::Py2, library: Library::One });
        let document = loader.document(&path).ok()?;
        layout::release_from_layout(&document)
    })
}

fn rules(settings: &Settings) -> Rules {
    Rules {
        dialect: match settings.pasteway.ini_dialect {
            settings::Dialect::Py2 => Dialect::Py2,
            settings::Dialect::Py3 => Dialect::Py3,
        },
        library: match settings.pasteway.paste_library {
            PasteLibrary::One => Library::One,
            PasteLibrary::Two => Library::Two,
        },
    }
}

/// Reads the files that options name, so that they count, are watched and are kept like any other. What is wrong with
/// them is found by those who need them.
fn read_named_files(settings: &Settings, reading: &Reading) {
    let tls = settings.apis.iter().filter_map(|api| api.tls.as_ref());
    let named = tls.flat_map(|tls| [Some(&tls.cert), Some(&tls.key), tls.ca.as_ref()]).flatten();
    for path in named.chain(&settings.pasteway.admin_token_file) {
        let _ = reading.file(path);
    }
}

/// What each API's section stands for; those that could be loaded.
fn trees(
    loader: &Loader<'_>,
    paste_file: &Path,
    settings: &Settings,
    thorough: bool,
    found: &mut Vec<Diagnostic>,
) -> Vec<ApiConfig> {
    let choice = Choice {
        auth_strategy: settings.auth_strategy.clone(),
        api_rate_limit: settings.api_rate_limit,
        release: settings.release,
    };
    let uri = file_uri(paste_file);
    let mut apis = Vec::new();
    for api in &settings.apis {
        let mut problems = Vec::new();
        match loader.load(Kind::App, &uri, Some(api.name.as_str()), None, None) {
            Ok(context) => {
                let (tree, said) = composite::expand(loader, context, &choice);
                problems = said;
                apis.extend(tree.map(|tree| ApiConfig { settings: api.clone(), tree }));
            }
            Err(error) => problems.extend(error.into_diagnostics()),
        }
        // What two APIs share is told once.
        for problem in problems {
            if !found.contains(&problem) {
                found.push(problem);
            }
        }
    }
    if thorough {
        let more = unreached::warnings(loader, paste_file, &choice, found);
        found.extend(more);
    }
    apis
}
