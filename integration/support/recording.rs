//! Recorded exchanges with the originals: golden/havana is Nova 2013.2, golden/nova31 is Nova 31.0.0, both behind
//! eventlet.
//!
//! Must not know who is to answer now.

/// One request and its answer.
pub struct Exchange {
    /// As the recording has it.
    pub name: String,
    /// The request, as it goes over the wire.
    pub request: String,
    /// The answer's code.
    pub status: u16,
    /// See [`comparable`].
    pub headers: Vec<(String, String)>,
    /// Empty for HEAD.
    pub body: String,
}

/// Reads the exchanges of a recording for which `wanted` says so.
#[track_caller]
pub fn exchanges(recording: &str, wanted: impl Fn(&str) -> bool) -> Vec<Exchange> {
    let parts = recording.split("### ").filter_map(|part| part.split_once(" (port 8774)\n>>> \n"));
    parts.filter(|(name, _)| wanted(name)).map(|(name, text)| exchange(name, text)).collect()
}

#[track_caller]
fn exchange(name: &str, text: &str) -> Exchange {
    let (request, answer) = text.split_once("\n<<< \n").expect("an answer");
    let (head, rest) = answer.split_once("\n\n").expect("a head");
    let mut lines = head.lines();
    let line = lines.next().expect("a status line");
    let status = line.split(' ').nth(1).expect("a status").parse().expect("a status");
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let length =
        headers.iter().find(|(name, _)| name == "Content-Length").expect("a length").1.parse().expect("a length");
    // Newlines that part the exchanges stand behind the body.
    let body = if request.starts_with("HEAD ") { "" } else { rest.get(..length).expect("a whole body") };
    Exchange {
        name: name.to_owned(),
        request: request.trim_end().replace('\n', "\r\n") + "\r\n\r\n",
        status,
        headers: comparable(&headers),
        body: body.to_owned(),
    }
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
