//! What is remembered of tokens: in memory, and in memcached where it is shared with the services in Python
//! (`keystonemiddleware/auth_token/_cache.py`, `keystoneclient/middleware/auth_token.py`).
//!
//! ```text
//! peek ──▶ Near (a data thread)
//! get  ──▶ Near ──▶ Scheme ──▶ Cluster ──▶ unprotect ──▶ read ──▶ Near   (the control runtime)
//! put  ──▶ Near,    write ──▶ protect ──▶ Cluster
//! ```
//!
//! **The time.** `token_cache_time` begins when Keystone has answered. An answer that this front has asked for is
//! remembered here for that long. One that was found in memcached is as old as its writer makes it: memcached 1.6 says
//! how long it has left, and so long it is remembered here too; an older one does not say, and then it is asked again
//! for each request, as the original does. So no token is believed for longer than `token_cache_time` after Keystone was
//! asked, which the original does not do better. What is lost is that emptying memcached makes all services ask at once:
//! this front goes on with what it has until that time is over. 0 is for ever, as memcached has it; negative times
//! store nothing, but what others have stored is read.
//!
//! Whether a token itself has ended is for the asker to see, on every hit: with a good service token an ended one may
//! still count.
//!
//! Must not know requests, or what Keystone is asked.

mod crypt;
mod keys;
mod memcached;
mod near;
mod options;
mod value;

#[cfg(test)]
mod live;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::era::Era;
use super::secret::Secret;
use super::token::{Entry, Outcome, TokenHash, TokenKey};
use crate::filter::Build;
use keys::Scheme;
use memcached::{Cluster, Found};
use near::Near;
use value::Said;

/// Tokens and what Keystone said of them.
pub struct TokenCache {
    era: Era,
    /// `token_cache_time`, as memcached is told it.
    time: i64,
    /// The same: the inner `None` is for ever, the outer not at all.
    life: Option<Option<Duration>>,
    near: Near,
    far: Option<Far>,
}

/// memcached, and how tokens are kept there.
struct Far {
    cluster: Cluster,
    scheme: Scheme,
}

/// What the memory knows of a token.
#[derive(Clone, Debug)]
pub enum Peek {
    /// Keystone knows it. Whether it has expired is for the asker to see.
    Hit(Arc<Entry>),
    /// Keystone did not know it a moment ago.
    Invalid,
    /// Nothing is known here, and there is no other place to look: ask Keystone.
    Miss,
    /// Nothing is known here; [`TokenCache::get`] looks in memcached.
    Ask,
}

impl From<Outcome> for Peek {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Valid(entry) => Self::Hit(entry),
            Outcome::Invalid => Self::Invalid,
        }
    }
}

impl TokenCache {
    /// Takes the options of the cache. `None` after an error or [`Build::leave`].
    pub fn build(build: &mut Build<'_>, era: Era) -> Option<Self> {
        let options = options::take(build, era)?;
        let life = options.life();
        let scheme = Scheme::new(era, options.vault);
        let far = options.cluster.map(|cluster| Far { cluster, scheme });
        Some(Self { era, time: options.time, life, near: Near::new(life.flatten()), far })
    }

    /// Looks into memory, for a data thread: neither waits nor allocates.
    pub fn peek(&self, token: &TokenHash, now: Instant) -> Peek {
        match self.near.get(token, now) {
            Some(outcome) => outcome.into(),
            None if self.far.is_some() => Peek::Ask,
            None => Peek::Miss,
        }
    }

    /// Looks everywhere; runs on the control runtime. Never [`Peek::Ask`]. Takes at most the options' timeouts, and is a
    /// [`Peek::Miss`] when memcached does not answer.
    pub async fn get(&self, key: &TokenKey) -> Peek {
        if let Some(outcome) = self.near.get(&key.hash, Instant::now()) {
            return outcome.into();
        }
        let Some(far) = &self.far else { return Peek::Miss };
        for id in key.ids() {
            // The life that it has left began no later than here.
            let asked = Instant::now();
            let Some((outcome, left)) = self.find(far, id).await else { continue };
            if let Some(until) = self.until(left, asked) {
                self.near.put(key.hash, outcome.clone(), until);
            }
            return outcome.into();
        }
        Peek::Miss
    }

    /// What memcached has under one name of a token, and how many seconds more.
    async fn find(&self, far: &Far, id: &Secret) -> Option<(Outcome, Option<i64>)> {
        let place = far.scheme.place(id);
        let Found { value, left } = far.cluster.get(&place.key).await?;
        let plain = match &place.protection {
            None => value,
            Some(keys) => keys.unprotect(&value).or_else(|| {
                tracing::warn!("what memcached has of a token is not signed with this memcache_secret_key");
                None
            })?,
        };
        let outcome = match value::read(plain, self.era)? {
            Said::Invalid => Outcome::Invalid,
            Said::Valid(answer) => Outcome::Valid(Arc::new(Entry::parse(answer, self.era).ok()?)),
        };
        Some((outcome, left))
    }

    /// Remembers; runs on the control runtime. It is in memory before anything is waited for.
    pub async fn put(&self, key: &TokenKey, outcome: Outcome) {
        // Later releases ask Keystone each time.
        if matches!(outcome, Outcome::Invalid) && self.era >= Era::KSM_10_2 {
            return;
        }
        match self.life {
            Some(life) => {
                self.near.put(key.hash, outcome.clone(), life.and_then(|life| Instant::now().checked_add(life)))
            }
            None => self.near.remove(&key.hash),
        }
        let Some(far) = &self.far else { return };
        let place = far.scheme.place(&key.id);
        let plain = value::write(&outcome, self.era);
        let value = place.protection.map_or(Some(plain.clone()), |keys| keys.protect(&plain));
        if let Some(value) = value {
            far.cluster.set(&place.key, &value, self.time).await;
        }
    }

    /// Until when something that has `left` seconds in memcached may be remembered here; `None` not at all.
    #[allow(clippy::option_option)]
    fn until(&self, left: Option<i64>, asked: Instant) -> Option<Option<Instant>> {
        let life = self.life?;
        let left = match left? {
            // It has no end there: then its age is not known.
            ..0 => return life.is_none().then_some(None),
            seconds => Duration::from_secs(u64::try_from(seconds).ok()?),
        };
        let left = life.map_or(left, |life| left.min(life));
        Some(asked.checked_add(left))
    }
}

#[cfg(test)]
mod tests;
