//! Paste files: grown at random, or mutated from the recorded cases.
//!
//! Must not know how a case is compared elsewhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use fastrand::Rng;
use serde_json::{Value, json};

use super::grow::{mutated, once_in, pick, shrunk, words};
use super::{Oracle, Run, Tally};
use pasteway::config::paste::{Dialect, Kind, Library, Loader, Rules, outcome, whole};
use pasteway::config::{Reading, Setting, Via};

pub const OLD: Rules = Rules { dialect: Dialect::Py2, library: Library::One };
pub const NEW: Rules = Rules { dialect: Dialect::Py3, library: Library::Two };

/// Where Pasteway differs on purpose.
const ON_PURPOSE: [(&str, &str); 4] = [
    ("circle", "a circle is told at once, whatever else the original ran into on its way to the end of its stack"),
    ("fan-out", "references that multiply without end stop after 100,000 sections; the original takes years"),
    ("order", "of several `get` lines that fail the first is told; Python 2 finds one in the order of its dictionary"),
    ("mapping", "a Python 2 format without a name shows a dictionary in an order that nobody can foretell"),
];

/// Files of one case by their names below its directory.
type Files = BTreeMap<String, String>;

pub fn compare(oracle: &mut Oracle, run: Run, rules: Rules) -> Tally {
    let mut rng = Rng::with_seed(run.seed);
    let seeds = recorded(rules);
    let scratch = tempfile::tempdir().expect("a directory");
    let root = scratch.path().to_str().expect("a plain path").to_owned();
    let mut tally = Tally::default();
    for _ in 0..run.cases {
        let files = if rng.bool() { grown(&mut rng) } else { accident(&mut rng, &seeds) };
        let calls = calls(&mut rng, &root);
        for (call, ours, theirs) in answers(oracle, &files, &calls, &root, rules) {
            if ours == theirs {
                let inside = theirs["contexts"].as_object().into_iter().flat_map(|contexts| contexts.values());
                for answer in [&theirs].into_iter().filter(|whole| whole.get("contexts").is_none()).chain(inside) {
                    tally.same += 1;
                    tally.errors += usize::from(answer.get("ok").is_none());
                }
            } else if let Some(id) = on_purpose(&ours, &theirs, rules) {
                *tally.on_purpose.entry(id).or_default() += 1;
            } else {
                tally.wrong.push(told(oracle, files.clone(), &call, &root, rules));
                break;
            }
        }
        tally.cases += 1;
        if tally.wrong.len() >= 5 || Instant::now() > run.end {
            break;
        }
    }
    tally
}

/// The files of every recorded case.
fn recorded(rules: Rules) -> Vec<Files> {
    let name = if rules == OLD { "paste-cases.py27-pd152.json" } else { "paste-cases.py311-pd310.json" };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/golden").join(name);
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("a recording")).expect("JSON");
    let files = |case: &Value| serde_json::from_value(case["files"].clone()).expect("files");
    cases.iter().map(files).collect()
}

fn accident(rng: &mut Rng, seeds: &[Files]) -> Files {
    let mut files = seeds[rng.usize(..seeds.len())].clone();
    let names: Vec<_> = files.keys().cloned().collect();
    let name = &names[rng.usize(..names.len())];
    let text = mutated(rng, &files[name]);
    files.insert(name.clone(), text);
    files
}

fn grown(rng: &mut Rng) -> Files {
    let mut files = Files::new();
    for name in ["a.ini", "b.ini", "sub/c.ini"] {
        let mut text = if once_in(rng, 30) { String::new() } else { "[DEFAULT]\n".to_owned() };
        if rng.bool() {
            for _ in 0..rng.usize(0..24) {
                text += &line(rng);
                text.push('\n');
            }
        } else {
            sound(rng, &mut text);
        }
        let text = if once_in(rng, 4) { mutated(rng, &text) } else { text };
        files.insert(name.to_owned(), text);
    }
    files
}

/// Sections that mostly resolve, each name once for an app and once for a filter.
fn sound(rng: &mut Rng, text: &mut String) {
    let extra = |rng: &mut Rng, text: &mut String| {
        let mut keys = vec!["x", "y", "k", "set x", "set y", "get z", "set debug", "o"];
        for _ in 0..rng.usize(0..4) {
            let key = keys.swap_remove(rng.usize(..keys.len()));
            let value = if key == "get z" { pick(rng, &["here", "x", "x", "__file__"]).to_owned() } else { fine(rng) };
            *text += &format!("{key} = {value}\n");
        }
    };
    extra(rng, text);
    for name in ["a", "b", "main", "c"] {
        let other = |rng: &mut Rng| match rng.usize(..8) {
            0 => "config:b.ini".to_owned(),
            1 => "config:sub/c.ini#a".to_owned(),
            2 => "egg:Paste#urlmap".to_owned(),
            3 => "call:m:f".to_owned(),
            // Later ones only: circles come by other ways.
            _ => pick(rng, &["c", "c", "main", "b"]).to_owned(),
        };
        let filters = |rng: &mut Rng| {
            words(rng, 3, " ", |rng| pick(rng, &["f", "g", "h", "config:b.ini#f", "egg:X#y"]).to_owned())
        };
        match rng.usize(..5) {
            _ if name == "c" => *text += "[app:c]\npaste.app_factory = m:c\n",
            0 => *text += &format!("[app:{name}]\nuse = {}\n", other(rng)),
            1 => {
                *text += &format!("[pipeline:{name}]\npipeline = {} {}\n", filters(rng), other(rng));
                if once_in(rng, 3) {
                    *text += &format!("set x = {}\n", fine(rng));
                }
                continue;
            }
            2 => {
                *text += &format!(
                    "[filter-app:{name}]\nuse = {}\nnext = {}\n",
                    pick(rng, &["f", "g", "call:m:f"]),
                    other(rng)
                )
            }
            3 => *text += &format!("[composite:{name}]\nuse = egg:Paste#urlmap\n/v2 = {}\n", other(rng)),
            _ => *text += &format!("[app:{name}]\npaste.app_factory = m:{name}\n"),
        }
        if once_in(rng, 5) {
            *text += &format!("filter-with = {}\n", pick(rng, &["f", "g", "h"]));
        }
        extra(rng, text);
    }
    for name in ["f", "g", "h"] {
        let made = if name != "h" && once_in(rng, 3) { "use = h" } else { "paste.filter_factory = m:f" };
        *text += &format!("[filter:{name}]\n{made}\n");
        extra(rng, text);
    }
}

/// A value that interpolates, most of the time.
fn fine(rng: &mut Rng) -> String {
    pick(rng, &["1", "%(here)s/x", "v w", "%(x)s", "%(__file__)s", "100%%", "a\n  b", "é", "", "p ; q", "%(y)s!"])
        .to_owned()
}

fn name(rng: &mut Rng) -> &'static str {
    pick(rng, &["main", "main", "a", "b", "c", "f", "g", "f", "x-y", "a ", "é"])
}

fn target(rng: &mut Rng) -> String {
    match rng.usize(..12) {
        0 => format!(
            "config:{}#{}",
            pick(rng, &["a.ini", "b.ini", "sub/c.ini", "../b.ini", "none.ini", "b%%2eini"]),
            name(rng)
        ),
        1 => format!("config:{}", pick(rng, &["b.ini", "sub/c.ini", "sub\\c.ini", ""])),
        2 => {
            pick(rng, &["egg:Paste#urlmap", "egg:X", "egg:X#config:b.ini", "egg:", "egg:A#egg:B#c", "EGG:x"]).to_owned()
        }
        3 => pick(rng, &["call:m:f", "call:m", "call:m.n:f#g", "xy:z", "x1:z", ":z", "call:m:f:g"]).to_owned(),
        _ => name(rng).to_owned(),
    }
}

fn value(rng: &mut Rng) -> String {
    match rng.usize(..16) {
        0 => "%(here)s/x".to_owned(),
        1 => format!("%({})s", pick(rng, &["a", "b", "x", "y", "__file__", "__name__", "no", "set y", "use"])),
        2 => {
            words(rng, 4, "", |rng| pick(rng, &["%", "%%", "%(a)s", "%(", ")s", "x", " ", "%(b)s", "%(x)d"]).to_owned())
        }
        3 => words(rng, 3, " ", |rng| {
            pick(rng, &["p;q", ";", "#", "\"\"", "=", ":", "100%", "r # s", "t ; u"]).to_owned()
        }),
        4 => String::new(),
        5 => "\"\"".to_owned(),
        6 => format!("{}\n{}{}", name(rng), pick(rng, &[" ", "\t", "    ", ""]), target(rng)),
        7 => format!("x\n\n  y\n{}# z", pick(rng, &["", " "])),
        _ => pick(rng, &["1", "true", "v w", "é", "a", "b", "x\u{a0}", "\\n"]).to_owned(),
    }
}

fn line(rng: &mut Rng) -> String {
    let sign = pick(rng, &[" = ", " = ", "=", ": ", " :", "  =  ", "\t=\t"]);
    match rng.usize(..22) {
        0..=4 => {
            let kind = pick(
                rng,
                &[
                    "app",
                    "filter",
                    "pipeline",
                    "composite",
                    "filter-app",
                    "server",
                    "application",
                    "composit",
                    "filter",
                    "app",
                ],
            );
            let close = pick(rng, &["]", "]", "]", "] # x", "] ]", "]x"]);
            format!("[{kind}:{}{close}", name(rng))
        }
        5 => {
            pick(rng, &["[DEFAULT]", "[default]", "[app]", "[ app:a ]", "[app: a]", "[]", "[x", "[[a]]", "[DEFAULT] x"])
                .to_owned()
        }
        6 | 7 => format!("use{sign}{}", target(rng)),
        8 => format!("next{sign}{}", target(rng)),
        9 => format!("filter-with{sign}{}", target(rng)),
        10 | 11 => format!("pipeline{sign}{}", words(rng, 4, " ", target)),
        12 => format!("set {}{sign}{}", pick(rng, &["x", "y", " x", "a", "here", "debug"]), value(rng)),
        13 => {
            format!("get {}{sign}{}", pick(rng, &["x", "y", "a"]), pick(rng, &["x", "y", "a", "here", "no", "%(x)s"]))
        }
        14 | 15 => {
            let protocol = pick(
                rng,
                &[
                    "paste.app_factory",
                    "paste.filter_factory",
                    "paste.composite_factory",
                    "paste.composit_factory",
                    "paste.filter_app_factory",
                    "paste.server_factory",
                    "paste.server_runner",
                ],
            );
            format!("{protocol}{sign}{}", pick(rng, &["m:a", "m.n:b", "m", "m:%(x)s", "m : a"]))
        }
        16 => format!("require{sign}{}", pick(rng, &["Paste", "a b", ""])),
        17 => format!(
            "{}{}",
            pick(rng, &["# ", "; ", "  # ", "  ; ", "rem ", "REM", "remark"]),
            value(rng).replace('\n', " ")
        ),
        18 => format!("{}{}", pick(rng, &[" ", "\t", "  ", ""]), value(rng)),
        _ => format!(
            "{}{sign}{}",
            pick(rng, &["x", "y", "a", "b", "here", "/v2", "k k", "é", "name", "__name__", "loader"]),
            value(rng)
        ),
    }
}

fn calls(rng: &mut Rng, root: &str) -> Vec<Value> {
    let mut calls = vec![json!({ "whole": format!("{root}/a.ini") })];
    for _ in 0..2 {
        let kind = pick(rng, &["app", "app", "filter", "server"]);
        let uri = match rng.usize(..6) {
            0 => format!("config:{root}/a.ini"),
            1 => format!("config:a.ini#{}", name(rng)),
            2 => target(rng).replace("%%", "%"),
            _ => "config:a.ini".to_owned(),
        };
        let named = if rng.bool() { Value::Null } else { name(rng).into() };
        let relative = if once_in(rng, 10) { Value::Null } else { root.into() };
        let global = match rng.usize(..4) {
            0 => json!({ "x": "G", "here": "/elsewhere" }),
            1 => json!({ "debug": "%(x)s", "y": "100%", "__file__": "f" }),
            2 => json!({}),
            _ => Value::Null,
        };
        calls.push(json!({ "kind": kind, "uri": uri, "name": named, "relative_to": relative, "global_conf": global }));
    }
    calls
}

/// Each call with our answer and the original's.
fn answers(
    oracle: &mut Oracle,
    files: &Files,
    calls: &[Value],
    root: &str,
    rules: Rules,
) -> Vec<(Value, Value, Value)> {
    for (name, text) in files {
        let path = Path::new(root).join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        std::fs::write(path, text).expect("written");
    }
    let theirs = oracle.ask(&json!({ "ask": "paste", "calls": calls }));
    let reading = Reading::new();
    let loader = Loader::new(&reading, rules);
    let asked = calls.iter().zip(theirs.as_array().expect("a list").clone()).map(|(call, theirs)| {
        let ours = match call["whole"].as_str() {
            Some(path) => whole(&loader, Path::new(path)),
            None => ask(&loader, call),
        };
        (call.clone(), ours, theirs)
    });
    let all = asked.collect();
    for name in files.keys() {
        std::fs::remove_file(Path::new(root).join(name)).expect("removed");
    }
    all
}

fn ask(loader: &Loader<'_>, call: &Value) -> Value {
    let kind = match call["kind"].as_str() {
        Some("filter") => Kind::Filter,
        Some("server") => Kind::Server,
        _ => Kind::App,
    };
    let setting =
        |value: &Value| Setting { value: value.as_str().expect("text").to_owned(), place: None, via: Via::BuiltIn };
    let passed = call["global_conf"].as_object();
    let passed = passed.map(|conf| conf.iter().map(|(key, value)| (key.clone(), setting(value))).collect());
    let (uri, relative) = (call["uri"].as_str().expect("a URI"), call["relative_to"].as_str().map(Path::new));
    outcome(&loader.load(kind, uri, call["name"].as_str(), relative, passed.as_ref()))
}

/// The id of a difference on purpose, if every difference between the two is one.
fn on_purpose(ours: &Value, theirs: &Value, rules: Rules) -> Option<(&'static str, &'static str)> {
    if let (Some(a), Some(b)) = (ours["contexts"].as_object(), theirs["contexts"].as_object()) {
        let same_frame = ours["sections"] == theirs["sections"] && ours["defaults"] == theirs["defaults"];
        let keys = a.len() == b.len() && a.keys().all(|key| b.contains_key(key));
        let differ = a.iter().filter(|(key, value)| Some(*value) != b.get(*key));
        let ids: Option<Vec<_>> = differ.map(|(key, value)| on_purpose(value, b.get(key)?, rules)).collect();
        return ids.filter(|_| same_frame && keys)?.first().copied();
    }
    let class = |answer: &Value| answer["error"].as_str().unwrap_or_default().to_owned();
    let deep = |answer: &Value| matches!(class(answer).as_str(), "RecursionError" | "RuntimeError");
    let id = if deep(ours) && deep(theirs) {
        "circle"
    } else if theirs["slow"] == true && class(ours) == "MemoryError" || class(ours) == "MemoryError" && deep(theirs) {
        "fan-out"
    } else if rules == OLD && class(ours) == "KeyError" && class(theirs) == "KeyError" {
        "order"
    } else if theirs.to_string().contains("_Chainmap instance") {
        "mapping"
    } else {
        return None;
    };
    ON_PURPOSE.into_iter().find(|(known, _)| *known == id)
}

/// A difference for people, with as few lines as show it.
fn told(oracle: &mut Oracle, mut files: Files, call: &Value, root: &str, rules: Rules) -> String {
    let names: Vec<_> = files.keys().cloned().collect();
    let calls = [call.clone()];
    for name in names {
        let text = files[&name].clone();
        let smaller = shrunk(&text, |text| {
            let mut files = files.clone();
            files.insert(name.clone(), text.to_owned());
            let all = answers(oracle, &files, &calls, root, rules);
            all.iter().any(|(_, ours, theirs)| ours != theirs && on_purpose(ours, theirs, rules).is_none())
        });
        files.insert(name, smaller);
    }
    let all = answers(oracle, &files, &calls, root, rules);
    let shown = all.iter().map(|(call, ours, theirs)| format!("{call}\n  ours   {ours}\n  theirs {theirs}"));
    format!("{files:#?}\n{}", shown.collect::<Vec<_>>().join("\n"))
}
