//! One request and its response on a [`Wire`]: sends while it reads, so that neither side can block the other.
//!
//! Must not know retries, leases or where the wire is kept afterwards.

use std::future::poll_fn;
use std::io::{self, Write};
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
use crate::proxy::snapshot::Protocol;

/// A response head larger than this is refused.
const MAX_HEAD: usize = 64 * 1024;
/// Bytes of a body in one frame.
const MAX_FRAME: usize = 1024 * 1024 * 1024;
/// Ends a body in frames.
const NO_MORE_FRAMES: [u8; 4] = [0; 4];
/// A kept wire holds no larger output buffer than this.
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
}

/// Begins to send the head that stands in `wire.output`, and `body` behind it.
pub fn start(mut wire: Wire, body: Body, mut framing: Framing) -> Exchange {
    // A body that is there already goes out with the head, in one write. It is kept for another attempt.
    if let (Body::Full(bytes), Framing::Length(_) | Framing::Frames) = (&body, framing) {
        put(&mut wire.output, framing, bytes);
        if framing == Framing::Frames {
            wire.output.extend_from_slice(&NO_MORE_FRAMES);
        }
        framing = Framing::None;
    }
    Exchange { wire, written: 0, body, framing, sending: true, broken: None, any_sent: false }
}

/// Writes a piece of a body.
fn put(out: &mut Vec<u8>, framing: Framing, data: &[u8]) {
    match framing {
        // An empty one would end the body.
        Framing::Chunked | Framing::Frames if data.is_empty() => {}
        Framing::Chunked => {
            // Writing to a Vec cannot fail.
            drop(write!(out, "{:x}\r\n", data.len()));
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Frames => {
            for piece in data.chunks(MAX_FRAME) {
                out.extend_from_slice(&u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes());
                out.extend_from_slice(piece);
            }
        }
        Framing::None | Framing::Length(_) => out.extend_from_slice(data),
    }
}

impl Exchange {
    /// Waits for the head of the response, sending meanwhile. What came behind the head is in the second value.
    ///
    /// # Errors
    /// See [`UpstreamError`]; the wire is of no more use then.
    pub async fn head(&mut self, protocol: Protocol, method: &Method) -> Result<(Head, Bytes), UpstreamError> {
        let decode = match protocol {
            Protocol::Http1 | Protocol::Uwsgi => decode::head,
            Protocol::Framed => frames::head,
        };
        poll_fn(|cx| self.poll_head(cx, method, decode)).await
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        decode: fn(&Bytes, &Method) -> Result<Decoded, UpstreamError>,
    ) -> Poll<Result<(Head, Bytes), UpstreamError>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            let had = self.wire.input.len();
            match ready!(self.poll_read(cx)) {
                Ok(0) | Err(_) if had > 0 => return Poll::Ready(Err(UpstreamError::Truncated)),
                Ok(0) => return Poll::Ready(Err(self.lost(io::ErrorKind::UnexpectedEof.into()))),
                Err(error) => return Poll::Ready(Err(self.lost(error))),
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
        pin!(wire.stream.read_buf(&mut wire.input)).poll(cx)
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
                    }
                    Err(error) => self.broken = Some(error),
                }
                if self.broken.is_some() {
                    self.sending = false;
                    return Poll::Ready(Ok(()));
                }
            }
            self.wire.output.clear();
            self.written = 0;
            self.sending = match self.framing {
                Framing::None => false,
                Framing::Length(_) | Framing::Chunked | Framing::Frames if self.body.is_end_stream() => {
                    self.end_of_body()
                }
                Framing::Length(_) | Framing::Chunked | Framing::Frames => {
                    match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                        Some(Ok(frame)) => {
                            // Trailers are dropped.
                            if let Ok(data) = frame.into_data() {
                                put(&mut self.wire.output, self.framing, &data);
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

    /// The request's body, untouched, if nothing of the request was sent: it may go to another worker.
    pub fn into_body(self) -> Body {
        self.body
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
