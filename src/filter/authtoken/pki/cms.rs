//! CMS, as far as `openssl cms -verify` is wanted here: signed data with its content inside (RFC 5652).
//!
//! It is read from front to back in one pass, borrowed, and no set in it is sorted or collected: what a client sends
//! costs no more than its length. Certificates and revocation lists that a message brings along are passed over; who may
//! sign is for the certificates to say that Keystone gave out.
//! Must not know whom to believe.

use aws_lc_rs::digest::{self, digest};
use aws_lc_rs::signature::{self, RsaParameters, UnparsedPublicKey};
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Error, ErrorKind, Reader, SliceReader, Tag, TagNumber};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A digest, by its own name and by that of RSA signatures with it.
struct Algorithm {
    digest: ObjectIdentifier,
    signature: ObjectIdentifier,
    hash: &'static digest::Algorithm,
    rsa: &'static RsaParameters,
}

/// What Keystones have signed with. MD5 is not among them: whoever can make two texts of one digest could make tokens.
static ALGORITHMS: [Algorithm; 4] = [
    Algorithm {
        digest: ObjectIdentifier::new_unwrap("1.3.14.3.2.26"),
        signature: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"),
        hash: &digest::SHA1_FOR_LEGACY_USE_ONLY,
        rsa: &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    },
    Algorithm {
        digest: ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"),
        signature: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"),
        hash: &digest::SHA256,
        rsa: &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    },
    Algorithm {
        digest: ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2"),
        signature: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"),
        hash: &digest::SHA384,
        rsa: &signature::RSA_PKCS1_2048_8192_SHA384,
    },
    Algorithm {
        digest: ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3"),
        signature: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"),
        hash: &digest::SHA512,
        rsa: &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    },
];

/// A message that has been read as far as its signatures.
pub struct Message<'a> {
    kind: ObjectIdentifier,
    content: &'a [u8],
    signers: &'a [u8],
}

/// Whose certificate belongs to a signature.
#[derive(Debug, PartialEq, Eq)]
pub enum Signer<'a> {
    /// By the name of its issuer, in DER, and its number, as bytes of the integer.
    Issued(&'a [u8], &'a [u8]),
    /// By the identifier of its key.
    Key(&'a [u8]),
}

/// A signature, and what it is one of.
struct Signature<'a> {
    signer: Signer<'a>,
    algorithm: &'static Algorithm,
    /// The contents of the set, without its tag.
    attributes: Option<&'a [u8]>,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// It is none, or holds no content.
    pub fn parse(der: &'a [u8]) -> der::Result<Self> {
        let outer: AnyRef<'a> = AnyRef::from_der(der)?;
        let signed = outer.sequence(|reader| {
            expect(ObjectIdentifier::decode(reader)? == SIGNED_DATA)?;
            explicit(reader)
        })?;
        signed.sequence(|reader| {
            let _version = u8::decode(reader)?;
            let _digests = set(reader)?;
            let (kind, content) = AnyRef::decode(reader)?.sequence(|reader| {
                let kind = ObjectIdentifier::decode(reader)?;
                Ok::<_, Error>((kind, explicit(reader)?.decode_as::<&OctetStringRef>()?.as_bytes()))
            })?;
            for number in 0..2 {
                let _certificates_or_lists = implicit(reader, number)?;
            }
            Ok(Self { kind, content, signers: set(reader)? })
        })
    }

    /// What was signed, when there is a signature and all signatures are good; `key` finds the public keys (PKCS #1).
    pub fn verified<'k>(&self, key: impl Fn(&Signer<'_>) -> Option<&'k [u8]>) -> Option<&'a [u8]> {
        let mut reader = SliceReader::new(self.signers).ok()?;
        if reader.is_finished() {
            return None;
        }
        while !reader.is_finished() {
            let signature = Signature::decode(&mut reader).ok()?;
            self.verify(&signature, key(&signature.signer)?)?;
        }
        Some(self.content)
    }

    fn verify(&self, signature: &Signature<'_>, key: &[u8]) -> Option<()> {
        let key = UnparsedPublicKey::new(signature.algorithm.rsa, key);
        let Some(attributes) = signature.attributes else {
            return key.verify(self.content, signature.bytes).ok();
        };
        let digest = digest(signature.algorithm.hash, self.content);
        let kind = attribute(attributes, CONTENT_TYPE).ok()?.decode_as::<ObjectIdentifier>().ok()?;
        let stated = attribute(attributes, MESSAGE_DIGEST).ok()?.decode_as::<&OctetStringRef>().ok()?;
        if kind != self.kind || stated.as_bytes() != digest.as_ref() {
            return None;
        }
        // They are signed with the tag of a set, and sent with another.
        let signed = AnyRef::new(Tag::Set, attributes).ok()?.to_der().ok()?;
        key.verify(&signed, signature.bytes).ok()
    }
}

impl<'a> Signature<'a> {
    fn decode(reader: &mut SliceReader<'a>) -> der::Result<Self> {
        AnyRef::decode(reader)?.sequence(|reader| {
            let _version = u8::decode(reader)?;
            let signer = match implicit(reader, 0)? {
                Some(key) => Signer::Key(key),
                None => AnyRef::decode(reader)?.sequence(|reader| {
                    let issuer = reader.tlv_bytes()?;
                    let number = AnyRef::decode(reader)?;
                    number.header().tag().assert_eq(Tag::Integer)?;
                    Ok::<_, Error>(Signer::Issued(issuer, number.value()))
                })?,
            };
            let digest = algorithm(reader)?;
            let attributes = implicit(reader, 0)?;
            let signature = algorithm(reader)?;
            let bytes = <&OctetStringRef>::decode(reader)?.as_bytes();
            let _unsigned = implicit(reader, 1)?;
            let fits =
                |known: &&Algorithm| known.digest == digest && (signature == RSA || signature == known.signature);
            let algorithm = ALGORITHMS.iter().find(fits).ok_or(ErrorKind::OidUnknown { oid: digest })?;
            Ok(Self { signer, algorithm, attributes, bytes })
        })
    }
}

fn expect(is: bool) -> der::Result<()> {
    if is { Ok(()) } else { Err(ErrorKind::Failed.into()) }
}

/// What stands in `[0] EXPLICIT`.
fn explicit<'a>(reader: &mut SliceReader<'a>) -> der::Result<AnyRef<'a>> {
    let value = implicit(reader, 0)?.ok_or(ErrorKind::Failed)?;
    AnyRef::from_der(value)
}

/// The bytes under a tag of the context, if it comes next.
fn implicit<'a>(reader: &mut SliceReader<'a>, number: u32) -> der::Result<Option<&'a [u8]>> {
    if reader.is_finished() {
        return Ok(None);
    }
    match Tag::peek(reader)? {
        Tag::ContextSpecific { number: found, .. } if found == TagNumber(number) => {
            Ok(Some(AnyRef::decode(reader)?.value()))
        }
        _ => Ok(None),
    }
}

fn set<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    let set = AnyRef::decode(reader)?;
    set.header().tag().assert_eq(Tag::Set)?;
    Ok(set.value())
}

/// The name of an algorithm; those that are known have no parameters that matter.
fn algorithm(reader: &mut SliceReader<'_>) -> der::Result<ObjectIdentifier> {
    AnyRef::decode(reader)?.sequence(|reader| {
        let name = ObjectIdentifier::decode(reader)?;
        if !reader.is_finished() {
            let _parameters = AnyRef::decode(reader)?;
        }
        Ok(name)
    })
}

/// The one value of the one attribute of that kind.
fn attribute(attributes: &[u8], kind: ObjectIdentifier) -> der::Result<AnyRef<'_>> {
    let mut reader = SliceReader::new(attributes)?;
    let mut found = None;
    while !reader.is_finished() {
        let (name, values) = AnyRef::decode(&mut reader)?
            .sequence(|reader| Ok::<_, Error>((ObjectIdentifier::decode(reader)?, set(reader)?)))?;
        if name == kind {
            expect(found.is_none())?;
            found = Some(AnyRef::from_der(values)?);
        }
    }
    found.ok_or_else(|| ErrorKind::Failed.into())
}
