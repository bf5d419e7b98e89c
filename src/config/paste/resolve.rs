//! Resolves one section: its options, the object that it names, and what it refers to.
//!
//! Must not know where files come from, nor what any factory does.

use std::rc::Rc;

use super::draft::{Conf, Draft, Form, Shared, shared};
use super::file::{File, join};
use super::{Error, Kind, Library, Loader, Object, Section};
use crate::config::{Setting, Via};
use crate::message::{Place, nearest};

impl Loader<'_> {
    /// Resolves a section: its options first, then what it refers to.
    pub(super) fn section(
        &self,
        file: &Rc<File>,
        kind: Kind,
        section: &Section,
        passed: Option<Shared>,
    ) -> Result<Draft, Error> {
        let Options { global, additions, mut local } = self.options(file, section, passed)?;
        let filter_with = match kind {
            Kind::Server => None,
            Kind::App | Kind::Filter => local.shift_remove("filter-with"),
        };
        // Whether the distributions are installed is for the interpreter that runs the factories to say.
        local.shift_remove("require");
        let at = Within { file, section, kind };
        let (global, local) = (shared(global), shared(local));
        let draft = if section.name.starts_with("filter-app:") {
            self.filter_app(&at, &global, &local, &additions)
        } else if section.name.starts_with("pipeline:") {
            self.pipeline(&at, &global, &local)
        } else {
            self.object(&at, &global, &local, &additions)
        }?;
        let Some(named) = filter_with else { return Ok(draft) };
        let place = at.place(&named);
        let filter = self.within(file, Kind::Filter, &named.value, Some(Rc::clone(&global)), Some(&place))?;
        let form = Form::FilteredWith { filter: Box::new(filter), next: Box::new(draft) };
        Ok(at.combination(form, global, local))
    }

    /// Splits a section's options into what goes to the factory's two dictionaries.
    fn options(&self, file: &File, section: &Section, passed: Option<Shared>) -> Result<Options, Error> {
        let defaults = file.defaults()?;
        let mut global = match self.rules.library {
            Library::One => passed.as_ref().map(|conf| conf.borrow().clone()).unwrap_or_default(),
            Library::Two => defaults.clone(),
        };
        match (self.rules.library, passed) {
            (Library::One, _) => lay_over(&mut global, defaults),
            (Library::Two, Some(passed)) => lay_over(&mut global, &passed.borrow()),
            (Library::Two, None) => {}
        }
        let strip = |name| self.rules.dialect.strip(name).to_owned();
        let (mut additions, mut local, mut gets) = (Conf::new(), Conf::new(), Conf::new());
        let mut failed = None;
        for key in file.options(section) {
            let (set, get) = (key.strip_prefix("set "), key.strip_prefix("get "));
            if set.is_none() && get.is_none() && defaults.contains_key(key) {
                continue;
            }
            let setting = match file.get(Some(section), key) {
                Ok(Some(setting)) => setting,
                Ok(None) => continue,
                Err(error) => {
                    join(&mut failed, error);
                    continue;
                }
            };
            if let Some(name) = set.map(strip) {
                let setting = Setting { via: Via::Set, ..setting };
                global.insert(name.clone(), setting.clone());
                additions.insert(name, setting);
            } else if let Some(name) = get.map(strip) {
                gets.insert(name, setting);
            } else {
                local.insert(key.to_owned(), setting);
            }
        }
        for (name, wanted) in gets {
            match global.get(&wanted.value) {
                Some(value) => {
                    local.insert(name, Setting { via: Via::Get, ..value.clone() });
                }
                None => join(&mut failed, self.unset(&name, &wanted, &global)),
            }
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
        Ok(Options { global, additions, local })
    }

    /// A `get` line asks for a global that there is not.
    fn unset(&self, name: &str, wanted: &Setting, global: &Conf) -> Error {
        let value = &wanted.value;
        let ours = format!("`get {name}` asks for `{value}`, which is neither set nor in [DEFAULT]");
        let near = nearest(value, global.keys().map(String::as_str));
        Error::new("KeyError", self.rules.dialect.repr(value), wanted.place.clone(), ours)
            .maybe_help(near.map(|near| format!("did you mean `{near}`?")))
    }

    /// A section that names one object, by `use` or by a protocol key.
    fn object(&self, at: &Within<'_>, global: &Shared, local: &Shared, additions: &Conf) -> Result<Draft, Error> {
        let named = local.borrow_mut().shift_remove("use");
        match named {
            Some(named) => self.used(at, &named, global, local, additions),
            None => self.explicit(at, global, local),
        }
    }

    /// What `use` names, with this section's options laid over it.
    fn used(
        &self,
        at: &Within<'_>,
        named: &Setting,
        global: &Shared,
        local: &Shared,
        additions: &Conf,
    ) -> Result<Draft, Error> {
        let place = at.place(named);
        let mut target = self.within(at.file, at.kind, &named.value, Some(Rc::clone(global)), Some(&place))?;
        let own_file = global.borrow().get("__file__").cloned();
        {
            let mut theirs = target.global.borrow_mut();
            lay_over(&mut theirs, additions);
            theirs.extend(own_file.map(|setting| ("__file__".to_owned(), setting)));
        }
        {
            let mut theirs = target.local.borrow_mut();
            for setting in theirs.values_mut().filter(|setting| setting.via == Via::Local) {
                setting.via = Via::Use;
            }
            lay_over(&mut theirs, &local.borrow());
        }
        target.loader = Some(Rc::clone(at.file));
        target.section = Some(at.section.name.clone());
        target.place = at.file.document.place((at.section.line, 1));
        // Of an egg, the installed distribution decides.
        if target.protocol.is_none() && !matches!(target.object, Some(Object::Egg { .. })) {
            target.protocol = Some(match at.section.name.split(':').next().unwrap_or_default() {
                "app" | "application" => "paste.app_factory".to_owned(),
                "composite" | "composit" => "paste.composit_factory".to_owned(),
                prefix => format!("paste.{prefix}_factory"),
            });
        }
        Ok(target)
    }

    /// The object of the section's own protocol key.
    fn explicit(&self, at: &Within<'_>, global: &Shared, local: &Shared) -> Result<Draft, Error> {
        let (section, dialect) = (&at.section.name, self.rules.dialect);
        let mut possible = Vec::new();
        for group in at.kind.protocols() {
            let conf = local.borrow();
            possible.extend(group.iter().find_map(|key| Some((*key, conf.get(*key)?.clone()))));
        }
        let place = at.file.document.place((at.section.line, 1));
        let Some((protocol, found)) = possible.first() else {
            let keys = at.kind.protocols().concat().join("`, `");
            let message = format!("No loader given in section {}", dialect.repr(section));
            return Err(Error::new("LookupError", message, place, format!("[{section}] names no factory"))
                .help(format!("add `use`, or one of `{keys}`")));
        };
        if let Some((_, second)) = possible.get(1) {
            let pairs: Vec<String> = possible
                .iter()
                .map(|(key, setting)| format!("({}, {})", dialect.repr(key), dialect.repr(&setting.value)))
                .collect();
            let section_repr = dialect.repr(section);
            let message = format!("Multiple protocols given in section {section_repr}: [{}]", pairs.join(", "));
            let ours = format!("[{section}] names more than one factory");
            return Err(Error::new("LookupError", message, second.place.clone(), ours).help("keep one of them"));
        }
        local.borrow_mut().shift_remove(*protocol);
        Ok(Draft {
            form: Form::Plain(at.kind),
            object: Some(Object::Import(found.value.clone())),
            protocol: Some((*protocol).to_owned()),
            section: Some(section.clone()),
            place,
            global: Rc::clone(global),
            local: Rc::clone(local),
            loader: Some(Rc::clone(at.file)),
        })
    }

    fn filter_app(&self, at: &Within<'_>, global: &Shared, local: &Shared, additions: &Conf) -> Result<Draft, Error> {
        let next = local.borrow_mut().shift_remove("next").ok_or_else(|| at.missing("next"))?;
        let place = at.place(&next);
        let next = self.within(at.file, Kind::App, &next.value, Some(Rc::clone(global)), Some(&place))?;
        let filter = self.object(&Within { kind: Kind::Filter, ..*at }, global, local, additions)?;
        let form = Form::FilterApp { filter: Box::new(filter), next: Box::new(next) };
        Ok(at.combination(form, Rc::clone(global), Rc::clone(local)))
    }

    fn pipeline(&self, at: &Within<'_>, global: &Shared, local: &Shared) -> Result<Draft, Error> {
        let setting = local.borrow_mut().shift_remove("pipeline").ok_or_else(|| at.missing("pipeline"))?;
        self.no_extras(at, &local.borrow())?;
        let words = at.file.document.words(&setting);
        let Some((last, names)) = words.split_last() else {
            let ours = format!("the pipeline of [{}] is empty", at.section.name);
            return Err(Error::new("IndexError", "list index out of range", setting.place, ours)
                .help("name its filters, and its app last"));
        };
        let resolve = |kind, (word, place): &(&str, Place)| {
            self.within(at.file, kind, word, Some(Rc::clone(global)), Some(place))
        };
        let (mut failed, mut filters) = (None, Vec::with_capacity(names.len()));
        let app = resolve(Kind::App, last).map_err(|error| join(&mut failed, error)).ok();
        for word in names {
            if failed.as_ref().is_some_and(Error::is_exhaustion) {
                break;
            }
            match resolve(Kind::Filter, word) {
                Ok(filter) => filters.push(filter),
                Err(error) => join(&mut failed, error),
            }
        }
        match (app, failed) {
            (Some(app), None) => {
                let form = Form::Pipeline { filters, app: Box::new(app) };
                Ok(at.combination(form, Rc::clone(global), Rc::clone(local)))
            }
            (_, failed) => Err(failed.unwrap_or_else(|| at.missing("pipeline"))),
        }
    }

    /// A pipeline section takes nothing but its pipeline.
    fn no_extras(&self, at: &Within<'_>, local: &Conf) -> Result<(), Error> {
        let Some((key, setting)) = local.first() else { return Ok(()) };
        let extra = local.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let (section, file) = (&at.section.name, &at.file.name);
        let (class, message) = match self.rules.library {
            // The code that makes the message is itself broken there.
            Library::One => ("TypeError", "not enough arguments for format string".to_owned()),
            Library::Two => (
                "LookupError",
                format!("The [{section}] pipeline section in {file} has extra (disallowed) settings: {extra}"),
            ),
        };
        Err(Error::new(
            class,
            message,
            setting.place.clone(),
            format!("[{section}] is a pipeline and takes no `{key}`"),
        )
        .help("give the option to the section of the filter or app that wants it"))
    }
}

/// `dict.update`.
fn lay_over(conf: &mut Conf, others: &Conf) {
    for (key, setting) in others {
        match conf.get_mut(key) {
            Some(same) if same == setting => {}
            Some(other) => *other = setting.clone(),
            None => {
                conf.insert(key.clone(), setting.clone());
            }
        }
    }
}

/// A section's options, sorted by where they go.
struct Options {
    global: Conf,
    additions: Conf,
    local: Conf,
}

/// The section that is being resolved, and what is wanted of it.
#[derive(Clone, Copy)]
struct Within<'s> {
    file: &'s Rc<File>,
    section: &'s Section,
    kind: Kind,
}

impl Within<'_> {
    /// Where a reference stands.
    fn place(&self, setting: &Setting) -> Place {
        setting.place.clone().unwrap_or_else(|| self.file.document.place((self.section.line, 1)))
    }

    fn missing(&self, key: &str) -> Error {
        let (section, file) = (&self.section.name, &self.file.name);
        let message = format!("The [{section}] section in {file} is missing a '{key}' setting");
        let place = self.file.document.place((self.section.line, 1));
        let error = Error::new("LookupError", message, place, format!("[{section}] has no `{key}`"));
        if self.file.document.defaults.contains_key(key) {
            return error.help(format!("`{key}` in [DEFAULT] does not count: move it into the section"));
        }
        let near = nearest(key, self.section.entries.keys().map(String::as_str));
        error.maybe_help(near.map(|near| format!("did you mean `{key}` by `{near}`?")))
    }

    /// A context that has no object of its own.
    fn combination(&self, form: Form, global: Shared, local: Shared) -> Draft {
        Draft {
            form,
            object: None,
            protocol: None,
            section: Some(self.section.name.clone()),
            place: self.file.document.place((self.section.line, 1)),
            global,
            local,
            loader: Some(Rc::clone(self.file)),
        }
    }
}
