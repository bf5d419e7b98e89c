//! The one table of every option that Pasteway reads: names of every era, types, defaults by release, help.
//!
//! Must not know how a value is found or what is done with it.

mod filters;
mod kind;
mod launcher;
mod log;
mod pasteway;

pub use filters::*;
pub use kind::{Item, Kind};
pub use launcher::*;
pub use log::*;
pub use pasteway::*;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::command::Class;
use crate::release::Release;

/// An option. `<api>` in a name stands for the name of any API.
#[derive(Debug)]
pub struct Opt {
    /// `DEFAULT`, or a group in lower case.
    pub group: &'static str,
    /// As written in a file.
    pub name: &'static str,
    /// The type of its text in the first release that has it.
    pub kind: Kind,
    /// A type that replaces `kind` from a release on.
    pub stricter: Option<(Release, Kind)>,
    /// Defaults as text, each from a release on, oldest first; before the first there is none.
    pub defaults: &'static [(Release, &'static str)],
    /// Older (group, name) pairs, best first.
    pub deprecated: &'static [(&'static str, &'static str)],
    /// The release from which on `group` and `name` are its name; before it only the older ones are.
    pub since: Release,
    /// The release from which on it is read no more: its default holds.
    pub gone: Option<Release>,
    /// What a change of it takes.
    pub change: Class,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// Whether the command line has it too (`--log-file` for `log_file`).
    pub cli: bool,
    /// What it is, for the reference.
    pub help: &'static str,
}

impl Opt {
    const fn new(group: &'static str, name: &'static str, kind: Kind, change: Class) -> Self {
        Self {
            group,
            name,
            kind,
            stricter: None,
            defaults: &[],
            deprecated: &[],
            since: Release::HAVANA,
            gone: None,
            change,
            secret: false,
            cli: false,
            help: "",
        }
    }

    const fn defaults(mut self, defaults: &'static [(Release, &'static str)]) -> Self {
        self.defaults = defaults;
        self
    }

    const fn was(mut self, deprecated: &'static [(&'static str, &'static str)], since: Release) -> Self {
        self.deprecated = deprecated;
        self.since = since;
        self
    }

    const fn stricter(mut self, since: Release, kind: Kind) -> Self {
        self.stricter = Some((since, kind));
        self
    }

    const fn gone(mut self, since: Release) -> Self {
        self.gone = Some(since);
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn cli(mut self) -> Self {
        self.cli = true;
        self
    }

    const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    /// Its type in a release.
    pub fn kind(&self, release: Release) -> Kind {
        match self.stricter {
            Some((since, kind)) if release >= since => kind,
            _ => self.kind,
        }
    }

    /// Its default in a release.
    pub fn default(&self, release: Release) -> Option<&'static str> {
        self.defaults.iter().rev().find(|(since, _)| release >= *since).map(|(_, text)| *text)
    }

    /// Whether it is the option of this name, or of every API's and this is one.
    fn fits(&self, group: &str, name: &str) -> bool {
        self.group == group
            && match self.name.split_once("<api>") {
                None => self.name == name,
                Some((head, tail)) => {
                    name.strip_prefix(head).and_then(|rest| rest.strip_suffix(tail)).is_some_and(|api| !api.is_empty())
                }
            }
    }
}

/// A list of options: each becomes a static whose documentation is the option's help, and one of `TABLE`.
macro_rules! options {
    ($( $(#[doc = $help:literal])+ $name:ident = $option:expr; )*) => {
        $( $(#[doc = $help])+ pub static $name: Opt = $option.help(concat!($($help),+)); )*
        pub(super) static TABLE: &[&Opt] = &[$(&$name),*];
    };
}
use options;

/// All options, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static Opt> {
    [launcher::TABLE, log::TABLE, filters::TABLE, pasteway::TABLE].into_iter().flatten().copied()
}

/// All options by their names: a load asks for some hundreds.
struct Index {
    named: HashMap<(&'static str, &'static str), &'static Opt>,
    /// Those of every API.
    patterns: Vec<&'static Opt>,
    older: HashMap<(&'static str, &'static str), &'static Opt>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let (patterns, named): (Vec<_>, Vec<_>) = all().partition(|opt| opt.name.contains("<api>"));
    let named = named.into_iter().map(|opt| ((opt.group, opt.name), opt)).collect();
    let mut older = HashMap::new();
    for opt in all() {
        for name in opt.deprecated {
            older.entry(*name).or_insert(opt);
        }
    }
    Index { named, patterns, older }
});

/// The option of a group (`DEFAULT` or lower case) and current name. An option of one name beats a pattern.
pub fn find(group: &str, name: &str) -> Option<&'static Opt> {
    let named = INDEX.named.get(&(group, name));
    named.or_else(|| INDEX.patterns.iter().rev().find(|opt| opt.fits(group, name))).copied()
}

/// The option of a group and a name of any time.
pub fn find_any(group: &str, name: &str) -> Option<&'static Opt> {
    find(group, name).or_else(|| INDEX.older.get(&(group, name)).copied())
}

/// Whether it is an option by which the programs of Nova launch, listen and log requests.
pub fn is_launching(opt: &'static Opt) -> bool {
    launcher::TABLE.iter().any(|known| std::ptr::eq(*known, opt))
}

/// The options that a load knows.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The option of a group and a name of any time.
    pub find: fn(&str, &str) -> Option<&'static Opt>,
    /// All of them.
    pub all: fn() -> Vec<&'static Opt>,
}

impl Table {
    /// Those that Pasteway reads.
    pub const OWN: Self = Self { find: find_any, all: || all().collect() };
}

/// What a change of an option takes. One that is not in the table is the worker side's.
pub fn change(group: &str, name: &str) -> Class {
    find_any(group, name).map_or(Class::Rolling, |opt| opt.change)
}

/// Whether the value of an option must not be shown: by the table, or by the look of a name that is not in it.
pub fn is_secret(group: &str, name: &str) -> bool {
    let telling = ["password", "secret", "connection", "transport_url", "credential"];
    match find_any(group, name) {
        Some(opt) => opt.secret,
        None => {
            telling.iter().any(|word| name.contains(word))
                || ["token", "_key", "_keys"].iter().any(|end| name.ends_with(end))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::oslo::{Library, convert};

    #[test]
    fn every_name_stands_once_and_every_default_is_of_its_type_in_every_release() {
        let mut names = HashSet::new();
        for opt in all() {
            assert!(names.insert((opt.group, opt.name)), "{}.{} is there twice", opt.group, opt.name);
            assert!(opt.help.starts_with(' ') && opt.help.ends_with('.'), "{}: {:?}", opt.name, opt.help);
            assert!(opt.defaults.is_sorted_by_key(|(since, _)| *since), "{}", opt.name);
            assert_eq!(opt.group == "DEFAULT", opt.group != opt.group.to_lowercase(), "{}", opt.group);
            for release in opt.defaults.iter().map(|(since, _)| *since).chain([Release::HAVANA, Release::NEWEST]) {
                if let Some(text) = opt.default(release) {
                    // Defaults that refer to others are of the type only after substitution.
                    let typed = text.contains('$') || convert(opt.kind(release), text, Library::New).is_ok();
                    assert!(typed, "{}.{} = {text}", opt.group, opt.name);
                }
            }
        }
    }

    #[test]
    fn an_options_own_entry_beats_the_pattern_of_every_api() {
        let port = |name| find("DEFAULT", name).and_then(|opt| opt.default(Release::HAVANA));
        assert_eq!(port("ec2_listen_port"), Some("8773"));
        assert_eq!(port("volume_listen_port"), Some("0"));
        assert!(find("DEFAULT", "_listen_port").is_none());
        assert!(find("pasteway", "worker_kind_ec2").is_some());
    }

    #[test]
    fn what_looks_like_a_secret_is_one() {
        assert!(is_secret("database", "connection") && is_secret("keystone_authtoken", "admin_password"));
        assert!(!is_secret("keystone_authtoken", "token_cache_time") && !is_secret("DEFAULT", "debug"));
    }
}
