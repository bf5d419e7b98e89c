//! The `%` operator of Python 2.7's byte strings with a mapping at its right, whose values are all strings.
//!
//! Must not know why it is called.

use super::Dialect;
use super::interpolate::{Fault, LENGTH, Names};

/// One directive's modifiers.
#[derive(Default)]
struct Directive {
    left: bool,
    width: usize,
    precision: Option<usize>,
}

/// What a directive formats: the value of its name, or, before any name was given, the mapping itself.
enum Argument<'n> {
    Mapping,
    Value(&'n str),
    Spent,
}

/// `template % names`.
pub(super) fn format(template: &str, names: &dyn Names) -> Result<String, Fault> {
    let mut out = String::with_capacity(template.len());
    let mut argument = Argument::Mapping;
    let mut rest = template.chars();
    let mut at = 0;
    // Python counts bytes in its messages.
    let mut next = |rest: &mut std::str::Chars<'_>| {
        let c = rest.next();
        at += c.map_or(0, char::len_utf8);
        (c, at)
    };
    while let (Some(c), _) = next(&mut rest) {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut c, mut end) = next(&mut rest);
        if c == Some('(') {
            let mut name = String::new();
            let mut depth = 1;
            while depth > 0 {
                let (Some(c), _) = next(&mut rest) else { return Err(value_error("incomplete format key")) };
                depth += i32::from(c == '(') - i32::from(c == ')');
                name.push(c);
            }
            name.pop();
            argument = Argument::Value(names.get(&name).ok_or(Fault::Missing(name))?);
            (c, end) = next(&mut rest);
        }
        let mut directive = Directive::default();
        while let Some(flag @ ('-' | '+' | ' ' | '#' | '0')) = c {
            directive.left |= flag == '-';
            (c, end) = next(&mut rest);
        }
        if c == Some('*') {
            return Err(star(&argument));
        }
        while let Some(digit) = c.and_then(|c| c.to_digit(10)) {
            directive.width = directive.width.saturating_mul(10).saturating_add(digit as usize);
            (c, end) = next(&mut rest);
        }
        if directive.width > LENGTH {
            return Err(Fault::TooLong);
        }
        if c == Some('.') {
            (c, end) = next(&mut rest);
            if c == Some('*') {
                return Err(star(&argument));
            }
            let mut precision = 0_i32;
            while let Some(digit) = c.and_then(|c| c.to_digit(10)) {
                let longer = precision.checked_mul(10).and_then(|p| p.checked_add(digit.cast_signed()));
                precision = longer.ok_or_else(|| value_error("prec too big"))?;
                (c, end) = next(&mut rest);
            }
            directive.precision = usize::try_from(precision).ok();
        }
        if matches!(c, Some('h' | 'l' | 'L')) {
            (c, end) = next(&mut rest);
        }
        let Some(conversion) = c else { return Err(value_error("incomplete format")) };
        let text = if conversion == '%' {
            "%".to_owned()
        } else {
            let text = convert(conversion, end - conversion.len_utf8(), &argument, names)?;
            argument = Argument::Spent;
            text
        };
        directive.pad(&text, conversion, &mut out);
        if out.len() > LENGTH {
            return Err(Fault::TooLong);
        }
    }
    Ok(out)
}

impl Directive {
    fn pad(&self, text: &str, conversion: char, out: &mut String) {
        let cut = match self.precision.filter(|_| matches!(conversion, 's' | 'r')) {
            // Bytes to Python; never half a character here.
            Some(limit) => text.get(..text.floor_char_boundary(limit)).unwrap_or_default(),
            None => text,
        };
        let fill = " ".repeat(self.width.saturating_sub(cut.len()));
        if self.left {
            out.extend([cut, &fill]);
        } else {
            out.extend([&fill, cut]);
        }
    }
}

fn convert(conversion: char, at: usize, argument: &Argument<'_>, names: &dyn Names) -> Result<String, Fault> {
    let kind = match argument {
        Argument::Spent => return Err(type_error("not enough arguments for format string")),
        Argument::Mapping => "instance",
        Argument::Value(_) => "str",
    };
    let text = || match argument {
        Argument::Value(value) => (*value).to_owned(),
        _ => names.repr(),
    };
    match conversion {
        's' => Ok(text()),
        'r' if kind == "str" => Ok(Dialect::Py2.repr(&text())),
        'r' => Ok(text()),
        'c' if kind == "str" && text().len() == 1 => Ok(text()),
        'c' => Err(type_error("%c requires int or char")),
        'd' | 'i' | 'u' | 'o' | 'x' | 'X' if kind == "str" => {
            let shown = if conversion == 'i' { 'd' } else { conversion };
            Err(type_error(&format!("%{shown} format: a number is required, not str")))
        }
        'd' | 'i' | 'u' | 'o' | 'x' | 'X' => {
            let shown = if conversion == 'i' { 'd' } else { conversion };
            Err(type_error(&format!("%{shown} format: a number is required, not instance")))
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => Err(type_error(&format!("float argument required, not {kind}"))),
        _ => {
            // The first byte alone, as a signed char in hexadecimal.
            let byte = conversion.encode_utf8(&mut [0; 4]).bytes().next().unwrap_or_default();
            let code = if byte < 0x80 { u32::from(byte) } else { 0xffff_ff00 | u32::from(byte) };
            Err(value_error(&format!("unsupported format character '{conversion}' ({code:#x}) at index {at}")))
        }
    }
}

/// `%*s`: no string is a width.
fn star(argument: &Argument<'_>) -> Fault {
    match argument {
        Argument::Spent => type_error("not enough arguments for format string"),
        _ => type_error("* wants int"),
    }
}

fn type_error(text: &str) -> Fault {
    Fault::Operator("TypeError", text.to_owned())
}

fn value_error(text: &str) -> Fault {
    Fault::Operator("ValueError", text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn directives_do_what_python_2_does_with_them() {
        let names = HashMap::from([("a", "x"), ("b", "yz")]);
        let err = |class, text: &str| Err(Fault::Operator(class, text.to_owned()));
        for (template, result) in [
            ("5% %(a)s", Ok("5%(a)s".to_owned())),
            ("%(b)5.1s|", Ok("    y|".to_owned())),
            ("%(a)-5s|", Ok("x    |".to_owned())),
            ("%(a)05s|", Ok("    x|".to_owned())),
            ("%(a)5%|", Ok("    %|".to_owned())),
            ("%(a).s|", Ok("|".to_owned())),
            ("%(a)ls%(a)r%(a)c", Ok("x'x'x".to_owned())),
            ("%(b)c", err("TypeError", "%c requires int or char")),
            ("%(a)f", err("TypeError", "float argument required, not str")),
            ("%(a)i", err("TypeError", "%d format: a number is required, not str")),
            ("%d %(a)s", err("TypeError", "%d format: a number is required, not instance")),
            ("%(a)y", err("ValueError", "unsupported format character 'y' (0x79) at index 4")),
            ("%(a)hhs", err("ValueError", "unsupported format character 'h' (0x68) at index 5")),
            ("%(a)*s", err("TypeError", "* wants int")),
            ("%(a)s %s", err("TypeError", "not enough arguments for format string")),
            ("%(a", err("ValueError", "incomplete format key")),
            ("%(a)", err("ValueError", "incomplete format")),
            ("%(a).99999999999s", err("ValueError", "prec too big")),
            ("%(a)99999999999s", Err(Fault::TooLong)),
            ("%(a(b))s", Err(Fault::Missing("a(b)".to_owned()))),
        ] {
            assert_eq!(format(template, &names), result, "{template}");
        }
    }
}
