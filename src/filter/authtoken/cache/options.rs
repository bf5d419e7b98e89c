//! The options of the cache of tokens, in the words and with the defaults of the era.
//!
//! Must not know what is cached.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::super::era::Era;
use super::super::secret::Secret;
use super::crypt::Vault;
use super::memcached::{Address, Cluster, Limits, Protocol};
use crate::config::Setting;
use crate::filter::Build;
use crate::message::Diagnostic;

const GROUP: &str = "keystone_authtoken";

/// What the options say.
pub(super) struct Options {
    /// Seconds that an answer is good for; 0: for ever; negative: not at all.
    pub(super) time: i64,
    /// `memcache_security_strategy` and its secret.
    pub(super) vault: Option<Vault>,
    /// `None`: tokens are kept in memory alone.
    pub(super) cluster: Option<Cluster>,
}

/// Takes the options. `None` after an error, or when the section is left to the worker.
pub(super) fn take(build: &mut Build<'_>, era: Era) -> Option<Options> {
    let environ = text(build, "cache");
    let time = own(build, "token_cache_time");
    let time = build.integer(time, 300);
    let vault = strategy(build, era);
    let limits = limits(build, era);
    let protocol = protocol(build, era);
    let servers = servers(build, era);
    if let Some(environ) = environ {
        return build
            .leave(format!("`cache = {environ}` names an object that a filter in Python puts into the environ"));
    }
    let protocol = protocol?;
    let cluster = servers.map(|addresses| Cluster::new(addresses, protocol, limits));
    Some(Options { time, vault: vault?, cluster })
}

fn own(build: &mut Build<'_>, name: &str) -> Option<Setting> {
    build.local_or_conf(GROUP, name)
}

/// A text that says something.
fn text(build: &mut Build<'_>, name: &str) -> Option<String> {
    own(build, name).map(|setting| setting.value).filter(|value| !value.is_empty())
}

/// `memcache_security_strategy` and `memcache_secret_key`; `None` after an error.
#[allow(clippy::option_option)]
fn strategy(build: &mut Build<'_>, era: Era) -> Option<Option<Vault>> {
    let setting = own(build, "memcache_security_strategy");
    let secret = text(build, "memcache_secret_key");
    let Some(setting) = setting.filter(|setting| !setting.value.is_empty() || era >= Era::KSM_4_1) else {
        return Some(None);
    };
    let capitals = setting.value.to_uppercase();
    let strategy = if era < Era::KSM_2_0 { capitals.clone() } else { setting.value.clone() };
    match capitals.as_str() {
        "NONE" if era >= Era::KSM_4_1 => return Some(None),
        "MAC" | "ENCRYPT" => {}
        // Without a check there, whatever is written is a strategy that signs.
        _ if (Era::KSM_2_0..Era::KSM_4_1).contains(&era) => {}
        _ => {
            let message = if era < Era::KSM_2_0 {
                "memcache_security_strategy must be ENCRYPT or MAC".to_owned()
            } else {
                format!("Valid values are [None, MAC, ENCRYPT], but found '{}'", setting.value)
            };
            build.error(Some(&setting), message, "remove it, or write MAC or ENCRYPT");
            return None;
        }
    }
    let Some(secret) = secret else {
        let name = if era.is_client() { "mecmache_secret_key" } else { "memcache_secret_key" };
        let message = format!("{name} must be defined when a memcache_security_strategy is defined");
        build.error(Some(&setting), message, "set memcache_secret_key to the secret that all services share");
        return None;
    };
    if capitals == "ENCRYPT" && strategy != capitals {
        let place = setting.place.clone().unwrap_or_else(|| build.place.clone());
        let message =
            format!("`memcache_security_strategy = {strategy}` signs tokens in memcached and does not encrypt");
        let help = "keystonemiddleware encrypts for `ENCRYPT` in capital letters only; all services must say the same";
        build.diagnostics.push(Diagnostic::warning(place, message).help(help));
    }
    Some(Some(Vault::new(&strategy, &Secret::from(secret))))
}

fn limits(build: &mut Build<'_>, era: Era) -> Limits {
    let mut number = |name: &str, default: i64| {
        let setting = own(build, name);
        build.integer(setting, default)
    };
    let (dead, size) = (number("memcache_pool_dead_retry", 300), number("memcache_pool_maxsize", 10));
    let (answer, unused) = (number("memcache_pool_socket_timeout", 3), number("memcache_pool_unused_timeout", 60));
    let patience = number("memcache_pool_conn_get_timeout", 10);
    let advanced = own(build, "memcache_use_advanced_pool");
    if build.flag(advanced, era >= Era::KSM_9_3) && era >= Era::KSM_1_2 {
        return Limits {
            // 0 is without bound.
            connections: usize::try_from(size).ok().filter(|size| *size > 0).unwrap_or(UNBOUNDED),
            patience: Limits::seconds(patience),
            answer: Limits::seconds(answer),
            unused: Limits::seconds(unused),
            dead: Limits::seconds(dead),
        };
    }
    // What python-memcached does by itself.
    Limits {
        connections: UNBOUNDED,
        patience: Limits::seconds(10),
        answer: Limits::seconds(3),
        unused: Limits::seconds(60),
        dead: Limits::seconds(30),
    }
}

/// More connections than a front opens.
const UNBOUNDED: usize = 1024;

/// The servers, under the option's name, its old name, and for releases that asked nova.conf at large, that of all.
fn servers(build: &mut Build<'_>, era: Era) -> Option<Vec<Address>> {
    let mut setting = own(build, "memcached_servers").or_else(|| own(build, "memcache_servers"));
    if setting.is_none() && era < Era::KSM_4_9 {
        setting = build.conf("DEFAULT", "memcached_servers");
    }
    let list = build.list(setting.clone(), &[]);
    let mut addresses = Vec::new();
    for text in list {
        match Address::parse(&text) {
            Some(address) => addresses.push(address),
            None => {
                let message = format!("Unable to parse connection string: \"{text}\"");
                build.error(setting.as_ref(), message, "write host:port, inet6:[address]:port or unix:/path");
            }
        }
    }
    (!addresses.is_empty()).then_some(addresses)
}

/// `None` after an error.
fn protocol(build: &mut Build<'_>, era: Era) -> Option<Protocol> {
    let mut flag = |name: &str, since: Era| {
        let setting = own(build, name);
        build.flag(setting, false) && era >= since
    };
    let sasl = flag("memcache_sasl_enabled", Era::KSM_10_9);
    let tls = flag("memcache_tls_enabled", Era::KSM_10_10);
    let (user, password) = (text(build, "memcache_username"), text(build, "memcache_password"));
    let tls = tls_options(build, tls)?;
    if !sasl && tls.is_none() {
        return Some(Protocol::Text);
    }
    let account = user.zip(password).map(|(user, password)| (user, Secret::from(password)));
    Some(Protocol::Binary { tls, account })
}

/// `memcache_tls_*`; the inner `None` when TLS is off, the outer after an error.
#[allow(clippy::option_option)]
fn tls_options(build: &mut Build<'_>, enabled: bool) -> Option<Option<Arc<rustls::ClientConfig>>> {
    let [ca, cert, key, ciphers] = ["cafile", "certfile", "keyfile", "allowed_ciphers"]
        .map(|name| own(build, &format!("memcache_tls_{name}")).filter(|setting| !setting.value.is_empty()));
    if !enabled {
        return Some(None);
    }
    if let Some(ciphers) = ciphers {
        let place = ciphers.place.clone().unwrap_or_else(|| build.place.clone());
        let found = Diagnostic::warning(place, "memcache_tls_allowed_ciphers does nothing here");
        build.diagnostics.push(found.help("the front speaks TLS 1.2 and 1.3 with the ciphers that rustls holds safe"));
    }
    let mut problem = |setting: &Setting, why: String| {
        build.error(Some(setting), format!("`{}`: {why}", setting.value), "name a PEM file that the front may read");
    };
    let mut roots = RootCertStore::empty();
    match &ca {
        Some(file) => match certificates(&file.value) {
            Ok(found) => drop(roots.add_parsable_certificates(found)),
            Err(why) => {
                problem(file, why);
                return None;
            }
        },
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots);
    let Some(cert) = cert else { return Some(Some(Arc::new(config.with_no_client_auth()))) };
    let key = key.unwrap_or_else(|| cert.clone());
    let identity = certificates(&cert.value).and_then(|chain| {
        let key =
            PrivateKeyDer::from_pem_file(Path::new(&key.value)).map_err(|error| format!("{}: {error}", key.value))?;
        config.with_client_auth_cert(chain, key).map_err(|error| error.to_string())
    });
    match identity {
        Ok(config) => Some(Some(Arc::new(config))),
        Err(why) => {
            problem(&cert, why);
            None
        }
    }
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(Path::new(path)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(certificates) if certificates.is_empty() => Err("holds no certificate".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}

impl Options {
    /// How long an answer is good for: the inner `None` for ever, the outer not at all.
    #[allow(clippy::option_option)]
    pub(super) fn life(&self) -> Option<Option<Duration>> {
        match u64::try_from(self.time) {
            Ok(0) => Some(None),
            Ok(seconds) => Some(Some(Duration::from_secs(seconds))),
            Err(_) => None,
        }
    }
}
