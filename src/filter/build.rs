//! Takes a filter's options out of its Paste section and nova.conf, each once, and reports what is wrong with them.
//!
//! Must not know any particular filter.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::config::{ConfSource, Reading, Setting, Source, Via};
use crate::message::{Diagnostic, Place, nearest};
use crate::release::Release;

/// An option as the reference shows it.
#[derive(Debug)]
pub struct OptionSpec {
    /// As written in the Paste section.
    pub name: &'static str,
    /// The group of nova.conf in which it may stand too; empty when it may not.
    pub group: &'static str,
    /// Its default, as text.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
}

/// An option that a filter took, and where from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// As the place has it where it stands: in a section, or in a group of nova.conf.
    pub name: String,
    /// That group of nova.conf; `None` for an option of the Paste file.
    pub group: Option<String>,
    /// The text that counts, its place and its way.
    pub setting: Setting,
}

/// The options of one section on their way into a filter.
pub struct Build<'a> {
    /// The era whose answers hold.
    pub release: Release,
    /// The section, e.g. `filter:cors`.
    pub section: &'a str,
    /// Its header line.
    pub place: &'a Place,
    global: &'a IndexMap<String, Setting>,
    local: IndexMap<String, Setting>,
    conf: &'a dyn ConfSource,
    reading: &'a Reading,
    /// Digests of the files that were read.
    files: Vec<[u8; 32]>,
    /// What was taken so far. Builders look at nova.conf through a shared borrow, hence the cell.
    taken: RefCell<Vec<Taken>>,
    /// What was found wrong so far.
    pub diagnostics: Vec<Diagnostic>,
    /// Why the section is for the worker after all; see [`leave`](Self::leave).
    pub left: Option<String>,
    /// The original's words for an option of the section that nobody takes.
    pub unknown: Option<fn(&str) -> String>,
}

impl<'a> Build<'a> {
    /// Options of the section `section` at `place`.
    pub fn new(
        release: Release,
        section: &'a str,
        place: &'a Place,
        global: &'a IndexMap<String, Setting>,
        local: &IndexMap<String, Setting>,
        conf: &'a dyn ConfSource,
        reading: &'a Reading,
    ) -> Self {
        Self {
            release,
            section,
            place,
            global,
            local: local.clone(),
            conf,
            reading,
            files: Vec::new(),
            taken: RefCell::default(),
            diagnostics: Vec::new(),
            left: None,
            unknown: None,
        }
    }

    /// Takes an option of the section itself.
    pub fn local(&mut self, name: &str) -> Option<Setting> {
        let setting = self.local.shift_remove(name)?;
        self.take(None, name, &setting);
        Some(setting)
    }

    /// Takes every option of the section whose name begins so, with the rest of its name.
    pub fn local_by_prefix(&mut self, prefix: &str) -> Vec<(String, Setting)> {
        let names: Vec<_> = self.local.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        let rest = |name: &str| name.strip_prefix(prefix).map(str::to_owned);
        names.iter().filter_map(|name| Some((rest(name)?, self.local(name)?))).collect()
    }

    /// Takes every option of the section that is left, of a factory that has no names of its own for them.
    pub fn rest(&mut self) {
        for (name, setting) in std::mem::take(&mut self.local) {
            self.take(None, &name, &setting);
        }
    }

    /// Every option that was taken, in the order of the builder's questions; of an option that may stand in several
    /// places, the text that counts.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.borrow().clone()
    }

    fn take(&self, group: Option<&str>, name: &str, setting: &Setting) {
        let one = Taken { name: name.to_owned(), group: group.map(str::to_owned), setting: setting.clone() };
        let mut taken = self.taken.borrow_mut();
        if !taken.contains(&one) {
            taken.push(one);
        }
    }

    /// Takes an option as oslo.middleware's and keystonemiddleware's filters do: the section's own, else that of the
    /// Paste file's `[DEFAULT]`, else that of `[group]` in nova.conf.
    pub fn local_or_conf(&mut self, group: &str, name: &str) -> Option<Setting> {
        self.local(name).or_else(|| self.global(name).cloned()).or_else(|| self.conf(group, name))
    }

    /// Whether somebody has set an option that [`local_or_conf`](Self::local_or_conf) would find; takes nothing.
    pub fn has(&self, group: &str, name: &str) -> bool {
        let in_conf = || self.conf.raw(group, name).is_some_and(|setting| setting.via != Via::BuiltIn);
        self.local.contains_key(name) || self.global.contains_key(name) || in_conf()
    }

    /// Takes the three options that tell every oslo.middleware filter where to look for nova.conf.
    ///
    /// The front always looks where the service does. oslo.middleware itself searches the default directories
    /// when it is told a project, and so misses a file given with `--config-file` elsewhere.
    pub fn oslo_config(&mut self) {
        self.local("oslo_config_project");
        self.local("oslo_config_program");
        if let Some(file) = self.local("oslo_config_file") {
            let place = file.place.unwrap_or_else(|| self.place.clone());
            let text = format!("`oslo_config_file = {}` is not read here", file.value);
            let help = "the filter takes its options from the service's own configuration files and from this section";
            self.diagnostics.push(Diagnostic::warning(place, text).help(help));
        }
    }

    /// Leaves the section to the worker, because its options ask for what only Python can do.
    ///
    /// Not an error: the front's part of the pipeline ends before this section. Gives `None`, for the builder to return.
    pub fn leave<T>(&mut self, reason: impl Into<String>) -> Option<T> {
        self.left = Some(reason.into());
        None
    }

    /// A value of the Paste file's `[DEFAULT]`, as the factory's `global_conf` has it.
    pub fn global(&self, name: &str) -> Option<&Setting> {
        let setting = self.global.get(name)?;
        self.take(None, name, setting);
        Some(setting)
    }

    /// An option of nova.conf.
    pub fn conf(&self, group: &str, name: &str) -> Option<Setting> {
        let setting = self.conf.raw(group, name)?;
        self.take(Some(group), name, &setting);
        Some(setting)
    }

    /// The bytes of a file that an option names, as this load sees them: a change of the file is a reload. `None` after
    /// an error.
    pub fn file(&mut self, setting: &Setting) -> Option<Arc<Source>> {
        match self.reading.file(Path::new(&setting.value)) {
            Ok(source) => {
                self.files.push(source.digest);
                Some(source)
            }
            Err(error) => {
                let text = format!("cannot read {}: {error}", setting.value);
                self.error(Some(setting), text, "name a file that the front may read");
                None
            }
        }
    }

    /// Digests of the files that were read, in the order of the builder's questions.
    pub fn files(&self) -> Vec<[u8; 32]> {
        self.files.clone()
    }

    /// Reports an error at the option's own line.
    pub fn error(&mut self, setting: Option<&Setting>, message: impl Into<String>, help: impl Into<String>) {
        let place = setting.and_then(|s| s.place.clone()).unwrap_or_else(|| self.place.clone());
        self.diagnostics.push(Diagnostic::error(place, message).help(help));
    }

    /// Reports options that nobody took: typos, most of the time.
    pub fn finish(mut self, options: &[OptionSpec]) -> Vec<Diagnostic> {
        for (name, setting) in std::mem::take(&mut self.local) {
            let place = setting.place.unwrap_or_else(|| self.place.clone());
            let text = match self.unknown {
                Some(words) => words(&name),
                None => format!("[{}] has no option `{name}`", self.section),
            };
            let found = Diagnostic::warning(place, text);
            self.diagnostics.push(match nearest(&name, options.iter().map(|o| o.name)) {
                Some(known) => found.help(format!("did you mean `{known}`?")),
                None => found.help("remove it, or check its spelling"),
            });
        }
        self.diagnostics
    }

    /// A whole number, as oslo.config reads one.
    pub fn integer<T: std::str::FromStr>(&mut self, setting: Option<Setting>, default: T) -> T {
        let Some(setting) = setting else { return default };
        match setting.value.trim().parse() {
            Ok(number) => number,
            Err(_) => {
                let text = format!("`{}` is not a whole number", setting.value);
                self.error(Some(&setting), text, "write digits only");
                default
            }
        }
    }

    /// A boolean, as oslo.config reads one.
    pub fn flag(&mut self, setting: Option<Setting>, default: bool) -> bool {
        let Some(setting) = setting else { return default };
        match setting.value.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => true,
            "false" | "0" | "off" | "no" => false,
            _ => {
                let text = format!("unexpected boolean value `{}`", setting.value);
                self.error(Some(&setting), text, "write true or false");
                default
            }
        }
    }

    /// A boolean, as Paste reads one (`paste.deploy.converters.asbool`).
    pub fn paste_flag(&mut self, setting: Option<Setting>, default: bool) -> bool {
        let Some(setting) = setting else { return default };
        let text = setting.value.trim().to_lowercase();
        match text.as_str() {
            "true" | "yes" | "on" | "y" | "t" | "1" => true,
            "false" | "no" | "off" | "n" | "f" | "0" => false,
            _ => {
                self.error(Some(&setting), format!("String is not true/false: {text:?}"), "write true or false");
                default
            }
        }
    }

    /// A comma-separated list, as oslo.config reads one: blanks around items go, an empty text is an empty list.
    pub fn list(&mut self, setting: Option<Setting>, default: &[&str]) -> Vec<String> {
        let Some(setting) = setting else { return default.iter().map(|&s| s.to_owned()).collect() };
        let text = setting.value.trim().trim_end_matches(',');
        if text.is_empty() {
            return Vec::new();
        }
        text.split(',').map(|item| item.trim().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NovaConf;

    impl ConfSource for NovaConf {
        fn raw(&self, group: &str, name: &str) -> Option<Setting> {
            let known = (group, name) == ("cors", "max_age");
            known.then(|| Setting { value: "60".into(), place: Some(Place::file("nova.conf")), via: Via::Conf })
        }
    }

    #[test]
    fn every_option_that_a_filter_took_is_remembered_with_its_way() {
        let conf = |pairs: &[(&str, Via)]| -> IndexMap<String, Setting> {
            let setting = |via: &Via| Setting { value: "x".into(), place: None, via: *via };
            pairs.iter().map(|(name, via)| ((*name).to_owned(), setting(via))).collect()
        };
        let (place, global) = (Place::file("api-paste.ini"), conf(&[("debug", Via::Set), ("unread", Via::Default)]));
        let local = conf(&[("own", Via::Local), ("lent", Via::Use)]);
        let reading = Reading::of([]);
        let mut build = Build::new(Release::NEWEST, "filter:f", &place, &global, &local, &NovaConf, &reading);
        assert!(build.local("nothing").is_none());
        build.local_or_conf("cors", "max_age");
        build.local_or_conf("cors", "debug");
        build.local_or_conf("cors", "lent");
        build.local("own");
        let taken = build.taken();
        let seen: Vec<_> = taken.iter().map(|t| (t.name.as_str(), t.group.as_deref(), t.setting.via)).collect();
        assert_eq!(
            seen,
            [
                ("max_age", Some("cors"), Via::Conf),
                ("debug", None, Via::Set),
                ("lent", None, Via::Use),
                ("own", None, Via::Local),
            ]
        );
    }
}
