//! A value of an option together with the place that it came from.
//!
//! Must not know what type the option has.

use crate::message::Place;

/// A raw value and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The text after interpolation or substitution.
    pub value: String,
    /// The line that set it; `None` for a default.
    pub place: Option<Place>,
    /// How it got here.
    pub via: Via,
}

/// How a value reached the option that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Written in the section itself.
    Local,
    /// From the section that `use` names.
    Use,
    /// A `set` line.
    Set,
    /// A `get` line.
    Get,
    /// The paste file's `[DEFAULT]` (or a parent's, passed on).
    Default,
    /// nova.conf, another file of oslo.config, or one of its other sources.
    Conf,
    /// Nobody set it.
    BuiltIn,
}

/// A text as a file has it, for comparing two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The section or group.
    pub section: String,
    /// The option.
    pub name: String,
    /// The raw value and its place.
    pub setting: Setting,
}

/// Where a filter finds an option of nova.conf by group and name, chosen by oslo.config's rules
/// (precedence, deprecated names, substitution, the release's default).
pub trait ConfSource {
    /// The raw text; `None` when it is unset and has no default.
    fn raw(&self, group: &str, name: &str) -> Option<Setting>;
}
