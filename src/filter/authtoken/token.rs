//! A token on its way: what the client sent, what it is kept under, and what Keystone said of it.
//!
//! Must not know where it is kept or who is asked.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::era::Era;
use super::identity::Identity;
use super::secret::Secret;

/// SHA-256 of a token: what stands for it in memory, and, in hexadecimal digits, in memcached since
/// keystonemiddleware 2.0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Of the token as sent.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A token and its hash.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// What it is kept under.
    pub hash: TokenHash,
    /// What Keystone is asked about.
    pub token: Secret,
}

impl TokenKey {
    /// A token as sent.
    pub fn new(token: impl Into<Secret>) -> Self {
        let token = token.into();
        Self { hash: TokenHash::of(token.expose()), token }
    }
}

/// What Keystone said of a token, parsed once. Not for logs: v2.0 repeats the token.
pub struct Entry {
    /// `{"access": …}` (v2.0) or `{"token": …}` (v3), as it came: `keystone.token_info`.
    pub body: Bytes,
    /// When the token ends; looked at on every use.
    pub expires: DateTime<Utc>,
    /// What the headers of a request say.
    pub identity: Identity,
}

/// An answer of Keystone that is no token: the original raises an exception at it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAToken(pub &'static str);

impl Entry {
    /// Reads Keystone's answer.
    ///
    /// # Errors
    /// It is no JSON, or lacks what every token has.
    pub fn parse(body: Bytes, era: Era) -> Result<Self, NotAToken> {
        let (expires, identity) = Identity::parse(&body, era)?;
        Ok(Self { body, expires, identity })
    }

    /// Whether the token has ended.
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires <= now
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is remembered of a token.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Keystone knows it.
    Valid(Arc<Entry>),
    /// It does not; remembered up to keystonemiddleware 10.1.
    Invalid,
}
