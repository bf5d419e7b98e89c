//! The option types of oslo.config (`oslo_config/types.py`): from text to value.
//!
//! Must not know where the text came from.

use indexmap::IndexMap;

use super::{Library, Value, python};
use crate::config::options::{Item, Kind};

/// Why a text is no value of its option's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// For people.
    pub fact: String,
    /// The text of the original's ValueError.
    pub original: String,
}

/// Makes the value of a text.
///
/// # Errors
/// The text is not of this type.
pub fn convert(kind: Kind, text: &str, library: Library) -> Result<Value, Invalid> {
    match kind {
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Multi => Ok(Value::List(vec![text.to_owned()])),
        Kind::Bool => boolean(text, library),
        Kind::Int { min, max } => whole(text, min, max, library),
        Kind::Float => number(text, library),
        Kind::Seconds => match number(text, library)? {
            Value::Float(seconds) if !(0.0..=1e9).contains(&seconds) => Err(Invalid {
                fact: format!("`{text}` is no time in seconds"),
                original: "Should be greater than or equal to 0".into(),
            }),
            value => Ok(value),
        },
        Kind::Choice(words) => choice(text, words, library, |a, b| a == b).map(Value::Text),
        Kind::AnyCase(words) => choice(text, words, library, str::eq_ignore_ascii_case).map(Value::Text),
        Kind::List(item) => list(text, item, library).map(Value::List),
        Kind::Bounded => bounded(text, library).map(Value::List),
        Kind::Dict => dict(text, library).map(Value::Dict),
    }
}

fn boolean(text: &str, library: Library) -> Result<Value, Invalid> {
    match text.to_lowercase().as_str() {
        "true" | "1" | "on" | "yes" => Ok(Value::Bool(true)),
        "false" | "0" | "off" | "no" => Ok(Value::Bool(false)),
        _ => Err(Invalid {
            fact: format!("`{text}` is neither true nor false"),
            original: format!("Unexpected boolean value {}", python::repr(text, library)),
        }),
    }
}

fn whole(text: &str, min: Option<i64>, max: Option<i64>, library: Library) -> Result<Value, Invalid> {
    if library == Library::New && python::strip(text, library).is_empty() {
        return Ok(Value::None);
    }
    let Some(number) = python::int(text, library) else {
        return Err(Invalid {
            fact: format!("`{text}` is not a whole number"),
            original: match library {
                // Python 2 skips the blanks before it.
                Library::Old => {
                    let shown = python::repr(python::strip_start(text, library), library);
                    format!("invalid literal for int() with base 10: {shown}")
                }
                Library::New => format!("invalid literal for int() with base 10: {}", python::repr(text, library)),
            },
        });
    };
    if let Some(min) = min.filter(|min| number < *min) {
        return Err(Invalid {
            fact: format!("{number} is too small: at least {min}"),
            original: format!("Should be greater than or equal to {min}"),
        });
    }
    if let Some(max) = max.filter(|max| number > *max) {
        return Err(Invalid {
            fact: format!("{number} is too large: at most {max}"),
            original: format!("Should be less than or equal to {max}"),
        });
    }
    Ok(Value::Int(number))
}

fn number(text: &str, library: Library) -> Result<Value, Invalid> {
    if library == Library::New && python::strip(text, library).is_empty() {
        return Ok(Value::None);
    }
    python::float(text, library).map(Value::Float).ok_or_else(|| Invalid {
        fact: format!("`{text}` is not a number"),
        original: match library {
            Library::Old => format!("could not convert string to float: {}", python::strip_start(text, library)),
            Library::New => format!("could not convert string to float: {}", python::repr(text, library)),
        },
    })
}

fn choice(text: &str, words: &[&str], library: Library, equal: impl Fn(&str, &str) -> bool) -> Result<String, Invalid> {
    if words.iter().any(|word| equal(word, text)) {
        return Ok(text.to_owned());
    }
    Err(not_one_of(text, words, library))
}

fn not_one_of(text: &str, words: &[&str], library: Library) -> Invalid {
    Invalid {
        fact: format!("`{text}` is none of {}", words.join(", ")),
        original: format!("Valid values are [{}], but found {}", words.join(", "), python::repr(text, library)),
    }
}

fn list(text: &str, item: Item, library: Library) -> Result<Vec<String>, Invalid> {
    let text = match library {
        // A plain split: an empty text is a list of one empty item.
        Library::Old => text,
        Library::New => match python::strip(text, library).trim_end_matches(',') {
            "" => return Ok(Vec::new()),
            text => text,
        },
    };
    let mut pieces = text.split(',');
    let mut items = Vec::new();
    while let Some(piece) = pieces.next() {
        items.push(one(piece, &mut pieces, item, library)?);
    }
    Ok(items)
}

/// One item, made of a piece and, while its type rejects that, of the pieces after it. The error is about all of
/// them, as in the original, which means the first one.
fn one<'a>(
    piece: &str,
    pieces: &mut impl Iterator<Item = &'a str>,
    item: Item,
    library: Library,
) -> Result<String, Invalid> {
    let mut longer = python::strip_start(piece, library).to_owned();
    loop {
        let text = python::strip_end(&longer, library);
        let open = match item {
            Item::Any => false,
            Item::Quoted => text.starts_with(['"', '\'']) && unquoted(text).is_none(),
            Item::Choice(words) => !words.contains(&text),
        };
        if !open {
            return Ok(if item == Item::Quoted { unquoted(text).unwrap_or(text) } else { text }.to_owned());
        }
        let Some(next) = pieces.next() else {
            return Err(match item {
                Item::Choice(words) => not_one_of(text, words, library),
                Item::Any | Item::Quoted => Invalid {
                    fact: format!("the quote in `{text}` is not closed"),
                    original: format!("Non-closed quote: {text}"),
                },
            });
        };
        longer.push(',');
        longer.push_str(next);
    }
}

/// What stands between two equal quotes.
fn unquoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    text.strip_prefix(quote)?.strip_suffix(quote)
}

fn bounded(text: &str, library: Library) -> Result<Vec<String>, Invalid> {
    let wrong = |sign: &str, which: &str| Invalid {
        fact: format!("the list does not {which} with `{sign}`"),
        original: format!("Value should {which} with \"{sign}\""),
    };
    let text = python::strip(text, library).trim_end_matches(',');
    let rest = text.strip_prefix('[').ok_or_else(|| wrong("[", "start"))?;
    let inner = rest.strip_suffix(']').ok_or_else(|| wrong("]", "end"))?;
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    Ok(inner.split(',').map(|item| python::strip(item, library).to_owned()).collect())
}

/// Pairs without a colon take the next pieces along.
fn dict(text: &str, library: Library) -> Result<Vec<(String, String)>, Invalid> {
    let wrong = |fact: String, original: String| Err(Invalid { fact, original });
    let mut pairs = IndexMap::new();
    let text = python::strip(text, library);
    let mut pieces = text.split(',').filter(|_| !text.is_empty());
    while let Some(first) = pieces.next() {
        let mut pair = first.to_owned();
        // Only the newest piece can have brought one.
        let mut newest = first;
        while !newest.contains(':') {
            let Some(next) = pieces.next() else {
                return wrong(
                    format!("`{pair}` is no pair of name and value"),
                    "Value should be NAME:VALUE pairs separated by \",\"".into(),
                );
            };
            pair.push(',');
            pair.push_str(next);
            newest = next;
        }
        let (key, value) = pair.split_once(':').unwrap_or((&pair, ""));
        let (key, value) = (python::strip(key, library), python::strip(value, library));
        if key.is_empty() {
            return wrong(format!("the name is missing in `{pair}`"), "Key name should not be empty".into());
        }
        if pairs.insert(key.to_owned(), value.to_owned()).is_some() {
            return wrong(format!("`{key}` is given twice"), format!("Duplicate key {key}"));
        }
    }
    Ok(pairs.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::FromValue;
    use super::*;

    #[test]
    fn an_item_that_its_type_rejects_takes_the_next_pieces_along() {
        let quoted = |text| list(text, Item::Quoted, Library::New);
        assert_eq!(quoted("\"a,b\",c").ok(), Some(vec!["a,b".into(), "c".into()]));
        assert_eq!(quoted("a,\"b,c").err().map(|error| error.original).as_deref(), Some("Non-closed quote: \"b,c"));
        assert_eq!(dict("a,b:c", Library::New).ok(), Some(vec![("a,b".into(), "c".into())]));
        let error = list("ec2,metadata", Item::Choice(&["metadata"]), Library::New).expect_err("not allowed");
        assert_eq!(error.original, "Valid values are [metadata], but found 'ec2,metadata'");
    }

    #[test]
    fn a_time_is_neither_negative_nor_endless() {
        for text in ["-1", "nan", "inf", "1e300"] {
            assert!(convert(Kind::Seconds, text, Library::New).is_err(), "{text}");
        }
        let half = convert(Kind::Seconds, "0.5", Library::New).ok().and_then(Duration::from_value);
        assert_eq!(half, Some(Duration::from_millis(500)));
    }

    proptest! {
        #[test]
        fn no_text_makes_any_type_panic(text in "\\PC{0,20}|[-+_0-9.e,:\"'\\[\\] ]{0,12}") {
            let kinds = [
                Kind::Text, Kind::Bool, Kind::INT, Kind::PORT, Kind::Float, Kind::Seconds, Kind::Choice(&["a"]),
                Kind::AnyCase(&["a"]), Kind::LIST, Kind::List(Item::Quoted), Kind::List(Item::Choice(&["a"])),
                Kind::Bounded, Kind::Dict, Kind::Multi,
            ];
            for library in [Library::Old, Library::New] {
                for kind in kinds {
                    if let Ok(value) = convert(kind, &text, library) {
                        value.to_text(library);
                    }
                }
            }
        }
    }
}
