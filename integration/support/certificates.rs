//! A certificate authority of the test's own, and what it signs.
//!
//! Must not know who shows a certificate to whom.

use std::path::Path;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Save;

/// Signs certificates.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for 127.0.0.1 and its private key.
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// The certificate, PEM.
    pub pem: String,
    /// The key, PEM.
    pub key: String,
}

impl Authority {
    /// With a key that nobody else has.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// Its own certificate, PEM.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A new certificate with a new key.
    pub fn issue(&self) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.der().clone(), pem: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    /// Its private key.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key")
    }

    /// Renames new files over `cert.pem` and `key.pem` of a directory, the certificate first.
    pub fn save(&self, directory: &Path) {
        Save::Rename.save(&directory.join("cert.pem"), &self.pem).expect("saved");
        Save::Rename.save(&directory.join("key.pem"), &self.key).expect("saved");
    }
}
