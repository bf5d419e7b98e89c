//! A request's body as it comes from the client: the tick sees its silence, and what nobody wanted of it is dealt with.
//!
//! hyper closes a connection behind an answer that did not wait for the request's body, and the client's next request
//! fails. What is short is therefore read before the answer, as the original does behind its own; where it is not, the
//! answer has to say that the connection ends. Must not know who wants the body, or what the answer is.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::connection::Peer;
use crate::filter::{BodyError, Request};

/// So much of a body that nobody wanted is read all the same, if it comes in this time.
const DISCARDED: u64 = 64 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// A request's body.
pub struct ClientBody {
    /// `None` behind its end.
    incoming: Option<Incoming>,
    peer: Rc<Peer>,
}

impl ClientBody {
    /// The body of the request that this client has begun.
    pub fn new(incoming: Incoming, peer: &Rc<Peer>) -> Self {
        Self { incoming: Some(incoming), peer: Rc::clone(peer) }
    }
}

/// Reads what was let go of a request's body before its end; whether nothing is left of it. Not what may never come,
/// since its client waits for 100 (Continue), nor what is long or slow.
pub async fn discard(unread: Incoming, request: &Request, peer: &Rc<Peer>) -> bool {
    let short = unread.size_hint().exact().is_some_and(|left| left <= DISCARDED);
    if !short || request.headers().contains_key(header::EXPECT) {
        return false;
    }
    let mut rest = ClientBody::new(unread, peer);
    let read = async {
        while let Some(frame) = rest.frame().await {
            frame?;
        }
        Ok::<_, BodyError>(())
    };
    matches!(tokio::time::timeout(DISCARD_TIME, read).await, Ok(Ok(())))
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(cx);
        let bytes = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| data.len() as u64),
            Poll::Ready(_) => {
                self.incoming = None;
                0
            }
            Poll::Pending => 0,
        };
        self.peer.body_polled(polled.is_pending(), bytes);
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Some(unread) = self.incoming.take().filter(|incoming| !incoming.is_end_stream()) {
            self.peer.let_go(unread);
        }
    }
}
