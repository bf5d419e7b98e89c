//! `%(name)s` in values: Python 3's `BasicInterpolation` and Python 2.7's legacy interpolation.
//!
//! Must not know where names are looked up.

use super::{Dialect, percent};

/// How deep values may refer to values (`MAX_INTERPOLATION_DEPTH` of both Pythons).
const DEPTH: usize = 10;

/// Beyond these a value is a bomb: references that it takes to expand it, and its length in bytes. Python has no
/// such bounds, and would fill the memory.
const REFERENCES: usize = 100_000;
pub(super) const LENGTH: usize = 1 << 20;

/// What names mean inside a value.
pub(super) trait Names {
    /// The raw value of a name.
    fn get(&self, name: &str) -> Option<&str>;

    /// `repr` of the mapping, for a Python 2 directive that has no name.
    fn repr(&self) -> String;
}

/// Why a value has no interpolated form.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// A name that means nothing.
    Missing(String),
    /// Values that refer to each other more than ten levels deep.
    Depth,
    /// Python 3: a `%` that begins nothing: the message, and the text from there on.
    Syntax(String, String),
    /// Python 2: the `%` operator's own exception: class and text.
    Operator(&'static str, String),
    /// It would grow beyond all bounds.
    TooLong,
}

/// The value with all its references replaced.
pub(super) fn interpolate(raw: &str, names: &dyn Names, dialect: Dialect) -> Result<String, Fault> {
    match dialect {
        Dialect::Py2 => legacy(raw, names),
        Dialect::Py3 => {
            let mut basic = Basic { names, out: String::with_capacity(raw.len()), references: 0 };
            basic.some(raw, 1)?;
            Ok(basic.out)
        }
    }
}

/// Formats the whole value over and over, as long as `%(` stands in it.
fn legacy(raw: &str, names: &dyn Names) -> Result<String, Fault> {
    let mut value = raw.to_owned();
    for _ in 0..DEPTH {
        if !value.contains("%(") {
            break;
        }
        value = percent::format(&value, names)?;
    }
    if value.contains("%(") { Err(Fault::Depth) } else { Ok(value) }
}

struct Basic<'n> {
    names: &'n dyn Names,
    out: String,
    references: usize,
}

impl Basic<'_> {
    fn some(&mut self, mut rest: &str, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH {
            return Err(Fault::Depth);
        }
        while let Some((before, after)) = rest.split_once('%') {
            self.out.push_str(before);
            if self.out.len() > LENGTH || self.references > REFERENCES {
                return Err(Fault::TooLong);
            }
            if let Some(tail) = after.strip_prefix('%') {
                self.out.push('%');
                rest = tail;
                continue;
            }
            let here = rest.get(before.len()..).unwrap_or_default();
            if !after.starts_with('(') {
                let text = "'%' must be followed by '%' or '(', found: ".to_owned() + &Dialect::Py3.repr(here);
                return Err(Fault::Syntax(text, here.to_owned()));
            }
            let reference = after.get(1..).and_then(|tail| tail.split_once(')'));
            let reference = reference.and_then(|(name, tail)| Some((name, tail.strip_prefix('s')?)));
            let Some((name, tail)) = reference.filter(|(name, _)| !name.is_empty()) else {
                let text = "bad interpolation variable reference ".to_owned() + &Dialect::Py3.repr(here);
                return Err(Fault::Syntax(text, here.to_owned()));
            };
            self.references += 1;
            let value = self.names.get(name).ok_or_else(|| Fault::Missing(name.to_owned()))?;
            if value.contains('%') {
                self.some(value, depth + 1)?;
            } else {
                self.out.push_str(value);
            }
            rest = tail;
        }
        self.out.push_str(rest);
        if self.out.len() > LENGTH { Err(Fault::TooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    impl Names for HashMap<&str, &str> {
        fn get(&self, name: &str) -> Option<&str> {
            HashMap::get(self, name).copied()
        }

        fn repr(&self) -> String {
            "{}".to_owned()
        }
    }

    fn both(raw: &str) -> (Result<String, Fault>, Result<String, Fault>) {
        let names = HashMap::from([("a", "A"), ("b", "%(a)s!"), ("loop", "%(loop)s"), ("p", "100%")]);
        (interpolate(raw, &names, Dialect::Py2), interpolate(raw, &names, Dialect::Py3))
    }

    #[test]
    fn a_percent_sign_alone_is_text_to_python_2_and_an_error_to_python_3() {
        for raw in ["100%", "%SERVICE_USER%", "%x"] {
            let (py2, py3) = both(raw);
            assert_eq!(py2, Ok(raw.to_owned()));
            assert!(matches!(py3, Err(Fault::Syntax(..))), "{raw}");
        }
        assert_eq!(both("100%%"), (Ok("100%%".into()), Ok("100%".into())));
        assert_eq!(both("50%% %(a)s"), (Ok("50% A".into()), Ok("50% A".into())));
    }

    #[test]
    fn values_refer_to_values_up_to_ten_levels() {
        assert_eq!(both("<%(b)s>"), (Ok("<A!>".into()), Ok("<A!>".into())));
        assert_eq!(both("%(loop)s"), (Err(Fault::Depth), Err(Fault::Depth)));
        assert_eq!(both("%(no)s"), (Err(Fault::Missing("no".into())), Err(Fault::Missing("no".into()))));
    }

    #[test]
    fn a_value_that_explodes_is_stopped() {
        let ten = "%(x)s".repeat(10);
        let names: HashMap<&str, &str> = HashMap::from([("x", ten.as_str())]);
        assert!(matches!(interpolate(&ten, &names, Dialect::Py3), Err(Fault::Depth | Fault::TooLong)));
        assert_eq!(interpolate(&ten, &names, Dialect::Py2), Err(Fault::TooLong));
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(raw in "([%()sdrc*.a0-9 -]|\\PC){0,40}", other in "[%()sab]{0,12}") {
            let names: HashMap<&str, &str> = HashMap::from([("a", other.as_str()), ("b", raw.as_str())]);
            let _ = interpolate(&raw, &names, Dialect::Py2);
            let _ = interpolate(&raw, &names, Dialect::Py3);
        }
    }
}
