//! `$name` in values: the scanner of Python's `string.Template.safe_substitute`, with oslo.config's patterns.
//!
//! Must not know what a name stands for.

use super::Library;

/// Replaces each `$name` and `${name}` by what `lookup` says; `$$` is a `$`, and a `$` that begins no name stays.
/// The newer library also takes `\$` for `$$`, and dots inside names (`$group.option`).
///
/// # Errors
/// The first error of `lookup`.
pub fn substitute<E>(
    text: &str,
    library: Library,
    mut lookup: impl FnMut(&str) -> Result<String, E>,
) -> Result<String, E> {
    let escaped;
    let mut rest = text;
    if library == Library::New && text.contains("\\$") {
        escaped = text.replace("\\$", "$$");
        rest = &escaped;
    }
    let mut out = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = braced(after, library).or_else(|| name(after, library)) {
            out.push_str(&lookup(name)?);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn braced(text: &str, library: Library) -> Option<(&str, &str)> {
    let (name, rest) = name(text.strip_prefix('{')?, library)?;
    Some((name, rest.strip_prefix('}')?))
}

/// A name at the beginning of the text, and what follows it.
fn name(text: &str, library: Library) -> Option<(&str, &str)> {
    let inner = |c: char| c == '_' || c.is_ascii_alphanumeric() || (c == '.' && library == Library::New);
    if !text.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic()) {
        return None;
    }
    text.split_at_checked(text.find(|c| !inner(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str, library: Library) -> String {
        substitute(text, library, |name| Ok::<_, ()>(format!("<{name}>"))).expect("no lookup fails")
    }

    #[test]
    fn names_are_found_as_the_template_of_each_library_finds_them() {
        for (text, old, new) in [
            ("$a/${b}c", "<a>/<b>c", "<a>/<b>c"),
            ("$$x $ y $5", "$x $ y $5", "$x $ y $5"),
            ("$a.conf", "<a>.conf", "<a.conf>"),
            ("\\$x", "\\<x>", "$x"),
            ("${a", "${a", "${a"),
            ("${}", "${}", "${}"),
            ("100%$", "100%$", "100%$"),
        ] {
            assert_eq!(shown(text, Library::Old), old);
            assert_eq!(shown(text, Library::New), new);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[${}\\\\a.é_ 1]{0,30}") {
            shown(&text, Library::Old);
            shown(&text, Library::New);
        }

        #[test]
        fn text_without_a_dollar_is_left_alone(text in "[^$]{0,30}") {
            prop_assert_eq!(shown(&text, Library::New), text);
        }
    }
}
