//! What differs between two configurations, each difference with its class and its place.
//!
//! One function decides for `reload --dry-run`, `reload` and the record of a generation alike.

use std::path::PathBuf;

use indexmap::IndexMap;

use super::generation::hex;
use crate::command::{Change, Class};
use crate::compile::{ApiPlan, Plan};
use crate::config::{Setting, options};

/// Where a text stands: in the options, or in which Paste file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Origin {
    Options,
    /// Empty for the one that all others are reached from, so that it may move.
    Paste(PathBuf),
}

/// Origin, section and option.
type Key = (Origin, String, String);

/// The differences, in the order of the files.
pub fn changes(old: &Plan, new: &Plan) -> Vec<Change> {
    let mut found = listeners(old, new);
    let (before, after) = (texts(old), texts(new));
    let rolled = rolled(old, new);
    let change = |(origin, section, name): &Key, was: Option<&Setting>, is: Option<&Setting>| {
        let shown = |setting: &Setting| {
            if options::is_secret(section, name) { "***".to_owned() } else { setting.value.clone() }
        };
        let place = is.or(was).and_then(|setting| setting.place.as_ref());
        Change {
            class: class(origin, section, name, old, new, &rolled),
            what: format!("[{section}] {name}"),
            old: was.map(shown),
            new: is.map(shown),
            file: place.map(|place| place.file.clone()),
            line: is.and(place).map(|place| place.line),
        }
    };
    for (key, is) in &after {
        let was = before.get(key);
        if was.map(|was| &was.value) != Some(&is.value) {
            found.push(change(key, was, Some(is)));
        }
    }
    found.extend(
        before.iter().filter(|(key, _)| !after.contains_key(*key)).map(|(key, was)| change(key, Some(was), None)),
    );
    found.extend(beside(old, new));
    // New workers for a reason that no single text shows (a mount that moved to another pipeline).
    let unexplained = if found.iter().any(|change| change.class == Class::Rolling) { &[] } else { rolled.as_slice() };
    found.extend(unexplained.iter().map(|api| Change {
        class: Class::Rolling,
        what: format!("workers of {api}"),
        old: None,
        new: None,
        file: None,
        line: None,
    }));
    found
}

/// What Python workers read beside the texts: their interpreter, policies and the like.
fn beside(old: &Plan, new: &Plan) -> Vec<Change> {
    let mut found = Vec::new();
    let mut change = |what: &str, was: Option<String>, is: Option<String>, file: Option<PathBuf>| {
        if was != is {
            found.push(Change { class: Class::Rolling, what: what.to_owned(), old: was, new: is, file, line: None });
        }
    };
    let of = |plan: &Plan| plan.config.interpreter.as_ref().map(|it| format!("{} (Python {})", it.target, it.python));
    change("the workers' Python", of(old), of(new), None);
    let files: IndexMap<&PathBuf, ()> =
        old.config.service.files.iter().chain(&new.config.service.files).map(|path| (path, ())).collect();
    for path in files.into_keys() {
        let digest = |plan: &Plan| {
            let listed = plan.config.service.files.contains(path);
            let source = listed.then(|| plan.config.reading.file(path).ok()).flatten()?;
            Some(format!("sha256 {}", hex(source.digest.get(..8)?)))
        };
        change("a file of the service", digest(old), digest(new), Some(path.clone()));
    }
    found
}

/// Listeners that appear, move or go.
fn listeners(old: &Plan, new: &Plan) -> Vec<Change> {
    let address = |plan: &Plan, name: &str| {
        let api = plan.apis.iter().find(|api| api.settings.name.as_str() == name)?;
        Some(format!("{}:{}", api.settings.listen, api.settings.port))
    };
    let names: IndexMap<&str, ()> =
        old.apis.iter().chain(&new.apis).map(|api| (api.settings.name.as_str(), ())).collect();
    names
        .keys()
        .filter_map(|name| {
            let (before, after) = (address(old, name), address(new, name));
            let place = new.apis.iter().find(|api| api.settings.name.as_str() == *name)?.settings.place.clone();
            (before != after).then(|| Change {
                class: Class::Rebind,
                what: format!("listener of {name}"),
                old: before,
                new: after,
                file: place.as_ref().map(|place| place.file.clone()),
                line: place.as_ref().map(|place| place.line),
            })
        })
        .chain(old.apis.iter().filter(|api| address(new, api.settings.name.as_str()).is_none()).map(|api| Change {
            class: Class::Rebind,
            what: format!("listener of {}", api.settings.name),
            old: address(old, api.settings.name.as_str()),
            new: None,
            file: None,
            line: None,
        }))
        .collect()
}

/// APIs whose workers are replaced.
pub fn rolled(old: &Plan, new: &Plan) -> Vec<String> {
    let same = |api: &&ApiPlan| {
        old.apis.iter().find(|before| before.settings.name == api.settings.name).is_none_or(|b| b.digest == api.digest)
    };
    new.apis.iter().filter(|api| !same(api)).map(|api| api.settings.name.to_string()).collect()
}

/// Rebind where the text is one that listeners are made from; rolling where workers are replaced and the text is one
/// that workers are made from; else live.
fn class(origin: &Origin, section: &str, name: &str, old: &Plan, new: &Plan, rolled: &[String]) -> Class {
    // Every section of the file gets it.
    let given = section == "DEFAULT" && *origin != Origin::Options;
    let mounted = |plan: &Plan| {
        plan.apis
            .iter()
            .filter(|api| rolled.iter().any(|name| name == api.settings.name.as_str()))
            .flat_map(|api| api.mounts.iter().flat_map(|mount| &mount.contexts))
            .any(|context| context.section == section || (given && context.global_conf.contains_key(name)))
    };
    let read = |plan: &Plan| {
        let mut apis = plan.apis.iter().filter(|api| rolled.iter().any(|name| name == api.settings.name.as_str()));
        apis.any(|api| api.workers_read(section, name))
    };
    let declared = options::find_any(section, name).map(|opt| opt.change);
    if declared == Some(Class::Rebind) {
        Class::Rebind
    } else if !rolled.is_empty() && (mounted(old) || mounted(new) || read(old) || read(new)) {
        Class::Rolling
    } else {
        Class::Live
    }
}

/// Every text of a configuration.
fn texts(plan: &Plan) -> IndexMap<Key, Setting> {
    let config = &plan.config;
    let options = config.conf.texts().into_iter().map(|text| (Origin::Options, text));
    let paste = config.paste_texts().into_iter().map(|text| {
        let file = text.setting.place.as_ref().map(|place| &place.file).filter(|file| **file != config.paste_file);
        (Origin::Paste(file.cloned().unwrap_or_default()), text)
    });
    options.chain(paste).map(|(origin, text)| ((origin, text.section, text.name), text.setting)).collect()
}
