//! Tokens that Keystone signed, which are verified without asking it (`keystoneclient/middleware/auth_token.py`,
//! `verify_signed_token`; `keystonemiddleware/auth_token/__init__.py`, `_validate_offline`).
//!
//! ```text
//! token ─▶ [Form] ─▶ revoked? ─▶ signed by a certificate of signing_cert.pem, for which cacert.pem vouches? ─▶ its JSON
//!                       │                                │                       │
//!                 [Revoked] ◀── Keystone             [Store] ◀──────────── Keystone
//! ```
//!
//! Keystone is asked for the list when the last one is `revocation_cache_time` old, and for certificates when they are
//! not there; each by one question at a time ([`Shared`]), in the order in which the original comes upon what it lacks.
//! Must not know caches of tokens, or requests.

mod chain;
mod cms;
mod form;
mod options;
mod revoked;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::Value;

use self::chain::Certificates;
use self::cms::Message;
pub use self::form::Form;
use self::form::{Hash, pem};
use self::revoked::Revoked;
use self::store::{File, Stamp, Store};
use super::era::Era;
use super::keystone::{Certificate, Keystone, KeystoneError};
use super::secret::Secret;
use super::shared::Shared;
use super::token::TokenKey;
use crate::filter::Build;
use crate::metrics::Metrics;

/// Verifies signed tokens.
pub struct Pki {
    era: Era,
    /// `hash_algorithms`: the first names tokens in caches, each may name them in the list.
    hashes: Vec<Hash>,
    /// `revocation_cache_time`
    life: Duration,
    /// `check_revocations_for_cached`
    check_cached: bool,
    store: Arc<Store>,
    signing: Shared<Held, Refusal>,
    authorities: Shared<Held, Refusal>,
    revoked: Shared<Revoked, Refusal>,
    /// Whether a list of an earlier process has been looked for.
    looked: AtomicBool,
}

/// The certificates of a file, and what the file was like then.
struct Held {
    stamp: Stamp,
    certificates: Certificates,
}

/// Why a token is not believed. The texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not valid, or the original's exception makes it so.
    #[error("{0}")]
    Invalid(String),
    /// Keystone does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// There are no certificates to verify it with (`CertificateConfigError`).
    #[error("{0}")]
    NoCertificates(String),
    /// There is no list of revoked tokens (`RevocationListError`).
    #[error("{0}")]
    NoList(String),
    /// The original raises an exception that nobody expects.
    #[error("{0}")]
    Broken(String),
}

impl Refusal {
    fn invalid(why: &str) -> Self {
        Self::Invalid(why.to_owned())
    }

    fn broken(why: &str) -> Self {
        Self::Broken(why.to_owned())
    }
}

/// Who is asked, and who counts it.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Keystone.
    pub keystone: &'a Keystone,
    /// What counts the questions.
    pub metrics: &'a Metrics,
}

impl Pki {
    /// Takes the options. `None` after an error.
    pub fn build(build: &mut Build<'_>, era: Era) -> Option<Self> {
        options::take(build, era)
    }

    /// A token as it is kept and asked about.
    pub fn key(&self, token: Vec<u8>) -> TokenKey {
        let names = Form::of(&token, self.era).map(|_| self.names(&token)).unwrap_or_default();
        TokenKey::named(token, names)
    }

    /// The name under which the memory keeps a token; `None` when that is the token itself.
    pub fn name(&self, token: &[u8]) -> Option<String> {
        Form::of(token, self.era)?;
        self.hashes.first().map(|hash| hash.of(token))
    }

    fn names(&self, token: &[u8]) -> Vec<String> {
        self.hashes.iter().map(|hash| hash.of(token)).collect()
    }

    /// Whether tokens that are remembered may have been revoked since.
    pub fn checks_cached(&self) -> bool {
        self.check_cached
    }

    /// Looks for a token in the list of revoked ones.
    ///
    /// # Errors
    /// It is there, or nobody can tell.
    pub async fn check(&self, source: Source<'_>, key: &TokenKey) -> Result<(), Refusal> {
        let list = self.list(source).await?;
        let names: Vec<_> = key.ids().map(Secret::expose_text).collect();
        refuse(list.has(names.iter().map(AsRef::as_ref)))
    }

    /// What a signed token says.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn verify(&self, source: Source<'_>, key: &TokenKey, form: Form) -> Result<Bytes, Refusal> {
        let message = form.unpack(key.token.expose());
        if message.is_none() && form == Form::Packed && self.era >= Era::KSM_2_0 {
            return Err(Refusal::invalid("the token cannot be unpacked"));
        }
        if self.era < Era::KSM_6_0 {
            self.check(source, key).await?;
        }
        let token = self.signed(source, message).await?;
        if (Era::KSM_2_3..Era::KSM_6_0).contains(&self.era) {
            self.check_audits(source, &token).await?;
        }
        Ok(token)
    }

    /// Since keystonemiddleware 2.2 the list may name a token by the ids that its records have.
    async fn check_audits(&self, source: Source<'_>, token: &[u8]) -> Result<(), Refusal> {
        let token: Value = serde_json::from_slice(token).map_err(|_| Refusal::broken("the token is no JSON"))?;
        let ids = token.pointer("/access/token/audit_ids").or_else(|| token.pointer("/token/audit_ids"));
        let ids = ids.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if ids.is_empty() {
            return Ok(());
        }
        refuse(self.list(source).await?.has_audit(ids.iter().filter_map(Value::as_str)))
    }

    async fn list(&self, source: Source<'_>) -> Result<Arc<Revoked>, Refusal> {
        let current = |list: &Revoked| Instant::now() < list.until;
        self.revoked.get(current, self.fetch_list(source)).await
    }

    async fn fetch_list(&self, source: Source<'_>) -> Result<Revoked, Refusal> {
        if let Some((json, left)) = self.list_of_before().await {
            let until = Instant::now() + left;
            return Ok(Revoked::parse(&json, until).unwrap_or_else(|| Revoked::unreadable(until)));
        }
        let signed = source.keystone.revoked(source.metrics).await.map_err(|error| refusal(error, Refusal::NoList))?;
        let json = self.signed(source, pem(&signed)).await?;
        let list = Revoked::parse(&json, Instant::now() + self.life)
            .ok_or_else(|| Refusal::broken("the list of revoked tokens is no JSON"))?;
        if let Err(error) = self.store.write(File::Revoked, json).await {
            tracing::warn!(target: TARGET, "the list of revoked tokens cannot be kept in signing_dir: {error}");
        }
        Ok(list)
    }

    /// The list that an earlier process has left, and how much longer it counts. Only the first question looks for it.
    async fn list_of_before(&self) -> Option<(Bytes, Duration)> {
        if self.looked.swap(true, Ordering::Relaxed) {
            return None;
        }
        let (stamp, json) = self.store.read(File::Revoked).await?;
        let left = self.life.checked_sub(SystemTime::now().duration_since(stamp.written).unwrap_or_default())?;
        (!left.is_zero()).then_some((json, left))
    }

    /// What a signed message says; `None` is one that cannot be read, which the original notices no sooner.
    async fn signed(&self, source: Source<'_>, message: Option<Vec<u8>>) -> Result<Bytes, Refusal> {
        let mut fetched = false;
        let signing = self.certificates(source, File::Signing, &mut fetched).await?;
        let message = message.ok_or_else(|| Refusal::invalid("the signature cannot be read"))?;
        let message = Message::parse(&message).map_err(|_| Refusal::invalid("the signature cannot be read"))?;
        let authorities = self.certificates(source, File::Authorities, &mut fetched).await?;
        let said = signing.certificates.verify(&message, &authorities.certificates, SystemTime::now());
        said.map(Bytes::copy_from_slice).ok_or_else(|| Refusal::invalid("the signature is not good"))
    }

    /// The certificates of a file as it is now.
    async fn certificates(&self, source: Source<'_>, file: File, fetched: &mut bool) -> Result<Arc<Held>, Refusal> {
        let stamp = self.store.stamp(file).await;
        let shared = if file == File::Signing { &self.signing } else { &self.authorities };
        shared.get(|held| Some(held.stamp) == stamp, self.load(source, file, fetched)).await
    }

    /// Reads a file, which is fetched when it is not there. Since keystoneclient 0.8 one that is no good counts as not
    /// there, and both are fetched for either, once; before, it stayed as it was.
    async fn load(&self, source: Source<'_>, file: File, fetched: &mut bool) -> Result<Held, Refusal> {
        let mends = self.era >= Era::CLIENT_0_8;
        let name = if file == File::Signing { "the signing certificate" } else { "the authority of tokens" };
        match self.store.read(file).await.map(held) {
            Some(Some(held)) => return Ok(held),
            Some(None) if !mends => return Err(Refusal::Invalid(format!("{name} cannot be read"))),
            Some(None) if *fetched => return Err(Refusal::NoCertificates(format!("{name} cannot be read"))),
            _ => {}
        }
        *fetched = true;
        if mends {
            self.fetch(source, File::Signing).await?;
            self.fetch(source, File::Authorities).await?;
        } else {
            self.fetch(source, file).await?;
        }
        let broken = || Refusal::NoCertificates(format!("Keystone sends no certificate for {name}"));
        self.store.read(file).await.and_then(held).ok_or_else(broken)
    }

    async fn fetch(&self, source: Source<'_>, file: File) -> Result<(), Refusal> {
        let wanted = if file == File::Signing { Certificate::Signing } else { Certificate::Authority };
        let sent = source.keystone.certificate(source.metrics, wanted).await;
        let pem = sent.map_err(|error| refusal(error, Refusal::NoCertificates))?;
        self.store.write(file, pem).await.map_err(|error| Refusal::Broken(format!("signing_dir: {error}")))
    }
}

/// Where the log says that it comes from.
const TARGET: &str = "keystonemiddleware.auth_token";

fn held((stamp, pem): (Stamp, Bytes)) -> Option<Held> {
    Certificates::parse(&pem).map(|certificates| Held { stamp, certificates })
}

fn refuse(listed: Option<bool>) -> Result<(), Refusal> {
    match listed {
        Some(false) => Ok(()),
        Some(true) => Err(Refusal::invalid("the token has been revoked")),
        None => Err(Refusal::broken("the list of revoked tokens is none")),
    }
}

fn refusal(error: KeystoneError, otherwise: impl Fn(String) -> Refusal) -> Refusal {
    match error {
        KeystoneError::Unavailable(why) => Refusal::Unavailable(why),
        error => otherwise(error.to_string()),
    }
}
