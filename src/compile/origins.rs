//! Where each option of each filter came from, for `explain` and `conf --origin`: file, line, and way.
//!
//! Must not know requests, or where the output goes.

use serde_json::{Map, Value, json};

use super::split::{Step, Tree, factory_of};
use super::{ApiPlan, Plan};
use crate::config::paste::Context;
use crate::config::{Setting, Via, options};
use crate::filter::OptionSpec;

/// The options of a native filter: those that it took, those of its section that it does not know, and the defaults
/// of the others.
pub fn of_step(step: &Step) -> Vec<Value> {
    let mut all: Vec<Value> =
        step.taken.iter().map(|taken| origin(&taken.name, taken.group.as_deref(), &taken.setting)).collect();
    let is_taken = |name: &str| step.taken.iter().any(|taken| taken.name == name);
    let strange = step.context.local_conf.iter().filter(|(name, _)| !is_taken(name));
    all.extend(strange.map(|(name, setting)| {
        let mut value = origin(name, None, setting);
        if let Some(object) = value.as_object_mut() {
            object.insert("unused".into(), true.into());
        }
        value
    }));
    // An option may have been taken by an older name.
    let by_any_name = |spec: &OptionSpec| {
        let names = step.taken.iter().filter_map(|taken| Some((taken.group.as_deref()?, taken.name.as_str())));
        names.filter_map(|(group, name)| options::find_any(group, name)).any(|opt| opt.name == spec.name)
    };
    let silent = |spec: &&OptionSpec| {
        !is_taken(spec.name) && !by_any_name(spec) && !step.context.local_conf.contains_key(spec.name)
    };
    all.extend(step.factory.options.iter().filter(silent).map(|spec| {
        let setting = Setting { value: spec.default.to_owned(), place: None, via: Via::BuiltIn };
        origin(spec.name, Some(spec.group).filter(|group| !group.is_empty()), &setting)
    }));
    all
}

/// The options of a section that a worker gets: all that the Paste file has for it.
pub fn of_context(context: &Context) -> Vec<Value> {
    context.local_conf.iter().map(|(name, setting)| origin(name, None, setting)).collect()
}

/// The options of every filter and app of every API, by the section's name.
pub fn of_plan(plan: &Plan) -> Value {
    let apis = plan.apis.iter().map(|api| (api.settings.name.to_string(), of_api(api)));
    Value::Object(apis.collect())
}

fn of_api(api: &ApiPlan) -> Value {
    let mut sections = Map::new();
    // Deep trees are walked without recursion: a file may hold one pipeline of any length.
    let mut rest = vec![&api.tree];
    while let Some(tree) = rest.pop() {
        match tree {
            Tree::Map { entries, not_found, .. } => {
                rest.extend(not_found.as_deref());
                rest.extend(entries.iter().rev().map(|(_, target)| target));
            }
            Tree::Cascade { branches, .. } => rest.extend(branches.iter().rev()),
            Tree::Filtered(step, next) => {
                sections.insert(name(&step.context), section(&step.context, step.factory.name, of_step(step)));
                rest.push(next);
            }
            Tree::App(step) => {
                sections.insert(name(&step.context), section(&step.context, step.factory.name, of_step(step)));
            }
            Tree::Mount { contexts, .. } => {
                for context in contexts {
                    let known = || section(context, "in the worker", of_context(context));
                    sections.entry(name(context)).or_insert_with(known);
                }
            }
        }
    }
    Value::Object(sections)
}

fn name(context: &Context) -> String {
    context.section.clone().unwrap_or_else(|| factory_of(context))
}

fn section(context: &Context, filter: &str, options: Vec<Value>) -> Value {
    json!({ "filter": filter, "place": context.place.to_string(), "options": options })
}

/// `{"option", "value", "from", "via"}`, and `"group"` for an option of nova.conf.
fn origin(name: &str, group: Option<&str>, setting: &Setting) -> Value {
    let via = match setting.via {
        Via::Local => "the section itself",
        Via::Use => "the section that `use` names",
        Via::Set => "a `set` line",
        Via::Get => "a `get` line",
        Via::Default => "[DEFAULT]",
        Via::Conf => "nova.conf",
        Via::BuiltIn => "the built-in default",
    };
    let secret = options::is_secret(group.unwrap_or("keystone_authtoken"), name);
    let mut value = json!({
        "option": name,
        "value": if secret { "***" } else { &setting.value },
        "from": setting.place.as_ref().map(ToString::to_string),
        "via": via,
    });
    if let (Some(group), Some(object)) = (group, value.as_object_mut()) {
        object.insert("group".into(), group.into());
    }
    value
}
