//! A request's gzip body, inflated in memory within bounds: what is too large, too dense or no gzip goes no further.
//!
//! It is held as a whole, because only a whole body can be judged: the worker sees a request with a length or none
//! at all. Must not know what is answered.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;

use crate::filter::{Body, BodyError};

/// So many bytes may come out of however few.
const FREE: usize = 64 * 1024;
/// Bytes that are fed at once. Deflate makes at most about a thousand times as many of them, and the limit stops it
/// before that.
const PIECE: usize = 4 * 1024;
/// After so many bytes others get their turn.
const TURN: usize = 64 * 1024;

/// How large an inflated body may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes. The body as it was sent may not have more of them either.
    pub limit: usize,
    /// How many times as long as it was sent, beyond the first 64 KiB.
    pub ratio: usize,
}

/// How inflating ended.
pub enum Inflated {
    /// All of the body.
    Whole(Bytes),
    /// It passes the bounds.
    TooLarge,
    /// It is no gzip, or ends too early.
    Garbage(io::Error),
    /// The client has gone or talks nonsense.
    Broken(BodyError),
}

/// Takes bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit.saturating_sub(self.bytes.len()) {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads and inflates a body; of several gzip members, all.
pub async fn inflate(mut body: Body, bounds: Bounds) -> Inflated {
    let mut decoder = MultiGzDecoder::new(Bounded { bytes: Vec::new(), limit: bounds.limit, full: false });
    let (mut taken, mut turn) = (0_usize, 0_usize);
    while let Some(frame) = body.frame().await {
        let data = match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => data,
            Ok(Err(_trailers)) => continue,
            Err(error) => return Inflated::Broken(error),
        };
        for piece in data.chunks(PIECE) {
            taken += piece.len();
            let before = decoder.get_ref().bytes.len();
            let fed = decoder.write_all(piece);
            let made = decoder.get_ref().bytes.len();
            let dense = made > FREE && made / bounds.ratio.max(1) > taken;
            if decoder.get_ref().full || dense || taken > bounds.limit {
                return Inflated::TooLarge;
            }
            if let Err(error) = fed {
                return Inflated::Garbage(error);
            }
            turn += made - before;
            if turn >= TURN {
                turn = 0;
                tokio::task::yield_now().await;
            }
        }
    }
    match decoder.try_finish() {
        Ok(()) => Inflated::Whole(std::mem::take(&mut decoder.get_mut().bytes).into()),
        Err(_) if decoder.get_ref().full => Inflated::TooLarge,
        Err(error) => Inflated::Garbage(error),
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const BOUNDS: Bounds = Bounds { limit: 1024 * 1024, ratio: 100 };

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn inflated(sent: Vec<u8>, bounds: Bounds) -> Inflated {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(inflate(Body::Full(sent.into()), bounds))
    }

    fn whole(sent: Vec<u8>, bounds: Bounds) -> Option<Bytes> {
        match inflated(sent, bounds) {
            Inflated::Whole(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        (0..length).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn all_members_are_one_body() {
        let sent = [gzip(b"hello, "), gzip(b""), gzip(b"you")].concat();
        assert_eq!(whole(sent, BOUNDS).as_deref(), Some(&b"hello, you"[..]));
        let large = noise(300_000);
        assert_eq!(whole(gzip(&large), BOUNDS).as_deref(), Some(&large[..]));
    }

    #[test]
    fn exactly_the_limit_is_allowed() {
        let bounds = Bounds { limit: 100, ratio: 100 };
        assert_eq!(whole(gzip(&[b'x'; 100]), bounds).map(|b| b.len()), Some(100));
        assert!(matches!(inflated(gzip(&[b'x'; 101]), bounds), Inflated::TooLarge));
    }

    #[test]
    fn a_bomb_is_stopped_by_its_size_and_by_its_density() {
        let bomb = gzip(&vec![0; 5_000_000]);
        assert!(matches!(inflated(bomb, BOUNDS), Inflated::TooLarge));
        let dense = gzip(&vec![0; 900_000]);
        assert!(matches!(inflated(dense.clone(), BOUNDS), Inflated::TooLarge), "denser than 100:1");
        assert!(whole(dense, Bounds { ratio: 2000, ..BOUNDS }).is_some());
        assert!(whole(gzip(&vec![0; FREE]), BOUNDS).is_some(), "the first 64 KiB are free");
    }

    #[test]
    fn a_body_that_makes_nothing_is_bounded_too() {
        let nothing = gzip(b"").repeat(100);
        let limit = nothing.len();
        assert!(whole(nothing.clone(), Bounds { limit, ratio: 1 }).is_some());
        assert!(matches!(inflated(nothing, Bounds { limit: limit - 1, ratio: 1 }), Inflated::TooLarge));
    }

    #[test]
    fn what_is_cut_short_or_changed_is_garbage() {
        let good = gzip(&noise(1000));
        for length in 0..good.len() {
            let cut = good.get(..length).unwrap_or_default().to_vec();
            assert!(matches!(inflated(cut, BOUNDS), Inflated::Garbage(_)), "cut at {length}");
        }
        for at in [0, 1, 2, good.len() - 1, good.len() - 5] {
            let mut changed = good.clone();
            changed[at] ^= 0x55;
            assert!(matches!(inflated(changed, BOUNDS), Inflated::Garbage(_)), "changed at {at}");
        }
        assert!(matches!(inflated([good, b"tail".to_vec()].concat(), BOUNDS), Inflated::Garbage(_)));
        assert!(matches!(inflated(b"hello".to_vec(), BOUNDS), Inflated::Garbage(_)));
    }
}
