//! Finding out about a token: in memory on the data thread, elsewhere on the control runtime.
//!
//! Must not know what a request is let in for.

use std::cell::LazyCell;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::Semaphore;

use super::Stop;
use super::cache::{Peek, TokenCache};
use super::era::Era;
use super::flights::{Flights, Verdict};
use super::keystone::{Ask, Keystone, KeystoneError};
use super::pki::{Form, Pki, Refusal, Source};
use super::refusal;
use super::token::{Entry, Outcome, TokenHash, TokenKey};
use crate::filter::Outside;
use crate::metrics::{CacheOutcome, Metrics, Tally};

/// Questions that Keystone is asked at the same time; more wait for their turn.
const TURNS: usize = 128;
/// How long a question waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// The label of its metrics.
const METRIC: &str = "authtoken";

/// Where the log says that it comes from.
const TARGET: &str = "keystonemiddleware.auth_token";

/// The wall clock as it was when somebody first wanted to know: reading it is dearer than it looks.
pub type Wall = LazyCell<SystemTime>;

type CacheTally = Tally<{ CacheOutcome::ALL.len() }>;

/// Knows tokens, or asks.
pub struct Asker {
    /// The release that answers.
    pub era: Era,
    catalog: bool,
    delay: bool,
    cache: TokenCache,
    keystone: Keystone,
    pki: Pki,
    flights: Arc<Flights>,
    turns: Semaphore,
    /// `www_authenticate_uri`
    uri: Option<String>,
    challenge: OnceLock<HeaderValue>,
    tally: OnceLock<Arc<CacheTally>>,
}

impl Asker {
    /// Nothing is being asked yet.
    pub fn new(
        era: Era,
        catalog: bool,
        delay: bool,
        cache: TokenCache,
        keystone: Keystone,
        pki: Pki,
        uri: Option<String>,
    ) -> Self {
        let (flights, turns, challenge) = (Arc::default(), Semaphore::new(TURNS), OnceLock::new());
        Self { era, catalog, delay, cache, keystone, pki, flights, turns, uri, challenge, tally: OnceLock::new() }
    }

    /// `WWW-Authenticate`. What no option says is looked for when it is needed first, among what is known then.
    pub fn challenge(&self) -> &HeaderValue {
        self.challenge.get_or_init(|| {
            let uri = self.uri.clone().or_else(|| self.keystone.uri());
            refusal::challenge(self.era, uri.as_deref())
        })
    }

    /// Where looks into memory are counted.
    pub fn tally(&self, metrics: &Metrics) -> &CacheTally {
        self.tally.get_or_init(|| metrics.token_cache(METRIC))
    }

    /// A token as it is kept and asked about.
    pub fn key(&self, token: &[u8]) -> TokenKey {
        self.pki.key(token.to_vec())
    }

    /// What the memory knows of a token, at a moment by both clocks; the second is read when it is wanted.
    pub fn known(&self, token: &[u8], now: Instant, wall: &Wall, tally: &CacheTally) -> Option<Verdict> {
        let hash = self.pki.name(token).map_or_else(|| TokenHash::of(token), |name| TokenHash::of(name.as_bytes()));
        let (outcome, verdict) = match self.cache.peek(&hash, now) {
            Peek::Hit(_) if self.pki.checks_cached() => (CacheOutcome::Hit, None),
            Peek::Hit(entry) if entry.is_expired(**wall) => {
                // The oldest asked again.
                (CacheOutcome::Expired, (self.era >= Era::KSM_1_3).then_some(Verdict::Valid(entry)))
            }
            Peek::Hit(entry) => (CacheOutcome::Hit, Some(Verdict::Valid(entry))),
            Peek::Invalid => (CacheOutcome::Negative, Some(Verdict::Invalid)),
            Peek::Miss | Peek::Ask => (CacheOutcome::Miss, None),
        };
        tally.count(outcome as usize);
        verdict
    }

    /// What is to be found out about a token, with all others who ask for it.
    pub async fn verdict(self: &Arc<Self>, outside: &Outside, key: TokenKey, allow_expired: bool) -> Verdict {
        let Some(seat) = self.flights.join((key.hash, allow_expired)) else {
            tracing::debug!(target: TARGET, "too many tokens are being asked about");
            return Verdict::Unavailable;
        };
        if let Some(landing) = seat.landing {
            let (asker, metrics) = (Arc::clone(self), outside.metrics.clone());
            // The question goes on when its asker gives up: others may wait for it.
            drop(outside.ask(async move {
                landing.tell(&asker.find_out(&metrics, &key, allow_expired).await);
            }));
        }
        seat.answer.await.unwrap_or(Verdict::Unavailable)
    }

    async fn find_out(&self, metrics: &Metrics, key: &TokenKey, allow_expired: bool) -> Verdict {
        match self.cache.get(key).await {
            Peek::Hit(entry) if self.era >= Era::KSM_1_3 || !entry.is_expired(SystemTime::now()) => {
                return self.recheck(metrics, key, entry).await;
            }
            Peek::Invalid => return Verdict::Invalid,
            Peek::Hit(_) | Peek::Miss | Peek::Ask => {}
        }
        let Ok(Ok(_turn)) = tokio::time::timeout(PATIENCE, self.turns.acquire()).await else {
            return Verdict::Unavailable;
        };
        let verdict = match self.validate(metrics, key, allow_expired).await {
            Ok(body) => match Entry::told(body, &key.token, self.era) {
                // The oldest remembered an expired token as an unknown one.
                Ok(entry) if self.era < Era::KSM_1_3 && entry.is_expired(SystemTime::now()) => Verdict::Invalid,
                Ok(entry) => Verdict::Valid(Arc::new(entry)),
                Err(error) => self.broken(&error.to_string()),
            },
            Err(KeystoneError::Invalid) => Verdict::Invalid,
            Err(KeystoneError::Unavailable(why)) => return unavailable(&why),
            Err(KeystoneError::Broken(why)) => self.broken(&why),
        };
        match &verdict {
            Verdict::Valid(entry) => self.cache.put(key, Outcome::Valid(Arc::clone(entry))).await,
            Verdict::Invalid if self.era < Era::KSM_10_2 => self.cache.put(key, Outcome::Invalid).await,
            _ => {}
        }
        verdict
    }

    /// A remembered token may have been revoked since (`check_revocations_for_cached`).
    async fn recheck(&self, metrics: &Metrics, key: &TokenKey, entry: Arc<Entry>) -> Verdict {
        if !self.pki.checks_cached() {
            return Verdict::Valid(entry);
        }
        match self.pki.check(Source { keystone: &self.keystone, metrics }, key).await {
            Ok(()) => Verdict::Valid(entry),
            Err(Refusal::Unavailable(why)) => unavailable(&why),
            Err(Refusal::NoList(why)) if self.era >= Era::KSM_2_0 => unavailable(&why),
            Err(Refusal::Broken(why)) if self.era >= Era::KSM_2_0 => self.broken(&why),
            Err(refusal) => {
                tracing::warn!(target: TARGET, "a remembered token counts as invalid: {refusal}");
                self.cache.put(key, Outcome::Invalid).await;
                Verdict::Invalid
            }
        }
    }

    /// Keystone's answer about a token, or what the token says itself.
    async fn validate(&self, metrics: &Metrics, key: &TokenKey, allow_expired: bool) -> Result<Bytes, KeystoneError> {
        if let Some(form) = Form::of(key.token.expose(), self.era) {
            let source = Source { keystone: &self.keystone, metrics };
            match self.pki.verify(source, key, form).await {
                Ok(body) => return Ok(body),
                Err(Refusal::Unavailable(why)) => return Err(KeystoneError::Unavailable(why)),
                Err(Refusal::NoCertificates(why) | Refusal::NoList(why)) if self.era >= Era::KSM_1_3 => {
                    tracing::warn!(target: TARGET, "{why}: Keystone is asked about a signed token");
                }
                Err(Refusal::Broken(why)) => return Err(KeystoneError::Broken(why)),
                Err(refusal) => {
                    tracing::warn!(target: TARGET, "a signed token counts as invalid: {refusal}");
                    return Err(KeystoneError::Invalid);
                }
            }
        }
        let ask = Ask { allow_expired, catalog: self.catalog };
        self.keystone.validate(metrics, &key.token, ask).await.map(|validated| validated.body)
    }

    /// Up to keystonemiddleware 1.x every exception meant an invalid token.
    fn broken(&self, why: &str) -> Verdict {
        tracing::error!(target: TARGET, "Keystone's answer cannot be used: {why}");
        if self.era < Era::KSM_2_0 { Verdict::Invalid } else { Verdict::Broken }
    }

    /// Whether a verdict ends the request.
    pub fn stops(&self, verdict: &Verdict) -> Option<Stop> {
        match verdict {
            Verdict::Valid(_) | Verdict::Invalid => None,
            Verdict::Unavailable if self.era < Era::KSM_2_0 || (self.delay && self.era >= Era::KSM_5_3) => None,
            Verdict::Unavailable => Some(Stop::Unavailable),
            Verdict::Broken => Some(Stop::Broken),
        }
    }

    /// The token, if it is valid.
    pub fn accepted(&self, verdict: Option<Verdict>) -> Result<Option<Arc<Entry>>, Stop> {
        let Some(verdict) = verdict else { return Ok(None) };
        match (self.stops(&verdict), verdict) {
            (Some(stop), _) => Err(stop),
            (None, Verdict::Valid(entry)) => Ok(Some(entry)),
            (None, _) => Ok(None),
        }
    }
}

fn unavailable(why: &str) -> Verdict {
    tracing::error!(target: TARGET, "Unable to validate token: {why}");
    Verdict::Unavailable
}
