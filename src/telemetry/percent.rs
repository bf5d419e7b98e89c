//! Python's `%(name)s` formats: taken apart once, then filled in without allocating.
//!
//! Must not know which names there are; whoever compiles a format maps them to what it has.

use std::io::Write;
use std::iter::Peekable;

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

/// What stands between the name of a field and the next text: `03d`, `.7f`, `-10s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    left: bool,
    zero: bool,
    sign: Option<u8>,
    width: usize,
    precision: Option<usize>,
    conversion: Conversion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conversion {
    Text,
    Integer,
    Fixed,
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

impl Spec {
    /// Whether a text can stand here.
    pub(super) fn takes_text(self) -> bool {
        self.conversion == Conversion::Text
    }

    /// Puts a text, given by whoever writes it to the end of `out`.
    pub(super) fn text(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        write(out);
        self.cut(out, start);
        self.pad(out, start);
    }

    /// Puts an integer.
    pub(super) fn integer(self, out: &mut Vec<u8>, value: u64) {
        match self.conversion {
            Conversion::Text => self.text(out, |out| digits(out, value)),
            Conversion::Integer => {
                self.number(out, self.precision.unwrap_or_default(), |out| digits(out, value));
            }
            Conversion::Fixed => self.fixed(out, value as f64),
        }
    }

    /// Puts a number of seconds; never negative.
    pub(super) fn float(self, out: &mut Vec<u8>, value: f64) {
        match self.conversion {
            Conversion::Text => self.text(out, |out| shortest(out, value)),
            Conversion::Integer => self.integer(out, value as u64),
            Conversion::Fixed => self.fixed(out, value),
        }
    }

    fn fixed(self, out: &mut Vec<u8>, value: f64) {
        self.number(out, 0, |out| fixed(out, value, self.precision.unwrap_or(6)));
    }

    /// Sign, zeros up to `digits` places or the width, the number, blanks up to the width.
    fn number(self, out: &mut Vec<u8>, digits: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.extend(self.sign);
        let places = if self.zero && !self.left { self.width.saturating_sub(out.len() - start) } else { 0 };
        let first = out.len();
        write(out);
        fill(out, first, places.max(digits), b'0', false);
        self.pad(out, start);
    }

    fn cut(self, out: &mut Vec<u8>, start: usize) {
        let Some(precision) = self.precision else { return };
        let starts = out.iter().enumerate().skip(start).filter(|(_, b)| !is_continuation(**b));
        if let Some((end, _)) = starts.clone().nth(precision) {
            out.truncate(end);
        }
    }

    fn pad(self, out: &mut Vec<u8>, start: usize) {
        if self.width > 0 {
            fill(out, start, self.width, b' ', self.left);
        }
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Makes what follows `start` at least `width` characters wide.
fn fill(out: &mut Vec<u8>, start: usize, width: usize, with: u8, behind: bool) {
    let there = out.iter().skip(start).filter(|b| !is_continuation(**b)).count();
    let missing = width.saturating_sub(there);
    out.resize(out.len() + missing, with);
    if !behind && let Some(text) = out.get_mut(start..) {
        text.rotate_right(missing);
    }
}

/// Writes an integer in decimal.
fn digits(out: &mut Vec<u8>, mut value: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + u8::try_from(value % 10).unwrap_or_default());
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if let Some(written) = out.get_mut(start..) {
        written.reverse();
    }
}

/// Writes `value` with `places` decimals, rounded half to even on its exact value, as C and Python do.
fn fixed(out: &mut Vec<u8>, value: f64, places: usize) {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = value.to_bits();
    let exponent = bits >> 52;
    // A normal number below 2^53 is `mantissa / 2^shift`, and 53 bits times 10^22 stay below 2^127.
    if !(1..=1075).contains(&exponent) || places > 22 {
        // Writing to a Vec does not fail.
        let _ = write!(out, "{value:.places$}");
        return;
    }
    let power = 10_u128.pow(places.try_into().unwrap_or_default());
    let scaled = u128::from((bits & MANTISSA) | (1 << 52)) * power;
    let shift = u32::try_from(1075 - exponent).unwrap_or_default();
    let rounded = match (scaled.checked_shr(shift), shift) {
        (Some(all), 0) => all,
        (Some(whole), _) => {
            let rest = scaled - (whole << shift);
            let half = 1_u128 << (shift - 1);
            whole + u128::from(rest > half || (rest == half && whole & 1 == 1))
        }
        (None, _) => 0,
    };
    let (Ok(whole), Ok(part)) = (u64::try_from(rounded / power), u64::try_from(rounded % power)) else {
        let _ = write!(out, "{value:.places$}");
        return;
    };
    digits(out, whole);
    if places > 0 {
        out.push(b'.');
        let first = out.len();
        digits(out, part);
        fill(out, first, places, b'0', false);
    }
}

/// Writes the shortest text that reads back as `value`, as Python's `repr` does.
fn shortest(out: &mut Vec<u8>, value: f64) {
    let _ = if value != 0.0 && value < 1e-4 {
        let text = format!("{value:e}");
        match text.split_once("e-") {
            Some((mantissa, exponent)) => write!(out, "{mantissa}e-{exponent:0>2}"),
            None => write!(out, "{text}"),
        }
    } else if value.fract() == 0.0 {
        write!(out, "{value:.1}")
    } else {
        write!(out, "{value}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(field: &str) -> Spec {
        match parse(field).expect("a good format").into_iter().next() {
            Some(Piece::Field { spec, .. }) => spec,
            other => panic!("{other:?}"),
        }
    }

    fn with(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"|".to_vec();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8").split_off(1)
    }

    #[test]
    fn numbers_are_padded_as_python_pads_them() {
        for (field, value, want) in [
            ("%(x)d", 7, "7"),
            ("%(x)03d", 7, "007"),
            ("%(x)-4d", 7, "7   "),
            ("%(x)4d", 7, "   7"),
            ("%(x)+4d", 7, "  +7"),
            ("%(x)+04d", 7, "+007"),
            ("%(x).3d", 7, "007"),
            ("%(x)6.3d", 7, "   007"),
            ("%(x)s", 1234, "1234"),
            ("%(x)6s", 1234, "  1234"),
            ("%(x).2s", 1234, "12"),
            ("%(x).1f", 3, "3.0"),
            ("%(x)ld", 0, "0"),
        ] {
            assert_eq!(with(|out| spec(field).integer(out, value)), want, "{field}");
        }
    }

    #[test]
    fn floats_print_as_python_prints_them() {
        for (field, value, want) in [
            ("%(x).7f", 0.061_948_1, "0.0619481"),
            ("%(x)f", 0.5, "0.500000"),
            ("%(x)09.3f", 1.5, "00001.500"),
            ("%(x)9.3f", 1.5, "    1.500"),
            ("%(x).0f", 2.5, "2"),
            ("%(x)d", 2.9, "2"),
            ("%(x)s", 0.061_948_1, "0.0619481"),
            ("%(x)s", 0.000_061, "6.1e-05"),
            ("%(x)s", 2.0, "2.0"),
            ("%(x)s", 0.0, "0.0"),
        ] {
            assert_eq!(with(|out| spec(field).float(out, value)), want, "{field} {value}");
        }
    }

    #[test]
    fn texts_are_cut_and_padded_by_characters() {
        assert_eq!(with(|out| spec("%(x)5s").text(out, |out| out.extend("äö".bytes()))), "   äö");
        assert_eq!(with(|out| spec("%(x).1s").text(out, |out| out.extend("äö".bytes()))), "ä");
        assert_eq!(with(|out| spec("%(x)-3s").text(out, |out| out.extend("äö".bytes()))), "äö ");
    }

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
        fn fixed_point_is_what_the_standard_library_prints(bits: u64, places in 0_usize..25) {
            let value = f64::from_bits(bits >> 1);
            proptest::prop_assert_eq!(with(|out| fixed(out, value, places)), format!("{value:.places$}"));
        }

        #[test]
        fn durations_are_what_the_standard_library_prints(nanos in 0_u64..100_000_000_000) {
            let value = std::time::Duration::from_nanos(nanos).as_secs_f64();
            proptest::prop_assert_eq!(with(|out| fixed(out, value, 7)), format!("{value:.7}"));
        }

        #[test]
        fn no_text_breaks_the_parser(text: String) {
            let _ = parse(&text);
        }
    }
}
