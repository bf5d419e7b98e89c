//! Who a token stands for: the values of the headers that say it, made once per token.
//!
//! The rules are those of `keystoneauth1.access`, of `keystoneclient.access` before keystonemiddleware 4.0, and of
//! `auth_token._build_user_headers` before keystoneclient 0.8. Must not know requests or caches.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, NaiveDateTime, Utc};
use http::HeaderValue;
use serde_json::{Map, Value};

use super::catalog;
use super::era::Era;
use super::overlay::{self, Overlay};
use super::rules::Rules;
use super::token::NotAToken;
use crate::filter::Prepared;

/// A token's holder and what the token may do.
#[derive(Debug)]
pub struct Identity {
    /// Names of its roles.
    pub roles: Vec<String>,
    /// What it is bound to: `{"kerberos": "principal"}`.
    pub bind: Option<Map<String, Value>>,
    /// The only requests that it may make, if it says so.
    pub rules: Option<Rules>,
    /// Why nobody is let in with it, though Keystone knows it.
    pub flaw: Option<Flaw>,
    /// The headers of a request with it.
    pub user: Overlay,
    /// `X-Service-Catalog`.
    pub catalog: Option<Arc<Prepared>>,
    ids: Ids,
    system: Option<Value>,
    service: OnceLock<Overlay>,
}

/// What a token lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// A project, which one of v2.0 must have: it is not valid.
    NoProject,
    /// A part of which headers are made, or it is null where a project should be: an exception ends every request.
    Incomplete,
}

/// The ten values, in the order of [`overlay::IDS`].
type Ids = [Value; 10];

impl Identity {
    /// Reads Keystone's answer: when the token ends, and whom it stands for.
    ///
    /// # Errors
    /// It is no JSON, or lacks what every token has.
    pub fn parse(body: &[u8], era: Era) -> Result<(DateTime<Utc>, Self), NotAToken> {
        let whole: Value = serde_json::from_slice(body).map_err(|_| NotAToken("the answer is no JSON"))?;
        let (ends, identity) = if let Some(token) = whole.get("token") {
            (token.get("expires_at"), v3(token, era))
        } else if let Some(access) = whole.get("access") {
            let token = access.get("token").ok_or(NO_TOKEN)?;
            (token.get("expires"), v2(access, token, era))
        } else {
            return Err(NO_TOKEN);
        };
        let expires = expires(ends)?;
        match identity {
            Err(_) if era < Era::CLIENT_0_9 => Ok((expires, incomplete(era))),
            identity => Ok((expires, identity?)),
        }
    }

    /// The headers of a request that comes with it as service token.
    pub fn service(&self, era: Era) -> &Overlay {
        self.service.get_or_init(|| overlay::of_service(&self.ids, &self.roles, self.system.as_ref(), era))
    }
}

const NO_TOKEN: NotAToken = NotAToken("the answer holds no token");
const NO_DOMAIN: NotAToken = NotAToken("the project is in no domain");
const NO_USER: NotAToken = NotAToken("the token names no user");

fn v3(token: &Value, era: Era) -> Result<Identity, NotAToken> {
    let user = token.get("user").ok_or(NO_USER)?;
    let must = |of: &Value, name| of.get(name).cloned().ok_or(NO_USER);
    let pair = |of: Option<&Value>| match of {
        Some(of) if truthy(of) => Ok([must(of, "id")?, must(of, "name")?]),
        _ => Ok([Value::Null, Value::Null]),
    };
    let domain = token.get("domain");
    let [domain_id, domain_name] = pair(domain)?;
    // keystoneclient before 0.8 looked for a project only where there is no domain; before 0.9 that had to be in one.
    let alone = era >= Era::CLIENT_0_8 || domain.is_none();
    let project = token.get("project").filter(|project| truthy(project) && alone);
    if project.is_some_and(|project| era < Era::CLIENT_0_9 && project.get("domain").is_none()) {
        return Err(NO_DOMAIN);
    }
    let of_project = |name| project.and_then(|project| project.get(name)).cloned().unwrap_or_default();
    let [project_domain_id, project_domain_name] = pair(project.and_then(|project| project.get("domain")))?;
    let [user_domain_id, user_domain_name] = {
        let domain = user.get("domain").ok_or(NO_USER)?;
        [must(domain, "id")?, must(domain, "name")?]
    };
    let ids = [
        domain_id,
        domain_name,
        of_project("id"),
        of_project("name"),
        project_domain_id,
        project_domain_name,
        must(user, "id")?,
        must(user, "name")?,
        user_domain_id,
        user_domain_name,
    ];
    let catalog = token.get("catalog").map(|catalog| {
        // keystoneclient before 0.9 passed it on in the shape of v3.
        let python3 = era.is_python3();
        if era < Era::CLIENT_0_9 {
            catalog::dumps(catalog, python3)
        } else {
            catalog::dumps(&catalog::as_v2(catalog, python3), python3)
        }
    });
    let admin = token.get("is_admin_project").is_none_or(truthy);
    let system = token.get("system").and_then(|system| system.get("all")).filter(|all| truthy(all)).cloned();
    let rules = Rules::of(token);
    let identity = made(ids, roles(token)?, bind(token), admin, system, catalog, era);
    Ok(Identity { rules, ..identity })
}

fn v2(access: &Value, token: &Value, era: Era) -> Result<Identity, NotAToken> {
    // Every release looks into it.
    if token.get("tenant").is_some_and(|tenant| !tenant.is_object()) {
        return Ok(incomplete(era));
    }
    let user = access.get("user").ok_or(NO_USER)?;
    let [id, name] = if era < Era::CLIENT_0_8 {
        [user.get("id").ok_or(NO_USER)?, user.get("name").ok_or(NO_USER)?].map(Clone::clone)
    } else {
        let name = user.get("name").filter(|name| truthy(name)).or_else(|| user.get("username"));
        [user.get("id"), name].map(|value| value.cloned().unwrap_or_default())
    };
    let [project_id, project_name] = tenant(token, user, era);
    // keystoneclient's own model of a token put everybody of v2.0 into the default domain.
    let of_domain = |there: bool, text: &str| match there && (Era::CLIENT_0_8..Era::KSM_4_1).contains(&era) {
        true => Value::from(text),
        false => Value::Null,
    };
    let has_project = truthy(&project_id);
    let ids = [
        Value::Null,
        Value::Null,
        project_id,
        project_name,
        of_domain(has_project, "default"),
        of_domain(has_project, "Default"),
        id,
        name,
        of_domain(true, "default"),
        of_domain(true, "Default"),
    ];
    let catalog = access.get("serviceCatalog").map(|catalog| catalog::dumps(catalog, era.is_python3()));
    let identity = made(ids, roles(user)?, bind(token), true, None, catalog, era);
    Ok(Identity { flaw: (!has_project).then_some(Flaw::NoProject), ..identity })
}

fn incomplete(era: Era) -> Identity {
    Identity { flaw: Some(Flaw::Incomplete), ..made(Ids::default(), Vec::new(), None, false, None, None, era) }
}

fn made(
    ids: Ids,
    roles: Vec<String>,
    bind: Option<Map<String, Value>>,
    admin: bool,
    system: Option<Value>,
    catalog: Option<String>,
    era: Era,
) -> Identity {
    let user = overlay::of_user(&ids, &roles, admin, system.as_ref(), era);
    let catalog = catalog.and_then(|text| HeaderValue::try_from(text).ok());
    let catalog = catalog.map(|text| Arc::new(Prepared::new(vec![(overlay::CATALOG, text)])));
    Identity { roles, bind, rules: None, flaw: None, user, catalog, ids, system, service: OnceLock::new() }
}

/// The project of a token of v2.0: `tenant` since Essex, before that `tenantId`, before that the user's own.
fn tenant(token: &Value, user: &Value, era: Era) -> [Value; 2] {
    let get = |of: &Value, name: &str| of.get(name).cloned();
    let tenant = token.get("tenant");
    if era < Era::CLIENT_0_8 {
        let both = |id: Option<Value>, name: Option<Value>| Some([id?, name?]);
        tenant
            .and_then(|tenant| both(get(tenant, "id"), get(tenant, "name")))
            .or_else(|| both(get(token, "tenantId"), get(token, "tenantId")))
            .or_else(|| both(get(user, "tenantId"), get(user, "tenantName")))
            .unwrap_or_default()
    } else if let Some(tenant) = tenant {
        [get(tenant, "id").unwrap_or_default(), get(tenant, "name").unwrap_or_default()]
    } else {
        let of = |name| get(user, name).or_else(|| get(token, "tenantId")).unwrap_or_default();
        [of("tenantId"), of("tenantName")]
    }
}

fn roles(of: &Value) -> Result<Vec<String>, NotAToken> {
    let Some(roles) = of.get("roles").and_then(Value::as_array) else { return Ok(Vec::new()) };
    let name = |role: &Value| Some(role.get("name")?.as_str()?.to_owned());
    roles.iter().map(name).collect::<Option<_>>().ok_or(NotAToken("a role has no name"))
}

fn bind(token: &Value) -> Option<Map<String, Value>> {
    token.get("bind").and_then(Value::as_object).filter(|bind| !bind.is_empty()).cloned()
}

/// Texts without a zone are UTC, as in `oslo_utils.timeutils`.
fn expires(value: Option<&Value>) -> Result<DateTime<Utc>, NotAToken> {
    let text = value.and_then(Value::as_str).ok_or(NotAToken("the token does not say when it ends"))?;
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc()))
        .map_err(|_| NotAToken("the token's end is no time"))
}

/// What Python takes for true.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
    }
}

/// Both halves of an environ; the second goes before the first.
pub fn joined(first: &Arc<[(&'static str, Value)]>, second: &Overlay) -> Arc<[(&'static str, Value)]> {
    let own = |key: &str| second.sets(key);
    first.iter().filter(|(key, _)| !own(key)).chain(second.environ.iter()).cloned().collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    /// What a token makes of a request: its headers, and keys of the environ that are no headers.
    fn said(body: &Value, era: Era) -> (Vec<String>, Vec<String>) {
        let (_, identity) = Identity::parse(body.to_string().as_bytes(), era).expect("a token");
        let mut headers = HeaderMap::new();
        identity.user.put(&mut headers);
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect();
        lines.sort();
        (lines, identity.user.environ.iter().map(|(key, value)| format!("{key}={value}")).collect())
    }

    fn v2() -> Value {
        json!({"access": {
            "token": {"id": "good1", "expires": "2026-11-22T12:44:37Z", "tenant": {"id": "t1", "name": "ten-one"}},
            "user": {"id": "u1", "name": "user-one", "roles": [{"name": "admin"}, {"name": "Member"}]},
            "serviceCatalog": [{"type": "volume", "name": "cinder", "endpoints": []}]
        }})
    }

    fn v3() -> Value {
        json!({"token": {
            "expires_at": "2026-11-22T12:49:12.000000Z",
            "project": {"id": "t1", "name": "ten-one", "domain": {"id": "pd", "name": "PDom"}},
            "user": {"id": "u1", "name": "user-one", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "r1", "name": "admin"}, {"id": "r2", "name": "member"}],
            "catalog": [{"type": "identity", "name": "keystone", "endpoints": [
                {"interface": "public", "region": "R1", "region_id": "R1", "url": "http://k/v3", "id": "e"}]}]
        }})
    }

    #[test]
    fn a_token_of_havana_says_what_the_recorded_one_said() {
        let (headers, environ) = said(&v2(), Era::CLIENT_0_4);
        assert_eq!(
            headers,
            [
                "x-identity-status: Confirmed",
                "x-project-id: t1",
                "x-project-name: ten-one",
                "x-role: admin,Member",
                "x-roles: admin,Member",
                "x-tenant-id: t1",
                "x-tenant-name: ten-one",
                "x-tenant: ten-one",
                "x-user-id: u1",
                "x-user-name: user-one",
                "x-user: user-one",
            ]
        );
        let null = |name: &str| format!("HTTP_X_{name}=null");
        let names = ["DOMAIN_ID", "DOMAIN_NAME", "PROJECT_DOMAIN_ID", "PROJECT_DOMAIN_NAME", "USER_DOMAIN_ID"];
        assert_eq!(environ[..5], names.map(null));
        assert_eq!(environ[5..], [null("USER_DOMAIN_NAME")]);
    }

    #[test]
    fn a_token_of_today_says_what_the_recorded_one_said() {
        let (headers, environ) = said(&v3(), Era::KSM_13_0);
        for line in [
            "x-is-admin-project: True",
            "x-project-domain-id: pd",
            "x-project-domain-name: PDom",
            "x-roles: admin,member",
            "x-user-domain-name: Default",
        ] {
            assert!(headers.iter().any(|header| header == line), "{line}");
        }
        assert_eq!(headers.len(), 16);
        assert_eq!(environ, ["HTTP_X_DOMAIN_ID=null", "HTTP_X_DOMAIN_NAME=null", "HTTP_OPENSTACK_SYSTEM_SCOPE=null"]);
    }

    #[test]
    fn the_scope_may_be_a_domain_the_system_or_nothing() {
        let scoped = |with: &str, scope: Value| {
            let mut body = v3();
            let token = body["token"].as_object_mut().unwrap();
            token.remove("project");
            token.insert(with.to_owned(), scope);
            said(&body, Era::KSM_13_0).0
        };
        let domain = scoped("domain", json!({"id": "d1", "name": "D"}));
        assert!(domain.contains(&"x-domain-id: d1".to_owned()) && domain.contains(&"x-domain-name: D".to_owned()));
        assert!(scoped("system", json!({"all": true})).contains(&"openstack-system-scope: all".to_owned()));
        let nothing = scoped("is_admin_project", json!(false));
        assert!(nothing.contains(&"x-is-admin-project: False".to_owned()));
        assert!(!nothing.iter().any(|line| line.contains("tenant") || line.contains("scope")));
    }

    #[test]
    fn the_catalog_has_the_shape_that_each_release_gave_it() {
        let catalog = |body: &Value, era| {
            let (_, identity) = Identity::parse(body.to_string().as_bytes(), era).expect("a token");
            let (_, value) = identity.catalog?.fields()[0].clone();
            Some(value.to_str().unwrap().to_owned())
        };
        assert_eq!(
            catalog(&v3(), Era::KSM_13_0).as_deref(),
            Some(
                r#"[{"type": "identity", "name": "keystone", "endpoints": [{"region": "R1", "publicURL": "http://k/v3"}]}]"#
            )
        );
        assert!(catalog(&v3(), Era::CLIENT_0_4).is_some_and(|text| text.contains("\"interface\": \"public\"")));
        assert_eq!(
            catalog(&v2(), Era::CLIENT_0_4).as_deref(),
            Some(r#"[{"endpoints": [], "type": "volume", "name": "cinder"}]"#)
        );
        let mut without = v2();
        without["access"].as_object_mut().unwrap().remove("serviceCatalog");
        assert_eq!(catalog(&without, Era::CLIENT_0_4), None);
    }

    #[test]
    fn the_project_of_an_old_token_stands_in_one_of_three_places() {
        let with = |token: Value, user: Value, era| {
            let mut body = v2();
            let access = body["access"].as_object_mut().unwrap();
            let mut put = |at: &str, with: Value| {
                let place = access[at].as_object_mut().unwrap();
                place.remove("tenant");
                place.extend(with.as_object().unwrap().clone());
            };
            put("token", token);
            put("user", user);
            let (_, identity) = Identity::parse(body.to_string().as_bytes(), era).expect("a token");
            (identity.flaw.is_none(), identity.ids[2].clone(), identity.ids[3].clone())
        };
        for era in [Era::CLIENT_0_4, Era::KSM_4_4] {
            let own = json!({"tenantId": "t2", "tenantName": "two"});
            assert_eq!(with(json!({}), own, era), (true, json!("t2"), json!("two")));
            assert_eq!(with(json!({"tenantId": "t3"}), json!({}), era), (true, json!("t3"), json!("t3")));
            assert!(!with(json!({}), json!({}), era).0);
        }
    }

    #[test]
    fn keystoneclient_before_0_8_took_each_part_as_it_stood() {
        let flaw =
            |body: &Value| Identity::parse(body.to_string().as_bytes(), Era::CLIENT_0_4).expect("a token").1.flaw;
        let without = |mut body: Value, at: &str, name: &str| {
            body.pointer_mut(at).and_then(Value::as_object_mut).expect("an object").remove(name);
            body
        };
        for (body, at, name) in [
            (v2(), "/access", "user"),
            (v2(), "/access/user", "id"),
            (v2(), "/access/user", "name"),
            (v3(), "/token/user", "domain"),
            (v3(), "/token/project", "domain"),
        ] {
            assert_eq!(flaw(&without(body, at, name)), Some(Flaw::Incomplete), "{at} {name}");
        }
        assert_eq!(flaw(&without(v2(), "/access/token", "tenant")), Some(Flaw::NoProject));
        let mut both = v3();
        both["token"]["domain"] = json!({"id": "d1", "name": "D"});
        for (era, project) in [(Era::CLIENT_0_4, false), (Era::CLIENT_0_8, true)] {
            let (headers, environ) = said(&both, era);
            assert!(headers.contains(&"x-domain-id: d1".to_owned()), "{headers:?}");
            assert_eq!(headers.contains(&"x-project-id: t1".to_owned()), project, "{headers:?}");
            assert_eq!(environ.contains(&"HTTP_X_PROJECT_ID=null".to_owned()), !project, "{environ:?}");
        }
        let mut nameless = v2();
        nameless["access"]["user"]["name"] = Value::Null;
        nameless["access"]["user"]["username"] = json!("login");
        assert!(said(&nameless, Era::CLIENT_0_4).1.contains(&"HTTP_X_USER=null".to_owned()));
    }

    #[test]
    fn names_beyond_ascii_go_as_text_too() {
        let mut body = v3();
        body["token"]["user"]["name"] = json!("Zoë");
        let (headers, environ) = said(&body, Era::KSM_13_0);
        assert!(headers.contains(&"x-user: Zoë".to_owned()));
        assert!(environ.contains(&"HTTP_X_USER_NAME=\"Zoë\"".to_owned()));
        body["token"]["user"]["name"] = json!("a\r\nX-Roles: admin");
        let (headers, environ) = said(&body, Era::KSM_13_0);
        assert!(!headers.iter().any(|line| line.starts_with("x-user:")));
        assert!(environ.iter().any(|line| line.starts_with("HTTP_X_USER=")));
    }

    #[test]
    fn what_is_no_token_is_an_error() {
        for body in ["", "[]", "{}", "{\"token\": {}}", "{\"access\": {}}", "{\"token\": {\"expires_at\": \"soon\"}}"] {
            assert!(Identity::parse(body.as_bytes(), Era::KSM_13_0).is_err(), "{body}");
        }
        let mut body = v3();
        body["token"].as_object_mut().unwrap().remove("user");
        assert!(Identity::parse(body.to_string().as_bytes(), Era::KSM_13_0).is_err());
    }
}
