//! `cors`: lets pages of other origins call the API (oslo.middleware's CORS, Mitaka and later).
//!
//! The request always goes on; the answer is decorated on its way out. One that has
//! `Access-Control-Allow-Origin` already is left alone. The answer to OPTIONS is 200 whatever came from below.
//! Must not know what the API does.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

use super::headers::{joined, single};
use super::prelude::*;
use crate::config::Setting;

/// What it takes, with the defaults that Nova puts in place of oslo.middleware's since Newton.
static OPTIONS: &[OptionSpec] = &[
    spec("allowed_origin", "", "origins that may call, `PROTOCOL://HOST[:PORT]` each, or * for all"),
    spec("allow_credentials", "true", "whether they may send credentials"),
    spec(
        "expose_headers",
        "X-Auth-Token,X-Openstack-Request-Id,X-Subject-Token,X-Service-Token,X-OpenStack-Nova-API-Version,\
         OpenStack-API-Version",
        "headers of answers that their pages may see",
    ),
    spec("max_age", "3600", "seconds for which a browser may keep a permission; 0 = it is not told"),
    spec("allow_methods", "GET,PUT,POST,DELETE,PATCH", "methods that they may use"),
    spec(
        "allow_headers",
        "X-Auth-Token,X-Openstack-Request-Id,X-Identity-Status,X-Roles,X-Service-Catalog,X-User-Id,X-Tenant-Id,\
         X-OpenStack-Nova-API-Version,OpenStack-API-Version",
        "headers that they may send, beside those that every page may",
    ),
    OptionSpec { name: "latent_expose_headers", group: "", default: "", help: "added to expose_headers (Mitaka)" },
    OptionSpec { name: "latent_allow_methods", group: "", default: "", help: "added to allow_methods (Mitaka)" },
    OptionSpec { name: "latent_allow_headers", group: "", default: "", help: "added to allow_headers (Mitaka)" },
];

const fn spec(name: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, group: "cors", default, help }
}

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "cors",
    about: "lets pages of other origins call the API",
    eras: "Mitaka and later",
    aliases: &[
        "oslo_middleware.cors:filter_factory",
        "oslo_middleware.cors:CORS.factory",
        "oslo_middleware:CORS.factory",
        "oslo.middleware.cors:filter_factory",
        "egg:oslo.middleware#cors",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build,
};

/// oslo.middleware's own defaults, which hold up to Mitaka, allow no header and all of these methods.
const ALL_METHODS: &[&str] = &["OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "PATCH"];
const NOVA_METHODS: &[&str] = &["GET", "PUT", "POST", "DELETE", "PATCH"];
const NOVA_ALLOWS: &[&str] = &[
    "X-Auth-Token",
    "X-Openstack-Request-Id",
    "X-Identity-Status",
    "X-Roles",
    "X-Service-Catalog",
    "X-User-Id",
    "X-Tenant-Id",
    "X-OpenStack-Nova-API-Version",
    "OpenStack-API-Version",
];
const NOVA_EXPOSES: &[&str] = &[
    "X-Auth-Token",
    "X-Openstack-Request-Id",
    "X-Subject-Token",
    "X-Service-Token",
    "X-OpenStack-Nova-API-Version",
    "OpenStack-API-Version",
];
/// Nobody has to ask for these.
const SIMPLE: &[&str] = &[
    "Accept",
    "Accept-Language",
    "Content-Type",
    "Cache-Control",
    "Content-Language",
    "Expires",
    "Last-Modified",
    "Pragma",
];

fn build(build: &mut Build<'_>) -> Option<Box<dyn Filter>> {
    let project = build.local("oslo_config_project");
    let own_origin = build.local("allowed_origin");
    build.oslo_config();
    if project.is_none() && own_origin.is_none() {
        let help = "write `oslo_config_project = nova` into the section to use [cors] of nova.conf";
        build.error(None, "allowed_origin or oslo_config_project is required", help);
    }

    let mut latent = |name| {
        let setting = build.local(name);
        build.list(setting, &[])
    };
    let latent = [latent("latent_expose_headers"), latent("latent_allow_methods"), latent("latent_allow_headers")];

    let own_origin = own_origin.or_else(|| build.local_or_conf("cors", "allowed_origin"));
    let main = RULES.map(|name| build.local_or_conf("cors", name));
    let mut groups = vec![(own_origin, main.clone())];
    let sub_origin = build.conf("cors.subdomain", "allowed_origin");
    if sub_origin.is_some() && (Release::MITAKA..=Release::OCATA).contains(&build.release) {
        // The one further group that everybody's sample files had; what it does not say, [cors] says.
        let mut main = main.into_iter();
        groups.push((sub_origin, RULES.map(|name| build.conf("cors.subdomain", name).or(main.next().flatten()))));
    }
    let mut origins = HashMap::new();
    for (origin, settings) in groups {
        let rules = Arc::new(Rules::take(build, settings, &latent));
        for name in build.list(origin, &[]) {
            // The first group that names an origin has it.
            origins.entry(name).or_insert_with(|| Arc::clone(&rules));
        }
    }
    Some(Box::new(Cors { origins }))
}

/// The options that make up [`Rules`].
const RULES: [&str; 5] = ["allow_credentials", "expose_headers", "max_age", "allow_methods", "allow_headers"];

impl Rules {
    /// Reads the values of [`RULES`] and adds the latent headers to expose, methods and headers to allow.
    fn take(build: &mut Build<'_>, settings: [Option<Setting>; 5], latent: &[Vec<String>; 3]) -> Self {
        let (exposes, methods, allows) = if build.release >= Release::NEWTON {
            (NOVA_EXPOSES, NOVA_METHODS, NOVA_ALLOWS)
        } else {
            (&[][..], ALL_METHODS, &[][..])
        };
        let [credentials, expose, max_age, allow_methods, allow_headers] = settings;
        let [more_exposed, more_methods, more_headers] = latent;
        let exposed = [build.list(expose, exposes).as_slice(), more_exposed].concat();
        let simple: Vec<_> = SIMPLE.iter().map(|&name| name.to_owned()).collect();
        Self {
            credentials: build.flag(credentials, true),
            expose_headers: if exposed.is_empty() { None } else { HeaderValue::from_str(&exposed.join(",")).ok() },
            max_age: build.integer(max_age, 3600),
            methods: [build.list(allow_methods, methods).as_slice(), more_methods].concat(),
            headers: [build.list(allow_headers, allows).as_slice(), more_headers, &simple].concat(),
        }
    }
}

struct Cors {
    origins: HashMap<String, Arc<Rules>>,
}

/// What an origin may do.
struct Rules {
    credentials: bool,
    expose_headers: Option<HeaderValue>,
    max_age: i64,
    methods: Vec<String>,
    headers: Vec<String>,
}

impl Filter for Cors {
    fn sees_requests(&self) -> bool {
        false
    }

    fn response(&self, _: &mut Context, request: &Request, response: &mut Response) {
        if response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        let asks = request.method() == Method::OPTIONS;
        if asks && !response.status().is_success() {
            *response = Response::new(Body::Empty);
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let headers = request.headers();
        if !headers.contains_key(ORIGIN) {
            return;
        }
        let Some((origin, rules)) = self.rules(single(headers, &ORIGIN)) else { return };
        if asks {
            preflight(request.headers(), response.headers_mut(), origin, rules);
        } else {
            decorate(response.headers_mut(), origin, rules);
        }
    }
}

impl Cors {
    /// What an origin may do, and under which name: its own, or the star of all. Several have no own name.
    fn rules(&self, origin: Option<&HeaderValue>) -> Option<(HeaderValue, &Rules)> {
        let own = |origin: &HeaderValue| Some((origin.clone(), &**self.origins.get(origin.to_str().ok()?)?));
        if let Some(found) = origin.and_then(own) {
            return Some(found);
        }
        self.origins.get("*").map(|rules| (HeaderValue::from_static("*"), &**rules))
    }
}

/// Answers whether a request may be sent: nothing is added when it may not.
fn preflight(asked: &HeaderMap, headers: &mut HeaderMap, origin: HeaderValue, rules: &Rules) {
    let Some(method) = single(asked, &ACCESS_CONTROL_REQUEST_METHOD) else { return };
    if !rules.methods.iter().any(|allowed| allowed.as_bytes() == method.as_bytes()) {
        return;
    }
    let wanted = joined(asked, &ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let wanted: Vec<_> = wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if !wanted.iter().all(|name| rules.headers.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))) {
        return;
    }
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if rules.credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if rules.max_age != 0 {
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(rules.max_age));
    }
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    if !wanted.is_empty()
        && let Ok(wanted) = HeaderValue::from_str(&wanted.join(","))
    {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    }
}

/// Lets the page see the answer. Of several `Vary` headers only the last one is left, and grows, as the original has it
/// (`response.headers['Vary'] += ',Origin'` on WebOb's headers).
fn decorate(headers: &mut HeaderMap, origin: HeaderValue, rules: &Rules) {
    let last = headers.get_all(VARY).iter().next_back();
    let grown = last.and_then(|last| HeaderValue::from_bytes(&[last.as_bytes(), b",Origin"].concat()).ok());
    headers.insert(VARY, grown.unwrap_or(HeaderValue::from_static("Origin")));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if rules.credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if let Some(expose) = &rules.expose_headers {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, answer, build, built, head, text};

    const HORIZON: &str = "https://horizon.example.com";
    const PROJECT: &[(&str, &str)] = &[("oslo_config_project", "nova")];

    fn filter() -> Box<dyn Filter> {
        built(
            &FACTORY,
            Release::NOVA_31,
            PROJECT,
            &[("cors", "allowed_origin", "http://other:8080, https://horizon.example.com")],
        )
    }

    fn ask(origin: &str, method: Option<&str>, headers: Option<&str>) -> Case {
        let mut case = Case::new("OPTIONS", "/v2.1/x").header("origin", origin);
        if let Some(method) = method {
            case = case.header("access-control-request-method", method);
        }
        if let Some(headers) = headers {
            case = case.header("access-control-request-headers", headers);
        }
        case
    }

    fn get(origin: &str) -> Case {
        Case::new("GET", "/v2.1/x").header("origin", origin)
    }

    #[test]
    fn a_permitted_question_is_answered_in_the_originals_order() {
        let mut case = ask(HORIZON, Some("PUT"), Some("X-Auth-Token, content-type"));
        let response = case.through(&*filter(), answer(401, &[("www-authenticate", "Keystone")]));
        assert_eq!(response.status(), 200);
        assert_eq!(
            head(&response),
            [
                "vary: Origin",
                "access-control-allow-origin: https://horizon.example.com",
                "access-control-allow-credentials: true",
                "access-control-max-age: 3600",
                "access-control-allow-methods: PUT",
                "access-control-allow-headers: X-Auth-Token,content-type",
            ]
        );
        assert_eq!(text(response), "");
    }

    #[test]
    fn a_question_that_is_not_permitted_gets_an_empty_200() {
        for mut case in [
            ask(HORIZON, Some("PUT"), Some("X-Auth-Token, Content-Type, X-Foo")),
            ask(HORIZON, Some("TRACE"), None),
            ask(HORIZON, Some("put"), None),
            ask(HORIZON, None, None),
            ask("http://evil", Some("GET"), None),
            Case::new("OPTIONS", "/v2.1/x"),
        ] {
            let response = case.through(&*filter(), answer(404, &[("x-from", "below")]));
            assert_eq!(response.status(), 200);
            assert_eq!(head(&response), Vec::<String>::new());
            assert_eq!(response.headers()[CONTENT_LENGTH], "0");
        }
    }

    #[test]
    fn an_answer_of_the_app_to_options_is_kept() {
        let response = ask(HORIZON, Some("GET"), None).through(&*filter(), answer(204, &[("allow", "GET")]));
        assert_eq!(response.status(), 204);
        assert_eq!(head(&response).len(), 6);
    }

    #[test]
    fn other_answers_are_decorated_and_vary_grows() {
        let expose = "access-control-expose-headers: X-Auth-Token,X-Openstack-Request-Id,X-Subject-Token,\
                      X-Service-Token,X-OpenStack-Nova-API-Version,OpenStack-API-Version";
        let response = get("http://other:8080").through(&*filter(), answer(200, &[]));
        assert_eq!(
            head(&response),
            [
                "vary: Origin",
                "access-control-allow-origin: http://other:8080",
                "access-control-allow-credentials: true",
                expose
            ]
        );
        let below = answer(200, &[("vary", "OpenStack-API-Version"), ("vary", "X-OpenStack-Nova-API-Version")]);
        let response = get(HORIZON).through(&*filter(), below);
        assert_eq!(
            head(&response)[..2],
            ["vary: X-OpenStack-Nova-API-Version,Origin", "access-control-allow-origin: https://horizon.example.com"]
        );
    }

    #[test]
    fn strangers_and_decorated_answers_are_left_alone() {
        assert!(head(&get("http://evil").through(&*filter(), answer(200, &[]))).is_empty());
        assert!(head(&Case::new("GET", "/").through(&*filter(), answer(200, &[]))).is_empty());
        assert!(head(&get(HORIZON).header("origin", HORIZON).through(&*filter(), answer(200, &[]))).is_empty());
        let mut twice = ask(HORIZON, Some("GET"), None).header("access-control-request-method", "GET");
        assert!(head(&twice.through(&*filter(), answer(200, &[]))).is_empty());
        let below = answer(404, &[("access-control-allow-origin", "*")]);
        let response = ask(HORIZON, Some("GET"), None).through(&*filter(), below);
        assert_eq!(response.status(), 404);
        assert_eq!(head(&response), ["access-control-allow-origin: *"]);
    }

    #[test]
    fn a_star_stands_for_all_others() {
        let local = [("allowed_origin", "*"), ("allow_credentials", "false"), ("expose_headers", "")];
        let filter = built(&FACTORY, Release::NEWEST, &local, &[]);
        assert_eq!(
            head(&get("http://x").through(&*filter, answer(200, &[]))),
            ["vary: Origin", "access-control-allow-origin: *"]
        );
    }

    #[test]
    fn mitaka_had_latent_options_and_a_second_group() {
        let local = [("oslo_config_project", "nova"), ("latent_expose_headers", "X-Auth-Token")];
        let conf = [
            ("cors", "allowed_origin", "http://a"),
            ("cors", "max_age", "0"),
            ("cors.subdomain", "allowed_origin", "http://b"),
            ("cors.subdomain", "max_age", "5"),
        ];
        let filter = built(&FACTORY, Release::MITAKA, &local, &conf);
        let exposed = head(&get("http://a").through(&*filter, answer(200, &[])));
        assert_eq!(exposed.last().unwrap(), "access-control-expose-headers: X-Auth-Token");
        let age = |origin| {
            let asked = head(&ask(origin, Some("TRACE"), None).through(&*filter, answer(200, &[])));
            asked.iter().find(|h| h.starts_with("access-control-max-age")).cloned()
        };
        assert_eq!(age("http://a"), None);
        assert_eq!(age("http://b").as_deref(), Some("access-control-max-age: 5"));
    }

    #[test]
    fn the_reference_shows_the_defaults_that_hold() {
        for (name, want) in
            [("allow_methods", NOVA_METHODS), ("allow_headers", NOVA_ALLOWS), ("expose_headers", NOVA_EXPOSES)]
        {
            let shown = OPTIONS.iter().find(|option| option.name == name).map(|option| option.default);
            assert_eq!(shown, Some(want.join(",").as_str()), "{name}");
        }
    }

    #[test]
    fn a_section_that_names_neither_origin_nor_project_is_an_error() {
        let (_, _, findings) = build(&FACTORY, Release::NEWEST, &[], &[("cors", "allowed_origin", "*")]);
        assert!(findings[0].message.contains("allowed_origin or oslo_config_project is required"), "{findings:?}");
    }
}
