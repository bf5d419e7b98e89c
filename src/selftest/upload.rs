//! A request's body in pieces, at once or with a pause before each.
//!
//! Must not know the connection that it goes out on.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// What is sent.
pub(super) struct Upload {
    pieces: VecDeque<Bytes>,
    /// Sent as `Content-Length`; without it the body goes out in chunks.
    length: Option<u64>,
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    /// When the last piece was given out.
    last: Rc<Cell<Instant>>,
}

impl Upload {
    /// No body.
    pub(super) fn none() -> Self {
        Self::new(VecDeque::new(), Some(0))
    }

    /// All pieces as fast as they are taken, without a length.
    pub(super) fn chunked(pieces: VecDeque<Bytes>) -> Self {
        Self::new(pieces, None)
    }

    /// With a length, and a pause before each piece.
    pub(super) fn slow(pieces: VecDeque<Bytes>, pause: Duration) -> Self {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pause, ..Self::new(pieces, Some(length)) }
    }

    fn new(pieces: VecDeque<Bytes>, length: Option<u64>) -> Self {
        let last = Rc::new(Cell::new(Instant::now()));
        Self { pieces, length, pause: Duration::ZERO, sleep: None, last }
    }

    /// Tells when the last piece was given out: before that, no answer could end.
    pub(super) fn last(&self) -> Rc<Cell<Instant>> {
        Rc::clone(&self.last)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if !this.pause.is_zero() && !this.pieces.is_empty() {
            let pause = this.pause;
            ready!(this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause))).as_mut().poll(cx));
            this.sleep = None;
        }
        let piece = this.pieces.pop_front();
        if piece.is_some() {
            this.last.set(Instant::now());
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}
