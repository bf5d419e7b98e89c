//! What is believed, held against `openssl cms -verify` (`integration/pki/vectors` made the messages).

mod replay;

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::chain::Certificates;
use super::cms::Message;
use super::form::{Form, Hash, pem};
use super::*;
use crate::filter::authtoken::FACTORY;
use crate::filter::harness::build;
use crate::release::Release;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../vectors/", $name))
    };
}

/// What a message says, by the certificates of two files.
fn said(der: &[u8], signing: &[u8], authorities: &[u8], now: SystemTime) -> Option<Vec<u8>> {
    let message = Message::parse(der).ok()?;
    let certificates = |pem| Certificates::parse(pem).expect("certificates");
    certificates(signing).verify(&message, &certificates(authorities), now).map(<[u8]>::to_vec)
}

fn is_believed(token: &[u8], signing: &[u8], authorities: &[u8]) -> bool {
    let der = Form::Plain.unpack(token).expect("base64");
    said(&der, signing, authorities, SystemTime::now()).is_some()
}

#[test]
fn every_digest_and_form_of_keystone_is_believed() {
    let (signing, ca) = (vector!("signing.pem"), vector!("ca.pem"));
    for (name, token, believed) in [
        ("scoped", &vector!("scoped.token")[..], true),
        ("sha1", vector!("sha1.token"), true),
        ("sha384", vector!("sha384.token"), true),
        ("sha512", vector!("sha512.token"), true),
        ("with signed attributes and a certificate", vector!("attributes.token"), true),
        ("by the identifier of its key", vector!("keyid.token"), true),
        // openssl believes it.
        ("md5", vector!("md5.token"), false),
        ("without its content", vector!("detached.token"), false),
    ] {
        assert_eq!(is_believed(token, signing, ca), believed, "{name}");
    }
    let token = Form::Plain.unpack(vector!("scoped.token")).expect("base64");
    let text = said(&token, signing, ca, SystemTime::now()).expect("a good one");
    assert!(text.starts_with(b"{\"access\": {\"token\": {\"issued_at\""));
}

#[test]
fn a_certificate_counts_that_may_sign_and_that_the_authority_vouches_for() {
    let ca = &vector!("ca.pem")[..];
    for (name, token, signing, authorities, believed) in [
        ("a new key", &vector!("rotated.token")[..], &vector!("rotated.pem")[..], ca, true),
        ("another key", vector!("rotated.token"), vector!("signing.pem"), ca, false),
        ("of another authority", vector!("stranger.token"), vector!("stranger.pem"), ca, false),
        ("of that authority", vector!("stranger.token"), vector!("stranger.pem"), vector!("strange.pem"), true),
        ("for servers only", vector!("server.token"), vector!("server.pem"), ca, false),
        ("for encryption only", vector!("encipherment.token"), vector!("encipherment.pem"), ca, false),
        ("out of date", vector!("outdated.token"), vector!("outdated.pem"), ca, false),
        ("1024 bits, SHA-1", vector!("old.token"), vector!("signing-old.pem"), vector!("old.pem"), true),
        ("the authority itself", vector!("self.token"), vector!("ca.pem"), ca, true),
    ] {
        assert_eq!(is_believed(token, signing, authorities), believed, "{name}");
    }
    let both = [&vector!("signing.pem")[..], vector!("rotated.pem")].concat();
    assert!(is_believed(vector!("rotated.token"), &both, ca), "while keys change, a file may hold both");
    let token = Form::Plain.unpack(vector!("scoped.token")).expect("base64");
    let later = SystemTime::now() + Duration::from_secs(200 * 365 * 86400);
    assert!(said(&token, vector!("signing.pem"), ca, later).is_none());
}

#[test]
fn no_byte_of_a_token_can_be_changed() {
    let (signing, ca) = (vector!("signing.pem"), vector!("ca.pem"));
    let good = Form::Plain.unpack(vector!("revoked.token")).expect("base64");
    let said_before = said(&good, signing, ca, SystemTime::now()).expect("a good one");
    let signing = Certificates::parse(signing).expect("certificates");
    let ca = Certificates::parse(ca).expect("certificates");
    let mut changed = good.clone();
    for at in 0..good.len() {
        for bit in 0..8 {
            changed[at] ^= 1 << bit;
            let message = Message::parse(&changed).ok();
            let said = message.and_then(|message| signing.verify(&message, &ca, SystemTime::now()));
            // What is not signed may change, as for openssl: versions, and the parameters of algorithms.
            assert!(said.is_none_or(|said| said == said_before), "byte {at}, bit {bit}");
            changed[at] = good[at];
        }
        assert!(Message::parse(&good[..at]).is_err(), "the first {at} bytes");
    }
}

#[test]
fn random_bytes_are_no_message() {
    let mut random = fastrand::Rng::with_seed(7);
    let good = Form::Plain.unpack(vector!("attributes.token")).expect("base64");
    let signing = Certificates::parse(vector!("signing.pem")).expect("certificates");
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        let (from, to) = (random.usize(..bytes.len()), random.usize(..bytes.len()));
        let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 16));
        random.fill(&mut bytes[from..to]);
        bytes.truncate(random.usize(..=bytes.len()).max(to));
        if let Ok(message) = Message::parse(&bytes) {
            let _ = signing.verify(&message, &signing, SystemTime::now());
        }
        let mut noise = vec![0; random.usize(..256)];
        random.fill(&mut noise);
        assert!(Message::parse(&noise).is_err());
        let mut token = b"PKIZ_".to_vec();
        token.extend(URL_SAFE.encode(&noise).bytes());
        assert_eq!(Form::Packed.unpack(&token), None);
    }
}

/// As `pkiz_sign` packs a message.
fn packed(text: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(6));
    zlib.write_all(text).expect("memory");
    [b"PKIZ_".as_slice(), URL_SAFE.encode(zlib.finish().expect("memory")).as_bytes()].concat()
}

#[test]
fn packed_tokens_are_those_of_0_9_to_6() {
    let token = packed(vector!("list.pem"));
    assert_eq!(Form::of(&token, Era::CLIENT_0_8), None);
    for era in [Era::CLIENT_0_9, Era::KSM_6_1] {
        assert_eq!(Form::of(&token, era), Some(Form::Packed));
    }
    for token in [&token[..], b"MIIabc"] {
        assert_eq!(Form::of(token, Era::KSM_7_0), None);
    }
    assert_eq!(Form::of(b"MII", Era::CLIENT_0_4), Some(Form::Plain));
    assert_eq!(Form::of(b"MIMabc", Era::CLIENT_0_4), None);
    let list = std::str::from_utf8(vector!("list.pem")).expect("PEM");
    assert!(Form::Packed.unpack(&token).is_some_and(|der| Some(der) == pem(list)));
    // A little that becomes much is no token.
    let bomb = [vec![b' '; 64 << 20], vector!("list.pem").to_vec()].concat();
    assert_eq!(Form::Packed.unpack(&packed(&bomb)), None);
}

#[test]
fn hashes_have_the_names_of_hashlib() {
    for (name, hash) in [
        ("md5", "900150983cd24fb0d6963f7d28e17f72"),
        ("SHA1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("sha224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
        ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ] {
        assert_eq!(Hash::named(name).map(|known| known.of(b"abc")).as_deref(), Some(hash));
    }
    assert_eq!(Hash::named("sha384").map(|known| known.of(b"abc").len()), Some(96));
    assert_eq!(Hash::named("sha512").map(|known| known.of(b"abc").len()), Some(128));
    assert_eq!(Hash::named("rot13"), None);
}

#[test]
fn a_list_names_tokens_by_their_hashes() {
    let list = |json: &str| Revoked::parse(json.as_bytes(), Instant::now());
    let has = |json: &str, name: &str| list(json).expect("JSON").has([name].into_iter());
    let two = r#"{"revoked": [{"id": "a", "expires": "x"}, {"id": "b", "audit_id": "c"}]}"#;
    assert_eq!((has(two, "a"), has(two, "b"), has(two, "c")), (Some(true), Some(true), Some(false)));
    assert_eq!(list(two).expect("JSON").has_audit(["c"].into_iter()), Some(true));
    for empty in ["{}", r#"{"revoked": null}"#, r#"{"revoked": []}"#] {
        assert_eq!(has(empty, "a"), Some(false));
    }
    for none in ["[]", "3", r#"{"revoked": [{"ident": "a"}]}"#] {
        assert_eq!(has(none, "a"), None, "{none}");
    }
    assert!(list("{").is_none());
}

#[test]
fn options_that_cannot_be_meant_are_told_when_they_are_loaded() {
    let findings = |name: &str, value: &str| {
        let (filter, _, findings) = build(&FACTORY, Release::KILO, &[(name, value)], &[]);
        (filter.is_some(), findings.into_iter().map(|found| found.message).collect::<Vec<_>>())
    };
    let (built, found) = findings("hash_algorithms", "md5, rot13");
    assert_eq!((built, found), (false, vec!["`hash_algorithms`: there is no hash `rot13`".to_owned()]));
    let room = tempfile::tempdir().expect("a directory");
    for (mode, told) in [(0o700, 0), (0o755, 0), (0o777, 1)] {
        fs::set_permissions(room.path(), Permissions::from_mode(mode)).expect("a mode");
        let (built, found) = findings("signing_dir", room.path().to_str().expect("text"));
        assert_eq!((built, found.len()), (true, told), "{found:?}");
    }
}
