//! The links of a version document: where the request came in, and where its path would lead in each version.
//!
//! Follows `Request.application_url` and `Request.path` of WebOb 1.2.3 and 1.8.9, and `generate_href` of Nova's
//! `views/versions.py`. Must not know the format that the links are written in.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::Asked;
use super::edition::Edition;

/// What WebOb 1.2 leaves alone in a path.
const WEBOB_1_2: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'+')
    .remove(b'$')
    .remove(b',');
/// What WebOb leaves alone today.
const WEBOB: &AsciiSet =
    &WEBOB_1_2.remove(b'~').remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*').remove(b';').remove(b'=');

/// The parts of every link of one document, escaped for its format.
pub struct Links {
    base: String,
    tail: String,
}

impl Links {
    /// Links to the root of each version; `escape` is the format's.
    pub fn roots(edition: &Edition, asked: &Asked<'_>, escape: fn(&str) -> String) -> Self {
        let script_name = percent_encode(asked.script_name, keep(edition)).to_string();
        let base = edition.base_url(&host_url(asked.scheme, asked.host), &script_name);
        Self { base: escape(&base), tail: String::new() }
    }

    /// Links to the request's own path (`SCRIPT_NAME` included, as Nova has it) below each version.
    pub fn choices(edition: &Edition, asked: &Asked<'_>, escape: fn(&str) -> String) -> Self {
        let quoted = |part| percent_encode(part, keep(edition));
        let path = format!("{}{}", quoted(asked.script_name), quoted(asked.path_info));
        Self { tail: escape(path.trim_matches('/')), ..Self::roots(edition, asked, escape) }
    }

    /// Writes the base URL, without a slash at its end.
    pub fn write_base(&self, out: &mut String) {
        out.push_str(&self.base);
    }

    /// Writes the link to the version with this path.
    pub fn write(&self, out: &mut String, version: &str) {
        for part in [&self.base, "/", version, "/", &self.tail] {
            out.push_str(part);
        }
    }
}

fn keep(edition: &Edition) -> &'static AsciiSet {
    if edition.quotes_punctuation { WEBOB_1_2 } else { WEBOB }
}

/// Scheme and host; a port that the scheme implies is left out.
fn host_url(scheme: &str, host: &str) -> String {
    let implied = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => ":",
    };
    let host = host.strip_suffix(implied).or_else(|| host.strip_suffix(':')).unwrap_or(host);
    [scheme, "://", host].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_implied_port_is_left_out() {
        assert_eq!(host_url("http", "nova:80"), "http://nova");
        assert_eq!(host_url("https", "nova:80"), "https://nova:80");
        assert_eq!(host_url("https", "[::1]:443"), "https://[::1]");
        assert_eq!(host_url("http", "[2001:db8::80]"), "http://[2001:db8::80]");
    }
}
