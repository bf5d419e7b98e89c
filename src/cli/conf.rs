//! `conf`: the options in effect, as one JSON object by `GROUP.NAME`; with `--origin` where each came from, and the
//! same for the options of all filters.
//!
//! Must not know how values are found.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::local::{planned, printed, rejected, text_of};
use super::{Conf as Asked, EX_CONFIG, diagnostic};
use crate::compile::origins;
use crate::config::oslo::{self, Conf, Origin};
use crate::config::{self, Invocation, Reading, options};
use crate::message::Diagnostic;

/// Prints the options that were asked for. One that cannot be read is `{"error": CLASS, "message": TEXT}`; so is all
/// of it when a file cannot be read.
pub fn conf(invocation: &Invocation, asked: &Asked) -> ExitCode {
    let reading = Reading::new();
    let (conf, _, problems) = config::read_conf(invocation, &reading);
    if let Some(first) = problems.first() {
        printed(&format!("{:#}\n", exception(first)));
        return rejected(&problems);
    }
    let mut shown = Map::new();
    let mut found = Vec::new();
    for (group, name) in names(&conf, asked) {
        let origin = conf.origin(&group, &name);
        let value = match conf.get_named::<oslo::Value>(&group, &name) {
            Ok(oslo::Value::None) => Value::Null,
            Ok(_) if options::is_secret(&group, &name) => "***".into(),
            Ok(value) => plain(value),
            Err(problem) => {
                let value = exception(&problem);
                // A default that only Nova's Python can tell is nobody's mistake.
                if origin != Origin::Default {
                    found.push(problem);
                }
                value
            }
        };
        let value = if asked.origin { with_origin(value, &origin) } else { value };
        shown.insert(format!("{group}.{name}"), value);
    }
    if asked.origin && asked.options.is_empty() {
        match planned(invocation) {
            Ok(plan) => {
                shown.insert("filters".into(), origins::of_plan(&plan));
            }
            Err(problems) => found.extend(problems),
        }
    }
    found.dedup();
    let code = printed(&format!("{:#}\n", Value::Object(shown)));
    diagnostic::print(&found, &text_of);
    if found.iter().any(Diagnostic::is_error) { ExitCode::from(EX_CONFIG) } else { code }
}

/// Group and name of what to show. A name without a group is one of `[DEFAULT]`.
fn names(conf: &Conf, asked: &Asked) -> Vec<(String, String)> {
    if asked.options.is_empty() {
        return conf.names();
    }
    let split = |text: &String| match text.rsplit_once('.') {
        Some((group, name)) => (group.to_owned(), name.to_owned()),
        None => ("DEFAULT".to_owned(), text.clone()),
    };
    asked.options.iter().map(split).collect()
}

fn with_origin(value: Value, origin: &Origin) -> Value {
    let (from, via) = match origin {
        Origin::File(place) => (Some(place.to_string()), "a file"),
        Origin::Environment(name) => (Some(name.clone()), "the environment"),
        Origin::CommandLine => (None, "the command line"),
        Origin::Default => (None, "the built-in default"),
    };
    json!({ "value": value, "from": from, "via": via })
}

fn exception(problem: &Diagnostic) -> Value {
    match &problem.original {
        Some(original) => json!({ "error": original.class, "message": original.message }),
        None => json!({ "error": "Error", "message": problem.message }),
    }
}

fn plain(value: oslo::Value) -> Value {
    match value {
        oslo::Value::None => Value::Null,
        oslo::Value::Text(text) => text.into(),
        oslo::Value::Bool(flag) => flag.into(),
        oslo::Value::Int(number) => number.into(),
        oslo::Value::Float(number) => number.into(),
        oslo::Value::List(items) => items.into(),
        oslo::Value::Dict(pairs) => Value::Object(pairs.into_iter().map(|(k, v)| (k, v.into())).collect()),
    }
}
