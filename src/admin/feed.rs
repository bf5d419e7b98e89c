//! Server-sent events: each a kind and JSON, for as long as somebody reads.
//!
//! Must not know what happens. The daemon waits for no reader: one that is too slow loses its stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

use crate::command::Event;

/// Events as the body of a response.
pub(super) struct Feed(pub(super) mpsc::Receiver<Event>);

impl Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|event| {
            event.map(|Event { kind, data }| Ok(Frame::data(format!("event: {kind}\ndata: {data}\n\n").into())))
        })
    }
}
