//! What comes out of the encoder, and when.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::*;

/// A body as a script.
enum Step {
    Data(Bytes),
    Wait,
    Fail,
}

struct Script(VecDeque<Step>);

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.0.pop_front() {
            Some(Step::Data(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Step::Wait) => Poll::Pending,
            Some(Step::Fail) => Poll::Ready(Some(Err("gone".into()))),
            None => Poll::Ready(None),
        }
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn script(steps: impl IntoIterator<Item = Step>) -> Body {
    Body::Stream(Box::pin(Script(steps.into_iter().collect())))
}

fn encoded(coding: Coding, body: Body) -> Encoded {
    Encoded::new(body, Encoder::new(coding, 3).expect("an encoder"))
}

fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Coding::Gzip => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut out)),
        Coding::Brotli => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out)),
        Coding::Zstd => drop(zstd::stream::read::Decoder::new(bytes).expect("a decoder").read_to_end(&mut out)),
    }
    out
}

/// Polls to the end; the bytes that came, and how often it was pending.
fn drain(body: &mut Encoded) -> (Vec<u8>, usize) {
    let (mut all, mut pending) = (Vec::new(), 0);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Ready(Some(frame)) => {
                let data = frame.expect("no error").into_data().expect("data");
                assert!(!data.is_empty(), "an empty frame");
                all.extend_from_slice(&data);
            }
            Poll::Ready(None) => return (all, pending),
            Poll::Pending => pending += 1,
        }
    }
}

fn text(length: usize) -> Bytes {
    (0..length).map(|n| b"{\"servers\": []}, "[n % 17]).collect::<Vec<_>>().into()
}

#[test]
fn every_coding_gives_back_what_went_in() {
    for coding in Coding::ALL {
        let pieces = [text(10), Bytes::new(), text(100_000), text(1)];
        let mut body = encoded(coding, script(pieces.clone().map(Step::Data)));
        let (bytes, _) = drain(&mut body);
        assert_eq!(decoded(coding, &bytes), pieces.concat(), "{coding:?}");
        assert!(bytes.len() < 5_000, "{coding:?} made {}", bytes.len());
        assert!(body.is_end_stream());
        let (empty, _) = drain(&mut encoded(coding, Body::Empty));
        assert!(decoded(coding, &empty).is_empty() && !empty.is_empty(), "{coding:?}");
        let whole = Encoder::new(coding, 3).unwrap().whole(&text(3000)).unwrap();
        assert_eq!(decoded(coding, &whole), text(3000));
    }
}

#[test]
fn what_has_come_is_sent_on_when_nothing_more_is_at_hand() {
    for coding in Coding::ALL {
        let steps =
            [Step::Data("one, ".into()), Step::Data("two".into()), Step::Wait, Step::Wait, Step::Data("3".into())];
        let mut body = encoded(coding, script(steps));
        let mut cx = Context::from_waker(Waker::noop());
        let mut seen = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) {
            seen.extend_from_slice(&frame.into_data().expect("data"));
        }
        assert_eq!(decoded(coding, &seen), b"one, two", "{coding:?}");
        seen.extend_from_slice(&drain(&mut body).0);
        assert_eq!(decoded(coding, &seen), b"one, two3", "{coding:?}");
    }
}

#[test]
fn a_large_piece_lets_others_have_their_turn() {
    let mut body = encoded(Coding::Gzip, Body::Full(text(TURN * 4)));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let (mut pending, mut all) = (0, Vec::new());
    loop {
        match Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(frame)) => all.extend_from_slice(&frame.unwrap().into_data().unwrap()),
            Poll::Ready(None) => break,
            Poll::Pending => pending += 1,
        }
    }
    assert_eq!(pending, 4);
    assert_eq!(woken.0.load(Ordering::Relaxed), 4, "every pause wakes itself");
    assert_eq!(decoded(Coding::Gzip, &all).len(), TURN * 4);
}

#[test]
fn half_a_body_does_not_end_like_a_whole_one() {
    for coding in Coding::ALL {
        let mut body = encoded(coding, script([Step::Data(text(100)), Step::Fail]));
        let mut cx = Context::from_waker(Waker::noop());
        let failed = loop {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_))) => break true,
                _ => break false,
            }
        };
        assert!(failed, "{coding:?}");
        assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(None)));
    }
}
