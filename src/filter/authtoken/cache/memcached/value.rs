//! The flags that Python's memcached clients keep beside a value, which say what it is.
//!
//! Must not know what the value means.

use std::io::{Read, Write};

/// Bytes of the largest value that is read, and the most that a compressed one may grow to.
pub(super) const LARGEST: usize = 8 << 20;
/// Bytes of the largest value that is written: more than memcached takes unless it is told to (`-I`).
pub(super) const LARGEST_WRITTEN: usize = 1 << 20;

/// python-memcached and python-binary-memcached: pickled, or a number.
const OBJECT: u32 = 1 | 2 | 4;
const COMPRESSED: u32 = 8;
/// Text for python-memcached, bytes for python-binary-memcached.
const TEXT: u32 = 16;
/// Bytes under which python-binary-memcached compresses nothing.
const WORTH_COMPRESSING: usize = 128;

/// A value as the one who wrote it had it; `None` for what cannot be text or bytes.
pub(super) fn unpack(value: Vec<u8>, flags: u32) -> Option<Vec<u8>> {
    if flags & OBJECT != 0 || flags & !(COMPRESSED | TEXT) != 0 {
        return None;
    }
    if flags & COMPRESSED == 0 {
        return Some(value);
    }
    let mut plain = Vec::new();
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    let read = flate2::read::ZlibDecoder::new(value.as_slice()).take(most + 1).read_to_end(&mut plain).ok()?;
    (read <= LARGEST).then_some(plain)
}

/// A value as python-binary-memcached writes bytes, and its flags.
pub(super) fn pack(value: &[u8]) -> (Vec<u8>, u32) {
    if value.len() > WORTH_COMPRESSING {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        if zlib.write_all(value).is_ok()
            && let Ok(packed) = zlib.finish()
            && packed.len() < value.len()
        {
            return (packed, TEXT | COMPRESSED);
        }
    }
    (value.to_vec(), TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_text_come_back_and_objects_do_not() {
        for flags in [0, TEXT] {
            assert_eq!(unpack(b"x".to_vec(), flags).unwrap(), b"x");
        }
        for flags in [1, 2, 4, 32, 1 << 31] {
            assert_eq!(unpack(b"x".to_vec(), flags), None);
        }
        for value in [vec![b'x'; 5], vec![b'x'; 5000]] {
            let (packed, flags) = pack(&value);
            assert_eq!(flags & COMPRESSED != 0, value.len() > WORTH_COMPRESSING);
            assert_eq!(unpack(packed, flags).unwrap(), value);
        }
    }

    #[test]
    fn a_value_that_grows_beyond_bounds_is_nothing() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(&vec![0; LARGEST + 1]).unwrap();
        let packed = zlib.finish().unwrap();
        assert!(packed.len() < 100_000);
        assert_eq!(unpack(packed, COMPRESSED), None);
        assert_eq!(unpack(b"no zlib".to_vec(), COMPRESSED), None);
    }
}
