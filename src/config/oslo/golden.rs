//! What the two oslo.config versions made of the same files, recorded, against what this reader makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::{Argument, Arguments, Conf, Environment, Library, Value};
use crate::command::Class;
use crate::config::Reading;
use crate::config::options::{Item, Kind, Opt, Table as Options};
use crate::release::Release;

#[derive(Deserialize)]
struct Case {
    id: String,
    args: Vec<String>,
    dir: Option<BTreeMap<String, String>>,
    env: Option<BTreeMap<String, String>>,
    files: Vec<String>,
    result: Map<String, Json>,
}

const fn opt(group: &'static str, name: &'static str, kind: Kind, default: &'static [(Release, &'static str)]) -> Opt {
    Opt {
        group,
        name,
        kind,
        stricter: None,
        defaults: default,
        deprecated: &[],
        since: Release::HAVANA,
        gone: None,
        change: Class::Live,
        secret: false,
        cli: false,
        help: "",
    }
}

const FIRST: Release = Release::HAVANA;

/// The options that were registered for the recording.
static TABLE: &[Opt] = &[
    opt("DEFAULT", "s", Kind::Text, &[]),
    opt("DEFAULT", "s2", Kind::Text, &[(FIRST, "dflt")]),
    opt("DEFAULT", "sdef", Kind::Text, &[(FIRST, "$s2/x")]),
    opt("DEFAULT", "i", Kind::INT, &[]),
    opt("DEFAULT", "i2", Kind::INT, &[(FIRST, "5")]),
    opt("DEFAULT", "b", Kind::Bool, &[]),
    opt("DEFAULT", "f", Kind::Float, &[]),
    opt("DEFAULT", "l", Kind::LIST, &[]),
    opt("DEFAULT", "l2", Kind::LIST, &[(FIRST, "a,b")]),
    opt("DEFAULT", "m", Kind::Multi, &[]),
    opt("DEFAULT", "m2", Kind::Multi, &[(FIRST, "x")]),
    opt("DEFAULT", "Mixed", Kind::Text, &[]),
    opt("DEFAULT", "my_dash", Kind::Text, &[]),
    Opt { cli: true, ..opt("DEFAULT", "ci", Kind::INT, &[]) },
    Opt { deprecated: &[("DEFAULT", "oldname")], ..opt("DEFAULT", "newname", Kind::Text, &[]) },
    Opt { deprecated: &[("og", "moved")], ..opt("DEFAULT", "moved", Kind::Text, &[]) },
    opt("g", "s", Kind::Text, &[]),
    opt("g", "other", Kind::Text, &[]),
    opt("DEFAULT", "ch", Kind::Choice(&["a", "b"]), &[]),
    opt("DEFAULT", "chi", Kind::AnyCase(&["MAC"]), &[]),
    opt("DEFAULT", "d", Kind::Dict, &[]),
    opt("DEFAULT", "lb", Kind::Bounded, &[]),
    opt("DEFAULT", "lq", Kind::List(Item::Quoted), &[]),
    opt("DEFAULT", "mn", Kind::at_least(1), &[]),
    opt("DEFAULT", "p", Kind::PORT, &[]),
];

fn find(group: &str, name: &str) -> Option<&'static Opt> {
    let named = |opt: &&Opt| opt.group == group && opt.name == name;
    TABLE.iter().find(named).or_else(|| TABLE.iter().find(|opt| opt.deprecated.contains(&(group, name))))
}

fn to_json(value: Value) -> Json {
    match value {
        Value::None => Json::Null,
        Value::Text(text) => text.into(),
        Value::Bool(flag) => flag.into(),
        Value::Int(number) => number.into(),
        Value::Float(number) => number.into(),
        Value::List(items) => items.into(),
        Value::Dict(pairs) => Json::Object(pairs.into_iter().map(|(k, v)| (k, v.into())).collect()),
    }
}

fn error(class: &str, message: &str, root: &str) -> Json {
    json!({"error": class, "message": message.replace(root, "@ROOT@")})
}

/// Does what the recording did: writes the files, loads them, reads every option.
fn run(case: &Case, library: Library) -> Map<String, Json> {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name);
    for (n, text) in case.files.iter().enumerate() {
        fs::write(path(&format!("f{n}.conf")), text).expect("written");
    }
    for (name, text) in case.dir.iter().flatten() {
        fs::create_dir_all(path("d")).expect("created");
        fs::write(path("d").join(name), text).expect("written");
    }
    let items = case.args.chunks(2).map(|pair| match pair {
        [flag, value] if flag == "--ci" => Argument::Option { name: "ci".into(), value: value.clone() },
        [flag, value] if flag == "--config-dir" => Argument::Dir(path(if value == "NONE" { "none" } else { "d" })),
        [_, value] if value == "NONE" => Argument::File(path("none")),
        [_, value] => Argument::File(path(&format!("f{value}.conf"))),
        _ => panic!("{}: arguments come in pairs", case.id),
    });
    let arguments = Arguments { program: "prog".into(), items: items.collect(), ask: None };
    let env = Environment {
        vars: case.env.clone().unwrap_or_default(),
        home: None,
        cwd: root.path().to_owned(),
        root: path("nowhere"),
        hostname: String::new(),
        my_ip: String::new(),
    };
    let shown = root.path().display().to_string();
    let table = Options { find, all: || TABLE.iter().collect() };
    match Conf::read_all(table, &Reading::new(), &arguments, &env, library) {
        (_, problems) if !problems.is_empty() => {
            let original = problems.first().and_then(|p| p.original.clone()).expect("an original error");
            Map::from_iter([("_parse".to_owned(), error(&original.class, &original.message, &shown))])
        }
        (conf, _) => {
            let read = |name: &str| {
                let (group, option) = name.split_once('.').unwrap_or(("DEFAULT", name));
                match conf.value(group, option) {
                    Ok(value) => to_json(value),
                    Err(fault) => error(fault.class, &fault.text, &shown),
                }
            };
            case.result.keys().filter(|name| *name != "_parse").map(|name| (name.clone(), read(name))).collect()
        }
    }
}

fn all_agree(recording: &str, least: usize, library: Library) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/golden").join(recording);
    let cases: Vec<Case> = serde_json::from_slice(&fs::read(path).expect("there")).expect("JSON");
    assert!(cases.len() >= least);
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|case| {
            let ours = run(case, library);
            let differ = |name: &&String| ours.get(*name) != case.result.get(*name);
            let names: Vec<_> = case.result.keys().chain(ours.keys()).filter(differ).collect();
            let first = names.first()?;
            Some(format!("{} {first}: {:?}, not {:?}", case.id, ours.get(*first), case.result.get(*first)))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn values_and_errors_are_those_of_oslo_config_1_2_1() {
    all_agree("oslo-config-cases.py27-1.2.1.json", 100, Library::Old);
}

#[test]
fn values_and_errors_are_those_of_oslo_config_10_7() {
    all_agree("oslo-config-cases.py311-10.7.json", 100, Library::New);
}

#[test]
fn what_once_differed_in_random_files_differs_no_more() {
    all_agree("oslo-config-found.py27-1.2.1.json", 8, Library::Old);
    all_agree("oslo-config-found.py311-10.7.json", 18, Library::New);
}
