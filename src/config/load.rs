//! One load: from the command line to a [`Config`], in which every name is the thing that it names.
//!
//! ```text
//! nova.conf & co ─▶ Conf ─▶ release (option, or the paste file's layout) ─▶ Settings
//! paste file ─▶ Loader ─▶ a tree of contexts per API
//! ```
//!
//! All problems of all files are told at once. Must not know what any filter or worker does with it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::composite::{self, Choice, Tree};
use super::layout;
use super::oslo::{self, Arguments, Conf, Environment};
use super::paste::{Dialect, Kind, Library, Loader, Rules};
use super::settings::{self, ApiSettings, PasteLibrary, Settings};
use super::{Reading, Text};
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
}

/// A whole configuration, understood.
pub struct Config {
    /// What was read for it.
    pub reading: Reading,
    /// nova.conf and its kin.
    pub conf: Conf,
    /// The options that Pasteway itself needs, typed.
    pub settings: Settings,
    /// In the order of `enabled_apis`; those that could be loaded.
    pub apis: Vec<ApiConfig>,
    /// The paste file.
    pub paste_file: PathBuf,
    /// What does not keep it from being used.
    pub warnings: Vec<Diagnostic>,
    /// When the reading began.
    pub read_at: SystemTime,
    texts: Vec<Text>,
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
    pub watched: Vec<PathBuf>,
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

    /// Every text of the files, for comparing two configurations.
    pub fn texts(&self) -> &[Text] {
        &self.texts
    }
}

/// Loads everything that the command line leads to; `timed` hears how long each step took.
///
/// # Errors
/// All problems at once.
pub fn load(invocation: &Invocation, timed: &dyn Fn(Phase, Duration)) -> Result<Config, Failed> {
    let (reading, read_at) = (Reading::new(), SystemTime::now());
    match build(invocation, &reading, timed) {
        Ok(parts) => {
            let Parts { conf, settings, apis, paste_file, warnings, texts } = parts;
            Ok(Config { reading, conf, settings, apis, paste_file, warnings, read_at, texts })
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

impl From<Vec<Diagnostic>> for Broken {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self { diagnostics, settings: None }
    }
}

struct Parts {
    conf: Conf,
    settings: Settings,
    apis: Vec<ApiConfig>,
    paste_file: PathBuf,
    warnings: Vec<Diagnostic>,
    texts: Vec<Text>,
}

fn build(invocation: &Invocation, reading: &Reading, timed: &dyn Fn(Phase, Duration)) -> Result<Parts, Broken> {
    let begun = Instant::now();
    let (conf, release) = conf(invocation, reading)?;
    let paste_file = conf.paste_file(reading, release);
    timed(Phase::Read, begun.elapsed());

    let begun = Instant::now();
    let (settings, mut found) = settings::settings(&conf, release, invocation.cpus);
    let (Some(settings), Ok(paste_file)) = (settings, &paste_file) else {
        let settings = settings::settings(&conf, release, invocation.cpus).0;
        found.extend(paste_file.err());
        return Err(Broken { diagnostics: found, settings });
    };
    read_named_files(&settings, reading);
    let loader = Loader::new(reading, rules(&settings));
    let choice =
        Choice { auth_strategy: settings.auth_strategy.clone(), api_rate_limit: settings.api_rate_limit, release };
    let mut apis = Vec::new();
    for api in &settings.apis {
        match tree(&loader, paste_file, api, &choice, &mut found) {
            Some(tree) => apis.push(ApiConfig { settings: api.clone(), tree }),
            // From Mitaka on a name that cannot be loaded is a warning, as long as others can.
            None => continue,
        }
    }
    timed(Phase::Resolve, begun.elapsed());
    if found.iter().any(Diagnostic::is_error) {
        return Err(Broken { diagnostics: found, settings: Some(settings) });
    }
    if apis.is_empty() {
        found.push(
            Diagnostic::error(conf.place("DEFAULT", "enabled_apis"), "no API is left to be served")
                .help("No APIs were started. Check the enabled_apis config option."),
        );
        return Err(Broken { diagnostics: found, settings: Some(settings) });
    }
    let mut texts = conf.texts();
    texts.extend(loader.texts());
    Ok(Parts { conf, settings, apis, paste_file: paste_file.clone(), warnings: found, texts })
}

/// nova.conf, and the release whose defaults hold. The release decides how nova.conf is read, and nova.conf may name
/// the release, or the paste file whose layout tells it.
fn conf(invocation: &Invocation, reading: &Reading) -> Result<(Conf, Release), Vec<Diagnostic>> {
    let load = |library| Conf::load(reading, &invocation.arguments, &invocation.environment, library);
    let conf = load(oslo::Library::New)?;
    let release = release(&conf, reading)?;
    let library = oslo::Library::of(release);
    let conf = if library == conf.library() { conf } else { load(library)? };
    conf.set_release(release);
    Ok((conf, release))
}

fn release(conf: &Conf, reading: &Reading) -> Result<Release, Vec<Diagnostic>> {
    if let Some(stated) = settings::wanted_release(conf).map_err(|problem| vec![problem])? {
        return Ok(stated);
    }
    let layout = conf.paste_file(reading, Release::NEWEST).ok().and_then(|path| {
        let loader = Loader::new(reading, Rules { dialect: Dialect::Py2, library: Library::One });
        let document = loader.document(&path).ok()?;
        layout::release_from_layout(&document)
    });
    Ok(layout.unwrap_or(Release::NEWEST))
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

fn tree(
    loader: &Loader<'_>,
    paste_file: &Path,
    api: &ApiSettings,
    choice: &Choice,
    found: &mut Vec<Diagnostic>,
) -> Option<Tree> {
    let uri = format!("config:{}", paste_file.display());
    match loader.load(Kind::App, &uri, Some(api.name.as_str()), None, None) {
        Ok(context) => {
            let (tree, problems) = composite::expand(loader, context, choice);
            found.extend(problems);
            tree
        }
        Err(error) => {
            found.push(*error.diagnostic);
            None
        }
    }
}
