//! The options of a load, typed and checked: all that launching, listening and logging need to know.
//!
//! Must not know where a text came from beyond its place, or what is done with a setting.

// Diagnostics are large, and nothing here is on a request's path.
#![allow(clippy::result_large_err)]

mod admin;
mod apis;
mod logging;
mod pasteway;
mod reader;
mod trial;

pub use crate::network::{Network, Trust};
pub use admin::AdminAddress;
pub use apis::{ApiSettings, Chunked, TlsSettings, WorkerKind, WorkerProtocol};
pub use logging::{Level, LogSettings};
pub use pasteway::{Dialect, LogFormat, PasteLibrary, PastewaySettings, ReadyRequest, RuntimeDir, Watch};
pub use trial::TrialSettings;

use std::time::Duration;

use reader::Reader;

use super::interpreter::Interpreter;
use super::options;
use super::oslo::Conf;
use crate::message::Diagnostic;
use crate::release::Release;

/// Everything that nova.conf says to the front.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Whose defaults and answers hold.
    pub release: Release,
    /// In the order of `enabled_apis`.
    pub apis: Vec<ApiSettings>,
    /// `noauth`, `noauth2`, `keystone`: names the pipelines of the Paste file.
    pub auth_strategy: String,
    /// Whether the pipelines with rate limits are used.
    pub api_rate_limit: bool,
    /// The access log's line, a Python format over client_ip, date_time, request_line, status_code, body_length,
    /// wall_seconds.
    pub wsgi_log_format: String,
    /// Before an idle connection is probed by TCP.
    pub tcp_keepidle: Duration,
    /// Longest line of a request's head, in bytes.
    pub max_header_line: usize,
    /// Whether a connection may carry several requests.
    pub keep_alive: bool,
    /// How long a client may be silent; `None` is for ever.
    pub client_socket_timeout: Option<Duration>,
    /// How long requests may take to end after SIGTERM; `None` is for ever.
    pub graceful_shutdown_timeout: Option<Duration>,
    /// The environ key (`HTTP_X_FORWARDED_PROTO`) of a header that tells the scheme of the original request.
    pub secure_proxy_ssl_header: Option<String>,
    /// Whether X-Forwarded-For is the client's address.
    pub use_forwarded_for: bool,
    /// Where log lines go and how they look.
    pub log: LogSettings,
    /// Group `[pasteway]`.
    pub pasteway: PastewaySettings,
}

/// Reads and checks every setting, with the defaults and names of `release`, which is set on `conf` too.
///
/// `cpus` is the default of worker and thread counts. All problems are returned, errors and warnings; there are
/// settings only if none of them is an error.
pub fn settings(conf: &Conf, release: Release, cpus: usize) -> (Option<Settings>, Vec<Diagnostic>) {
    let (settings, found) = draft(conf, release, cpus, None);
    let broken = found.iter().any(Diagnostic::is_error);
    ((!broken).then_some(settings), found)
}

/// The same with stand-ins for what is in error, which is good for looking for more errors, and for nothing else; and
/// as the `interpreter` of Python workers reads the Paste file.
pub fn draft(
    conf: &Conf,
    release: Release,
    cpus: usize,
    interpreter: Option<&Interpreter>,
) -> (Settings, Vec<Diagnostic>) {
    conf.set_release(release);
    let mut read = Reader::new(conf, release, interpreter);
    let graceful_shutdown_timeout = read.timeout(&options::GRACEFUL_SHUTDOWN_TIMEOUT);
    let settings = Settings {
        release,
        apis: apis::apis(&mut read, cpus),
        auth_strategy: read.get(&options::AUTH_STRATEGY),
        api_rate_limit: read.get(&options::API_RATE_LIMIT),
        wsgi_log_format: read.get(&options::WSGI_LOG_FORMAT),
        tcp_keepidle: read.get(&options::TCP_KEEPIDLE),
        max_header_line: read.get(&options::MAX_HEADER_LINE),
        keep_alive: read.get(&options::KEEP_ALIVE),
        client_socket_timeout: read.timeout(&options::CLIENT_SOCKET_TIMEOUT),
        graceful_shutdown_timeout,
        secure_proxy_ssl_header: read.get(&options::SECURE_PROXY_SSL_HEADER),
        use_forwarded_for: read.get(&options::USE_FORWARDED_FOR),
        log: logging::log(&mut read),
        pasteway: pasteway::pasteway(&mut read, cpus, graceful_shutdown_timeout),
    };
    let mut found = read.finish();
    found.extend(conf.warnings());
    (settings, found)
}

/// Where the front's directory is, as far as can be told, of a configuration that cannot be used too.
pub fn runtime_dir(conf: &Conf) -> RuntimeDir {
    pasteway::runtime_dir(&mut Reader::new(conf, Release::NEWEST, None))
}

/// Whether an API has Python workers, as far as it can be told before the release is known.
pub fn wants_python(conf: &Conf) -> bool {
    let python = |word: &str| matches!(word, "auto" | "python");
    let names: Vec<String> = conf.get(&options::ENABLED_APIS).unwrap_or_default();
    let for_all: String = conf.get(&options::WORKER_KIND).unwrap_or_default();
    names.iter().any(|name| {
        let own: Option<String> = conf.get_for(&options::WORKER_KIND_API, name).unwrap_or_default();
        python(own.as_ref().unwrap_or(&for_all))
    })
}

/// The release that `[pasteway] release` names; `None` for `auto`.
///
/// # Errors
/// There is no such release.
pub fn wanted_release(conf: &Conf) -> Result<Option<Release>, Diagnostic> {
    let opt = &options::RELEASE;
    let text: String = conf.get(opt)?;
    if text.trim().eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| {
        Diagnostic::error(conf.place(opt.group, opt.name), format!("{error}")).help("write auto, or one of these")
    })
}

#[cfg(test)]
mod tests;
