//! What `memcache_security_strategy` does to keys and values in memcached (`_memcache_crypt.py` of keystonemiddleware,
//! `memcache_crypt.py` of keystoneclient).
//!
//! One HMAC-SHA384 of the token gives three keys of 16 bytes: the first is what the entry is kept under, the second
//! signs it, the third encrypts it. Must not know what the values mean, or how memcached is spoken to.

use aws_lc_rs::cipher::{
    AES_128, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::secret::Secret;

/// Bytes of each of the three keys.
const KEY: usize = 16;
/// Bytes of the initialization vector in front of what is encrypted.
const IV: usize = 16;
/// HMAC-SHA384 in base64.
const SIGNATURE: usize = 64;

/// The operator's strategy and secret.
pub(super) struct Vault {
    /// As it goes into the derivation: in capital letters up to keystonemiddleware 1.x, as written since.
    strategy: String,
    secret: hmac::Key,
    encrypts: bool,
}

/// The keys of one token.
pub(super) struct Keys {
    derived: [u8; 3 * KEY],
    encrypts: bool,
}

impl Vault {
    /// Encrypts when the strategy is `ENCRYPT` to the letter. Since keystonemiddleware 2.0 nothing makes capital
    /// letters of `encrypt`, and such entries are signed only.
    pub(super) fn new(strategy: &str, secret: &Secret) -> Self {
        Self {
            strategy: strategy.to_owned(),
            secret: hmac::Key::new(hmac::HMAC_SHA384, secret.expose()),
            encrypts: strategy == "ENCRYPT",
        }
    }

    /// The keys of a token.
    pub(super) fn keys(&self, token: &[u8]) -> Keys {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(token);
        context.update(self.strategy.as_bytes());
        let mut derived = [0; 3 * KEY];
        for (byte, digest) in derived.iter_mut().zip(context.sign().as_ref()) {
            *byte = *digest;
        }
        Keys { derived, encrypts: self.encrypts }
    }
}

impl Keys {
    /// What the token is kept under, in base64.
    pub(super) fn name(&self) -> String {
        STANDARD.encode(self.part(0))
    }

    fn part(&self, number: usize) -> &[u8] {
        self.derived.chunks(KEY).nth(number).unwrap_or_default()
    }

    fn signer(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA384, self.part(1))
    }

    /// Signs a value, encrypted before if the strategy says so. `None` when the machine has no randomness.
    pub(super) fn protect(&self, value: &[u8]) -> Option<Vec<u8>> {
        let data = if self.encrypts { STANDARD.encode(self.encrypt(value)?) } else { STANDARD.encode(value) };
        let signature = hmac::sign(&self.signer(), data.as_bytes());
        let mut protected = STANDARD.encode(signature.as_ref());
        protected.push_str(&data);
        Some(protected.into_bytes())
    }

    /// Checks a signature, and gives what it signs. `None` when anything is wrong with it.
    pub(super) fn unprotect(&self, protected: &[u8]) -> Option<Vec<u8>> {
        let (signature, data) = protected.split_at_checked(SIGNATURE)?;
        let signature = STANDARD.decode(signature).ok()?;
        hmac::verify(&self.signer(), data, &signature).ok()?;
        let data = STANDARD.decode(data).ok()?;
        if self.encrypts { self.decrypt(&data) } else { Some(data) }
    }

    fn encrypt(&self, value: &[u8]) -> Option<Vec<u8>> {
        let key = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_128, self.part(2)).ok()?).ok()?;
        let mut iv = [0; IV];
        rand::fill(&mut iv).ok()?;
        let mut text = value.to_vec();
        key.less_safe_encrypt(&mut text, EncryptionContext::Iv128(FixedLength::from(&iv))).ok()?;
        Some([iv.as_slice(), &text].concat())
    }

    fn decrypt(&self, data: &[u8]) -> Option<Vec<u8>> {
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_128, self.part(2)).ok()?).ok()?;
        let (iv, text) = data.split_first_chunk::<IV>()?;
        let mut text = text.to_vec();
        let plain = key.decrypt(&mut text, DecryptionContext::Iv128(FixedLength::from(iv))).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(strategy: &str) -> Keys {
        Vault::new(strategy, &Secret::from("swordfish")).keys(b"a token")
    }

    #[test]
    fn what_is_protected_comes_back_for_every_length() {
        for strategy in ["MAC", "ENCRYPT", "encrypt"] {
            let keys = keys(strategy);
            for length in 0..64 {
                let value = vec![b'x'; length];
                assert_eq!(keys.unprotect(&keys.protect(&value).unwrap()), Some(value), "{strategy} {length}");
            }
        }
        assert_ne!(keys("ENCRYPT").protect(b"x"), keys("ENCRYPT").protect(b"x"), "each has its own vector");
    }

    #[test]
    fn nothing_that_was_changed_comes_back() {
        for strategy in ["MAC", "ENCRYPT"] {
            let keys = keys(strategy);
            let whole = keys.protect(b"{\"token\": {}}").unwrap();
            for n in 0..whole.len() {
                let mut changed = whole.clone();
                changed[n] ^= 1;
                assert_eq!(keys.unprotect(&changed), None, "byte {n}");
                assert_eq!(keys.unprotect(&whole[..n]), None, "cut at {n}");
            }
            let other = Vault::new(strategy, &Secret::from("swordfisH")).keys(b"a token");
            assert_eq!(other.unprotect(&whole), None);
            assert_ne!(other.name(), keys.name());
        }
    }
}
