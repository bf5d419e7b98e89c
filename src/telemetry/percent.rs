//! Python's `%(name)s` formats, taken apart.
//!
//! Must not know which names there are; whoever compiles a format maps them to what it has.

use std::iter::Peekable;

use super::spec::{Conversion, Spec};

/// A format string of the configuration that cannot be used. Columns count from 1, in characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// `%(name` without `)`, or the text ends inside of a field.
    #[error("column {column}: the field is not complete; write `%(name)s`, and `%%` for a percent sign")]
    Incomplete {
        /// Where the field begins.
        column: usize,
    },
    /// A field like `%s`.
    #[error("column {column}: the field has no name; write `%(name)s`, and `%%` for a percent sign")]
    Nameless {
        /// Where the field begins.
        column: usize,
    },
    /// A letter other than those of texts, integers and fixed-point numbers.
    #[error("column {column}: `{letter}` is not a conversion that logs use; write `s`, `d` or `f`")]
    Conversion {
        /// Where the field begins.
        column: usize,
        /// The letter.
        letter: char,
    },
    /// A width or precision of more than three digits.
    #[error("column {column}: a width or precision above 999 has no use in a log line")]
    TooWide {
        /// Where the field begins.
        column: usize,
    },
    /// A number is asked of a field that is text.
    #[error("column {column}: `{name}` is a text; write `%({name})s`")]
    NotANumber {
        /// Where the field begins.
        column: usize,
        /// The field.
        name: String,
    },
    /// A name that stands for nothing.
    #[error("column {column}: `{name}` is not a field of this format; it has {known}")]
    Unknown {
        /// Where the field begins.
        column: usize,
        /// The name.
        name: String,
        /// Those that there are, with commas.
        known: String,
    },
    /// `log_date_format` has a directive that is not one of strftime's.
    #[error("`{0}` is not a date format; see strftime(3) for its directives")]
    Date(String),
}

/// A part of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Field { column: usize, name: String, spec: Spec },
}

/// Takes a format apart.
pub(super) fn parse(format: &str) -> Result<Vec<Piece>, FormatError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut chars = (1..).zip(format.chars()).peekable();
    while let Some((column, c)) = chars.next() {
        if c != '%' {
            literal.push(c);
            continue;
        }
        let name = match chars.next() {
            Some((_, '%')) => {
                literal.push('%');
                continue;
            }
            Some((_, '(')) => {
                let mut name = String::new();
                loop {
                    match chars.next() {
                        Some((_, ')')) => break name,
                        Some((_, c)) => name.push(c),
                        None => return Err(FormatError::Incomplete { column }),
                    }
                }
            }
            Some(_) => return Err(FormatError::Nameless { column }),
            None => return Err(FormatError::Incomplete { column }),
        };
        let mut spec =
            Spec { left: false, zero: false, sign: None, width: 0, precision: None, conversion: Conversion::Text };
        while let Some((_, flag)) = chars.next_if(|(_, c)| "#0- +".contains(*c)) {
            match flag {
                '-' => spec.left = true,
                '0' => spec.zero = true,
                '+' => spec.sign = Some(b'+'),
                ' ' => spec.sign = spec.sign.or(Some(b' ')),
                _ => {}
            }
        }
        spec.width = number(&mut chars).ok_or(FormatError::TooWide { column })?;
        if chars.next_if(|(_, c)| *c == '.').is_some() {
            spec.precision = Some(number(&mut chars).ok_or(FormatError::TooWide { column })?);
        }
        // C's length modifiers mean nothing in Python, but it takes them.
        while chars.next_if(|(_, c)| "hlL".contains(*c)).is_some() {}
        spec.conversion = match chars.next() {
            Some((_, 's' | 'r')) => Conversion::Text,
            Some((_, 'd' | 'i' | 'u')) => Conversion::Integer,
            Some((_, 'f' | 'F')) => Conversion::Fixed,
            Some((_, letter)) => return Err(FormatError::Conversion { column, letter }),
            None => return Err(FormatError::Incomplete { column }),
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Field { column, name, spec });
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// Reads a number, 0 when there is none; `None` above 999.
fn number(chars: &mut Peekable<impl Iterator<Item = (usize, char)>>) -> Option<usize> {
    let mut value = 0;
    while let Some((_, digit)) = chars.next_if(|(_, c)| c.is_ascii_digit()) {
        value = value * 10 + usize::try_from(digit.to_digit(10)?).ok()?;
        if value > 999 {
            return None;
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_is_written_twice_and_mistakes_say_their_column() {
        assert_eq!(parse("100%%"), Ok(vec![Piece::Literal("100%".into())]));
        assert_eq!(parse("a %s"), Err(FormatError::Nameless { column: 3 }));
        assert_eq!(parse("ab%"), Err(FormatError::Incomplete { column: 3 }));
        assert_eq!(parse("%(ab"), Err(FormatError::Incomplete { column: 1 }));
        assert_eq!(parse("%(ab)"), Err(FormatError::Incomplete { column: 1 }));
        assert_eq!(parse("ä%(ab)x"), Err(FormatError::Conversion { column: 2, letter: 'x' }));
        assert_eq!(parse("%(ab)1000s"), Err(FormatError::TooWide { column: 1 }));
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_parser(text: String) {
            let _ = parse(&text);
        }
    }
}
