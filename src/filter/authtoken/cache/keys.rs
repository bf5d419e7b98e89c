//! What a token is kept under in memcached, by era and strategy.
//!
//! Must not know values, or servers.

use super::super::era::Era;
use super::super::secret::Secret;
use super::super::token::TokenHash;
use super::crypt::{Keys, Vault};
use crate::id::hex;

/// How keys are made.
pub(super) enum Scheme {
    /// The token itself (keystoneclient, keystonemiddleware 1.x).
    Raw,
    /// Its SHA-256 in hexadecimal digits (keystonemiddleware 2.0).
    Hashed,
    /// What `memcache_security_strategy` derives from it.
    Vault {
        /// The operator's secret.
        vault: Box<Vault>,
        /// Whether Python 3 writes the key: what it makes of bytes in a text has `b'…'` around it.
        python3: bool,
    },
}

/// A key, and what protects its value.
pub(super) struct Place {
    /// Of memcached.
    pub(super) key: Vec<u8>,
    /// `None` when nothing does.
    pub(super) protection: Option<Keys>,
}

impl Scheme {
    /// The scheme of an era, with the vault when there is a strategy.
    pub(super) fn new(era: Era, vault: Option<Vault>) -> Self {
        match vault {
            Some(vault) => Self::Vault { vault: Box::new(vault), python3: era.is_python3() },
            None if era < Era::KSM_2_0 => Self::Raw,
            None => Self::Hashed,
        }
    }

    /// Where a token is kept, by one of its names.
    pub(super) fn place(&self, id: &Secret) -> Place {
        let mut key = b"tokens/".to_vec();
        let protection = match self {
            Self::Raw => {
                key.extend(id.expose());
                None
            }
            Self::Hashed => {
                key.extend(hex(&TokenHash::of(id.expose()).0).into_bytes());
                None
            }
            Self::Vault { vault, python3 } => {
                let keys = vault.keys(id.expose());
                let name = if *python3 { format!("b'{}'", keys.name()) } else { keys.name() };
                key.extend(name.into_bytes());
                Some(keys)
            }
        };
        Place { key, protection }
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::{Said, read};
    use super::*;

    /// Made by `integration/memcached/vectors.py` with keystonemiddleware 13.0.1, and keystoneclient 0.4.1.
    const VECTORS: [(&str, Era); 2] =
        [(include_str!("vectors/modern.json"), Era::KSM_13_0), (include_str!("vectors/havana.json"), Era::CLIENT_0_4)];

    #[test]
    fn what_the_original_keeps_is_found_and_read() {
        let mut seen = 0;
        for (vectors, era) in VECTORS {
            let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
            for vector in vectors {
                let text = |name: &str| vector[name].as_str().map(str::to_owned);
                let vault = text("strategy").map(|strategy| Vault::new(&strategy, &Secret::from("swordfish")));
                let place = Scheme::new(era, vault).place(&Secret::from(text("token").unwrap()));
                assert_eq!(String::from_utf8(place.key).unwrap(), text("key").unwrap(), "{vector}");
                let value = text("value").unwrap().into_bytes();
                let plain = place.protection.map_or(Some(value.clone()), |keys| keys.unprotect(&value)).unwrap();
                assert_eq!(String::from_utf8(plain.clone()).unwrap(), text("json").unwrap());
                // No release of 13.0's age writes `"invalid"`; the same code did before 10.2.
                let era = if era == Era::KSM_13_0 { Era::KSM_9_1 } else { era };
                match read(plain, era) {
                    Some(Said::Valid(answer)) => {
                        assert!(answer.starts_with(b"{\"token\": {") && answer.ends_with(b"}}"))
                    }
                    Some(Said::Invalid) => assert_eq!(text("json").unwrap(), "\"invalid\""),
                    None => panic!("{vector}"),
                }
                seen += 1;
            }
        }
        assert_eq!(seen, 24);
    }

    #[test]
    fn old_releases_keep_a_token_under_itself() {
        let place = Scheme::new(Era::CLIENT_0_4, None).place(&Secret::from("0123"));
        assert_eq!(place.key, b"tokens/0123");
        assert!(place.protection.is_none());
    }
}
