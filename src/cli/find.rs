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

/// The instance file of the front that the command line means; `given` is its `--runtime-dir`.
pub(super) fn instance(invocation: &Invocation, given: Option<&Path>) -> Result<PathBuf, Unclear> {
    directory(invocation, given).map(|dir| dir.join(INSTANCE_FILE))
}

fn directory(invocation: &Invocation, given: Option<&Path>) -> Result<PathBuf, Unclear> {
    if let Some(dir) = given {
        return Ok(dir.to_owned());
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
        return Ok(dir.clone());
    }
    let mut running = runtime_dir::of_running_fronts();
    running.retain(|dir| is_it(&dir));
    if running.len() > 1 {
        return Err(Unclear::Several(running));
    }
    if let Some(dir) = running.pop() {
        return Ok(dir);
    }
    let found = places.iter().find_map(|dir| Some((dir, there(dir)?)));
    match found {
        // It is there because nothing says otherwise: these files are another's, or nobody's.
        Some((dir, other)) if !written && other.runs() => Err(Unclear::Other { dir: dir.clone(), files: other.files }),
        found => Ok(found.map(|(dir, _)| dir).or(places.first()).cloned().unwrap_or_default()),
    }
}
