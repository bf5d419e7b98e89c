//! The client of Keystone: its credentials, its endpoints, and the one question whether a token is valid.
//!
//! Must not know requests, or what is remembered of tokens.

use bytes::Bytes;

use super::era::Era;
use super::secret::Secret;
use crate::filter::Build;
use crate::metrics::Metrics;

/// A Keystone and the account to ask it with.
pub struct Keystone;

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whether a token that has expired lately is valid (a good service token stands beside it).
    pub allow_expired: bool,
    /// Whether the catalog is wanted (`include_service_catalog`).
    pub catalog: bool,
}

/// Keystone knows the token.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The JSON as Keystone sent it.
    pub body: Bytes,
}

/// Why there is no [`Validated`]. The texts are for the log and hold no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeystoneError {
    /// Keystone does not know the token.
    #[error("the token is not valid")]
    Invalid,
    /// Keystone cannot be asked now.
    #[error("{0}")]
    Unavailable(String),
    /// The original raises an exception that nobody catches.
    #[error("{0}")]
    Broken(String),
}

impl Keystone {
    /// Takes the options of account, endpoints, TLS, timeouts and retries. `None` after an error or [`Build::leave`].
    pub fn build(_build: &mut Build<'_>, _era: Era) -> Option<Self> {
        Some(Self)
    }

    /// Asks whether a token is valid; runs on the control runtime, bounds its own time, retries as the era does.
    ///
    /// Every exchange is counted by [`Metrics::keystone_request`].
    ///
    /// # Errors
    /// See [`KeystoneError`].
    pub async fn validate(&self, _metrics: &Metrics, _token: &Secret, _ask: Ask) -> Result<Validated, KeystoneError> {
        Err(KeystoneError::Invalid)
    }

    /// Where clients get tokens, when the options do not say it.
    pub async fn uri(&self) -> Option<String> {
        None
    }
}
