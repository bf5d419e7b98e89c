//! Values of options: as Python prints them, and as Rust types.
//!
//! Must not know how a text becomes a value.

use std::path::PathBuf;
use std::time::Duration;

use super::{Library, python};

/// A value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Unset, or an empty number.
    None,
    /// Of the text-like kinds.
    Text(String),
    /// Of [`Kind::Bool`](crate::config::options::Kind::Bool).
    Bool(bool),
    /// Of [`Kind::Int`](crate::config::options::Kind::Int).
    Int(i64),
    /// Of [`Kind::Float`](crate::config::options::Kind::Float) and [`Kind::Seconds`](crate::config::options::Kind::Seconds).
    Float(f64),
    /// Of the lists and of [`Kind::Multi`](crate::config::options::Kind::Multi).
    List(Vec<String>),
    /// Of [`Kind::Dict`](crate::config::options::Kind::Dict), in the order of the text.
    Dict(Vec<(String, String)>),
}

impl Value {
    /// `str(value)`, which is what another option's `$name` becomes. None is empty since oslo.config uses `\$`.
    pub fn to_text(&self, library: Library) -> String {
        match self {
            Self::None if library == Library::Old => "None".into(),
            Self::None => String::new(),
            Self::Text(text) => text.clone(),
            Self::Bool(flag) => if *flag { "True" } else { "False" }.into(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => format!("{number:?}"),
            Self::List(items) => python::list_repr(items, library),
            Self::Dict(pairs) => {
                let shown =
                    |(k, v): &(String, String)| format!("{}: {}", python::repr(k, library), python::repr(v, library));
                format!("{{{}}}", pairs.iter().map(shown).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A Rust type that an option can be read as.
pub trait FromValue: Sized {
    /// Takes the value; `None` when it is unset or of another type.
    fn from_value(value: Value) -> Option<Self>;
}

impl FromValue for Value {
    fn from_value(value: Value) -> Option<Self> {
        Some(value)
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text) } else { None }
    }
}

impl FromValue for PathBuf {
    fn from_value(value: Value) -> Option<Self> {
        String::from_value(value).map(Self::from)
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Bool(flag) = value { Some(flag) } else { None }
    }
}

impl FromValue for Vec<String> {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::List(items) = value { Some(items) } else { None }
    }
}

/// Seconds.
impl FromValue for Duration {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Int(seconds) => u64::try_from(seconds).ok().map(Self::from_secs),
            Value::Float(seconds) => Self::try_from_secs_f64(seconds).ok(),
            _ => None,
        }
    }
}

macro_rules! whole_number {
    ($($type:ty),*) => { $(
        impl FromValue for $type {
            fn from_value(value: Value) -> Option<Self> {
                if let Value::Int(number) = value { number.try_into().ok() } else { None }
            }
        }
    )* };
}
whole_number!(i64, u16, u32, u64, usize);

/// `None` for an unset option, or one that is set to nothing.
impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::None => Some(None),
            Value::Text(text) if text.is_empty() => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}
