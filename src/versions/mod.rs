//! Nova's version documents, byte for byte: what `oscomputeversionapp` answers in each release.
//!
//! [`document`] is the app of `/` (an index at its root, 300 Multiple Choices anywhere else), [`own_document`] that of
//! `/v2` and `/v2.1` since Ussuri. Both are pure: the front answers with them in a service's place, the builtin worker
//! for want of one. Must not know sockets or HTTP servers.

mod edition;
mod json;
mod links;
pub mod microversion;
mod xml;

use http::header::VARY;
use http::{HeaderMap, HeaderValue, StatusCode};

pub use edition::Edition;
use links::Links;
use microversion::Microversion;

/// What the documents depend on in a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// `wsgi.url_scheme`
    pub scheme: &'a str,
    /// The `Host` header, or the server's name and port where there is none.
    pub host: &'a str,
    /// `SCRIPT_NAME`, decoded.
    pub script_name: &'a [u8],
    /// `PATH_INFO`, decoded.
    pub path_info: &'a [u8],
    /// `nova.best_content_type`, as Nova's urlmap chose it.
    pub best_content_type: Option<&'a str>,
    /// The greatest microversion, where the service itself has told it; else that of the edition.
    pub max: Option<&'a str>,
}

/// A response without its framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// 200, 300, or a fault's.
    pub status: StatusCode,
    /// `Content-Type`
    pub content_type: &'a str,
    /// The whole body, sent for every method but HEAD.
    pub body: String,
    /// Where the app is under microversion control: the version that its headers name.
    pub microversion: Option<String>,
}

impl Document<'_> {
    /// The headers that name its microversion.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(version) = &self.microversion else { return headers };
        for (name, text) in
            [(microversion::HEADER, format!("compute {version}")), (microversion::LEGACY_HEADER, version.clone())]
        {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
        for name in ["OpenStack-API-Version", "X-OpenStack-Nova-API-Version"] {
            headers.append(VARY, HeaderValue::from_static(name));
        }
        headers
    }
}

const JSON: &str = "application/json";

/// The answer of `nova.api.openstack.compute.versions:Versions`. Method and query do not matter.
pub fn document<'a>(edition: &Edition, asked: &Asked<'a>) -> Document<'a> {
    let index = asked.path_info == b"/";
    let content_type = asked.best_content_type.unwrap_or(JSON);
    let form = if edition.xml { Form::of(content_type) } else { Form::Json };
    if index {
        let body = match form {
            Form::Json => json::index(edition, asked.max, &Links::roots(edition, asked, json::escape)),
            Form::Xml => xml::index(edition, &Links::roots(edition, asked, xml::escape)),
            Form::Atom => xml::feed(edition, &Links::roots(edition, asked, xml::escape)),
        };
        return Document { status: StatusCode::OK, content_type, body, microversion: None };
    }
    let (content_type, body) = match form {
        Form::Json => (content_type, json::choices(edition, &Links::choices(edition, asked, json::escape))),
        Form::Xml => (content_type, xml::choices(edition, &Links::choices(edition, asked, xml::escape))),
        // The choices have no Atom form.
        Form::Atom => (JSON, json::choices(edition, &Links::choices(edition, asked, json::escape))),
    };
    Document { status: StatusCode::MULTIPLE_CHOICES, content_type, body, microversion: None }
}

/// The answer of `nova.api.openstack.compute.versions:VersionsV2` (Ussuri and later): the document of one version.
///
/// `legacy` is `openstack.legacy_v2` of the environ: it asks for v2.0, which knows no microversions.
pub fn own_document<'a>(edition: &Edition, asked: &Asked<'a>, legacy: bool, headers: &HeaderMap) -> Document<'a> {
    let wanted = if legacy { "v2.0" } else { "v2.1" };
    let Some(version) = edition.versions.iter().find(|v| v.id == wanted) else {
        // A release before Kilo has no such app; a paste file may still name it.
        return document(edition, asked);
    };
    let max = version.max(asked.max);
    let microversion = (!legacy).then(|| microversion::requested(headers, max));
    let named = microversion.as_ref().and_then(Microversion::named).map(str::to_owned);
    if let Some(fault) = microversion.and_then(|asked| asked.fault(max)) {
        let (name, code, message) = (fault.name, fault.status.as_u16(), json::escape(&fault.message));
        return Document {
            status: fault.status,
            content_type: "application/json; charset=UTF-8",
            body: format!("{{\"{name}\": {{\"code\": {code}, \"message\": \"{message}\"}}}}"),
            microversion: named,
        };
    }
    Document {
        status: StatusCode::OK,
        content_type: asked.best_content_type.unwrap_or(JSON),
        body: json::own(edition, version, max, &Links::roots(edition, asked, json::escape)),
        microversion: named,
    }
}

/// Serializers of the releases that had more than one.
enum Form {
    Json,
    Xml,
    Atom,
}

impl Form {
    fn of(content_type: &str) -> Self {
        match content_type {
            "application/xml" | "application/vnd.openstack.compute+xml" => Self::Xml,
            "application/atom+xml" => Self::Atom,
            _ => Self::Json,
        }
    }
}

#[cfg(test)]
mod tests;
