//! A format such as `%(status)s %(bytes)s` whose fields are all texts, given by whoever writes a line.
//!
//! Must not know what the fields stand for.

use super::percent::{self, FormatError, Piece};
use super::record::escape;
use super::spec::Spec;

/// A compiled format with fields of the caller's.
#[derive(Clone, Debug)]
pub struct Template<F>(Vec<Segment<F>>);

#[derive(Clone, Debug)]
enum Segment<F> {
    Literal(String),
    Field(F, Spec),
}

impl<F: Copy> Template<F> {
    /// Compiles a format that may name any of `fields`.
    ///
    /// # Errors
    /// What is wrong with it, and at which column.
    pub fn compile(format: &str, fields: &[(&str, F)]) -> Result<Self, FormatError> {
        let segments = percent::parse(format)?.into_iter().map(|piece| match piece {
            Piece::Literal(text) => Ok(Segment::Literal(text)),
            Piece::Field { column, name, spec } => match fields.iter().find(|(known, _)| *known == name) {
                Some(_) if !spec.takes_text() => Err(FormatError::NotANumber { column, name }),
                Some((_, field)) => Ok(Segment::Field(*field, spec)),
                None => {
                    let known: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
                    Err(FormatError::Unknown { column, name, known: known.join(", ") })
                }
            },
        });
        Ok(Self(segments.collect::<Result<_, _>>()?))
    }

    /// The line. `value` writes a field's text; what is not printable in it becomes `\xNN`.
    pub fn line(&self, mut value: impl FnMut(F, &mut Vec<u8>)) -> String {
        let (mut line, mut text) = (Vec::with_capacity(160), Vec::new());
        for segment in &self.0 {
            match segment {
                Segment::Literal(literal) => line.extend_from_slice(literal.as_bytes()),
                Segment::Field(field, spec) => {
                    text.clear();
                    value(*field, &mut text);
                    spec.text(&mut line, |line| escape(line, &text, false));
                }
            }
        }
        String::from_utf8_lossy(&line).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: &str) -> Result<String, String> {
        let template = Template::compile(format, &[("a", 'a'), ("evil", 'e')]).map_err(|error| error.to_string())?;
        Ok(template.line(|field, out| out.extend_from_slice(if field == 'a' { b"one" } else { b"\r\n\x1b[2J\xff" })))
    }

    #[test]
    fn fields_are_padded_and_strangers_stay_on_their_line() {
        assert_eq!(line("%(a)s|%(a)5s|%(a)-5s|%(a).1s 100%%").as_deref(), Ok("one|  one|one  |o 100%"));
        assert_eq!(line("%(evil)s").as_deref(), Ok("\\x0d\\x0a\\x1b[2J\u{fffd}"));
    }

    #[test]
    fn mistakes_say_what_and_where() {
        assert_eq!(line("%(a)d").unwrap_err(), "column 1: `a` is a text; write `%(a)s`");
        assert_eq!(line(" %(b)s").unwrap_err(), "column 2: `b` is not a field of this format; it has a, evil");
    }
}
