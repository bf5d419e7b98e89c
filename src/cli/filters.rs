//! `filters`: the reference of the native filters and apps, from the registry itself.
//!
//! Must not know what any filter does beyond its own words.

use std::fmt::Write;

use serde_json::{Value, json};

use super::FiltersFormat;
use crate::filter::registry::FACTORIES;
use crate::filter::{Factory, Makes, OptionSpec, Side};
use crate::message::nearest;

/// The filters of these names or factory names, or all.
///
/// # Errors
/// For people: a name that stands for none of them.
pub fn filters(names: &[String], format: FiltersFormat) -> Result<String, String> {
    let wanted = |factory: &Factory, name: &String| factory.name == name || factory.aliases.contains(&name.as_str());
    for name in names {
        if !FACTORIES.iter().any(|factory| wanted(factory, name)) {
            let known = FACTORIES.iter().flat_map(|factory| factory.aliases.iter().copied().chain([factory.name]));
            let help = nearest(name, known).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
            return Err(format!("no native filter is called `{name}`{help}"));
        }
    }
    let chosen = FACTORIES.iter().copied();
    let chosen: Vec<_> =
        chosen.filter(|factory| names.is_empty() || names.iter().any(|name| wanted(factory, name))).collect();
    Ok(match format {
        FiltersFormat::Text => chosen.iter().map(|factory| text(factory)).collect::<Vec<_>>().join("\n"),
        FiltersFormat::Json => format!("{:#}\n", Value::Array(chosen.iter().map(|factory| object(factory)).collect())),
        FiltersFormat::Markdown => markdown(&chosen),
    })
}

fn makes(factory: &Factory) -> &'static str {
    match factory.makes {
        Makes::Filter => "filter",
        Makes::App => "app",
    }
}

/// Where it runs.
fn side(factory: &Factory) -> &'static str {
    match factory.side {
        Side::Front => "front",
        Side::Both => "front and worker",
    }
}

/// Where an option may stand.
fn stands(spec: &OptionSpec) -> String {
    if spec.group.is_empty() { "section".to_owned() } else { format!("section, [{}]", spec.group) }
}

fn default(spec: &OptionSpec) -> &'static str {
    if spec.default.is_empty() { "none" } else { spec.default }
}

fn text(factory: &Factory) -> String {
    let mut out = format!("{} ({}, {}): {}\n", factory.name, makes(factory), side(factory), factory.about);
    let _ = writeln!(out, "  {}", factory.eras);
    for alias in factory.aliases {
        let _ = writeln!(out, "  {alias}");
    }
    for spec in factory.options {
        let _ = writeln!(out, "    {} = {}  ({})", spec.name, default(spec), stands(spec));
        let _ = writeln!(out, "        {}", spec.help);
    }
    out
}

fn object(factory: &Factory) -> Value {
    let option = |spec: &OptionSpec| {
        let group = (!spec.group.is_empty()).then_some(spec.group);
        json!({ "name": spec.name, "group": group, "default": spec.default, "help": spec.help })
    };
    json!({
        "name": factory.name,
        "makes": makes(factory),
        "runs": side(factory),
        "about": factory.about,
        "eras": factory.eras,
        "factories": factory.aliases,
        "options": factory.options.iter().map(option).collect::<Vec<_>>(),
    })
}

fn markdown(factories: &[&Factory]) -> String {
    let mut out = "\
# Native filters

What the front runs by itself, whatever a section of a Paste file is called: the factory decides. Printed by
`pasteway filters --format markdown`. An option stands in the section of the filter; one with a group may stand in that
group of nova.conf too, and the section wins.
"
    .to_owned();
    for factory in factories {
        let _ = writeln!(out, "\n## {} ({})\n", factory.name, makes(factory));
        let about = factory.about.strip_suffix('.').unwrap_or(factory.about);
        let _ = writeln!(out, "It {about}. Runs in: {}. {}.\n", side(factory), factory.eras);
        for alias in factory.aliases {
            let _ = writeln!(out, "- `{alias}`");
        }
        if !factory.options.is_empty() {
            out += "\n| option | where | default | |\n|---|---|---|---|\n";
        }
        for spec in factory.options {
            let default = if spec.default.is_empty() { String::new() } else { format!("`{}`", cell(spec.default)) };
            let _ = writeln!(out, "| `{}` | {} | {default} | {} |", spec.name, stands(spec), cell(spec.help));
        }
    }
    out
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_is_told_with_its_factories_and_options() {
        for format in [FiltersFormat::Text, FiltersFormat::Json, FiltersFormat::Markdown] {
            let all = filters(&[], format).expect("all");
            for factory in FACTORIES {
                assert!(all.contains(factory.name) && factory.aliases.iter().all(|alias| all.contains(alias)));
                assert!(factory.options.iter().all(|spec| all.contains(spec.name)), "{}", factory.name);
                assert!(!factory.about.is_empty() && !factory.eras.is_empty(), "{}", factory.name);
            }
        }
    }

    #[test]
    fn a_filter_is_found_by_its_name_and_by_its_factory() {
        let one = |name: &str| filters(&[name.to_owned()], FiltersFormat::Text);
        assert_eq!(one("cors"), one("oslo_middleware.cors:filter_factory"));
        assert!(one("cors").is_ok_and(|text| text.contains("allowed_origin") && !text.contains("faultwrap")));
        assert_eq!(one("corse").unwrap_err(), "no native filter is called `corse`; did you mean `cors`?");
    }
}
