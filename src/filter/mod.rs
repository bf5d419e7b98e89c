//! Filters: what the front does to a request before a worker gets it, and to the response on its way back.
//!
//! One file per filter, all of one shape; [`registry`] maps the factory names of Paste files to them. Beside them stand
//! the composites that choose by path ([`urlmap`]), the bodies of errors ([`webob`] and [`fault`], whole responses by
//! [`reply`]), and the names of the headers that nobody may forge ([`identity`]).
//! Must not know the tree that a request walks, listeners, or how a worker is spoken to.

mod accept;
mod body;
pub mod build;
pub mod context;
pub mod ec2;
pub mod fault;
mod headers;
pub mod identity;
pub mod kept;
pub mod outside;
pub mod prelude;
mod prepared;
pub mod python;
pub mod registry;
pub mod reply;
pub mod urlmap;
mod versions;
pub mod webob;

mod authtoken;
mod basic_auth;
mod catch_errors;
mod compress;
mod compute_req_id;
mod correlation_id;
mod cors;
mod faultwrap;
mod healthcheck;
mod http_proxy_to_wsgi;
mod keystonecontext;
mod legacy_v2_compatible;
mod metadata;
mod noauth;
mod osprofiler;
mod paste_gzip;
mod paste_objects;
mod prefix;
mod ratelimit;
mod request_id;
mod request_log;
mod sizelimit;
mod ssl;
mod translogger;

#[cfg(test)]
pub mod harness;

use std::any::Any;
use std::future::Future;
use std::pin::Pin;

pub use body::{Body, BodyError, BodyStream, Whole};
pub use build::{Build, OptionSpec, Taken};
pub use context::{Context, EnvironRef, EnvironValue, Health, RemoteAddr, Scheme, TokenFacts};
pub use outside::Outside;
pub use prepared::Prepared;

/// A request on its way to a worker.
pub type Request = http::Request<Body>;
/// A response on its way to the client.
pub type Response = http::Response<Body>;
/// What a waiting filter was waiting for; the filter downcasts it in [`Filter::resume`].
pub type Answer = Box<dyn Any>;

/// A filter of the front, shared by all requests of a generation.
///
/// A plain call on the common path: only a filter that has to wait (for a chunked body, for Keystone) allocates.
pub trait Filter: Send + Sync {
    /// Sees the request on its way in.
    fn request(&self, _cx: &mut Context, _request: &mut Request) -> Flow {
        Flow::Next
    }

    /// Goes on after [`Flow::Wait`].
    fn resume(&self, _cx: &mut Context, _request: &mut Request, _answer: Answer) -> Flow {
        Flow::Next
    }

    /// Sees the response on its way out, also when it is an error, if the request had entered this filter
    /// and the filter did not answer it itself. The request's head is still there; its body is gone.
    fn response(&self, _cx: &mut Context, _request: &Request, _response: &mut Response) {}

    /// Whether [`request`](Self::request) does anything: a filter that says no is not called, and no clock is read
    /// for it, on the way in. An app is always called.
    fn sees_requests(&self) -> bool {
        true
    }

    /// The same of [`response`](Self::response), on the way out.
    fn sees_responses(&self) -> bool {
        true
    }
}

/// Where a request goes from here.
pub enum Flow {
    /// On to what the filter wraps.
    Next,
    /// Back to the client: the filter answers it.
    Reply(Response),
    /// Nowhere until the future is done; [`Filter::resume`] gets its result.
    Wait(Pin<Box<dyn Future<Output = Answer>>>),
}

/// Where a factory's work can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Wholly in the front.
    Front,
    /// A half of it in the front; the worker gets the Paste context too. An app of both sides may pass a request on
    /// to the worker's, as a filter does.
    Both,
}

/// What a factory makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Makes {
    /// Something that wraps an app.
    Filter,
    /// An app: its [`Filter::request`] answers every request, or is a front half ([`Side::Both`]).
    App,
}

/// An entry of the registry: a native filter or app, and the factory names that stand for it in Paste files.
pub struct Factory {
    /// Its short name, as in metrics and `tree`: `sizelimit`.
    pub name: &'static str,
    /// What it does, in one line for the reference: `refuses bodies that are too large`.
    pub about: &'static str,
    /// The releases whose pipelines have it, for the reference: `Havana and later`, `Mitaka to 31`.
    pub eras: &'static str,
    /// Every `module:attr` and `egg:Dist#name` that it replaces.
    pub aliases: &'static [&'static str],
    /// Where it runs.
    pub side: Side,
    /// Filter or app.
    pub makes: Makes,
    /// Every option that it takes, for the reference and for suggestions.
    pub options: &'static [OptionSpec],
    /// Makes one from the options of a section. Problems are reported through [`Build`], and an error among them
    /// counts whatever comes back. `None` without one: [`Build::left`] says why the section is for the worker.
    pub build: fn(&mut Build<'_>) -> Option<Box<dyn Filter>>,
}
