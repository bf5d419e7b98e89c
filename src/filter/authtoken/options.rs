//! What `authtoken` may be told, in a section of its own and in `[keystone_authtoken]`.
//!
//! Must not know what the options do; accounts and endpoints are [`Keystone`](super::keystone::Keystone)'s, those of
//! caches are [`TokenCache`](super::cache::TokenCache)'s, those for signed tokens [`Pki`](super::pki::Pki)'s.

use super::bind::Mode;
use super::era::Era;
use crate::config::{Setting, Via};
use crate::filter::{Build, OptionSpec};

/// The group of nova.conf.
pub const GROUP: &str = "keystone_authtoken";

/// Options that 13.0 does not know: a section that has one means what its last release made of it.
const LEGACY: [&str; 11] = [
    "auth_uri",
    "auth_host",
    "auth_port",
    "auth_protocol",
    "auth_admin_prefix",
    "identity_uri",
    "admin_token",
    "admin_user",
    "admin_password",
    "admin_tenant_name",
    "auth_plugin",
];

/// The options that the filter itself acts upon.
#[derive(Debug)]
pub struct Policy {
    /// Requests without a valid token go on; the app decides.
    pub delay: bool,
    /// Whether the catalog is asked for and passed on.
    pub catalog: bool,
    /// `enforce_token_bind`
    pub bind: Mode,
    /// Roles that make a token a service's.
    pub service_roles: Vec<String>,
    /// Whether a service token needs one of them.
    pub service_roles_required: bool,
    /// The type of this service, for access rules.
    pub service_type: Option<String>,
}

/// Takes an option that somebody has set: of the section, of the Paste file's `[DEFAULT]`, or of nova.conf.
pub fn take(build: &mut Build<'_>, name: &str) -> Option<Setting> {
    build.local_or_conf(GROUP, name).filter(|setting| setting.via != Via::BuiltIn)
}

/// Which release answers.
pub fn era(build: &mut Build<'_>, client: bool) -> Era {
    let legacy = LEGACY.iter().any(|name| build.has(GROUP, name));
    Era::of(build.release, client, legacy)
}

/// A flag. keystoneclient took the text of a Paste file as it was, and every text but the empty one for true.
fn flag(build: &mut Build<'_>, era: Era, name: &str, default: bool) -> bool {
    match take(build, name) {
        Some(setting) if era < Era::KSM_1_0 && setting.via != Via::Conf => !setting.value.is_empty(),
        setting => build.flag(setting, default),
    }
}

impl Policy {
    /// Takes them.
    pub fn take(build: &mut Build<'_>, era: Era) -> Self {
        let delay = match take(build, "delay_auth_decision") {
            Some(setting) if era < Era::KSM_1_0 && setting.via != Via::Conf => {
                matches!(setting.value.as_str(), "true" | "t" | "1" | "on" | "yes" | "y")
            }
            setting => build.flag(setting, false),
        };
        let catalog = flag(build, era, "include_service_catalog", true);
        let bind = take(build, "enforce_token_bind").map_or(Mode::Permissive, |setting| Mode::of(&setting.value));
        let roles = take(build, "service_token_roles");
        let service_roles = build.list(roles, &["service"]);
        let required = take(build, "service_token_roles_required");
        let service_roles_required = build.flag(required, era >= Era::KSM_13_0);
        let service_type = take(build, "service_type").map(|setting| setting.value);
        Self {
            delay,
            catalog: catalog || era < Era::CLIENT_0_6,
            bind: if era < Era::CLIENT_0_6 { Mode::Disabled } else { bind },
            service_roles,
            service_roles_required: service_roles_required && era >= Era::KSM_4_12,
            service_type,
        }
    }
}

/// Where clients get tokens, as the options say it.
pub fn uri(build: &mut Build<'_>, era: Era) -> Option<String> {
    let new = take(build, "www_authenticate_uri").filter(|_| era >= Era::KSM_4_18);
    let old = take(build, "auth_uri");
    new.or(old).map(|setting| setting.value).filter(|uri| !uri.is_empty())
}

/// Takes what has no meaning here: the names of logs and files.
pub fn take_the_rest(build: &mut Build<'_>) {
    build.oslo_config();
    for name in ["log_name", "configkey", "http_handler"] {
        take(build, name);
    }
}

/// Every option.
pub static OPTIONS: &[OptionSpec] = &[
    spec("www_authenticate_uri", "", "where clients get tokens, as WWW-Authenticate tells them"),
    spec("auth_uri", "", "the older name of www_authenticate_uri"),
    spec("delay_auth_decision", "false", "whether requests without a valid token go on to the app"),
    spec("include_service_catalog", "true", "whether the catalog is asked for and passed on"),
    spec(
        "enforce_token_bind",
        "permissive",
        "what bound tokens need: disabled, permissive, strict, required, or a kind of binding",
    ),
    spec(
        "service_token_roles",
        "service",
        "roles that make a token a service's, which lets an expired token of a user pass",
    ),
    spec("service_token_roles_required", "true", "whether a service token needs one of them"),
    spec("service_type", "", "the type of this service, for the access rules of application credentials"),
    spec(
        "auth_type",
        "",
        "the kind of account that Keystone is asked with: password, v3password, v3applicationcredential, token",
    ),
    spec("auth_plugin", "", "the older name of auth_type"),
    spec("auth_section", "", "another group in which the account stands"),
    spec("auth_url", "", "Keystone, where the account gets its token"),
    spec("auth_version", "", "the version of Keystone's API for validation; found out when unset"),
    spec("interface", "internal", "which of the endpoints in its catalog Keystone is asked at"),
    spec("region_name", "", "the region of that endpoint"),
    spec("username", "", "the name of the account"),
    spec("user_name", "", "the same"),
    spec("user_id", "", "the id of the account"),
    spec("user_domain_id", "", "the id of the account's domain"),
    spec("user_domain_name", "", "the name of the account's domain"),
    spec("password", "", "the password of the account"),
    spec("project_id", "", "the id of the account's project"),
    spec("tenant_id", "", "the same"),
    spec("project_name", "", "the name of the account's project"),
    spec("tenant_name", "", "the same"),
    spec("project_domain_id", "", "the id of that project's domain"),
    spec("project_domain_name", "", "the name of that project's domain"),
    spec("domain_id", "", "the id of the domain that the account acts for"),
    spec("domain_name", "", "the name of the domain that the account acts for"),
    spec("system_scope", "", "set to all, the account acts for the whole cloud"),
    spec("trust_id", "", "the trust that the account acts by"),
    spec("default_domain_id", "", "the id of the domain where none is named"),
    spec("default_domain_name", "", "the name of the domain where none is named"),
    spec("application_credential_id", "", "the id of an application credential"),
    spec("application_credential_name", "", "the name of an application credential"),
    spec("application_credential_secret", "", "the secret of an application credential"),
    spec("token", "", "a token to ask with, instead of an account"),
    spec("endpoint", "", "Keystone, for auth_type admin_token"),
    spec("identity_uri", "", "Keystone, in one piece; before it auth_protocol, auth_host and auth_port"),
    spec("auth_host", "127.0.0.1", "the host of Keystone"),
    spec("auth_port", "35357", "the port of Keystone"),
    spec("auth_protocol", "https", "the protocol of Keystone"),
    spec("auth_admin_prefix", "", "what its paths begin with"),
    spec("admin_token", "", "Keystone's bootstrap token, instead of an account"),
    spec("admin_user", "", "the name of the account"),
    spec("admin_password", "", "the password of the account"),
    spec("admin_tenant_name", "admin", "the project of the account"),
    spec("http_connect_timeout", "", "seconds that Keystone may be silent; 60 for a whole exchange when it is not set"),
    spec("http_request_max_retries", "3", "how often a connection to Keystone is tried again"),
    spec("cafile", "", "certificates that Keystone's must come from; those of the system when unset"),
    spec("certfile", "", "the front's own certificate for Keystone"),
    spec("keyfile", "", "the key of that certificate"),
    spec("insecure", "false", "whether Keystone's certificate is not checked"),
    spec("cache", "", "a cache in the WSGI environ, which only a worker can use"),
    spec(
        "memcached_servers",
        "",
        "memcached servers, for a memory that all services share; each front has its own when unset",
    ),
    spec("token_cache_time", "300", "seconds that Keystone's answers are remembered; -1 is not at all"),
    spec(
        "memcache_security_strategy",
        "",
        "how entries in memcached are protected: MAC signs them, ENCRYPT hides them too",
    ),
    spec("memcache_secret_key", "", "the key for that"),
    spec("memcache_use_advanced_pool", "true", "whether connections to memcached are kept in a pool"),
    spec("memcache_pool_dead_retry", "300", "seconds after which a dead memcached is tried again"),
    spec("memcache_pool_maxsize", "10", "connections to one memcached"),
    spec("memcache_pool_socket_timeout", "3", "seconds that memcached may take"),
    spec("memcache_pool_unused_timeout", "60", "seconds after which an idle connection to it is closed"),
    spec("memcache_pool_conn_get_timeout", "10", "seconds that a question waits for a connection to it"),
    spec("memcache_sasl_enabled", "false", "whether memcached wants a name and a password"),
    spec("memcache_username", "", "that name"),
    spec("memcache_password", "", "that password"),
    spec("memcache_tls_enabled", "false", "whether memcached is spoken to by TLS"),
    spec("memcache_tls_cafile", "", "certificates that memcached's must come from"),
    spec("memcache_tls_certfile", "", "the front's own certificate for memcached"),
    spec("memcache_tls_keyfile", "", "the key of that certificate"),
    spec("memcache_tls_allowed_ciphers", "", "ciphers for that, in OpenSSL's words"),
    spec(
        "signing_dir",
        "",
        "where what signed tokens (PKI) are verified with is kept, up to Stein; in memory when unset",
    ),
    spec("revocation_cache_time", "10", "seconds that the list of revoked signed tokens is remembered, up to Rocky"),
    spec(
        "check_revocations_for_cached",
        "false",
        "whether remembered tokens are looked up in that list, from Juno to Rocky",
    ),
    spec(
        "hash_algorithms",
        "md5",
        "what signed tokens are shortened by, from Juno to Stein; the first of them in caches",
    ),
];

const fn spec(name: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, group: GROUP, default, help }
}
