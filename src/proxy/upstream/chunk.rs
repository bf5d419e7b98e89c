//! Takes the chunks of a response apart, strictly: a worker's mistake must not become another client's response.
//!
//! Extensions are ignored, trailers are dropped. Must not know where the bytes come from.

use bytes::{Buf, Bytes, BytesMut};

use super::UpstreamError;

/// A size line longer than this, or trailers longer than this, are refused.
const MAX_LINE: usize = 4 * 1024;

/// Where in the chunked coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunks {
    /// At a size line.
    Size,
    /// In a chunk, with so many bytes to come.
    Data(u64),
    /// At the line end behind a chunk.
    DataEnd,
    /// Behind the last chunk, with so many bytes of trailers seen.
    Trailers(usize),
    /// Behind the end.
    Done,
}

impl Chunks {
    /// The next piece of data in `input`; `None` when more bytes are needed, or when it is [`Chunks::Done`].
    ///
    /// # Errors
    /// [`UpstreamError::Invalid`].
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            match *self {
                Self::Done => return Ok(None),
                Self::Data(0) => *self = Self::DataEnd,
                Self::Data(left) => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let size = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    *self = Self::Data(left - size as u64);
                    return Ok(Some(input.split_to(size).freeze()));
                }
                Self::DataEnd => {
                    match input.get(..2) {
                        None => return Ok(None),
                        Some(b"\r\n") => input.advance(2),
                        Some(_) => return Err(UpstreamError::Invalid("a chunk is longer than its size")),
                    }
                    *self = Self::Size;
                }
                Self::Size => {
                    let Some(line) = take_line(input, 0)? else { return Ok(None) };
                    let digits = line[..].split(|b| *b == b';').next().unwrap_or_default().trim_ascii_end();
                    *self = match hexadecimal(digits).ok_or(UpstreamError::Invalid("bad chunk size"))? {
                        0 => Self::Trailers(0),
                        size => Self::Data(size),
                    };
                }
                Self::Trailers(seen) => {
                    let Some(line) = take_line(input, seen)? else { return Ok(None) };
                    *self = if line.is_empty() { Self::Done } else { Self::Trailers(seen + line.len()) };
                }
            }
        }
    }
}

/// A line without its end; `seen` counts towards the limit.
fn take_line(input: &mut BytesMut, seen: usize) -> Result<Option<BytesMut>, UpstreamError> {
    let Some(end) = input.iter().position(|b| *b == b'\n') else {
        return if input.len() + seen > MAX_LINE {
            Err(UpstreamError::Invalid("a chunk's size line is too long"))
        } else {
            Ok(None)
        };
    };
    if end + seen > MAX_LINE {
        return Err(UpstreamError::Invalid("trailers are too long"));
    }
    let mut line = input.split_to(end + 1);
    if !line.ends_with(b"\r\n") {
        return Err(UpstreamError::Invalid("a line of the chunked coding ends in a bare LF"));
    }
    line.truncate(end - 1);
    Ok(Some(line))
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(parts: &[&[u8]]) -> Result<(Vec<u8>, Chunks, BytesMut), UpstreamError> {
        let (mut state, mut input, mut data) = (Chunks::Size, BytesMut::new(), Vec::new());
        for part in parts {
            input.extend_from_slice(part);
            while let Some(piece) = state.next(&mut input)? {
                data.extend_from_slice(&piece);
            }
        }
        Ok((data, state, input))
    }

    #[test]
    fn chunks_with_extensions_and_trailers_are_their_data() {
        let (data, state, rest) =
            read(&[b"3;x=\"y\"\r\nabc\r\nA \r\n0123456789\r\n0\r\nX-T: 1\r\n\r\nrest"]).expect("valid");
        assert_eq!(
            (data.as_slice(), state, &rest[..]),
            (b"abc0123456789".as_slice(), Chunks::Done, b"rest".as_slice())
        );
    }

    #[test]
    fn bad_coding_is_refused() {
        for bad in [
            &b"x\r\n"[..],
            b"\r\n",
            b"-1\r\n",
            b"3\nabc",
            b"3\r\nabcd\r\n",
            b"10000000000000000\r\n",
            b"0\r\nA: b\n\r\n",
        ] {
            assert!(read(&[bad]).is_err(), "{bad:?}");
        }
        assert!(read(&[&[b'1'; 5000]]).is_err());
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_data(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8), step in 1_usize..9) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n\r\n");
            let parts: Vec<&[u8]> = coded.chunks(step).collect();
            let (data, state, rest) = read(&parts).expect("valid");
            prop_assert_eq!(data, chunks.concat());
            prop_assert_eq!(state, Chunks::Done);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&[&bytes]);
        }
    }
}
