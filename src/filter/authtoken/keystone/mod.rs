//! The client of Keystone: its credentials, its endpoints, and the one question whether a token is valid.
//!
//! Two generations of the original ask in two ways: [`client`] (an admin token at a fixed address) and [`session`]
//! (an auth [`plugin`] with [`credentials`], [`discovery`] of versions, and the address of the [`catalog`]). Both keep
//! their own token in a [`Shared`], of which there is one at a time, and speak through a [`transport`] that bounds time
//! and size. [`options`] makes one of them.
//! Must not know requests, or what is remembered of tokens.
//!
//! [`Shared`]: super::shared::Shared

mod answer;
mod catalog;
mod client;
mod credentials;
mod discovery;
mod json;
mod options;
mod plugin;
mod session;
#[cfg(test)]
pub(super) mod tests;
mod tls;
mod transport;

use std::fmt;

use bytes::Bytes;
use serde_json::Value;

use super::era::Era;
use super::secret::Secret;
use crate::filter::Build;
use crate::metrics::Metrics;

/// The label of its metrics.
const METRIC: &str = "authtoken";
/// Who asks, where the original names the versions of its Python libraries.
const AGENT: &[u8] = concat!("pasteway/", env!("CARGO_PKG_VERSION"), " keystonemiddleware.auth_token").as_bytes();

/// A Keystone and the account to ask it with.
pub struct Keystone {
    how: How,
}

/// The two generations.
enum How {
    Client(Box<client::Client>),
    Session(Box<session::Session>),
}

/// How to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whether a token that has expired lately is valid (a good service token stands beside it).
    pub allow_expired: bool,
    /// Whether the catalog is wanted (`include_service_catalog`).
    pub catalog: bool,
}

/// One of the files that tokens are verified with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// That of the key that signs them.
    Signing,
    /// That of who vouches for it.
    Authority,
}

/// Keystone knows the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validated {
    /// The JSON as Keystone sent it: an object that has `access` (v2.0) or `token` (v3).
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

/// Why a step on the way to an answer failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    /// Keystone answers with this status, from 400 on.
    #[error("Keystone answers {0}")]
    Status(u16),
    /// It does not answer, or has nothing to offer.
    #[error("{0}")]
    Unavailable(String),
    /// Its answer cannot be used.
    #[error("{0}")]
    Broken(String),
    /// The catalog does not name it.
    #[error("the catalog has no such endpoint of Keystone")]
    NoEndpoint,
}

impl Fault {
    fn broken(why: impl Into<String>) -> Self {
        Self::Broken(why.into())
    }
}

impl Keystone {
    /// Takes the options of account, endpoints, TLS, timeouts and retries. `None` after an error or [`Build::leave`].
    pub fn build(build: &mut Build<'_>, era: Era) -> Option<Self> {
        options::keystone(build, era)
    }

    /// Asks whether a token is valid; runs on the control runtime, bounds its own time, retries as the era does.
    ///
    /// Every exchange is counted by [`Metrics::keystone_request`].
    ///
    /// # Errors
    /// See [`KeystoneError`]. In the eras before keystonemiddleware 2.0 there is no `Broken`, and `Unavailable` is
    /// what the original does not remember as invalid.
    pub async fn validate(&self, metrics: &Metrics, token: &Secret, ask: Ask) -> Result<Validated, KeystoneError> {
        match &self.how {
            How::Client(client) => client.validate(metrics, token, ask).await,
            How::Session(session) => session.validate(metrics, token, ask).await,
        }
    }

    /// Asks for the list of revoked tokens: CMS as PEM.
    ///
    /// # Errors
    /// `Unavailable` when Keystone does not answer, else `Broken`.
    pub async fn revoked(&self, metrics: &Metrics) -> Result<String, KeystoneError> {
        let reply = match &self.how {
            How::Client(client) => client.revoked(metrics).await,
            How::Session(session) => session.revoked(metrics).await,
        };
        let answer: Value = serde_json::from_slice(&reply.map_err(failed)?).unwrap_or_default();
        let signed = answer.get("signed").and_then(Value::as_str);
        signed
            .map(str::to_owned)
            .ok_or_else(|| KeystoneError::Broken("Keystone's list of revoked tokens is none".into()))
    }

    /// Asks for certificates: what should be PEM.
    ///
    /// # Errors
    /// As [`revoked`](Self::revoked).
    pub async fn certificate(&self, metrics: &Metrics, which: Certificate) -> Result<Bytes, KeystoneError> {
        let reply = match &self.how {
            How::Client(client) => client.certificate(metrics, which).await,
            How::Session(session) => session.certificate(metrics, which).await,
        };
        reply.map_err(failed)
    }

    /// Where clients get tokens, when the options do not say it. Nobody is asked for it.
    pub fn uri(&self) -> Option<String> {
        match &self.how {
            How::Client(client) => Some(plugin::root(&client.base)),
            How::Session(session) => session.uri(),
        }
    }
}

/// A failure on the way to anything but a validation.
fn failed(fault: Fault) -> KeystoneError {
    match fault {
        Fault::Unavailable(why) => KeystoneError::Unavailable(why),
        fault => KeystoneError::Broken(fault.to_string()),
    }
}

impl fmt::Debug for Keystone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keystone")
    }
}
