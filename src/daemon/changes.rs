//! What differs between two configurations, each difference with its class and its place.
//!
//! One function decides for `reload --dry-run`, `reload` and the record of a generation alike. It tells of everything
//! that was read: there are no changes exactly where the two have the same digest.

#[cfg(test)]
mod every_option;
mod files;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use indexmap::IndexMap;

use crate::command::{Change, Class};
use crate::compile::{ApiPlan, Plan, Step};
use crate::config::{Setting, options};
use crate::filter::OptionSpec;
use crate::message::Place;

/// Where a text stands: in the options, or in which Paste file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Origin {
    Options,
    /// Empty for the one that all others are reached from, so that it may move.
    Paste(PathBuf),
}

/// Origin, section and option.
type Key = (Origin, String, String);

/// What becomes of the running front.
struct Effects<'a> {
    old: &'a Plan,
    new: &'a Plan,
    /// Listeners that appear, move or go.
    moved: Vec<Moved>,
    /// APIs whose workers are replaced.
    rolled: Vec<String>,
    /// Filters of theirs that leave the front, or come to it.
    crossed: Vec<&'a Step>,
}

/// A listener's address before and after; `None`: there is none.
struct Moved {
    api: String,
    old: Option<(String, u16)>,
    new: Option<(String, u16)>,
}

/// The differences, in the order of the files.
pub fn changes(old: &Plan, new: &Plan) -> Vec<Change> {
    let rolled = rolled(old, new);
    let effects = Effects { old, new, moved: moved(old, new), crossed: crossed(old, new, &rolled), rolled };
    let (before, after) = (texts(old), texts(new));
    let change = |key: &Key, was: Option<&Setting>, is: Option<&Setting>| {
        let (_, section, name) = key;
        let shown = |setting: &Setting| {
            if options::is_secret(section, name) { "***".to_owned() } else { setting.value.clone() }
        };
        let place = is.or(was).and_then(|setting| setting.place.as_ref());
        let class = effects.class(key);
        at(place, class, format!("[{section}] {name}"), was.map(shown), is.map(shown))
    };
    let is_new = |(key, is): &(&Key, &Setting)| before.get(*key).map(|was| &was.value) != Some(&is.value);
    let written = after.iter().filter(is_new).map(|(key, is)| change(key, before.get(key), Some(is)));
    let gone =
        before.iter().filter(|(key, _)| !after.contains_key(*key)).map(|(key, was)| change(key, Some(was), None));
    let texts: Vec<Change> = written.chain(gone).collect();

    let mut found: Vec<Change> = effects.moved.iter().map(|moved| effects.listener(moved)).collect();
    let files = files::files(&effects, &texts);
    found.extend(texts);
    found.extend(files);
    // New workers for a reason that no single text shows (a mount that moved to another pipeline).
    if !found.iter().any(|change| change.class == Class::Rolling) {
        let of_paste = |change: &&Change| change.file.as_ref().is_some_and(|file| *file == new.config.paste_file);
        let cause = found.iter().find(of_paste).or_else(|| found.iter().find(|change| change.file.is_some()));
        let (file, line) = cause.map_or((None, None), |change| (change.file.clone(), change.line));
        let worker = |api: &String| Change {
            class: Class::Rolling,
            what: format!("workers of {api}"),
            old: None,
            new: None,
            file: file.clone(),
            line,
        };
        let workers: Vec<Change> = effects.rolled.iter().map(worker).collect();
        found.extend(workers);
    }
    found
}

/// A change of what stands at a place.
fn at(place: Option<&Place>, class: Class, what: String, old: Option<String>, new: Option<String>) -> Change {
    let file = place.map(|place| place.file.clone());
    let line = place.map(|place| place.line).filter(|line| *line > 0);
    Change { class, what, old, new, file, line }
}

/// Listeners that appear, move or go, in the order of their APIs.
fn moved(old: &Plan, new: &Plan) -> Vec<Moved> {
    let address = |plan: &Plan, name: &str| {
        let api = plan.apis.iter().find(|api| api.settings.name.as_str() == name)?;
        Some((api.settings.listen.clone(), api.settings.port))
    };
    let names: IndexMap<&str, ()> =
        new.apis.iter().chain(&old.apis).map(|api| (api.settings.name.as_str(), ())).collect();
    let moved = |name: &str| Moved { api: name.to_owned(), old: address(old, name), new: address(new, name) };
    names.into_keys().map(moved).filter(|moved| moved.old != moved.new).collect()
}

/// APIs whose workers are replaced.
pub fn rolled(old: &Plan, new: &Plan) -> Vec<String> {
    let same = |api: &&ApiPlan| {
        old.apis.iter().find(|before| before.settings.name == api.settings.name).is_none_or(|b| b.digest == api.digest)
    };
    new.apis.iter().filter(|api| !same(api)).map(|api| api.settings.name.to_string()).collect()
}

/// Filters of these APIs that run in the front by one plan alone.
fn crossed<'a>(old: &'a Plan, new: &'a Plan, apis: &[String]) -> Vec<&'a Step> {
    let native = |plan: &'a Plan, name: &str| -> Vec<&'a Step> {
        let api = plan.apis.iter().find(|api| api.settings.name.as_str() == name);
        api.map(|api| api.tree.steps()).unwrap_or_default()
    };
    let mut crossed = Vec::new();
    for name in apis {
        let (before, after) = (native(old, name), native(new, name));
        let without = |steps: &[&'a Step], others: &[&'a Step]| -> Vec<&'a Step> {
            let is_there = |step: &&Step| others.iter().any(|other| other.context.section == step.context.section);
            steps.iter().copied().filter(|step| !is_there(step)).collect()
        };
        crossed.extend(without(&before, &after));
        crossed.extend(without(&after, &before));
    }
    crossed
}

impl Effects<'_> {
    /// The change of a listener, at the line that moves it: where that is new, else where it was.
    fn listener(&self, moved: &Moved) -> Change {
        let port = |address: &Option<(String, u16)>| address.as_ref().map(|(_, port)| *port);
        let own = |option: &str| format!("{}_{option}", moved.api);
        let mut names = vec![own("listen_port"), own("listen")];
        if port(&moved.old) == port(&moved.new) {
            names.reverse();
        }
        // Where an API comes or goes, it is for that line.
        let at_end = if moved.old.is_some() && moved.new.is_some() { names.len() } else { 0 };
        names.insert(at_end, "enabled_apis".to_owned());
        let place = |plan: &Plan, name: &str| plan.config.conf.place("DEFAULT", name);
        let shown = |address: &Option<(String, u16)>| address.as_ref().map(|(host, port)| format!("{host}:{port}"));
        let place = names.iter().find_map(|name| place(self.new, name).or_else(|| place(self.old, name)));
        let what = format!("listener of {}", moved.api);
        at(place.as_ref(), Class::Rebind, what, shown(&moved.old), shown(&moved.new))
    }

    /// Rebind where the text is one that listeners are made from and one moves; rolling where workers are replaced and
    /// the text is one that workers are made from, or a filter's that leaves the front or comes to it; else live.
    fn class(&self, key: &Key) -> Class {
        if self.rebinds(key) {
            Class::Rebind
        } else if self.crosses(key) || self.rolls(self.old, key) || self.rolls(self.new, key) {
            Class::Rolling
        } else {
            Class::Live
        }
    }

    fn rebinds(&self, (origin, section, name): &Key) -> bool {
        let declared = options::find_any(section, name).filter(|opt| opt.change == Class::Rebind);
        match declared.map(|opt| opt.name) {
            _ if *origin != Origin::Options => false,
            None => false,
            Some("admin_listen") => {
                let addresses = |plan: &Plan| plan.config.settings.pasteway.admin_listen.clone();
                addresses(self.old) != addresses(self.new)
            }
            Some("enabled_apis") => self.moved.iter().any(|moved| moved.old.is_none() || moved.new.is_none()),
            Some(_) => {
                let api = name.trim_end_matches("_port").trim_end_matches("_listen");
                self.moved.iter().any(|moved| moved.api == api)
            }
        }
    }

    /// Whether a filter has a text that is not where it was.
    fn crosses(&self, (origin, section, name): &Key) -> bool {
        let name_now =
            options::find_any(section, name).map_or((section.as_str(), name.as_str()), |opt| (opt.group, opt.name));
        self.crossed.iter().any(|step| match origin {
            Origin::Paste(_) => step.context.section.as_ref() == Some(section),
            Origin::Options => {
                let same = |option: &OptionSpec| {
                    let known = options::find_any(option.group, option.name);
                    known.map_or((option.group, option.name), |opt| (opt.group, opt.name)) == name_now
                };
                step.factory.options.iter().any(same)
            }
        })
    }

    /// Whether workers that are replaced are made from a text.
    fn rolls(&self, plan: &Plan, (origin, section, name): &Key) -> bool {
        // Every section of the file gets it.
        let given = section == "DEFAULT" && *origin != Origin::Options;
        let mut apis = plan.apis.iter().filter(|api| self.rolled.iter().any(|name| name == api.settings.name.as_str()));
        apis.any(|api| {
            let mut contexts = api.mounts.iter().flat_map(|mount| &mount.contexts);
            contexts.any(|context| context.section == *section || (given && context.global_conf.contains_key(name)))
                || api.workers_read(section, name)
        })
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
