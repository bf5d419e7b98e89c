//! etc/, dashboards/ and README: what they say is what the program does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pasteway::command::Class;
use pasteway::config::options::{self, Opt};
use pasteway::metrics::FAMILIES;
use pasteway::release::Release;
use regex::Regex;

use crate::support::front::executable;

/// The release whose layout `etc/nova/` has.
const ERA: Release = Release::HAVANA;
/// Where an option has no default, as oslo.config's own samples say it.
const UNSET: &str = "<None>";
/// Longer defaults are told only where they hold.
const TELLING: usize = 40;
/// What a reload refuses to change.
const AT_START: [&str; 2] = ["runtime_dir", "front_threads"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn pasteway(args: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(executable());
    command.args(args).current_dir(directory).stdin(Stdio::null()).output().expect("the executable")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The group and name of an option in the era of the reference.
fn name_then(opt: &Opt) -> (&'static str, &'static str) {
    match opt.deprecated.first() {
        Some(old) if opt.since > ERA => *old,
        _ => (opt.group, opt.name),
    }
}

/// The entry of an option in the reference: help and what a change takes, what later releases made of it, default.
fn entry(opt: &Opt) -> String {
    let change = match opt.change {
        _ if AT_START.contains(&opt.name) => "restart",
        Class::Live => "live",
        Class::Rolling => "rolling",
        Class::Rebind => "rebind",
    };
    let mut later = Vec::new();
    if opt.since > ERA {
        later.push(format!("[{}] {} since {}", opt.group, opt.name, opt.since));
    }
    for (since, default) in opt.defaults.iter().filter(|(since, _)| *since > ERA) {
        let default = if default.len() > TELLING { "another default" } else { default };
        later.push(format!("{default} since {since}"));
    }
    if let Some(gone) = opt.gone {
        later.push(format!("not read since {gone}"));
    }
    let later = if later.is_empty() { String::new() } else { format!("# Later: {}.\n", later.join("; ")) };
    let default = match opt.default(ERA) {
        Some("") => String::new(),
        // A reader of files drops blanks at the end anyway.
        Some(text) => format!(" {}", text.trim_end()),
        None => format!(" {UNSET}"),
    };
    format!("#{} ({change})\n{later}#{} ={default}\n", opt.help, name_then(opt).1)
}

/// The text of each group of a file, by its name.
fn groups(text: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut group = String::new();
    for line in text.lines() {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => group = name.to_owned(),
            None => {
                let text = found.entry(group.clone()).or_default();
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    found
}

#[test]
fn the_samples_pass_the_check() {
    for layout in ["nova", "nova-current"] {
        let file = format!("etc/{layout}/nova.conf");
        let output = pasteway(&["check", "--config-file", &file], &root());
        assert_eq!(output.status.code(), Some(0), "{layout}: {}", said(&output));
    }
}

#[test]
fn the_reference_has_every_option_with_its_help_its_class_and_its_default() {
    let groups = groups(&read("etc/nova/nova.conf"));
    let missing: Vec<String> = options::all()
        .filter(|opt| !groups.get(name_then(opt).0).is_some_and(|text| text.contains(&entry(opt))))
        .map(|opt| format!("[{}]\n{}", name_then(opt).0, entry(opt)))
        .collect();
    assert!(missing.is_empty(), "etc/nova/nova.conf lacks:\n\n{}", missing.join("\n"));
}

#[test]
fn the_reference_has_no_option_that_is_not_read() {
    let known: BTreeSet<(&str, &str)> = options::all().map(name_then).collect();
    let line = Regex::new(r"(?m)^#?([a-z0-9_<>]+) *=").expect("a regex");
    for (group, text) in groups(&read("etc/nova/nova.conf")) {
        for found in line.captures_iter(&text) {
            let name = found.get(1).expect("a name").as_str();
            assert!(known.contains(&(group.as_str(), name)), "[{group}] {name}");
        }
    }
}

/// The reference with every default written out. Patterns and options without a default stay comments; what is set
/// already stands after its default and so wins.
#[test]
fn the_defaults_of_the_reference_can_be_written_out_and_change_nothing() {
    let option = Regex::new(r"^#([a-z0-9_]+ *=.*)$").expect("a regex");
    let written: String = read("etc/nova/nova.conf")
        .lines()
        .map(|line| match option.captures(line) {
            Some(found) if !line.ends_with(UNSET) => format!("{}\n", &found[1]),
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(written.contains("\nec2_listen_port = 8773\n"));
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("nova.conf"), written).expect("nova.conf");
    std::fs::write(directory.path().join("api-paste.ini"), read("etc/nova/api-paste.ini")).expect("api-paste.ini");
    let args = ["tree", "--format", "json", "--config-file", "nova.conf"];
    let output = pasteway(&args, directory.path());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    std::fs::write(directory.path().join("nova.conf"), read("etc/nova/nova.conf")).expect("nova.conf");
    assert_eq!(said(&output), said(&pasteway(&args, directory.path())));
}

/// A shell's words, with quotes and nothing else of a shell.
fn words(line: &str) -> Vec<String> {
    let word = Regex::new(r#"'([^']*)'|"([^"]*)"|(\S+)"#).expect("a regex");
    let text = |found: regex::Captures<'_>| (1..=3).find_map(|n| found.get(n)).map(|m| m.as_str().to_owned());
    word.captures_iter(line).filter_map(text).collect()
}

#[test]
fn the_commands_of_the_readme_exist_and_none_is_left_out() {
    let readme = read("README.md");
    let mut seen = BTreeSet::new();
    let lines = readme.lines().filter_map(|line| match line.split_once(" --locked -- ") {
        Some((_, arguments)) => Some(format!("pasteway {arguments}")),
        None => line.strip_prefix("$ ").filter(|line| line.starts_with("pasteway ")).map(str::to_owned),
    });
    for line in lines {
        let words = words(&line);
        pasteway::cli::parse(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
        for pair in words.windows(2).filter(|pair| pair[0] == "--config-file") {
            assert!(root().join(&pair[1]).is_file(), "{line}: no file {}", pair[1]);
        }
        seen.insert(words[1].clone());
    }
    let help = said(&pasteway(&["--help"], &root()));
    let (_, commands) = help.split_once("Commands:\n").expect("a list of commands");
    let commands = commands.lines().take_while(|line| line.starts_with(' '));
    let commands: BTreeSet<String> =
        commands.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(commands.len() > 4, "{help}");
    assert_eq!(seen, commands);
}

#[test]
fn the_reference_of_the_filters_is_what_the_program_prints() {
    let printed = pasteway(&["filters", "--format", "markdown"], &root());
    let printed = String::from_utf8_lossy(&printed.stdout);
    assert!(
        read("etc/filters.md") == printed,
        "etc/filters.md is old; print it anew: pasteway filters --format markdown > etc/filters.md"
    );
}

/// Names and labels of the metrics in an expression, against the table of all metrics.
#[track_caller]
fn known_metrics(expression: &str, place: &str) -> usize {
    let metric = Regex::new(r"\b((?:pasteway|process)_[a-z0-9_]+)(?:\{([^}]*)\})?").expect("a regex");
    let label = Regex::new(r"\b([a-z_]+) *(?:=~|!~|!=|=)").expect("a regex");
    let mut found = 0;
    for captures in metric.captures_iter(expression) {
        let name = &captures[1];
        let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let family = FAMILIES.iter().find(|family| family.name == name || Some(family.name) == bare);
        let family = family.unwrap_or_else(|| panic!("{place}: `{expression}`: no metric {name}"));
        let labels = captures.get(2).map(|labels| labels.as_str()).unwrap_or_default();
        for label in label.captures_iter(labels) {
            let (label, target) = (&label[1], ["job", "instance"]);
            let exists = family.labels.contains(&label) || target.contains(&label);
            assert!(exists, "{place}: `{expression}`: {name} has no label {label}");
        }
        found += 1;
    }
    found
}

#[test]
fn every_panel_and_every_alert_asks_for_metrics_and_labels_that_exist() {
    let expression = Regex::new(r#"(?m)^\s*(?:- )?"?expr"?: *(.+)$"#).expect("a regex");
    let mut files = 0;
    for entry in std::fs::read_dir(root().join("dashboards")).expect("dashboards/") {
        let path = entry.expect("an entry").path();
        let place = path.display().to_string();
        let text = std::fs::read_to_string(&path).expect("a dashboard");
        let mut expressions = 0;
        for found in expression.captures_iter(&text) {
            // In JSON a label's value stands in escaped quotes.
            let line = found[1].replace("\\\"", "\"");
            assert!(known_metrics(&line, &place) > 0, "{place}: `{line}` names no metric");
            expressions += 1;
        }
        assert!(expressions > 0, "{place} has no expression");
        files += 1;
    }
    assert!(files >= 2, "a dashboard and the alerts");
}
