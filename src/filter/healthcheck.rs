//! `healthcheck`: says whether the service works (oslo.middleware, filter since Kilo, app since Newton).
//!
//! Files may switch it off or on. Beyond the original it is honest: without a worker that serves, the answer is 503
//! with the reason, because load balancers decide by it.
//! Must not know how a worker's health is found out.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderName, Method, StatusCode};

use super::accept::acceptable;
use super::context::quote_path;
use super::headers::joined;
use super::prelude::*;
use super::python::{html_escape, json_string};
use super::reply::reply;
use super::webob::webob;
use crate::network::Network;

/// What it takes, in the section or in `[healthcheck]` of nova.conf.
static OPTIONS: &[OptionSpec] = &[
    spec("path", "/healthcheck", "the path that the filter answers; the app answers every path that it gets"),
    spec("detailed", "false", "whether to tell about the process too, which the worker does"),
    spec("backends", "", "disable_by_file, enable_by_files, disable_by_files_ports (in the worker)"),
    spec("disable_by_file_path", "", "a file that makes the service unavailable by being there"),
    spec("disable_by_file_paths", "", "`PORT:FILE` each"),
    spec("enable_by_file_paths", "", "files that make the service unavailable by being away"),
    spec("allowed_source_ranges", "", "networks that are answered; empty = all"),
    spec("ignore_proxied_requests", "false", "whether requests with X-Forwarded-* headers are not answered"),
];

const fn spec(name: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, group: "healthcheck", default, help }
}

/// The filter in the registry.
pub static FACTORY: Factory = Factory {
    name: "healthcheck",
    about: "tells load balancers whether the API can do its work",
    eras: "Liberty and later, where an operator adds it",
    aliases: &[
        "oslo_middleware:Healthcheck.factory",
        "oslo_middleware.healthcheck:Healthcheck.factory",
        "egg:oslo.middleware#healthcheck",
    ],
    side: Side::Front,
    makes: Makes::Filter,
    options: OPTIONS,
    build: |build| self::build(build, false),
};

/// The app in the registry.
pub static APP_FACTORY: Factory = Factory {
    name: "healthcheck",
    about: "tells load balancers whether the API can do its work",
    eras: "Liberty and later, where an operator adds it",
    aliases: &[
        "oslo_middleware:Healthcheck.app_factory",
        "oslo_middleware.healthcheck:Healthcheck.app_factory",
        "egg:oslo.middleware#healthcheck",
    ],
    side: Side::Front,
    makes: Makes::App,
    options: OPTIONS,
    build: |build| self::build(build, true),
};

fn build(build: &mut Build<'_>, is_app: bool) -> Option<Box<dyn Filter>> {
    build.oslo_config();
    let mut take = |name| build.local_or_conf("healthcheck", name);
    let (path, detailed, backends) = (take("path"), take("detailed"), take("backends"));
    let (disable, enable, _ports) =
        (take("disable_by_file_path"), take("enable_by_file_paths"), take("disable_by_file_paths"));
    let (sources, proxied) = (take("allowed_source_ranges"), take("ignore_proxied_requests"));

    if build.flag(detailed, false) {
        return build.leave("`detailed` tells about the Python process");
    }
    let mut checks = Vec::new();
    let names = build.list(backends.clone(), &[]);
    for name in &names {
        match name.as_str() {
            "disable_by_file" => {
                let path = disable.as_ref().map(|s| s.value.trim()).filter(|path| !path.is_empty());
                checks.push(Check::DisableByFile(path.map(PathBuf::from)));
            }
            "enable_by_files" => {
                let paths = build.list(enable.clone(), &[]);
                checks.push(Check::EnableByFiles(paths.into_iter().map(PathBuf::from).collect()));
            }
            "disable_by_files_ports" => {
                return build.leave("`disable_by_files_ports` needs the port that the app was called on");
            }
            _ => return build.leave(format!("the backend `{name}` is Python")),
        }
    }
    if names.iter().any(|n| n == "disable_by_file") && names.iter().any(|n| n == "enable_by_files") {
        let text = "disable_by_file and enable_by_files cannot be used together";
        build.error(backends.as_ref(), text, "keep one of them in `backends`");
    }
    let mut networks = Vec::new();
    for text in build.list(sources.clone(), &[]) {
        match text.parse::<Network>() {
            Ok(network) if !network.has_host_bits() => networks.push(network),
            _ => {
                let fact = format!("`{text}` is not a network address");
                build.error(sources.as_ref(), fact, "write ADDRESS or ADDRESS/BITS");
            }
        }
    }
    Some(Box::new(Healthcheck {
        release: build.release,
        path: (!is_app).then(|| path.map_or("/healthcheck".to_owned(), |s| s.value)),
        checks: checks.into(),
        networks,
        ignore_proxied: build.flag(proxied, false),
    }))
}

struct Healthcheck {
    release: Release,
    /// What the filter answers; `None` for the app, which answers everything.
    path: Option<String>,
    checks: Arc<[Check]>,
    /// Who is answered; empty = everybody.
    networks: Vec<Network>,
    ignore_proxied: bool,
}

/// A backend of the original, without its ways of finding options.
enum Check {
    DisableByFile(Option<PathBuf>),
    EnableByFiles(Vec<PathBuf>),
}

/// What a backend found: the reason, and whether the service is available.
struct Finding {
    available: bool,
    reason: String,
}

impl Check {
    /// Looks at the disk.
    fn run(&self) -> Finding {
        let (available, reason) = match self {
            Self::DisableByFile(Some(path)) if path.exists() => (false, "DISABLED BY FILE"),
            Self::EnableByFiles(paths) if paths.iter().any(|path| !path.exists()) => (false, "FILE PATH MISSING"),
            _ => (true, "OK"),
        };
        Finding { available, reason: reason.to_owned() }
    }
}

impl Filter for Healthcheck {
    fn request(&self, cx: &mut Context, request: &mut Request) -> Flow {
        if self.path.as_deref().is_some_and(|path| !is_at(cx, path)) {
            return Flow::Next;
        }
        if !self.answers(cx, request) {
            // The original app has nothing behind it and fails; a 404 tells a stranger as little.
            return match self.path {
                Some(_) => Flow::Next,
                None => Flow::Reply(webob(self.release, StatusCode::NOT_FOUND, None, "", request)),
            };
        }
        if self.checks.is_empty() {
            return Flow::Reply(page(cx, request, Vec::new()));
        }
        // A file may lie on a network disk that hangs; the other requests of this thread shall not.
        let checks = Arc::clone(&self.checks);
        let look = move || checks.iter().map(Check::run).collect::<Vec<_>>();
        Flow::Wait(Box::pin(async move { Box::new(tokio::task::spawn_blocking(look).await.ok()) as Answer }))
    }

    fn resume(&self, cx: &mut Context, request: &mut Request, answer: Answer) -> Flow {
        let failed = || vec![Finding { available: false, reason: "CHECK FAILED".to_owned() }];
        let findings = answer.downcast::<Option<Vec<Finding>>>().ok().and_then(|findings| *findings);
        Flow::Reply(page(cx, request, findings.unwrap_or_else(failed)))
    }
}

impl Healthcheck {
    fn answers(&self, cx: &Context, request: &Request) -> bool {
        const PROXIED: [HeaderName; 5] = [
            HeaderName::from_static("x-forwarded"),
            HeaderName::from_static("x-forwarded-proto"),
            HeaderName::from_static("x-forwarded-host"),
            HeaderName::from_static("x-forwarded-for"),
            HeaderName::from_static("x-forwarded-prefix"),
        ];
        let address: Option<IpAddr> = match &cx.remote_addr {
            RemoteAddr::Peer(ip) => Some(*ip),
            RemoteAddr::Said(text) => text.parse().ok(),
        };
        let known = self.networks.is_empty() || address.is_some_and(|ip| self.networks.iter().any(|n| n.contains(ip)));
        let proxied = || PROXIED.iter().any(|name| request.headers().get(name).is_some_and(|v| !v.is_empty()));
        known && !(self.ignore_proxied && proxied())
    }
}

/// Whether the request's path, quoted as WebOb does, is `path`.
fn is_at(cx: &Context, path: &str) -> bool {
    // Quoting never shortens, so most requests are told apart by their length.
    let length = cx.script_name.len() + cx.path_info.len();
    length <= path.len() && quote_path(&cx.script_name) + &quote_path(&cx.path_info) == path
}

/// The answer: the backends' findings, and the front's own if it has something to say.
fn page(cx: &Context, request: &Request, mut findings: Vec<Finding>) -> Response {
    if let Err(reason) = cx.health.health() {
        findings.push(Finding { available: false, reason });
    }
    let healthy = findings.iter().all(|finding| finding.available);
    let reasons: Vec<_> = findings.into_iter().map(|finding| finding.reason).collect();
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if request.method() == Method::HEAD {
        let status = if healthy { StatusCode::NO_CONTENT } else { status };
        return reply(request, status, "text/plain; charset=UTF-8", String::new());
    }
    const OFFERS: &[&str] = &["text/plain", "text/html", "application/json"];
    match joined(request.headers(), &ACCEPT).and_then(|accept| acceptable(&accept, OFFERS)) {
        Some("text/html") => reply(request, status, "text/html; charset=UTF-8", html(&reasons)),
        Some("application/json") => reply(request, status, "application/json", json(&reasons)),
        _ => reply(request, status, "text/plain; charset=UTF-8", reasons.join("\n")),
    }
}

fn json(reasons: &[String]) -> String {
    let items: Vec<_> = reasons.iter().map(|reason| format!("\n        {}", json_string(reason))).collect();
    let end = if items.is_empty() { "" } else { "\n    " };
    format!("{{\n    \"detailed\": false,\n    \"reasons\": [{}{end}]\n}}", items.join(","))
}

fn html(reasons: &[String]) -> String {
    let row = |reason: &String| format!("<TR>\n\n    <TD>{}</TD>\n\n</TR>", html_escape(reason, true));
    format!(
        "<HTML>\n<HEAD><TITLE>Healthcheck Status</TITLE></HEAD>\n<BODY>\n\n<H2>Result of {} checks:</H2>\n\
         <TABLE bgcolor=\"#ffffff\" border=\"1\">\n<TBODY>\n<TR>\n\n<TH>\nReason\n</TH>\n</TR>\n{}\n\
         </TBODY>\n</TABLE>\n<HR></HR>\n\n</BODY>\n</HTML>",
        reasons.len(),
        reasons.iter().map(row).collect::<String>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::harness::{Case, build, built, text};

    const AT: &str = "/healthcheck";

    fn plain() -> Box<dyn Filter> {
        built(&FACTORY, Release::NEWEST, &[], &[])
    }

    fn asked(filter: &dyn Filter, mut case: Case) -> (u16, String) {
        let answer = case.enter(filter).expect("an answer");
        (answer.status().as_u16(), text(answer))
    }

    #[test]
    fn the_filter_answers_its_path_and_the_app_every_path() {
        assert!(Case::new("GET", "/healthcheck/x").enter(&*plain()).is_none());
        assert!(Case::new("GET", "/").enter(&*plain()).is_none());
        assert_eq!(asked(&*plain(), Case::new("GET", AT)), (200, String::new()));
        let mut mounted = Case::new("GET", "/check");
        mounted.cx.script_name = b"/health".to_vec();
        assert!(mounted.enter(&*built(&FACTORY, Release::NEWEST, &[("path", "/health/check")], &[])).is_some());
        assert_eq!(asked(&*built(&APP_FACTORY, Release::NEWEST, &[], &[]), Case::new("GET", "/x")).0, 200);
    }

    #[test]
    fn it_is_unavailable_with_the_reason_when_no_worker_serves() {
        let (status, body) = asked(&*plain(), Case::new("GET", AT).sick("osapi_compute: no worker is serving"));
        assert_eq!((status, body.as_str()), (503, "osapi_compute: no worker is serving"));
    }

    #[test]
    fn a_file_switches_it_off() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("off");
        let local = [("backends", "disable_by_file"), ("disable_by_file_path", file.to_str().unwrap())];
        let filter = built(&FACTORY, Release::MITAKA, &local, &[]);
        let ask = || asked(&*filter, Case::new("GET", AT));
        assert_eq!(ask(), (200, "OK".to_owned()));
        std::fs::write(&file, "").unwrap();
        assert_eq!(ask(), (503, "DISABLED BY FILE".to_owned()));
    }

    #[test]
    fn a_missing_file_keeps_it_off() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1"), dir.path().join("2"));
        let paths = format!("{},{}", one.display(), two.display());
        let conf = [("healthcheck", "backends", "enable_by_files"), ("healthcheck", "enable_by_file_paths", &paths)];
        let filter = built(&APP_FACTORY, Release::NEWEST, &[], &conf);
        std::fs::write(&one, "").unwrap();
        assert_eq!(asked(&*filter, Case::new("GET", "/")), (503, "FILE PATH MISSING".to_owned()));
        std::fs::write(&two, "").unwrap();
        assert_eq!(asked(&*filter, Case::new("GET", "/")), (200, "OK".to_owned()));
    }

    #[test]
    fn head_has_statuses_of_its_own() {
        assert_eq!(asked(&*plain(), Case::new("HEAD", AT)).0, 204);
        assert_eq!(asked(&*plain(), Case::new("HEAD", AT).sick("no")).0, 503);
    }

    #[test]
    fn accept_chooses_the_form() {
        let form = |accept| asked(&*plain(), Case::new("GET", AT).header("accept", accept).sick("a & b")).1;
        assert_eq!(form("*/*"), "a & b");
        assert_eq!(form("image/png"), "a & b");
        assert_eq!(
            form("application/json"),
            "{\n    \"detailed\": false,\n    \"reasons\": [\n        \"a & b\"\n    ]\n}"
        );
        let page = form("text/html");
        assert!(page.contains("<H2>Result of 1 checks:</H2>"), "{page}");
        assert!(page.contains("<TR>\n\n    <TD>a &amp; b</TD>\n\n</TR>\n</TBODY>"), "{page}");
        let nothing = asked(&*plain(), Case::new("GET", AT).header("accept", "application/json")).1;
        assert_eq!(nothing, "{\n    \"detailed\": false,\n    \"reasons\": []\n}");
    }

    #[test]
    fn strangers_and_proxied_requests_may_be_left_out() {
        let sources = [("allowed_source_ranges", "10.0.0.0/8,::1")];
        assert!(Case::new("GET", AT).enter(&*built(&FACTORY, Release::NEWEST, &sources, &[])).is_none());
        assert_eq!(asked(&*built(&APP_FACTORY, Release::NEWEST, &sources, &[]), Case::new("GET", AT)).0, 404);
        let mut near = Case::new("GET", AT);
        near.cx.remote_addr = RemoteAddr::Said("10.1.2.3".to_owned());
        assert!(near.enter(&*built(&FACTORY, Release::NEWEST, &sources, &[])).is_some());
        let proxied = Case::new("GET", AT).header("x-forwarded-for", "1.2.3.4");
        let filter = built(&FACTORY, Release::NEWEST, &[("ignore_proxied_requests", "true")], &[]);
        assert!({ proxied }.enter(&*filter).is_none());
    }

    #[test]
    fn what_only_python_can_do_is_left_to_it() {
        for local in [("detailed", "true"), ("backends", "disable_by_files_ports"), ("backends", "my_own")] {
            let (filter, left, findings) = build(&FACTORY, Release::NEWEST, &[local], &[]);
            assert!(filter.is_none() && left.is_some() && findings.is_empty(), "{local:?}");
        }
    }

    #[test]
    fn contradicting_backends_and_bad_networks_are_errors() {
        let local = [("backends", "disable_by_file,enable_by_files"), ("allowed_source_ranges", "10.0.0.1/8")];
        let (_, _, findings) = build(&FACTORY, Release::NEWEST, &local, &[]);
        let all: Vec<_> = findings.iter().map(|f| f.message.as_str()).collect();
        assert_eq!(
            all,
            ["disable_by_file and enable_by_files cannot be used together", "`10.0.0.1/8` is not a network address"]
        );
    }
}
