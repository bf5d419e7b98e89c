//! The JSON form of the version documents, key by key in the order in which Python wrote it.
//!
//! Must not know requests: links come ready and escaped.

use super::edition::{Edition, KeyOrder, Version};
use super::links::Links;

/// The members of a version's object.
#[derive(Clone, Copy)]
enum Key {
    Id,
    Status,
    Max,
    Min,
    Updated,
    Links,
    MediaTypes,
}

use Key::{Id, Links as LinkList, Max, MediaTypes, Min, Status, Updated};

/// 2013.2 knows no microversions; the order is that of a Python 2 dict.
const INDEX_HAVANA: &[Key] = &[Status, Updated, Id, LinkList];
const INDEX_PYTHON2: &[Key] = &[Status, Updated, LinkList, Min, Max, Id];
const INDEX: &[Key] = &[Id, Status, Max, Min, Updated, LinkList];
const CHOICE_PYTHON2: &[Key] = &[Status, MediaTypes, Id, LinkList];
const CHOICE: &[Key] = &[Id, Status, LinkList, MediaTypes];
const OWN: &[Key] = &[Id, Status, Max, Min, Updated, LinkList, MediaTypes];

/// `{"versions": [...]}`
pub fn index(edition: &Edition, max: Option<&str>, links: &Links) -> String {
    let keys = match (edition.xml, edition.order) {
        (true, _) => INDEX_HAVANA,
        (false, KeyOrder::Python2) => INDEX_PYTHON2,
        (false, KeyOrder::Written) => INDEX,
    };
    list("{\"versions\": [", keys, edition, &edition.versions, max, links)
}

/// `{"choices": [...]}`
pub fn choices(edition: &Edition, links: &Links) -> String {
    let keys = match edition.order {
        KeyOrder::Python2 => CHOICE_PYTHON2,
        KeyOrder::Written => CHOICE,
    };
    list("{\"choices\": [", keys, edition, &edition.choices, None, links)
}

/// `{"version": {...}}`, the document of one version at its own root (from Ussuri on).
pub fn own(edition: &Edition, version: &Version, max: &str, links: &Links) -> String {
    let mut out = String::with_capacity(512);
    out.push_str("{\"version\": ");
    let link = |out: &mut String| {
        out.push_str("{\"rel\": \"self\", \"href\": \"");
        links.write_base(out);
        out.push_str(
            "/\"}, {\"rel\": \"describedby\", \"type\": \"text/html\", \"href\": \"http://docs.openstack.org/\"}",
        );
    };
    object(&mut out, OWN, edition, version, max, link);
    out.push('}');
    out
}

fn list(head: &str, keys: &[Key], edition: &Edition, versions: &[Version], max: Option<&str>, links: &Links) -> String {
    let mut out = String::with_capacity(768);
    out.push_str(head);
    for (n, version) in versions.iter().enumerate() {
        if n > 0 {
            out.push_str(", ");
        }
        let link = |out: &mut String| {
            let (before, after) = match edition.order {
                KeyOrder::Python2 => ("{\"href\": \"", "\", \"rel\": \"self\"}"),
                KeyOrder::Written => ("{\"rel\": \"self\", \"href\": \"", "\"}"),
            };
            out.push_str(before);
            links.write(out, version.path);
            out.push_str(after);
        };
        object(&mut out, keys, edition, version, version.max(max), link);
    }
    out.push_str("]}");
    out
}

fn object(
    out: &mut String,
    keys: &[Key],
    edition: &Edition,
    version: &Version,
    max: &str,
    links: impl Fn(&mut String),
) {
    let text = |out: &mut String, key: &str, value: &str| {
        for part in ["\"", key, "\": \"", value, "\""] {
            out.push_str(part);
        }
    };
    out.push('{');
    for (n, key) in keys.iter().enumerate() {
        if n > 0 {
            out.push_str(", ");
        }
        match key {
            Id => text(out, "id", version.id),
            Status => text(out, "status", version.status),
            Max => text(out, "version", max),
            Min => text(out, "min_version", version.min),
            Updated => text(out, "updated", version.updated),
            LinkList => {
                out.push_str("\"links\": [");
                links(out);
                out.push(']');
            }
            MediaTypes => {
                out.push_str("\"media-types\": [");
                if edition.xml {
                    media_type(out, "xml", version.media);
                    out.push_str(", ");
                }
                media_type(out, "json", version.media);
                out.push(']');
            }
        }
    }
    out.push('}');
}

fn media_type(out: &mut String, kind: &str, version: &str) {
    let parts = [
        "{\"base\": \"application/",
        kind,
        "\", \"type\": \"application/vnd.openstack.compute+",
        kind,
        ";version=",
        version,
    ];
    for part in parts {
        out.push_str(part);
    }
    out.push_str("\"}");
}

/// Escapes text for a JSON string as Python's `json.dumps` does by default: ASCII only.
pub fn escape(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out
}
