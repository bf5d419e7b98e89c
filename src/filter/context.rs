//! What is known of a request beside its HTTP message: the part of a WSGI environ that filters read and write.
//!
//! Must not know the tree that the request walks or the worker that will get it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::Value;
use smallvec::SmallVec;

use super::{Outside, Prepared, Request};
use crate::id::ApiName;
use crate::release::Release;

/// `wsgi.url_scheme`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
    /// Whatever a trusted proxy said.
    Other(String),
}

impl Scheme {
    /// As it stands in a URL.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Other(text) => text,
        }
    }
}

/// `REMOTE_ADDR`: the peer's address, or the text that a trusted proxy gave, verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteAddr {
    /// The other end of the connection.
    Peer(IpAddr),
    /// From a header, e.g. `1.2.3.4, 5.6.7.8`.
    Said(String),
}

impl fmt::Display for RemoteAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(ip) => ip.fmt(f),
            Self::Said(text) => f.write_str(text),
        }
    }
}

/// What the filters of the EC2 API tell each other.
#[derive(Clone, Debug, Default)]
pub struct Ec2 {
    /// Set by ec2faultwrap on the way in: errors from below are answered as EC2's error document.
    pub faultwrap: bool,
    /// The access key whose failures ec2lockout counts.
    pub access_key: Option<String>,
}

/// Says whether the API behind this request can do its work; see [`crate::worker::Pool::health`].
pub trait Health {
    /// # Errors
    /// The reason why it cannot, for people.
    fn health(&self) -> Result<(), String>;

    /// What its workers told of the service; see [`crate::worker::Pool::facts`].
    fn facts(&self) -> Option<&Value> {
        None
    }
}

/// What a validated token says beside the headers of the request: shared by all requests that carry it, cheap to clone.
/// Not for logs: v2.0 repeats the token.
#[derive(Clone, Default)]
pub struct TokenFacts {
    /// Further values of the worker's environ by key: `None` where the original sets `None` for a header that is not
    /// there (`HTTP_X_DOMAIN_ID`), and texts that no header can carry as they are (`HTTP_X_USER_NAME`, not ASCII).
    /// They go before the request's headers.
    pub environ: Arc<[(&'static str, Value)]>,
    /// Header fields that the worker gets beside those of the request.
    pub headers: SmallVec<[Arc<Prepared>; 2]>,
    /// `keystone.token_info`, the JSON as Keystone sent it; `None` when the user's token is not valid.
    pub info: Option<Bytes>,
    /// The same of the service token, of which `keystone.token_auth` is made too.
    pub service_info: Option<Bytes>,
}

/// A value for the worker's environ.
#[derive(Clone, Debug)]
pub enum EnvironValue {
    /// That filters may look at.
    Value(Value),
    /// JSON text already.
    Json(String),
}

/// The same, lent.
#[derive(Clone, Copy, Debug)]
pub enum EnvironRef<'a> {
    /// See [`EnvironValue::Value`].
    Value(&'a Value),
    /// See [`EnvironValue::Json`].
    Json(&'a str),
}

impl EnvironRef<'_> {
    /// Writes it as JSON.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            // Serialising a JSON value to a Vec cannot fail.
            Self::Value(value) => drop(serde_json::to_writer(out, value)),
            Self::Json(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
}

impl<'a> From<&'a Value> for EnvironRef<'a> {
    fn from(value: &'a Value) -> Self {
        Self::Value(value)
    }
}

impl<'a> From<&'a EnvironValue> for EnvironRef<'a> {
    fn from(value: &'a EnvironValue) -> Self {
        match value {
            EnvironValue::Value(value) => Self::Value(value),
            EnvironValue::Json(text) => Self::Json(text),
        }
    }
}

/// The request's surroundings; one per request, alive until its response has passed the filters.
#[derive(Clone)]
pub struct Context {
    /// The API whose listener took the request.
    pub api: ApiName,
    /// The era whose answers hold.
    pub release: Release,
    /// `REMOTE_ADDR`.
    pub remote_addr: RemoteAddr,
    /// The other end of the connection as text.
    pub peer_text: Rc<str>,
    /// Whether the peer is one of `trusted_proxies`; if not, forwarding headers are gone already.
    pub trusted_peer: bool,
    /// `wsgi.url_scheme`.
    pub scheme: Scheme,
    /// `SCRIPT_NAME`: percent-decoded, no slash at its end, grows as composites dispatch.
    pub script_name: Vec<u8>,
    /// `PATH_INFO`: percent-decoded once.
    pub path_info: Vec<u8>,
    /// `nova.best_content_type`, set by Nova's urlmap.
    pub best_content_type: Option<&'static str>,
    /// Set by faultwrap on the way in: errors from below are answered as Nova faults.
    pub faultwrap: bool,
    /// What the EC2 filters tell each other.
    pub ec2: Ec2,
    /// Set by catch_errors on the way in: errors from below are answered as WebOb's pages. Of the two, the inner
    /// filter's mark alone stands.
    pub catch_errors: bool,
    /// The `user_id` of `nova.context`, as the filter that decided about the request knows it; `None` where no such
    /// filter was passed.
    pub user_id: Option<HeaderValue>,
    /// Values for the worker's WSGI environ that are not headers, by key.
    pub environ: SmallVec<[(&'static str, EnvironValue); 4]>,
    /// Set by an auth filter that validated a token.
    pub token: Option<TokenFacts>,
    /// The state of the API's workers, for those who answer in their place.
    pub health: Rc<dyn Health>,
    /// The way to other programs.
    pub outside: Rc<Outside>,
    /// When the request's head had been read.
    pub started: Instant,
    /// When the request came to the filter that has it now.
    pub now: Instant,
}

impl Context {
    /// Sets a value of the worker's environ, replacing an earlier one.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.put(key, EnvironValue::Value(value.into()));
    }

    /// The same for a value that nobody in the front reads again: JSON text, on one line.
    pub fn set_json(&mut self, key: &'static str, text: impl Into<String>) {
        self.put(key, EnvironValue::Json(text.into()));
    }

    /// A header that says who the client is, whether the request has it itself or gets it on its way to the worker.
    pub fn identity<'a>(&'a self, request: &'a Request, name: &HeaderName) -> Option<&'a HeaderValue> {
        request.headers().get(name).or_else(|| self.told().find_map(|fields| fields.get(name)))
    }

    /// The header fields that go to the worker beside those of the request.
    pub fn told(&self) -> impl Iterator<Item = &Prepared> {
        self.token.iter().flat_map(|token| &token.headers).map(|fields| &**fields)
    }

    fn put(&mut self, key: &'static str, value: EnvironValue) {
        match self.environ.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None => self.environ.push((key, value)),
        }
    }

    /// A value of the worker's environ that a filter has [`set`](Self::set).
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self.environ.iter().find(|(k, _)| *k == key) {
            Some((_, EnvironValue::Value(value))) => Some(value),
            _ => None,
        }
    }

    /// Whether a filter has set a value of the worker's environ.
    pub fn has(&self, key: &str) -> bool {
        self.values().any(|(k, _)| k == key)
    }

    /// All values for the worker's environ that are not headers; of equal keys the last counts.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, EnvironRef<'_>)> + Clone {
        let said_by_token = self.token.iter().flat_map(|token| token.environ.iter());
        let said_by_token = said_by_token.map(|(key, value)| (*key, value.into()));
        said_by_token.chain(self.environ.iter().map(|(key, value)| (*key, value.into())))
    }

    /// WebOb's `host_url`: scheme and `Host` (SERVER_NAME and port where the client sent none), without the scheme's
    /// own port.
    pub fn host_url(&self, request: &Request) -> String {
        let host = request
            .headers()
            .get(http::header::HOST)
            .map_or(Cow::Borrowed("localhost"), |h| String::from_utf8_lossy(h.as_bytes()));
        let own_port = match self.scheme {
            Scheme::Http => ":80",
            Scheme::Https => ":443",
            Scheme::Other(_) => "",
        };
        let host = host.strip_suffix(own_port).unwrap_or(&host);
        let scheme = self.scheme.as_str();
        // Room for the rest of a URL: others go on with it.
        let path = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let mut url = String::with_capacity(scheme.len() + host.len() + self.script_name.len() + path + 16);
        url.extend([scheme, "://", host]);
        url
    }

    /// WebOb's `application_url`: `host_url` and the quoted SCRIPT_NAME.
    pub fn application_url(&self, request: &Request) -> String {
        let mut url = self.host_url(request);
        url.extend(quoted(&self.script_name));
        url
    }

    /// WebOb's `url`: `application_url`, the quoted PATH_INFO and the query string.
    pub fn url(&self, request: &Request) -> String {
        let mut url = self.application_url(request);
        url.extend(quoted(&self.path_info));
        if let Some(query) = request.uri().query().filter(|q| !q.is_empty()) {
            url.push('?');
            url.push_str(query);
        }
        url
    }
}

/// Percent-encodes a path as WebOb does (its `PATH_SAFE` characters stay).
pub fn quote_path(path: &[u8]) -> String {
    quoted(path).collect()
}

fn quoted(path: &[u8]) -> percent_encoding::PercentEncode<'_> {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
    const KEEP: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'~')
        .remove(b'!')
        .remove(b'@')
        .remove(b'$')
        .remove(b'&')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')')
        .remove(b'*')
        .remove(b'+')
        .remove(b',')
        .remove(b';')
        .remove(b'=')
        .remove(b':')
        .remove(b'_')
        .remove(b'.')
        .remove(b'-');
    percent_encode(path, KEEP)
}
