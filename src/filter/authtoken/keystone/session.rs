//! How auth_token asks through a session: with a token of its own that it renews, at the address that the token's
//! catalog names (keystonemiddleware 1.2 and later, `auth_token/_identity.py`; keystoneauth1 5.18, `session.py`).
//!
//! Must not know how options are read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::answer::{path_of_token, version_of_token};
use super::discovery::{Version, Way, newest, versions, way};
use super::plugin::Plugin;
use super::transport::{Call, Reply, Transport, add, add_secret, headers};
use super::{AGENT, Ask, Certificate, Fault, KeystoneError, Validated};
use crate::filter::authtoken::era::Era;
use crate::filter::authtoken::secret::Secret;
use crate::filter::authtoken::shared::Shared;
use crate::metrics::Metrics;

/// A token that ends within this time is renewed.
const SOON: TimeDelta = TimeDelta::seconds(120);
/// What the original says it is when it validates tokens.
const VALIDATOR: &[u8] = b"python-keystoneclient";

/// A Keystone behind a catalog.
pub struct Session {
    /// Whose rules hold.
    pub era: Era,
    /// `auth_version`: its major number.
    pub version: Option<u32>,
    /// `interface`: which of the catalog's addresses.
    pub interface: String,
    /// `region_name`: and where.
    pub region: Option<String>,
    /// `http_request_max_retries`: for validations only.
    pub retries: u32,
    /// Where the token comes from.
    pub plugin: Plugin,
    /// The token.
    pub login: Shared<ServiceToken, Fault>,
    /// The way there.
    pub transport: Transport,
    /// What has been found out.
    pub known: Known,
}

/// What is asked once and then known until the next reload.
#[derive(Default)]
pub struct Known {
    /// The major number of the version that tokens are validated by.
    major: OnceLock<u32>,
    /// What clients are told.
    uri: OnceLock<String>,
    /// Version documents by their addresses.
    documents: Mutex<HashMap<String, Arc<[Version]>>>,
}

/// The front's own token.
pub struct ServiceToken {
    /// The token.
    pub secret: Secret,
    /// Its end; `None` = it has none.
    pub expires: Option<DateTime<Utc>>,
    /// Where its catalog says that Keystone is.
    pub endpoint: Option<String>,
}

impl Session {
    /// Asks, with a new token of its own when Keystone refuses the old one, and asks once more from the start when it
    /// refuses that one too.
    pub async fn validate(&self, metrics: &Metrics, token: &Secret, ask: Ask) -> Result<Validated, KeystoneError> {
        let mut result = self.attempt(metrics, token, ask).await;
        if result == Err(Fault::Status(401)) {
            tracing::info!("Keystone refuses the token or the account of the front; once more");
            // The original forgets on the way that the token may have expired.
            result = self.attempt(metrics, token, Ask { allow_expired: false, ..ask }).await;
        }
        match result {
            Ok(body) => Ok(Validated { body }),
            // That of a login too, as in the original.
            Err(Fault::Status(404)) => Err(KeystoneError::Invalid),
            Err(Fault::Unavailable(why)) => Err(KeystoneError::Unavailable(why)),
            Err(fault) if self.era < Era::KSM_2_0 => {
                tracing::warn!("a token counts as invalid: {fault}");
                Err(KeystoneError::Invalid)
            }
            Err(fault @ Fault::Status(_)) => Err(KeystoneError::Unavailable(fault.to_string())),
            Err(Fault::Broken(why)) => Err(KeystoneError::Broken(why)),
            Err(Fault::NoEndpoint) => Err(KeystoneError::Broken(self.no_endpoint())),
        }
    }

    fn no_endpoint(&self) -> String {
        let region = self.region.as_ref().map(|region| format!(" in region {region}")).unwrap_or_default();
        format!("the front's own catalog has no {} endpoint of Keystone{region}", self.interface)
    }

    async fn attempt(&self, metrics: &Metrics, token: &Secret, ask: Ask) -> Result<Bytes, Fault> {
        let result = self.validation(metrics, token, ask).await;
        if result == Err(Fault::NoEndpoint) && self.era >= Era::KSM_8_0 {
            // The next question sees whether the catalog has been mended.
            if let Ok(own) = self.token(metrics).await {
                self.forget(&own).await;
            }
        }
        result
    }

    async fn validation(&self, metrics: &Metrics, token: &Secret, ask: Ask) -> Result<Bytes, Fault> {
        let major = self.major(metrics).await?;
        // Before the address is looked up: its catalog has it.
        self.token(metrics).await?;
        let endpoint = self.endpoint(metrics, major).await?.ok_or(Fault::NoEndpoint)?;
        let endpoint = endpoint.trim_end_matches('/');
        let mut headers = headers([
            ("user-agent", VALIDATOR),
            ("accept-encoding", b"gzip, deflate"),
            ("accept", b"application/json"),
        ]);
        add(&mut headers, "connection", b"keep-alive");
        let url = if major == 3 {
            add_secret(&mut headers, "x-subject-token", token).ok_or(Fault::Status(404))?;
            if self.era >= Era::KSM_7_0 {
                add(&mut headers, "openstack-identity-access-rules", b"1");
            }
            format!("{endpoint}/auth/tokens{}", query(ask))
        } else {
            format!("{endpoint}/tokens/{}", path_of_token(token.expose()).ok_or(Fault::Status(404))?)
        };
        let mut call = Call { method: Method::GET, url, headers, body: None, retries: self.retries };
        let reply = self.ask(metrics, &mut call).await?;
        match reply.status.as_u16() {
            ..400 if version_of_token(&reply.body) == Some(major) => Ok(reply.body),
            ..400 => Err(Fault::broken("Keystone's answer holds no token")),
            status => Err(Fault::Status(status)),
        }
    }

    /// The list of revoked tokens; before keystonemiddleware 2.0 it was version 2.0's in all cases.
    pub async fn revoked(&self, metrics: &Metrics) -> Result<Bytes, Fault> {
        let major = if self.era < Era::KSM_2_0 { 2 } else { self.major(metrics).await? };
        self.token(metrics).await?;
        let path = if major == 3 { "auth/tokens/OS-PKI/revoked" } else { "tokens/revoked" };
        let mut call = self.call(metrics, major, path).await?;
        usable(self.ask(metrics, &mut call).await?)
    }

    /// Certificates, which anybody may have.
    pub async fn certificate(&self, metrics: &Metrics, which: Certificate) -> Result<Bytes, Fault> {
        let major = self.major(metrics).await?;
        let path = match (major, which) {
            (3, Certificate::Signing) => "OS-SIMPLE-CERT/certificates",
            (3, Certificate::Authority) => "OS-SIMPLE-CERT/ca",
            (_, Certificate::Signing) => "certificates/signing",
            (_, Certificate::Authority) => "certificates/ca",
        };
        let mut call = self.call(metrics, major, path).await?;
        if self.era < Era::KSM_2_0 {
            call.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        }
        usable(self.exchange(metrics, &call).await?)
    }

    /// A question to version `major` of the API.
    async fn call(&self, metrics: &Metrics, major: u32, path: &str) -> Result<Call, Fault> {
        let endpoint = self.endpoint(metrics, major).await?.ok_or(Fault::NoEndpoint)?;
        let url = format!("{}/{path}", endpoint.trim_end_matches('/'));
        Ok(Call { method: Method::GET, url, headers: own_headers(), body: None, retries: self.retries })
    }

    /// Asks with the front's own token, and once more with a new one.
    async fn ask(&self, metrics: &Metrics, call: &mut Call) -> Result<Reply, Fault> {
        let own = self.token(metrics).await?;
        let reply = self.signed(metrics, call, &own).await?;
        if reply.status != StatusCode::UNAUTHORIZED || !self.forget(&own).await {
            return Ok(reply);
        }
        let own = self.token(metrics).await?;
        self.signed(metrics, call, &own).await
    }

    async fn signed(&self, metrics: &Metrics, call: &mut Call, own: &ServiceToken) -> Result<Reply, Fault> {
        call.headers.remove("x-auth-token");
        add_secret(&mut call.headers, "x-auth-token", &own.secret)
            .ok_or_else(|| Fault::broken("the front's own token cannot be sent"))?;
        self.exchange(metrics, call).await
    }

    /// The version of the API by which tokens are validated.
    async fn major(&self, metrics: &Metrics) -> Result<u32, Fault> {
        if let Some(&known) = self.known.major.get() {
            return Ok(known);
        }
        let choices = if self.era < Era::KSM_8_0 { &[3, 2][..] } else { &[3] };
        let mut found = self.version.map(|wanted| if choices.contains(&wanted) { wanted } else { 2 });
        if found == Some(2) && self.era >= Era::KSM_8_0 {
            found = Some(3);
        }
        if found.is_none() {
            for &major in choices {
                if self.endpoint(metrics, major).await?.is_some() {
                    found = Some(major);
                    break;
                }
            }
        }
        let major = found.ok_or_else(|| Fault::Unavailable("Keystone has no version of its API to ask".to_owned()))?;
        Ok(*self.known.major.get_or_init(|| major))
    }

    /// Where version `major` of the API is; `None` when Keystone has no such version.
    async fn endpoint(&self, metrics: &Metrics, major: u32) -> Result<Option<String>, Fault> {
        match &self.plugin {
            Plugin::Fixed { endpoint, .. } => Ok(endpoint.clone()),
            Plugin::Admin { identity_uri, .. } => {
                let versions = self.discover(metrics, identity_uri).await?;
                // The addresses in the document are not used.
                let path = if major == 3 { "v3" } else { "v2.0" };
                Ok(newest(&versions, major).map(|_| format!("{identity_uri}/{path}")))
            }
            Plugin::Account { .. } => {
                let own = self.token(metrics).await?;
                let endpoint = own.endpoint.as_deref().ok_or(Fault::NoEndpoint)?;
                self.version_at(metrics, endpoint, major).await
            }
        }
    }

    async fn version_at(&self, metrics: &Metrics, endpoint: &str, major: u32) -> Result<Option<String>, Fault> {
        let Way::Ask(documents) = way(endpoint, major) else { return Ok(Some(endpoint.to_owned())) };
        for document in documents {
            if let Ok(versions) = self.discover(metrics, &document).await {
                return Ok(newest(&versions, major).map(|version| version.url.clone()));
            }
        }
        Ok(Some(endpoint.to_owned()))
    }

    /// The version document at an address, which is asked for once.
    pub async fn discover(&self, metrics: &Metrics, url: &str) -> Result<Arc<[Version]>, Fault> {
        let key = key(url);
        let documents = || self.known.documents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = documents().get(key) {
            return Ok(Arc::clone(known));
        }
        let call = Call { method: Method::GET, url: key.to_owned(), headers: own_headers(), body: None, retries: 0 };
        let reply = self.exchange(metrics, &call).await?;
        if reply.status.as_u16() >= 400 {
            return Err(Fault::Status(reply.status.as_u16()));
        }
        let found: Arc<[Version]> = versions(key, &reply.body)
            .ok_or_else(|| Fault::Unavailable("Keystone's answer is no version document".to_owned()))?
            .into();
        documents().insert(key.to_owned(), Arc::clone(&found));
        Ok(found)
    }

    /// The front's own token.
    async fn token(&self, metrics: &Metrics) -> Result<Arc<ServiceToken>, Fault> {
        let good = |token: &ServiceToken| token.expires.is_none_or(|end| end >= Utc::now() + SOON);
        self.login.get(good, self.plugin.log_in(self, metrics)).await
    }

    /// Drops a token that was refused; whether there is a way to another one.
    async fn forget(&self, own: &Arc<ServiceToken>) -> bool {
        let renewable = self.plugin.renews();
        if renewable {
            self.login.forget(own).await;
        }
        renewable
    }

    /// One exchange, whatever its status.
    pub async fn exchange(&self, metrics: &Metrics, call: &Call) -> Result<Reply, Fault> {
        self.transport.exchange(metrics, call).await.map_err(Fault::Unavailable)
    }

    /// Where clients get tokens: the address of the options, and since keystonemiddleware 13 that of the version in
    /// use, once one is and its document is known. Nobody is asked, and the first answer stays.
    pub fn uri(&self) -> Option<String> {
        let uri = self.plugin.uri()?;
        let versioned = self.known.uri.get_or_init(|| self.versioned(&uri).unwrap_or(uri));
        Some(versioned.clone())
    }

    fn versioned(&self, uri: &str) -> Option<String> {
        let major = self.known.major.get().filter(|_| self.era >= Era::KSM_13_0)?;
        let Way::Ask(_) = way(uri, *major) else { return None };
        let documents = self.known.documents.lock().unwrap_or_else(PoisonError::into_inner);
        newest(documents.get(key(uri))?, *major).map(|version| version.url.clone())
    }
}

fn usable(reply: Reply) -> Result<Bytes, Fault> {
    match reply.status.as_u16() {
        ..400 => Ok(reply.body),
        status => Err(Fault::Status(status)),
    }
}

/// The headers of everything but validations.
pub fn own_headers() -> HeaderMap {
    let mut headers =
        headers([("user-agent", AGENT), ("accept-encoding", b"gzip, deflate"), ("accept", b"application/json")]);
    add(&mut headers, "connection", b"keep-alive");
    headers
}

/// One name for the two spellings of a root: `http://keystone:5000`.
fn key(url: &str) -> &str {
    let is_root = |bare: &&str| bare.split_once("://").is_some_and(|(_, host)| !host.contains('/'));
    url.strip_suffix('/').filter(is_root).unwrap_or(url)
}

fn query(ask: Ask) -> &'static str {
    match (ask.catalog, ask.allow_expired) {
        (true, false) => "",
        (true, true) => "?allow_expired=1",
        (false, false) => "?nocatalog",
        (false, true) => "?nocatalog&allow_expired=1",
    }
}
