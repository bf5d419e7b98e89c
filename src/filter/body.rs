//! The body of a request or a response on its way through the filters.
//!
//! Must not know where its bytes come from or go to.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

/// What may go wrong while a body streams; the connection that carries it cannot be used any further.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A streaming body that somebody else made.
pub type BodyStream = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>;

/// A body; bytes that are there already cost no allocation.
#[derive(Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// All of its bytes.
    Full(Bytes),
    /// As it arrives, from a client or a worker, or wrapped by a filter.
    Stream(BodyStream),
}

impl Body {
    /// Whether it certainly has no bytes.
    pub fn is_empty(&self) -> bool {
        http_body::Body::size_hint(self).exact() == Some(0)
    }

    /// How many bytes it has, when that is known.
    pub fn length(&self) -> Option<u64> {
        http_body::Body::size_hint(self).exact()
    }
}

/// A body that was read to its end, or not.
pub enum Whole {
    /// All of it.
    Bytes(Bytes),
    /// It has more bytes than it may.
    TooLarge,
    /// It broke off.
    Broken(BodyError),
}

impl Body {
    /// Reads it until its end or the first byte beyond the limit. Trailers are dropped.
    pub async fn whole(mut self, limit: u64) -> Whole {
        let mut whole = BytesMut::new();
        while let Some(frame) = self.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => {
                    if (whole.len() + data.len()) as u64 > limit {
                        return Whole::TooLarge;
                    }
                    whole.extend_from_slice(&data);
                }
                Ok(Err(_trailers)) => {}
                Err(error) => return Whole::Broken(error),
            }
        }
        Whole::Bytes(whole.freeze())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Full(text.into())
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Full(Bytes::from_static(text.as_bytes()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} B)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}
