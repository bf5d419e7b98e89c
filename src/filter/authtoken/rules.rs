//! Access rules of application credentials: the only requests that such a token may make (keystonemiddleware 7.0).
//!
//! Must not know where the request came from.

use std::fmt::Write;

use regex::Regex;
use serde_json::Value;

/// What a token may do, and what its catalog offers.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    services: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    service: String,
    method: String,
    /// `None` for a pattern that cannot be read: it permits nothing.
    path: Option<Regex>,
}

/// A request, as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a str,
    /// SCRIPT_NAME and PATH_INFO, quoted.
    pub path: &'a str,
    /// Whether a service token came with it: then it is not a user's own request.
    pub by_service: bool,
}

impl Rules {
    /// The rules of a token of v3; `None` when it may make every request.
    pub fn of(token: &Value) -> Option<Self> {
        let credential = token.get("application_credential")?;
        let rules = credential.get("access_rules").filter(|rules| !rules.is_null())?;
        let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let rule = |rule: &Value| Rule {
            service: text(rule, "service"),
            method: text(rule, "method"),
            path: pattern(&text(rule, "path")),
        };
        let catalog = token.get("catalog").and_then(Value::as_array);
        Some(Self {
            rules: rules.as_array().into_iter().flatten().map(rule).collect(),
            services: catalog.into_iter().flatten().map(|service| text(service, "type")).collect(),
        })
    }

    /// Whether a request to the service of this type may be made. Without a type none may.
    pub fn permit(&self, service_type: Option<&str>, asked: Asked<'_>) -> bool {
        let Some(own) = service_type.filter(|own| !own.is_empty()) else {
            tracing::warn!(
                target: "keystonemiddleware.auth_token",
                "Cannot validate request with restricted access rules. Set service_type in [keystone_authtoken] to \
                 allow access rule validation."
            );
            return false;
        };
        if own == "identity" && asked.method == "GET" && asked.path.ends_with("/v3/auth/tokens") {
            return true;
        }
        if !self.services.iter().any(|service| service == own) {
            tracing::warn!(
                target: "keystonemiddleware.auth_token",
                "Cannot validate request with restricted access rules. service_type in [keystone_authtoken] is not a \
                 valid service type in the catalog."
            );
            return false;
        }
        asked.by_service
            || self.rules.iter().any(|rule| {
                rule.method == asked.method
                    && rule.service == own
                    && rule.path.as_ref().is_some_and(|path| path.is_match(asked.path))
            })
    }
}

/// `*` and `{tag}` are a segment, `**` is anything; the rest is text of a regular expression, as it was.
fn pattern(path: &str) -> Option<Regex> {
    let mut out = String::from("^(?:");
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        if first == '{'
            && let Some(end) = rest.find('}')
        {
            out.push_str("[^/]+");
            rest = rest.get(end + 1..)?;
            continue;
        }
        if let Some(after) = rest.strip_prefix("**") {
            out.push_str(".*");
            rest = after;
            continue;
        }
        match first {
            '*' => out.push_str("[^/]+"),
            // Half a tag matched nothing and vanished.
            '{' | '}' => {}
            other => out.write_char(other).ok()?,
        }
        rest = rest.get(first.len_utf8()..)?;
    }
    out.push_str(")$");
    Regex::new(&out).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(rules: Value) -> Value {
        json!({"catalog": [{"type": "compute"}], "application_credential": {"access_rules": rules}})
    }

    fn get(path: &str) -> Asked<'_> {
        Asked { method: "GET", path, by_service: false }
    }

    #[test]
    fn a_pattern_is_as_wide_as_its_stars() {
        for (text, path, fits) in [
            ("/v2.1/servers", "/v2.1/servers", true),
            ("/v2.1/servers", "/v2x1/servers", true),
            ("/v2.1/servers", "/v2.1/servers/1", false),
            ("/v2.1/servers/*", "/v2.1/servers/1", true),
            ("/v2.1/servers/*", "/v2.1/servers/1/ips", false),
            ("/v2.1/servers/{id}/ips", "/v2.1/servers/1/ips", true),
            ("/v2.1/**", "/v2.1/servers/1/ips", true),
            ("/v2.1/***", "/v2.1/servers/1", true),
            ("/x(", "/x(", false),
        ] {
            assert_eq!(pattern(text).is_some_and(|p| p.is_match(path)), fits, "{text} {path}");
        }
    }

    #[test]
    fn a_request_needs_a_rule_of_its_service_method_and_path() {
        let rules = Rules::of(&token(json!([{"service": "compute", "method": "GET", "path": "/servers"}]))).unwrap();
        assert!(rules.permit(Some("compute"), get("/servers")));
        assert!(!rules.permit(Some("compute"), get("/flavors")));
        assert!(!rules.permit(Some("compute"), Asked { method: "POST", ..get("/servers") }));
        assert!(rules.permit(Some("compute"), Asked { method: "POST", by_service: true, ..get("/flavors") }));
        assert!(!rules.permit(Some("volume"), get("/servers")));
        assert!(!rules.permit(None, get("/servers")));
        assert!(rules.permit(Some("identity"), get("/identity/v3/auth/tokens")));
    }

    #[test]
    fn a_token_without_rules_may_do_everything_and_one_with_none_nothing() {
        assert!(Rules::of(&json!({})).is_none() && Rules::of(&token(Value::Null)).is_none());
        assert!(!Rules::of(&token(json!([]))).unwrap().permit(Some("compute"), get("/servers")));
    }
}
