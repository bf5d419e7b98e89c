//! What is remembered of tokens: in memory, and in memcached where it is shared.
//!
//! Must not know requests, or what Keystone is asked.

use std::sync::Arc;

use super::era::Era;
use super::token::{Entry, Outcome, TokenHash, TokenKey};
use crate::filter::Build;

/// Tokens and what Keystone said of them.
pub struct TokenCache;

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

impl TokenCache {
    /// Takes the options of the cache. `None` after an error or [`Build::leave`].
    pub fn build(_build: &mut Build<'_>, _era: Era) -> Option<Self> {
        Some(Self)
    }

    /// Looks into memory, for a data thread: neither waits nor allocates.
    pub fn peek(&self, _token: &TokenHash) -> Peek {
        Peek::Miss
    }

    /// Looks everywhere; runs on the control runtime. Never [`Peek::Ask`].
    pub async fn get(&self, _key: &TokenKey) -> Peek {
        Peek::Miss
    }

    /// Remembers; runs on the control runtime.
    pub async fn put(&self, _key: &TokenKey, _outcome: Outcome) {}
}
