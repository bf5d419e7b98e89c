//! What is wrong in the parts of a Paste file that no loaded name leads to. The original never looks at them, so
//! these are warnings; `check` tells them.
//!
//! Must not know which APIs there are.

use std::path::Path;

use super::composite::{self, Choice};
use super::paste::{Kind, Loader, Section, file_uri};
use crate::message::{Diagnostic, Place, Severity, nearest};

/// The problems of all sections, each as a warning, without those that were `found` already.
pub(super) fn warnings(
    loader: &Loader<'_>,
    paste_file: &Path,
    choice: &Choice,
    found: &[Diagnostic],
) -> Vec<Diagnostic> {
    // That a file cannot be parsed is everybody's error.
    let Ok(document) = loader.document(paste_file) else { return Vec::new() };
    let mut told = Told { found, more: Vec::new() };
    for section in document.sections.values() {
        let (prefix, name) = section.name.split_once(':').unwrap_or((&section.name, ""));
        match Kind::of_prefix(prefix) {
            None => told.more.extend(mistyped(paste_file, section, prefix)),
            Some(kind) => {
                let name = Some(document.dialect.strip(name)).filter(|name| !name.is_empty()).unwrap_or("main");
                one(loader, paste_file, (kind, name), choice, &mut told);
            }
        }
    }
    told.more
}

/// One section: whether it resolves, and whatever strategy would be chosen, its members too.
fn one(loader: &Loader<'_>, paste_file: &Path, (kind, name): (Kind, &str), choice: &Choice, told: &mut Told<'_>) {
    let context = match loader.load(kind, &file_uri(paste_file), Some(name), None, None) {
        Ok(context) => context,
        Err(error) => return told.tell(error.into_diagnostics()),
    };
    if kind != Kind::App {
        return;
    }
    let others = composite::strategies(&context).into_iter().filter(|name| *name != choice.auth_strategy);
    for auth_strategy in others {
        let other = Choice { auth_strategy, api_rate_limit: true, release: choice.release };
        told.tell(composite::expand(loader, context.clone(), &other).1);
    }
    told.tell(composite::expand(loader, context, choice).1);
}

/// A section that no kind of object is looked for in, because its prefix is almost one.
fn mistyped(paste_file: &Path, section: &Section, prefix: &str) -> Option<Diagnostic> {
    let known = [Kind::App, Kind::Filter, Kind::Server].into_iter().flat_map(Kind::all_prefixes);
    let near = nearest(prefix, known)?;
    let place = Place { file: paste_file.to_owned(), line: section.line, column: 2 };
    let fact = format!("nothing is looked for in [{}]: `{prefix}` is no kind of section", section.name);
    Some(Diagnostic::warning(place, fact).help(format!("did you mean `{near}`?")))
}

struct Told<'f> {
    found: &'f [Diagnostic],
    more: Vec<Diagnostic>,
}

impl Told<'_> {
    fn tell(&mut self, problems: Vec<Diagnostic>) {
        for problem in problems {
            let same = |other: &Diagnostic| other.place == problem.place && other.message == problem.message;
            if !self.found.iter().any(same) {
                let message = format!("{} (nothing that is loaded leads here)", problem.message);
                let warning = Diagnostic { severity: Severity::Warning, message, ..problem };
                if !self.more.contains(&warning) {
                    self.more.push(warning);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Reading;
    use crate::config::paste::{Dialect, Library, Rules};
    use crate::release::Release;

    fn check(text: &str) -> Vec<String> {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = scratch.path().join("a.ini");
        std::fs::write(&path, text).expect("written");
        let reading = Reading::new();
        let loader = Loader::new(&reading, Rules { dialect: Dialect::Py3, library: Library::Two });
        let choice = Choice { auth_strategy: "keystone".into(), api_rate_limit: true, release: Release::NEWTON };
        let found = warnings(&loader, &path, &choice, &[]);
        assert!(found.iter().all(|one| !one.is_error()));
        let line = |one: Diagnostic| format!("{}: {}", one.place.map_or(0, |place| place.line), one.message);
        found.into_iter().map(line).collect()
    }

    #[test]
    fn every_section_is_looked_at() {
        let text = "[app:a]\npaste.app_factory = m:a\n[filter:f]\nuse = nope\n[server:main]\nx = %\n";
        assert_eq!(
            check(text),
            [
                "4: filter `nope` is not defined (nothing that is loaded leads here)",
                "6: `x` has a `%` that begins no `%(name)s` (nothing that is loaded leads here)",
            ]
        );
    }

    #[test]
    fn so_are_the_pipelines_of_strategies_that_were_not_chosen() {
        let text = "[composite:c]\nuse = call:nova.api.auth:pipeline_factory\nkeystone = a\nnoauth = nope a\n\
                    [app:a]\npaste.app_factory = m:a\n";
        assert_eq!(check(text), ["4: filter `nope` is not defined (nothing that is loaded leads here)"]);
    }

    #[test]
    fn a_mistyped_prefix_hides_a_section() {
        assert_eq!(
            check("[fliter:f]\n[nova]\n"),
            ["1: nothing is looked for in [fliter:f]: `fliter` is no kind of section"]
        );
    }
}
