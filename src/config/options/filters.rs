//! Options of nova.conf that filters and Nova's small apps read.
//!
//! Must not know the filters.

use super::{Kind, Opt, options};
use crate::command::Class::{Live, Rolling};
use crate::release::Release;

const FIRST: Release = Release::HAVANA;

/// Options of filters that the front runs by itself.
const fn front(group: &'static str, name: &'static str, kind: Kind) -> Opt {
    Opt::new(group, name, kind, Live)
}

/// Options that the worker's side reads too.
const fn worker(group: &'static str, name: &'static str, kind: Kind) -> Opt {
    Opt::new(group, name, kind, Rolling)
}

options! {
    /// Origins that browsers may call from; `*` is any.
    CORS_ALLOWED_ORIGIN = front("cors", "allowed_origin", Kind::LIST);
    /// Whether such calls may carry credentials.
    CORS_ALLOW_CREDENTIALS = front("cors", "allow_credentials", Kind::Bool).defaults(&[(FIRST, "true")]);
    /// Response headers that scripts may read.
    CORS_EXPOSE_HEADERS = front("cors", "expose_headers", Kind::LIST).defaults(&[(
        FIRST,
        "X-Auth-Token,X-Openstack-Request-Id,X-Subject-Token,X-Service-Token,X-OpenStack-Nova-API-Version,\
         OpenStack-API-Version",
    )]);
    /// Seconds that a browser may remember the answer.
    CORS_MAX_AGE = front("cors", "max_age", Kind::INT).defaults(&[(FIRST, "3600")]);
    /// Methods that scripts may use.
    CORS_ALLOW_METHODS = front("cors", "allow_methods", Kind::LIST).defaults(&[(FIRST, "GET,PUT,POST,DELETE,PATCH")]);
    /// Request headers that scripts may send.
    CORS_ALLOW_HEADERS = front("cors", "allow_headers", Kind::LIST).defaults(&[(
        FIRST,
        "X-Auth-Token,X-Openstack-Request-Id,X-Identity-Status,X-Roles,X-Service-Catalog,X-User-Id,X-Tenant-Id,\
         X-OpenStack-Nova-API-Version,OpenStack-API-Version",
    )]);
    /// The longest body of a request, in bytes.
    MAX_REQUEST_BODY_SIZE = front("oslo_middleware", "max_request_body_size", Kind::INT)
        .was(&[("DEFAULT", "osapi_max_request_body_size"), ("DEFAULT", "max_request_body_size")], Release::KILO)
        .defaults(&[(FIRST, "114688")]);
    /// Whether X-Forwarded-* and Forwarded are believed.
    ENABLE_PROXY_HEADERS_PARSING = front("oslo_middleware", "enable_proxy_headers_parsing", Kind::Bool)
        .defaults(&[(FIRST, "false")]);
    /// The users of the basic_auth filter, in the format of htpasswd.
    HTTP_BASIC_AUTH_USER_FILE =
        front("oslo_middleware", "http_basic_auth_user_file", Kind::Text).defaults(&[(FIRST, "/etc/htpasswd")]);
    /// The header by which the ssl filter knows the scheme of a client's request.
    OSLO_SECURE_PROXY_SSL_HEADER = front("oslo_middleware", "secure_proxy_ssl_header", Kind::Text)
        .defaults(&[(FIRST, "X-Forwarded-Proto")]);
    /// The path that the health check answers.
    HEALTHCHECK_PATH = front("healthcheck", "path", Kind::Text).defaults(&[(FIRST, "/healthcheck")]);
    /// Whether it tells about the process.
    HEALTHCHECK_DETAILED = front("healthcheck", "detailed", Kind::Bool).defaults(&[(FIRST, "false")]);
    /// The checks that it makes.
    HEALTHCHECK_BACKENDS = front("healthcheck", "backends", Kind::LIST).defaults(&[(FIRST, "")]);
    /// Who may ask; nobody is refused when empty.
    HEALTHCHECK_ALLOWED_SOURCE_RANGES =
        front("healthcheck", "allowed_source_ranges", Kind::LIST).defaults(&[(FIRST, "")]);
    /// Whether requests that came through a proxy are passed on.
    HEALTHCHECK_IGNORE_PROXIED_REQUESTS =
        front("healthcheck", "ignore_proxied_requests", Kind::Bool).defaults(&[(FIRST, "false")]);
    /// A file whose presence makes the check fail.
    HEALTHCHECK_DISABLE_BY_FILE_PATH = front("healthcheck", "disable_by_file_path", Kind::Text);
    /// The same by port: `port:path` pairs.
    HEALTHCHECK_DISABLE_BY_FILE_PATHS =
        front("healthcheck", "disable_by_file_paths", Kind::LIST).defaults(&[(FIRST, "")]);
    /// Files that must be there.
    HEALTHCHECK_ENABLE_BY_FILE_PATHS =
        front("healthcheck", "enable_by_file_paths", Kind::LIST).defaults(&[(FIRST, "")]);
    /// Where clients get tokens, as WWW-Authenticate tells them.
    AUTHTOKEN_WWW_AUTHENTICATE_URI = front("keystone_authtoken", "www_authenticate_uri", Kind::Text);
    /// The older name of www_authenticate_uri.
    AUTHTOKEN_AUTH_URI = front("keystone_authtoken", "auth_uri", Kind::Text);
    /// Whether requests without a valid token go on to the app.
    AUTHTOKEN_DELAY_AUTH_DECISION = front("keystone_authtoken", "delay_auth_decision", Kind::Bool).defaults(&[(FIRST, "false")]);
    /// Whether the catalog is asked for and passed on.
    AUTHTOKEN_INCLUDE_SERVICE_CATALOG = front("keystone_authtoken", "include_service_catalog", Kind::Bool).defaults(&[(FIRST, "true")]);
    /// What bound tokens need: disabled, permissive, strict, required, or a kind of binding.
    AUTHTOKEN_ENFORCE_TOKEN_BIND = front("keystone_authtoken", "enforce_token_bind", Kind::Text).defaults(&[(FIRST, "permissive")]);
    /// Roles that make a token a service's, which lets an expired token of a user pass.
    AUTHTOKEN_SERVICE_TOKEN_ROLES = front("keystone_authtoken", "service_token_roles", Kind::LIST).defaults(&[(FIRST, "service")]);
    /// Whether a service token needs one of them.
    AUTHTOKEN_SERVICE_TOKEN_ROLES_REQUIRED = front("keystone_authtoken", "service_token_roles_required", Kind::Bool).defaults(&[(FIRST, "false"), (Release::NOVA_31, "true")]);
    /// The type of this service, for the access rules of application credentials.
    AUTHTOKEN_SERVICE_TYPE = front("keystone_authtoken", "service_type", Kind::Text);
    /// The kind of account that Keystone is asked with: password, v3password, v3applicationcredential, token.
    AUTHTOKEN_AUTH_TYPE = front("keystone_authtoken", "auth_type", Kind::Text);
    /// The older name of auth_type.
    AUTHTOKEN_AUTH_PLUGIN = front("keystone_authtoken", "auth_plugin", Kind::Text);
    /// Another group in which the account stands.
    AUTHTOKEN_AUTH_SECTION = front("keystone_authtoken", "auth_section", Kind::Text);
    /// Keystone, where the account gets its token.
    AUTHTOKEN_AUTH_URL = front("keystone_authtoken", "auth_url", Kind::Text);
    /// The version of Keystone's API for validation; found out when unset.
    AUTHTOKEN_AUTH_VERSION = front("keystone_authtoken", "auth_version", Kind::Text);
    /// Which of the endpoints in its catalog Keystone is asked at.
    AUTHTOKEN_INTERFACE = front("keystone_authtoken", "interface", Kind::Text).defaults(&[(FIRST, "admin"), (Release::VICTORIA, "internal")]);
    /// The region of that endpoint.
    AUTHTOKEN_REGION_NAME = front("keystone_authtoken", "region_name", Kind::Text);
    /// The name of the account.
    AUTHTOKEN_USERNAME = front("keystone_authtoken", "username", Kind::Text);
    /// The same.
    AUTHTOKEN_USER_NAME = front("keystone_authtoken", "user_name", Kind::Text);
    /// The id of the account.
    AUTHTOKEN_USER_ID = front("keystone_authtoken", "user_id", Kind::Text);
    /// The id of the account's domain.
    AUTHTOKEN_USER_DOMAIN_ID = front("keystone_authtoken", "user_domain_id", Kind::Text);
    /// The name of the account's domain.
    AUTHTOKEN_USER_DOMAIN_NAME = front("keystone_authtoken", "user_domain_name", Kind::Text);
    /// The password of the account.
    AUTHTOKEN_PASSWORD = front("keystone_authtoken", "password", Kind::Text).secret();
    /// The id of the account's project.
    AUTHTOKEN_PROJECT_ID = front("keystone_authtoken", "project_id", Kind::Text);
    /// The same.
    AUTHTOKEN_TENANT_ID = front("keystone_authtoken", "tenant_id", Kind::Text);
    /// The name of the account's project.
    AUTHTOKEN_PROJECT_NAME = front("keystone_authtoken", "project_name", Kind::Text);
    /// The same.
    AUTHTOKEN_TENANT_NAME = front("keystone_authtoken", "tenant_name", Kind::Text);
    /// The id of that project's domain.
    AUTHTOKEN_PROJECT_DOMAIN_ID = front("keystone_authtoken", "project_domain_id", Kind::Text);
    /// The name of that project's domain.
    AUTHTOKEN_PROJECT_DOMAIN_NAME = front("keystone_authtoken", "project_domain_name", Kind::Text);
    /// The id of the domain that the account acts for.
    AUTHTOKEN_DOMAIN_ID = front("keystone_authtoken", "domain_id", Kind::Text);
    /// The name of the domain that the account acts for.
    AUTHTOKEN_DOMAIN_NAME = front("keystone_authtoken", "domain_name", Kind::Text);
    /// Set to all, the account acts for the whole cloud.
    AUTHTOKEN_SYSTEM_SCOPE = front("keystone_authtoken", "system_scope", Kind::Text);
    /// The trust that the account acts by.
    AUTHTOKEN_TRUST_ID = front("keystone_authtoken", "trust_id", Kind::Text);
    /// The id of the domain where none is named.
    AUTHTOKEN_DEFAULT_DOMAIN_ID = front("keystone_authtoken", "default_domain_id", Kind::Text);
    /// The name of the domain where none is named.
    AUTHTOKEN_DEFAULT_DOMAIN_NAME = front("keystone_authtoken", "default_domain_name", Kind::Text);
    /// The id of an application credential.
    AUTHTOKEN_APPLICATION_CREDENTIAL_ID = front("keystone_authtoken", "application_credential_id", Kind::Text);
    /// The name of an application credential.
    AUTHTOKEN_APPLICATION_CREDENTIAL_NAME = front("keystone_authtoken", "application_credential_name", Kind::Text);
    /// The secret of an application credential.
    AUTHTOKEN_APPLICATION_CREDENTIAL_SECRET = front("keystone_authtoken", "application_credential_secret", Kind::Text).secret();
    /// A token to ask with, instead of an account.
    AUTHTOKEN_TOKEN = front("keystone_authtoken", "token", Kind::Text).secret();
    /// Keystone, for auth_type admin_token.
    AUTHTOKEN_ENDPOINT = front("keystone_authtoken", "endpoint", Kind::Text);
    /// Keystone, in one piece; before it auth_protocol, auth_host and auth_port.
    AUTHTOKEN_IDENTITY_URI = front("keystone_authtoken", "identity_uri", Kind::Text);
    /// The host of Keystone.
    AUTHTOKEN_AUTH_HOST = front("keystone_authtoken", "auth_host", Kind::Text).defaults(&[(FIRST, "127.0.0.1")]);
    /// The port of Keystone.
    AUTHTOKEN_AUTH_PORT = front("keystone_authtoken", "auth_port", Kind::INT).defaults(&[(FIRST, "35357")]);
    /// The protocol of Keystone.
    AUTHTOKEN_AUTH_PROTOCOL = front("keystone_authtoken", "auth_protocol", Kind::Text).defaults(&[(FIRST, "https")]);
    /// What its paths begin with.
    AUTHTOKEN_AUTH_ADMIN_PREFIX = front("keystone_authtoken", "auth_admin_prefix", Kind::Text).defaults(&[(FIRST, "")]);
    /// Keystone's bootstrap token, instead of an account.
    AUTHTOKEN_ADMIN_TOKEN = front("keystone_authtoken", "admin_token", Kind::Text).secret();
    /// The name of the account.
    AUTHTOKEN_ADMIN_USER = front("keystone_authtoken", "admin_user", Kind::Text);
    /// The password of the account.
    AUTHTOKEN_ADMIN_PASSWORD = front("keystone_authtoken", "admin_password", Kind::Text).secret();
    /// The project of the account.
    AUTHTOKEN_ADMIN_TENANT_NAME = front("keystone_authtoken", "admin_tenant_name", Kind::Text).defaults(&[(FIRST, "admin")]);
    /// Seconds that Keystone may be silent; 60 for a whole exchange when it is not set.
    AUTHTOKEN_HTTP_CONNECT_TIMEOUT = front("keystone_authtoken", "http_connect_timeout", Kind::INT);
    /// How often a connection to Keystone is tried again.
    AUTHTOKEN_HTTP_REQUEST_MAX_RETRIES = front("keystone_authtoken", "http_request_max_retries", Kind::INT).defaults(&[(FIRST, "3")]);
    /// Certificates that Keystone's must come from; those of the system when unset.
    AUTHTOKEN_CAFILE = front("keystone_authtoken", "cafile", Kind::Text);
    /// The front's own certificate for Keystone.
    AUTHTOKEN_CERTFILE = front("keystone_authtoken", "certfile", Kind::Text);
    /// The key of that certificate.
    AUTHTOKEN_KEYFILE = front("keystone_authtoken", "keyfile", Kind::Text);
    /// Whether Keystone's certificate is not checked.
    AUTHTOKEN_INSECURE = front("keystone_authtoken", "insecure", Kind::Bool).defaults(&[(FIRST, "false")]);
    /// A cache in the WSGI environ, which only a worker can use.
    AUTHTOKEN_CACHE = front("keystone_authtoken", "cache", Kind::Text);
    /// Memcached servers, for a memory that all services share; each front has its own when unset.
    AUTHTOKEN_MEMCACHED_SERVERS = front("keystone_authtoken", "memcached_servers", Kind::LIST);
    /// Seconds that Keystone's answers are remembered; -1 is not at all.
    AUTHTOKEN_TOKEN_CACHE_TIME = front("keystone_authtoken", "token_cache_time", Kind::INT).defaults(&[(FIRST, "300")]);
    /// How entries in memcached are protected: MAC signs them, ENCRYPT hides them too.
    AUTHTOKEN_MEMCACHE_SECURITY_STRATEGY = front("keystone_authtoken", "memcache_security_strategy", Kind::AnyCase(&["None", "MAC", "ENCRYPT"]));
    /// The key for that.
    AUTHTOKEN_MEMCACHE_SECRET_KEY = front("keystone_authtoken", "memcache_secret_key", Kind::Text).secret();
    /// Whether connections to memcached are kept in a pool.
    AUTHTOKEN_MEMCACHE_USE_ADVANCED_POOL = front("keystone_authtoken", "memcache_use_advanced_pool", Kind::Bool).defaults(&[(FIRST, "false"), (Release::XENA, "true")]);
    /// Seconds after which a dead memcached is tried again.
    AUTHTOKEN_MEMCACHE_POOL_DEAD_RETRY = front("keystone_authtoken", "memcache_pool_dead_retry", Kind::INT).defaults(&[(FIRST, "300")]);
    /// Connections to one memcached.
    AUTHTOKEN_MEMCACHE_POOL_MAXSIZE = front("keystone_authtoken", "memcache_pool_maxsize", Kind::INT).defaults(&[(FIRST, "10")]);
    /// Seconds that memcached may take.
    AUTHTOKEN_MEMCACHE_POOL_SOCKET_TIMEOUT = front("keystone_authtoken", "memcache_pool_socket_timeout", Kind::INT).defaults(&[(FIRST, "3")]);
    /// Seconds after which an idle connection to it is closed.
    AUTHTOKEN_MEMCACHE_POOL_UNUSED_TIMEOUT = front("keystone_authtoken", "memcache_pool_unused_timeout", Kind::INT).defaults(&[(FIRST, "60")]);
    /// Seconds that a question waits for a connection to it.
    AUTHTOKEN_MEMCACHE_POOL_CONN_GET_TIMEOUT = front("keystone_authtoken", "memcache_pool_conn_get_timeout", Kind::INT).defaults(&[(FIRST, "10")]);
    /// Whether memcached wants a name and a password.
    AUTHTOKEN_MEMCACHE_SASL_ENABLED = front("keystone_authtoken", "memcache_sasl_enabled", Kind::Bool).defaults(&[(FIRST, "false")]);
    /// That name.
    AUTHTOKEN_MEMCACHE_USERNAME = front("keystone_authtoken", "memcache_username", Kind::Text).defaults(&[(FIRST, "")]);
    /// That password.
    AUTHTOKEN_MEMCACHE_PASSWORD = front("keystone_authtoken", "memcache_password", Kind::Text).defaults(&[(FIRST, "")]).secret();
    /// Whether memcached is spoken to by TLS.
    AUTHTOKEN_MEMCACHE_TLS_ENABLED = front("keystone_authtoken", "memcache_tls_enabled", Kind::Bool).defaults(&[(FIRST, "false")]);
    /// Certificates that memcached's must come from.
    AUTHTOKEN_MEMCACHE_TLS_CAFILE = front("keystone_authtoken", "memcache_tls_cafile", Kind::Text);
    /// The front's own certificate for memcached.
    AUTHTOKEN_MEMCACHE_TLS_CERTFILE = front("keystone_authtoken", "memcache_tls_certfile", Kind::Text);
    /// The key of that certificate.
    AUTHTOKEN_MEMCACHE_TLS_KEYFILE = front("keystone_authtoken", "memcache_tls_keyfile", Kind::Text);
    /// Ciphers for that, in OpenSSL's words.
    AUTHTOKEN_MEMCACHE_TLS_ALLOWED_CIPHERS = front("keystone_authtoken", "memcache_tls_allowed_ciphers", Kind::Text);
    /// Where what signed tokens (PKI) are verified with is kept, up to Stein; in memory when unset.
    AUTHTOKEN_SIGNING_DIR = front("keystone_authtoken", "signing_dir", Kind::Text);
    /// Seconds that the list of revoked signed tokens is remembered, up to Rocky.
    AUTHTOKEN_REVOCATION_CACHE_TIME = front("keystone_authtoken", "revocation_cache_time", Kind::INT).defaults(&[(FIRST, "1"), (Release::ICEHOUSE, "300"), (Release::JUNO, "10")]);
    /// Whether remembered tokens are looked up in that list, from Juno to Rocky.
    AUTHTOKEN_CHECK_REVOCATIONS_FOR_CACHED = front("keystone_authtoken", "check_revocations_for_cached", Kind::Bool).defaults(&[(FIRST, "false")]);
    /// What signed tokens are shortened by, from Juno to Stein; the first of them in caches.
    AUTHTOKEN_HASH_ALGORITHMS = front("keystone_authtoken", "hash_algorithms", Kind::LIST).defaults(&[(FIRST, "md5")]);
    /// Whether requests are traced.
    PROFILER_ENABLED = worker("profiler", "enabled", Kind::Bool).defaults(&[(FIRST, "false")]);
    /// Keystone's answer to EC2 signatures.
    KEYSTONE_EC2_URL =
        front("DEFAULT", "keystone_ec2_url", Kind::Text).defaults(&[(FIRST, "http://localhost:5000/v2.0/ec2tokens")]);
    /// Whether Keystone's certificate is not checked for them.
    KEYSTONE_EC2_INSECURE = front("DEFAULT", "keystone_ec2_insecure", Kind::Bool).defaults(&[(FIRST, "false")]);
    /// Seconds that an EC2 request is good for.
    EC2_TIMESTAMP_EXPIRY = worker("DEFAULT", "ec2_timestamp_expiry", Kind::INT).defaults(&[(FIRST, "300")]);
    /// Whether EC2 arguments are checked strictly.
    EC2_STRICT_VALIDATION = worker("DEFAULT", "ec2_strict_validation", Kind::Bool).defaults(&[(FIRST, "true")]);
    /// Whether EC2 answers name private addresses.
    EC2_PRIVATE_DNS_SHOW_IP = worker("DEFAULT", "ec2_private_dns_show_ip", Kind::Bool).defaults(&[(FIRST, "false")]);
    /// Failed EC2 authentications before a lockout.
    LOCKOUT_ATTEMPTS = front("DEFAULT", "lockout_attempts", Kind::INT).defaults(&[(FIRST, "5")]);
    /// Minutes that a lockout lasts.
    LOCKOUT_MINUTES = front("DEFAULT", "lockout_minutes", Kind::INT).defaults(&[(FIRST, "15")]);
    /// Minutes within which the failures count.
    LOCKOUT_WINDOW = front("DEFAULT", "lockout_window", Kind::INT).defaults(&[(FIRST, "15")]);
    /// Whether metadata requests come through Neutron's proxy.
    SERVICE_METADATA_PROXY = worker("neutron", "service_metadata_proxy", Kind::Bool)
        .was(
            &[("DEFAULT", "service_neutron_metadata_proxy"), ("DEFAULT", "service_quantum_metadata_proxy")],
            Release::JUNO,
        )
        .defaults(&[(FIRST, "false")]);
    /// What that proxy signs with.
    METADATA_PROXY_SHARED_SECRET = worker("neutron", "metadata_proxy_shared_secret", Kind::Text)
        .was(
            &[
                ("DEFAULT", "neutron_metadata_proxy_shared_secret"),
                ("DEFAULT", "quantum_metadata_proxy_shared_secret"),
            ],
            Release::JUNO,
        )
        .defaults(&[(FIRST, "")])
        .secret();
}
