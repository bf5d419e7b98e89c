//! What each API listens on and who works for it (`nova/service.py`, class WSGIService; `nova/cmd/api.py`).
//!
//! Must not know pipelines.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexSet;

use super::reader::{Reader, without_empty};
use crate::config::options;
use crate::id::ApiName;
use crate::message::{Diagnostic, Place, nearest};
use crate::release::Release;

/// One of `enabled_apis`.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiSettings {
    /// As `enabled_apis` spells it.
    pub name: ApiName,
    /// A host name or an address, IPv6 without brackets.
    pub listen: String,
    /// 0 lets the kernel choose.
    pub port: u16,
    /// Workers to run, as the log says it: negative in Havana means none.
    pub workers: i64,
    /// Set for the members of `enabled_ssl_apis`.
    pub tls: Option<TlsSettings>,
    /// Longest request line in bytes, the method included.
    pub max_url_len: usize,
    /// Who takes the requests.
    pub kind: WorkerKind,
    /// Requests that one worker takes at once.
    pub worker_threads: usize,
    /// What the workers speak, where they are neither Python's nor builtin.
    pub protocol: WorkerProtocol,
    /// Whether connections to them are kept; `None` is by their kind.
    pub keep_alive: Option<bool>,
    /// What becomes of chunked request bodies.
    pub chunked: Chunked,
    /// How long requests of an old generation may take to end.
    pub drain_timeout: Duration,
    /// `drain_timeout_<api>` alone: at a stop the original's `graceful_shutdown_timeout` holds where it is not set.
    pub own_drain_timeout: Option<Duration>,
    /// The line with `enabled_apis`; `None` when it is the default.
    pub place: Option<Place>,
    /// The line that sets the port, else the address; `None` when both are defaults.
    pub listen_place: Option<Place>,
}

impl ApiSettings {
    /// How many slots the API has.
    pub fn slots(&self) -> u32 {
        u32::try_from(self.workers.max(0)).unwrap_or(u32::MAX)
    }
}

/// The files of an API that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate and its chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// With it, clients must show a certificate that it has signed.
    pub ca: Option<PathBuf>,
    /// The line that names the certificate.
    pub place: Option<Place>,
}

/// What a worker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerKind {
    /// A process of `worker_python` with the real app.
    Python {
        /// `worker_app`: `module:callable`, or `none` for the Paste sections alone; `None` is as the release has it.
        app: Option<String>,
    },
    /// A process of this binary with the stand-in app.
    Builtin,
    /// A program of the operator's, which serves the whole API.
    Command(Vec<String>),
    /// Something else runs them, one on each of these Unix sockets.
    External(Vec<PathBuf>),
}

/// What a worker speaks that is not made for Pasteway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerProtocol {
    /// HTTP/1.1.
    Http,
    /// uWSGI's own.
    Uwsgi,
}

/// What becomes of a request body without a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunked {
    /// The worker gets it chunked.
    Pass,
    /// The worker gets it with a length, once it is complete.
    Spool,
    /// 411.
    Refuse,
}

const EC2_MAX_URL: usize = 16384;
/// eventlet's limit.
const MAX_URL: usize = 8192;

/// Reads the settings of all APIs.
pub(super) fn apis(read: &mut Reader<'_>, cpus: usize) -> Vec<ApiSettings> {
    let opt = &options::ENABLED_APIS;
    let names: Vec<String> = read.get(opt);
    let mut apis: Vec<ApiSettings> = Vec::new();
    if names.iter().all(String::is_empty) {
        read.error(opt, "enabled_apis names no API", "write `enabled_apis = osapi_compute`");
    }
    let tls: IndexSet<String> = read.items(&options::ENABLED_SSL_APIS).into_iter().collect();
    for name in names.iter().filter(|name| !name.is_empty()) {
        if apis.iter().any(|api| api.name.as_str() == name) {
            read.error(opt, format!("enabled_apis names `{name}` twice"), "each API can listen once");
            continue;
        }
        let api = api(read, name, cpus, tls.contains(name));
        let same = |other: &&ApiSettings| api.port != 0 && (&other.listen, other.port) == (&api.listen, api.port);
        if let Some(other) = apis.iter().find(same) {
            let text = format!("`{name}` and `{}` both listen on {}:{}", other.name, api.listen, api.port);
            let found = Diagnostic::error(api.listen_place.clone().or_else(|| api.place.clone()), text);
            read.report(found.help(format!("change {name}_listen_port")));
        }
        apis.push(api);
    }
    for name in tls.iter().filter(|name| !names.contains(*name)) {
        let text = format!("enabled_ssl_apis names `{name}`, which enabled_apis does not");
        read.warn(&options::ENABLED_SSL_APIS, text, suggestion(name, &names));
    }
    let opt = &options::WORKER_PROTOCOL;
    if read.get::<String>(opt) == "uwsgi" && apis.iter().all(|api| api.protocol == WorkerProtocol::Http) {
        let help = "it is for worker_kind = command or external; remove it, or set one of these";
        read.error(opt, "worker_protocol = uwsgi is spoken by no worker here", help);
    }
    strangers(read, &names);
    apis
}

fn api(read: &mut Reader<'_>, name: &str, cpus: usize, tls: bool) -> ApiSettings {
    let kind = kind(read, name);
    let protocol = protocol(read, &kind);
    let listen_place =
        read.place_for(&options::API_LISTEN_PORT, name).or_else(|| read.place_for(&options::API_LISTEN, name));
    let pool: usize = read.get(&options::DEFAULT_POOL_SIZE);
    let threads: Option<usize> = read.get(&options::WORKER_THREADS);
    let drain: Option<Duration> = read.get_for(&options::DRAIN_TIMEOUT_API, name);
    ApiSettings {
        name: name.into(),
        listen: listen(read, name),
        port: read.get_for(&options::API_LISTEN_PORT, name),
        workers: match &kind {
            WorkerKind::Python { .. } | WorkerKind::Builtin | WorkerKind::Command(_) => workers(read, name, cpus),
            WorkerKind::External(sockets) => i64::try_from(sockets.len()).unwrap_or(i64::MAX),
        },
        tls: if tls { self::tls(read) } else { None },
        max_url_len: if name == "ec2" { EC2_MAX_URL } else { MAX_URL },
        protocol,
        keep_alive: read.get(&options::WORKER_KEEP_ALIVE),
        chunked: chunked(read, &kind, protocol),
        worker_threads: match kind {
            // From 33 on Nova's WSGI modules run on native threads; before, they are made for one request at a time.
            WorkerKind::Python { .. } => threads.unwrap_or(if read.release < Release::NOVA_33 { 1 } else { 4 }),
            WorkerKind::Builtin | WorkerKind::Command(_) | WorkerKind::External(_) => threads.unwrap_or(pool).max(1),
        },
        kind,
        drain_timeout: drain.unwrap_or_else(|| read.get(&options::DRAIN_TIMEOUT)),
        own_drain_timeout: drain,
        place: read.conf.place(options::ENABLED_APIS.group, options::ENABLED_APIS.name),
        listen_place,
    }
}

fn listen(read: &mut Reader<'_>, name: &str) -> String {
    let listen: String = read.get_for(&options::API_LISTEN, name);
    if listen.is_empty() {
        let place = read.place_for(&options::API_LISTEN, name);
        let found = Diagnostic::error(place, format!("`{name}_listen` is empty"));
        read.report(found.help("write an address; 0.0.0.0 is every one of this host"));
    }
    listen
}

/// Havana: unset or 0 is one worker, and a negative number runs none. Later: unset or 0 is one per CPU, and a negative
/// number is an error.
fn workers(read: &mut Reader<'_>, name: &str, cpus: usize) -> i64 {
    let kilo = read.release >= Release::KILO;
    let owner = if kilo && name.starts_with("openstack_compute_api") { "osapi_compute" } else { name };
    match read.get_for::<Option<i64>>(&options::API_WORKERS, owner).unwrap_or(0) {
        0 if read.release == Release::HAVANA => 1,
        0 => i64::try_from(cpus).unwrap_or(1).max(1),
        negative if negative < 0 && read.release > Release::HAVANA => {
            let text = format!("{name}_workers value of {negative} is invalid, must be greater than 0");
            let place = read.place_for(&options::API_WORKERS, owner);
            let found = Diagnostic::error(place, format!("`{owner}_workers` is {negative}"));
            let found = found.help("write a number from 1 on, or nothing for one per CPU");
            read.report(found.original("InvalidInput", format!("Invalid input received: {text}")));
            negative
        }
        number => number,
    }
}

fn tls(read: &mut Reader<'_>) -> Option<TlsSettings> {
    let cert: Option<PathBuf> = read.get(&options::SSL_CERT_FILE);
    let key: Option<PathBuf> = read.get(&options::SSL_KEY_FILE);
    let ca: Option<PathBuf> = read.get(&options::SSL_CA_FILE);
    let opt = &options::SSL_CERT_FILE;
    let place = read.conf.place(opt.group, opt.name);
    let (Some(cert), Some(key)) = (cert, key) else {
        let text = "When running server in SSL mode, you must specify both a cert_file and key_file option value in \
                    your configuration file";
        let found = Diagnostic::error(
            read.place(&options::ENABLED_SSL_APIS),
            "enabled_ssl_apis needs both ssl_cert_file and ssl_key_file",
        );
        read.report(found.help("set them to the paths of PEM files").original("RuntimeError", text));
        return None;
    };
    Some(TlsSettings { cert, key, ca, place })
}

fn kind(read: &mut Reader<'_>, name: &str) -> WorkerKind {
    let own: Option<String> = read.get_for(&options::WORKER_KIND_API, name);
    let (word, place) = match own {
        Some(word) => (word, read.place_for(&options::WORKER_KIND_API, name)),
        None => (read.get(&options::WORKER_KIND), read.place(&options::WORKER_KIND)),
    };
    match word.as_str() {
        "auto" | "python" => WorkerKind::Python { app: app(read, name) },
        "external" => WorkerKind::External(sockets(read, name, place)),
        "builtin" => WorkerKind::Builtin,
        "command" => WorkerKind::Command(command(read, name, place)),
        // The kind of the option lets no other word in; a wrong one was reported.
        _ => WorkerKind::Builtin,
    }
}

/// `module:callable`, or `module:factory()`, as WSGI servers have it; or `none`.
fn app(read: &mut Reader<'_>, name: &str) -> Option<String> {
    let own: Option<String> = read.get_for(&options::WORKER_APP_API, name);
    let (text, place) = match own {
        Some(own) => (own, read.place_for(&options::WORKER_APP_API, name)),
        None => (read.get::<Option<String>>(&options::WORKER_APP)?, read.place(&options::WORKER_APP)),
    };
    let text = text.trim();
    let dotted = |text: &str| {
        text.split('.').all(|word| {
            let mut letters = word.chars();
            letters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
                && letters.all(|c| c.is_alphanumeric() || c == '_')
        })
    };
    let named = |(module, callable): (&str, &str)| dotted(module) && dotted(callable.trim_end_matches("()"));
    if text != "none" && !text.split_once(':').is_some_and(named) {
        let found = Diagnostic::error(place, format!("worker_app: `{text}` names no WSGI entry"));
        read.report(
            found.help(
                "write module:callable, as nova.wsgi.osapi_compute:application; none for the Paste sections alone",
            ),
        );
    }
    Some(text.to_owned())
}

fn sockets(read: &mut Reader<'_>, name: &str, place: Option<Place>) -> Vec<PathBuf> {
    let own: Option<Vec<String>> = read.get_for(&options::WORKER_SOCKETS_API, name);
    let sockets = match own {
        Some(own) => without_empty(own),
        None => read.items(&options::WORKER_SOCKETS),
    };
    if sockets.is_empty() {
        let found = Diagnostic::error(place, format!("the external workers of `{name}` have no sockets"));
        read.report(found.help(format!("write `worker_sockets_{name} = /run/a.sock,/run/b.sock` in [pasteway]")));
    }
    sockets.into_iter().map(PathBuf::from).collect()
}

/// Built-in and Python workers read bodies of any kind. Of a strange one nobody knows: uWSGI takes such a body for the
/// next request, and its own protocol has no form for it.
fn chunked(read: &mut Reader<'_>, kind: &WorkerKind, protocol: WorkerProtocol) -> Chunked {
    let opt = &options::WORKER_CHUNKED;
    match read.get::<Option<String>>(opt).as_deref() {
        Some("pass") if protocol == WorkerProtocol::Uwsgi => {
            let fact = "worker_chunked = pass: uWSGI's own protocol has no chunked bodies";
            read.error(opt, fact, "write spool or refuse, or remove it");
            Chunked::Spool
        }
        Some("pass") => Chunked::Pass,
        Some("refuse") => Chunked::Refuse,
        None if matches!(kind, WorkerKind::Python { .. } | WorkerKind::Builtin) => Chunked::Pass,
        _ => Chunked::Spool,
    }
}

/// What the workers speak; Python and builtin workers have a protocol of their own, whatever the others speak.
fn protocol(read: &mut Reader<'_>, kind: &WorkerKind) -> WorkerProtocol {
    let uwsgi = read.get::<String>(&options::WORKER_PROTOCOL) == "uwsgi";
    match kind {
        WorkerKind::Command(_) | WorkerKind::External(_) if uwsgi => WorkerProtocol::Uwsgi,
        _ => WorkerProtocol::Http,
    }
}

/// The placeholders of `worker_command`.
const PLACEHOLDERS: [&str; 5] = ["socket", "fd", "api", "slot", "paste"];

/// The words of `worker_command`, split as a shell does it, without a shell.
fn command(read: &mut Reader<'_>, name: &str, place: Option<Place>) -> Vec<String> {
    let own: Option<String> = read.get_for(&options::WORKER_COMMAND_API, name);
    let (text, place) = match own {
        Some(own) => (own, read.place_for(&options::WORKER_COMMAND_API, name)),
        None => match read.get::<Option<String>>(&options::WORKER_COMMAND) {
            Some(text) => (text, read.place(&options::WORKER_COMMAND)),
            None => (String::new(), place),
        },
    };
    let mut wrong = |fact: String, help: &str| read.report(Diagnostic::error(place.clone(), fact).help(help));
    let words = shell_words::split(&text).unwrap_or_else(|error| {
        wrong(format!("worker_command: {error}"), "quote as in a shell; no shell runs it");
        vec![text.clone()]
    });
    if words.first().is_none_or(String::is_empty) {
        wrong(
            format!("the command workers of `{name}` have no command"),
            "write `worker_command = gunicorn --bind unix:{socket} module:app` in [pasteway]",
        );
    }
    for found in words.iter().flat_map(|word| placeholders(word)) {
        if !PLACEHOLDERS.contains(&found) {
            let near = nearest(found, PLACEHOLDERS);
            let help = near.map_or_else(
                || "known are {socket}, {fd}, {api}, {slot}, {paste}".to_owned(),
                |near| format!("did you mean {{{near}}}?"),
            );
            wrong(format!("worker_command: there is no placeholder {{{found}}}"), &help);
        }
    }
    let has = |name| words.iter().any(|word| placeholders(word).any(|found| found == name));
    if has("socket") && has("fd") {
        wrong(
            "worker_command has both {socket} and {fd}".to_owned(),
            "a program either binds {socket} or inherits {fd}",
        );
    }
    words
}

/// Each `{word}` in a text.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

/// Options of `[pasteway]` for one API that is not there.
fn strangers(read: &mut Reader<'_>, names: &[String]) {
    for ((group, option), place) in read.conf.assigned() {
        let found = options::find(&group, &option).filter(|opt| group == "pasteway" && opt.name.contains("<api>"));
        let Some(api) = found.and_then(|opt| option.strip_prefix(opt.name.trim_end_matches("<api>"))) else { continue };
        if !names.iter().any(|name| name == api) {
            let place = Place { column: 1, ..place };
            let text = format!("`{option}` is about an API `{api}`, which enabled_apis does not name");
            read.report(Diagnostic::warning(place, text).help(suggestion(api, names)));
        }
    }
}

fn suggestion(name: &str, names: &[String]) -> String {
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "remove it, or add the API to enabled_apis".into(),
    }
}
