//! All options at once, as they are in effect: for people, and for workers that host Nova's apps.
//!
//! Must not know who reads the list.

use super::Conf;
use crate::config::{ConfSource, Setting, options};

/// An option in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// `DEFAULT`, or a group in lower case.
    pub group: String,
    /// Its current name.
    pub name: String,
    /// Its text and where that is from.
    pub setting: Setting,
    /// Whether the text must not be shown.
    pub secret: bool,
}

impl Conf {
    /// Every option of the table that has a value, in the table's order, and then every other one that a file sets.
    pub fn effective(&self) -> Vec<Effective> {
        let one = |(group, name): (String, String)| {
            let setting = self.raw(&group, &name)?;
            let secret = options::is_secret(&group, &name);
            Some(Effective { group, name, setting, secret })
        };
        self.names().into_iter().filter_map(one).collect()
    }

    /// Group and current name of every option of the table, and then of every other one that a file sets.
    pub fn names(&self) -> Vec<(String, String)> {
        let own = |opt: &&options::Opt| !opt.name.contains('<');
        let table = options::all().filter(own).map(|opt| (opt.group.to_owned(), opt.name.to_owned()));
        let written = self.assigned().into_keys();
        let others = written.filter(|(group, name)| options::find_any(group, name).filter(own).is_none());
        table.chain(others).collect()
    }
}
