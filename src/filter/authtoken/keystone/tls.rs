//! TLS to Keystone: `cafile`, `insecure`, `certfile` and `keyfile`.
//!
//! The files are read and tried when a configuration is loaded, so that a bad one is refused with its line and not met
//! by the first token. Must not know what is sent.

use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Setting;
use crate::filter::Build;

/// Whom to believe, and who to be.
#[derive(Clone, Default)]
pub struct Tls {
    /// Any certificate will do.
    pub insecure: bool,
    /// The only authorities that count, as DER; `None` = the system's.
    roots: Option<Vec<CertificateDer<'static>>>,
    /// Certificate chain and key of the client, as one PEM text.
    identity: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files. Problems are reported at the option that names the file.
    pub fn read(
        build: &mut Build<'_>,
        insecure: bool,
        ca: Option<&Setting>,
        cert: Option<&Setting>,
        key: Option<&Setting>,
    ) -> Self {
        // What an insecure client does not look at may be broken.
        let roots = match ca {
            Some(ca) if !insecure => certificates(build, ca).map(|(_, found)| found),
            _ => None,
        };
        let identity = match (cert, key) {
            (Some(cert), key) => pair(build, cert, key),
            (None, Some(key)) => {
                let place = key.place.clone().unwrap_or_else(|| build.place.clone());
                let text = "`keyfile` without `certfile` is not used";
                let found = crate::message::Diagnostic::warning(place, text).help("set `certfile` too");
                build.diagnostics.push(found);
                None
            }
            (None, None) => None,
        };
        Self { insecure, roots, identity }
    }

    /// Puts it into a client.
    ///
    /// # Errors
    /// The files were good for rustls and are not for reqwest.
    pub fn apply(&self, mut client: ClientBuilder) -> reqwest::Result<ClientBuilder> {
        if self.insecure {
            client = client.tls_danger_accept_invalid_certs(true);
        }
        if let Some(roots) = &self.roots {
            let roots = roots.iter().map(|root| Certificate::from_der(root)).collect::<reqwest::Result<Vec<_>>>()?;
            client = client.tls_certs_only(roots);
        }
        if let Some(identity) = &self.identity {
            client = client.identity(Identity::from_pem(identity)?);
        }
        Ok(client)
    }
}

/// A certificate and its key, which stands in the same file when there is no other.
fn pair(build: &mut Build<'_>, cert: &Setting, key: Option<&Setting>) -> Option<Vec<u8>> {
    let (mut text, chain) = certificates(build, cert)?;
    let key_setting = key.unwrap_or(cert);
    let key_text = match key {
        Some(key) => read(build, key)?,
        None => text.clone(),
    };
    let key = match PrivateKeyDer::from_pem_slice(&key_text) {
        Ok(key) => key,
        Err(error) => return unusable(build, key_setting, &format!("has no usable private key: {error}")),
    };
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tried = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|client| client.with_root_certificates(RootCertStore::empty()).with_client_auth_cert(chain, key));
    if let Err(error) = tried {
        return unusable(build, key_setting, &format!("does not go with `certfile`: {error}"));
    }
    if key_text != text {
        text.push(b'\n');
        text.extend(key_text);
    }
    Some(text)
}

fn certificates(build: &mut Build<'_>, file: &Setting) -> Option<(Vec<u8>, Vec<CertificateDer<'static>>)> {
    let text = read(build, file)?;
    match CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>() {
        Ok(found) if found.is_empty() => unusable(build, file, "holds no certificate"),
        Ok(found) => Some((text, found)),
        Err(error) => unusable(build, file, &format!("is no PEM file of certificates: {error}")),
    }
}

fn read(build: &mut Build<'_>, file: &Setting) -> Option<Vec<u8>> {
    build.file(file).map(|source| source.bytes.clone())
}

fn unusable<T>(build: &mut Build<'_>, file: &Setting, why: &str) -> Option<T> {
    let help = "a PEM file is expected; `openssl x509 -in FILE -text` shows what it holds";
    build.error(Some(file), format!("`{}` {why}", file.value), help);
    None
}
