//! Certificates: those that sign tokens, and those that vouch for them.
//!
//! The rules are those of `openssl cms -verify -certfile … -CAfile …`: the signer's certificate comes from the first
//! file, it may sign mail (`smimesign`), and its chain ends at a certificate of the second file that signs itself. Paths
//! are built by webpki, which asks more of a certificate that is none of the second file's: that it is an X.509 v3 one
//! and no authority.
//! Must not know where certificates come from.

use std::time::SystemTime;

use aws_lc_rs::signature::{self, RsaParameters, UnparsedPublicKey};
use der::{Decode, Encode};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, UnixTime, alg_id,
};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::ext::pkix;

use super::cms::{Message, Signer};

/// `id-kp-emailProtection`
const MAIL: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x04];

/// The certificates of a file.
pub struct Certificates(Vec<Known>);

struct Known {
    der: CertificateDer<'static>,
    certificate: Certificate,
    /// The name of its issuer in DER.
    issuer: Vec<u8>,
}

impl Certificates {
    /// Reads a file. `None` when it holds none, or one that cannot be read.
    pub fn parse(pem: &[u8]) -> Option<Self> {
        let known = |der: CertificateDer<'static>| {
            let certificate = Certificate::from_der(&der).ok()?;
            let issuer = certificate.tbs_certificate().issuer().to_der().ok()?;
            Some(Known { der, certificate, issuer })
        };
        let certificates: Option<Vec<_>> =
            CertificateDer::pem_slice_iter(pem).map(|der| der.ok().and_then(known)).collect();
        certificates.filter(|certificates| !certificates.is_empty()).map(Self)
    }

    /// What a message says, when one of these has signed it and the authorities vouch for that.
    pub fn verify<'a>(&self, message: &Message<'a>, authorities: &Self, now: SystemTime) -> Option<&'a [u8]> {
        message.verified(|signer| {
            let known = self.0.iter().find(|known| known.is(signer))?;
            self.vouched(known, authorities, now)?;
            known.key()
        })
    }

    fn vouched(&self, signer: &Known, authorities: &Self, now: SystemTime) -> Option<()> {
        if !signer.may_sign() {
            return None;
        }
        let roots = || authorities.0.iter().filter(|known| known.signs_itself() && known.is_valid(now));
        if roots().any(|root| root.der == signer.der) {
            return Some(());
        }
        let anchors: Vec<_> = roots().filter_map(|root| anchor_from_trusted_cert(&root.der).ok()).collect();
        let others: Vec<_> = self.0.iter().chain(&authorities.0).map(|known| known.der.clone()).collect();
        let time = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).ok()?);
        let usage = KeyUsage::required_if_present(MAIL);
        let algorithms: Vec<&dyn SignatureVerificationAlgorithm> = LEGACY
            .iter()
            .map(|legacy| legacy as &dyn SignatureVerificationAlgorithm)
            .chain(webpki::ALL_VERIFICATION_ALGS.iter().copied())
            .collect();
        let signer = EndEntityCert::try_from(&signer.der).ok()?;
        signer.verify_for_usage(&algorithms, &anchors, &others, time, usage, None, None).ok().map(drop)
    }
}

impl Known {
    fn is(&self, signer: &Signer<'_>) -> bool {
        let certificate = self.certificate.tbs_certificate();
        match signer {
            Signer::Issued(issuer, number) => {
                self.issuer == *issuer && certificate.serial_number().as_bytes() == *number
            }
            Signer::Key(key) => {
                let own = certificate.get_extension::<pkix::SubjectKeyIdentifier>();
                matches!(own, Ok(Some((_, own))) if own.0.as_bytes() == *key)
            }
        }
    }

    /// The public key, as PKCS #1 has it when it is one of RSA.
    fn key(&self) -> Option<&[u8]> {
        self.certificate.tbs_certificate().subject_public_key_info().subject_public_key.as_bytes()
    }

    fn may_sign(&self) -> bool {
        match self.certificate.tbs_certificate().get_extension::<pkix::KeyUsage>() {
            Ok(Some((_, usage))) => usage.digital_signature() || usage.non_repudiation(),
            usage => usage.is_ok(),
        }
    }

    fn signs_itself(&self) -> bool {
        let certificate = self.certificate.tbs_certificate();
        certificate.issuer() == certificate.subject()
    }

    fn is_valid(&self, now: SystemTime) -> bool {
        let validity = self.certificate.tbs_certificate().validity();
        (validity.not_before.to_system_time()..=validity.not_after.to_system_time()).contains(&now)
    }
}

/// Signatures on certificates that TLS gave up, and Keystones of that time did not: SHA-1, and keys of 1024 bits.
#[derive(Debug)]
struct Legacy {
    id: AlgorithmIdentifier,
    parameters: &'static RsaParameters,
}

static LEGACY: [Legacy; 3] = [
    Legacy {
        // sha1WithRSAEncryption, NULL
        id: AlgorithmIdentifier::from_slice(&[
            0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00,
        ]),
        parameters: &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
    },
    Legacy { id: alg_id::RSA_PKCS1_SHA256, parameters: &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY },
    Legacy { id: alg_id::RSA_PKCS1_SHA512, parameters: &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY },
];

impl SignatureVerificationAlgorithm for Legacy {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(self.parameters, key).verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.id
    }
}
