//! A token on its way: what the client sent, what it is kept under, and what Keystone said of it.
//!
//! Must not know where it is kept or who is asked.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;
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

/// A token and its names.
#[derive(Clone, Debug)]
pub struct TokenKey {
    /// What it is kept under in memory.
    pub hash: TokenHash,
    /// What stands for it elsewhere: itself, or a hash of one that is signed.
    pub id: Secret,
    /// Other hashes that may stand for it.
    pub others: Vec<Secret>,
    /// What Keystone is asked about.
    pub token: Secret,
}

impl TokenKey {
    /// A token as sent.
    pub fn new(token: impl Into<Secret>) -> Self {
        let token = token.into();
        Self { hash: TokenHash::of(token.expose()), id: token.clone(), others: Vec::new(), token }
    }

    /// A token that goes by other names, the first of which it is kept under.
    pub fn named(token: impl Into<Secret>, names: Vec<String>) -> Self {
        let mut names = names.into_iter().map(Secret::from);
        let Some(id) = names.next() else { return Self::new(token) };
        Self { hash: TokenHash::of(id.expose()), id, others: names.collect(), token: token.into() }
    }

    /// All of its names.
    pub fn ids(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.id).chain(&self.others)
    }
}

/// What Keystone said of a token, parsed once. Not for logs: v2.0 repeats the token.
pub struct Entry {
    /// `{"access": …}` (v2.0) or `{"token": …}` (v3), as the original keeps it: `keystone.token_info`.
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

    /// Reads Keystone's answer about a token. Since keystonemiddleware 2.0 it passes through keystoneclient
    /// (`access.py`, `AccessInfo.factory`), which adds its version and the token itself.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn told(body: Bytes, token: &Secret, era: Era) -> Result<Self, NotAToken> {
        let completed = if era < Era::KSM_2_0 { None } else { completed(&body, token) };
        Self::parse(completed.unwrap_or(body), era)
    }

    /// Whether the token has ended.
    pub fn is_expired(&self, now: SystemTime) -> bool {
        SystemTime::from(self.expires) <= now
    }
}

/// The answer with what keystoneclient adds; `None` if it is no answer about a token.
fn completed(body: &[u8], token: &Secret) -> Option<Bytes> {
    let mut answer: Value = serde_json::from_slice(body).ok()?;
    let root = answer.as_object_mut()?;
    let (about, version) = match root.get_mut("token") {
        Some(about) => (about, "v3"),
        None => (root.get_mut("access")?, "v2.0"),
    };
    let about = about.as_object_mut()?;
    about.insert("version".to_owned(), version.into());
    about.insert("auth_token".to_owned(), std::str::from_utf8(token.expose()).ok()?.into());
    serde_json::to_vec(&answer).ok().map(Bytes::from)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of an answer.
    fn kept(body: &'static str, era: Era) -> Value {
        let kept = Entry::told(Bytes::from_static(body.as_bytes()), &Secret::from("t1"), era).expect("a token").body;
        serde_json::from_slice(&kept).expect("JSON")
    }

    #[test]
    fn an_answer_is_kept_as_keystoneclient_completes_it() {
        let v3 = r#"{"token": {"expires_at": "2099-01-02T03:04:05.000000Z", "methods": [], "user": {"id": "u1",
                     "name": "bob", "domain": {"id": "d", "name": "D"}}}}"#;
        let now = kept(v3, Era::KSM_13_0);
        assert_eq!((&now["token"]["version"], &now["token"]["auth_token"]), (&"v3".into(), &"t1".into()));
        assert_eq!(now["token"]["user"]["name"], "bob");
        assert_eq!(kept(v3, Era::KSM_1_5), serde_json::from_str::<Value>(v3).expect("JSON"));
    }
}
