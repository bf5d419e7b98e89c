//! Tokens that are bound to another proof of who somebody is (`enforce_token_bind`, keystoneclient 0.6).
//!
//! Must not know how that proof was given.

use serde_json::{Map, Value};

/// `enforce_token_bind`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is checked.
    Disabled,
    /// What is known is checked.
    Permissive,
    /// What is not known is refused.
    Strict,
    /// A token has to be bound.
    Required,
    /// A token has to be bound to this.
    Named(String),
}

impl Mode {
    /// As the option has it.
    pub fn of(text: &str) -> Self {
        match text {
            "disabled" => Self::Disabled,
            "permissive" => Self::Permissive,
            "strict" => Self::Strict,
            "required" => Self::Required,
            name => Self::Named(name.to_owned()),
        }
    }

    /// Whether a token bound so is good for a request whose client proved to be `remote_user` by `auth_type`.
    pub fn permits(
        &self,
        bind: Option<&Map<String, Value>>,
        auth_type: Option<&str>,
        remote_user: Option<&str>,
    ) -> bool {
        let lax = matches!(self, Self::Permissive | Self::Strict);
        let Some(bind) = bind.filter(|_| *self != Self::Disabled) else { return *self == Self::Disabled || lax };
        if let Self::Named(name) = self
            && !bind.contains_key(name)
        {
            return false;
        }
        bind.iter().all(|(kind, who)| {
            if kind == "kerberos" {
                auth_type.is_some_and(|kind| kind.eq_ignore_ascii_case("negotiate"))
                    && remote_user.is_some()
                    && remote_user == who.as_str()
            } else {
                *self == Self::Permissive
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_mode_has_its_rule() {
        let none = None;
        let kerberos = json!({"kerberos": "alice"}).as_object().cloned();
        let other = json!({"x509": "alice"}).as_object().cloned();
        for (mode, bind, negotiated, fits) in [
            ("disabled", &kerberos, false, true),
            ("disabled", &none, false, true),
            ("permissive", &none, false, true),
            ("permissive", &other, false, true),
            ("permissive", &kerberos, false, false),
            ("permissive", &kerberos, true, true),
            ("strict", &none, false, true),
            ("strict", &other, false, false),
            ("required", &none, true, false),
            ("required", &kerberos, true, true),
            ("required", &other, true, false),
            ("kerberos", &none, true, false),
            ("kerberos", &other, true, false),
            ("kerberos", &kerberos, true, true),
            ("x509", &kerberos, true, false),
        ] {
            let auth_type = negotiated.then_some("Negotiate");
            let got = Mode::of(mode).permits(bind.as_ref(), auth_type, Some("alice"));
            assert_eq!(got, fits, "{mode} {bind:?} {negotiated}");
        }
        assert!(!Mode::Permissive.permits(kerberos.as_ref(), Some("negotiate"), Some("bob")));
    }
}
