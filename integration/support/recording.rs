//! Recorded exchanges with the originals: golden/havana is Nova 2013.2, golden/nova31 is Nova 31.0.0, both behind
//! eventlet.
//!
//! Must not know who is to answer now.

use serde_json::Value;

/// Requests are cut in a recording when they are longer.
const CUT: usize = 1490;

/// One request and its answer.
#[derive(Clone)]
pub struct Exchange {
    /// As the recording has it.
    pub name: String,
    /// Where it was asked: 8773 ec2, 8774 osapi_compute, 8775 metadata.
    pub port: u16,
    /// The request, as it goes over the wire; what was cut is filled up again.
    pub request: Vec<u8>,
    /// The answer's code; 0 for an answer without a head.
    pub status: u16,
    /// The words behind the code.
    pub reason: String,
    /// In the order and spelling of the wire.
    pub headers: Vec<(String, String)>,
    /// Empty for HEAD. The recording has no carriage returns: its length may be less than `Content-Length`.
    pub body: String,
}

impl Exchange {
    /// The request's method.
    pub fn method(&self) -> &str {
        let end = self.request.iter().position(|byte| *byte == b' ').expect("a method");
        std::str::from_utf8(&self.request[..end]).expect("a method")
    }

    /// The environ, if the app that answered was the one that shows it.
    pub fn environ(&self) -> Option<Value> {
        let value: Value = serde_json::from_str(&self.body).ok()?;
        value.get("REQUEST_METHOD").is_some().then_some(value)
    }
}

/// Reads the exchanges of a recording for which `wanted` says so.
#[track_caller]
pub fn exchanges(recording: &str, wanted: impl Fn(&str) -> bool) -> Vec<Exchange> {
    let parts = recording.split("### ").filter(|part| !part.is_empty());
    let parts = parts.map(|part| part.split_once(")\n>>> \n").expect("a title"));
    parts.map(|(title, text)| exchange(title, text)).filter(|exchange| wanted(&exchange.name)).collect()
}

#[track_caller]
fn exchange(title: &str, text: &str) -> Exchange {
    let (name, port) = title.rsplit_once(" (port ").expect("a port");
    let (request, answer) = text.split_once("\n<<< \n").expect("an answer");
    let mut all = Exchange {
        name: name.to_owned(),
        port: port.parse().expect("a port"),
        request: whole(request),
        status: 0,
        reason: String::new(),
        headers: Vec::new(),
        body: answer.to_owned(),
    };
    if !answer.starts_with("HTTP/") {
        return all;
    }
    let (head, rest) = answer.split_once("\n\n").expect("a head");
    let mut lines = head.lines();
    let mut line = lines.next().expect("a status line").splitn(3, ' ').skip(1);
    all.status = line.next().and_then(|code| code.parse().ok()).expect("a status");
    all.reason = line.next().expect("a reason").to_owned();
    all.headers = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    // Each exchange ends in an empty line.
    let body = rest.strip_suffix("\n\n").or(rest.strip_suffix('\n')).expect("an end");
    all.body = if all.method() == "HEAD" { String::new() } else { body.to_owned() };
    all
}

/// The bytes of a request of which the recording has the text, without carriage returns and maybe cut.
fn whole(text: &str) -> Vec<u8> {
    let is_cut = text.len() + text.lines().count() >= CUT;
    let Some((head, body)) = text.split_once("\n\n") else {
        let mut all = text.replace('\n', "\r\n");
        if is_cut {
            // In the request line, or in a header.
            let end = if text.contains('\n') { "" } else { " HTTP/1.1" };
            all.push_str(&"a".repeat(20_000));
            all.push_str(end);
        }
        return (all + "\r\n\r\n").into_bytes();
    };
    let mut all = head.replace('\n', "\r\n") + "\r\n\r\n";
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    match (length, head.contains("Transfer-Encoding: chunked")) {
        (Some(length), _) => {
            all.push_str(body);
            all.push_str(&"x".repeat(length.saturating_sub(body.len())));
        }
        (None, true) if is_cut => {
            let (size, data) = body.split_once('\n').expect("a chunk");
            let size = usize::from_str_radix(size, 16).expect("a size");
            let chunk = format!("{size:x}\r\n{data}{}\r\n", "x".repeat(size - data.len()));
            all.push_str(&chunk.repeat(20));
            all.push_str("0\r\n\r\n");
        }
        (None, true) => all.push_str(&(body.trim_end().replace('\n', "\r\n") + "\r\n\r\n")),
        (None, false) => {}
    }
    all.into_bytes()
}

/// Header fields in a form in which two answers can be compared: without the connection's own and the time, names in
/// lower case, any request id as `req-*`, sorted.
pub fn comparable(headers: &[(String, String)]) -> Vec<(String, String)> {
    let mut all: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .filter(|(name, _)| name != "date" && name != "connection")
        .map(|(name, value)| if name.ends_with("-request-id") { (name, "req-*".to_owned()) } else { (name, value) })
        .collect();
    all.sort();
    all
}
