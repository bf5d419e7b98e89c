//! The apps of the recordings, as one external worker: the app that shows its environ, and all others, which say what
//! the recording says that they said.
//!
//! Must not know what the front is expected to answer.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::support::recording::Exchange;
use crate::support::{App, Asked};

/// Headers that filters of the front add to what an app says.
const OF_FILTERS: &[&str] = &["x-openstack-request-id", "www-authenticate"];
/// Those of one connection.
const OF_THE_CONNECTION: &[&str] = &["date", "connection", "content-length"];

/// A running worker, and the exchange that is being replayed.
pub struct Apps {
    app: App,
    playing: Arc<Mutex<Option<Exchange>>>,
}

impl Apps {
    /// Serves a socket.
    pub fn start(socket: &Path) -> Self {
        let playing: Arc<Mutex<Option<Exchange>>> = Arc::default();
        let current = Arc::clone(&playing);
        let app = App::start(socket, move |asked, stream| {
            let exchange = current.lock().expect("no panic").clone().expect("an exchange");
            match exchange.environ() {
                Some(_) => echo(asked, stream),
                None => play(&exchange, asked, stream),
            }
        });
        Self { app, playing }
    }

    /// From now on, this exchange is replayed.
    pub fn play(&self, exchange: &Exchange) {
        *self.playing.lock().expect("no panic") = Some(exchange.clone());
    }

    /// How many requests have come.
    pub fn asked(&self) -> usize {
        self.app.asked().len()
    }
}

/// What the recording says, with links made of the environ as it is.
fn play(exchange: &Exchange, asked: &Asked, stream: &mut UnixStream) -> bool {
    let own_ids = exchange.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("x-openstack-request-id"));
    let headers = exchange.headers.iter().filter(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !OF_THE_CONNECTION.contains(&name.as_str())
            && !OF_FILTERS.contains(&name.as_str())
            && (own_ids || name != "x-compute-request-id")
    });
    let lines: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let environ = environ(asked);
    let text = |key: &str| environ[key].as_str().unwrap_or_default().to_owned();
    let prefix = text("SCRIPT_NAME");
    let prefix = ["/v2.1", "/v2", "/v3"].iter().find_map(|mount| prefix.strip_suffix(mount)).unwrap_or(&prefix);
    let root = format!("{}://{}{prefix}/v", text("wsgi.url_scheme"), text("HTTP_HOST"));
    let mut body = exchange.body.clone();
    for recorded in ["http://127.0.0.1:8774/v", "https://ex.com/pfx/v"] {
        body = body.replace(recorded, "@ROOT@");
    }
    let body = body.replace("@ROOT@", &root);
    let length = match exchange.method() {
        "HEAD" => exchange.headers.iter().find(|(name, _)| name == "Content-Length").expect("a length").1.clone(),
        _ => body.len().to_string(),
    };
    let head = format!("HTTP/1.1 {} {}\r\n{lines}Content-Length: {length}\r\n\r\n", exchange.status, exchange.reason);
    stream.write_all((head + &body).as_bytes()).is_ok()
}

/// The app of the recordings that shows its environ, and does what `X-Echo-Status` and `X-Echo-Hdr` ask for.
fn echo(asked: &Asked, stream: &mut UnixStream) -> bool {
    let body = Value::Object(environ(asked)).to_string();
    let status = asked.headers("x-echo-status").first().copied().unwrap_or("200 OK").to_owned();
    let header = asked.headers("x-echo-hdr").first().and_then(|text| text.split_once('='));
    let header = header.map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{header}\r\n");
    stream.write_all((head + &body).as_bytes()).is_ok()
}

/// The WSGI environ that the front's headers and the client's make.
fn environ(asked: &Asked) -> Map<String, Value> {
    let ours = |name: &str| asked.headers(&format!("x-pasteway-{name}")).first().map(|text| (*text).to_owned());
    let decoded = |text: String| percent_decode_str(&text).decode_utf8_lossy().into_owned();
    let (method, target) = asked.line.split_once(' ').expect("a request line");
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let mut all = Map::new();
    for (name, value) in asked.headers.iter().filter(|(name, _)| !name.starts_with("x-pasteway-")) {
        let key = name.to_ascii_uppercase().replace('-', "_");
        let key = if key.starts_with("CONTENT_") { key } else { format!("HTTP_{key}") };
        all.insert(key, value.clone().into());
    }
    all.insert("REQUEST_METHOD".into(), method.into());
    all.insert("SCRIPT_NAME".into(), ours("script-name").map_or_else(String::new, decoded).into());
    all.insert("PATH_INFO".into(), decoded(ours("path-info").unwrap_or(path)).into());
    all.insert("REMOTE_ADDR".into(), ours("remote-addr").into());
    all.insert("wsgi.url_scheme".into(), "http".into());
    all.insert("_body_len".into(), json!(asked.body.len()));
    let further = ours("environ").unwrap_or_else(|| "{}".into());
    match serde_json::from_str(&further) {
        Ok(Value::Object(further)) => all.extend(further),
        other => panic!("{other:?} is no object: {further}"),
    }
    all
}
