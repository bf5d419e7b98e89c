//! What is fuzzed: each target takes any bytes, and must neither panic nor hang nor grow. libFuzzer drives them
//! (`fuzz_targets/`), and so does a bounded test with a fixed seed (`bounded.rs`).
//!
//! Must not know who makes the bytes. No target looks at the disk.

use std::path::Path;

use pasteway::compile;
use pasteway::config::interpreter::Interpreters;
use pasteway::config::options::Table;
use pasteway::config::oslo::{self, Argument, Arguments, Conf, Environment};
use pasteway::config::paste::{self, Dialect, Document, Kind, Library, Loader, Rules};
use pasteway::config::{self, Invocation, Reading};
use pasteway::release::Release;

const RULES: [Rules; 2] =
    [Rules { dialect: Dialect::Py2, library: Library::One }, Rules { dialect: Dialect::Py3, library: Library::Two }];

/// Separates the parts of an input that is several texts.
const CUT: u8 = 0xff;

/// Both grammars of Paste files.
pub fn paste_parser(data: &[u8]) {
    for Rules { dialect, .. } in RULES {
        if let Ok(document) = Document::parse(Path::new("/a.ini"), data, dialect) {
            let entries = document.sections.values().flat_map(|section| section.entries.values());
            for entry in entries.chain(document.defaults.values()) {
                assert!(entry.at().0 > 0, "every value has a line");
                assert!(entry.words(dialect).iter().all(|(_, at)| at.0 >= entry.at().0));
            }
        }
    }
}

/// The grammar of oslo.config files under both libraries, and everything that is read from them.
pub fn oslo_parser(data: &[u8]) {
    for library in [oslo::Library::Old, oslo::Library::New] {
        read_all(data, library);
    }
}

/// A value that refers to others, which may refer back.
pub fn interpolation(data: &[u8]) {
    let mut text = b"[DEFAULT]\na = ".to_vec();
    let parts: Vec<Vec<u8>> = data.split(|byte| *byte == CUT).take(3).map(one_line).collect();
    text.extend(parts.first().into_iter().flatten());
    text.extend(b"\nb = ");
    text.extend(parts.get(1).into_iter().flatten());
    text.extend(b"\n[app:main]\npaste.app_factory = m:f\nc = ");
    text.extend(parts.get(2).into_iter().flatten());
    text.push(b'\n');
    for rules in RULES {
        let reading = Reading::of([("/a.ini".into(), text.clone())]);
        let _ = Loader::new(&reading, rules).load(Kind::App, "config:/a.ini", None, None, None);
    }
}

/// Values of nova.conf that refer to others.
pub fn substitution(data: &[u8]) {
    let names = ["log_dir", "my_ip", "state_path", "enabled_apis", "osapi_compute_workers", "debug"];
    let mut text = b"[DEFAULT]\n".to_vec();
    for (name, part) in names.iter().zip(data.split(|byte| *byte == CUT)) {
        text.extend(format!("{name} = ").bytes());
        text.extend(one_line(part));
        text.push(b'\n');
    }
    for library in [oslo::Library::Old, oslo::Library::New] {
        read_all(&text, library);
    }
}

/// All of it: nova.conf and two Paste files, to the compiled tree.
pub fn resolve(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == CUT).map(<[u8]>::to_vec);
    let paste_file = parts.next().unwrap_or_default();
    let other = parts.next().unwrap_or_default();
    let mut conf = b"[DEFAULT]\napi_paste_config = /a.ini\n[pasteway]\nworker_kind = builtin\n".to_vec();
    conf.extend(parts.next().unwrap_or_default());
    let files = |conf: &[u8]| {
        Reading::of([
            ("/nova.conf".into(), conf.to_vec()),
            ("/a.ini".into(), paste_file.clone()),
            ("/b.ini".into(), other.clone()),
        ])
    };
    let invocation = Invocation {
        paste: None,
        arguments: arguments(),
        environment: environment(),
        cpus: 2,
        interpreters: Interpreters::default(),
    };
    if let Ok(config) = config::load_from(&invocation, files(&conf)) {
        let _ = compile::compile(config, None);
    }
    for rules in RULES {
        let reading = files(&conf);
        let _ = paste::whole(&Loader::new(&reading, rules), Path::new("/a.ini"));
    }
}

fn read_all(text: &[u8], library: oslo::Library) {
    let reading = Reading::of([("/nova.conf".into(), text.to_vec())]);
    let (conf, _) = Conf::read_all(Table::OWN, &reading, &arguments(), &environment(), library);
    conf.set_release(if library == oslo::Library::Old { Release::HAVANA } else { Release::NEWEST });
    for (group, name) in conf.names() {
        let _ = conf.get_named::<oslo::Value>(&group, &name);
    }
}

fn arguments() -> Arguments {
    Arguments { program: "pasteway".into(), items: vec![Argument::File("/nova.conf".into())], ask: None }
}

fn environment() -> Environment {
    Environment::bare(Path::new("/"))
}

fn one_line(part: &[u8]) -> Vec<u8> {
    part.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
}
