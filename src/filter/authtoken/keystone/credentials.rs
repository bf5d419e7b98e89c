//! What the front shows Keystone to get a token of its own (keystoneauth1 5.18, `identity/v2.py`, `identity/v3/`).
//!
//! Must not know where it is sent.

use serde_json::{Map, Value, json};

use crate::filter::authtoken::secret::Secret;

/// Who asks for a token, and what for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What proves it.
    pub proof: Proof,
    /// The user, where the proof needs one.
    pub user: Name,
    /// `project_id`, or `project_name` and its domain.
    pub project: Name,
    /// `domain_id` or `domain_name`.
    pub domain: (Option<String>, Option<String>),
    /// `system_scope`: `all`.
    pub system: Option<String>,
    /// `trust_id`.
    pub trust: Option<String>,
}

/// Something that is named by its id, or by its name within a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// Unique.
    pub id: Option<String>,
    /// Unique in its domain.
    pub name: Option<String>,
    /// The domain's id.
    pub domain_id: Option<String>,
    /// Or its name.
    pub domain_name: Option<String>,
}

/// What proves who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A password.
    Password(Secret),
    /// A token that is changed for another.
    Token(Secret),
    /// An application credential: by id, or by name and user.
    Application {
        /// Its id.
        id: Option<String>,
        /// Its name among those of the user.
        name: Option<String>,
        /// Its secret.
        secret: Secret,
    },
}

impl Default for Proof {
    fn default() -> Self {
        Self::Password(Secret::default())
    }
}

impl Name {
    /// Its domain belongs to version 3 of the API.
    pub fn has_domain(&self) -> bool {
        self.domain_id.is_some() || self.domain_name.is_some()
    }

    fn v3(&self) -> Map<String, Value> {
        let mut named = Map::new();
        if let Some(id) = &self.id {
            named.insert("id".to_owned(), json!(id));
        } else if let Some(name) = &self.name {
            named.insert("name".to_owned(), json!(name));
            if let Some(domain) = by_id_or_name(self.domain_id.as_deref(), self.domain_name.as_deref()) {
                named.insert("domain".to_owned(), domain);
            }
        }
        named
    }
}

fn by_id_or_name(id: Option<&str>, name: Option<&str>) -> Option<Value> {
    match (id, name) {
        (Some(id), _) => Some(json!({ "id": id })),
        (None, Some(name)) => Some(json!({ "name": name })),
        (None, None) => None,
    }
}

impl Account {
    /// Whether only version 3 of the API can do this.
    pub fn needs_v3(&self) -> bool {
        self.domain.0.is_some() || self.domain.1.is_some() || self.project.has_domain()
    }

    /// The token that is sent as a header too.
    pub fn token(&self) -> Option<&Secret> {
        match &self.proof {
            Proof::Token(token) => Some(token),
            Proof::Password(_) | Proof::Application { .. } => None,
        }
    }

    /// The body of `POST /v3/auth/tokens`.
    ///
    /// # Errors
    /// It cannot be scoped as it says.
    pub fn v3(&self) -> Result<Value, String> {
        let (method, proof) = match &self.proof {
            Proof::Password(password) => {
                let mut user = Map::new();
                user.insert("password".to_owned(), json!(password.expose_text()));
                user.extend(self.user.v3());
                ("password", json!({ "user": user }))
            }
            Proof::Token(token) => ("token", json!({ "id": token.expose_text() })),
            Proof::Application { id, name, secret } => {
                let mut credential = Map::new();
                credential.insert("secret".to_owned(), json!(secret.expose_text()));
                match id {
                    Some(id) => credential.insert("id".to_owned(), json!(id)),
                    None => {
                        credential.insert("name".to_owned(), json!(name));
                        credential.insert("user".to_owned(), Value::Object(self.user.v3()))
                    }
                };
                ("application_credential", Value::Object(credential))
            }
        };
        let mut identity = Map::new();
        identity.insert("methods".to_owned(), json!([method]));
        identity.insert(method.to_owned(), proof);
        let mut auth = Map::new();
        auth.insert("identity".to_owned(), Value::Object(identity));
        if let Some(scope) = self.scope()? {
            auth.insert("scope".to_owned(), scope);
        }
        Ok(json!({ "auth": auth }))
    }

    fn scope(&self) -> Result<Option<Value>, String> {
        let domain = by_id_or_name(self.domain.0.as_deref(), self.domain.1.as_deref());
        let project = Some(self.project.v3()).filter(|project| !project.is_empty());
        let kinds = [domain.is_some(), project.is_some(), self.trust.is_some(), self.system.is_some()];
        if kinds.iter().filter(|&&wanted| wanted).count() > 1 {
            return Err("the account is scoped to more than one of project, domain, trust and system".to_owned());
        }
        if let Some(domain) = domain {
            return Ok(Some(json!({ "domain": domain })));
        }
        if let Some(project) = project {
            return Ok(Some(json!({ "project": project })));
        }
        if let Some(trust) = &self.trust {
            return Ok(Some(json!({ "OS-TRUST:trust": { "id": trust } })));
        }
        match self.system.as_deref() {
            None => Ok(None),
            Some("all") => Ok(Some(json!({ "system": { "all": true } }))),
            Some(other) => Err(format!("`system_scope = {other}`: there is only `all`")),
        }
    }

    /// The body of `POST /v2.0/tokens`.
    pub fn v2(&self) -> Value {
        let mut auth = Map::new();
        match &self.proof {
            Proof::Token(token) => {
                auth.insert("token".to_owned(), json!({ "id": token.expose_text() }));
            }
            Proof::Password(secret) | Proof::Application { secret, .. } => {
                let mut credentials = Map::new();
                credentials.insert("password".to_owned(), json!(secret.expose_text()));
                match (&self.user.name, &self.user.id) {
                    (Some(name), _) => credentials.insert("username".to_owned(), json!(name)),
                    (None, Some(id)) => credentials.insert("userId".to_owned(), json!(id)),
                    (None, None) => None,
                };
                auth.insert("passwordCredentials".to_owned(), Value::Object(credentials));
            }
        }
        match (&self.project.id, &self.project.name) {
            (Some(id), _) => auth.insert("tenantId".to_owned(), json!(id)),
            (None, Some(name)) => auth.insert("tenantName".to_owned(), json!(name)),
            (None, None) => None,
        };
        if let Some(trust) = &self.trust {
            auth.insert("trust_id".to_owned(), json!(trust));
        }
        json!({ "auth": auth })
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::dumps;
    use super::*;

    fn nova() -> Account {
        let name = |name: &str| Name {
            name: Some(name.to_owned()),
            domain_name: Some("Default".to_owned()),
            ..Name::default()
        };
        let proof = Proof::Password(Secret::from("s3cret"));
        Account { proof, user: name("nova"), project: name("service"), ..Account::default() }
    }

    #[test]
    fn a_password_is_shown_as_the_original_shows_it() {
        let recorded = r#"{"auth": {"identity": {"methods": ["password"], "password": {"user": {"password": "s3cret", "name": "nova", "domain": {"name": "Default"}}}}, "scope": {"project": {"name": "service", "domain": {"name": "Default"}}}}}"#;
        assert_eq!(dumps(&nova().v3().expect("a body")), recorded);
        let old =
            r#"{"auth": {"passwordCredentials": {"password": "s3cret", "username": "nova"}, "tenantName": "service"}}"#;
        assert_eq!(dumps(&nova().v2()), old);
    }

    #[test]
    fn an_account_has_one_scope() {
        let with = |change: fn(&mut Account)| {
            let mut account = Account { project: Name::default(), ..nova() };
            change(&mut account);
            account.v3().map(|body| dumps(&body["auth"]["scope"]))
        };
        assert_eq!(with(|_| ()).as_deref(), Ok(&b"null"[..]));
        assert_eq!(with(|a| a.domain.0 = Some("d".into())).as_deref(), Ok(&br#"{"domain": {"id": "d"}}"#[..]));
        assert_eq!(with(|a| a.system = Some("all".into())).as_deref(), Ok(&br#"{"system": {"all": true}}"#[..]));
        assert_eq!(with(|a| a.trust = Some("t".into())).as_deref(), Ok(&br#"{"OS-TRUST:trust": {"id": "t"}}"#[..]));
        assert!(with(|a| a.system = Some("some".into())).is_err());
        assert!(with(|a| (a.trust, a.system) = (Some("t".into()), Some("all".into()))).is_err());
    }

    #[test]
    fn an_application_credential_needs_its_user_only_by_name() {
        let secret = Secret::from("x");
        let by = |id: Option<&str>, name: Option<&str>| Account {
            proof: Proof::Application { id: id.map(Into::into), name: name.map(Into::into), secret: secret.clone() },
            project: Name::default(),
            ..nova()
        };
        let shown =
            |account: Account| dumps(&account.v3().expect("a body")["auth"]["identity"]["application_credential"]);
        assert_eq!(shown(by(Some("7"), None)), r#"{"secret": "x", "id": "7"}"#);
        let named = r#"{"secret": "x", "name": "n", "user": {"name": "nova", "domain": {"name": "Default"}}}"#;
        assert_eq!(shown(by(None, Some("n"))), named);
    }

    #[test]
    fn no_secret_is_shown() {
        assert!(!format!("{:?}", nova()).contains("s3cret"));
    }
}
