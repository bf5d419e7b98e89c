//! What differs between an answer and the recorded one, part by part.
//!
//! Must not know which differences are expected.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::Asked;
use crate::support::recording::{Exchange, comparable};

/// What the original's server or app puts into the environ, and a front has no part in.
const NOT_OURS: &[(&str, &str)] = &[
    ("nova.context", "an object of the app's half of keystonecontext"),
    ("keystone.token_auth", "an object that is made beside the app"),
    ("keystone.token_info", "travels in the packets of Python workers only, for its size"),
    ("REMOTE_PORT", "eventlet's own"),
    ("SERVER_PROTOCOL", "eventlet's own"),
    ("SERVER_NAME", "the server's, not a header's"),
    ("SERVER_PORT", "the server's, not a header's"),
    ("HTTP_CONNECTION", "of the client's connection, which ends at the front"),
    ("HTTP_TRANSFER_ENCODING", "of the client's connection, which ends at the front"),
];

/// A part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Code and reason.
    Status,
    /// One header, in lower case.
    Header(&'static str),
    /// The body, which the front has made or passed on.
    Body,
    /// One key of the environ that the app shows.
    Key(&'static str),
    /// Whether a worker was asked at all.
    Worker,
}

/// A difference: which part, and what was found.
pub type Found = (String, String);

impl Part {
    /// Its name in a [`Found`].
    pub fn name(self) -> String {
        match self {
            Self::Status => "status".into(),
            Self::Header(name) => format!("header {name}"),
            Self::Body => "body".into(),
            Self::Key(key) => format!("environ {key}"),
            Self::Worker => "worker".into(),
        }
    }
}

/// An answer as it came, with the ports of this run replaced by the recorded ones.
pub struct Answered {
    /// Code and reason.
    pub status: String,
    /// As they came.
    pub headers: Vec<(String, String)>,
    /// Whether a worker was asked.
    pub by_worker: bool,
    /// As text.
    pub body: String,
}

/// All differences.
pub fn differences(recorded: &Exchange, by_worker: bool, now: &Answered) -> Vec<Found> {
    let mut found = Vec::new();
    let mut differ = |part: String, old: String, new: String| {
        if old != new {
            found.push((part, format!("recorded {old}, now {new}")));
        }
    };
    differ("worker".into(), by_worker.to_string(), now.by_worker.to_string());
    differ("status".into(), format!("{} {}", recorded.status, recorded.reason), now.status.clone());
    let environ = recorded.environ();
    let sized = environ.is_none();
    let (old, new) = (headers(&recorded.headers, sized), headers(&now.headers, sized));
    for name in old.iter().chain(&new).map(|(name, _)| name).collect::<BTreeSet<_>>() {
        let of = |all: &[(String, String)]| -> Vec<String> {
            all.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone()).collect()
        };
        differ(format!("header {name}"), format!("{:?}", of(&old)), format!("{:?}", of(&new)));
    }
    match environ {
        None => {
            // The recording keeps no carriage returns; Content-Length counts them.
            differ("body".into(), masked_ids(&recorded.body), masked_ids(&now.body.replace("\r\n", "\n")));
        }
        Some(old) => match serde_json::from_str::<Value>(&now.body) {
            Ok(new) => {
                let id = now.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-openstack-request-id"));
                if let (Some((_, id)), Some(shown)) = (id, new["openstack.request_id"].as_str()) {
                    differ("environ openstack.request_id".into(), id.clone(), shown.to_owned());
                }
                environs(&old, &new, differ);
            }
            Err(_) => differ("body".into(), "an environ".into(), now.body.clone()),
        },
    }
    found
}

/// The length of an environ is not compared: the original's is longer by what is [`NOT_OURS`].
fn headers(all: &[(String, String)], sized: bool) -> Vec<(String, String)> {
    comparable(all).into_iter().filter(|(name, _)| sized || name != "content-length").collect()
}

fn environs(old: &Value, new: &Value, mut differ: impl FnMut(String, String, String)) {
    let keys = |value: &Value| value.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    for key in keys(old).into_iter().chain(keys(new)).collect::<BTreeSet<_>>() {
        // eventlet makes up a media type where the client names none.
        let made_up = key == "CONTENT_TYPE" && new.get(&key).is_none() && old[&key] == "text/plain";
        // Workers that are other programs get them, whatever the client sent.
        let forwarded = key.starts_with("HTTP_X_FORWARDED_") && old.get(&key).is_none();
        if made_up || forwarded || NOT_OURS.iter().any(|(not_ours, _)| *not_ours == key) {
            continue;
        }
        let of = |environ: &Value| environ.get(&key).map_or_else(|| "nothing".into(), |value| shown(&key, value));
        differ(format!("environ {key}"), of(old), of(new));
    }
}

/// A value of the environ, times and ids masked, JSON in a text read (its order is the dict's in Python 2).
fn shown(key: &str, value: &Value) -> String {
    match (key, value) {
        ("HTTP_X_SERVICE_CATALOG", Value::String(text)) => {
            sorted(&serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}")))
        }
        ("nova.limits", Value::Array(limits)) => {
            let mut limits = limits.clone();
            for limit in &mut limits {
                assert!(limit["resetTime"].is_i64(), "{limit}");
                limit["resetTime"] = Value::Null;
            }
            sorted(&Value::Array(limits))
        }
        ("openstack.request_id", Value::String(id)) => masked_ids(id),
        _ => sorted(value),
    }
}

/// JSON with the keys of objects in order.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(all) => {
            let all: BTreeMap<_, _> = all.iter().collect();
            let pairs: Vec<_> = all.iter().map(|(key, value)| format!("{key:?}: {}", sorted(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Array(all) => format!("[{}]", all.iter().map(sorted).collect::<Vec<_>>().join(", ")),
        _ => value.to_string(),
    }
}

/// Every `req-` with its UUID as `req-*`.
fn masked_ids(text: &str) -> String {
    let mut parts = text.split("req-");
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let id = part.find(|c: char| !c.is_ascii_hexdigit() && c != '-').unwrap_or(part.len());
        all.push_str("req-*");
        all.push_str(&part[id..]);
    }
    all
}

/// A call to Keystone, in a form in which two can be compared: method, target, the headers that Keystone reads, and
/// the body as JSON.
pub fn call(line: &str, header: impl Fn(&str) -> Option<String>, body: &[u8]) -> String {
    let mut all = line.to_owned();
    for name in ["X-Auth-Token", "X-Subject-Token", "OpenStack-Identity-Access-Rules", "Accept", "Content-Type"] {
        // A request without a body has no type, whatever an old client said; and who takes anything need not say so.
        let shown = header(name).filter(|value| (name != "Content-Type" || !body.is_empty()) && value != "*/*");
        if let Some(value) = shown {
            all.push_str(&format!(" | {name}: {value}"));
        }
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(body) => all.push_str(&format!(" | {}", sorted(&body))),
        Err(_) => all.push_str(&format!(" | {}", String::from_utf8_lossy(body))),
    }
    all
}

/// A recorded call.
pub fn recorded_call(line: &str) -> String {
    let value: Value = serde_json::from_str(line).expect("JSON");
    let text = |key: &str| value[key].as_str().expect("a text").to_owned();
    let headers = value["headers"].as_array().expect("a list").clone();
    let header = |name: &str| {
        let found = headers.iter().find(|pair| pair[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)))?;
        Some(found[1].as_str()?.to_owned())
    };
    call(&format!("{} {}", text("method"), text("path")), header, text("body").as_bytes())
}

/// A call that came.
pub fn seen_call(asked: &Asked) -> String {
    call(&asked.line, |name| Some((*asked.headers(&name.to_ascii_lowercase()).first()?).to_owned()), &asked.body)
}
