//! A request that a worker has and has not begun to answer. It goes on when its client goes away, for the worker does too.
//!
//! A lease that ended with the client would say that the worker is free: the next request would wait behind this one, a
//! hang would stay unseen behind clients with less patience, and a drain would end a worker in the middle of what must
//! not be repeated. A worker takes only so many requests (`worker_threads`), so there are never more of these than that.
//! Must not know connections, or what is done with an answer.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::Method;

use super::snapshot::Protocol;
use super::upstream::decode::{Head, Length};
use super::upstream::{Exchange, UpstreamError};
use crate::worker::Lease;

/// A request on a worker, until the head of its answer.
pub struct Asked {
    /// What is said to the worker.
    pub exchange: Exchange,
    /// The worker is busy.
    pub lease: Lease,
    /// What is spoken.
    pub protocol: Protocol,
    /// The request's.
    pub method: Method,
    /// The worker may agree to another protocol.
    pub upgrades: bool,
    /// When it was given to the worker.
    pub begun: Instant,
}

/// What came of it.
pub type Answer = Result<(Head, Bytes), UpstreamError>;

/// Where a connection keeps the request that it has on a worker.
#[derive(Default)]
pub struct Place(RefCell<Option<Asked>>);

impl Place {
    /// Waits for the head of the answer. Who stops waiting leaves the request here.
    pub async fn head(&self, asked: Asked) -> (Asked, Answer) {
        *self.0.borrow_mut() = Some(asked);
        poll_fn(|cx| {
            let mut place = self.0.borrow_mut();
            // Nobody takes it out while it is waited for.
            let Some(asked) = place.as_mut() else { return Poll::Pending };
            let answer = match ready!(asked.exchange.poll_head(cx, asked.protocol, &asked.method)) {
                Ok((head, _)) if head.length == Length::Tunnel && !asked.upgrades => {
                    Err(UpstreamError::Invalid("it switched protocols, unasked"))
                }
                answer => answer,
            };
            place.take().map_or(Poll::Pending, |asked| Poll::Ready((asked, answer)))
        })
        .await
    }

    /// Whether a worker has all of a request that nobody waits for any more.
    pub fn is_left(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(|asked| asked.exchange.is_sent())
    }

    /// That request. One of which the worker has only a part is dropped: so the worker hears that no more will come.
    pub fn take_left(&self) -> Option<Asked> {
        self.0.take().filter(|asked| asked.exchange.is_sent())
    }
}
