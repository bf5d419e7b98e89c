//! The body of a worker's response, as it streams to the client.
//!
//! With its last byte the lease on the worker ends and the wire goes back to the idle ones. A body that is cut off
//! is an error, so that the client sees it too. Must not know filters or how the client is spoken to.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use super::chunk::Chunks;
use super::decode::Length;
use super::exchange::Exchange;
use super::framed::frames::{self, Frames};
use super::wire::Idle;
use crate::filter::{Body, BodyError};
use crate::worker::Lease;

/// What ends with the last byte of a response.
pub struct Hold {
    /// The worker is busy until then.
    pub lease: Lease,
    /// Where the wire goes.
    pub idle: Rc<RefCell<Idle>>,
    /// Whether it may be kept at all.
    pub keep: bool,
}

impl Hold {
    fn end(self, exchange: Exchange) {
        if self.keep
            && !self.lease.member().is_draining()
            && let Some(wire) = exchange.finish()
        {
            self.idle.borrow_mut().keep(wire);
        }
    }
}

enum Remaining {
    Bytes(u64),
    Chunks(Chunks),
    UntilClose,
    Frames(Frames),
}

struct Streaming {
    /// `None` after the last byte.
    source: Option<(Exchange, Hold)>,
    remaining: Remaining,
    /// Came together with the head.
    first: Bytes,
}

/// The body behind a head; `first` is what came together with it. Costs no allocation when that is all of it.
pub fn body(mut exchange: Exchange, length: Length, first: Bytes, hold: Hold) -> Body {
    let remaining = match length {
        Length::Known(n) if first.len() as u64 >= n => {
            let size = usize::try_from(n).unwrap_or(usize::MAX);
            if first.len() > size {
                // More than was announced: whatever it is, it belongs to no request.
                drop((exchange, hold));
            } else {
                hold.end(exchange);
            }
            return if size == 0 { Body::Empty } else { Body::Full(first.slice(..size)) };
        }
        Length::Known(n) => Remaining::Bytes(n),
        Length::Chunked => {
            *exchange.input() = BytesMut::from(&first[..]);
            return Body::Stream(Box::pin(Streaming {
                source: Some((exchange, hold)),
                remaining: Remaining::Chunks(Chunks::Size),
                first: Bytes::new(),
            }));
        }
        // What had been agreed to is no body: the balancer has taken it before.
        Length::UntilClose | Length::Tunnel => Remaining::UntilClose,
        Length::Framed(announced) => {
            if let Some(data) = frames::whole(&first)
                && announced.is_none_or(|n| n == data.len() as u64)
            {
                hold.end(exchange);
                return if data.is_empty() { Body::Empty } else { Body::Full(data) };
            }
            *exchange.input() = BytesMut::from(&first[..]);
            return Body::Stream(Box::pin(Streaming {
                source: Some((exchange, hold)),
                remaining: Remaining::Frames(Frames::new(announced)),
                first: Bytes::new(),
            }));
        }
    };
    Body::Stream(Box::pin(Streaming { source: Some((exchange, hold)), remaining, first }))
}

impl Streaming {
    fn end(&mut self) {
        if let Some((exchange, hold)) = self.source.take() {
            hold.end(exchange);
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let Some((exchange, hold)) = self.source.as_mut() else { return Poll::Ready(Ok(None)) };
        // The rest of the request goes on while the response comes.
        if let Poll::Ready(Err(error)) = exchange.poll_send(cx) {
            return Poll::Ready(Err(error.into()));
        }
        loop {
            let data = match &mut self.remaining {
                Remaining::Chunks(state) => match state.next(exchange.input())? {
                    None if *state == Chunks::Done => {
                        self.end();
                        return Poll::Ready(Ok(None));
                    }
                    data => data,
                },
                Remaining::Frames(frames) => match frames.next(exchange.input())? {
                    Some(data) => {
                        if frames.is_done() {
                            self.end();
                        }
                        return Poll::Ready(Ok(Some(data)));
                    }
                    None if frames.is_done() => {
                        self.end();
                        return Poll::Ready(Ok(None));
                    }
                    None => None,
                },
                _ if !self.first.is_empty() => Some(std::mem::take(&mut self.first)),
                _ if exchange.input().is_empty() => None,
                _ => Some(exchange.input().split().freeze()),
            };
            if let Some(data) = data {
                return Poll::Ready(self.count(data).map(Some));
            }
            let Poll::Ready(read) = exchange.poll_read(cx) else {
                return exchange.poll_late(cx).map(|late| {
                    hold.lease.hang();
                    Err(late.into())
                });
            };
            if read? == 0 {
                if matches!(self.remaining, Remaining::UntilClose) {
                    self.source = None;
                    return Poll::Ready(Ok(None));
                }
                let cut =
                    io::Error::new(io::ErrorKind::UnexpectedEof, "the worker went away in the middle of its response");
                return Poll::Ready(Err(cut.into()));
            }
        }
    }

    /// Counts a piece of a body of known length down to its end.
    fn count(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
        if let Remaining::Bytes(left) = &mut self.remaining {
            match left.checked_sub(data.len() as u64) {
                None => return Err("the worker sent more than its Content-Length".into()),
                Some(0) => {
                    *left = 0;
                    self.end();
                }
                Some(rest) => *left = rest,
            }
        }
        Ok(data)
    }
}

impl http_body::Body for Streaming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = ready!(self.poll_next(cx));
        if next.is_err() {
            // The wire is in the middle of a message.
            self.source = None;
        }
        Poll::Ready(next.transpose().map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.remaining {
            Remaining::Bytes(left) => SizeHint::with_exact(left),
            Remaining::Frames(ref frames) => frames.size().map(SizeHint::with_exact).unwrap_or_default(),
            _ => SizeHint::default(),
        }
    }
}
