//! The direction in which modules may know each other; the compiler allows cycles inside a crate, this does not.
//!
//! Doc comments may name anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

/// Words that everyone shares.
const FLOOR: &[&str] = &[
    "balance",
    "id",
    "message",
    "command",
    "network",
    "release",
    "scheduler",
    "sync",
    "telemetry",
    "metrics",
    "versions",
];

/// What each module may know besides the floor; one that is not here has no place yet.
const LAYERS: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("worker", &[]),
    ("filter", &["config", "worker"]),
    ("proxy", &["worker", "filter"]),
    ("compile", &["config", "worker", "filter", "proxy"]),
    ("admin", &[]),
    ("selftest", &[]),
    ("daemon", &["config", "worker", "filter", "proxy", "compile", "admin"]),
    ("cli", &["config", "worker", "filter", "proxy", "compile", "admin", "daemon", "selftest"]),
];

/// All Rust files below a path, or the file itself.
fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a directory") {
            sources(&entry.expect("an entry").path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

/// The top-level modules that a text names as `crate::a` or `crate::{a, b::c}`.
fn named(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|l| [l, "\n"]).collect();
    let single = Regex::new(r"\bcrate::(\w+)").expect("a regex");
    let group = Regex::new(r"\bcrate::\{([^;]*)\};").expect("a regex");
    let mut names: BTreeSet<String> = single.captures_iter(&code).map(|found| found[1].to_owned()).collect();
    for found in group.captures_iter(&code) {
        let mut depth = 0;
        let outer = |c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        };
        let items: Vec<&str> = found[1].split(outer).collect();
        names.extend(items.iter().filter_map(|item| item.trim().split("::").next()).map(str::to_owned));
    }
    names.remove("");
    names
}

#[test]
fn modules_know_only_what_lies_below_them() {
    let layers: BTreeMap<&str, &[&str]> =
        LAYERS.iter().copied().chain(FLOOR.iter().map(|name| (*name, [].as_slice()))).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&root).expect("src/") {
        let path = entry.expect("an entry").path();
        let module = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if module == "main" || module == "lib" {
            continue;
        }
        let Some(below) = layers.get(module.as_str()) else {
            wrong.push(format!("{module} has no layer"));
            continue;
        };
        let mut files = Vec::new();
        sources(&path, &mut files);
        for file in files {
            for name in named(&std::fs::read_to_string(&file).expect("a source")) {
                let may = name == module || FLOOR.contains(&name.as_str()) || below.contains(&name.as_str());
                if !may && layers.contains_key(name.as_str()) {
                    wrong.push(format!("{} knows {name}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_found_in_paths_and_in_groups_but_not_in_comments() {
    let text = "//! [`crate::daemon`]\nuse crate::id::ApiName;\nuse crate::{filter::{Body, Flow}, proxy};\nlet x = crate::config::y();\n";
    let wanted: BTreeSet<String> = ["config", "filter", "id", "proxy"].map(str::to_owned).into();
    assert_eq!(named(text), wanted);
}
