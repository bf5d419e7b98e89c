//! Options by which Nova's API programs launch and listen (`nova/service.py`, `nova/wsgi.py`, `nova/conf/`), 2013.2
//! to 2026.2.
//!
//! Must not know how a value is found.

use super::{Item, Kind, Opt, options};
use crate::command::Class::{self, Live, Rebind, Rolling};
use crate::release::Release;

const FIRST: Release = Release::HAVANA;
const APIS: &[&str] = &["osapi_compute", "metadata"];
/// The strategies left once the old noauth was gone.
const STRATEGIES: &[&str] = &["keystone", "noauth2"];

const fn default(name: &'static str, kind: Kind, change: Class) -> Opt {
    Opt::new("DEFAULT", name, kind, change)
}

/// Options that moved from `[DEFAULT]` to `[wsgi]` in Newton.
const fn wsgi(name: &'static str, was: &'static [(&'static str, &'static str)], kind: Kind, change: Class) -> Opt {
    Opt::new("wsgi", name, kind, change).was(was, Release::NEWTON)
}

/// Options that moved from `[DEFAULT]` to `[api]` in Ocata.
const fn api(name: &'static str, was: &'static [(&'static str, &'static str)], kind: Kind) -> Opt {
    Opt::new("api", name, kind, Rolling).was(was, Release::OCATA)
}

/// Nova checks the number itself until Zed, and oslo.config from then on.
const fn workers(name: &'static str) -> Opt {
    default(name, Kind::INT, Live).stricter(Release::ZED, Kind::at_least(1))
}

options! {
    /// The APIs to serve, in the order of their start.
    ENABLED_APIS = default("enabled_apis", Kind::LIST, Rebind)
        .stricter(Release::ZED, Kind::List(Item::Choice(APIS)))
        .defaults(&[(FIRST, "ec2,osapi_compute,metadata"), (Release::MITAKA, "osapi_compute,metadata")]);
    /// Those of them that speak TLS.
    ENABLED_SSL_APIS = default("enabled_ssl_apis", Kind::LIST, Live).defaults(&[(FIRST, "")]);
    /// The address that the EC2 API listens on.
    EC2_LISTEN = default("ec2_listen", Kind::Text, Rebind).defaults(&[(FIRST, "0.0.0.0")]);
    /// The port of the EC2 API.
    EC2_LISTEN_PORT = default("ec2_listen_port", Kind::PORT, Rebind).defaults(&[(FIRST, "8773")]);
    /// The number of workers of the EC2 API.
    EC2_WORKERS = workers("ec2_workers");
    /// The address that the compute API listens on.
    OSAPI_COMPUTE_LISTEN = default("osapi_compute_listen", Kind::Text, Rebind).defaults(&[(FIRST, "0.0.0.0")]);
    /// The port of the compute API.
    OSAPI_COMPUTE_LISTEN_PORT = default("osapi_compute_listen_port", Kind::PORT, Rebind).defaults(&[(FIRST, "8774")]);
    /// The number of workers of the compute API.
    OSAPI_COMPUTE_WORKERS = workers("osapi_compute_workers");
    /// The address that the metadata API listens on.
    METADATA_LISTEN = default("metadata_listen", Kind::Text, Rebind).defaults(&[(FIRST, "0.0.0.0")]);
    /// The port of the metadata API.
    METADATA_LISTEN_PORT = default("metadata_listen_port", Kind::PORT, Rebind).defaults(&[(FIRST, "8775")]);
    /// The number of workers of the metadata API.
    METADATA_WORKERS = workers("metadata_workers");
    /// The address that any other API listens on.
    API_LISTEN = default("<api>_listen", Kind::Text, Rebind).defaults(&[(FIRST, "0.0.0.0")]);
    /// The port of any other API; 0 lets the kernel choose.
    API_LISTEN_PORT = default("<api>_listen_port", Kind::PORT, Rebind).defaults(&[(FIRST, "0")]);
    /// The number of workers of any other API.
    API_WORKERS = workers("<api>_workers");
    /// The class whose hooks run in each metadata worker.
    METADATA_MANAGER = default("metadata_manager", Kind::Text, Rolling)
        .defaults(&[(FIRST, "nova.api.manager.MetadataManager")]);
    /// The Paste file.
    API_PASTE_CONFIG = wsgi("api_paste_config", &[("DEFAULT", "api_paste_config")], Kind::Text, Rolling)
        .defaults(&[(FIRST, "api-paste.ini")]);
    /// The access log's line, a Python format.
    WSGI_LOG_FORMAT = wsgi("wsgi_log_format", &[("DEFAULT", "wsgi_log_format")], Kind::Text, Live).defaults(&[(
        FIRST,
        "%(client_ip)s \"%(request_line)s\" status: %(status_code)s len: %(body_length)s time: %(wall_seconds).7f",
    )]);
    /// With it, clients must show a certificate that this authority has signed.
    SSL_CA_FILE = wsgi("ssl_ca_file", &[("DEFAULT", "ssl_ca_file")], Kind::Text, Live);
    /// The certificate of the APIs in enabled_ssl_apis.
    SSL_CERT_FILE = wsgi("ssl_cert_file", &[("DEFAULT", "ssl_cert_file")], Kind::Text, Live);
    /// Its private key.
    SSL_KEY_FILE = wsgi("ssl_key_file", &[("DEFAULT", "ssl_key_file")], Kind::Text, Live);
    /// Seconds before an idle connection is probed by TCP.
    TCP_KEEPIDLE = wsgi("tcp_keepidle", &[("DEFAULT", "tcp_keepidle")], Kind::at_least(0), Live)
        .defaults(&[(FIRST, "600")]);
    /// Requests that one process of Nova takes at once.
    DEFAULT_POOL_SIZE =
        wsgi("default_pool_size", &[("DEFAULT", "wsgi_default_pool_size")], Kind::at_least(0), Rolling)
            .defaults(&[(FIRST, "1000")]);
    /// The longest line of a request's head, in bytes.
    MAX_HEADER_LINE = wsgi("max_header_line", &[("DEFAULT", "max_header_line")], Kind::at_least(0), Live)
        .defaults(&[(FIRST, "16384")]);
    /// Whether a connection may carry several requests.
    KEEP_ALIVE = wsgi("keep_alive", &[("DEFAULT", "wsgi_keep_alive")], Kind::Bool, Live)
        .defaults(&[(FIRST, "true")]);
    /// Seconds that a client may be silent; 0 is for ever.
    CLIENT_SOCKET_TIMEOUT =
        wsgi("client_socket_timeout", &[("DEFAULT", "client_socket_timeout")], Kind::at_least(0), Live)
            .defaults(&[(FIRST, "0"), (Release::KILO, "900")]);
    /// The environ key of a header that tells the scheme of the original request.
    SECURE_PROXY_SSL_HEADER =
        wsgi("secure_proxy_ssl_header", &[("DEFAULT", "secure_proxy_ssl_header")], Kind::Text, Rolling);
    /// The pipelines of the Paste file to use: keystone, noauth2, noauth.
    AUTH_STRATEGY = api("auth_strategy", &[("DEFAULT", "auth_strategy")], Kind::Text)
        .stricter(Release::NEWTON, Kind::Choice(STRATEGIES))
        .defaults(&[(FIRST, "noauth"), (Release::JUNO, "keystone")])
        .gone(Release::NOVA_32);
    /// Whether requests are rate-limited; without it `<strategy>_nolimit` is used where there is one.
    API_RATE_LIMIT = default("api_rate_limit", Kind::Bool, Rolling).defaults(&[(FIRST, "false")]).gone(Release::NEWTON);
    /// Whether X-Forwarded-For is the client's address.
    USE_FORWARDED_FOR = api("use_forwarded_for", &[("DEFAULT", "use_forwarded_for")], Kind::Bool)
        .defaults(&[(FIRST, "false")]).gone(Release::NOVA_31);
    /// Put in place of scheme and host in the links of version documents.
    COMPUTE_LINK_PREFIX = api("compute_link_prefix", &[("DEFAULT", "osapi_compute_link_prefix")], Kind::Text);
    /// The same in links to images.
    GLANCE_LINK_PREFIX = api("glance_link_prefix", &[("DEFAULT", "osapi_glance_link_prefix")], Kind::Text);
    /// The longest list that the compute API answers.
    MAX_LIMIT = api("max_limit", &[("DEFAULT", "osapi_max_limit")], Kind::at_least(0)).defaults(&[(FIRST, "1000")]);
    /// Whether the v3 API is served.
    OSAPI_V21_ENABLED = Opt::new("osapi_v21", "enabled", Kind::Bool, Rolling)
        .was(&[("osapi_v3", "enabled")], Release::LIBERTY)
        .defaults(&[(FIRST, "false"), (Release::LIBERTY, "true")]);
    /// Extensions of the v3 API that are not loaded.
    OSAPI_V21_EXTENSIONS_BLACKLIST = Opt::new("osapi_v21", "extensions_blacklist", Kind::LIST, Rolling)
        .was(&[("osapi_v3", "extensions_blacklist")], Release::LIBERTY)
        .defaults(&[(FIRST, "")]);
    /// The only extensions of the v3 API that are loaded.
    OSAPI_V21_EXTENSIONS_WHITELIST = Opt::new("osapi_v21", "extensions_whitelist", Kind::LIST, Rolling)
        .was(&[("osapi_v3", "extensions_whitelist")], Release::LIBERTY)
        .defaults(&[(FIRST, "")]);
    /// A port or range for a Python console in each worker.
    BACKDOOR_PORT = default("backdoor_port", Kind::Text, Rolling);
    /// Seconds that requests may take to end after SIGTERM, those that change something drain_kill_timeout; 0: all that.
    GRACEFUL_SHUTDOWN_TIMEOUT =
        default("graceful_shutdown_timeout", Kind::at_least(0), Live).defaults(&[(FIRST, "60")]);
    /// Whether all option values are logged at DEBUG.
    LOG_OPTIONS = default("log_options", Kind::Bool, Live).defaults(&[(FIRST, "true")]);
    /// The name of this host.
    HOST = default("host", Kind::Text, Rolling);
    /// The address of this host.
    MY_IP = default("my_ip", Kind::Text, Rolling);
    /// Whether IPv6 is used.
    USE_IPV6 = default("use_ipv6", Kind::Bool, Rolling).defaults(&[(FIRST, "false")]);
    /// Where Nova keeps its state; its default is known to Nova's Python alone.
    STATE_PATH = default("state_path", Kind::Text, Rolling).defaults(&[(FIRST, "$pybasedir")]);
    /// Memcached servers for counters that all workers share.
    MEMCACHED_SERVERS = default("memcached_servers", Kind::LIST, Rolling);
}
