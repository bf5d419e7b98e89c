//! Options of every era, and what is wrong with them.

use super::*;

const ACCOUNT: &[(&str, &str)] = &[("auth_type", "password"), ("auth_url", "http://k:5000"), ("password", "s3cret")];

fn message(found: &[Diagnostic]) -> &str {
    assert_eq!(found.len(), 1, "{found:?}");
    &found[0].message
}

#[test]
fn an_account_that_the_original_refuses_is_an_error() {
    for (conf, text) in [
        (&[("auth_type", "password")][..], "auth_url"),
        (&[("auth_type", "password"), ("auth_url", "keystone")], "no address"),
        (&[("auth_type", "v3password"), ("auth_url", "http://k"), ("project_name", "p")], "project_domain_id"),
        (&[("auth_type", "v3password"), ("auth_url", "http://k"), ("username", "u")], "user_domain_id"),
        (&[("auth_type", "v3applicationcredential"), ("auth_url", "http://k")], "application_credential_id"),
        (
            &[("auth_type", "v3applicationcredential"), ("auth_url", "http://k"), ("application_credential_id", "i")],
            "application_credential_secret",
        ),
        (
            &[("auth_type", "v3applicationcredential"), ("auth_url", "http://k"), ("application_credential_name", "n")],
            "username",
        ),
    ] {
        let (keystone, left, found) = build(Era::KSM_13_0, &[], conf);
        assert!(keystone.is_none() && left.is_none(), "{conf:?}");
        assert!(message(&found).contains(text), "{found:?}");
    }
}

#[test]
fn what_only_python_can_do_is_left_to_it() {
    for (conf, text) in
        [(&[("auth_type", "v3oidcpassword"), ("auth_url", "http://k")][..], "v3oidcpassword"), (&[], "auth_type")]
    {
        let (keystone, left, found) = build(Era::KSM_13_0, &[], conf);
        assert!(keystone.is_none() && found.is_empty(), "{found:?}");
        assert!(left.is_some_and(|why| why.contains(text)));
    }
    let (keystone, ..) = build(Era::KSM_12_0, &[], &[]);
    assert!(keystone.is_some(), "before 13 there were defaults");
}

#[test]
fn numbers_and_flags_are_checked() {
    for (option, value) in [("http_connect_timeout", "soon"), ("http_request_max_retries", "-1"), ("insecure", "maybe")]
    {
        let conf = [ACCOUNT, &[(option, value)]].concat();
        let (keystone, _, found) = build(Era::KSM_13_0, &[], &conf);
        assert!(keystone.is_none() && message(&found).contains(value), "{option}");
    }
    let (keystone, _, found) = build(Era::CLIENT_0_4, &[("insecure", "False")], &[]);
    assert!(keystone.is_some() && found.is_empty(), "any text was true there");
}

#[tokio::test]
async fn another_section_may_have_the_account() {
    let conf = [
        ("auth_section", "service_user"),
        ("service_user/auth_type", "password"),
        ("service_user/auth_url", "http://s"),
    ];
    let keystone = built(Era::KSM_13_0, &conf);
    assert_eq!(keystone.uri().as_deref(), Some("http://s"));
}

#[tokio::test]
async fn the_paste_file_wins() {
    let (keystone, _, found) = build(Era::KSM_13_0, &[("auth_url", "http://paste")], ACCOUNT);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(keystone.expect("built").uri().as_deref(), Some("http://paste"));
}

#[tokio::test]
async fn a_host_may_be_a_bare_ipv6_address() {
    let keystone = built(Era::CLIENT_0_4, &[("auth_host", "::1"), ("auth_port", "5000")]);
    assert_eq!(keystone.uri().as_deref(), Some("https://[::1]:5000"));
}

#[test]
fn a_keystone_shows_nothing() {
    assert_eq!(format!("{:?}", built(Era::KSM_13_0, ACCOUNT)), "Keystone");
}
