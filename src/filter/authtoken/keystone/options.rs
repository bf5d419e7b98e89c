//! Everything about reaching Keystone in `[keystone_authtoken]`, and in the group that `auth_section` names.
//!
//! Must not know what is sent.

use std::time::Duration;

use super::client::{Admin, AdminToken, Client};
use super::credentials::{Account, Name, Proof};
use super::discovery::number;
use super::plugin::{Api, Plugin};
use super::session::{Known, Session};
use super::tls::Tls;
use super::transport::Transport;
use super::{How, Keystone};
use crate::config::{Setting, Via};
use crate::filter::Build;
use crate::filter::authtoken::era::Era;
use crate::filter::authtoken::secret::Secret;
use crate::filter::authtoken::shared::Shared;

const GROUP: &str = "keystone_authtoken";

/// Makes the client that the options describe. `None` after an error, or when another plugin is Python's.
pub fn keystone(build: &mut Build<'_>, era: Era) -> Option<Keystone> {
    let errors = build.diagnostics.iter().filter(|found| found.is_error()).count();
    let sessions = !era.is_client() && era >= Era::KSM_1_2;
    let timeout = build.local_or_conf(GROUP, "http_connect_timeout").filter(|set| !set.value.trim().is_empty());
    let timeout = build.integer(timeout, 0_u64);
    let retries = build.local_or_conf(GROUP, "http_request_max_retries");
    let retries = build.integer(retries, 3_u32);
    let transport = Transport::new(tls(build, era), (timeout > 0).then(|| Duration::from_secs(timeout)));
    let version = text(build, GROUP, "auth_version");
    let how = if sessions {
        let interface = if era >= Era::KSM_6_1 { text(build, GROUP, "interface") } else { None };
        let default = if era >= Era::KSM_9_1 { "internal" } else { "admin" };
        let session = Session {
            era,
            version: version.as_deref().and_then(number).map(|(major, _)| major),
            interface: interface.unwrap_or_else(|| default.to_owned()),
            region: if era >= Era::KSM_2_2 { text(build, GROUP, "region_name") } else { None },
            retries,
            plugin: plugin(build, era)?,
            login: Shared::new(None),
            transport,
            known: Known::default(),
        };
        How::Session(Box::new(session))
    } else {
        let base = identity_uri(build, era, GROUP);
        let admin_token = text(build, GROUP, "admin_token");
        let admin_token = admin_token.map(|token| AdminToken { secret: Secret::from(token), expires: None });
        let admin = Admin {
            user: text(build, GROUP, "admin_user"),
            password: text(build, GROUP, "admin_password").map(Secret::from),
            tenant: Some(text(build, GROUP, "admin_tenant_name").unwrap_or_else(|| "admin".to_owned())),
        };
        let v3 = version.map(|version| (version == "v3.0").into()).unwrap_or_default();
        How::Client(Box::new(Client { era, base, retries, v3, admin, login: Shared::new(admin_token), transport }))
    };
    let found = build.diagnostics.iter().filter(|found| found.is_error()).count();
    (found == errors).then_some(Keystone { how })
}

fn setting(build: &mut Build<'_>, group: &str, name: &str) -> Option<Setting> {
    build.local_or_conf(group, name).filter(|setting| !setting.value.is_empty())
}

fn text(build: &mut Build<'_>, group: &str, name: &str) -> Option<String> {
    setting(build, group, name).map(|setting| setting.value)
}

fn tls(build: &mut Build<'_>, era: Era) -> Tls {
    let insecure = match build.local_or_conf(GROUP, "insecure") {
        // keystoneclient took the text of a Paste file as it was, and any text is true.
        Some(set) if era.is_client() && !matches!(set.via, Via::Conf | Via::BuiltIn) => !set.value.is_empty(),
        set => build.flag(set.filter(|set| !set.value.trim().is_empty()), false),
    };
    let mut file = |name| setting(build, GROUP, name);
    let (ca, cert, key) = (file("cafile"), file("certfile"), file("keyfile"));
    Tls::read(build, insecure, ca.as_ref(), cert.as_ref(), key.as_ref())
}

/// Where Keystone is, as `identity_uri` or the older options say.
fn identity_uri(build: &mut Build<'_>, era: Era, group: &str) -> String {
    let whole = if era >= Era::CLIENT_0_8 { text(build, group, "identity_uri") } else { None };
    let host = text(build, group, "auth_host").unwrap_or_else(|| "127.0.0.1".to_owned());
    let port = setting(build, group, "auth_port");
    let port = build.integer(port, 35357_u16);
    let scheme = text(build, group, "auth_protocol").unwrap_or_else(|| "https".to_owned());
    let prefix = text(build, group, "auth_admin_prefix").unwrap_or_default();
    if let Some(whole) = whole {
        return whole.trim_end_matches('/').to_owned();
    }
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let prefix = prefix.trim_matches('/');
    format!("{scheme}://{host}:{port}{}{prefix}", if prefix.is_empty() { "" } else { "/" })
}

fn plugin(build: &mut Build<'_>, era: Era) -> Option<Plugin> {
    let named = era >= Era::KSM_1_3;
    let group = if named { text(build, GROUP, "auth_section") } else { None };
    let group = group.unwrap_or_else(|| GROUP.to_owned());
    let kind = if named {
        setting(build, &group, "auth_type").or_else(|| setting(build, &group, "auth_plugin"))
    } else {
        None
    };
    match kind.as_ref().map(|kind| kind.value.as_str()) {
        None if era >= Era::KSM_13_0 => build.leave("[keystone_authtoken] has no `auth_type`"),
        None => {
            let identity_uri = identity_uri(build, era, &group);
            let mut take = |name| text(build, &group, name);
            let token = take("admin_token").map(Secret::from);
            let mut account = Account {
                proof: Proof::Password(take("admin_password").unwrap_or_default().into()),
                ..Account::default()
            };
            account.user.name = take("admin_user");
            account.project.name = Some(take("admin_tenant_name").unwrap_or_else(|| "admin".to_owned()));
            Some(Plugin::Admin { identity_uri, token, account })
        }
        Some("none") => {
            Some(Plugin::Fixed { endpoint: text(build, &group, "endpoint"), token: Secret::from("notused") })
        }
        Some("admin_token") => {
            let endpoint = text(build, &group, "endpoint").or_else(|| text(build, &group, "url"));
            let token = text(build, &group, "token").unwrap_or_default().into();
            Some(Plugin::Fixed { endpoint, token })
        }
        Some(
            name @ ("password"
            | "v3password"
            | "v2password"
            | "token"
            | "v3token"
            | "v2token"
            | "v3applicationcredential"),
        ) => account(build, kind.as_ref(), name, &group),
        Some(other) => build.leave(format!("`auth_type = {other}` is Python's")),
    }
}

fn account(build: &mut Build<'_>, kind: Option<&Setting>, name: &str, group: &str) -> Option<Plugin> {
    let mut take = |name| text(build, group, name);
    let auth_url = take("auth_url");
    let user = Name {
        id: take("user_id"),
        name: take("username").or_else(|| take("user_name")),
        domain_id: take("user_domain_id"),
        domain_name: take("user_domain_name"),
    };
    let project = Name {
        id: take("project_id").or_else(|| take("tenant_id")),
        name: take("project_name").or_else(|| take("tenant_name")),
        domain_id: take("project_domain_id"),
        domain_name: take("project_domain_name"),
    };
    let proof = match name {
        "v3applicationcredential" => Proof::Application {
            id: take("application_credential_id"),
            name: take("application_credential_name"),
            secret: take("application_credential_secret").unwrap_or_default().into(),
        },
        "token" | "v3token" | "v2token" => Proof::Token(take("token").unwrap_or_default().into()),
        _ => Proof::Password(take("password").unwrap_or_default().into()),
    };
    let domain = (take("domain_id"), take("domain_name"));
    let account = Account { proof, user, project, domain, system: take("system_scope"), trust: take("trust_id") };
    let api = match name {
        "v2password" | "v2token" => Api::V2,
        "password" | "token" => {
            Api::Any { domain_id: take("default_domain_id"), domain_name: take("default_domain_name") }
        }
        _ => Api::V3,
    };
    let problem = match &auth_url {
        None => Some("Auth plugin requires parameters which were not given: auth_url"),
        Some(_) => incomplete(&account, &api),
    };
    if let Some(problem) = problem {
        let help = format!("`auth_type = {name}` needs it in [{group}]");
        build.error(kind, problem, help);
        return None;
    }
    let auth_url = auth_url?;
    if let Err(error) = reqwest::Url::parse(&auth_url) {
        build.error(kind, format!("`auth_url` is no address: {error}"), "write http://HOST:PORT or https://HOST:PORT");
        return None;
    }
    Some(Plugin::Account { auth_url, api, account })
}

/// What the original's loader asks of an account.
fn incomplete(account: &Account, api: &Api) -> Option<&'static str> {
    if *api != Api::V3 {
        return None;
    }
    if account.project.name.is_some() && !account.project.has_domain() && account.project.id.is_none() {
        return Some("`project_name` without `project_domain_id` or `project_domain_name`");
    }
    let homeless = account.user.name.is_some() && !account.user.has_domain();
    match &account.proof {
        Proof::Password(_) if homeless => Some("`username` without `user_domain_id` or `user_domain_name`"),
        Proof::Application { id: None, name: None, .. } => {
            Some("neither `application_credential_id` nor `application_credential_name`")
        }
        Proof::Application { id: None, .. } if account.user.id.is_none() && account.user.name.is_none() => {
            Some("`application_credential_name` without `username` or `user_id`")
        }
        Proof::Application { id: None, .. } if homeless => {
            Some("`username` without `user_domain_id` or `user_domain_name`")
        }
        Proof::Application { secret, .. } if secret.is_empty() => Some("no `application_credential_secret`"),
        _ => None,
    }
}
