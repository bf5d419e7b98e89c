//! The same requests to two Novas, one after the other, and what differs in their answers.
//!
//! Must not know what the two are. The Host header is the same for both, so that links in answers are alike; request
//! ids, what was created on the way and what is random is masked, nothing else.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::{Value, json};

use crate::requests::{Api, Step, Who};
use crate::stack::{Stack, project};
use crate::support::{Answer, Client};

/// One Nova.
#[derive(Clone, Copy, Debug)]
pub struct Nova {
    /// osapi_compute.
    pub compute: SocketAddr,
    /// metadata.
    pub metadata: SocketAddr,
}

/// What the requests speak of: tokens, projects, instances.
pub struct Facts {
    tokens: HashMap<Who, String>,
    values: HashMap<&'static str, String>,
}

/// An answer, as far as two are to be the same.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// A difference that is on purpose, told in etc/README.md.
pub struct Excepted {
    /// The method of the requests that it concerns.
    pub method: &'static str,
    /// Their target.
    pub path: &'static str,
    /// Whether their bodies are chunked.
    pub chunked: bool,
    /// How many of the requests differ.
    pub times: usize,
    /// Why.
    pub reason: &'static str,
}

impl Excepted {
    /// Whether it concerns a request.
    pub fn concerns(&self, step: &Step) -> bool {
        (self.method, self.path, self.chunked) == (step.method, &*step.path, step.chunked)
    }
}

/// Fields that belong to the server or the connection.
const OF_THE_SERVER: [&str; 5] = ["server", "date", "connection", "keep-alive", "transfer-encoding"];

impl Facts {
    /// Logs everybody in. `nova` is the name of the Nova in stack.json.
    pub fn of(stack: &Stack, nova: &str) -> Self {
        let whole = json!({"system": {"all": true}});
        let domain = json!({"domain": {"id": "default"}});
        let tokens = [
            (Who::Admin, stack.token("admin", project("admin"))),
            (Who::Demo, stack.token("demo", project("demo"))),
            (Who::Reader, stack.token("reader", project("demo"))),
            (Who::System, stack.token("admin", whole)),
            (Who::Domain, stack.token("admin", domain)),
            (Who::Unscoped, stack.token("demo", Value::Null)),
            (Who::Plain, stack.credential_token("plain")),
            (Who::Ruled, stack.credential_token("ruled")),
        ];
        let instance = stack.text(&format!("/{nova}/instances/0"));
        let values = [
            ("instance", instance.to_owned()),
            ("signature", stack.text(&format!("/{nova}/signatures/{instance}")).to_owned()),
            ("demo", stack.text("/keystone/projects/demo").to_owned()),
            ("admin", stack.text("/keystone/projects/admin").to_owned()),
            ("admin_user", stack.text("/keystone/users/admin/id").to_owned()),
            ("service", stack.token("glance", project("service"))),
            ("token", stack.token("demo", project("demo"))),
        ];
        Self { tokens: tokens.into(), values: values.into() }
    }
}

/// Asks one Nova everything, in order. What a request costs goes to the second list.
pub fn play(steps: &[Step], nova: Nova, facts: &Facts) -> Vec<(Seen, Duration)> {
    let mut saved = HashMap::new();
    steps.iter().map(|step| ask(step, nova, facts, &mut saved)).collect()
}

/// The differences of two plays: the request, and a few lines about them.
pub fn differences<'a>(
    steps: &'a [Step],
    one: &[(Seen, Duration)],
    other: &[(Seen, Duration)],
) -> Vec<(&'a Step, String)> {
    assert_eq!((steps.len(), steps.len()), (one.len(), other.len()));
    let pairs = steps.iter().zip(one).zip(other);
    pairs
        .filter(|((_, one), other)| one.0 != other.0)
        .map(|((step, one), other)| (step, tell(step, &one.0, &other.0)))
        .collect()
}

fn ask(step: &Step, nova: Nova, facts: &Facts, saved: &mut HashMap<&'static str, String>) -> (Seen, Duration) {
    let address = match step.api {
        Api::Compute => nova.compute,
        Api::Metadata => nova.metadata,
    };
    let fill = |text: &str| {
        let values = facts.values.iter().chain(saved.iter());
        values.fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    };
    let mut head =
        format!("{} {} HTTP/1.1\r\nHost: 127.0.0.1:8774\r\nConnection: close\r\n", step.method, fill(&step.path));
    if let Some(token) = facts.tokens.get(&step.who) {
        let _ = write!(head, "X-Auth-Token: {token}\r\n");
    }
    for (name, value) in &step.headers {
        let _ = write!(head, "{name}: {}\r\n", fill(value));
    }
    // Bodies that are not text have nothing to fill in.
    let body = std::str::from_utf8(&step.body).map_or_else(|_| step.body.clone(), |text| fill(text).into_bytes());
    let body = match (step.chunked, body.is_empty()) {
        (true, _) => {
            head.push_str("Transfer-Encoding: chunked\r\n");
            [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat()
        }
        (false, true) if step.method == "GET" || step.method == "HEAD" => body,
        (false, _) => {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
            body
        }
    };
    head.push_str("\r\n");
    let begun = Instant::now();
    let answer = Client::connect(address).and_then(|mut client| {
        client.send([head.as_bytes(), &body].concat()).and_then(|()| client.answer(step.method))
    });
    let answer = answer.unwrap_or_else(|error| panic!("{} {}: {error}", step.method, step.path));
    let took = begun.elapsed();
    if let Some((name, pointer)) = step.save {
        let json = answer.json();
        let value = json.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {json}"));
        saved.insert(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    (seen(step, &answer, saved), took)
}

fn seen(step: &Step, answer: &Answer, saved: &HashMap<&'static str, String>) -> Seen {
    let mut body = mask(&answer.text(), saved);
    for key in step.masked {
        let value = Regex::new(&format!(r#""{key}": ("(?:[^"\\]|\\.)*"|[0-9]+)"#)).expect("a pattern");
        body = value.replace_all(&body, format!(r#""{key}": *"#)).into_owned();
    }
    let length = answer.body.len().to_string();
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| !OF_THE_SERVER.contains(&name.as_str()))
        // The length of what is masked may differ; that it is the body's own is what counts.
        .map(|(name, value)| match name.as_str() {
            "content-length" if value == length => (name, "the body's".to_owned()),
            _ => (name, mask(&value, saved)),
        })
        .collect();
    headers.sort();
    // Reason phrases are the server's.
    Seen { line: answer.status.to_string(), headers, body }
}

/// Request ids, times of this run and what was created on the way.
fn mask(text: &str, saved: &HashMap<&'static str, String>) -> String {
    let id = Regex::new("req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").expect("a pattern");
    let now = Regex::new(r"20(2[1-9]|[3-9][0-9])-[0-9]{2}-[0-9]{2}T[0-9:.]{8,}Z?").expect("a pattern");
    let text = id.replace_all(text, "req-*");
    let mut text = now.replace_all(&text, "now").into_owned();
    for (name, value) in saved {
        // A small number may stand for anything: only where it is an id by itself.
        if value.len() > 8 {
            text = text.replace(value.as_str(), &format!("{{{name}}}"));
        } else {
            text = text.replace(&format!("aggregates/{value}"), &format!("aggregates/{{{name}}}"));
            text = text.replace(&format!("ggregate {value} "), &format!("ggregate {{{name}}} "));
        }
    }
    text
}

fn tell(step: &Step, one: &Seen, other: &Seen) -> String {
    let mut text = format!("{:?} {} {} by {:?} {:?}", step.api, step.method, step.path, step.who, step.headers);
    if one.line != other.line {
        let _ = write!(text, "\n  status {} became {}", one.line, other.line);
    }
    for gone in one.headers.iter().filter(|header| !other.headers.contains(header)) {
        let _ = write!(text, "\n  - {}: {}", gone.0, gone.1);
    }
    for new in other.headers.iter().filter(|header| !one.headers.contains(header)) {
        let _ = write!(text, "\n  + {}: {}", new.0, new.1);
    }
    if one.body != other.body {
        let _ = write!(text, "\n  body {:.1500}\n  became {:.1500}", one.body, other.body);
    }
    text
}
