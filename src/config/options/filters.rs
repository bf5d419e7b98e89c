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
