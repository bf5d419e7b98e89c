//! `paste`: what the Paste loader makes of a file or URI, as one JSON object; no factory is imported.
//!
//! Must not know how names are resolved.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::local::{printed, usage};
use super::{DialectName, EX_CONFIG, LibraryName, ObjectKind, Paste};
use crate::config::layout::release_from_layout;
use crate::config::paste::{self, Dialect, Document, Kind, Library, Loader, Rules};
use crate::config::{Reading, Setting, Via};
use crate::release::Release;

/// Nova ran on Python 3 and PasteDeploy 2 from its 18th release on.
const NEWER: Release = Release::ROCKY;

/// Prints `{"ok": TREE}` or `{"error": CLASS, "message": TEXT}`; with `--all` the whole file.
pub fn paste(asked: &Paste) -> ExitCode {
    let here = std::env::current_dir().unwrap_or_default();
    let file = (!paste::is_absolute(&asked.target)).then(|| here.join(&asked.target));
    let reading = Reading::new();
    let loader = Loader::new(&reading, rules(asked, file.as_deref(), &reading));
    let (outcome, fine) = match (&file, asked.all) {
        (Some(file), true) => {
            let whole = paste::whole(&loader, file);
            let fine = whole.get("parse_error").is_none();
            (whole, fine)
        }
        (None, true) => return usage("pasteway: --all shows a file\nhelp: give its path, not a URI"),
        (file, false) => {
            let uri = file.as_ref().map_or_else(|| asked.target.clone(), |file| paste::file_uri(file));
            let kind = match asked.kind {
                ObjectKind::App => Kind::App,
                ObjectKind::Filter => Kind::Filter,
                ObjectKind::Server => Kind::Server,
            };
            let setting = |value: &String| Setting { value: value.clone(), place: None, via: Via::BuiltIn };
            let passed = asked.global.iter().map(|(key, value)| (key.clone(), setting(value))).collect();
            let passed = Some(passed).filter(|_| !asked.global.is_empty());
            let result = loader.load(kind, &uri, asked.name.as_deref(), Some(&here), passed.as_ref());
            (paste::outcome(&result), result.is_ok())
        }
    };
    match printed(&format!("{outcome:#}\n")) {
        ExitCode::SUCCESS if !fine => ExitCode::from(EX_CONFIG),
        code => code,
    }
}

/// As asked, else as the Nova that shipped the file had it.
fn rules(asked: &Paste, file: Option<&Path>, reading: &Reading) -> Rules {
    let named = || asked.target.strip_prefix("config:").and_then(|rest| rest.split('#').next()).map(PathBuf::from);
    let old = file.map(Path::to_owned).or_else(named).is_some_and(|path| {
        let source = reading.file(&path).ok();
        let document = source.and_then(|source| Document::parse(&path, &source.bytes, Dialect::Py2).ok());
        document.and_then(|document| release_from_layout(&document)).is_some_and(|release| release < NEWER)
    });
    Rules {
        dialect: match asked.dialect {
            Some(DialectName::Py2) => Dialect::Py2,
            Some(DialectName::Py3) => Dialect::Py3,
            None if old => Dialect::Py2,
            None => Dialect::Py3,
        },
        library: match asked.library {
            Some(LibraryName::One) => Library::One,
            Some(LibraryName::Two) => Library::Two,
            None if old => Library::One,
            None => Library::Two,
        },
    }
}
