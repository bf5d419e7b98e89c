//! The oldest way: an admin token at a fixed address (`golden/havana/keystone-v2.calls.jsonl`).

use std::net::SocketAddr;

use super::fake::{Fake, Play, Seen, say};
use super::*;

const ADMIN: &str = r#"{"access": {"token": {"id": "ADMINTOK", "expires": "2099-01-01T00:00:00Z"}}}"#;
const GOOD: &str = r#"{"access": {"token": {"id": "good1"}}}"#;

fn keystone(seen: &Seen, _: SocketAddr) -> Play {
    match (seen.method.as_str(), seen.path.rsplit('/').next().unwrap_or_default()) {
        ("POST", _) => say(200, ADMIN),
        (_, "good1") => say(200, GOOD),
        (_, "denied1") => say(401, "{}"),
        (_, "boom1") => say(500, "{}"),
        (_, "notjson1") => say(200, "<html>"),
        (_, "empty1") => say(200, "{}"),
        _ => say(404, "{}"),
    }
}

fn nova(fake: &Fake, era: Era, more: &[(&str, &str)]) -> Keystone {
    let port = fake.address.port().to_string();
    let mut conf = vec![
        ("auth_host", "127.0.0.1"),
        ("auth_port", port.as_str()),
        ("auth_protocol", "http"),
        ("admin_user", "nova"),
        ("admin_password", "s3cret"),
        ("admin_tenant_name", "service"),
    ];
    conf.extend_from_slice(more);
    built(era, &conf)
}

const V2: (&str, &str) = ("auth_version", "v2.0");

#[tokio::test]
async fn the_questions_are_the_recorded_ones() {
    let fake = Fake::start(keystone).await;
    let nova = nova(&fake, Era::CLIENT_0_4, &[V2]);
    assert_eq!(nova.ask("good1").await, Ok(Validated { body: GOOD.into() }));
    for (token, lines) in [
        ("unknown1", &["GET /v2.0/tokens/unknown1"][..]),
        ("denied1", &["GET /v2.0/tokens/denied1", "POST /v2.0/tokens", "GET /v2.0/tokens/denied1"]),
        ("boom1", &["POST /v2.0/tokens", "GET /v2.0/tokens/boom1", "GET /v2.0/tokens/boom1"]),
        ("notjson1", &["GET /v2.0/tokens/notjson1"]),
        ("empty1", &["GET /v2.0/tokens/empty1"]),
        ("a b/c?d", &["GET /v2.0/tokens/a%20b/c%3Fd"]),
        ("../x", &[]),
    ] {
        fake.forget();
        assert_eq!(nova.ask(token).await, Err(KeystoneError::Invalid), "{token}");
        assert_eq!(fake.lines(), lines, "{token}");
    }
}

#[tokio::test]
async fn the_heads_and_bodies_are_the_recorded_ones() {
    let fake = Fake::start(keystone).await;
    nova(&fake, Era::CLIENT_0_4, &[V2]).ask("good1").await.expect("valid");
    let [login, validation] = &fake.seen()[..] else { panic!("{:?}", fake.lines()) };
    assert_eq!(
        login.body,
        r#"{"auth": {"tenantName": "service", "passwordCredentials": {"username": "nova", "password": "s3cret"}}}"#
    );
    assert_eq!(login.header("content-length"), Some("102"));
    for seen in [login, validation] {
        assert_eq!(seen.header("content-type"), Some("application/json"));
        assert_eq!(seen.header("accept"), Some("application/json"));
    }
    assert_eq!((login.header("x-auth-token"), validation.header("x-auth-token")), (None, Some("ADMINTOK")));
    assert_eq!((login.connection, validation.connection), (0, 0), "connections are kept");
}

#[tokio::test]
async fn a_version_that_no_option_names_is_asked_for() {
    for (document, path) in [
        (r#"{"versions": {"values": [{"id": "v3.0"}, {"id": "v2.0"}]}}"#, Some("/v2.0/tokens/good1")),
        (r#"{"versions": {"values": [{"id": "v3.0"}]}}"#, Some("/v3/auth/tokens")),
        (r#"{"versions": {"values": [{"id": "v3.14"}]}}"#, None),
        ("{}", None),
    ] {
        let fake = Fake::start(move |seen, at| match seen.path.as_str() {
            "/" => say(300, document),
            "/v3/auth/tokens" => say(200, r#"{"token": {}}"#),
            _ => keystone(seen, at),
        })
        .await;
        let nova = nova(&fake, Era::CLIENT_0_4, &[]);
        assert_eq!(nova.ask("good1").await.is_ok(), path.is_some(), "{document}");
        let seen = fake.seen();
        assert_eq!(seen[0].path, "/");
        if let Some(path) = path {
            assert_eq!(seen.iter().map(|seen| seen.path.as_str()).collect::<Vec<_>>(), ["/", "/v2.0/tokens", path]);
            nova.ask("good1").await.expect("valid");
            assert_eq!(fake.seen().len(), 4, "the version and the admin token are kept");
        } else {
            assert_eq!(seen.len(), 1);
        }
    }
}

#[tokio::test]
async fn an_admin_token_that_ends_soon_is_renewed() {
    let fake = Fake::start(|seen, at| match seen.method.as_str() {
        "POST" => say(200, ADMIN.replace("2099-01-01T00:00:00Z", "2014-01-01T00:00:00Z")),
        _ => keystone(seen, at),
    })
    .await;
    let nova = nova(&fake, Era::CLIENT_0_4, &[V2]);
    for _ in 0..2 {
        nova.ask("good1").await.expect("valid");
    }
    let posts = fake.lines().iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(posts, 2);
}

#[tokio::test]
async fn a_fixed_admin_token_gives_way_to_the_password_when_it_is_refused() {
    let fake = Fake::start(|seen, at| match seen.header("x-auth-token") {
        Some("FIXED") => say(401, ""),
        _ => keystone(seen, at),
    })
    .await;
    nova(&fake, Era::CLIENT_0_4, &[V2, ("admin_token", "FIXED")]).ask("good1").await.expect("valid");
    assert_eq!(fake.lines(), ["GET /v2.0/tokens/good1", "POST /v2.0/tokens", "GET /v2.0/tokens/good1"]);
}

#[tokio::test]
async fn a_keystone_that_hangs_up_is_asked_again_and_is_then_unreachable() {
    let fake = Fake::start(|_, _| Play::Hang).await;
    unavailable(nova(&fake, Era::CLIENT_0_4, &[V2]).ask("good1").await);
    assert_eq!(fake.lines(), ["POST /v2.0/tokens"; 4]);
}

#[tokio::test]
async fn a_login_that_fails_makes_tokens_invalid() {
    let fake = Fake::start(|_, _| say(401, "{}")).await;
    assert_eq!(nova(&fake, Era::CLIENT_0_4, &[V2]).ask("good1").await, Err(KeystoneError::Invalid));
    assert_eq!(fake.lines(), ["POST /v2.0/tokens"]);
}

#[tokio::test]
async fn the_prefix_and_identity_uri_say_where() {
    let fake = Fake::start(keystone).await;
    let prefixed = nova(&fake, Era::CLIENT_0_4, &[V2, ("auth_admin_prefix", "/keystone/admin")]);
    prefixed.ask("good1").await.expect("valid");
    assert_eq!(fake.lines(), ["POST /keystone/admin/v2.0/tokens", "GET /keystone/admin/v2.0/tokens/good1"]);
    assert_eq!(prefixed.uri(), Some(format!("http://{}", fake.address)));
    fake.forget();
    let uri = format!("http://{}/id/", fake.address);
    let named = nova(&fake, Era::CLIENT_0_8, &[V2, ("auth_host", "nowhere"), ("identity_uri", &uri)]);
    named.ask("good1").await.expect("valid");
    assert_eq!(fake.lines(), ["POST /id/v2.0/tokens", "GET /id/v2.0/tokens/good1"]);
}
