//! Paste's URIs: `config:PATH#NAME`, `egg:DIST#NAME`, `call:MODULE:FUNCTION`, as `loadcontext` takes them apart.
//!
//! Must not know what they lead to.

use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::Dialect;

/// A URI's scheme and what follows it.
#[derive(Debug, PartialEq)]
pub(super) enum Uri<'u> {
    /// A file: its path, still quoted.
    Config(&'u str),
    /// A distribution.
    Egg(&'u str),
    /// `module:function`.
    Call(&'u str),
}

/// Why a URI leads nowhere: the exception's class and text.
pub(super) type Fault = (&'static str, String);

/// The URI of a file, whatever signs its path has.
pub fn file_uri(path: &Path) -> String {
    const MEANT: &AsciiSet = &CONTROLS.add(b'%').add(b'#').add(b'\\').add(b' ');
    format!("config:{}", utf8_percent_encode(&path.to_string_lossy(), MEANT))
}

/// Whether a name is a URI: letters and a colon.
pub fn is_absolute(name: &str) -> bool {
    name.split_once(':')
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphabetic()))
}

/// Cuts the fragment off: it is the name, unless one was given.
pub(super) fn split_name<'u>(uri: &'u str, name: Option<&'u str>) -> (&'u str, &'u str) {
    match uri.split_once('#') {
        Some((uri, fragment)) => (uri, name.unwrap_or(fragment)),
        None => (uri, name.unwrap_or("main")),
    }
}

/// Takes apart a URI that has no fragment any more.
pub(super) fn parse(uri: &str, dialect: Dialect) -> Result<Uri<'_>, Fault> {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Err(("LookupError", format!("URI has no scheme: {}", dialect.repr(uri))));
    };
    let scheme = match dialect {
        Dialect::Py2 => scheme.to_ascii_lowercase(),
        Dialect::Py3 => scheme.to_lowercase(),
    };
    match scheme.as_str() {
        "config" => Ok(Uri::Config(rest)),
        "egg" => Ok(Uri::Egg(rest)),
        "call" if rest.contains(':') => Ok(Uri::Call(rest)),
        "call" => Err(("LookupError", "Configuration not in format module:function".to_owned())),
        _ => {
            // The order of a Python 2 dict, and of a Python 3 one.
            let known = if dialect == Dialect::Py2 { "egg, config, call" } else { "config, egg, call" };
            Err(("LookupError", format!("URI scheme not known: {} (from {known})", dialect.repr(&scheme))))
        }
    }
}

/// The file that `config:PATH` names from the directory `relative_to`. `uri` is the whole, for the message.
pub(super) fn config_path(uri: &str, path: &str, relative_to: Option<&str>, dialect: Dialect) -> Result<String, Fault> {
    let mut full = path.replace('\\', "/");
    if !path.starts_with('/') {
        let Some(base) = relative_to.filter(|base| !base.is_empty()) else {
            let uri = dialect.repr(uri);
            let text = format!("Cannot resolve relative uri {uri}; no relative_to keyword argument given");
            return Err(("ValueError", text));
        };
        let base = base.replace('\\', "/");
        let slash = if base.ends_with('/') { "" } else { "/" };
        full = format!("{base}{slash}{full}");
    }
    let full = if full.starts_with("///") { full.get(2..).unwrap_or_default() } else { &full };
    let decoded = percent_decode_str(full).decode_utf8_lossy();
    Ok(dialect.strip(&decoded).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_a_colon_make_a_name_absolute() {
        for (name, absolute) in [("egg:a", true), ("XY:", true), ("x-y:z", false), (":z", false), ("main", false)] {
            assert_eq!(is_absolute(name), absolute, "{name}");
        }
    }

    #[test]
    fn any_path_has_a_uri_that_leads_to_it() {
        for path in ["/etc/a b#c.ini", "/etc/100%20.ini", "/x\\y", "/é"] {
            let uri = file_uri(Path::new(path));
            let (uri, name) = split_name(&uri, None);
            let Ok(Uri::Config(written)) = parse(uri, Dialect::Py3) else { panic!("{uri}") };
            assert_eq!((config_path(uri, written, None, Dialect::Py3).unwrap().as_str(), name), (path, "main"));
        }
    }

    #[test]
    fn a_relative_path_is_joined_and_then_unquoted() {
        let path = |path, base| config_path("config:x", path, base, Dialect::Py3);
        assert_eq!(path("b%20c.ini", Some("/etc")).unwrap(), "/etc/b c.ini");
        assert_eq!(path("b%zz.ini", Some("/etc/")).unwrap(), "/etc/b%zz.ini");
        assert_eq!(path("///etc/x", None).unwrap(), "/etc/x");
        assert_eq!(path("//etc/x", None).unwrap(), "//etc/x");
        assert_eq!(path("x", None).unwrap_err().0, "ValueError");
    }
}
