//! Drives a filter in tests as the front does: in, wait, resume, and out again.
//!
//! Must not know any particular filter.

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Instant;

use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use indexmap::IndexMap;
use smallvec::SmallVec;

use super::{Body, Build, Context, Factory, Filter, Flow, Health, Outside, RemoteAddr, Request, Response, Scheme};
use crate::config::{ConfSource, Reading, Setting, Via};
use crate::message::{Diagnostic, Place};
use crate::release::Release;

/// What [`Context::health`] says in a test.
struct Says(Result<(), String>, Option<serde_json::Value>);

impl Health for Says {
    fn health(&self) -> Result<(), String> {
        self.0.clone()
    }

    fn facts(&self) -> Option<&serde_json::Value> {
        self.1.as_ref()
    }
}

/// A request and its surroundings.
pub struct Case {
    /// Its surroundings: a trusted peer, plain HTTP, healthy workers, the newest release.
    pub cx: Context,
    /// The request.
    pub request: Request,
}

impl Case {
    /// A request for `target` (path and query), which may be no valid URI otherwise.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Request::new(Body::Empty);
        *request.method_mut() = method.parse().expect("a method");
        let uri = format!("/{}{query}", if query.is_empty() { "" } else { "?" });
        *request.uri_mut() = uri.parse().expect("a query");
        let cx = Context {
            api: "osapi_compute".into(),
            release: Release::NEWEST,
            remote_addr: RemoteAddr::Peer(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            peer_text: "127.0.0.1".into(),
            trusted_peer: true,
            scheme: Scheme::Http,
            script_name: Vec::new(),
            path_info: path.as_bytes().to_vec(),
            best_content_type: None,
            faultwrap: false,
            ec2: Default::default(),
            catch_errors: false,
            user_id: None,
            environ: SmallVec::new(),
            token: None,
            health: Rc::new(Says(Ok(()), None)),
            outside: Rc::new(Outside::closed()),
            started: Instant::now(),
            now: Instant::now(),
        };
        Self { cx, request }
    }

    /// With one more header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
        self.request.headers_mut().append(HeaderName::from_static(name), value);
        self
    }

    /// Of that era.
    pub fn release(mut self, release: Release) -> Self {
        self.cx.release = release;
        self
    }

    /// With that body.
    pub fn body(mut self, body: Body) -> Self {
        *self.request.body_mut() = body;
        self
    }

    /// Without a worker that could do the work.
    pub fn sick(mut self, reason: &str) -> Self {
        self.cx.health = Rc::new(Says(Err(reason.to_owned()), self.cx.health.facts().cloned()));
        self
    }

    /// With workers that have told this of their service.
    pub fn told(mut self, facts: serde_json::Value) -> Self {
        self.cx.health = Rc::new(Says(self.cx.health.health(), Some(facts)));
        self
    }

    /// Sends the request in; what the filter answers by itself, if it does.
    pub fn enter(&mut self, filter: &dyn Filter) -> Option<Response> {
        if !filter.sees_requests() {
            return None;
        }
        let mut flow = filter.request(&mut self.cx, &mut self.request);
        loop {
            flow = match flow {
                Flow::Next => return None,
                Flow::Reply(response) => return Some(response),
                Flow::Wait(future) => {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                    let answer = runtime.block_on(future);
                    filter.resume(&mut self.cx, &mut self.request, answer)
                }
            };
        }
    }

    /// Sends the request in and `response`, which the filter must wait for, out again.
    pub fn through(&mut self, filter: &dyn Filter, mut response: Response) -> Response {
        assert!(self.enter(filter).is_none(), "the filter answered by itself");
        if filter.sees_responses() {
            filter.response(&mut self.cx, &self.request, &mut response);
        }
        response
    }
}

/// A response as an app might give it.
pub fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Response {
    let mut response = Response::new(Body::from("from below"));
    *response.status_mut() = status.try_into().expect("a status");
    for &(name, value) in headers {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// A response's body.
pub fn text(response: Response) -> String {
    read(response.into_body())
}

/// All of a body.
pub fn read(body: Body) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let bytes = runtime.block_on(body.collect()).expect("a body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// A response's headers as text, in order, without those that have to do with its body.
pub fn head(response: &Response) -> Vec<String> {
    let shown = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().expect("ASCII"));
    response.headers().iter().filter(|(name, _)| !name.as_str().starts_with("content-")).map(shown).collect()
}

/// nova.conf for a test: `("group", "name", "value")`.
struct Conf<'a>(&'a [(&'a str, &'a str, &'a str)]);

impl ConfSource for Conf<'_> {
    fn raw(&self, group: &str, name: &str) -> Option<Setting> {
        let (.., value) = self.0.iter().find(|(g, n, _)| *g == group && *n == name)?;
        Some(Setting { value: (*value).to_owned(), place: None, via: Via::Conf })
    }
}

/// Builds a filter from its section's options and nova.conf; the reason if it is left to the worker.
pub fn build(
    factory: &Factory,
    release: Release,
    local: &[(&str, &str)],
    conf: &[(&str, &str, &str)],
) -> (Option<Box<dyn Filter>>, Option<String>, Vec<Diagnostic>) {
    let setting = |value: &str| Setting { value: value.to_owned(), place: None, via: Via::Local };
    let local: IndexMap<_, _> = local.iter().map(|(name, value)| ((*name).to_owned(), setting(value))).collect();
    let (place, global, conf) = (Place::file("api-paste.ini"), IndexMap::new(), Conf(conf));
    let reading = Reading::new();
    let mut build = Build::new(release, "filter:tested", &place, &global, &local, &conf, &reading);
    let filter = (factory.build)(&mut build);
    let left = build.left.take();
    (filter, left, build.finish(factory.options))
}

/// Builds a filter that must build, without a finding.
pub fn built(
    factory: &Factory,
    release: Release,
    local: &[(&str, &str)],
    conf: &[(&str, &str, &str)],
) -> Box<dyn Filter> {
    let (filter, left, findings) = build(factory, release, local, conf);
    assert!(findings.is_empty(), "{findings:?}");
    filter.unwrap_or_else(|| panic!("not built: {left:?}"))
}
