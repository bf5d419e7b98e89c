//! The admin token: kept as a digest only, so that no dump and no log can show it.
//!
//! Must not know which requests need it.

use std::fmt;
use std::io;
use std::path::Path;

use aws_lc_rs::rand;
use sha2::{Digest, Sha256};

use crate::id::hex;

/// A bearer token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// The token with this text; white space around it does not count. `None` when nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(Sha256::digest(text).into()))
    }

    /// The token in a file (`admin_token_file`).
    ///
    /// # Errors
    /// The file cannot be read, is no UTF-8, or is empty: an empty file must not open what it was meant to close.
    pub fn read(path: &Path) -> io::Result<Self> {
        Self::new(&std::fs::read_to_string(path)?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the token file is empty"))
    }

    /// The text of a token that nobody can guess.
    ///
    /// # Errors
    /// The kernel has no random numbers.
    pub fn random() -> io::Result<String> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(hex(&bytes))
    }

    /// Whether the text is this token; takes the same time for every wrong one of a length.
    pub(super) fn is(&self, presented: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(presented).into();
        self.0.iter().zip(digest).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Token::new(" s3cret\n").unwrap();
        assert!(token.is(b"s3cret"));
        for wrong in ["", "s3cre", "s3crets", "S3cret"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "***");
    }

    #[test]
    fn an_empty_token_file_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\n").unwrap();
        assert_eq!(Token::read(file.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
