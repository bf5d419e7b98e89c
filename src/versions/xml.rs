//! The XML and Atom forms of the version documents, as Nova wrote them up to Juno.
//!
//! From `nova/api/openstack/compute/versions.py` of 2013.2 and lxml's way of writing. Must not know requests: links
//! come ready and escaped.

use super::edition::{Edition, Version};
use super::links::Links;

const DECLARATION: &str = "<?xml version='1.0' encoding='UTF-8'?>\n";
const NAMESPACES: &str =
    r#" xmlns:atom="http://www.w3.org/2005/Atom" xmlns="http://docs.openstack.org/common/api/v1.0">"#;

fn push(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

fn atom_link(out: &mut String, version: &Version, links: &Links) {
    out.push_str(r#"<atom:link href=""#);
    links.write(out, version.path);
    out.push_str(r#"" rel="self"/></version>"#);
}

/// `<versions>`
pub fn index(edition: &Edition, links: &Links) -> String {
    let mut out = String::with_capacity(512);
    push(&mut out, &[DECLARATION, "<versions", NAMESPACES]);
    for v in &edition.versions {
        push(&mut out, &[r#"<version status=""#, v.status, r#"" updated=""#, v.updated, r#"" id=""#, v.id, r#"">"#]);
        atom_link(&mut out, v, links);
    }
    out.push_str("</versions>");
    out
}

/// `<choices>`
pub fn choices(edition: &Edition, links: &Links) -> String {
    let mut out = String::with_capacity(1024);
    push(&mut out, &[DECLARATION, "<choices", NAMESPACES]);
    for v in &edition.choices {
        push(&mut out, &[r#"<version status=""#, v.status, r#"" id=""#, v.id, r#""><media-types>"#]);
        for kind in ["xml", "json"] {
            push(
                &mut out,
                &[r#"<media-type base="application/"#, kind, r#"" type="application/vnd.openstack.compute+"#],
            );
            push(&mut out, &[kind, ";version=", v.media, r#""/>"#]);
        }
        out.push_str("</media-types>");
        atom_link(&mut out, v, links);
    }
    out.push_str("</choices>");
    out
}

/// The Atom feed of the index. The choices have none.
pub fn feed(edition: &Edition, links: &Links) -> String {
    let mut out = String::with_capacity(1024);
    let updated = edition.versions.iter().map(|v| v.updated).max().unwrap_or_default();
    push(&mut out, &[DECLARATION, r#"<feed xmlns="http://www.w3.org/2005/Atom">"#]);
    push(&mut out, &[r#"<title type="text">Available API Versions</title><updated>"#, updated, "</updated><id>"]);
    links.write_base(&mut out);
    out.push_str(r#"/</id><link rel="self" href=""#);
    links.write_base(&mut out);
    out.push_str(r#"/"/><author><name>Rackspace</name><uri>http://www.rackspace.com/</uri></author>"#);
    for v in &edition.versions {
        out.push_str("<entry><id>");
        links.write(&mut out, v.path);
        push(&mut out, &[r#"</id><title type="text">Version "#, v.id, "</title><updated>", v.updated]);
        out.push_str(r#"</updated><link rel="self" href=""#);
        links.write(&mut out, v.path);
        push(&mut out, &[r#""/><content type="text">Version "#, v.id, " ", v.status, " (", v.updated]);
        out.push_str(")</content></entry>");
    }
    out.push_str("</feed>");
    out
}

/// Escapes text for an attribute in double quotes or for an element.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    out
}
