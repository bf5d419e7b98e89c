//! TLS: a private authority, none at all, and a certificate of the front's own.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::fake::{Fake, say};
use super::*;

/// An authority, and a certificate by it for the server and for a client.
struct Pki {
    directory: tempfile::TempDir,
    server: Arc<ServerConfig>,
}

impl Pki {
    fn new(client_wanted: bool) -> Self {
        let key = || KeyPair::generate().expect("a key");
        let (ca_key, server_key, client_key) = (key(), key(), key());
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_cert = ca.self_signed(&ca_key).expect("signed");
        let issuer = Issuer::new(ca, ca_key);
        let signed = |names: &[&str], key: &KeyPair| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            CertificateParams::new(names).expect("names").signed_by(key, &issuer).expect("signed")
        };
        let server_cert = signed(&["127.0.0.1"], &server_key);
        let client_cert = signed(&["front"], &client_key);

        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: String| std::fs::write(directory.path().join(name), text).expect("written");
        write("ca.pem", ca_cert.pem());
        write("client.pem", client_cert.pem());
        write("client.key", client_key.serialize_pem());
        write("both.pem", client_cert.pem() + &client_key.serialize_pem());
        write("other.key", key().serialize_pem());
        write("empty.pem", String::new());

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(ca_cert.der().clone()).expect("an authority");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
        let builder = match client_wanted {
            true => builder.with_client_cert_verifier(verifier.build().expect("a verifier")),
            false => builder.with_no_client_auth(),
        };
        let key = server_key.serialize_der().try_into().expect("a key");
        let server = builder.with_single_cert(vec![server_cert.der().clone()], key).expect("a server");
        Self { directory, server: Arc::new(server) }
    }

    fn path(&self, name: &str) -> String {
        Path::new(self.directory.path()).join(name).to_str().expect("text").to_owned()
    }

    async fn fake(&self) -> Fake {
        Fake::over(Some(Arc::clone(&self.server)), |_, _| say(200, r#"{"token": {}}"#)).await
    }
}

/// Asks a fake with these options; a name that ends in `.pem` or `.key` is a file of the PKI.
async fn ask(pki: &Pki, options: &[(&str, &str)]) -> Result<Validated, KeystoneError> {
    let fake = pki.fake().await;
    let endpoint = format!("https://{}/v3", fake.address);
    let paths: Vec<_> = options
        .iter()
        .map(|(name, value)| (*name, if value.contains('.') { pki.path(value) } else { (*value).to_owned() }))
        .collect();
    let mut conf = vec![
        ("auth_type", "admin_token"),
        ("endpoint", endpoint.as_str()),
        ("token", "T"),
        ("http_request_max_retries", "0"),
    ];
    conf.extend(paths.iter().map(|(name, value)| (*name, value.as_str())));
    built(Era::KSM_13_0, &conf).ask("good1").await
}

#[tokio::test]
async fn only_a_known_authority_is_believed_unless_any_will_do() {
    let pki = Pki::new(false);
    assert!(ask(&pki, &[("cafile", "ca.pem")]).await.is_ok());
    assert!(ask(&pki, &[("insecure", "true")]).await.is_ok());
    unavailable(ask(&pki, &[]).await);
    unavailable(ask(&Pki::new(false), &[("cafile", "client.pem")]).await);
}

#[tokio::test]
async fn a_keystone_that_wants_to_know_the_front_is_shown_its_certificate() {
    let pki = Pki::new(true);
    assert!(ask(&pki, &[("cafile", "ca.pem"), ("certfile", "client.pem"), ("keyfile", "client.key")]).await.is_ok());
    assert!(ask(&pki, &[("cafile", "ca.pem"), ("certfile", "both.pem")]).await.is_ok());
    unavailable(ask(&pki, &[("cafile", "ca.pem")]).await);
}

#[test]
fn files_that_cannot_be_used_are_errors() {
    let pki = Pki::new(false);
    let path = |name| pki.path(name);
    for (options, text) in [
        (&[("cafile", path("missing.pem"))][..], "cannot read"),
        (&[("cafile", path("empty.pem"))], "holds no certificate"),
        (&[("certfile", path("client.pem"))], "no usable private key"),
        (&[("certfile", path("client.pem")), ("keyfile", path("other.key"))], "does not go with"),
    ] {
        let mut conf = vec![("auth_type", "none")];
        conf.extend(options.iter().map(|(name, value)| (*name, value.as_str())));
        let (keystone, _, found) = build(Era::KSM_13_0, &[], &conf);
        assert!(keystone.is_none(), "{text}");
        assert!(found[0].message.contains(text), "{found:?}");
    }
}
