//! Tokens that are signed themselves: how they are known, what they are packed in, and what they are shortened to
//! (`keystoneclient/common/cms.py`).
//!
//! Must not know what is inside.

use std::io::Read;

use aws_lc_rs::digest::{self, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use flate2::read::ZlibDecoder;
use md5::{Digest, Md5};

use crate::filter::authtoken::era::Era;
use crate::id::hex;

/// What a packed token may come to. The headers of a request are shorter, and the texts in a token have little in them
/// that repeats itself more than tenfold.
const LARGEST: u64 = 256 << 10;
const BEGIN: &str = "-----BEGIN CMS-----";
const END: &str = "-----END CMS-----";

/// The two forms of a signed token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `MII…`: CMS in base64, its `/` written as `-`.
    Plain,
    /// `PKIZ_…`: CMS as PEM, packed by zlib, in URL-safe base64. keystoneclient 0.9 and later.
    Packed,
}

impl Form {
    /// By how it begins, as far as an era knows. keystonemiddleware 7.0 knows none any more.
    pub fn of(token: &[u8], era: Era) -> Option<Self> {
        if era >= Era::KSM_7_0 {
            None
        } else if token.starts_with(b"MII") {
            Some(Self::Plain)
        } else if token.starts_with(b"PKIZ_") && era >= Era::CLIENT_0_9 {
            Some(Self::Packed)
        } else {
            None
        }
    }

    /// The CMS in it; `None` when there is none.
    pub fn unpack(self, token: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Plain => {
                let text: Vec<u8> = token.iter().map(|&byte| if byte == b'-' { b'/' } else { byte }).collect();
                STANDARD.decode(text).ok()
            }
            Self::Packed => {
                let packed = URL_SAFE.decode(token.strip_prefix(b"PKIZ_")?).ok()?;
                let mut text = String::new();
                ZlibDecoder::new(packed.as_slice()).take(LARGEST).read_to_string(&mut text).ok()?;
                pem(&text)
            }
        }
    }
}

/// The CMS in a PEM text, as Keystone sends the list of revoked tokens.
pub fn pem(text: &str) -> Option<Vec<u8>> {
    let (_, text) = text.split_once(BEGIN)?;
    let (text, _) = text.split_once(END)?;
    STANDARD.decode(text.split_ascii_whitespace().collect::<String>()).ok()
}

/// One of `hash_algorithms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// The default.
    Md5,
    /// All others.
    Sha(&'static str),
}

impl Hash {
    /// By its name in Python's `hashlib`.
    pub fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("md5") {
            return Some(Self::Md5);
        }
        let known = |sha: &&&'static str| sha.eq_ignore_ascii_case(name);
        ["sha1", "sha224", "sha256", "sha384", "sha512"].iter().find(known).map(|sha| Self::Sha(sha))
    }

    /// The hash of a token in hexadecimal digits: its name in caches and in the list of revoked tokens.
    pub fn of(self, token: &[u8]) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(token)),
            Self::Sha(name) => hex(digest(sha(name), token).as_ref()),
        }
    }
}

fn sha(name: &str) -> &'static digest::Algorithm {
    match name {
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha224" => &digest::SHA224,
        "sha384" => &digest::SHA384,
        "sha512" => &digest::SHA512,
        _ => &digest::SHA256,
    }
}
