//! TLS for the listeners of `enabled_ssl_apis`: `ssl_cert_file`, `ssl_key_file`, `ssl_ca_file`.
//!
//! With `ssl_ca_file`, clients must show a certificate that it signed (as `nova/wsgi.py` has it: CERT_REQUIRED).
//! Must not know connections.

use std::path::Path;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Reading;
use crate::config::settings::TlsSettings;
use crate::message::{Diagnostic, Place};

/// A server's side of TLS, from files that are read (and so watched) like any other.
///
/// # Errors
/// Every file that cannot be used.
pub fn server(files: &TlsSettings, reading: &Reading) -> Result<Arc<ServerConfig>, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let chain = certificates(&files.cert, reading).map_err(|d| found.push(d)).ok();
    let key = read(&files.key, reading, "ssl_key_file")
        .and_then(|bytes| {
            PrivateKeyDer::from_pem_slice(&bytes)
                .map_err(|error| unusable(&files.key, &format!("has no usable private key: {error}")))
        })
        .map_err(|d| found.push(d))
        .ok();
    let clients = match &files.ca {
        None => None,
        Some(path) => match certificates(path, reading) {
            Ok(roots) => Some((path, roots)),
            Err(problem) => {
                found.push(problem);
                None
            }
        },
    };
    let (Some(chain), Some(key), true) = (chain, key, found.is_empty()) else { return Err(found) };

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| vec![unusable(&files.cert, &error.to_string())])?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some((path, certificates)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates {
                roots.add(certificate).map_err(|error| vec![unusable(path, &error.to_string())])?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| vec![unusable(path, &error.to_string())])?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server = builder
        .with_single_cert(chain, key)
        .map_err(|error| vec![unusable(&files.cert, &format!("does not go with {}: {error}", files.key.display()))])?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

fn certificates(path: &Path, reading: &Reading) -> Result<Vec<CertificateDer<'static>>, Diagnostic> {
    let bytes = read(path, reading, "certificate file")?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(path, &format!("is no PEM file of certificates: {error}")))?;
    if certificates.is_empty() {
        return Err(unusable(path, "holds no certificate"));
    }
    Ok(certificates)
}

fn read(path: &Path, reading: &Reading, what: &str) -> Result<Vec<u8>, Diagnostic> {
    reading
        .file(path)
        .map(|source| source.bytes.clone())
        .map_err(|error| Diagnostic::error(Place::file(path), format!("cannot read the {what}: {error}")))
}

fn unusable(path: &Path, why: &str) -> Diagnostic {
    Diagnostic::error(Place::file(path), why.to_owned())
        .help("a PEM file is expected; `openssl x509 -in FILE -text` shows what it holds")
}
