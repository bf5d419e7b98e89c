//! The types that an option can have, as `oslo_config/types.py` and `cfg.py` have them.
//!
//! Must not know how a text becomes a value.

use std::fmt;

/// The type of an option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// true, 1, on, yes; false, 0, off, no.
    Bool,
    /// A whole number in a range.
    Int {
        /// Smallest allowed.
        min: Option<i64>,
        /// Largest allowed.
        max: Option<i64>,
    },
    /// A number.
    Float,
    /// A time in seconds, with fractions, from 0 to about 30 years.
    Seconds,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One of these words, in any case.
    AnyCase(&'static [&'static str]),
    /// Items between commas.
    List(Item),
    /// Items between commas, in square brackets.
    Bounded,
    /// `key:value` pairs between commas.
    Dict,
    /// The option may be given several times; each is a text.
    Multi,
}

/// What an item of a list may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item {
    /// Any text without a comma.
    Any,
    /// Any text; within quotes it may hold commas.
    Quoted,
    /// One of these words.
    Choice(&'static [&'static str]),
}

#[allow(missing_docs)]
impl Kind {
    pub const INT: Self = Self::Int { min: None, max: None };
    pub const PORT: Self = Self::at_most(0, 65535);
    pub const LIST: Self = Self::List(Item::Any);

    pub const fn at_least(min: i64) -> Self {
        Self::Int { min: Some(min), max: None }
    }

    pub const fn at_most(min: i64, max: i64) -> Self {
        Self::Int { min: Some(min), max: Some(max) }
    }
}

/// As people say it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Bool => f.write_str("true or false"),
            Self::Int { min: None, max: None } => f.write_str("whole number"),
            Self::Int { min: Some(min), max: None } => write!(f, "whole number, at least {min}"),
            Self::Int { min: None, max: Some(max) } => write!(f, "whole number, at most {max}"),
            Self::Int { min: Some(min), max: Some(max) } => write!(f, "whole number, {min} to {max}"),
            Self::Float => f.write_str("number"),
            Self::Seconds => f.write_str("seconds"),
            Self::Choice(words) | Self::AnyCase(words) => write!(f, "one of {}", words.join(", ")),
            Self::List(Item::Choice(words)) => write!(f, "list of {}", words.join(", ")),
            Self::List(_) | Self::Bounded => f.write_str("list"),
            Self::Dict => f.write_str("key:value list"),
            Self::Multi => f.write_str("text, several times"),
        }
    }
}
