//! How auth_token asked before it had sessions: by an admin token at a fixed address (keystoneclient 0.3 to 1.6 and
//! keystonemiddleware 1.0 and 1.1, `auth_token.py`).
//!
//! Whatever fails there looks like an invalid token, but for a Keystone that cannot be reached. Must not know the
//! catalog, or accounts of version 3.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::answer::{expiry, path_of_token, version_of_token};
use super::json::dumps;
use super::transport::{Call, Reply, Transport, add, add_secret, headers};
use super::{AGENT, Ask, Certificate, Fault, KeystoneError, Validated};
use crate::filter::authtoken::era::Era;
use crate::filter::authtoken::secret::Secret;
use crate::filter::authtoken::shared::Shared;
use crate::metrics::Metrics;

/// The admin token is fetched anew when it ends within this time.
const SOON: TimeDelta = TimeDelta::seconds(30);

/// A Keystone at `auth_host`, or `identity_uri`.
pub struct Client {
    /// Whose rules hold.
    pub era: Era,
    /// `https://127.0.0.1:35357`, with the prefix.
    pub base: String,
    /// `http_request_max_retries`.
    pub retries: u32,
    /// `auth_version`: whether it is `v3.0`.
    pub v3: OnceLock<bool>,
    /// `admin_user`, `admin_password`, `admin_tenant_name`.
    pub admin: Admin,
    /// The token that they give, or `admin_token`.
    pub login: Shared<AdminToken, Fault>,
    /// The way there.
    pub transport: Transport,
}

/// The account of the front.
pub struct Admin {
    /// `admin_user`.
    pub user: Option<String>,
    /// `admin_password`.
    pub password: Option<Secret>,
    /// `admin_tenant_name`.
    pub tenant: Option<String>,
}

/// What it has got.
pub struct AdminToken {
    /// The token.
    pub secret: Secret,
    /// Its end; `None` for `admin_token`.
    pub expires: Option<DateTime<Utc>>,
}

impl Client {
    /// Asks once, and once more when the answer is none of 200 and 404.
    pub async fn validate(&self, metrics: &Metrics, token: &Secret, ask: Ask) -> Result<Validated, KeystoneError> {
        let mut last = None;
        for _ in 0..2 {
            match self.attempt(metrics, token, ask).await {
                Ok(body) => return Ok(Validated { body }),
                Err(Fault::Unavailable(why)) => return Err(KeystoneError::Unavailable(why)),
                // What is refused, or answered with an error, is asked once more.
                Err(fault @ Fault::Status(status)) if status != 404 => last = Some(fault),
                Err(fault) => {
                    last = Some(fault);
                    break;
                }
            }
        }
        if let Some(fault) = last.filter(|fault| *fault != Fault::Status(404)) {
            tracing::warn!("a token counts as invalid: {fault}");
        }
        Err(KeystoneError::Invalid)
    }

    async fn attempt(&self, metrics: &Metrics, token: &Secret, ask: Ask) -> Result<Bytes, Fault> {
        let v3 = self.v3(metrics).await?;
        let admin = self.token(metrics).await?;
        let quoted = path_of_token(token.expose()).ok_or(Fault::Status(404))?;
        let mut more = HeaderMap::new();
        add_secret(&mut more, "x-auth-token", &admin.secret).ok_or_else(|| Fault::broken("the admin token"))?;
        let path = if v3 {
            add_secret(&mut more, "x-subject-token", &Secret::from(quoted)).ok_or(Fault::Status(404))?;
            if ask.catalog { "/v3/auth/tokens".to_owned() } else { "/v3/auth/tokens?nocatalog".to_owned() }
        } else {
            format!("/v2.0/tokens/{quoted}")
        };
        let reply = self.exchange(metrics, Method::GET, &path, None, more).await?;
        match reply.status.as_u16() {
            200 if version_of_token(&reply.body).is_some() => Ok(reply.body),
            200 => Err(Fault::broken("Keystone's answer holds no token")),
            status => {
                if status == 401 {
                    self.login.forget(&admin).await;
                }
                Err(Fault::Status(status))
            }
        }
    }

    /// The list of revoked tokens. Keystone is asked by version 2.0 in all cases, and once more when it refuses the admin
    /// token.
    pub async fn revoked(&self, metrics: &Metrics) -> Result<Bytes, Fault> {
        let mut again = true;
        loop {
            let admin = self.token(metrics).await?;
            let mut more = HeaderMap::new();
            add_secret(&mut more, "x-auth-token", &admin.secret).ok_or_else(|| Fault::broken("the admin token"))?;
            let reply = self.exchange(metrics, Method::GET, "/v2.0/tokens/revoked", None, more).await?;
            match reply.status.as_u16() {
                200 => return Ok(reply.body),
                401 if again => self.login.forget(&admin).await,
                status => return Err(Fault::Status(status)),
            }
            again = false;
        }
    }

    /// Certificates, which anybody may have. Before 0.6 any answer was taken for them, and before 0.8 version 2.0 was
    /// asked for them in all cases.
    pub async fn certificate(&self, metrics: &Metrics, which: Certificate) -> Result<Bytes, Fault> {
        let v3 = self.era >= Era::CLIENT_0_8 && self.v3(metrics).await?;
        let path = match (v3, which) {
            (false, Certificate::Signing) => "/v2.0/certificates/signing",
            (false, Certificate::Authority) => "/v2.0/certificates/ca",
            (true, Certificate::Signing) => "/v3/OS-SIMPLE-CERT/certificates",
            (true, Certificate::Authority) => "/v3/OS-SIMPLE-CERT/ca",
        };
        let headers = headers([("user-agent", AGENT), ("accept-encoding", b"gzip, deflate"), ("accept", b"*/*")]);
        let url = format!("{}{path}", self.base);
        let call = Call { method: Method::GET, url, headers, body: None, retries: self.retries };
        let reply = self.transport.exchange(metrics, &call).await.map_err(Fault::Unavailable)?;
        match reply.status.as_u16() {
            status if status != 200 && self.era >= Era::CLIENT_0_6 => Err(Fault::Status(status)),
            _ => Ok(reply.body),
        }
    }

    /// Whether tokens are validated by version 3: as the option says, else 2.0 if Keystone has it. The original knows
    /// the first of all versions 3 only, `v3.0`.
    async fn v3(&self, metrics: &Metrics) -> Result<bool, Fault> {
        if let Some(&known) = self.v3.get() {
            return Ok(known);
        }
        let reply = self.exchange(metrics, Method::GET, "/", None, HeaderMap::new()).await?;
        let v3 = match reply.status.as_u16() {
            501 => false,
            300 => {
                let document: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                let versions = document.pointer("/versions/values").and_then(Value::as_array);
                let has = |id| versions.into_iter().flatten().any(|v| v.get("id").and_then(Value::as_str) == Some(id));
                match (has("v2.0"), has("v3.0")) {
                    (true, _) => false,
                    (false, true) => true,
                    (false, false) => return Err(Fault::broken("Keystone has neither version v2.0 nor v3.0")),
                }
            }
            status => return Err(Fault::broken(format!("no versions of Keystone's API: it answers {status}"))),
        };
        Ok(*self.v3.get_or_init(|| v3))
    }

    async fn token(&self, metrics: &Metrics) -> Result<Arc<AdminToken>, Fault> {
        let good = |token: &AdminToken| token.expires.is_none_or(|end| end >= Utc::now() + SOON);
        self.login.get(good, self.log_in(metrics)).await
    }

    async fn log_in(&self, metrics: &Metrics) -> Result<AdminToken, Fault> {
        let password = self.admin.password.as_ref().map(Secret::expose_text);
        let credentials = json!({"username": self.admin.user, "password": password});
        let body = json!({"auth": {"tenantName": self.admin.tenant, "passwordCredentials": credentials}});
        let reply = self.exchange(metrics, Method::POST, "/v2.0/tokens", Some(dumps(&body)), HeaderMap::new()).await?;
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let id = answer.pointer("/access/token/id").and_then(Value::as_str).filter(|id| !id.is_empty());
        match (id, expiry(&answer)) {
            (Some(id), Some(expires)) => Ok(AdminToken { secret: Secret::from(id.to_owned()), expires: Some(expires) }),
            _ => Err(Fault::broken(format!("no admin token: Keystone answers {}", reply.status.as_u16()))),
        }
    }

    async fn exchange(
        &self,
        metrics: &Metrics,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        more: HeaderMap,
    ) -> Result<Reply, Fault> {
        let mut headers = headers([
            ("user-agent", AGENT),
            ("content-type", b"application/json"),
            ("accept-encoding", b"gzip, deflate"),
        ]);
        add(&mut headers, "accept", b"application/json");
        headers.extend(more);
        let call = Call { method, url: format!("{}{path}", self.base), headers, body, retries: self.retries };
        self.transport.exchange(metrics, &call).await.map_err(Fault::Unavailable)
    }
}
