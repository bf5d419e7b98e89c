//! A request's way through the tree: composite ⇄ filters → mount, and the response back through the filters.
//!
//! A loop, not a recursion: no nested futures. Filters that were entered see the response in reverse order, errors
//! included. Must not know connections.

use std::rc::Rc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::balancer;
use super::live::ApiView;
use super::respond::{self, Failure};
use super::snapshot::{FilterNode, Node};
use super::thread::Thread;
use crate::filter::urlmap::Route;
use crate::filter::{Context, Flow, Request, Response};

/// Walks one request through its API's tree.
pub async fn walk(thread: &Rc<Thread>, api: &ApiView, cx: &mut Context, request: &mut Request) -> Response {
    let mut entered: SmallVec<[(&FilterNode, Duration); 12]> = SmallVec::new();
    let mut node = &api.api.root;
    // One clock reading per boundary: what ends one filter's time begins the next one's.
    let mut now = cx.started;
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
            Node::Filtered(filter, _) | Node::App(filter) => {
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
                        if filter.filter.sees_responses() {
                            entered.push((filter, took));
                        } else {
                            api.count_filter(filter, took);
                        }
                        node = next;
                    }
                    // An app answers every request; one that does not has nothing behind it.
                    _ => break respond::gone(),
                }
            }
            Node::Mount(mount) => {
                let answer = balancer::forward(thread, api, *mount, cx, request).await;
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
        flow = node.filter.resume(cx, request, answer);
    }
    flow
}

impl ApiView {
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
