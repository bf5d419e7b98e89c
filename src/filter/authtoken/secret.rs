//! A token, a password or a key: it prints as `***`, and comparing it takes the same time for every wrong one.
//!
//! Must not know what it opens.

use std::fmt;

use bytes::Bytes;

/// Bytes that no log, page or error may show. Cheap to clone.
#[derive(Clone, Default)]
pub struct Secret(Bytes);

impl Secret {
    /// What the secret is, for the one place that sends it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The same as text, without what is no UTF-8.
    pub fn expose_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Whether there is nothing to keep secret.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Into<Bytes>> From<T> for Secret {
    fn from(secret: T) -> Self {
        Self(secret.into())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).fold(0, |found, (a, b)| found | (a ^ b)) == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown_and_equals_only_itself() {
        let secret = Secret::from("s3cret");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(secret, Secret::from(String::from("s3cret")));
        for other in ["", "s3cre", "s3crets", "S3cret"] {
            assert_ne!(secret, Secret::from(other), "{other}");
        }
        assert_eq!(secret.expose(), b"s3cret");
        assert!(Secret::default().is_empty());
    }
}
