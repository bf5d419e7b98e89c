//! Bodies of the stand-in's responses: text, filler, or the request's own body; none is held as a whole but text.
//!
//! Must not know why a body is sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

/// A response's body.
pub struct Body {
    source: Source,
    sized: bool,
    death: Option<Death>,
}

enum Source {
    Text(Bytes),
    /// So many bytes are left.
    Filler(u64),
    Echo(Incoming),
}

/// The end of the process in the middle of a body.
struct Death {
    left: u64,
    /// The bytes before it have had the time to leave the process.
    flushed: bool,
    die: fn() -> !,
}

static FILLER: [u8; 64 * 1024] = [b'.'; 64 * 1024];

impl Body {
    /// A body that is there already.
    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::new(Source::Text(text.into()))
    }

    /// So many bytes.
    pub fn filler(size: u64) -> Self {
        Self::new(Source::Filler(size))
    }

    /// Another body as it arrives. Trailers are dropped.
    pub fn echo(body: Incoming) -> Self {
        Self::new(Source::Echo(body))
    }

    fn new(source: Source) -> Self {
        Self { source, sized: true, death: None }
    }

    /// Hides its size, so that it is sent in chunks.
    pub fn chunked(mut self) -> Self {
        self.sized = false;
        self
    }

    /// Calls `die` after half of it, where its size is known, else at its end.
    pub fn dying(mut self, die: fn() -> !) -> Self {
        let left = self.source.size_hint().exact().map_or(u64::MAX, |size| size / 2);
        self.death = Some(Death { left, flushed: false, die });
        self
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        Poll::Ready(match self {
            Self::Text(text) if text.is_empty() => None,
            Self::Text(text) => Some(Ok(std::mem::take(text))),
            Self::Filler(0) => None,
            Self::Filler(left) => {
                let mut block = Bytes::from_static(&FILLER);
                block.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= block.len() as u64;
                Some(Ok(block))
            }
            Self::Echo(body) => loop {
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        if let Ok(bytes) = frame.into_data() {
                            break Some(Ok(bytes));
                        }
                    }
                    Some(Err(error)) => break Some(Err(error)),
                    None => break None,
                }
            },
        })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.len() as u64),
            Self::Filler(left) => SizeHint::with_exact(*left),
            Self::Echo(body) => body.size_hint(),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some(death) = &mut this.death else {
            return this.source.poll(cx).map(|bytes| bytes.map(|bytes| bytes.map(Frame::data)));
        };
        if death.left > 0
            && let Some(bytes) = ready!(this.source.poll(cx))
        {
            let mut bytes = bytes?;
            bytes.truncate(usize::try_from(death.left).unwrap_or(usize::MAX));
            death.left -= bytes.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if death.flushed {
            (death.die)();
        }
        // The server flushes what it has before it asks again.
        death.flushed = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.sized && self.death.is_none() && self.source.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized { self.source.size_hint() } else { SizeHint::default() }
    }
}
