//! A packet of uWSGI's own protocol: variables, each a length and its bytes, behind a head of four bytes.
//!
//! ```text
//! modifier1 u8 = 0, length u16, modifier2 u8 = 0, then (length u16, key, length u16, value)*; numbers little-endian
//! ```
//!
//! As uWSGI reads it (`core/protocol.c` and `proto/uwsgi.c` of 2.0). A body follows raw, `CONTENT_LENGTH` bytes of it; the
//! answer is an HTTP response that ends with the connection. Must not know which variables there are.

/// More bytes of variables than this no packet can tell.
pub const LIMIT: usize = u16::MAX as usize;
/// Bytes before the variables.
const HEAD: usize = 4;

/// The request is larger than a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// A packet on its way out.
#[derive(Debug)]
pub struct Packet<'a> {
    out: &'a mut Vec<u8>,
    begin: usize,
}

impl<'a> Packet<'a> {
    /// Begins one behind what is in `out`.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        let begin = out.len();
        out.extend_from_slice(&[0; HEAD]);
        Self { out, begin }
    }

    /// Adds a variable.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            // One that is too long makes the packet too long, which `end` tells.
            self.out.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes());
            self.out.extend_from_slice(part);
        }
    }

    /// Completes it.
    ///
    /// # Errors
    /// It is too long; what was written of it is taken back.
    pub fn end(self) -> Result<(), TooLarge> {
        let Self { out, begin } = self;
        let Ok(length) = u16::try_from(out.len() - begin - HEAD) else {
            out.truncate(begin);
            return Err(TooLarge);
        };
        let head = [0].into_iter().chain(length.to_le_bytes()).chain([0]);
        out.iter_mut().skip(begin).zip(head).for_each(|(place, byte)| *place = byte);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_as_uwsgi_reads_it() {
        let mut out = b"x".to_vec();
        let mut packet = Packet::begin(&mut out);
        packet.put(b"AB", b"c");
        packet.put(b"D", b"");
        assert_eq!(packet.end(), Ok(()));
        assert_eq!(out, b"x\0\x0c\0\0\x02\0AB\x01\0c\x01\0D\0\0");
    }

    #[test]
    fn a_packet_that_is_too_large_leaves_nothing_behind() {
        for (value, fits) in [(LIMIT - 5, true), (LIMIT - 4, false), (1 << 20, false)] {
            let mut out = Vec::new();
            let mut packet = Packet::begin(&mut out);
            packet.put(b"K", &vec![b'v'; value]);
            assert_eq!(packet.end().is_ok(), fits, "{value}");
            assert_eq!(out.is_empty(), !fits);
        }
    }
}
