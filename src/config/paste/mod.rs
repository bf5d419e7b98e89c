//! Paste Deploy: its INI dialects, its interpolation, and its loader, as the real library has them.
//!
//! Must not know what any factory does.

mod context;
mod document;
mod draft;
mod dump;
mod error;
mod file;
mod ini;
mod interpolate;
mod loader;
mod percent;
mod python;
mod resolve;
mod section;
mod trail;
mod unresolved;
mod uri;
#[cfg(test)]
mod vectors;

pub use context::{Context, Object, Shape};
pub use document::{Document, Entry, Section};
pub use dump::{dump, outcome, whole};
pub use error::Error;
pub use loader::Loader;
pub use section::Kind;
pub use uri::{file_uri, is_absolute};
#[cfg(test)]
pub(crate) use vectors::corpus;

/// Whose INI grammar and interpolation hold: that of the interpreter which runs the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Python 2.7's `ConfigParser`.
    Py2,
    /// Python 3's `configparser` (3.2 or newer).
    Py3,
}

/// Which PasteDeploy is followed. They differ in who wins when a file refers to another: see [`Library::Two`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    /// PasteDeploy up to 1.5.2: a file's own `[DEFAULT]` wins over what the referring file passes on.
    One,
    /// PasteDeploy 2.0 and newer: what the referring file passes on wins.
    Two,
}

/// What varies between installations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// The interpreter's.
    pub dialect: Dialect,
    /// The library's.
    pub library: Library,
}
