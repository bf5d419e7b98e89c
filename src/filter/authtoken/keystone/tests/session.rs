//! The way since keystonemiddleware 1.2 (`golden/nova31/keystone-v3.calls.jsonl`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::fake::{Fake, Play, Seen, say};
use super::*;

const GOOD: &str = r#"{"token": {"user": {}}}"#;

/// The version document, like Keystone's: 300, and links to a host that only it knows.
fn document(versions: &[&str]) -> Play {
    let one = |version: &&str| {
        let path = version.split('.').next().unwrap_or_default().replace("v2", "v2.0");
        format!(
            r#"{{"id": "{version}", "status": "stable", "links": [{{"rel": "self", "href": "http://inside:5000/{path}/"}}]}}"#
        )
    };
    let versions: Vec<_> = versions.iter().map(one).collect();
    say(300, format!(r#"{{"versions": {{"values": [{}]}}}}"#, versions.join(", ")))
}

fn login(at: SocketAddr, path: &str) -> Play {
    let endpoint = |interface: &str, region: &str, url: &str| {
        format!(r#"{{"interface": "{interface}", "region": "{region}", "url": "{url}"}}"#)
    };
    let endpoints = [
        endpoint("public", "one", "http://public.invalid/v3"),
        endpoint("admin", "one", &format!("http://{at}/admin/v3")),
        endpoint("internal", "one", &format!("http://{at}{path}")),
        endpoint("internal", "two", &format!("http://{at}/two/v3")),
    ]
    .join(", ");
    let body = format!(
        r#"{{"token": {{"expires_at": "2099-01-01T00:00:00.000000Z",
            "catalog": [{{"type": "identity", "endpoints": [{endpoints}]}}]}}}}"#
    );
    Play::Say(201, vec![("X-Subject-Token", "ADMINTOK3".into())], body)
}

fn keystone(seen: &Seen, at: SocketAddr) -> Play {
    match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/") => document(&["v3.14", "v2.0"]),
        ("POST", "/v3/auth/tokens") => login(at, "/v3"),
        ("GET", path) if path.contains("/auth/tokens") => match seen.header("x-subject-token") {
            Some("good1") => say(200, GOOD),
            Some("denied1") => say(401, "{}"),
            Some("forbidden1") => say(403, "{}"),
            Some("boom1") => say(500, "{}"),
            Some("notjson1") => say(200, "<html>"),
            Some("empty1") => say(200, "{}"),
            _ => say(404, "{}"),
        },
        _ => say(404, "{}"),
    }
}

fn nova(fake: &Fake, era: Era, more: &[(&str, &str)]) -> Keystone {
    let url = format!("http://{}", fake.address);
    let mut conf = more.to_vec();
    let own = |name: &str| more.iter().any(|(given, _)| *given == name);
    for option in [
        ("auth_type", "password"),
        ("auth_url", url.as_str()),
        ("username", "nova"),
        ("password", "s3cret"),
        ("user_domain_name", "Default"),
        ("project_name", "service"),
        ("project_domain_name", "Default"),
    ] {
        if !own(option.0) {
            conf.push(option);
        }
    }
    built(era, &conf)
}

const GET: &str = "GET /v3/auth/tokens";
const POST: &str = "POST /v3/auth/tokens";

#[tokio::test]
async fn the_questions_are_the_recorded_ones() {
    let fake = Fake::start(keystone).await;
    let nova = nova(&fake, Era::KSM_13_0, &[]);
    assert_eq!(nova.ask("good1").await, Ok(Validated { body: GOOD.into() }));
    assert_eq!(fake.lines(), ["GET /", POST, GET]);
    fake.forget();
    nova.ask("good1").await.expect("valid");
    assert_eq!(fake.lines(), [GET]);
    fake.forget();
    assert_eq!(nova.ask("unknown1").await, Err(KeystoneError::Invalid));
    assert_eq!(fake.lines(), [GET]);
    fake.forget();
    unavailable(nova.ask("denied1").await);
    assert_eq!(fake.lines(), [GET, POST, GET, GET, POST, GET]);
    for token in ["forbidden1", "boom1"] {
        fake.forget();
        unavailable(nova.ask(token).await);
        assert_eq!(fake.lines(), [GET], "{token}");
    }
    for token in ["notjson1", "empty1"] {
        fake.forget();
        broken(nova.ask(token).await);
        assert_eq!(fake.lines(), [GET], "{token}");
    }
    assert!(fake.seen().iter().all(|seen| seen.connection == 0), "connections are kept");
}

#[tokio::test]
async fn the_heads_and_bodies_are_the_recorded_ones() {
    let fake = Fake::start(keystone).await;
    nova(&fake, Era::KSM_13_0, &[]).ask("good1").await.expect("valid");
    let [discovery, login, validation] = &fake.seen()[..] else { panic!("{:?}", fake.lines()) };
    let names = |seen: &Seen| -> Vec<String> {
        seen.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).filter(|name| name != "host").collect()
    };
    let common = ["user-agent", "accept-encoding", "accept", "connection"];
    assert_eq!(names(discovery), common);
    assert_eq!(names(login), [&common[..], &["content-type", "content-length"]].concat());
    let own = ["x-subject-token", "openstack-identity-access-rules", "x-auth-token"];
    assert_eq!(names(validation), [&common[..], &own].concat());
    for (name, value) in [
        ("user-agent", "python-keystoneclient"),
        ("accept-encoding", "gzip, deflate"),
        ("accept", "application/json"),
        ("connection", "keep-alive"),
        ("x-subject-token", "good1"),
        ("openstack-identity-access-rules", "1"),
        ("x-auth-token", "ADMINTOK3"),
    ] {
        assert_eq!(validation.header(name), Some(value));
    }
    assert_eq!(login.header("content-length"), Some("216"));
    assert!(
        login.body.starts_with(r#"{"auth": {"identity": {"methods": ["password"], "password": {"user": {"password""#)
    );
}

#[tokio::test]
async fn the_question_says_what_is_wanted() {
    for (ask, path) in [
        (Ask { allow_expired: true, catalog: true }, "/v3/auth/tokens?allow_expired=1"),
        (Ask { allow_expired: false, catalog: false }, "/v3/auth/tokens?nocatalog"),
        (Ask { allow_expired: true, catalog: false }, "/v3/auth/tokens?nocatalog&allow_expired=1"),
    ] {
        let fake = Fake::start(keystone).await;
        let nova = nova(&fake, Era::KSM_6_0, &[]);
        // Stein asks the admin endpoint.
        nova.validate(&Metrics::new(), &Secret::from("good1"), ask).await.expect("valid");
        let seen = fake.seen();
        let last = seen.last().expect("asked");
        assert_eq!(last.path, format!("/admin{path}"));
        assert_eq!(last.header("openstack-identity-access-rules"), None);
    }
}

#[tokio::test]
async fn who_asks_once_more_asks_for_tokens_that_have_not_expired() {
    let fake = Fake::start(keystone).await;
    let nova = nova(&fake, Era::KSM_13_0, &[]);
    let ask = Ask { allow_expired: true, catalog: true };
    assert!(nova.validate(&Metrics::new(), &Secret::from("denied1"), ask).await.is_err());
    let paths: Vec<_> = fake.seen().into_iter().map(|seen| seen.path).filter(|path| path.contains("?")).collect();
    assert_eq!(paths, ["/v3/auth/tokens?allow_expired=1"; 2]);
}

#[tokio::test]
async fn the_catalog_chooses_by_interface_and_region() {
    for (more, line) in [
        (&[("interface", "admin")][..], Some("GET /admin/v3/auth/tokens")),
        (&[("region_name", "two")], Some("GET /two/v3/auth/tokens")),
        (&[("interface", "internalURL")], Some(GET)),
        (&[("region_name", "three")], None),
        (&[("interface", "admin"), ("region_name", "two")], None),
    ] {
        let fake = Fake::start(keystone).await;
        let nova = nova(&fake, Era::KSM_13_0, more);
        match line {
            Some(line) => {
                nova.ask("good1").await.expect("valid");
                assert_eq!(fake.lines().last().map(String::as_str), Some(line));
            }
            None => {
                assert!(broken(nova.ask("good1").await).contains("no"), "{more:?}");
                broken(nova.ask("good1").await);
                assert_eq!(fake.lines(), ["GET /", POST, POST], "the catalog is looked at anew each time");
            }
        }
    }
}

#[tokio::test]
async fn an_endpoint_without_a_version_is_asked_for_its_versions() {
    let fake = Fake::start(|seen, at| match (seen.method.as_str(), seen.path.as_str()) {
        ("POST", _) => login(at, "/identity"),
        ("GET", "/identity") => document(&["v3.14"]),
        _ => keystone(seen, at),
    })
    .await;
    let nova = nova(&fake, Era::KSM_13_0, &[]);
    for _ in 0..2 {
        nova.ask("good1").await.expect("valid");
    }
    let validation = "GET /identity/v3/auth/tokens";
    assert_eq!(fake.lines(), ["GET /", POST, "GET /identity", validation, validation]);
}

#[tokio::test]
async fn a_keystone_without_version_3_is_of_no_use_since_8_0_and_was_before() {
    let script = |seen: &Seen, at: SocketAddr| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/") => document(&["v2.0"]),
        ("POST", "/v2.0/tokens") => say(
            200,
            format!(
                r#"{{"access": {{"token": {{"id": "T2", "expires": "2099-01-01T00:00:00Z"}}, "serviceCatalog":
                    [{{"type": "identity", "endpoints": [{{"adminURL": "http://{at}/v2.0"}}]}}]}}}}"#
            ),
        ),
        ("GET", "/v2.0/tokens/good1") => say(200, r#"{"access": {}}"#),
        _ => keystone(seen, at),
    };
    let account = [("auth_type", "password"), ("user_domain_name", ""), ("project_domain_name", "")];
    let fake = Fake::start(script).await;
    nova(&fake, Era::KSM_4_22, &account).ask("good1").await.expect("valid");
    assert_eq!(fake.lines(), ["GET /", "POST /v2.0/tokens", "GET /v2.0/tokens/good1"]);
    assert_eq!(fake.seen()[2].header("x-auth-token"), Some("T2"));
    let fake = Fake::start(script).await;
    let more = [&account[..], &[("interface", "admin")]].concat();
    unavailable(nova(&fake, Era::KSM_8_0, &more).ask("good1").await);
}

#[tokio::test]
async fn a_login_that_is_refused_is_tried_twice() {
    for (status, posts) in [(401, 2), (403, 1), (500, 1)] {
        let fake = Fake::start(move |seen, at| match seen.method.as_str() {
            "POST" => say(status, "{}"),
            _ => keystone(seen, at),
        })
        .await;
        assert!(!unavailable(nova(&fake, Era::KSM_13_0, &[]).ask("good1").await).contains("s3cret"));
        assert_eq!(fake.lines().iter().filter(|line| *line == POST).count(), posts, "{status}");
    }
}

#[tokio::test]
async fn a_login_answered_with_nonsense_is_an_exception() {
    for (body, token) in [("<html>", true), ("{}", true), (GOOD, false)] {
        let fake = Fake::start(move |seen, at| match seen.method.as_str() {
            "POST" => Play::Say(201, if token { vec![("X-Subject-Token", "T".into())] } else { vec![] }, body.into()),
            _ => keystone(seen, at),
        })
        .await;
        broken(nova(&fake, Era::KSM_13_0, &[]).ask("good1").await);
    }
}

#[tokio::test]
async fn without_a_document_the_address_tells_the_version() {
    let script = |seen: &Seen, at: SocketAddr| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/" | "/v3") => say(500, "no"),
        _ => keystone(seen, at),
    };
    let fake = Fake::start(script).await;
    let url = format!("http://{}/v3", fake.address);
    nova(&fake, Era::KSM_13_0, &[("auth_url", &url)]).ask("good1").await.expect("valid");
    assert_eq!(fake.lines(), ["GET /v3", POST, GET]);
    let fake = Fake::start(script).await;
    unavailable(nova(&fake, Era::KSM_13_0, &[]).ask("good1").await);
    assert_eq!(fake.lines(), ["GET /"]);
}

#[tokio::test]
async fn a_token_that_ends_soon_is_renewed() {
    let fake = Fake::start(|seen, at| match (seen.method.as_str(), login(at, "/v3")) {
        ("POST", Play::Say(status, headers, body)) => Play::Say(status, headers, body.replace("2099", "2019")),
        _ => keystone(seen, at),
    })
    .await;
    let nova = nova(&fake, Era::KSM_13_0, &[]);
    nova.ask("good1").await.expect("valid");
    fake.forget();
    nova.ask("good1").await.expect("valid");
    assert!(fake.lines().contains(&POST.to_owned()), "{:?}", fake.lines());
}

#[tokio::test]
async fn many_questions_make_one_login() {
    let fake = Fake::start(keystone).await;
    let nova = nova(&fake, Era::KSM_13_0, &[]);
    let all = tokio::join!(nova.ask("good1"), nova.ask("good1"), nova.ask("unknown1"), nova.ask("good1"));
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_err() && all.3.is_ok());
    let lines = fake.lines();
    assert_eq!(lines.iter().filter(|line| *line == POST).count(), 1, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| *line == GET).count(), 4, "{lines:?}");
}

#[tokio::test]
async fn a_validation_that_nobody_answers_is_asked_again_and_a_login_is_not() {
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    let fake = Fake::start(|seen, at| match seen.path.as_str() {
        "/v3/auth/tokens" if seen.method == "GET" && TRIES.fetch_add(1, Ordering::Relaxed) < 3 => Play::Hang,
        _ => keystone(seen, at),
    })
    .await;
    nova(&fake, Era::KSM_13_0, &[]).ask("good1").await.expect("valid");
    assert_eq!(fake.lines(), ["GET /", POST, GET, GET, GET, GET]);
    let fake = Fake::start(|seen, at| if seen.method == "POST" { Play::Hang } else { keystone(seen, at) }).await;
    unavailable(nova(&fake, Era::KSM_13_0, &[]).ask("good1").await);
    assert_eq!(fake.lines(), ["GET /", POST]);
}

#[tokio::test]
async fn a_keystone_that_is_down_is_unavailable_and_its_address_is_all_that_is_told() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let url = format!("http://{closed}/v3");
    let conf = [("auth_type", "v3password"), ("auth_url", url.as_str()), ("user_id", "u"), ("password", "s3cret")];
    let why = unavailable(built(Era::KSM_13_0, &conf).ask("good1").await);
    assert!(why.starts_with(&format!("http://{closed}: ")) && why.contains("refused"), "{why}");
}

#[tokio::test]
async fn a_stalled_keystone_is_waited_for_no_longer_than_the_bound() {
    let fake = Fake::start(|_, _| Play::Stall).await;
    let url = format!("http://{}", fake.address);
    let nova = nova(&fake, Era::KSM_13_0, &[("auth_url", &url)]).hasty(Duration::from_secs(1));
    let started = Instant::now();
    let all = tokio::join!(nova.ask("a"), nova.ask("b"), nova.ask("c"), nova.ask("d"));
    for result in [all.0, all.1, all.2, all.3] {
        assert!(unavailable(result).contains("no answer in time"));
    }
    assert_eq!(fake.lines(), ["GET /"], "those who waited share the failure");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn the_timeout_of_the_options_holds() {
    let fake = Fake::start(|_, _| Play::Stall).await;
    let nova = nova(&fake, Era::KSM_13_0, &[("http_connect_timeout", "1"), ("http_request_max_retries", "0")]);
    assert!(unavailable(nova.ask("good1").await).contains("no answer in time"));
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let fake = Fake::start(|seen, at| match (seen.method.as_str(), seen.header("x-subject-token")) {
        ("GET", Some("huge1")) => say(200, "x".repeat((8 << 20) + 1)),
        _ => keystone(seen, at),
    })
    .await;
    assert!(unavailable(nova(&fake, Era::KSM_13_0, &[]).ask("huge1").await).contains("8 MiB"));
}

#[tokio::test]
async fn a_compressed_answer_is_read() {
    let fake = Fake::start(|seen, at| match (seen.method.as_str(), seen.header("x-subject-token")) {
        ("GET", Some("zipped1")) => Play::Zipped(vec![
            31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 42, 201, 207, 78, 205, 83, 178, 82, 168, 86, 42, 45, 78, 45, 2,
            49, 106, 107, 107, 1, 54, 116, 148, 96, 23, 0, 0, 0,
        ]),
        _ => keystone(seen, at),
    })
    .await;
    assert_eq!(nova(&fake, Era::KSM_13_0, &[]).ask("zipped1").await, Ok(Validated { body: GOOD.into() }));
}

#[tokio::test]
async fn a_redirect_to_another_host_gets_no_token() {
    let fake = Fake::start(|seen, at| match seen.path.as_str() {
        "/v3/auth/tokens" if seen.method == "GET" => {
            let host = if seen.header("x-subject-token") == Some("away1") { "other.invalid" } else { "127.0.0.1" };
            Play::Say(302, vec![("Location", format!("http://{host}:{}/moved/auth/tokens", at.port()))], String::new())
        }
        _ => keystone(seen, at),
    })
    .await;
    let nova = nova(&fake, Era::KSM_13_0, &[]);
    nova.ask("good1").await.expect("valid");
    assert_eq!(fake.lines().last().map(String::as_str), Some("GET /moved/auth/tokens"));
    assert!(unavailable(nova.ask("away1").await).contains("another host"));
}

#[tokio::test]
async fn fixed_tokens_have_no_login() {
    let fake = Fake::start(keystone).await;
    let endpoint = format!("http://{}/v3", fake.address);
    let fixed =
        built(Era::KSM_13_0, &[("auth_type", "admin_token"), ("endpoint", endpoint.as_str()), ("token", "FIXED")]);
    fixed.ask("good1").await.expect("valid");
    assert_eq!(fake.seen()[0].header("x-auth-token"), Some("FIXED"));
    unavailable(fixed.ask("denied1").await);
    assert_eq!(fake.lines(), [GET, GET, GET]);
    unavailable(built(Era::KSM_13_0, &[("auth_type", "none")]).ask("good1").await);
}

#[tokio::test]
async fn the_old_options_go_on_as_a_plugin_without_a_catalog() {
    let fake = Fake::start(|seen, at| match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/id" | "/id/") => document(&["v3.14", "v2.0"]),
        ("POST", "/id/v2.0/tokens") => {
            say(200, r#"{"access": {"token": {"id": "T2", "expires": "2099-01-01T00:00:00Z"}}}"#)
        }
        _ => keystone(seen, at),
    })
    .await;
    let uri = format!("http://{}/id/", fake.address);
    let conf = [("identity_uri", uri.as_str()), ("admin_user", "nova"), ("admin_password", "s3cret")];
    let nova = built(Era::KSM_12_0, &conf);
    nova.ask("good1").await.expect("valid");
    assert_eq!(fake.lines(), ["GET /id", "POST /id/v2.0/tokens", "GET /id/v3/auth/tokens"]);
    assert_eq!(nova.uri(), Some(format!("http://{}", fake.address)));
}

#[tokio::test]
async fn until_2_0_whatever_is_answered_but_a_token_makes_it_invalid() {
    let fake = Fake::start(keystone).await;
    let nova = nova(&fake, Era::KSM_1_5, &[]);
    for token in ["denied1", "boom1", "notjson1"] {
        assert_eq!(nova.ask(token).await, Err(KeystoneError::Invalid), "{token}");
    }
}

#[tokio::test]
async fn clients_are_told_the_address_of_the_account_or_of_the_version_in_use() {
    let fake = Fake::start(keystone).await;
    let url = format!("http://{}", fake.address);
    let early = nova(&fake, Era::KSM_13_0, &[]);
    assert_eq!(early.uri().as_ref(), Some(&url));
    early.ask("good1").await.expect("valid");
    assert_eq!(early.uri().as_ref(), Some(&url), "the first answer stays");
    let late = nova(&fake, Era::KSM_13_0, &[]);
    late.ask("good1").await.expect("valid");
    assert_eq!(late.uri(), Some(format!("{url}/v3/")));
}
