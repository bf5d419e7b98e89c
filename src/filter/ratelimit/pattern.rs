//! Regular expressions as Python's `re` (2.7) reads them, for `re.match` on URLs.
//!
//! The text is rewritten for `fancy-regex`, whose syntax is Python's but for details: `\Z`, braces that are no
//! quantifier, brackets within classes, flags in the middle. What would mean something else there, or is an error in
//! Python, is refused: then the original shall run it.
//! Must not know what a match is good for.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use fancy_regex::{Regex, RegexBuilder};
use memchr::memmem::Finder;

/// Steps that a match may go back. Only look-arounds and back-references backtrack at all; the rest is linear.
const BACKTRACKS: usize = 20_000;

/// Something to match the beginning of a URL with.
pub enum Pattern {
    /// `.*`, which everything matches.
    Any,
    /// `.*text.*`: the text stands somewhere, as `changes-since` of Nova's own limits.
    Contains(Box<Finder<'static>>),
    /// Anything else.
    Regex(Box<Regex>),
}

/// Why a text is no pattern here.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pattern {
    /// # Errors
    /// What is not known here, or wrong in Python too.
    pub fn new(python: &str) -> Result<Self, Refused> {
        if matches!(python, "" | ".*" | "^.*" | ".*$" | "^.*$") {
            return Ok(Self::Any);
        }
        if let Some(text) = python.strip_prefix(".*")
            && let text = text.strip_suffix(".*").unwrap_or(text)
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/=&:".contains(&byte))
        {
            return Ok(Self::Contains(Box::new(Finder::new(text).into_owned())));
        }
        let (flags, body) = translate(python)?;
        let flags = if flags.is_empty() { flags } else { format!("(?{flags})") };
        let regex = RegexBuilder::new(&format!("{flags}\\A(?:{body})")).backtrack_limit(BACKTRACKS).build();
        regex.map(|regex| Self::Regex(Box::new(regex))).map_err(|error| Refused(error.to_string()))
    }

    /// Whether a text of one line begins so. One that takes too many steps to tell counts as if it did: nobody shall get past a
    /// limit by being hard to read.
    pub fn begins(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Contains(finder) => finder.find(text.as_bytes()).is_some(),
            Self::Regex(regex) => regex.is_match(text).unwrap_or(true),
        }
    }
}

/// The flags, which count for all of a pattern wherever they stand, and the pattern without them.
fn translate(python: &str) -> Result<(String, String), Refused> {
    let refuse = |why: &str| Err(Refused(why.to_owned()));
    let (mut flags, mut out) = (String::new(), String::with_capacity(python.len() + 8));
    let mut rest = python.chars().peekable();
    // Whether a quantifier has just been read: another one is an error in Python, and means something in Rust.
    let mut quantified = false;
    while let Some(c) = rest.next() {
        let was_quantified = std::mem::take(&mut quantified);
        match c {
            '\\' => escape(&mut rest, &mut out, false)?,
            '[' => class(&mut rest, &mut out)?,
            '{' => match quantifier(&mut rest) {
                Some(_) if was_quantified => return refuse("multiple repeat"),
                Some(text) => {
                    out.push_str(&text);
                    quantified = true;
                    lazy(&mut rest, &mut out);
                }
                None => out.push_str("\\{"),
            },
            '}' | ']' => out.extend(['\\', c]),
            '*' | '+' | '?' if was_quantified => return refuse("multiple repeat"),
            '*' | '+' | '?' => {
                out.push(c);
                quantified = true;
                lazy(&mut rest, &mut out);
            }
            '(' if rest.next_if_eq(&'?').is_some() => group(&mut rest, &mut out, &mut flags)?,
            _ => out.push(c),
        }
    }
    Ok((flags, out))
}

/// The question mark behind a quantifier.
fn lazy(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    if rest.next_if_eq(&'?').is_some() {
        out.push('?');
    }
}

/// What stands behind a backslash. A letter that means nothing is itself.
fn escape(rest: &mut Peekable<Chars<'_>>, out: &mut String, in_class: bool) -> Result<(), Refused> {
    match rest.next() {
        None => return Err(Refused("bogus escape (end of line)".to_owned())),
        Some('Z') if !in_class => out.push_str("\\z"),
        Some('b') if in_class => out.push_str("\\x08"),
        Some(c @ ('A' | 'b' | 'B')) if !in_class => out.extend(['\\', c]),
        Some(c @ ('d' | 'D' | 's' | 'S' | 'w' | 'W' | 'a' | 'f' | 'n' | 'r' | 't' | 'v')) => out.extend(['\\', c]),
        Some('x') => {
            let digits: String = std::iter::from_fn(|| rest.next_if(char::is_ascii_hexdigit)).take(2).collect();
            if digits.len() != 2 {
                return Err(Refused("bogus escape: \\x".to_owned()));
            }
            out.push_str("\\x");
            out.push_str(&digits);
        }
        Some(c @ '1'..='9') if !in_class && !rest.peek().is_some_and(char::is_ascii_digit) => out.extend(['\\', c]),
        Some(c) if c.is_ascii_digit() => return Err(Refused("octal escapes are Python's alone".to_owned())),
        Some(c @ ('<' | '>')) => out.push(c),
        Some(c) if c.is_ascii_punctuation() => out.extend(['\\', c]),
        Some(c) => out.push(c),
    }
    Ok(())
}

/// A class, behind its opening bracket.
fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), Refused> {
    out.push('[');
    if rest.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let (mut first, mut dash) = (true, false);
    while let Some(c) = rest.next() {
        let was_dash = std::mem::replace(&mut dash, c == '-');
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(());
            }
            '\\' => escape(rest, out, true)?,
            '-' if was_dash => return Err(Refused("two dashes in a class".to_owned())),
            '-' | '^' => out.push(c),
            _ if c.is_ascii_punctuation() && !matches!(c, '<' | '>') => out.extend(['\\', c]),
            _ => out.push(c),
        }
        first = false;
    }
    Err(Refused("unexpected end of regular expression".to_owned()))
}

/// `{m}`, `{m,}`, `{,n}` or `{m,n}`, behind its brace; `None` and nothing read if it is none.
fn quantifier(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut ahead = rest.clone();
    let mut number = || -> String { std::iter::from_fn(|| ahead.next_if(char::is_ascii_digit)).collect() };
    let low = number();
    let text = if ahead.next_if_eq(&',').is_some() {
        let high: String = std::iter::from_fn(|| ahead.next_if(char::is_ascii_digit)).collect();
        format!("{{{},{high}}}", if low.is_empty() { "0" } else { &low })
    } else if low.is_empty() {
        return None;
    } else {
        format!("{{{low}}}")
    };
    ahead.next_if_eq(&'}')?;
    *rest = ahead;
    Some(text)
}

/// What stands behind `(?`.
fn group(rest: &mut Peekable<Chars<'_>>, out: &mut String, flags: &mut String) -> Result<(), Refused> {
    let unknown = || Err(Refused("an extension of (?...) that is Python's alone".to_owned()));
    match rest.next() {
        Some(c @ (':' | '=' | '!')) => out.extend(['(', '?', c]),
        Some('<') => match rest.next() {
            Some(c @ ('=' | '!')) => out.extend(['(', '?', '<', c]),
            _ => return unknown(),
        },
        Some('P') => match rest.next() {
            Some(c @ ('<' | '=')) => {
                let end = if c == '<' { '>' } else { ')' };
                out.extend(['(', '?', 'P', c]);
                out.extend(std::iter::from_fn(|| rest.next_if(|c| *c != end)));
                out.extend(rest.next());
            }
            _ => return unknown(),
        },
        Some('#') => while rest.next().is_some_and(|c| c != ')') {},
        Some(c @ ('i' | 'm' | 's' | 'L' | 'u')) => {
            let mut flag = Some(c);
            loop {
                match flag {
                    Some(c @ ('i' | 'm' | 's')) if !flags.contains(c) => flags.push(c),
                    // A URL's text has no locale.
                    Some('i' | 'm' | 's' | 'L' | 'u') => {}
                    Some(')') => break,
                    _ => return unknown(),
                }
                flag = rest.next();
            }
        }
        _ => return unknown(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://127.0.0.1:8774/v2/p1/servers/detail?changes-since=2013-10-01";

    fn begins(pattern: &str) -> bool {
        Pattern::new(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}")).begins(URL)
    }

    #[test]
    fn it_matches_from_the_beginning_of_the_url_only() {
        for pattern in ["", ".*", ".*changes-since.*", "http://", ".*/servers", "^http", "(?i)HTTP", "http(?i)://127"] {
            assert!(begins(pattern), "{pattern}");
        }
        for pattern in ["^/servers", "/v2", "servers", "HTTP", "^/os-fping"] {
            assert!(!begins(pattern), "{pattern}");
        }
    }

    #[test]
    fn pythons_syntax_keeps_its_meaning() {
        for pattern in [
            r".*01\Z",
            r".*2013-10-01$",
            r".*/p\d/",
            r".*\/servers\/",
            r".*/(?P<what>servers)/",
            r".*/[^]]*servers",
            r".*[[?]changes",
            r".*[&~?]changes",
            r".*/v2/(?:p1|p2)/",
            r"(?#a comment)http",
            r".*1{3}?|.*",
            r".*\qs|.*",
            r"h(t)\1p",
            r"h(?P<t>t)(?P=t)p",
            r".*servers(?!/\d)",
            r".*(?<=p1)/servers",
            r"http{1,2}:",
            r".{,7}127",
        ] {
            assert!(begins(pattern), "{pattern}");
        }
        for pattern in [r".*{id}", r"http{}", r"http{a}", r".*servers(?!/detail)\?", r".*\bsince=\B", r"a{2,}"] {
            assert!(!begins(pattern), "{pattern}");
        }
        assert!(Pattern::new(r"x{id}").is_ok_and(|p| p.begins("x{id}")));
    }

    #[test]
    fn what_python_refuses_or_reads_otherwise_is_refused() {
        for pattern in
            ["(", ")", "*a", "a**", "a+*", "[a", "a\\", "(?x) a", r"\012", "(?(1)a|b)", "[a--b]", "(?P>n)", r"\xg"]
        {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_url_that_takes_too_many_steps_counts_as_a_match() {
        let pattern = Pattern::new(r"(a*)*\1b").unwrap();
        assert!(pattern.begins(&"a".repeat(10_000)));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_pattern_or_is_refused(text in r"[a-z0-9\\(){}\[\]?*+|.^$,:=!<>P#&~Z -]{0,30}", url in ".{0,40}") {
            if let Ok(pattern) = Pattern::new(&text) {
                pattern.begins(&url);
            }
        }
    }
}
