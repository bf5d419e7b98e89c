//! The protocol of the Python host, from the front's end: a [`packet`] out, [`frames`] back.
//!
//! ```text
//! packet: mount u16, flags u16, nones u16, pairs u16, script u32, text u32, extra u32, info u32, service u32
//!         text     keys whose value is None, then key and value in turn, each ended by NUL; SCRIPT_NAME, PATH_INFO
//!         extra    a JSON object of further values of the environ
//!         info     JSON of a validated token;  service: the same of a service token
//! body:   frames of a length u32 and bytes; a length of 0 ends it.     Only with flag 1
//! back:   frames of a kind u8, a length u32 and bytes: `H` head, `D` a piece of the body, `E` the end, `X` the app failed
//! ```
//!
//! Numbers are big-endian. The other end, and the fields in full, stand at the head of
//! [`host.py`](crate::worker::host). Python takes the packet apart with one `unpack` and one `split`, which is what makes
//! it cheap there; so `text` is bytes as a WSGI environ has them, without escapes.
//!
//! Must not know the tree that a request walked, or how connections are kept.

pub mod frames;
pub mod packet;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http::Method;
    use http_body::Frame;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};

    use crate::filter::{Body, BodyError, Whole};
    use crate::proxy::snapshot::Protocol;
    use crate::proxy::upstream::decode::Length;
    use crate::proxy::upstream::encode::Framing;
    use crate::proxy::upstream::exchange::Exchange;
    use crate::proxy::upstream::wire::Wire;
    use crate::proxy::upstream::{self, UpstreamError};
    use crate::worker::wire::NOT_ACCEPTED;

    const ANSWER: &[u8] = b"H\0\0\0\x06200 OKD\0\0\0\x02hiE\0\0\0\0";

    /// A body of unknown length.
    struct Pieces(std::array::IntoIter<&'static str, 3>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
        }
    }

    /// The beginning of a body, which comes late.
    struct Late(u32);

    impl http_body::Body for Late {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.0 += 1;
            if self.0 == 2 { Poll::Ready(Some(Ok(Frame::data("ab".into())))) } else { Poll::Pending }
        }
    }

    /// An exchange that begins to send `PACKET` and a body, and the host's end of its connection.
    async fn begun(body: Body, framing: Framing) -> (Exchange, UnixStream) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).expect("bound");
        let mut wire =
            Wire::connect(tokio::net::UnixSocket::new_stream().expect("a socket"), &path, 1).await.expect("connected");
        let (host, _) = listener.accept().await.expect("accepted");
        wire.output.extend_from_slice(b"PACKET");
        (upstream::start(wire, body, framing, None), host)
    }

    async fn answered(answer: &'static [u8]) -> Result<(Length, Bytes), UpstreamError> {
        let (mut exchange, mut host) = begun(Body::Empty, Framing::None).await;
        let front = poll_fn(|cx| exchange.poll_head(cx, Protocol::Framed, &Method::GET));
        let script = async move {
            host.read_exact(&mut [0; 6]).await.expect("a request");
            host.write_all(answer).await.expect("written");
        };
        tokio::join!(front, script).0.map(|(head, first)| (head.length, first))
    }

    #[tokio::test]
    async fn a_body_that_is_there_goes_out_with_the_packet_and_the_wire_can_be_kept() {
        let (mut exchange, mut host) = begun(Body::from("abc"), Framing::Frames).await;
        let front = poll_fn(|cx| exchange.poll_head(cx, Protocol::Framed, &Method::POST));
        let script = async {
            let mut got = [0; 17];
            host.read_exact(&mut got).await.expect("a request");
            assert_eq!(&got, b"PACKET\0\0\0\x03abc\0\0\0\0");
            host.write_all(ANSWER).await.expect("written");
        };
        let (head, ()) = tokio::join!(front, script);
        let (head, first) = head.expect("a head");
        assert_eq!(head.response.status(), 200);
        assert_eq!(super::frames::whole(&first).as_deref(), Some(&b"hi"[..]));
        assert!(exchange.finish().is_some());
    }

    #[tokio::test]
    async fn a_stream_goes_out_in_frames() {
        let body = Body::Stream(Box::pin(Pieces(["ab", "", "c"].into_iter())));
        let (mut exchange, mut host) = begun(body, Framing::Frames).await;
        let front = poll_fn(|cx| exchange.poll_head(cx, Protocol::Framed, &Method::POST));
        let script = async {
            let mut got = [0; 21];
            host.read_exact(&mut got).await.expect("a request");
            assert_eq!(&got, b"PACKET\0\0\0\x02ab\0\0\0\x01c\0\0\0\0");
            host.write_all(ANSWER).await.expect("written");
        };
        assert!(tokio::join!(front, script).0.is_ok());
    }

    #[tokio::test]
    async fn a_host_that_goes_before_it_answers_has_died_and_one_in_its_head_has_cut_it_off() {
        let early = answered(b"").await.expect_err("nothing came");
        assert!(matches!(early, UpstreamError::Died(_)), "{early}");
        assert!(early.nothing_received() && !early.nothing_sent());
        let late = answered(b"H\0\0\0\x06200").await.expect_err("half a head");
        assert!(matches!(late, UpstreamError::Truncated), "{late}");
        assert!(!late.nothing_received());
    }

    #[tokio::test]
    async fn what_nobody_had_accepted_goes_elsewhere_if_its_body_is_still_there() {
        for framing in [Framing::Frames, Framing::Length(3), Framing::Chunked] {
            for (pieces, kept) in [(["abc", "", ""], true), (["ab", "", "c"], false)] {
                let body = Body::Stream(Box::pin(Pieces(pieces.into_iter())));
                let (mut exchange, mut host) = begun(body, framing).await;
                host.write_all(&[NOT_ACCEPTED]).await.expect("written");
                let answer = poll_fn(|cx| exchange.poll_head(cx, Protocol::Framed, &Method::POST)).await;
                let error = answer.map(drop).expect_err("nobody answers");
                assert_eq!(error.nothing_sent(), kept, "{error}");
                if kept {
                    let body = exchange.into_body().whole(9).await;
                    assert!(matches!(body, Whole::Bytes(bytes) if bytes == "abc"));
                }
            }
        }
    }

    #[tokio::test]
    async fn the_beginning_of_a_body_never_goes_elsewhere_as_the_whole() {
        for framing in [Framing::Frames, Framing::Length(3), Framing::Chunked] {
            let (mut exchange, mut host) = begun(Body::Stream(Box::pin(Late(0))), framing).await;
            let mut head = |cx: &mut Context<'_>| exchange.poll_head(cx, Protocol::Framed, &Method::POST);
            assert!(poll_fn(|cx| Poll::Ready(head(cx).is_pending())).await);
            host.write_all(&[NOT_ACCEPTED]).await.expect("written");
            drop(host);
            let error = poll_fn(head).await.map(drop).expect_err("nobody answers");
            assert!(!error.nothing_sent(), "{error}");
        }
    }

    #[tokio::test]
    async fn an_app_s_failure_is_no_reason_to_try_again() {
        let failed = answered(b"X\0\0\0\x04boom").await.expect_err("it failed");
        assert!(matches!(&failed, UpstreamError::App(text) if text == "boom"), "{failed}");
        assert!(!failed.nothing_received());
    }

    #[tokio::test]
    async fn a_head_larger_than_any_is_refused() {
        let (mut exchange, mut host) = begun(Body::Empty, Framing::None).await;
        let front = async move { poll_fn(|cx| exchange.poll_head(cx, Protocol::Framed, &Method::GET)).await.map(drop) };
        let script = async {
            host.write_all(b"H\0\xff\xff\xff").await.expect("written");
            // The front closes in the middle of it.
            let _ = host.write_all(&vec![b'a'; 0xff_ffff]).await;
        };
        let (refused, ()) = tokio::join!(front, script);
        assert!(matches!(refused, Err(UpstreamError::Invalid(_))));
    }
}
