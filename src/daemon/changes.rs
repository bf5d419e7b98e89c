//! What differs between two configurations, each difference with its class and its place.
//!
//! One function decides for `reload --dry-run`, `reload` and the record of a generation alike.

use std::path::PathBuf;

use indexmap::IndexMap;

use crate::command::{Change, Class};
use crate::compile::{ApiPlan, Plan};

/// Names that contain one of these words have values that are not shown.
const SECRET: &[&str] = &["password", "secret", "token", "key", "credential"];

/// A text in a file: its value and its line.
type Texts = IndexMap<String, (String, PathBuf, u32)>;

/// The differences, in the order of the files.
pub fn changes(old: &Plan, new: &Plan) -> Vec<Change> {
    let mut found = listeners(old, new);
    let (before, after) = (texts(old), texts(new));
    let rolled = rolled(old, new);
    for (what, (value, file, line)) in &after {
        let was = before.get(what).map(|(value, ..)| value);
        if was != Some(value) {
            found.push(Change {
                class: class(what, old, new, &rolled),
                what: what.clone(),
                old: was.map(|was| shown(what, was)),
                new: Some(shown(what, value)),
                file: Some(file.clone()),
                line: Some(*line),
            });
        }
    }
    for (what, (value, file, _)) in before.iter().filter(|(what, _)| !after.contains_key(*what)) {
        found.push(Change {
            class: class(what, old, new, &rolled),
            what: what.clone(),
            old: Some(shown(what, value)),
            new: None,
            file: Some(file.clone()),
            line: None,
        });
    }
    // New workers for a reason that no single text shows (a mount that moved to another pipeline).
    for api in rolled.iter().filter(|_| !found.iter().any(|change| change.class == Class::Rolling)) {
        found.push(Change {
            class: Class::Rolling,
            what: format!("workers of {api}"),
            old: None,
            new: None,
            file: None,
            line: None,
        });
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
fn rolled(old: &Plan, new: &Plan) -> Vec<String> {
    let same = |api: &&ApiPlan| {
        old.apis.iter().find(|before| before.settings.name == api.settings.name).is_none_or(|b| b.digest == api.digest)
    };
    new.apis.iter().filter(|api| !same(api)).map(|api| api.settings.name.to_string()).collect()
}

/// Rolling where workers are replaced and the text is one that workers are made from; else live.
fn class(what: &str, old: &Plan, new: &Plan, rolled: &[String]) -> Class {
    let section = what.split(']').next().unwrap_or_default().trim_start_matches('[');
    let mounted = |plan: &Plan| {
        plan.apis
            .iter()
            .filter(|api| rolled.iter().any(|name| name == api.settings.name.as_str()))
            .any(|api| api.mounts.iter().flat_map(|mount| &mount.contexts).any(|context| context.section == section))
    };
    let declared = new.config.conf.class(what);
    if !rolled.is_empty() && (mounted(old) || mounted(new) || declared == Some(Class::Rolling)) {
        Class::Rolling
    } else {
        Class::Live
    }
}

/// Every text of a configuration by a name that people know: `[section] option`.
fn texts(plan: &Plan) -> Texts {
    let mut texts = Texts::new();
    for (what, setting) in plan.config.texts() {
        let place = setting.place.unwrap_or_default();
        texts.insert(what, (setting.value, place.file, place.line));
    }
    texts
}

fn shown(what: &str, value: &str) -> String {
    let name = what.rsplit(' ').next().unwrap_or_default().to_ascii_lowercase();
    if SECRET.iter().any(|word| name.contains(word)) { "***".to_owned() } else { value.to_owned() }
}
