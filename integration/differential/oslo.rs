//! oslo.config files, directories, arguments and variables: grown at random and mutated.
//!
//! Must not know how a case is compared elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use fastrand::Rng;
use serde_json::{Value, json};

use super::grow::{mutated, once_in, pick, shrunk, words};
use super::{Oracle, Run, Tally};
use pasteway::command::Class;
use pasteway::config::Reading;
use pasteway::config::options::{Item, Kind, Opt, Table};
use pasteway::config::oslo::{self, Argument, Arguments, Conf, Environment, Library};
use pasteway::message::Diagnostic;
use pasteway::release::Release;

/// Where Pasteway differs on purpose.
const ON_PURPOSE: [(&str, &str); 3] = [
    ("circle", "the class of the original's error is kept; its text tells how deep Python's stack was"),
    (
        "foreign",
        "`$zz` or `$og.x` of what nobody registered but a file sets: it may be one of the service's many options",
    ),
    ("64-bit", "whole numbers beyond 64 bits stop at the nearest one that fits"),
];

type Defaults = &'static [(Release, &'static str)];

const fn opt(group: &'static str, name: &'static str, kind: Kind, defaults: Defaults) -> Opt {
    Opt {
        group,
        name,
        kind,
        stricter: None,
        defaults,
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

/// Options that both register. Those at the end are of types that the old library has not.
static TABLE: [Opt; 28] = [
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
    Opt { deprecated: &[("DEFAULT", "gone")], ..opt("g", "s", Kind::Text, &[]) },
    opt("g", "other", Kind::Text, &[(FIRST, "$s")]),
    opt("g", "l", Kind::LIST, &[]),
    Opt { deprecated: &[("DEFAULT", "oldm")], ..opt("g", "m", Kind::Multi, &[]) },
    opt("DEFAULT", "ch", Kind::Choice(&["a", "b"]), &[]),
    opt("DEFAULT", "chi", Kind::AnyCase(&["MAC"]), &[]),
    opt("DEFAULT", "d", Kind::Dict, &[]),
    opt("DEFAULT", "lb", Kind::Bounded, &[]),
    opt("DEFAULT", "lq", Kind::List(Item::Quoted), &[]),
    opt("DEFAULT", "mn", Kind::at_least(1), &[]),
    opt("DEFAULT", "p", Kind::PORT, &[]),
    Opt { deprecated: &[("og", "i"), ("DEFAULT", "gi")], ..opt("g", "i", Kind::INT, &[]) },
];

/// How many of them the old library can register.
const OLD: usize = 20;

fn known(library: Library) -> &'static [Opt] {
    if library == Library::Old { &TABLE[..OLD] } else { &TABLE }
}

fn table(library: Library) -> Table {
    fn find(all: &'static [Opt], group: &str, name: &str) -> Option<&'static Opt> {
        let named = |opt: &&Opt| opt.group == group && opt.name == name;
        all.iter().find(named).or_else(|| all.iter().find(|opt| opt.deprecated.contains(&(group, name))))
    }
    match library {
        Library::Old => {
            Table { find: |group, name| find(&TABLE[..OLD], group, name), all: || TABLE[..OLD].iter().collect() }
        }
        Library::New => Table { find: |group, name| find(&TABLE, group, name), all: || TABLE.iter().collect() },
    }
}

/// The table as the oracle registers it.
fn spec(opt: &Opt) -> Value {
    let mut spec = json!({
        "group": opt.group,
        "name": opt.name,
        "default": opt.defaults.last().map(|(_, text)| text),
        "deprecated": opt.deprecated,
        "cli": opt.cli,
    });
    let mut set = |key: &str, value: Value| spec[key] = value;
    let kind = match opt.kind {
        Kind::Bool => "bool",
        Kind::Int { min, max } => {
            set("min", min.into());
            set("max", max.into());
            "int"
        }
        Kind::Float => "float",
        Kind::Choice(words) | Kind::AnyCase(words) => {
            set("words", words.into());
            set("any_case", matches!(opt.kind, Kind::AnyCase(_)).into());
            "choice"
        }
        Kind::List(Item::Quoted) => "quoted",
        Kind::List(_) => "list",
        Kind::Bounded => "bounded",
        Kind::Dict => "dict",
        Kind::Multi => "multi",
        Kind::Text | Kind::Seconds => "text",
    };
    set("kind", kind.into());
    spec
}

/// All that a load begins from.
#[derive(Clone, Debug)]
struct Case {
    files: BTreeMap<String, String>,
    /// Flag and value; a value that names a file or directory is relative.
    args: Vec<(&'static str, String)>,
    env: BTreeMap<String, String>,
}

pub fn compare(oracle: &mut Oracle, run: Run, library: Library) -> Tally {
    let mut rng = Rng::with_seed(run.seed);
    let scratch = tempfile::tempdir().expect("a directory");
    let root = scratch.path().to_str().expect("a plain path").to_owned();
    oracle.ask(&json!({ "ask": "options", "options": known(library).iter().map(spec).collect::<Vec<_>>() }));
    let mut tally = Tally::default();
    for _ in 0..run.cases {
        let case = grown(&mut rng, library);
        let differences = differences(oracle, &case, &root, library);
        for (name, ours, theirs) in &differences {
            if ours == theirs {
                tally.same += 1;
                tally.errors += usize::from(theirs.get("error").is_some());
            } else if let Some(id) = on_purpose(&case, ours, theirs) {
                *tally.on_purpose.entry(id).or_default() += 1;
            } else {
                tally.wrong.push(told(oracle, case.clone(), name, &root, library));
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

fn grown(rng: &mut Rng, library: Library) -> Case {
    let mut files = BTreeMap::new();
    let mut args = Vec::new();
    let places = ["f0.conf", "f1.conf", "d/a.conf", "d/b.conf", "d/.c.conf", "d/d.txt"];
    let searched = [
        "etc/nova/nova.conf",
        "home/.nova/nova.conf",
        "etc/nova-api.conf",
        "home/nova.conf",
        "etc/nova/nova.conf.d/a.conf",
    ];
    for (n, name) in places.into_iter().enumerate() {
        if n < 2 || rng.bool() {
            files.insert(name.to_owned(), text(rng));
        }
    }
    for name in searched {
        if once_in(rng, 3) {
            files.insert(name.to_owned(), text(rng));
        }
    }
    for _ in 0..rng.usize(0..4) {
        args.push(match rng.usize(..6) {
            0 => ("--config-dir", pick(rng, &["d", "d", "d", "none"]).to_owned()),
            1 => ("--ci", pick(rng, &["9", "0", "-1"]).to_owned()),
            2 => ("--config-file", pick(rng, &["f1.conf", "none.conf"]).to_owned()),
            _ => ("--config-file", pick(rng, &["f0.conf", "f1.conf"]).to_owned()),
        });
    }
    if library == Library::Old {
        // It has no dictionaries: their name would be a foreign one.
        files.values_mut().for_each(|text: &mut String| *text = text.replace("$d", "$f"));
    }
    let mut env = BTreeMap::new();
    if library == Library::New && once_in(rng, 3) {
        for _ in 0..rng.usize(1..4) {
            let name = pick(
                rng,
                &[
                    "OS_DEFAULT__S",
                    "OS_DEFAULT__I",
                    "OS_G__S",
                    "OS_DEFAULT__CI",
                    "OS_DEFAULT__L",
                    "OS_OG__MOVED",
                    "OS_default__s",
                ],
            );
            // The kernel takes no variable with a null byte.
            env.insert(name.to_owned(), value(rng).replace('\0', ""));
        }
    }
    Case { files, args, env }
}

fn text(rng: &mut Rng) -> String {
    let mut text = if once_in(rng, 20) { String::new() } else { "[DEFAULT]\n".to_owned() };
    for _ in 0..rng.usize(0..14) {
        text += &line(rng);
        text.push('\n');
    }
    if once_in(rng, 4) { mutated(rng, &text) } else { text }
}

fn line(rng: &mut Rng) -> String {
    match rng.usize(..24) {
        0 => pick(rng, &["[g]", "[G]", "[og]", "[DEFAULT]", "[default]", "[ g ]", "[g] ", "[x]"]).to_owned(),
        1 => pick(rng, &["[g] # c", "[]", "[g", "no delimiter", "= x", " ="]).to_owned(),
        2 => pick(rng, &["# c", "; c", "", "#", "   "]).to_owned(),
        3 => format!("{}{}", pick(rng, &[" ", "\t", "   "]), value(rng)),
        _ => {
            let names: Vec<&str> = TABLE
                .iter()
                .map(|opt| opt.name)
                .chain(["oldname", "oldm", "gone", "gi", "zz", "my-dash", "S"])
                .collect();
            format!("{}{}{}", pick(rng, &names), pick(rng, &[" = ", "=", ": ", " : ", "="]), value(rng))
        }
    }
}

fn value(rng: &mut Rng) -> String {
    let piece = |rng: &mut Rng| {
        pick(
            rng,
            &[
                "$s",
                "${s2}",
                "$i",
                "$l",
                "$g.s",
                "${g.other}",
                "$nope",
                "$$",
                "\\$s",
                "$",
                "$5",
                "x",
                " ",
                ",",
                "$b",
                "$s2.conf",
                "$g",
                "${",
                "$zz",
                "$Mixed",
                "$nope.x",
                "$sdef",
                "$newname",
                "$oldname",
                "$d",
                "$m",
                "$f",
                "$ci",
                "$DEFAULT.s",
                "$G.s",
                "$g.l",
                "$g.none",
                "$og.moved",
            ],
        )
        .to_owned()
    };
    match rng.usize(..14) {
        0 => words(rng, 4, "", piece),
        1 => pick(rng, &["true", "\n  true", "False", "on", "NO", " yes", "y", "", "2", "1", "0", "TRUE "]).to_owned(),
        2 => {
            pick(rng, &["1", "-1", "+5", "010", "0x10", "1.5", "1_000", "", " 7 ", "1e3", "--1", "1__0", "70000", "٣"])
                .to_owned()
        }
        3 => pick(rng, &["1.5", ".5", "1e3", "nan", "-inf", "1_0.5", "x", "1.", "infinity", "1e", "+.5e-2"]).to_owned(),
        4 => words(rng, 4, ",", |rng| pick(rng, &["a", " b ", "", "\"c", "d\"", "'e,f'", "k:v", "k"]).to_owned()),
        5 => pick(rng, &["k:v,k2:v2", "k:v:w", "k", "k:", ":v", "k:\"v,w\"", "k: v", "k:v,k:w", ""]).to_owned(),
        6 => pick(rng, &["[a,b]", "[a", "a]", "[]", "[ a , b ]", "[,]"]).to_owned(),
        7 => pick(rng, &["\"x\"", "'x'", "\"x", "\"", "'\"x\"'", "\"a\",\"b\"", "''"]).to_owned(),
        8 => pick(rng, &["a", "b", "c", "mac", "MAC", "Mac"]).to_owned(),
        9 => format!("x{}y", pick(rng, &["\n  ", "\n\t", "\n\n", "\n# ", "\n  # "])),
        _ => pick(rng, &["x", "v w", "a = b", "a:b", "# c", "x # c", "é", "\u{a0}x", "%", "100%"]).to_owned(),
    }
}

/// Every value, the warnings, or the error of the load: name, ours, the original's.
fn differences(oracle: &mut Oracle, case: &Case, root: &str, library: Library) -> Vec<(String, Value, Value)> {
    let room = tempfile::tempdir_in(root).expect("a directory");
    let root = room.path();
    for (name, text) in &case.files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        std::fs::write(path, text).expect("written");
    }
    let names: Vec<String> = known(library).iter().map(|opt| format!("{}.{}", opt.group, opt.name)).collect();
    let path = |flag: &str, value: &str| {
        if flag == "--ci" { value.to_owned() } else { root.join(value).display().to_string() }
    };
    // A negative number has to be joined to its flag.
    let args: Vec<String> = case.args.iter().map(|(flag, value)| format!("{flag}={}", path(flag, value))).collect();
    let theirs = oracle.ask(&json!({ "ask": "oslo", "root": root, "args": args, "env": case.env, "names": names }));
    let items = case.args.iter().map(|(flag, value)| match *flag {
        "--ci" => Argument::Option { name: "ci".into(), value: value.clone() },
        "--config-dir" => Argument::Dir(root.join(value)),
        _ => Argument::File(root.join(value)),
    });
    let arguments = Arguments { program: "nova-api".into(), items: items.collect(), ask: None };
    let environment = Environment { vars: case.env.clone(), home: Some(root.join("home")), ..Environment::bare(root) };
    let (conf, problems) = Conf::read_all(table(library), &Reading::new(), &arguments, &environment, library);
    if let Some(problem) = problems.first() {
        return vec![("the load".to_owned(), exception(problem), theirs["parse"].clone())];
    }
    if theirs.get("parse").is_some() {
        return vec![("the load".to_owned(), Value::Null, theirs["parse"].clone())];
    }
    let read = |name: &String| {
        let (group, option) = name.split_once('.').expect("a group");
        let value = conf.get_named::<oslo::Value>(group, option);
        (name.clone(), value.map_or_else(|problem| exception(&problem), plain), theirs["values"][name].clone())
    };
    let mut all: Vec<_> = names.iter().map(read).collect();
    let ours: BTreeSet<String> =
        conf.warnings().into_iter().filter_map(|warning| warning.original).map(|original| original.message).collect();
    let heard = theirs["heard"].as_array().expect("a list").iter().filter_map(Value::as_str);
    let heard: BTreeSet<String> = heard.filter(|line| line.contains("is deprecated. Use")).map(str::to_owned).collect();
    all.push(("the warnings".to_owned(), json!(ours), json!(heard)));
    all
}

fn exception(problem: &Diagnostic) -> Value {
    let original = problem.original.clone().unwrap_or_else(|| panic!("no original: {problem}"));
    json!({ "error": original.class, "message": original.message })
}

fn plain(value: oslo::Value) -> Value {
    match value {
        oslo::Value::None => Value::Null,
        oslo::Value::Text(text) => text.into(),
        oslo::Value::Bool(flag) => flag.into(),
        oslo::Value::Int(number) => number.into(),
        oslo::Value::Float(number) if number.is_finite() => number.into(),
        oslo::Value::Float(number) => number.to_string().to_lowercase().into(),
        oslo::Value::List(items) => items.into(),
        oslo::Value::Dict(pairs) => Value::Object(pairs.into_iter().map(|(k, v)| (k, v.into())).collect()),
    }
}

/// The id of a difference on purpose.
fn on_purpose(case: &Case, ours: &Value, theirs: &Value) -> Option<(&'static str, &'static str)> {
    let class = |answer: &Value| answer["error"].as_str().unwrap_or_default().to_owned();
    let deep = |answer: &Value| matches!(class(answer).as_str(), "RecursionError" | "RuntimeError");
    let foreign = || {
        let texts = case.files.values().chain(case.env.values());
        let marks = ["$zz", "${zz", "$og.", "${og."];
        let refers = texts.into_iter().any(|text| marks.iter().any(|mark| text.contains(mark)));
        let warnings = ours.is_array() && theirs.is_array();
        refers && (warnings || matches!(class(theirs).as_str(), "NoSuchOptError" | "NoSuchGroupError"))
    };
    let far = |value: &Value| value.is_number() && value.as_i64().is_none() || value.as_i64() == Some(i64::MAX);
    let id = if deep(ours) && deep(theirs) {
        "circle"
    } else if foreign() {
        "foreign"
    } else if far(ours) && theirs.is_number() {
        "64-bit"
    } else {
        return None;
    };
    ON_PURPOSE.into_iter().find(|(known, _)| *known == id)
}

/// A difference for people, with as few lines as show it.
fn told(oracle: &mut Oracle, mut case: Case, name: &str, root: &str, library: Library) -> String {
    let mut wrong = |case: &Case| {
        let all = differences(oracle, case, root, library);
        all.into_iter()
            .find(|(n, ours, theirs)| n == name && ours != theirs && on_purpose(case, ours, theirs).is_none())
    };
    for file in case.files.keys().cloned().collect::<Vec<_>>() {
        let mut fewer = case.clone();
        fewer.files.remove(&file);
        if wrong(&fewer).is_some() {
            case = fewer;
            continue;
        }
        let text = case.files[&file].clone();
        let smaller = shrunk(&text, |text| {
            let mut fewer = case.clone();
            fewer.files.insert(file.clone(), text.to_owned());
            wrong(&fewer).is_some()
        });
        case.files.insert(file, smaller);
    }
    let (name, ours, theirs) = wrong(&case).unwrap_or_default();
    format!("{case:#?}\n{name}\n  ours   {ours}\n  theirs {theirs}")
}
