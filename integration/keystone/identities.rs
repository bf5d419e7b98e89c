//! The tokens that real people and services have, and what a request with one of them looks like behind the filter.
//!
//! Must not know who filters.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::stack::{Stack, project};
use crate::support::Answer;

/// One of each kind of token, by name.
pub fn tokens(stack: &Stack) -> Vec<(&'static str, String)> {
    let (whole, domain) = (json!({"system": {"all": true}}), json!({"domain": {"id": "default"}}));
    let revoked = stack.token("demo", project("demo"));
    stack.revoke(&revoked);
    vec![
        ("admin", stack.token("admin", project("admin"))),
        ("demo", stack.token("demo", project("demo"))),
        ("reader", stack.token("reader", project("demo"))),
        ("admin of the domain", stack.token("admin", domain.clone())),
        ("reader of the domain", stack.token("reader", domain)),
        ("admin of the system", stack.token("admin", whole.clone())),
        ("reader of the system", stack.token("reader", whole)),
        ("unscoped", stack.token("demo", Value::Null)),
        ("credential", stack.credential_token("plain")),
        ("credential with rules", stack.credential_token("ruled")),
        ("revoked", revoked),
        ("unknown", "gAAAAABnonsense".to_owned()),
    ]
}

/// The identity in the environ of the app: every `HTTP_X_…` and `HTTP_OPENSTACK_…`, `Null` where it is None.
pub type Identity = BTreeMap<String, Value>;

/// Out of what the echo of the original answers; of an answer to HEAD nothing.
pub fn of_original(answer: &Answer) -> Identity {
    if answer.body.is_empty() {
        return Identity::new();
    }
    let echo = answer.json();
    let all = echo.as_object().expect("an environ").iter().map(|(key, value)| (key.clone(), value.clone()));
    all.filter(|(key, _)| is_identity(key)).collect()
}

/// Out of the stand-in's picture: headers of the request, and what the front lays over them.
pub fn of_picture(answer: &Answer) -> Identity {
    if answer.body.is_empty() {
        return Identity::new();
    }
    let picture = answer.json();
    let mut all = Identity::new();
    for header in picture["headers"].as_array().expect("headers") {
        let name = format!("HTTP_{}", header[0].as_str().expect("a name").to_uppercase().replace('-', "_"));
        all.insert(name, header[1].clone());
    }
    for (key, value) in picture["environ"].as_object().expect("an environ") {
        all.insert(key.clone(), value.clone());
    }
    all.retain(|key, _| is_identity(key));
    all
}

fn is_identity(key: &str) -> bool {
    key.starts_with("HTTP_X_") || key.starts_with("HTTP_OPENSTACK_")
}
