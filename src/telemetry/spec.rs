//! How a field of a format is put into a line: as text, integer or fixed-point number, cut and padded as Python does it.
//!
//! Must not know what the field means. Nothing here allocates, but a float as text.

use super::number::{digits, fill, fixed, is_continuation, shortest};

/// What stands between the name of a field and the next text: `03d`, `.7f`, `-10s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub left: bool,
    pub zero: bool,
    pub sign: Option<u8>,
    pub width: usize,
    pub precision: Option<usize>,
    pub conversion: Conversion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conversion {
    Text,
    Integer,
    Fixed,
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

#[cfg(test)]
mod tests {
    use super::super::percent::{Piece, parse};
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
}
