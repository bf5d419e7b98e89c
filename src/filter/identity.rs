//! Who may say who a client is: the headers that carry a validated identity, and the factories that set or read them.
//!
//! On every API whose tree holds such a factory, the front removes these headers from what clients send, so that
//! nobody can spoof them, whichever filter of the tree the request passes.
//! Must not know how an identity is validated.

/// Whether a request header carries an identity that only an auth filter may set.
///
/// The names are those that keystonemiddleware's auth_token sets (13.0 and every earlier release), `X-User` and its
/// kin from before, and `OpenStack-System-Scope`, which no release removed by itself. `-` and `_` are alike, as they
/// are in a WSGI environ. `name` is in lower case, as [`http::HeaderName`] has it.
pub fn is_identity_header(name: &str) -> bool {
    if !name.starts_with(['x', 'o']) {
        return false;
    }
    if name.contains('_') { is_named(&name.replace('_', "-")) } else { is_named(name) }
}

fn is_named(name: &str) -> bool {
    let Some(name) = name.strip_prefix("x-") else { return name == "openstack-system-scope" };
    match name.strip_prefix("service-") {
        Some("identity-status" | "roles" | "catalog") => true,
        Some(whose) => is_person(whose),
        None => {
            is_person(name)
                || matches!(
                    name,
                    "identity-status"
                        | "roles"
                        | "role"
                        | "user"
                        | "tenant"
                        | "tenant-id"
                        | "tenant-name"
                        | "is-admin-project"
                )
        }
    }
}

/// The ten names that a user and a service have alike.
fn is_person(name: &str) -> bool {
    matches!(
        name,
        "user-id"
            | "user-name"
            | "user-domain-id"
            | "user-domain-name"
            | "project-id"
            | "project-name"
            | "project-domain-id"
            | "project-domain-name"
            | "domain-id"
            | "domain-name"
    )
}

/// Parts of the names of factories that set an identity, or believe the headers of one.
const MARKS: &[&str] = &[
    "auth_token",
    "keystonecontext",
    "keystoneauth",
    "noauth",
    "basic_auth",
    "basicauth",
    "oauth2",
    "contextmiddleware",
    "tempauth",
    "ec2token",
];

/// Whether a factory (`module:attr` or `egg:Dist#name`) is an auth filter: authtoken in all its spellings, Nova's and
/// others' keystonecontext and noauth, the EC2 pair, basic auth, the OAuth2 filters.
///
/// Meant to err on the side of removing: an unknown service's filter that merely sounds like one counts too.
pub fn is_auth_factory(factory: &str) -> bool {
    let factory = factory.to_ascii_lowercase();
    MARKS.iter().any(|mark| factory.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_cannot_be_spoofed_in_any_spelling() {
        for name in [
            "x-user-id",
            "x-user",
            "x-role",
            "x-roles",
            "x-tenant",
            "x-project-domain-name",
            "x-service-catalog",
            "x-service-roles",
            "x-service-project-domain-id",
            "x-service-identity-status",
            "x-is-admin-project",
            "openstack-system-scope",
            "x_user_id",
            "x-user_id",
            "openstack_system_scope",
        ] {
            assert!(is_identity_header(name), "{name}");
        }
    }

    #[test]
    fn what_a_client_has_to_say_stays() {
        for name in [
            "x-auth-token",
            "x-storage-token",
            "x-service-token",
            "x-auth-user",
            "x-auth-project-id",
            "x-openstack-request-id",
            "openstack-api-version",
            "x-service-role",
            "x-forwarded-for",
            "accept",
            "x-",
            "",
        ] {
            assert!(!is_identity_header(name), "{name}");
        }
    }

    #[test]
    fn auth_filters_are_known_by_their_factories() {
        for factory in [
            "keystoneclient.middleware.auth_token:filter_factory",
            "keystonemiddleware.auth_token:filter_factory",
            "keystone.middleware.auth_token:filter_factory",
            "egg:keystonemiddleware#auth_token",
            "nova.api.auth:NovaKeystoneContext.factory",
            "cinder.api.middleware.auth:CinderKeystoneContext.factory",
            "nova.api.openstack.auth:NoAuthMiddleware.factory",
            "nova.api.openstack.auth:NoAuthMiddlewareV2_18.factory",
            "nova.api.ec2:EC2KeystoneAuth.factory",
            "nova.api.ec2:NoAuth.factory",
            "oslo_middleware:BasicAuthMiddleware.factory",
            "egg:oslo.middleware#basic_auth",
            "keystonemiddleware.external_oauth2_token:filter_factory",
            "egg:keystonemiddleware#oauth2_token",
            "glance.api.middleware.context:ContextMiddleware.factory",
        ] {
            assert!(is_auth_factory(factory), "{factory}");
        }
        for factory in [
            "nova.api.openstack:FaultWrapper.factory",
            "nova.api.auth:pipeline_factory",
            "nova.api.ec2:Authorizer.factory",
            "egg:oslo.middleware#cors",
            "egg:Paste#urlmap",
        ] {
            assert!(!is_auth_factory(factory), "{factory}");
        }
    }
}
