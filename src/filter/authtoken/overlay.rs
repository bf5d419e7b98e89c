//! The headers that carry an identity, ready to be put on a request: each value is made once per token.
//!
//! Must not know where the values came from.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::era::Era;
use crate::filter::Prepared;

/// A header and its key in the environ.
#[derive(Clone, Copy)]
pub struct Name {
    header: &'static str,
    key: &'static str,
}

const fn name(header: &'static str, key: &'static str) -> Name {
    Name { header, key }
}

/// The ten values of a person: of the user, and of a service.
pub const IDS: [(Name, Name); 10] = [
    (name("x-domain-id", "HTTP_X_DOMAIN_ID"), name("x-service-domain-id", "HTTP_X_SERVICE_DOMAIN_ID")),
    (name("x-domain-name", "HTTP_X_DOMAIN_NAME"), name("x-service-domain-name", "HTTP_X_SERVICE_DOMAIN_NAME")),
    (name("x-project-id", "HTTP_X_PROJECT_ID"), name("x-service-project-id", "HTTP_X_SERVICE_PROJECT_ID")),
    (name("x-project-name", "HTTP_X_PROJECT_NAME"), name("x-service-project-name", "HTTP_X_SERVICE_PROJECT_NAME")),
    (
        name("x-project-domain-id", "HTTP_X_PROJECT_DOMAIN_ID"),
        name("x-service-project-domain-id", "HTTP_X_SERVICE_PROJECT_DOMAIN_ID"),
    ),
    (
        name("x-project-domain-name", "HTTP_X_PROJECT_DOMAIN_NAME"),
        name("x-service-project-domain-name", "HTTP_X_SERVICE_PROJECT_DOMAIN_NAME"),
    ),
    (name("x-user-id", "HTTP_X_USER_ID"), name("x-service-user-id", "HTTP_X_SERVICE_USER_ID")),
    (name("x-user-name", "HTTP_X_USER_NAME"), name("x-service-user-name", "HTTP_X_SERVICE_USER_NAME")),
    (
        name("x-user-domain-id", "HTTP_X_USER_DOMAIN_ID"),
        name("x-service-user-domain-id", "HTTP_X_SERVICE_USER_DOMAIN_ID"),
    ),
    (
        name("x-user-domain-name", "HTTP_X_USER_DOMAIN_NAME"),
        name("x-service-user-domain-name", "HTTP_X_SERVICE_USER_DOMAIN_NAME"),
    ),
];

/// Older names, and the place of their value in [`IDS`].
const OLDER: [(Name, usize); 4] = [
    (name("x-user", "HTTP_X_USER"), 7),
    (name("x-tenant-id", "HTTP_X_TENANT_ID"), 2),
    (name("x-tenant-name", "HTTP_X_TENANT_NAME"), 3),
    (name("x-tenant", "HTTP_X_TENANT"), 3),
];

const CONFIRMED_USER: Name = name("x-identity-status", "HTTP_X_IDENTITY_STATUS");
const ROLES: Name = name("x-roles", "HTTP_X_ROLES");
const ROLE: Name = name("x-role", "HTTP_X_ROLE");
const SERVICE_ROLES: Name = name("x-service-roles", "HTTP_X_SERVICE_ROLES");
const ADMIN_PROJECT: Name = name("x-is-admin-project", "HTTP_X_IS_ADMIN_PROJECT");
const SYSTEM_SCOPE: Name = name("openstack-system-scope", "HTTP_OPENSTACK_SYSTEM_SCOPE");

/// `OpenStack-System-Scope`
pub const SYSTEM_SCOPE_HEADER: &str = SYSTEM_SCOPE.header;
/// `X-Identity-Status`
pub const STATUS: HeaderName = HeaderName::from_static("x-identity-status");
/// `X-Service-Identity-Status`
pub const SERVICE_STATUS: HeaderName = HeaderName::from_static("x-service-identity-status");
/// `X-Service-Catalog`
pub const CATALOG: HeaderName = HeaderName::from_static("x-service-catalog");
/// A token that is good.
pub const CONFIRMED: HeaderValue = HeaderValue::from_static("Confirmed");
/// One that is not.
pub const INVALID: HeaderValue = HeaderValue::from_static("Invalid");

/// What is put on a request.
#[derive(Debug)]
pub struct Overlay {
    /// What can be a header.
    pub headers: Arc<Prepared>,
    /// Keys that are `None`, and texts that are no plain header values.
    pub environ: Arc<[(&'static str, Value)]>,
    keys: Vec<&'static str>,
}

impl Overlay {
    fn of(values: &[(Name, Value)]) -> Self {
        let mut headers = Vec::with_capacity(values.len());
        let mut environ = Vec::new();
        for (name, value) in values {
            let header = match value {
                Value::Null => None,
                Value::String(text) => HeaderValue::from_bytes(text.as_bytes()).ok(),
                other => HeaderValue::try_from(other.to_string()).ok(),
            };
            // A WSGI server decodes header bytes as Latin-1; the original set the text itself.
            if header.is_none() || !value.as_str().is_some_and(str::is_ascii) {
                environ.push((name.key, value.clone()));
            }
            if let Some(header) = header {
                headers.push((HeaderName::from_static(name.header), header));
            }
        }
        let headers = Arc::new(Prepared::new(headers));
        Self { headers, environ: environ.into(), keys: values.iter().map(|(name, _)| name.key).collect() }
    }

    /// Puts them on a request that has none of them: to append is cheaper than to replace.
    pub fn put(&self, headers: &mut HeaderMap) {
        for (name, value) in self.headers.fields() {
            headers.append(name, value.clone());
        }
    }

    /// How many headers it has.
    pub fn len(&self) -> usize {
        self.headers.fields().len()
    }

    /// Whether it says what a key of the environ is, be it `None`.
    pub fn sets(&self, key: &str) -> bool {
        self.keys.contains(&key)
    }
}

/// The headers of a user whose token is good.
pub fn of_user(ids: &[Value; 10], roles: &[String], admin: bool, system: Option<&Value>, era: Era) -> Overlay {
    let mut values = vec![(CONFIRMED_USER, Value::from("Confirmed"))];
    values.extend(IDS.iter().zip(ids).map(|((name, _), value)| (*name, value.clone())));
    for (name, at) in OLDER {
        values.push((name, ids.get(at).cloned().unwrap_or_default()));
    }
    let roles = Value::from(roles.join(","));
    values.push((ROLES, roles.clone()));
    values.push((ROLE, roles));
    if era >= Era::KSM_4_6 {
        values.push((ADMIN_PROJECT, Value::from(if admin { "True" } else { "False" })));
    }
    values.extend(system_scope(system, era));
    Overlay::of(&values)
}

/// The headers of a service. Its scope takes the place of the user's.
pub fn of_service(ids: &[Value; 10], roles: &[String], system: Option<&Value>, era: Era) -> Overlay {
    let mut values: Vec<_> = IDS.iter().zip(ids).map(|((_, name), value)| (*name, value.clone())).collect();
    values.push((SERVICE_ROLES, Value::from(roles.join(","))));
    values.extend(system_scope(system, era));
    Overlay::of(&values)
}

fn system_scope(system: Option<&Value>, era: Era) -> Option<(Name, Value)> {
    (era >= Era::KSM_5_0).then(|| (SYSTEM_SCOPE, if system.is_some() { Value::from("all") } else { Value::Null }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::identity::is_identity_header;

    #[test]
    fn whatever_is_put_on_a_request_was_taken_off_before() {
        let ids: [Value; 10] = std::array::from_fn(|at| Value::from(at.to_string()));
        let (system, roles) = (Value::from(true), ["admin".to_owned(), "member".to_owned()]);
        let user = of_user(&ids, &roles, true, Some(&system), Era::KSM_13_0);
        let service = of_service(&ids, &roles, Some(&system), Era::KSM_13_0);
        assert_eq!((user.len(), service.len()), (19, 12));
        for (name, _) in user.headers.fields().iter().chain(service.headers.fields()) {
            assert!(is_identity_header(name.as_str()), "{name}");
        }
        for name in [STATUS, SERVICE_STATUS, CATALOG] {
            assert!(is_identity_header(name.as_str()), "{name}");
        }
    }

    #[test]
    fn a_key_belongs_to_its_header() {
        for (user, service) in IDS {
            for name in [user, service] {
                assert_eq!(name.key, format!("HTTP_{}", name.header.to_uppercase().replace('-', "_")));
            }
        }
        for (name, _) in OLDER {
            assert_eq!(name.key, format!("HTTP_{}", name.header.to_uppercase().replace('-', "_")));
        }
    }
}
