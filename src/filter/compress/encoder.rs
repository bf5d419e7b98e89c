//! A body on its way out, encoded piece by piece.
//!
//! The encoder holds what it needs for its window and nothing else: every piece is encoded when it comes. What lies
//! in the encoder is sent on as soon as the body has nothing more at hand, so that a slow stream stays a stream,
//! and a fast one is not cut into small blocks. Large pieces are encoded by and by, and the thread's other requests
//! get their turn in between. Must not know who asked for it, or why.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::{Body as _, Frame};

use super::accept::Coding;
use crate::filter::{Body, BodyError};

/// After so many bytes others get their turn: a few hundred µs of work at the default levels, less than the time of
/// one request in Python.
const TURN: usize = 64 * 1024;
/// Brotli's window, as the power of two: 256 KiB are enough for API responses.
const BROTLI_WINDOW: u32 = 18;
/// zstd's. A level's own may be many MiB.
const ZSTD_WINDOW: u32 = 18;

/// One body's encoder. `Write` to a `Vec` cannot fail, so that what fails is the library.
pub enum Encoder {
    /// gzip
    Gzip(GzEncoder<Vec<u8>>),
    /// br
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    /// zstd
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// An encoder at a level of the coding's own scale.
    ///
    /// # Errors
    /// When the library cannot make one (zstd without memory).
    pub fn new(coding: Coding, level: u32) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::new(level))),
            Coding::Brotli => Self::Brotli(Box::new(CompressorWriter::new(Vec::new(), 4096, level, BROTLI_WINDOW))),
            Coding::Zstd => {
                let level = i32::try_from(level).unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.window_log(ZSTD_WINDOW)?;
                Self::Zstd(encoder)
            }
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(encoder) => encoder,
            Self::Brotli(encoder) => encoder,
            Self::Zstd(encoder) => encoder,
        }
    }

    /// What has come out so far.
    fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        };
        std::mem::take(out).into()
    }

    /// The end of the body.
    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        }
        .into())
    }

    /// All of a body at once; for small ones.
    ///
    /// # Errors
    /// When the library fails.
    pub fn whole(mut self, bytes: &[u8]) -> io::Result<Bytes> {
        self.writer().write_all(bytes)?;
        self.finish()
    }
}

/// A body that is encoded as it streams. Trailers of the original are dropped: they spoke of other bytes.
pub struct Encoded {
    body: Body,
    /// `None` behind the end.
    encoder: Option<Encoder>,
    /// Of the body, and not encoded yet.
    waiting: Bytes,
    /// The encoder may hold bytes back.
    dirty: bool,
    /// Bytes encoded in this turn.
    worked: usize,
}

impl Encoded {
    /// Encodes `body`.
    pub fn new(body: Body, encoder: Encoder) -> Self {
        Self { body, encoder: Some(encoder), waiting: Bytes::new(), dirty: false, worked: 0 }
    }

    /// Goes as far as it can; `Ready(None)` is the end.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            let Some(encoder) = &mut self.encoder else { return Poll::Ready(Ok(None)) };
            if self.worked >= TURN {
                self.worked = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.waiting.is_empty() {
                let piece = self.waiting.split_to(self.waiting.len().min(TURN));
                encoder.writer().write_all(&piece)?;
                self.worked += piece.len();
                self.dirty = true;
            } else {
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => self.waiting = frame.into_data().unwrap_or_default(),
                    Poll::Ready(Some(Err(error))) => {
                        // Half a body must not end like a whole one.
                        self.encoder = None;
                        return Poll::Ready(Err(error));
                    }
                    Poll::Ready(None) => {
                        let last = self.encoder.take().map(Encoder::finish).transpose()?;
                        return Poll::Ready(Ok(last));
                    }
                    Poll::Pending => {
                        self.worked = 0;
                        if !std::mem::take(&mut self.dirty) {
                            return Poll::Pending;
                        }
                        encoder.writer().flush()?;
                        let out = encoder.take();
                        // The body has taken the waker.
                        return if out.is_empty() { Poll::Pending } else { Poll::Ready(Ok(Some(out))) };
                    }
                }
            }
            let Some(encoder) = &mut self.encoder else { continue };
            let out = encoder.take();
            if !out.is_empty() {
                return Poll::Ready(Ok(Some(out)));
            }
        }
    }
}

impl http_body::Body for Encoded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.advance(cx).map(|result| result.map(|bytes| bytes.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none()
    }
}

#[cfg(test)]
mod tests;
