//! `explain`: the way that one request takes through an API's tree, step by step, by sending it through the real
//! composites and filters, as far as they answer without waiting; and where each option of each filter came from.
//!
//! Must not know workers: the way ends at the mount.

use std::rc::Rc;
use std::time::Instant;

use serde_json::{Value, json};

use super::split::{Step, Tree, factory_of};
use super::{ApiPlan, origins, show};
use crate::config::paste;
use crate::filter::urlmap::{Route, UrlMap};
use crate::filter::{Body, Context, Flow, Health, Outside, RemoteAddr, Request, Scheme};
use crate::release::Release;

/// Stands for workers that are well: `explain` starts none.
struct Well;

impl Health for Well {
    fn health(&self) -> Result<(), String> {
        Ok(())
    }
}

/// The steps of a request's way, in order; each has `step` (what happens) and `options` (where they came from).
pub fn explain(api: &ApiPlan, release: Release, request: http::Request<()>) -> Vec<Value> {
    let mut request: Request = request.map(|()| Body::Empty);
    let path = request.uri().path().to_owned();
    let mut cx = Context {
        api: api.settings.name.clone(),
        release,
        remote_addr: RemoteAddr::Peer(std::net::Ipv4Addr::LOCALHOST.into()),
        peer_text: "127.0.0.1".into(),
        trusted_peer: api.door.trusted.believes(std::net::Ipv4Addr::LOCALHOST.into()),
        scheme: if api.tls.is_some() { Scheme::Https } else { Scheme::Http },
        script_name: Vec::new(),
        path_info: percent_encoding::percent_decode_str(&path).collect(),
        best_content_type: None,
        faultwrap: false,
        ec2: Default::default(),
        catch_errors: false,
        user_id: None,
        environ: smallvec::SmallVec::new(),
        token: None,
        health: Rc::new(Well),
        outside: Rc::new(Outside::closed()),
        started: Instant::now(),
        now: Instant::now(),
    };
    let mut steps = Vec::new();
    let before: Vec<String> = names(&request);
    if let Err(refusal) = api.door.admit(&mut request, &api.limits, cx.trusted_peer) {
        steps.push(json!({ "step": format!("the door refuses it: {refusal:?}") }));
        return steps;
    }
    let after = names(&request);
    let gone: Vec<_> = before.into_iter().filter(|name| !after.contains(name)).collect();
    if !gone.is_empty() {
        steps.push(json!({ "step": format!("the door takes off {}", gone.join(", ")) }));
    }
    let mut tree = &api.tree;
    loop {
        match tree {
            Tree::Map { context, kind, entries, not_found } => {
                let list = entries.iter().map(|(entry, _)| entry.clone()).collect();
                let map = UrlMap::new(*kind, release, list, not_found.is_some());
                let section = context.section.as_deref().unwrap_or_default();
                let (step, next) = match map.route(&mut cx, &request) {
                    Route::Entry(n) => match entries.get(n) {
                        Some((entry, target)) => (format!("[{section}] sends it to `{entry}`"), Some(target)),
                        None => break,
                    },
                    Route::NotFoundApp => {
                        (format!("[{section}] has no entry for it: not_found_app"), not_found.as_deref())
                    }
                    Route::Reply(response) => (format!("[{section}] answers {}", response.status()), None),
                };
                steps.push(json!({
                    "step": step,
                    "place": context.place.to_string(),
                    "script_name": String::from_utf8_lossy(&cx.script_name),
                    "path_info": String::from_utf8_lossy(&cx.path_info),
                    "best_content_type": cx.best_content_type,
                }));
                match next {
                    Some(target) => tree = target,
                    None => break,
                }
            }
            Tree::Cascade { context, catch, branches } => {
                let section = context.section.as_deref().unwrap_or_default();
                let codes: Vec<_> = catch.iter().map(u16::to_string).collect();
                let step =
                    format!("[{section}] asks {} branches in turn, the next after {}", branches.len(), codes.join(" "));
                steps.push(described(context, step, origins::of_context(context)));
                match branches.first() {
                    Some(first) => tree = first,
                    None => break,
                }
            }
            Tree::Filtered(filter, next) => {
                let (step, ends) = enter(filter, &mut cx, &mut request);
                steps.push(described(&filter.context, step, origins::of_step(filter)));
                if ends {
                    break;
                }
                tree = next;
            }
            Tree::App(app) => {
                let (step, _) = enter(app, &mut cx, &mut request);
                steps.push(described(&app.context, step, origins::of_step(app)));
                break;
            }
            Tree::Mount { index, reason, contexts } => {
                steps.push(json!({ "step": format!("a worker gets it, mount {index}: {}", show::why(reason)) }));
                for context in contexts {
                    let section = context.section.as_ref().map(|section| format!("[{section}] ")).unwrap_or_default();
                    let step = format!("in the worker: {section}{}", factory_of(context));
                    steps.push(described(context, step, origins::of_context(context)));
                }
                break;
            }
        }
    }
    steps
}

fn enter(step: &Step, cx: &mut Context, request: &mut Request) -> (String, bool) {
    let name = step.factory.name;
    let flow = if step.filter.sees_requests() { step.filter.request(cx, request) } else { Flow::Next };
    match flow {
        Flow::Next => (format!("{name} lets it pass"), false),
        Flow::Reply(response) => (format!("{name} answers {}", response.status()), true),
        Flow::Wait(_) => (format!("{name} has to wait for something before it decides"), false),
    }
}

fn described(context: &paste::Context, step: String, options: Vec<Value>) -> Value {
    json!({ "step": step, "place": context.place.to_string(), "options": options })
}

fn names(request: &Request) -> Vec<String> {
    request.headers().keys().map(|name| name.as_str().to_owned()).collect()
}
