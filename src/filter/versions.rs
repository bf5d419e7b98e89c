//! `versions` and `version`: Nova's version documents (`nova.api.openstack.compute.versions:Versions` and, from Ussuri
//! on, `VersionsV2`).
//!
//! The apps are the worker's. In front of them, what a client reads first is answered: the list at `/`, the choices for
//! an unknown version, and a version's own document. Which microversions there are only Nova's code knows: the workers
//! tell it, and until they have, the worker answers. It answers as well what is refused (a microversion that it does not
//! have) and whatever has a body. Load balancers decide by these documents: without a worker that does its work the
//! answer is 503.
//! Must not know how a document is written.

use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::prelude::*;
use super::reply::reply;
use crate::versions::{Asked, Edition, document, own_document};

/// What they take.
static OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "compute_link_prefix",
        group: "api",
        default: "",
        help: "what stands in links instead of scheme and host",
    },
    OptionSpec { name: "enabled", group: "osapi_v21", default: "true", help: "whether the second version is listed" },
];

/// The list in the registry.
pub static FACTORY: Factory = Factory {
    name: "versions",
    about: "answers the list of API versions while a worker serves",
    eras: "Havana and later",
    aliases: &["nova.api.openstack.compute.versions:Versions.factory"],
    side: Side::Both,
    makes: Makes::App,
    options: OPTIONS,
    build: |build| self::build(build, false),
};

/// One version's document in the registry.
pub static OWN_FACTORY: Factory = Factory {
    name: "version",
    about: "answers the document of one API version while a worker serves",
    eras: "Ussuri and later",
    aliases: &["nova.api.openstack.compute.versions:VersionsV2.factory"],
    side: Side::Both,
    makes: Makes::App,
    options: OPTIONS,
    build: |build| self::build(build, true),
};

fn build(build: &mut Build<'_>, own: bool) -> Option<Box<dyn Filter>> {
    let options = [("api", "compute_link_prefix"), ("osapi_v21", "enabled")];
    let stated = options
        .iter()
        .filter_map(|(group, name)| build.conf(group, name).map(|setting| (format!("{group}.{name}"), setting.value)));
    let edition = Edition::new(build.release, &stated.collect());
    Some(Box::new(Versions { edition, own }))
}

struct Versions {
    edition: Edition,
    /// The document of one version.
    own: bool,
}

impl Filter for Versions {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        // Nova reads a body, and looks at its type, before it answers.
        let reads = matches!(*request.method(), Method::GET | Method::HEAD)
            && request.body().is_empty()
            && !request.headers().contains_key(CONTENT_TYPE);
        let Some(max) = cx.health.facts().and_then(greatest).filter(|_| reads) else { return Flow::Next };
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let Some(host) = host.filter(|host| !host.is_empty()) else { return Flow::Next };
        let asked = Asked {
            scheme: cx.scheme.as_str(),
            host,
            script_name: &cx.script_name,
            path_info: &cx.path_info,
            best_content_type: cx.best_content_type,
            max: Some(max),
        };
        let document = if self.own {
            let legacy = cx.get("openstack.legacy_v2") == Some(&Value::Bool(true));
            own_document(&self.edition, &asked, legacy, request.headers())
        } else {
            document(&self.edition, &asked)
        };
        if document.status.is_client_error() {
            return Flow::Next;
        }
        if let Err(reason) = cx.health.health() {
            let mut response = reply(request, StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=UTF-8", reason);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return Flow::Reply(response);
        }
        let (headers, content_type) = (document.headers(), HeaderValue::from_str(document.content_type));
        let mut response = reply(request, document.status, "application/json", document.body);
        response.headers_mut().extend(headers);
        if let Ok(content_type) = content_type {
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        Flow::Reply(response)
    }
}

/// The greatest microversion among what the workers told.
fn greatest(facts: &Value) -> Option<&str> {
    facts.get("nova.microversions")?.get(1)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::harness::{Case, built, head, text};

    fn case(method: &str, path: &str) -> Case {
        Case::new(method, path).header("host", "h").told(json!({"nova.microversions": ["2.1", "2.777"]}))
    }

    fn versions() -> Box<dyn Filter> {
        built(&FACTORY, Release::NEWEST, &[], &[])
    }

    fn own() -> Box<dyn Filter> {
        built(&OWN_FACTORY, Release::NEWEST, &[], &[])
    }

    #[test]
    fn the_documents_name_the_microversion_that_the_workers_told() {
        let list = case("GET", "/").enter(&*versions()).expect("an answer");
        assert_eq!(list.status(), 200);
        let list = text(list);
        assert!(list.contains(r#""status": "DEPRECATED", "version": "", "min_version": """#), "{list}");
        assert!(list.contains(r#""status": "CURRENT", "version": "2.777", "min_version": "2.1""#), "{list}");
        let choices = case("GET", "/nope").enter(&*versions()).expect("an answer");
        assert_eq!(
            (choices.status(), &choices.headers()[CONTENT_TYPE]),
            (StatusCode::MULTIPLE_CHOICES, &"application/json".parse().expect("a value"))
        );
        let mut asked = case("GET", "").header("openstack-api-version", "compute latest");
        let document = asked.enter(&*own()).expect("an answer");
        assert!(head(&document).contains(&"x-openstack-nova-api-version: 2.777".to_owned()), "{:?}", head(&document));
        assert!(text(document).contains(r#""version": "2.777""#));
    }

    #[test]
    fn v2_is_told_by_the_filter_above() {
        let mut asked = case("GET", "");
        asked.cx.set("openstack.legacy_v2", true);
        let document = asked.enter(&*own()).expect("an answer");
        assert!(!document.headers().contains_key("openstack-api-version"));
        assert!(text(document).starts_with(r#"{"version": {"id": "v2.0", "#));
    }

    #[test]
    fn what_is_not_known_or_will_be_refused_is_left_to_the_worker() {
        assert!(Case::new("GET", "/").header("host", "h").enter(&*versions()).is_none(), "no facts");
        assert!(case("POST", "/").enter(&*versions()).is_none());
        assert!(case("GET", "/").header("content-type", "text/x").enter(&*versions()).is_none());
        for version in ["2.778", "nonsense"] {
            let mut asked = case("GET", "").header("x-openstack-nova-api-version", version);
            assert!(asked.enter(&*own()).is_none(), "{version}");
        }
    }

    #[test]
    fn without_a_worker_that_works_there_is_no_document() {
        let answer = case("GET", "/").sick("nobody serves").enter(&*versions()).expect("an answer");
        assert_eq!(answer.status(), 503);
        assert_eq!(text(answer), "nobody serves");
    }
}
