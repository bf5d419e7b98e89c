//! Everything that a request needs of the configuration, compiled: immutable, replaced whole.
//!
//! ```text
//! Snapshot ─ Api (listener, door, limits, pool) ─ Node::{Map, Filtered, App, Mount}
//! ```
//!
//! Must not know configuration files: `compile` makes it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::usage::Usage;
use crate::filter::Filter;
use crate::filter::urlmap::UrlMap;
use crate::id::{ApiName, Generation};
use crate::network::Trust;
use crate::release::Release;
use crate::telemetry::AccessStyle;
use crate::worker::Pool;

/// One generation of the configuration, as requests see it.
pub struct Snapshot {
    /// Its number.
    pub generation: Generation,
    /// The era whose answers hold.
    pub release: Release,
    /// In the order of `enabled_apis`.
    pub apis: Vec<Arc<Api>>,
    /// Who still uses it.
    pub usage: Arc<Usage>,
    /// Its answers name it in a field, `X-Pasteway-Generation`.
    pub header: bool,
    /// A newer generation that some of the requests try.
    pub canary: Option<Canary>,
}

impl Snapshot {
    /// The same generation with another canary beside it, or none.
    pub fn with_canary(&self, canary: Option<Canary>) -> Self {
        let Self { generation, release, header, .. } = *self;
        Self { generation, release, apis: self.apis.clone(), usage: Arc::clone(&self.usage), header, canary }
    }
}

/// A generation on trial beside the one that serves.
#[derive(Clone)]
pub struct Canary {
    /// What it is.
    pub snapshot: Arc<Snapshot>,
    /// Whose requests it gets.
    pub share: CanaryShare,
}

/// Which requests a canary gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanaryShare {
    /// So many of a hundred.
    pub percent: u8,
    /// And those with this field; `None` as its value is any.
    pub header: Option<(HeaderName, Option<HeaderValue>)>,
}

impl CanaryShare {
    /// Nobody.
    pub fn is_nobody(&self) -> bool {
        self.percent == 0 && self.header.is_none()
    }

    /// Whether a request is the canary's. `turn` counts the share out: so exactly as many of a hundred as are wanted.
    pub fn takes(&self, headers: &HeaderMap, turn: &mut u32) -> bool {
        if let Some((name, value)) = &self.header {
            let mut found = headers.get_all(name).iter();
            if found.any(|given| value.as_ref().is_none_or(|wanted| wanted == given)) {
                return true;
            }
        }
        *turn += u32::from(self.percent.min(100));
        let takes = *turn >= 100;
        *turn %= 100;
        takes
    }
}

/// One API.
pub struct Api {
    /// Its name in `enabled_apis`.
    pub name: ApiName,
    /// The listener whose connections it serves.
    pub listener: u64,
    /// Listeners that were the API's before it moved: the connections that they took are served on.
    pub former: Vec<u64>,
    /// `Host` for workers where the client sent none, and SERVER_NAME and port.
    pub host: String,
    /// For listeners that speak TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Where a request's way begins.
    pub root: Node,
    /// How many mounts its workers host.
    pub mounts: u32,
    /// The short names of its filters, by [`FilterNode::index`].
    pub filter_names: Vec<&'static str>,
    /// What is taken off every request.
    pub door: DoorRules,
    /// How large a request head may be, and how long a client may be silent.
    pub limits: Limits,
    /// `None`: no access log.
    pub access: Option<Arc<AccessStyle>>,
    /// The workers.
    pub pool: Arc<Pool>,
    /// How they are spoken to.
    pub wire: WireRules,
}

/// A place in the compiled tree.
pub enum Node {
    /// A urlmap: the matched entry's target is next.
    Map {
        /// The matcher.
        map: UrlMap,
        /// By the index that the matcher gives.
        targets: Vec<Node>,
        /// `not_found_app`.
        not_found: Option<Box<Node>>,
    },
    /// A cascade: branches are asked in turn until one answers otherwise than with a code of `catch`.
    Cascade {
        /// Status codes.
        catch: Vec<u16>,
        /// At least one.
        branches: Vec<Node>,
    },
    /// A native filter around the rest.
    Filtered(FilterNode, Box<Node>),
    /// A native app: the end of the way.
    App(FilterNode),
    /// The worker's part: the index in its manifest.
    Mount(u32),
}

/// A native filter (or app) at its place in the tree.
pub struct FilterNode {
    /// Counts the filters of an API.
    pub index: usize,
    /// Shared with other generations while its options are the same.
    pub filter: Arc<dyn Filter>,
}

/// What the door takes off a request before anybody reads it.
#[derive(Clone, Debug)]
pub struct DoorRules {
    /// The tree holds an auth filter: identity headers come from it alone.
    pub strip_identity: bool,
    /// Whose forwarding headers are believed.
    pub trusted: Trust,
}

/// Bounds on what a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the request line (eventlet's `url_length_limit`).
    pub request_line: usize,
    /// Bytes of a header line (`max_header_line`).
    pub header_line: usize,
    /// Silence after which a connection is closed (`client_socket_timeout`); `None` = never.
    pub idle: Option<Duration>,
    /// `keep_alive`.
    pub keep_alive: bool,
}

/// What to do with a body of unknown length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkedBodies {
    /// The worker gets it chunked.
    Pass,
    /// The front reads it up to this many bytes and sends it with a length; past them, 413.
    Spool(u64),
    /// 411.
    Refuse,
}

/// What is spoken on the sockets of a pool's workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 (`builtin`, `command` and `external` workers).
    Http1,
    /// uWSGI's own (`command` and `external` workers with `worker_protocol = uwsgi`).
    Uwsgi,
    /// The frames of the Python host (`python` workers).
    Framed,
}

/// How a pool's workers are spoken to.
#[derive(Clone, Debug)]
pub struct WireRules {
    /// What is spoken.
    pub protocol: Protocol,
    /// How long a worker may say nothing while a request waits for it (`worker_request_timeout`); `None` = any time.
    pub silence: Option<Duration>,
    /// `worker_chunked`.
    pub chunked: ChunkedBodies,
    /// Idle connections to them may be kept.
    pub keep_alive: bool,
    /// They are told the client's address and scheme as proxies tell it (`X-Forwarded-*`).
    pub forwarded: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_gets_its_share_exactly_and_who_asks_for_it_by_name() {
        let share = |percent, header: Option<(&'static str, Option<&'static str>)>| CanaryShare {
            percent,
            header: header.map(|(name, value)| (HeaderName::from_static(name), value.map(HeaderValue::from_static))),
        };
        for percent in [0, 1, 33, 100] {
            let (share, mut turn) = (share(percent, None), 0);
            let taken = (0..200).filter(|_| share.takes(&HeaderMap::new(), &mut turn)).count();
            assert_eq!(taken, 2 * usize::from(percent));
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-canary", HeaderValue::from_static("yes"));
        for (header, taken) in [
            (("x-canary", None), true),
            (("x-canary", Some("yes")), true),
            (("x-canary", Some("no")), false),
            (("x-other", None), false),
        ] {
            assert_eq!(share(0, Some(header)).takes(&headers, &mut 0), taken, "{header:?}");
        }
        assert!(share(0, None).is_nobody());
    }
}
