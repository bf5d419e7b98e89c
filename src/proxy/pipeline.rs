//! A request's way through the tree: composite ⇄ filters → mount, and the response back through the filters.
//!
//! A loop, not a recursion: no nested futures, but for the branches of a cascade. Filters that were entered see the response in reverse order, errors
//! included. Must not know connections.

use std::rc::Rc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::asked::Place;
use super::balancer;
use super::live::ApiView;
use super::respond::{self, Failure};
use super::snapshot::{FilterNode, Node};
use super::thread::Thread;
use super::upstream::UpstreamError;
use crate::filter::urlmap::Route;
use crate::filter::{Body, Context, Flow, Request, Response, Whole};

/// The longest body that a cascade can give to several branches.
const REPLAYED: u64 = 1024 * 1024;

/// Filters that are to see the response, and what the request's way in through each took.
type Entered<'a> = SmallVec<[(&'a FilterNode, Duration); 8]>;

/// Walks one request through its API's tree; at a worker it is kept in `place`.
pub async fn walk(
    thread: &Rc<Thread>,
    api: &ApiView,
    place: &Place,
    cx: &mut Context,
    request: &mut Request,
) -> Response {
    descend(thread, api, place, &api.api.root, cx.started, cx, request).await
}

/// Walks it from a place of the tree on; `now` is when it came there.
async fn descend(
    thread: &Rc<Thread>,
    api: &ApiView,
    place: &Place,
    mut node: &Node,
    mut now: Instant,
    cx: &mut Context,
    request: &mut Request,
) -> Response {
    let mut entered = Entered::new();
    // One clock reading per boundary: what ends one filter's time begins the next one's.
    let mut response = loop {
        match node {
            Node::Map { map, targets, not_found } => match map.route(cx, request) {
                Route::Entry(index) => match targets.get(index) {
                    Some(target) => node = target,
                    None => break respond::gone(),
                },
                Route::NotFoundApp => match not_found {
                    Some(target) => node = target,
                    None => break respond::gone(),
                },
                Route::Reply(response) => break response,
            },
            Node::Cascade { catch, branches } => {
                break Box::pin(cascade(thread, api, place, catch, branches, cx, request)).await;
            }
            Node::Filtered(filter, next) if !filter.filter.sees_requests() => {
                api.entered(filter, Duration::ZERO, &mut entered);
                node = next;
            }
            Node::Filtered(filter, _) | Node::App(filter) => {
                cx.now = now;
                let flow = enter(filter, cx, request).await;
                let then = Instant::now();
                let took = then.duration_since(now);
                now = then;
                match (flow, node) {
                    (Flow::Reply(response), _) => {
                        api.count_reply(filter, took, &response);
                        break response;
                    }
                    (_, Node::Filtered(_, next)) => {
                        api.entered(filter, took, &mut entered);
                        node = next;
                    }
                    // An app answers every request; one that does not has nothing behind it.
                    _ => break respond::gone(),
                }
            }
            Node::Mount(mount) => {
                let answer = balancer::forward(thread, api, place, *mount, cx, request).await;
                break answer.unwrap_or_else(|failure| {
                    log(&failure, api, request);
                    respond::failure(&failure, cx, request)
                });
            }
        }
    };
    if !entered.is_empty() {
        now = Instant::now();
        while let Some((filter, took)) = entered.pop() {
            filter.filter.response(cx, request, &mut response);
            let then = Instant::now();
            api.count_filter(filter, took + then.duration_since(now));
            now = then;
        }
    }
    response
}

/// Asks one branch after the other (`paste/cascade.py`, Paste 1.7 to 3.10). Each but the last has the request and its
/// surroundings for itself; what it answers with a code of `catch` is not seen by anybody.
async fn cascade(
    thread: &Rc<Thread>,
    api: &ApiView,
    place: &Place,
    catch: &[u16],
    branches: &[Node],
    cx: &mut Context,
    request: &mut Request,
) -> Response {
    let Some((last, others)) = branches.split_last() else { return respond::gone() };
    if !others.is_empty() && !request.body().is_empty() {
        match std::mem::take(request.body_mut()).whole(REPLAYED).await {
            Whole::Bytes(bytes) => *request.body_mut() = Body::Full(bytes),
            Whole::TooLarge => return respond::failure(&Failure::TooLarge, cx, request),
            Whole::Broken(error) => {
                let failure = UpstreamError::Client(error.to_string()).into();
                return respond::failure(&failure, cx, request);
            }
        }
    }
    for branch in others {
        let (mut own, mut copy) = (cx.clone(), replayed(request));
        let response = descend(thread, api, place, branch, Instant::now(), &mut own, &mut copy).await;
        if !catch.contains(&response.status().as_u16()) {
            return response;
        }
    }
    descend(thread, api, place, last, Instant::now(), cx, request).await
}

/// The request once more; its body is in memory.
fn replayed(request: &Request) -> Request {
    let body = match request.body() {
        Body::Full(bytes) => Body::Full(bytes.clone()),
        _ => Body::Empty,
    };
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn log(failure: &Failure, api: &ApiView, request: &Request) {
    let (api, method, path) = (api.api.name.as_str(), request.method(), request.uri().path());
    if failure.is_the_clients() {
        tracing::debug!(target: "pasteway::proxy", api, "{method} {path}: {failure}");
    } else {
        tracing::warn!(target: "pasteway::proxy", api, "{method} {path}: {failure}");
    }
}

async fn enter(node: &FilterNode, cx: &mut Context, request: &mut Request) -> Flow {
    let mut flow = node.filter.request(cx, request);
    while let Flow::Wait(wait) = flow {
        let answer = wait.await;
        cx.now = Instant::now();
        flow = node.filter.resume(cx, request, answer);
    }
    flow
}

impl ApiView {
    /// A request has passed a filter on its way in.
    fn entered<'a>(&self, node: &'a FilterNode, took: Duration, entered: &mut Entered<'a>) {
        if node.filter.sees_responses() {
            entered.push((node, took));
        } else {
            self.count_filter(node, took);
        }
    }

    fn count_filter(&self, node: &FilterNode, took: Duration) {
        if let Some(block) = self.filters.get(node.index) {
            block.passed(took);
        }
    }

    fn count_reply(&self, node: &FilterNode, took: Duration, response: &Response) {
        if let Some(block) = self.filters.get(node.index) {
            block.passed(took);
            block.replied(response.status().as_u16());
        }
    }
}
