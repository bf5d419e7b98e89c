//! `keystonecontext`: who the caller is, from the headers that authtoken has set (`nova.api.auth:NovaKeystoneContext`,
//! Havana and later).
//!
//! `nova.context` is a Python object, which the other half makes in the worker. Here is the decision: a request without
//! a user gets 401, and the filters below learn who the user is. Up to Mitaka a project had to be named as well, before
//! the catalog was read; since Newton the catalog is read first.
//! Must not know who has set the headers, or what the worker makes of them.

use http::{HeaderName, HeaderValue, StatusCode};
use serde::de::IgnoredAny;

use super::fault::fault;
use super::prelude::*;
use super::webob::webob;

/// No options of its own.
static OPTIONS: &[OptionSpec] = &[];

static USER_ID: HeaderName = HeaderName::from_static("x-user-id");
static USER: HeaderName = HeaderName::from_static("x-user");
static TENANT_ID: HeaderName = HeaderName::from_static("x-tenant-id");
static TENANT: HeaderName = HeaderName::from_static("x-tenant");
static CATALOG: HeaderName = HeaderName::from_static("x-service-catalog");

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "keystonecontext",
    about: "refuses who has no user, and makes the app's context of the others",
    eras: "Havana and later",
    aliases: &["nova.api.auth:NovaKeystoneContext.factory"],
    side: Side::Both,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |build| Some(Box::new(KeystoneContext { old: build.release < Release::NEWTON })),
};

struct KeystoneContext {
    /// Whether a project must be named.
    old: bool,
}

/// A key of the environ. That a key is there with None is not the same as that it is not there.
enum Said<'a> {
    Nothing,
    None,
    Text(&'a HeaderValue),
}

impl Filter for KeystoneContext {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        if !self.old
            && let Some(response) = bad_catalog(cx, request)
        {
            return Flow::Reply(response);
        }
        let user = match said(cx, request, "HTTP_X_USER_ID", &USER_ID) {
            Said::Nothing => said(cx, request, "HTTP_X_USER", &USER),
            user => user,
        };
        let Said::Text(user) = user else {
            return Flow::Reply(webob(cx.release, StatusCode::UNAUTHORIZED, None, "", request));
        };
        let user = user.clone();
        if self.old {
            let is_named = |key, name| !matches!(said(cx, request, key, name), Said::Nothing);
            if !is_named("HTTP_X_TENANT_ID", &TENANT_ID) && !is_named("HTTP_X_TENANT", &TENANT) {
                // A KeyError. Without faultwrap, what becomes of it is the worker's to show.
                return match cx.faultwrap {
                    true => Flow::Reply(fault(cx, request, StatusCode::INTERNAL_SERVER_ERROR, None, None)),
                    false => Flow::Next,
                };
            }
            if let Some(response) = bad_catalog(cx, request) {
                return Flow::Reply(response);
            }
        }
        cx.user_id = Some(user);
        Flow::Next
    }

    fn sees_responses(&self) -> bool {
        false
    }
}

fn said<'a>(cx: &'a Context, request: &'a Request, key: &str, name: &HeaderName) -> Said<'a> {
    match cx.identity(request, name) {
        Some(value) => Said::Text(value),
        None if cx.has(key) => Said::None,
        None => Said::Nothing,
    }
}

/// The answer to a catalog that is no JSON. One that authtoken wrote is not read again.
fn bad_catalog(cx: &Context, request: &Request) -> Option<Response> {
    if cx.token.is_some() {
        return None;
    }
    let catalog = request.headers().get(&CATALOG)?;
    if serde_json::from_slice::<IgnoredAny>(catalog.as_bytes()).is_ok() {
        return None;
    }
    let detail = "Invalid service catalog json.";
    Some(webob(cx.release, StatusCode::INTERNAL_SERVER_ERROR, None, detail, request))
}

#[cfg(test)]
mod tests {

    use serde_json::Value;

    use super::*;
    use crate::filter::TokenFacts;
    use crate::filter::harness::{Case, built, text};

    fn enter(mut case: Case) -> (Option<Response>, Case) {
        let answer = case.enter(&*built(&FACTORY, case.cx.release, &[], &[]));
        (answer, case)
    }

    fn havana() -> Case {
        Case::new("GET", "/").release(Release::HAVANA)
    }

    #[test]
    fn filters_below_learn_the_user() {
        let (answer, case) = enter(Case::new("GET", "/").header("x-user-id", "u1").header("x-user", "bob"));
        assert!(answer.is_none());
        assert_eq!(case.cx.user_id, Some(HeaderValue::from_static("u1")));
        let (_, case) = enter(havana().header("x-user", "bob").header("x-tenant", "t"));
        assert_eq!(case.cx.user_id, Some(HeaderValue::from_static("bob")));
    }

    #[test]
    fn nobody_gets_401_in_webobs_words() {
        for release in [Release::HAVANA, Release::NEWEST] {
            let (answer, case) = enter(Case::new("GET", "/").release(release).header("x-tenant-id", "t"));
            let answer = answer.expect("401");
            assert_eq!((answer.status().as_u16(), case.cx.user_id), (401, None));
            assert!(text(answer).starts_with("401 Unauthorized\n\nThis server could not verify that you are"));
            // An id that is None is no reason to look for a name.
            let mut null = Case::new("GET", "/").release(release).header("x-user", "bob").header("x-tenant-id", "t");
            null.cx.set("HTTP_X_USER_ID", Value::Null);
            assert_eq!(enter(null).0.expect("401").status(), 401);
        }
    }

    #[test]
    fn a_project_must_be_named_up_to_mitaka_and_may_be_none() {
        let mut case = havana().header("x-user-id", "u1");
        case.cx.faultwrap = true;
        assert_eq!(enter(case).0.expect("500").status(), 500);
        assert!(enter(havana().header("x-user-id", "u1")).0.is_none());
        let mut null = havana().header("x-user-id", "u1");
        (null.cx.faultwrap, _) = (true, null.cx.set("HTTP_X_TENANT_ID", Value::Null));
        assert!(enter(null).0.is_none());
        let mut today = Case::new("GET", "/").header("x-user-id", "u1");
        today.cx.faultwrap = true;
        assert!(enter(today).0.is_none());
    }

    #[test]
    fn a_catalog_that_is_no_json_gets_500() {
        let told = |case: Case| {
            let answer = enter(case.header("x-service-catalog", "[{")).0.expect("an answer");
            (answer.status().as_u16(), text(answer))
        };
        let (status, page) = told(Case::new("GET", "/"));
        assert_eq!(status, 500);
        assert!(page.ends_with("the requested operation.\n\n Invalid service catalog json.  "), "{page}");
        // Which comes first depends on the release.
        assert_eq!(told(havana()).0, 401);
        assert_eq!(told(havana().header("x-user-id", "u").header("x-tenant-id", "t")).0, 500);
        let mut ours = Case::new("GET", "/").header("x-service-catalog", "[{").header("x-user-id", "u1");
        // That authtoken wrote it is all that counts here.
        ours.cx.token = Some(TokenFacts::default());
        assert!(enter(ours).0.is_none());
    }
}
