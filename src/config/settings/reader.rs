//! Takes options one by one and collects what is wrong with them, so that all problems are told at once.
//!
//! Must not know which options there are.

use std::time::Duration;

use crate::config::interpreter::Interpreter;
use crate::config::options::Opt;
use crate::config::oslo::{Conf, FromValue};
use crate::message::{Diagnostic, Place};
use crate::release::Release;

/// A load being read.
pub(super) struct Reader<'a> {
    pub conf: &'a Conf,
    pub release: Release,
    /// That of Python workers, where there are any.
    pub interpreter: Option<&'a Interpreter>,
    found: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    pub fn new(conf: &'a Conf, release: Release, interpreter: Option<&'a Interpreter>) -> Self {
        Self { conf, release, interpreter, found: Vec::new() }
    }

    /// What was found wrong.
    pub fn finish(self) -> Vec<Diagnostic> {
        self.found
    }

    /// The value, or a stand-in after an error: with one, no settings come out.
    pub fn get<T: FromValue + Default>(&mut self, opt: &'static Opt) -> T {
        let value = self.conf.get(opt);
        self.or_default(value)
    }

    /// The same of an option that each API has.
    pub fn get_for<T: FromValue + Default>(&mut self, opt: &'static Opt, api: &str) -> T {
        let value = self.conf.get_for(opt, api);
        self.or_default(value)
    }

    fn or_default<T: Default>(&mut self, value: Result<T, Diagnostic>) -> T {
        value.unwrap_or_else(|found| {
            self.report(found);
            T::default()
        })
    }

    /// Whole seconds, of which 0 means for ever.
    pub fn timeout(&mut self, opt: &'static Opt) -> Option<Duration> {
        Some(self.get::<Duration>(opt)).filter(|time| !time.is_zero())
    }

    /// A list without its empty items.
    pub fn items(&mut self, opt: &'static Opt) -> Vec<String> {
        without_empty(self.get(opt))
    }

    /// Where an option is set; the last file as a whole when it is not, so that a reader knows where to write it.
    pub fn place(&self, opt: &'static Opt) -> Option<Place> {
        self.conf.place_or_file(opt.group, opt.name)
    }

    /// The same for an option that each API has.
    pub fn place_for(&self, opt: &'static Opt, api: &str) -> Option<Place> {
        self.conf.place(opt.group, &opt.name.replace("<api>", api))
    }

    /// Notes a finding, once: options that hold for all APIs are read for each of them.
    pub fn report(&mut self, found: Diagnostic) {
        if !self.found.contains(&found) {
            self.found.push(found);
        }
    }

    /// Notes an error in an option.
    pub fn error(&mut self, opt: &'static Opt, message: impl Into<String>, help: impl Into<String>) {
        self.report(Diagnostic::error(self.place(opt), message).help(help));
    }

    /// Notes a warning about an option.
    pub fn warn(&mut self, opt: &'static Opt, message: impl Into<String>, help: impl Into<String>) {
        self.report(Diagnostic::warning(self.place(opt), message).help(help));
    }
}

/// Without the empty items that a trailing comma makes.
pub(super) fn without_empty(mut items: Vec<String>) -> Vec<String> {
    items.retain(|item| !item.is_empty());
    items
}
