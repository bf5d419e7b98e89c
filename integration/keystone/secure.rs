//! Keystone behind TLS, with a certificate of an authority that nobody else knows.
//!
//! Must not know how TLS is spoken.

use crate::stack::project;
use crate::stage::{authtoken, layout, stage};
use crate::support::Front;

/// The status of a request with a new token, for a front with these options.
fn status_with(lines: &[&str]) -> Option<u16> {
    let stage = stage()?;
    let gate = stage.secure_gate();
    assert!(gate.url().starts_with("https:"));
    let front = Front::start(&layout(&authtoken(&gate, lines)));
    let token = stage.stack.token("demo", project("demo"));
    let answer = front.client().get("/v2.1/flavors", &[("X-Auth-Token", &token)]).expect("an answer");
    // What did go through went through the gate.
    assert_eq!(gate.asked_about(&token) == 1, answer.status == 200, "{}", answer.text());
    Some(answer.status)
}

#[test]
fn an_authority_that_cafile_names_is_trusted() {
    let Some(stage) = stage() else { return };
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), stage.authority.pem()).expect("written");
    assert_eq!(status_with(&[&format!("cafile = {}", file.path().display())]), Some(200));
}

#[test]
fn an_unknown_authority_is_not_trusted() {
    if let Some(status) = status_with(&["http_request_max_retries = 0"]) {
        assert_eq!(status, 503);
    }
}

#[test]
fn insecure_trusts_everybody() {
    if let Some(status) = status_with(&["insecure = true"]) {
        assert_eq!(status, 200);
    }
}
