//! Plans from texts, for tests.

use std::path::{Path, PathBuf};

use super::{Plan, compile};
use crate::config::interpreter::Interpreters;
use crate::config::oslo::{Argument, Arguments, Environment};
use crate::config::{self, Invocation, Reading};
use crate::message::Diagnostic;

/// Loads `/nova.conf` beside other files, after what runs.
pub fn load(files: &[(&str, &str)], running: Option<&Plan>) -> Result<Plan, Vec<Diagnostic>> {
    let items = vec![Argument::File("/nova.conf".into())];
    let invocation = Invocation {
        paste: None,
        arguments: Arguments { program: "pasteway".into(), items, ask: None },
        environment: Environment::bare(Path::new("/")),
        interpreters: Interpreters::default(),
        cpus: 1,
    };
    let files = files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()));
    let config = config::load_from(&invocation, Reading::of(files.collect::<Vec<_>>()));
    config.map_err(|failed| failed.diagnostics).and_then(|config| compile(config, running))
}
