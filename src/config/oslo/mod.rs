//! oslo.config's files, command line, environment and precedence, for the options that Pasteway reads.
//!
//! ```text
//! argv ─▶ Arguments ─┐
//! disk ─▶ Reading ───┼─▶ files (which, in what order) ─▶ parser (lines) ─▶ Conf ─▶ substitute ─▶ types
//! Environment ───────┘
//! ```
//!
//! Must not know what any option means.

// Diagnostics are large, and nothing here is on a request's path.
#![allow(clippy::result_large_err)]

mod arguments;
mod choose;
mod conf;
mod effective;
mod files;
mod find;
#[cfg(test)]
mod golden;
mod parser;
mod python;
mod read;
mod substitute;
mod types;
mod value;

pub use arguments::{Argument, Arguments, Ask, UsageError};
pub use choose::Origin;
pub use conf::Conf;
pub use effective::Effective;
pub use files::{Environment, leads_to};
pub use types::{Invalid, convert};
pub use value::{FromValue, Value};

use crate::release::Release;

/// The two generations of oslo.config whose rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// oslo.config 1.2.1 on Python 2.7, as Havana had it.
    Old,
    /// oslo.config 10.7 on Python 3.
    New,
}

impl Library {
    /// The library that a Nova release runs on. Releases between the two extremes follow the newer rules.
    pub fn of(release: Release) -> Self {
        if release <= Release::ICEHOUSE { Self::Old } else { Self::New }
    }
}
