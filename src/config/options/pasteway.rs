//! Group `[pasteway]`: the options that Nova has not.
//!
//! Must not know how a value is found.

use super::{Kind, Opt, options};
use crate::balance::Balance;
use crate::command::Class::{self, Live, Rebind, Rolling};
use crate::release::Release;

const FIRST: Release = Release::HAVANA;
const WORKER_KINDS: &[&str] = &["auto", "python", "builtin", "command", "external"];

const fn ours(name: &'static str, kind: Kind, change: Class) -> Opt {
    Opt::new("pasteway", name, kind, change)
}

options! {
    /// Addresses of the admin API: `HOST:PORT` or `unix:/path`, several with commas; empty is none.
    ADMIN_LISTEN = ours("admin_listen", Kind::LIST, Rebind).defaults(&[(FIRST, "127.0.0.1:9774")]);
    /// A file with the token that changes, and requests from other machines, must carry.
    ADMIN_TOKEN_FILE = ours("admin_token_file", Kind::Text, Live);
    /// The directory of sockets and frozen files; /run/pasteway, else one under $XDG_RUNTIME_DIR, else a fresh one.
    RUNTIME_DIR = ours("runtime_dir", Kind::Text, Rebind);
    /// Threads that carry requests; one per CPU when unset.
    FRONT_THREADS = ours("front_threads", Kind::at_most(1, 1024), Rebind);
    /// What the workers are: python (auto is the same), builtin, command or external.
    WORKER_KIND = ours("worker_kind", Kind::Choice(WORKER_KINDS), Rolling).defaults(&[(FIRST, "auto")]);
    /// The same for one API.
    WORKER_KIND_API = ours("worker_kind_<api>", Kind::Choice(WORKER_KINDS), Rolling);
    /// The program that command workers are, and its arguments; {socket}: it binds that path, else it inherits the socket ({fd}).
    WORKER_COMMAND = ours("worker_command", Kind::Text, Rolling);
    /// The same for one API.
    WORKER_COMMAND_API = ours("worker_command_<api>", Kind::Text, Rolling);
    /// What command and external workers speak: HTTP, or uWSGI's own protocol.
    WORKER_PROTOCOL = ours("worker_protocol", Kind::Choice(&["http", "uwsgi"]), Rolling).defaults(&[(FIRST, "http")]);
    /// Whether connections to command and external workers are kept; by default to external ones with many threads.
    WORKER_KEEP_ALIVE = ours("worker_keep_alive", Kind::Bool, Live);
    /// Unix sockets of external workers.
    WORKER_SOCKETS = ours("worker_sockets", Kind::LIST, Rolling).defaults(&[(FIRST, "")]);
    /// The same for one API.
    WORKER_SOCKETS_API = ours("worker_sockets_<api>", Kind::LIST, Rolling);
    /// The interpreter of Python workers, or a virtualenv's; looked for in PATH if it has no slash.
    WORKER_PYTHON = ours("worker_python", Kind::Text, Rolling).defaults(&[(FIRST, "python3")]);
    /// The WSGI entry of the service, module:callable, that Python workers import; Nova's own for Nova, else none.
    WORKER_APP = ours("worker_app", Kind::Text, Rolling);
    /// The same for one API.
    WORKER_APP_API = ours("worker_app_<api>", Kind::Text, Rolling);
    /// Requests that one worker takes at once; for python 1, and 4 from Nova 33 on, else default_pool_size of group wsgi.
    WORKER_THREADS = ours("worker_threads", Kind::at_least(1), Rolling);
    /// Workers that may be starting at the same time.
    WORKER_SURGE = ours("worker_surge", Kind::at_least(1), Live).defaults(&[(FIRST, "1")]);
    /// Seconds that a worker may take to become ready.
    WORKER_START_TIMEOUT = ours("worker_start_timeout", Kind::Seconds, Rolling).defaults(&[(FIRST, "60")]);
    /// Seconds that a worker may take to end; graceful_shutdown_timeout when unset.
    WORKER_STOP_TIMEOUT = ours("worker_stop_timeout", Kind::Seconds, Live);
    /// Requests after which a worker is replaced; 0 = never.
    WORKER_MAX_REQUESTS = ours("worker_max_requests", Kind::at_least(0), Live).defaults(&[(FIRST, "0")]);
    /// Seconds after which a worker is replaced; 0 = never.
    WORKER_MAX_LIFETIME = ours("worker_max_lifetime", Kind::Seconds, Live).defaults(&[(FIRST, "0")]);
    /// Bytes of resident memory, of a worker and the processes below it, from which on it is replaced; 0 = never.
    WORKER_MAX_RSS = ours("worker_max_rss", Kind::at_least(0), Live).defaults(&[(FIRST, "0")]);
    /// Seconds that a worker may say nothing while a request waits for it; it is killed as hung then; 0 = any time.
    WORKER_REQUEST_TIMEOUT = ours("worker_request_timeout", Kind::Seconds, Live).defaults(&[(FIRST, "0")]);
    /// Method and path of the probe that a command or external worker must answer before it serves.
    WORKER_READY_REQUEST = ours("worker_ready_request", Kind::Text, Rolling).defaults(&[(FIRST, "GET /")]);
    /// What becomes of chunked request bodies: passed on, spooled into one with a length, or refused.
    WORKER_CHUNKED = ours("worker_chunked", Kind::Choice(&["pass", "spool", "refuse"]), Live);
    /// How a worker is chosen.
    BALANCE = ours("balance", Kind::Choice(Balance::WORDS), Live)
        .defaults(&[(FIRST, "least_request")]);
    /// Requests of one API that may wait for a worker.
    QUEUE_SIZE = ours("queue_size", Kind::at_least(0), Live).defaults(&[(FIRST, "1024")]);
    /// Seconds that one may wait.
    QUEUE_TIMEOUT = ours("queue_timeout", Kind::Seconds, Live).defaults(&[(FIRST, "30")]);
    /// Filter factories that are to run in the worker although the front knows them.
    PYTHON_FILTERS = ours("python_filters", Kind::LIST, Rolling).defaults(&[(FIRST, "")]);
    /// Filter factories that are to run in the front.
    NATIVE_FILTERS = ours("native_filters", Kind::LIST, Rolling).defaults(&[(FIRST, "")]);
    /// The Nova release whose defaults and answers hold; auto: the one that worker_python imports, else by the Paste file.
    RELEASE = ours("release", Kind::Text, Rolling).defaults(&[(FIRST, "auto")]);
    /// How the Paste file is read: as Python 2 or Python 3 reads it.
    INI_DIALECT = ours("ini_dialect", Kind::Choice(&["auto", "py2", "py3"]), Rolling).defaults(&[(FIRST, "auto")]);
    /// The generation of PasteDeploy whose rules hold.
    PASTE_LIBRARY = ours("paste_library", Kind::Choice(&["auto", "1", "2"]), Rolling).defaults(&[(FIRST, "auto")]);
    /// Whether changed files are loaded by themselves: true, false (they are only told of), or poll.
    WATCH = ours("watch", Kind::AnyCase(&["true", "false", "poll", "1", "0", "on", "off", "yes", "no"]), Live)
        .defaults(&[(FIRST, "true")]);
    /// Seconds without a change before a file is read.
    WATCH_SETTLE = ours("watch_settle", Kind::Seconds, Live).defaults(&[(FIRST, "0.1")]);
    /// Seconds that requests of an old generation may take to end, and tunnels on workers that were replaced.
    DRAIN_TIMEOUT = ours("drain_timeout", Kind::Seconds, Live).defaults(&[(FIRST, "60")]);
    /// The same for one API.
    DRAIN_TIMEOUT_API = ours("drain_timeout_<api>", Kind::Seconds, Live);
    /// Seconds after which requests that change something are ended too, with the workers of their generation.
    DRAIN_KILL_TIMEOUT = ours("drain_kill_timeout", Kind::Seconds, Live).defaults(&[(FIRST, "3600")]);
    /// Seconds in which a reload must be confirmed, else it is taken back; 0 = it need not be.
    RELOAD_CONFIRM = ours("reload_confirm", Kind::Seconds, Live).defaults(&[(FIRST, "0")]);
    /// A generation on trial goes back when so many more of 100 answers are server errors than before.
    RELOAD_CONFIRM_ERRORS =
        ours("reload_confirm_errors", Kind::at_most(0, 100), Live).defaults(&[(FIRST, "5")]);
    /// It goes back when 99 of 100 requests take so many times as long as before, and 0.1 s more; 0 = never for that.
    RELOAD_CONFIRM_P99 = ours("reload_confirm_p99", Kind::at_least(0), Live).defaults(&[(FIRST, "4")]);
    /// Answers that it, and generations before it, must have given before they are compared.
    RELOAD_CONFIRM_REQUESTS =
        ours("reload_confirm_requests", Kind::at_least(1), Live).defaults(&[(FIRST, "50")]);
    /// Of 100 requests so many try a new generation before it serves all; 0 = none.
    CANARY_SHARE = ours("canary_share", Kind::at_most(0, 100), Live).defaults(&[(FIRST, "0")]);
    /// Requests with this header try it: `NAME` or `NAME:VALUE`.
    CANARY_HEADER = ours("canary_header", Kind::Text, Live);
    /// Seconds after which a canary that is no worse serves all by itself; 0 = when it is confirmed.
    CANARY_TIME = ours("canary_time", Kind::Seconds, Live).defaults(&[(FIRST, "0")]);
    /// Whether answers say which generation gave them: X-Pasteway-Generation.
    GENERATION_HEADER = ours("generation_header", Kind::Bool, Live).defaults(&[(FIRST, "false")]);
    /// Seconds between SIGTERM and the end of accepting, in which connections are asked to end one after the other.
    LAME_DUCK = ours("lame_duck", Kind::Seconds, Live).defaults(&[(FIRST, "0")]);
    /// Seconds in which a new binary must be ready to take over at an upgrade.
    UPGRADE_TIMEOUT = ours("upgrade_timeout", Kind::Seconds, Live).defaults(&[(FIRST, "120")]);
    /// Networks whose X-Forwarded-*, Forwarded and PROXY headers are believed.
    TRUSTED_PROXIES = ours("trusted_proxies", Kind::LIST, Live);
    /// Whether requests are logged.
    ACCESS_LOG = ours("access_log", Kind::Bool, Live).defaults(&[(FIRST, "true")]);
    /// How log lines look: as oslo.log's, or JSON.
    PASTEWAY_LOG_FORMAT = ours("log_format", Kind::Choice(&["oslo", "json"]), Live).defaults(&[(FIRST, "oslo")]);
}
