//! `noauth`, `noauth2`, `noauth_v3`: any name is a token (`nova.api.openstack.auth`).
//!
//! A request without `X-Auth-Token` gets 204 and a made-up token, whatever its path and method. One with a token goes
//! on; the other half, in the worker, makes the context of it.
//! Must not know what the worker makes of a token.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};

use super::prelude::*;

/// No options.
static OPTIONS: &[OptionSpec] = &[];

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const USER: HeaderName = HeaderName::from_static("x-auth-user");
const PROJECT: HeaderName = HeaderName::from_static("x-auth-project-id");
const MANAGEMENT_URL: HeaderName = HeaderName::from_static("x-server-management-url");

/// The filter in the registry, for APIs with the project in their URLs.
pub static FACTORY: Factory = Factory {
    name: "noauth",
    about: "takes everybody for who they say they are",
    eras: "Havana to 31",
    aliases: &[
        "nova.api.openstack.auth:NoAuthMiddleware.factory",
        "nova.api.openstack.auth:NoAuthMiddlewareOld.factory",
    ],
    side: Side::Both,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |_| Some(Box::new(NoAuth { project_in_url: true })),
};

/// The filter in the registry, for APIs without: v3, and v2.1 from microversion 2.18 on.
pub static FACTORY_WITHOUT_PROJECT: Factory = Factory {
    name: "noauth_v3",
    about: "the same, for URLs without a project",
    eras: "Havana to Juno (v3), Mitaka to 31",
    aliases: &[
        "nova.api.openstack.auth:NoAuthMiddlewareV3.factory",
        "nova.api.openstack.auth:NoAuthMiddlewareV2_18.factory",
    ],
    side: Side::Both,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |_| Some(Box::new(NoAuth { project_in_url: false })),
};

struct NoAuth {
    project_in_url: bool,
}

impl Filter for NoAuth {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        let Some(token) = request.headers().get(TOKEN) else { return Flow::Reply(self.token(cx, request)) };
        let user = token.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
        // A part of a header's value is one.
        cx.user_id = HeaderValue::from_bytes(user).ok();
        Flow::Next
    }
}

impl NoAuth {
    fn token(&self, cx: &Context, request: &Request) -> Response {
        let said = |name| request.headers().get(name).map_or(&b"admin"[..], |value| value.as_bytes());
        let (user, project) = (said(USER), said(PROJECT));
        let token = [user, b":", project].concat();
        // The query string is a part of the URL, as in the original.
        let mut url = cx.url(request);
        url.truncate(url.trim_end_matches('/').len());
        let mut url = url.into_bytes();
        if self.project_in_url {
            url.push(b'/');
            url.extend_from_slice(project);
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        for (name, value) in [(TOKEN, token), (MANAGEMENT_URL, url)] {
            // Made of header values and an encoded URL, so it always is one.
            if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(value)) {
                headers.insert(name, value);
            }
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, built};

    fn offered(factory: &Factory, script_name: &str, mut case: Case) -> [String; 2] {
        case.cx.script_name = script_name.into();
        case = case.header("host", "127.0.0.1:8774");
        let response = case.enter(&*built(factory, Release::HAVANA, &[], &[])).expect("204");
        assert_eq!(response.status(), 204);
        let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-length", "x-auth-token", "x-server-management-url", "content-type"]);
        assert_eq!(response.headers()[CONTENT_LENGTH], "0");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=UTF-8");
        [TOKEN, MANAGEMENT_URL].map(|name| response.headers()[name].to_str().unwrap().to_owned())
    }

    #[test]
    fn the_recorded_answers_are_ours() {
        assert_eq!(offered(&FACTORY, "/v2", Case::new("GET", "/")), ["admin:admin", "http://127.0.0.1:8774/v2/admin"]);
        assert_eq!(
            offered(&FACTORY, "/v2", Case::new("GET", "/p1/servers")),
            ["admin:admin", "http://127.0.0.1:8774/v2/p1/servers/admin"]
        );
        let named = Case::new("GET", "").header("x-auth-user", "bob").header("x-auth-project-id", "proj");
        assert_eq!(offered(&FACTORY, "/v2", named), ["bob:proj", "http://127.0.0.1:8774/v2/proj"]);
        assert_eq!(
            offered(&FACTORY_WITHOUT_PROJECT, "/v3", Case::new("GET", "")),
            ["admin:admin", "http://127.0.0.1:8774/v3"]
        );
    }

    #[test]
    fn any_method_and_query_gets_it_and_odd_bytes_stay() {
        let named = Case::new("DELETE", "/x?a=b").header("x-auth-user", "é");
        let mut case = named;
        let response = case.enter(&*built(&FACTORY, Release::NEWEST, &[], &[])).expect("204");
        assert_eq!(response.headers()[TOKEN].as_bytes(), "é:admin".as_bytes());
        assert_eq!(response.headers()[MANAGEMENT_URL], "http://localhost/x?a=b/admin");
    }

    #[test]
    fn any_token_goes_on_even_an_empty_one() {
        for token in ["u1:p1", ""] {
            let mut case = Case::new("GET", "/").header("x-auth-token", token);
            assert!(case.enter(&*built(&FACTORY, Release::HAVANA, &[], &[])).is_none());
        }
    }
}
