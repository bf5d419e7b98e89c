//! What Python workers are told beyond their mounts, and whether their interpreter finds what the mounts name.
//!
//! Must not know how the host does what it is told.

use std::path::{Path, PathBuf};

use indexmap::{IndexMap, IndexSet};

use crate::config::settings::{ApiSettings, WorkerKind};
use crate::config::{Config, Entries, options};
use crate::message::{Diagnostic, Place};
use crate::release::Release;
use crate::worker::manifest::{HostSpec, Mount};

/// The name of the native filter that validates tokens.
const AUTHTOKEN: &str = "authtoken";

/// How the workers of an API start; `copy` says where this generation's copy of a file or directory is. The default
/// where the API has none.
pub fn host(
    settings: &ApiSettings,
    config: &Config,
    mounts: &[Mount],
    filter_names: &[&'static str],
    copy: &dyn Fn(&Path) -> PathBuf,
) -> HostSpec {
    let WorkerKind::Python { app } = &settings.kind else { return HostSpec::default() };
    let text = |path: &Path| path.display().to_string();
    let cwd = &config.conf.environment().cwd;
    let dirs: Vec<PathBuf> = config.conf.config_dirs().iter().map(|dir| cwd.join(dir)).collect();
    let files = config.conf.files().into_iter().map(|file| cwd.join(file));
    // What lies in a directory that is given is read with it.
    let files = files.filter(|file| *file != config.paste_file && !dirs.iter().any(|dir| file.parent() == Some(dir)));
    let worker_app = worker_app(settings, app.as_deref(), config.settings.release, mounts);
    let manager = (worker_app.is_none() && settings.name.as_str() == "metadata" && are_novas(mounts))
        .then(|| config.conf.get::<Option<String>>(&options::METADATA_MANAGER).ok().flatten())
        .flatten();
    HostSpec {
        worker_app,
        threads: settings.worker_threads,
        paste_file: text(&config.paste_file),
        paste_name: settings.name.to_string(),
        config_files: files.map(|file| text(&file)).collect(),
        config_dirs: dirs.iter().map(|dir| text(dir)).collect(),
        frozen: frozen(config, copy),
        file_logging: !config.paste_logging().is_empty(),
        manager: manager.filter(|manager| !manager.is_empty()),
        token_auth: filter_names.contains(&AUTHTOKEN),
        ..HostSpec::default()
    }
}

/// Every file that the load looked at and every directory that counts as a whole → its copy, `None` where there is
/// nothing.
fn frozen(config: &Config, copy: &dyn Fn(&Path) -> PathBuf) -> IndexMap<String, Option<String>> {
    let copied =
        |path: &Path, there: bool| (path.display().to_string(), there.then(|| copy(path).display().to_string()));
    let files = config.reading.looked();
    let files = files.iter().map(|(path, there)| copied(path, *there));
    let there = |dir: &Path| config.reading.dir(dir, Entries::Conf).is_ok();
    files.chain(config.service.dirs.iter().map(|dir| copied(dir, there(dir)))).collect()
}

/// The service's own entry: what the option says, else Nova's: from 32 on the modules of `nova/wsgi/`, from Pike to 31
/// what `nova-api-wsgi` and `nova-metadata-wsgi` call. Older ones have none.
fn worker_app(settings: &ApiSettings, stated: Option<&str>, release: Release, mounts: &[Mount]) -> Option<String> {
    if let Some(stated) = stated {
        return Some(stated.to_owned()).filter(|stated| stated != "none");
    }
    if release < Release::PIKE || !are_novas(mounts) {
        return None;
    }
    let entry = match (settings.name.as_str(), release >= Release::NOVA_32) {
        ("osapi_compute", true) => "nova.wsgi.osapi_compute:application",
        ("osapi_compute", false) => "nova.api.openstack.compute.wsgi:init_application()",
        ("metadata", true) => "nova.wsgi.metadata:application",
        ("metadata", false) => "nova.api.metadata.wsgi:init_application()",
        _ => return None,
    };
    Some(entry.to_owned())
}

fn are_novas(mounts: &[Mount]) -> bool {
    mounts.iter().flat_map(|mount| &mount.contexts).any(|context| context.factory.starts_with("nova."))
}

/// What the workers' Python does not find of what the mounts of all APIs name: told before any worker is started,
/// with the section.
pub fn missing<'a>(config: &Config, apis: impl Iterator<Item = (&'a ApiSettings, &'a [Mount])>) -> Vec<Diagnostic> {
    let Some(interpreter) = &config.interpreter else { return Vec::new() };
    let mut wanted: IndexMap<String, (String, Place)> = IndexMap::new();
    for (settings, mounts) in apis.filter(|(settings, _)| matches!(settings.kind, WorkerKind::Python { .. })) {
        let WorkerKind::Python { app } = &settings.kind else { continue };
        if let Some(app) = worker_app(settings, app.as_deref(), config.settings.release, mounts) {
            let place = config.conf.place("pasteway", "worker_app").or_else(|| settings.place.clone());
            if let (Some(name), Some(place)) = (package(&app), place) {
                wanted.entry(name).or_insert((format!("worker_app = {app}"), place));
            }
        }
        for context in mounts.iter().flat_map(|mount| &mount.contexts) {
            if let Some(name) = package(&context.factory) {
                let place = Place { file: context.file.clone().into(), line: context.line, column: 1 };
                wanted.entry(name).or_insert((format!("[{}]", context.section), place));
            }
        }
    }
    let mut names: Vec<String> = wanted.keys().cloned().collect();
    names.sort();
    let program = &interpreter.program;
    let missing = match config.interpreters.missing(program, &names) {
        Ok(missing) => missing.into_iter().collect::<IndexSet<_>>(),
        Err(unusable) => return vec![Diagnostic::error(None, unusable.fact).help(unusable.help)],
    };
    let told = wanted.iter().filter(|(name, _)| missing.contains(*name)).map(|(name, (who, place))| {
        let what = match name.strip_prefix("egg:") {
            Some(distribution) => format!("the distribution `{distribution}`"),
            None => format!("the module `{name}`"),
        };
        let text =
            format!("{who} needs {what}, which {} (Python {}) does not find", program.display(), interpreter.python);
        Diagnostic::error(place.clone(), text).help(
            "set worker_python to the Python of the service's virtualenv, or PYTHONPATH to the directory in which it \
             lies, or choose another worker_kind: builtin (a stand-in for a first try) or external (workers that \
             something else runs)",
        )
    });
    told.collect()
}

/// The top-level package of `module:attr` or `call:module:attr`, or `egg:Distribution`; `None` for what is looked for
/// in other ways.
fn package(factory: &str) -> Option<String> {
    let factory = factory.strip_prefix("call:").unwrap_or(factory);
    if let Some(egg) = factory.strip_prefix("egg:") {
        let name = egg.split(['#', '[']).next().unwrap_or_default().trim();
        return (!name.is_empty()).then(|| format!("egg:{name}"));
    }
    let top = factory.split([':', '.']).next().unwrap_or_default().trim();
    let is_name = !top.is_empty() && top.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_name.then(|| top.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factory_lies_in_a_package_or_a_distribution() {
        for (factory, want) in [
            ("nova.api.openstack:FaultWrapper.factory", Some("nova")),
            ("call:nova.api.auth:pipeline_factory", Some("nova")),
            ("egg:Paste#urlmap", Some("egg:Paste")),
            ("egg:swift", Some("egg:swift")),
            ("config:other.ini", Some("config")),
            ("", None),
            ("%(x)s:y", None),
        ] {
            assert_eq!(package(factory).as_deref(), want, "{factory}");
        }
    }
}
