//! Where the running front is, whatever its files say by now: they may have been edited, emptied or deleted since it
//! started, and who is called to mend that must reach it.
//!
//! ```text
//! --runtime-dir ─▶ where the files say, if a front runs there with these files ─▶ any front that does ─▶ where the files say
//! ```
//!
//! Must not know what is asked of it.

use std::path::{Path, PathBuf};

use crate::admin::Instance;
use crate::config::options::Table;
use crate::config::oslo::{self, Conf, Library};
use crate::config::settings::{self, RuntimeDir};
use crate::config::{Invocation, Reading};
use crate::daemon::runtime_dir::{self, INSTANCE_FILE};

/// Which front is meant cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unclear {
    #[error("several fronts run with these files: {}\nhelp: choose one by --runtime-dir", shown(.0))]
    Several(Vec<PathBuf>),
    #[error("the front of {} runs with other files: {}\nhelp: name these, or that directory: --runtime-dir {}", dir.display(), shown(files), dir.display())]
    Other { dir: PathBuf, files: Vec<PathBuf> },
}

fn shown(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "none".to_owned();
    }
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A front that the command line means.
pub(super) struct Found {
    /// Its instance file.
    pub(super) file: PathBuf,
    /// Neither the command line nor the configuration leads there: it says itself that it is meant. Nobody's secret is for
    /// it but its own.
    pub(super) by_its_word: bool,
}

/// The front that the command line means; `given` is its `--runtime-dir`.
pub(super) fn front(invocation: &Invocation, given: Option<&Path>) -> Result<Found, Unclear> {
    directory(invocation, given).map(|(dir, by_its_word)| Found { file: dir.join(INSTANCE_FILE), by_its_word })
}

fn directory(invocation: &Invocation, given: Option<&Path>) -> Result<(PathBuf, bool), Unclear> {
    if let Some(dir) = given {
        return Ok((dir.to_owned(), false));
    }
    let Invocation { arguments, environment, .. } = invocation;
    // Of broken files, what can be read. What is wrong with them is the front's to tell, if that is asked.
    let (conf, _) = Conf::read_all(Table::OWN, &Reading::new(), arguments, environment, Library::New);
    let (places, written) = match settings::runtime_dir(&conf) {
        RuntimeDir::Given(dir) => (vec![dir], true),
        RuntimeDir::FirstOf(dirs) => (dirs, false),
    };
    let there = |dir: &PathBuf| Instance::read(&dir.join(INSTANCE_FILE)).ok();
    let is_it =
        |dir: &&PathBuf| there(dir).is_some_and(|it| it.runs() && oslo::leads_to(arguments, environment, &it.files));
    if let Some(dir) = places.iter().find(is_it) {
        return Ok((dir.clone(), false));
    }
    let mut running = runtime_dir::of_running_fronts();
    running.retain(|dir| is_it(&dir));
    if running.len() > 1 {
        return Err(Unclear::Several(running));
    }
    if let Some(dir) = running.pop() {
        return Ok((dir, true));
    }
    let found = places.iter().find_map(|dir| Some((dir, there(dir)?)));
    match found {
        // It is there because nothing says otherwise: these files are another's, or nobody's.
        Some((dir, other)) if !written && other.runs() => Err(Unclear::Other { dir: dir.clone(), files: other.files }),
        found => Ok((found.map(|(dir, _)| dir).or(places.first()).cloned().unwrap_or_default(), false)),
    }
}
