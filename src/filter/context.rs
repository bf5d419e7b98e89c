//! What is known of a request beside its HTTP message: the part of a WSGI environ that filters read and write.
//!
//! Must not know the tree that the request walks or the worker that will get it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use serde_json::Value;
use smallvec::SmallVec;

use super::{Outside, Request};
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
#[derive(Debug, Default)]
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
}

/// The request's surroundings; one per request, alive until its response has passed the filters.
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
    /// Values for the worker's WSGI environ that are not headers, by key.
    pub environ: SmallVec<[(&'static str, Value); 4]>,
    /// The state of the API's workers, for those who answer in their place.
    pub health: Rc<dyn Health>,
    /// The way to other programs.
    pub outside: Rc<Outside>,
    /// When the request's head had been read.
    pub started: Instant,
}

impl Context {
    /// Sets a value of the worker's environ, replacing an earlier one.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        let value = value.into();
        match self.environ.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None => self.environ.push((key, value)),
        }
    }

    /// A value of the worker's environ that a filter has set.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.environ.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// WebOb's `host_url`: scheme and `Host` (SERVER_NAME and port where the client sent none).
    pub fn host_url(&self, request: &Request) -> String {
        let host = request
            .headers()
            .get(http::header::HOST)
            .map_or(Cow::Borrowed("localhost"), |h| String::from_utf8_lossy(h.as_bytes()));
        format!("{}://{host}", self.scheme.as_str())
    }

    /// WebOb's `application_url`: `host_url` and the quoted SCRIPT_NAME.
    pub fn application_url(&self, request: &Request) -> String {
        self.host_url(request) + &quote_path(&self.script_name)
    }

    /// WebOb's `url`: `application_url`, the quoted PATH_INFO and the query string.
    pub fn url(&self, request: &Request) -> String {
        let mut url = self.application_url(request) + &quote_path(&self.path_info);
        if let Some(query) = request.uri().query().filter(|q| !q.is_empty()) {
            url.push('?');
            url.push_str(query);
        }
        url
    }
}

/// Percent-encodes a path as WebOb does (its `PATH_SAFE` characters stay).
pub fn quote_path(path: &[u8]) -> String {
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
    percent_encode(path, KEEP).to_string()
}
