//! Values that cannot be interpolated: the exceptions of both Pythons, and what they mean for the file.
//!
//! Must not know how interpolation works.

use super::file::File;
use super::interpolate::Fault;
use super::{Dialect, Error, Section};
use crate::config::Setting;
use crate::message::{Place, nearest};

impl File {
    /// The exception that the interpolation of an option ends in; `section` is `None` for `[DEFAULT]`.
    pub(super) fn unresolved(&self, section: Option<&Section>, key: &str, raw: &Setting, fault: Fault) -> Error {
        let name = section.map_or("DEFAULT", |section| section.name.as_str());
        let (class, text) = exception(self.document.dialect, name, key, &raw.value, &fault);
        // `MemoryError` has no text to put the file before.
        let text = if class == "MemoryError" { text } else { format!("Error in file {}: {text}", self.name) };
        let error =
            |part: &str, ours: String| Error::new(class, text.as_str(), self.part(section, key, raw, part), ours);
        match &fault {
            Fault::Missing(missing) => {
                let known = section.into_iter().flat_map(|s| s.entries.keys()).chain(self.raw.keys());
                let near = nearest(missing, known.map(String::as_str));
                let ours = format!("`{key}` refers to `{missing}`, which is neither in [{name}] nor in [DEFAULT]");
                error(&format!("%({missing})"), ours).maybe_help(near.map(|near| format!("did you mean `%({near})s`?")))
            }
            Fault::Depth => error("%(", format!("`{key}` refers to itself, or through more than ten other values"))
                .help("write one of the values out"),
            Fault::Syntax(_, rest) => {
                let word = self.document.dialect.words(rest).next().unwrap_or("%");
                error(word, format!("`{key}` has a `%` that begins no `%(name)s`"))
                    .help("write `%%` for a percent sign, or `ini_dialect = py2` into [pasteway] if Python 2 is meant")
            }
            Fault::Operator(_, why) => error("%", format!("`{key}` is not a format that Python 2 can fill in: {why}"))
                .help("write references as `%(name)s`, and `%%` for a percent sign"),
            Fault::TooLong => error("%(", format!("`{key}` grows beyond all bounds when its references are replaced"))
                .help("its references refer to each other again and again: write them out"),
        }
    }

    /// Where a part of a value is written; where the value is, if that part came by interpolation.
    fn part(&self, section: Option<&Section>, key: &str, raw: &Setting, part: &str) -> Place {
        let entry = section.and_then(|section| section.entries.get(key)).or_else(|| self.document.defaults.get(key));
        match (entry, &raw.place) {
            (Some(entry), Some(_)) => self.document.place(entry.locate(part)),
            (None, Some(place)) => place.clone(),
            (_, None) => Place::file(&self.name),
        }
    }
}

/// Class and text of the exception, without the file's name before it.
fn exception(dialect: Dialect, section: &str, key: &str, raw: &str, fault: &Fault) -> (&'static str, String) {
    let py2 = dialect == Dialect::Py2;
    let (key_repr, section_repr, raw_repr) = (dialect.repr(key), dialect.repr(section), dialect.repr(raw));
    match fault {
        Fault::Missing(missing) if py2 => (
            "InterpolationMissingOptionError",
            format!(
                "Bad value substitution:\n\tsection: [{section}]\n\toption : {key}\n\tkey    : {missing}\n\t\
                 rawval : {raw}\n"
            ),
        ),
        Fault::Missing(missing) => (
            "InterpolationMissingOptionError",
            format!(
                "Bad value substitution: option {key_repr} in section {section_repr} contains an interpolation key \
                 {} which is not a valid option name. Raw value: {raw_repr}",
                dialect.repr(missing)
            ),
        ),
        Fault::Depth if py2 => (
            "InterpolationDepthError",
            format!(
                "Value interpolation too deeply recursive:\n\tsection: [{section}]\n\toption : {key}\n\t\
                 rawval : {raw}\n"
            ),
        ),
        Fault::Depth => (
            "InterpolationDepthError",
            format!(
                "Recursion limit exceeded in value substitution: option {key_repr} in section {section_repr} contains \
                 an interpolation key which cannot be substituted in 10 steps. Raw value: {raw_repr}"
            ),
        ),
        Fault::Syntax(text, _) => ("InterpolationSyntaxError", text.clone()),
        Fault::Operator(class, text) => (class, text.clone()),
        Fault::TooLong => ("MemoryError", String::new()),
    }
}
