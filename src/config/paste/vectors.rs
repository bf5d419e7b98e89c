//! The reader against recordings of the real library: PasteDeploy 1.5.2 on Python 2.7, and 3.1.0 on Python 3.11.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{Reading, Setting, Via};

const PY2: Rules = Rules { dialect: Dialect::Py2, library: Library::One };
const PY3: Rules = Rules { dialect: Dialect::Py3, library: Library::Two };

fn kind(name: &Value) -> Kind {
    match name.as_str() {
        Some("filter") => Kind::Filter,
        Some("server") => Kind::Server,
        _ => Kind::App,
    }
}

/// Replaces the directory's name by `@ROOT@` in keys and values.
fn scrubbed(value: Value, root: &str) -> Value {
    match value {
        Value::String(text) => text.replace(root, "@ROOT@").into(),
        Value::Array(items) => items.into_iter().map(|item| scrubbed(item, root)).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key.replace(root, "@ROOT@"), scrubbed(value, root)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other,
    }
}

fn replay(recording: &str, rules: Rules) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/golden").join(recording);
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(cases.len() > 100, "the recording is cut short");
    let mut wrong = Vec::new();
    for case in &cases {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().to_str().unwrap();
        for (name, text) in case["files"].as_object().unwrap() {
            let file = scratch.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text.as_str().unwrap()).unwrap();
        }
        let reading = Reading::new();
        let loader = Loader::new(&reading, rules);
        for (call, want) in case["calls"].as_array().unwrap().iter().zip(case["results"].as_array().unwrap()) {
            let passed = call["global_conf"].as_object().map(|conf| {
                let setting = |value: &Value| Setting {
                    value: value.as_str().unwrap().to_owned(),
                    place: None,
                    via: Via::BuiltIn,
                };
                conf.iter().map(|(key, value)| (key.clone(), setting(value))).collect()
            });
            let got = loader.load(
                kind(&call["kind"]),
                call["uri"].as_str().unwrap(),
                call["name"].as_str(),
                Some(scratch.path()),
                passed.as_ref(),
            );
            let got = scrubbed(outcome(&got), root);
            if got != *want {
                wrong.push(format!("{}:\n  want {want}\n  got  {got}", case["id"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn python_2_with_pastedeploy_1_5_resolves_every_recorded_case_alike() {
    replay("paste-cases.py27-pd152.json", PY2);
}

#[test]
fn python_3_with_pastedeploy_3_1_resolves_every_recorded_case_alike() {
    replay("paste-cases.py311-pd310.json", PY3);
}

/// The collection of real Paste files, if this machine has it.
pub(crate) fn corpus() -> Option<PathBuf> {
    match std::env::var_os("PASTEWAY_CORPUS") {
        Some(dir) => Some(dir.into()),
        None if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("CI must set PASTEWAY_CORPUS"),
        None => {
            eprintln!("SKIPPED: set PASTEWAY_CORPUS to the directory of real Paste files to run this test");
            None
        }
    }
}

fn replay_corpus(recording: &str, rules: Rules) {
    let Some(corpus) = corpus() else { return };
    let unpacked = Command::new("gzip").arg("-dc").arg(corpus.join(recording)).output().unwrap();
    assert!(unpacked.status.success(), "cannot unpack {recording}");
    let (mut files, mut wrong) = (0, Vec::new());
    for line in String::from_utf8(unpacked.stdout).unwrap().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let path = corpus.join(record["file"].as_str().unwrap());
        let reading = Reading::new();
        let got = whole(&Loader::new(&reading, rules), &path);
        // Every file was recorded under the name of its directory.
        let got = scrubbed(got, path.parent().unwrap().to_str().unwrap());
        files += 1;
        if got != record["result"] {
            let (want, got) = (record["result"].as_object().unwrap(), got.as_object().unwrap());
            for (key, want) in want {
                if got.get(key) != Some(want) {
                    wrong.push(format!("{}: {key}\n  want {want}\n  got  {:?}", record["file"], got.get(key)));
                }
            }
        }
    }
    assert!(files > 200, "the corpus is cut short");
    assert!(wrong.is_empty(), "{} of {files} files differ\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_real_file_resolves_as_under_python_2() {
    replay_corpus("expected.py27-pd152.jsonl.gz", PY2);
}

#[test]
fn every_real_file_resolves_as_under_python_3() {
    replay_corpus("expected.py311-pd310.jsonl.gz", PY3);
}

/// One load of one file with the given text.
fn load(text: &str, rules: Rules) -> Result<std::sync::Arc<Context>, Error> {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("a.ini"), text).unwrap();
    Loader::new(&Reading::new(), rules).load(Kind::App, "config:a.ini", None, Some(scratch.path()), None)
}

/// Line, column, message and help of what a load finds, without its directory.
fn findings(text: &str, rules: Rules) -> Vec<(u32, u32, String, String)> {
    let all = load(text, rules).unwrap_err().into_diagnostics();
    all.into_iter()
        .map(|d| {
            let place = d.place.unwrap();
            assert!(place.file.ends_with("a.ini"));
            (place.line, place.column, d.message, d.help.unwrap_or_default())
        })
        .collect()
}

#[test]
fn a_mistyped_filter_is_found_where_it_stands_with_the_one_that_was_meant() {
    let text = "[pipeline:main]\npipeline = authtoken\n    authtokn nope a\n[app:a]\npaste.app_factory = m:a\n\
                [filter:authtoken]\npaste.filter_factory = m:f\n";
    assert_eq!(
        findings(text, PY3),
        [
            (3, 5, "filter `authtokn` is not defined".into(), "did you mean `authtoken` (line 6)?".into()),
            (3, 14, "filter `nope` is not defined".into(), String::new()),
        ]
    );
}

#[test]
fn a_header_without_its_end_is_found_by_the_name_that_it_would_give() {
    let text =
        "[pipeline:main]\npipeline = f a\n[filter:f]\npaste.filter_factory = m:f\n[app:a\npaste.app_factory = m:a\n";
    let help = "line 5 would be its header if that were closed by `]`; so it is an option";
    assert_eq!(findings(text, PY3), [(2, 14, "app `a` is not defined".into(), help.into())]);
}

#[test]
fn every_percent_sign_that_python_3_refuses_is_reported_at_its_column() {
    let text = "[app:main]\npaste.app_factory = m:a\nuser = %USER%\npassword = a%PASSWORD%\n";
    let found = findings(text, PY3);
    assert_eq!(found.iter().map(|f| (f.0, f.1)).collect::<Vec<_>>(), [(3, 8), (4, 13)]);
    assert_eq!(
        found[0].3,
        "write `%%` for a percent sign, or `ini_dialect = py2` into [pasteway] if Python 2 is meant"
    );
    assert!(load(text, PY2).is_ok());
}

#[test]
fn everything_that_a_parse_stumbles_over_is_told_at_once() {
    let text = "x = 1\n[app:main]\na = 1\na = 2\nnonsense\n[app:main]\nb = 1\n[filter:f]\nb = 1\nb = 2\n";
    let lines = |rules| findings(text, rules).iter().map(|found| found.0).collect::<Vec<_>>();
    assert_eq!(lines(PY3), [1, 4, 6, 10, 5]);
    assert_eq!(lines(PY2), [1, 5]);
    assert_eq!(load(text, PY3).unwrap_err().class, "MissingSectionHeaderError");
}

#[test]
fn a_circle_is_named_instead_of_followed() {
    let text = "[app:main]\nuse = b\n[app:b]\nuse = main\n";
    let found = findings(text, PY3);
    assert_eq!(found[0].2, "sections refer to each other in a circle: [app:main] → [app:b] → [app:main]");
    assert_eq!((found[0].0, found[0].1), (4, 7));
}

#[test]
fn every_way_to_go_in_circles_ends_before_the_stack_does() {
    let app = "paste.app_factory = m:a";
    for text in [
        "[filter-app:main]\nuse = f\nnext = main\n[filter:f]\npaste.filter_factory = m:f\n".to_owned(),
        "[pipeline:main]\npipeline = f main\n[filter:f]\nuse = f\n".to_owned(),
        "[app:main]\nuse = config:a.ini\n".to_owned(),
        "[filter-app:main]\nuse = f\nnext = config:a.ini\n[filter:f]\nfilter-with = f\n".to_owned(),
        format!("[app:main]\n{app}\nfilter-with = f\n[filter:f]\npaste.filter_factory = m:f\nfilter-with = f\n"),
        format!("[app:main]\nuse = {}\n", "egg:X#".repeat(5000)),
    ] {
        for rules in [PY2, PY3] {
            let error = load(&text, rules).unwrap_err();
            assert!(matches!(error.class, "RecursionError" | "RuntimeError"), "{text}: {error:?}");
        }
    }
}

#[test]
fn references_that_fan_out_without_end_are_stopped() {
    let mut text = "[pipeline:main]\npipeline = f0 a\n[app:a]\npaste.app_factory = m:a\n".to_owned();
    for n in 0..40 {
        text += &format!("[filter:f{n}]\nuse = f{}\nfilter-with = f{}\n", n + 1, n + 1);
    }
    text += "[filter:f40]\npaste.filter_factory = m:f\n";
    assert_eq!(load(&text, PY3).unwrap_err().class, "MemoryError");
}

#[test]
fn a_value_knows_where_it_is_written_and_how_it_came_here() {
    let text = "[DEFAULT]\nd = D\n[app:main]\nuse = base\nset s = S\nget g = d\nown =  1\n\
                [app:base]\npaste.app_factory = m:a\nlent = 2\nown = 0\n";
    let context = load(text, PY3).unwrap();
    let seen = |conf: &indexmap::IndexMap<String, Setting>, key: &str| {
        let setting = &conf[key];
        let place = setting.place.as_ref().map(|p| (p.line, p.column));
        (setting.value.clone(), place, setting.via)
    };
    assert_eq!(seen(&context.local_conf, "own"), ("1".into(), Some((7, 8)), Via::Local));
    assert_eq!(seen(&context.local_conf, "lent"), ("2".into(), Some((10, 8)), Via::Use));
    assert_eq!(seen(&context.local_conf, "g"), ("D".into(), Some((2, 5)), Via::Get));
    assert_eq!(seen(&context.global_conf, "s"), ("S".into(), Some((5, 9)), Via::Set));
    assert_eq!(seen(&context.global_conf, "d"), ("D".into(), Some((2, 5)), Via::Default));
    assert_eq!(seen(&context.global_conf, "here").1, None);
    assert_eq!(context.section.as_deref(), Some("app:main"));
}

#[test]
fn a_file_of_ten_thousand_sections_resolves_whole() {
    let names: Vec<String> = (0..10_000).map(|n| format!("f{n}")).collect();
    let mut text = format!("[DEFAULT]\nx = 1\n[pipeline:main]\npipeline = {} a\n", names.join(" "));
    for name in &names {
        text += &format!("[filter:{name}]\npaste.filter_factory = m:f\no = %(x)s\n");
    }
    text += "[app:a]\npaste.app_factory = m:a\n";
    let begin = Instant::now();
    let context = load(&text, PY3).unwrap();
    // For people to read: a quadratic scan shows at once, but time decides no test.
    eprintln!("resolved in {:?}", begin.elapsed());
    assert!(matches!(&context.shape, Shape::Pipeline { filters, .. } if filters.len() == 10_000));
}

#[test]
fn a_composite_finds_its_members_in_the_file_that_it_was_used_from() {
    let scratch = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(scratch.path().join(name), text).unwrap();
    write("a.ini", "[DEFAULT]\np = A\n[app:main]\nuse = config:b.ini\n[app:member]\npaste.app_factory = a:m\n");
    write(
        "b.ini",
        "[pipeline:main]\npipeline = inner\n[composite:inner]\nuse = egg:Paste#urlmap\n/ = member\n\
         [app:member]\npaste.app_factory = b:%(p)s\n",
    );
    let reading = Reading::new();
    let loader = Loader::new(&reading, PY3);
    let app = loader.load(Kind::App, "config:a.ini", None, Some(scratch.path()), None).unwrap();
    let object = |context: &Context| loader.get_app(context, "member", None).unwrap().object.clone();
    assert_eq!(object(&app), Some(Object::Import("a:m".into())));
    let Shape::Pipeline { app: inner, .. } = &app.shape else { panic!("not a pipeline") };
    // What a.ini passed on is part of b.ini's loader, even when the factory passes nothing.
    assert_eq!(object(inner), Some(Object::Import("b:A".into())));
}

/// Text that looks enough like a Paste file to reach every rule.
fn pastelike() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "\\[(app|filter|pipeline|filter-app|composite|server|DEFAULT)(:(a|b|c|main))?\\]",
        "(use|next|filter-with|pipeline) ?[=:] ?(a|b|main|egg:X#y|call:m:f|config:a.ini#(a|b|main)|%\\(y\\)s| ){0,3}",
        "(get x|set y) = (a|b|here|%\\(y\\)s)",
        "paste\\.(app|filter|composite|server)_factory = m:(a|b)",
        "(a|b|y) = [%()sab ;#]{0,8}",
        "[ \t]{0,3}\\PC{0,12}",
    ];
    proptest::collection::vec(line, 0..14).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_file_makes_the_loader_panic_or_hang(text in pastelike()) {
        for rules in [PY2, PY3] {
            let scratch = tempfile::tempdir().unwrap();
            let path = scratch.path().join("a.ini");
            fs::write(&path, &text).unwrap();
            let _ = whole(&Loader::new(&Reading::new(), rules), &path);
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for dialect in [Dialect::Py2, Dialect::Py3] {
            let _ = Document::parse(Path::new("a.ini"), &bytes, dialect);
        }
    }

    #[test]
    fn no_uri_makes_the_loader_panic(uri in "(config:|egg:|call:|[a-z:#%./\\\\]|\\PC){0,12}") {
        for rules in [PY2, PY3] {
            let _ = Loader::new(&Reading::new(), rules).load(Kind::App, &uri, None, Some(Path::new("/nowhere")), None);
        }
    }

    #[test]
    fn every_value_is_found_at_its_line_and_column(values in proptest::collection::vec("[a-z0-9]{1,6}", 1..6)) {
        let mut text = "[app:main]\n".to_owned();
        for (n, value) in values.iter().enumerate() {
            text += &format!("{}k{n} {}= {value}\n", " ".repeat(0), " ".repeat(n));
        }
        for dialect in [Dialect::Py2, Dialect::Py3] {
            let document = Document::parse(Path::new("a.ini"), text.as_bytes(), dialect).unwrap();
            let lines: HashMap<u32, &str> = (1..).zip(text.lines()).collect();
            for entry in document.sections["app:main"].entries.values() {
                let (line, column) = entry.at();
                prop_assert_eq!(&lines[&line][column as usize - 1..], &entry.value);
            }
        }
    }
}

#[test]
fn the_outcome_of_a_missing_file_is_the_original_exception() {
    let result = Loader::new(&Reading::new(), PY2).load(Kind::App, "config:/nowhere/x.ini", None, None, None);
    let message = "[Errno 2] No such file or directory: '/nowhere/x.ini'";
    assert_eq!(outcome(&result), json!({"error": "IOError", "message": message}));
}
