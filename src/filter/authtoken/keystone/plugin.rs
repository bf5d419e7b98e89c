//! The auth plugins of a session: where its token comes from (keystoneauth1 5.18, `identity/generic/`, `identity/v3/`,
//! `token_endpoint.py`, `noauth.py`; keystonemiddleware 12, `auth_token/_auth.py`).
//!
//! Must not know how tokens are validated.

use http::Method;
use serde_json::Value;

use super::Fault;
use super::answer::expiry;
use super::catalog::identity_endpoint;
use super::credentials::{Account, Name, Proof};
use super::discovery::number;
use super::json::dumps;
use super::session::{ServiceToken, Session, own_headers};
use super::transport::{Call, add, add_secret};
use crate::filter::authtoken::secret::Secret;
use crate::metrics::Metrics;

/// Where the front's own token comes from.
pub enum Plugin {
    /// `admin_token` and `none`: a token and an address that never change.
    Fixed {
        /// Of version 3 of the API.
        endpoint: Option<String>,
        /// The token; `none` has one too.
        token: Secret,
    },
    /// `auth_host`, `admin_user` and their kin, without a plugin: a token of version 2.0, and no catalog.
    Admin {
        /// Without a slash at its end.
        identity_uri: String,
        /// `admin_token`.
        token: Option<Secret>,
        /// `admin_user`, `admin_password`, `admin_tenant_name`.
        account: Account,
    },
    /// `password`, `token` and those of one version.
    Account {
        /// `auth_url`.
        auth_url: String,
        /// Which version of the API takes it.
        api: Api,
        /// Who asks.
        account: Account,
    },
}

/// The version of the API that an account is shown to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Api {
    /// 2.0, at `auth_url`.
    V2,
    /// 3, at `auth_url`.
    V3,
    /// What the document at `auth_url` says.
    Any {
        /// `default_domain_id`.
        domain_id: Option<String>,
        /// `default_domain_name`.
        domain_name: Option<String>,
    },
}

impl Plugin {
    /// Whether a token that was refused can be replaced.
    pub fn renews(&self) -> bool {
        match self {
            Self::Fixed { .. } => false,
            Self::Admin { token, .. } => token.is_none(),
            Self::Account { .. } => true,
        }
    }

    /// What clients are told when no option says it.
    pub fn uri(&self) -> Option<String> {
        match self {
            Self::Fixed { endpoint, .. } => endpoint.clone(),
            Self::Admin { identity_uri, .. } => Some(root(identity_uri)),
            Self::Account { auth_url, .. } => Some(auth_url.clone()),
        }
    }

    /// Gets a token.
    ///
    /// # Errors
    /// As the original's login fails.
    pub async fn log_in(&self, session: &Session, metrics: &Metrics) -> Result<ServiceToken, Fault> {
        match self {
            Self::Fixed { endpoint, token } => {
                Ok(ServiceToken { secret: token.clone(), expires: None, endpoint: endpoint.clone() })
            }
            Self::Admin { token: Some(token), .. } => {
                Ok(ServiceToken { secret: token.clone(), expires: None, endpoint: None })
            }
            Self::Admin { identity_uri, token: None, account } => {
                v2(session, metrics, &format!("{identity_uri}/v2.0"), account).await
            }
            Self::Account { auth_url, api: Api::V2, account } => v2(session, metrics, auth_url, account).await,
            Self::Account { auth_url, api: Api::V3, account } => v3(session, metrics, auth_url, account).await,
            Self::Account { auth_url, api: Api::Any { domain_id, domain_name }, account } => {
                let defaults = (domain_id.as_deref(), domain_name.as_deref());
                let (major, url) = choose(session, metrics, auth_url, account, defaults).await?;
                if major == 2 {
                    v2(session, metrics, &url, account).await
                } else {
                    v3(session, metrics, &url, &with_default_domain(account, defaults)).await
                }
            }
        }
    }
}

/// Scheme, host and port of an address.
pub fn root(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// The version to log in by: the oldest that can, or the newest when there is a default domain, as the document at
/// `auth_url` names them; without a document, by the address itself.
async fn choose(
    session: &Session,
    metrics: &Metrics,
    auth_url: &str,
    account: &Account,
    defaults: (Option<&str>, Option<&str>),
) -> Result<(u32, String), Fault> {
    let by_v2 = !account.needs_v3() && !account.user.has_domain();
    let lost = |why: String| Fault::Unavailable(format!("no version of Keystone's API at auth_url: {why}"));
    let versions = match session.discover(metrics, auth_url).await {
        Ok(versions) => versions,
        Err(fault) => {
            let path = auth_url.splitn(4, '/').nth(3).unwrap_or_default().to_ascii_lowercase();
            return match path.split('/').next().and_then(number) {
                Some((2, _)) if !account.needs_v3() => Ok((2, auth_url.to_owned())),
                Some((3, _)) => Ok((3, auth_url.to_owned())),
                _ => Err(lost(fault.to_string())),
            };
        }
    };
    let fits = |major| major == 3 || (major == 2 && by_v2);
    let chosen = if defaults.0.is_some() || defaults.1.is_some() {
        versions.iter().rev().find(|version| fits(version.number.0))
    } else {
        versions.iter().find(|version| fits(version.number.0))
    };
    let chosen = chosen.ok_or_else(|| lost("none of those there can take this account".to_owned()))?;
    Ok((chosen.number.0, chosen.url.clone()))
}

fn with_default_domain(account: &Account, (id, name): (Option<&str>, Option<&str>)) -> Account {
    let mut account = account.clone();
    let fill = |named: &mut Name| {
        named.domain_id = named.domain_id.take().or_else(|| id.map(str::to_owned));
        named.domain_name = named.domain_name.take().or_else(|| name.map(str::to_owned));
    };
    fill(&mut account.user);
    fill(&mut account.project);
    account
}

async fn v3(session: &Session, metrics: &Metrics, auth_url: &str, account: &Account) -> Result<ServiceToken, Fault> {
    let base = auth_url.trim_end_matches('/');
    let url = format!("{base}{}/auth/tokens", if base.ends_with("v3") { "" } else { "/v3" });
    let body = account.v3().map_err(Fault::Broken)?;
    let (answer, header) = log_in(session, metrics, url, &body, account).await?;
    let secret = header.filter(|_| answer.get("token").is_some());
    let secret = secret.ok_or_else(|| Fault::broken("Keystone's answer to the login holds no token"))?;
    Ok(own(session, secret, &answer))
}

async fn v2(session: &Session, metrics: &Metrics, auth_url: &str, account: &Account) -> Result<ServiceToken, Fault> {
    let url = format!("{}/tokens", auth_url.trim_end_matches('/'));
    let (answer, _) = log_in(session, metrics, url, &account.v2(), account).await?;
    let id = answer.pointer("/access/token/id").and_then(Value::as_str);
    let id = id.ok_or_else(|| Fault::broken("Keystone's answer to the login holds no token"))?;
    Ok(own(session, Secret::from(id.to_owned()), &answer))
}

fn own(session: &Session, secret: Secret, answer: &Value) -> ServiceToken {
    let endpoint = identity_endpoint(answer, &session.interface, session.region.as_deref());
    ServiceToken { secret, expires: expiry(answer), endpoint }
}

async fn log_in(
    session: &Session,
    metrics: &Metrics,
    url: String,
    body: &Value,
    account: &Account,
) -> Result<(Value, Option<Secret>), Fault> {
    let mut headers = own_headers();
    if let (Some(token), Proof::Token(_)) = (account.token(), &account.proof) {
        add_secret(&mut headers, "x-auth-token", token).ok_or_else(|| Fault::broken("`token` is no token"))?;
    }
    add(&mut headers, "content-type", b"application/json");
    let call = Call { method: Method::POST, url, headers, body: Some(dumps(body)), retries: 0 };
    let reply = session.exchange(metrics, &call).await?;
    let status = reply.status.as_u16();
    if status >= 400 {
        tracing::warn!("Keystone answers the front's own login with {status}");
        return Err(Fault::Status(status));
    }
    let answer =
        serde_json::from_slice(&reply.body).map_err(|_| Fault::broken("Keystone's answer to the login is no JSON"))?;
    let token = reply.headers.get("x-subject-token").map(|token| Secret::from(token.as_bytes().to_vec()));
    Ok((answer, token))
}
