//! One request and its response on a [`Wire`]: sends while it reads, so that neither side can block the other.
//!
//! Must not know retries, leases or where the wire is kept afterwards.

use std::future::poll_fn;
use std::io::{self, Write};
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Method;
use http_body::Body as _;
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::UpstreamError;
use super::decode::{self, Decoded, Head};
use super::encode::Framing;
use super::framed::frames;
use super::wire::{READ_SIZE, Wire};
use crate::filter::Body;
use crate::proxy::overdue::Watch;
use crate::proxy::snapshot::Protocol;
use crate::worker::wire::NOT_ACCEPTED;

/// A response head larger than this is refused.
const MAX_HEAD: usize = 64 * 1024;
/// Bytes of a body in one frame.
const MAX_FRAME: usize = 1024 * 1024 * 1024;
/// Ends a body in frames.
const NO_MORE_FRAMES: [u8; 4] = [0; 4];
/// A kept wire holds no larger output buffer than this, and so much of a request is kept until it is answered.
const KEPT_OUTPUT: usize = 32 * 1024;

/// A request on its way out, and its response on its way in.
pub struct Exchange {
    wire: Wire,
    written: usize,
    body: Body,
    framing: Framing,
    /// The request is not wholly written yet.
    sending: bool,
    /// Something of the request could not be written; a response may still come.
    broken: Option<io::Error>,
    any_sent: bool,
    /// What goes on is the client's turn: it has not sent all of its body.
    awaits_client: bool,
    /// What was taken from the body.
    taken: Taken,
    /// `None`: the worker may be silent for ever.
    watch: Option<Watch>,
}

/// What was taken from a body that comes in pieces.
enum Taken {
    Nothing,
    /// One piece, and where it stands in the output.
    Piece(Range<usize>),
    /// More, or it is not in the output any more.
    Forgotten,
}

/// Begins to send the head that stands in `wire.output`, and `body` behind it.
pub fn start(mut wire: Wire, body: Body, mut framing: Framing, watch: Option<Watch>) -> Exchange {
    // A body that is there already goes out with the head, in one write. It is kept for another attempt.
    if let (Body::Full(bytes), Framing::Length(_) | Framing::Frames) = (&body, framing) {
        put(&mut wire.output, framing, bytes);
        if framing == Framing::Frames {
            wire.output.extend_from_slice(&NO_MORE_FRAMES);
        }
        framing = Framing::None;
    }
    Exchange {
        wire,
        written: 0,
        body,
        framing,
        sending: true,
        broken: None,
        any_sent: false,
        awaits_client: false,
        taken: Taken::Nothing,
        watch,
    }
}

/// Writes a piece of a body; where its (last) bytes begin.
fn put(out: &mut Vec<u8>, framing: Framing, data: &[u8]) -> usize {
    let mut at = out.len();
    match framing {
        // An empty one would end the body.
        Framing::Chunked | Framing::Frames if data.is_empty() => {}
        Framing::Chunked => {
            // Writing to a Vec cannot fail.
            drop(write!(out, "{:x}\r\n", data.len()));
            at = out.len();
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Frames => {
            for piece in data.chunks(MAX_FRAME) {
                out.extend_from_slice(&u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes());
                at = out.len();
                out.extend_from_slice(piece);
            }
        }
        Framing::None | Framing::Length(_) => out.extend_from_slice(data),
    }
    at
}

impl Exchange {
    /// Waits for the head of the response, sending meanwhile. What came behind the head is in the second value.
    ///
    /// # Errors
    /// See [`UpstreamError`]; the wire is of no more use then.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        protocol: Protocol,
        method: &Method,
    ) -> Poll<Result<(Head, Bytes), UpstreamError>> {
        let decode = match protocol {
            Protocol::Http1 | Protocol::Uwsgi => decode::head,
            Protocol::Framed => frames::head,
        };
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            let had = self.wire.input.len();
            let Poll::Ready(read) = self.poll_read(cx) else { return self.poll_late(cx).map(Err) };
            match read {
                Ok(0) | Err(_) if had > 0 => return Poll::Ready(Err(UpstreamError::Truncated)),
                Ok(0) => return Poll::Ready(Err(self.lost(io::ErrorKind::UnexpectedEof.into()))),
                Err(error) => return Poll::Ready(Err(self.lost(error))),
                Ok(_) if self.wire.input.first() == Some(&NOT_ACCEPTED) => return Poll::Ready(Err(self.given_back())),
                Ok(_) => {}
            }
            loop {
                let all = self.wire.input.split().freeze();
                match decode(&all, method) {
                    Ok(Decoded::Head(head, size)) => return Poll::Ready(Ok((*head, all.slice(size..)))),
                    Ok(Decoded::Informational(size)) => {
                        self.wire.input = BytesMut::from(all.get(size..).unwrap_or_default());
                        if !self.wire.input.is_empty() {
                            continue;
                        }
                    }
                    Ok(Decoded::Partial) if all.len() < MAX_HEAD => self.wire.input = BytesMut::from(&all[..]),
                    Ok(Decoded::Partial) => return Poll::Ready(Err(UpstreamError::Invalid("response head too large"))),
                    Err(error) => return Poll::Ready(Err(error)),
                }
                break;
            }
        }
    }

    /// Reads what is there to the input buffer; 0 = the worker has closed.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let wire = &mut self.wire;
        wire.input.reserve(READ_SIZE);
        let read = ready!(pin!(wire.stream.read_buf(&mut wire.input)).poll(cx));
        self.heard();
        Poll::Ready(read)
    }

    /// Nothing was there to be read; ready when the worker, which alone is waited for, has been silent for too long.
    pub(super) fn poll_late(&self, cx: &Context<'_>) -> Poll<UpstreamError> {
        let Some(watch) = &self.watch else { return Poll::Pending };
        if self.awaits_client {
            watch.rest();
            return Poll::Pending;
        }
        watch.poll_over(cx).map(|()| UpstreamError::Late)
    }

    /// The worker gave a sign of life.
    fn heard(&self) {
        self.watch.iter().for_each(Watch::rest);
    }

    /// Sends until nothing is left or nothing goes. `Ready(Ok)` also when the worker does not take any more: it may
    /// have answered already, and the reading side will tell.
    ///
    /// # Errors
    /// [`UpstreamError::Client`] only.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        while self.sending {
            while let Some(rest) = self.wire.output.get(self.written..).filter(|rest| !rest.is_empty()) {
                match ready!(Pin::new(&mut self.wire.stream).poll_write(cx, rest)) {
                    Ok(0) => self.broken = Some(io::ErrorKind::WriteZero.into()),
                    Ok(n) => {
                        self.written += n;
                        self.any_sent = true;
                        self.heard();
                    }
                    Err(error) => self.broken = Some(error),
                }
                if self.broken.is_some() {
                    self.sending = false;
                    return Poll::Ready(Ok(()));
                }
            }
            if self.written > KEPT_OUTPUT {
                self.wire.output.clear();
                self.written = 0;
                if matches!(self.taken, Taken::Piece(_)) {
                    self.taken = Taken::Forgotten;
                }
            }
            self.sending = match self.framing {
                Framing::None => false,
                Framing::Length(_) | Framing::Chunked | Framing::Frames if self.body.is_end_stream() => {
                    self.end_of_body()
                }
                Framing::Length(_) | Framing::Chunked | Framing::Frames => {
                    let frame = Pin::new(&mut self.body).poll_frame(cx);
                    self.awaits_client = frame.is_pending();
                    match ready!(frame) {
                        Some(Ok(frame)) => {
                            // Trailers are dropped.
                            if let Ok(data) = frame.into_data() {
                                self.put(&data);
                            }
                            true
                        }
                        None => self.end_of_body(),
                        Some(Err(error)) => return Poll::Ready(Err(UpstreamError::Client(error.to_string()))),
                    }
                }
            };
        }
        Poll::Ready(Ok(()))
    }

    fn put(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let at = put(&mut self.wire.output, self.framing, data);
        self.taken = match self.taken {
            Taken::Nothing => Taken::Piece(at..at + data.len()),
            Taken::Piece(_) | Taken::Forgotten => Taken::Forgotten,
        };
    }

    /// Whether something is left to be written.
    fn end_of_body(&mut self) -> bool {
        let end: &[u8] = match std::mem::replace(&mut self.framing, Framing::None) {
            Framing::Chunked => b"0\r\n\r\n",
            Framing::Frames => &NO_MORE_FRAMES,
            Framing::None | Framing::Length(_) => b"",
        };
        self.wire.output.extend_from_slice(end);
        !end.is_empty()
    }

    fn lost(&mut self, error: io::Error) -> UpstreamError {
        match self.broken.take() {
            Some(cause) if !self.any_sent => UpstreamError::Refused(cause),
            _ => UpstreamError::Died(error),
        }
    }

    /// The bytes read and not yet understood.
    pub(super) fn input(&mut self) -> &mut BytesMut {
        &mut self.wire.input
    }

    /// Nobody had accepted the connection: the request may go to another worker, if its body is still there.
    fn given_back(&self) -> UpstreamError {
        match self.taken {
            Taken::Nothing => UpstreamError::NotAccepted,
            // Of a body whose end was seen: a write that broke ends the sending too.
            Taken::Piece(_) if self.framing == Framing::None => UpstreamError::NotAccepted,
            _ => UpstreamError::Died(io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// Waits for a last word on what has taken too long; whether that is that nobody had accepted it.
    pub async fn is_given_back(&mut self) -> bool {
        let read = poll_fn(|cx| self.poll_read(cx)).await;
        read.is_ok() && self.wire.input.first() == Some(&NOT_ACCEPTED) && self.given_back().nothing_sent()
    }

    /// Whether all of the request was written.
    pub fn is_sent(&self) -> bool {
        !self.sending && self.broken.is_none()
    }

    /// The request's body, as it was, if no worker has got any of the request: it may go to another one.
    pub fn into_body(self) -> Body {
        match self.taken {
            Taken::Piece(at) => Body::Full(self.wire.output.get(at).map(Bytes::copy_from_slice).unwrap_or_default()),
            _ => self.body,
        }
    }

    /// The wire, if both sides are at a message boundary.
    pub fn finish(self) -> Option<Wire> {
        let Self { mut wire, sending, broken, .. } = self;
        if sending || broken.is_some() || !wire.input.is_empty() {
            return None;
        }
        wire.output.clear();
        wire.output.shrink_to(KEPT_OUTPUT);
        Some(wire)
    }
}
