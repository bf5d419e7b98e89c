//! Group `[pasteway]`, but for what is each API's own.
//!
//! Must not know what is done with a setting.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::{AdminAddress, TrialSettings, Trust};
use crate::balance::Balance;
use crate::config::interpreter::Interpreter;
use crate::config::options;
use crate::message::{Diagnostic, nearest};
use crate::release::Release;

/// What Nova has no options for.
#[derive(Clone, Debug, PartialEq)]
pub struct PastewaySettings {
    /// Where the admin API listens; nowhere when empty.
    pub admin_listen: Vec<AdminAddress>,
    /// A file with the token of admin requests.
    pub admin_token_file: Option<PathBuf>,
    /// Where sockets and frozen files live.
    pub runtime_dir: RuntimeDir,
    /// Threads that carry requests, at least 1.
    pub front_threads: usize,
    /// The interpreter of Python workers, as it is written.
    pub worker_python: String,
    /// Workers that may be starting at the same time, at least 1.
    pub worker_surge: usize,
    /// How long a worker may take to become ready.
    pub worker_start_timeout: Duration,
    /// How long a worker may take to end; `None` is for ever.
    pub worker_stop_timeout: Option<Duration>,
    /// Requests after which a worker is replaced; 0 = never.
    pub worker_max_requests: u64,
    /// Its age then; zero = never.
    pub worker_max_lifetime: Duration,
    /// Its resident memory in bytes then; 0 = never.
    pub worker_max_rss: u64,
    /// How long a request may take on a worker; `None` = any time.
    pub worker_request_timeout: Option<Duration>,
    /// The probe of external workers.
    pub worker_ready_request: ReadyRequest,
    /// How a worker is chosen.
    pub balance: Balance,
    /// Requests of one API that may wait for a worker.
    pub queue_size: usize,
    /// How long one may wait.
    pub queue_timeout: Duration,
    /// Filter factories forced to the worker's side.
    pub python_filters: Vec<String>,
    /// Filter factories forced to the front.
    pub native_filters: Vec<String>,
    /// How the Paste file is read.
    pub ini_dialect: Dialect,
    /// Whose rules its loader follows.
    pub paste_library: PasteLibrary,
    /// Whether changed files are loaded by themselves.
    pub watch: Watch,
    /// How long a file must be unchanged before it is read.
    pub watch_settle: Duration,
    /// When a generation's last requests are ended, whatever they do.
    pub drain_kill_timeout: Duration,
    /// How new generations are tried.
    pub trial: TrialSettings,
    /// Whether answers name their generation.
    pub generation_header: bool,
    /// Between SIGTERM and the end of accepting.
    pub lame_duck: Duration,
    /// A new binary must be ready by then.
    pub upgrade_timeout: Duration,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: Trust,
    /// Whether requests are logged.
    pub access_log: bool,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// Where the directory of sockets and frozen files is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeDir {
    /// Here, as `runtime_dir` says.
    Given(PathBuf),
    /// At the first of these that can be used, else at a fresh private directory.
    FirstOf(Vec<PathBuf>),
}

/// A request that a worker must answer, with any status, before it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyRequest {
    /// GET, HEAD or OPTIONS.
    pub method: http::Method,
    /// Path and query.
    pub path: String,
}

/// Whose INI reader a Paste file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// ConfigParser of Python 2.7.
    Py2,
    /// configparser of Python 3.
    Py3,
}

/// The generations of PasteDeploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasteLibrary {
    /// 1.x
    One,
    /// 2.x and later
    Two,
}

/// How changes of files are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Not at all.
    Off,
    /// The kernel tells.
    Events,
    /// By looking again and again.
    Poll,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// By oslo.log's format options.
    Oslo,
    /// One JSON object per line.
    Json,
}

/// Reads them.
pub(super) fn pasteway(read: &mut Reader<'_>, cpus: usize, graceful: Option<Duration>) -> PastewaySettings {
    unknown(read);
    let admin_token_file: Option<PathBuf> = read.get(&options::ADMIN_TOKEN_FILE);
    let stop: Option<Duration> = read.get(&options::WORKER_STOP_TIMEOUT);
    let json = read.get::<String>(&options::PASTEWAY_LOG_FORMAT) == "json";
    PastewaySettings {
        admin_listen: admin_listen(read, admin_token_file.is_some()),
        admin_token_file,
        runtime_dir: runtime_dir(read),
        front_threads: read.get::<Option<usize>>(&options::FRONT_THREADS).unwrap_or(cpus).max(1),
        worker_python: worker_python(read),
        worker_surge: read.get(&options::WORKER_SURGE),
        worker_start_timeout: read.get(&options::WORKER_START_TIMEOUT),
        worker_stop_timeout: stop.or(graceful),
        worker_max_requests: read.get(&options::WORKER_MAX_REQUESTS),
        worker_max_lifetime: read.get(&options::WORKER_MAX_LIFETIME),
        worker_max_rss: read.get(&options::WORKER_MAX_RSS),
        worker_request_timeout: read.get::<Option<Duration>>(&options::WORKER_REQUEST_TIMEOUT).filter(|t| !t.is_zero()),
        worker_ready_request: ready_request(read),
        // The kind of the option lets no other word in; a wrong one was reported.
        balance: read.get::<String>(&options::BALANCE).parse().unwrap_or_default(),
        queue_size: read.get(&options::QUEUE_SIZE),
        queue_timeout: read.get(&options::QUEUE_TIMEOUT),
        python_filters: read.items(&options::PYTHON_FILTERS),
        native_filters: read.items(&options::NATIVE_FILTERS),
        ini_dialect: match read.get::<String>(&options::INI_DIALECT).as_str() {
            "py2" => Dialect::Py2,
            "py3" => Dialect::Py3,
            _ => match read.interpreter.map(Interpreter::is_python3) {
                None if read.release < Release::ROCKY => Dialect::Py2,
                Some(false) => Dialect::Py2,
                None | Some(true) => Dialect::Py3,
            },
        },
        paste_library: match read.get::<String>(&options::PASTE_LIBRARY).as_str() {
            "1" => PasteLibrary::One,
            "2" => PasteLibrary::Two,
            _ => match read.interpreter.map(Interpreter::paste_generation) {
                None if read.release < Release::ROCKY => PasteLibrary::One,
                Some(0 | 1) => PasteLibrary::One,
                None | Some(_) => PasteLibrary::Two,
            },
        },
        watch: match read.get::<String>(&options::WATCH).to_ascii_lowercase().as_str() {
            "poll" => Watch::Poll,
            "false" | "0" | "off" | "no" => Watch::Off,
            _ => Watch::Events,
        },
        watch_settle: read.get(&options::WATCH_SETTLE),
        drain_kill_timeout: read.get(&options::DRAIN_KILL_TIMEOUT),
        trial: super::trial::trial(read),
        generation_header: read.get(&options::GENERATION_HEADER),
        lame_duck: read.get(&options::LAME_DUCK),
        upgrade_timeout: read.get(&options::UPGRADE_TIMEOUT),
        trusted_proxies: trusted_proxies(read),
        access_log: read.get(&options::ACCESS_LOG),
        log_format: if json { LogFormat::Json } else { LogFormat::Oslo },
    }
}

/// Options that nobody reads are mistakes here, since the group is ours alone.
fn unknown(read: &mut Reader<'_>) {
    for (name, place) in read.conf.unknown("pasteway") {
        let known = options::all().filter(|opt| opt.group == "pasteway").map(|opt| opt.name);
        let help = match nearest(&name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it, or check its spelling".into(),
        };
        read.report(Diagnostic::error(place, format!("[pasteway] has no option `{name}`")).help(help));
    }
}

fn admin_listen(read: &mut Reader<'_>, token: bool) -> Vec<AdminAddress> {
    let opt = &options::ADMIN_LISTEN;
    let mut addresses = Vec::new();
    for text in read.items(opt) {
        match text.parse::<AdminAddress>() {
            Ok(address) if token || address.is_local() => addresses.push(address),
            Ok(address) => {
                let text = format!("admin_listen: {address} can be reached from outside, and there is no token");
                read.error(opt, text, "set admin_token_file, or listen on 127.0.0.1 or unix:/path");
            }
            Err(error) => {
                read.error(opt, format!("admin_listen: {error}"), "an IPv6 address stands in brackets: [::1]:9774");
            }
        }
    }
    addresses
}

pub(super) fn runtime_dir(read: &mut Reader<'_>) -> RuntimeDir {
    let opt = &options::RUNTIME_DIR;
    if let Some(dir) = read.get::<Option<PathBuf>>(opt) {
        if !dir.is_absolute() {
            read.error(opt, format!("runtime_dir: `{}` is not absolute", dir.display()), "write the whole path");
        }
        return RuntimeDir::Given(dir);
    }
    let env = read.conf.environment();
    let own = env.vars.get("XDG_RUNTIME_DIR").filter(|dir| dir.starts_with('/'));
    let first = env.root.join("run/pasteway");
    RuntimeDir::FirstOf([first].into_iter().chain(own.map(|dir| PathBuf::from(dir).join("pasteway"))).collect())
}

fn worker_python(read: &mut Reader<'_>) -> String {
    let opt = &options::WORKER_PYTHON;
    let text: String = read.get(opt);
    let text = text.trim();
    if text.is_empty() {
        read.error(opt, "worker_python is empty", "write python3, or the path of a virtualenv's python");
    }
    text.to_owned()
}

fn ready_request(read: &mut Reader<'_>) -> ReadyRequest {
    let opt = &options::WORKER_READY_REQUEST;
    let text: String = read.get(opt);
    let parsed = text.trim().split_once(' ').and_then(|(method, path)| {
        let method = http::Method::from_bytes(method.as_bytes()).ok()?;
        let safe = [http::Method::GET, http::Method::HEAD, http::Method::OPTIONS].contains(&method);
        let path = Some(path.trim()).filter(|path| safe && path.starts_with('/'))?;
        path.parse::<http::uri::PathAndQuery>().ok()?;
        Some(ReadyRequest { method, path: path.to_owned() })
    });
    parsed.unwrap_or_else(|| {
        let message = format!("worker_ready_request: `{text}` is no request");
        read.error(opt, message, "write GET, HEAD or OPTIONS and a path: `GET /`");
        ReadyRequest { method: http::Method::GET, path: "/".into() }
    })
}

/// Nova believes everybody as soon as it reads such headers at all. Keeping to that is right for a replacement, and
/// worth a warning.
fn trusted_proxies(read: &mut Reader<'_>) -> Trust {
    let opt = &options::TRUSTED_PROXIES;
    if let Some(list) = read.get::<Option<Vec<String>>>(opt) {
        let mut networks = Vec::new();
        for text in super::reader::without_empty(list) {
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(error) => read.error(opt, format!("trusted_proxies: {error}"), "write addresses and networks"),
            }
        }
        return Trust::Networks(networks);
    }
    let readers =
        [&options::ENABLE_PROXY_HEADERS_PARSING, &options::USE_FORWARDED_FOR, &options::SERVICE_METADATA_PROXY];
    let on = readers.into_iter().find(|opt| read.get(opt));
    let header = &options::SECURE_PROXY_SSL_HEADER;
    let on = on.or_else(|| read.get::<Option<String>>(header).map(|_| header));
    let Some(reason) = on else { return Trust::Networks(Vec::new()) };
    let text = format!("{} makes the front believe the forwarding headers of every client", reason.name);
    read.warn(reason, text, "set trusted_proxies in [pasteway] to the networks of your proxies");
    Trust::Everybody
}
