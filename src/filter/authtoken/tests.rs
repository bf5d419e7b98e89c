//! The whole filter, against a Keystone on a loopback port that answers by the names of the tokens.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::*;
use crate::filter::harness::{Case, answer, build, built, head, text};
use crate::filter::{Outside, Response};
use crate::metrics::Metrics;

/// A Keystone; `calls` is what reached it, but for discovery and passwords.
struct Fake {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<String>>>,
    gate: Arc<(Mutex<bool>, Condvar)>,
    control: Handle,
    /// Ends the control runtime with it.
    _alive: oneshot::Sender<()>,
}

impl Fake {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let gate: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let (told, opened) = (Arc::clone(&calls), Arc::clone(&gate));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (told, opened) = (Arc::clone(&told), Arc::clone(&opened));
                std::thread::spawn(move || while serve(&stream, address, &told, &opened).is_some() {});
            }
        });
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let control = runtime.handle().clone();
        let (alive, dead) = oneshot::channel::<()>();
        std::thread::spawn(move || runtime.block_on(dead));
        Self { address, calls, gate, control, _alive: alive }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("no panic").clone()
    }

    /// Lets the answer about `slow` go.
    fn open(&self) {
        *self.gate.0.lock().expect("no panic") = true;
        self.gate.1.notify_all();
    }

    /// The filter of a current release, with more options.
    fn modern(&self, more: &[(&str, &str)]) -> Box<dyn Filter> {
        let url = format!("http://{}", self.address);
        let mut local = vec![
            ("auth_type", "password"),
            ("auth_url", url.as_str()),
            ("username", "nova"),
            ("password", "s3cret"),
            ("project_name", "service"),
            ("user_domain_name", "Default"),
            ("project_domain_name", "Default"),
            ("www_authenticate_uri", "http://k:5000"),
        ];
        local.extend_from_slice(more);
        let conf: Vec<_> = local.iter().map(|(name, value)| (options::GROUP, *name, *value)).collect();
        built(&FACTORY, Release::NOVA_31, &[], &conf)
    }

    /// The filter of Havana.
    fn havana(&self, more: &[(&str, &str)]) -> Box<dyn Filter> {
        let port = self.address.port().to_string();
        let mut local = vec![
            ("auth_host", "127.0.0.1"),
            ("auth_port", port.as_str()),
            ("auth_protocol", "http"),
            ("admin_user", "nova"),
            ("admin_password", "s3cret"),
            ("admin_tenant_name", "service"),
            ("auth_version", "v2.0"),
        ];
        local.extend_from_slice(more);
        built(&CLIENT_FACTORY, Release::HAVANA, &local, &[])
    }

    /// A request that may ask this Keystone.
    fn case(&self, method: &str, headers: &[(&'static str, &str)]) -> Case {
        let case = Case::new(method, "/x");
        let mut case = headers.iter().fold(case, |case, (name, value)| case.header(name, value));
        case.cx.outside = Rc::new(Outside::new(self.control.clone(), Metrics::new()));
        case
    }

    fn get(&self, headers: &[(&'static str, &str)]) -> Case {
        self.case("GET", headers)
    }
}

fn serve(stream: &TcpStream, own: SocketAddr, calls: &Mutex<Vec<String>>, gate: &(Mutex<bool>, Condvar)) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let header = |wanted: &str| {
        let pair =
            lines.iter().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case(wanted)));
        pair.map(|(_, value)| value.to_owned())
    };
    let length = header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    reader.read_exact(&mut vec![0; length]).ok()?;
    let mut words = lines.first()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let subject = header("x-subject-token").or_else(|| target.strip_prefix("/v2.0/tokens/").map(str::to_owned));
    if let Some(token) = &subject {
        calls.lock().ok()?.push(format!("{method} {} {token}", target.split('/').nth(1)?));
    }
    if subject.as_deref() == Some("slow") {
        let open = gate.0.lock().ok()?;
        drop(gate.1.wait_while(open, |open| !*open).ok()?);
    }
    let (status, more, body) = respond(method, target, subject.as_deref(), own);
    let body = if body == Value::Null { "not json".to_owned() } else { body.to_string() };
    let mut out = stream;
    write!(
        out,
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{more}\r\n{body}",
        body.len()
    )
    .ok()
}

fn respond(method: &str, target: &str, subject: Option<&str>, own: SocketAddr) -> (u16, &'static str, Value) {
    let v2 = target.starts_with("/v2.0");
    match (method, subject) {
        ("GET", None) => {
            let link = json!([{"rel": "self", "href": format!("http://{own}/v3/")}]);
            let version = json!({"id": "v3.14", "status": "stable", "links": link});
            (300, "", json!({"versions": {"values": [version]}}))
        }
        ("POST", None) if v2 => (200, "", token_v2("admin")),
        ("POST", None) => (201, "X-Subject-Token: ADMIN\r\n", token_v3("admin", own)),
        (_, Some("unknown" | "nobody")) => (404, "", json!({"error": {"code": 404}})),
        (_, Some("boom")) => (500, "", json!({"error": {"code": 500}})),
        (_, Some("garbled")) => (200, "", Value::Null),
        (_, Some(name)) if v2 => (200, "", token_v2(name)),
        (_, Some(name)) => (200, "", token_v3(name, own)),
        _ => (400, "", json!({})),
    }
}

fn ends(name: &str) -> &'static str {
    if name.starts_with("expired") { "2013-10-01T00:00:00Z" } else { "2100-01-01T00:00:00Z" }
}

fn token_v2(name: &str) -> Value {
    let mut token = json!({"id": name, "expires": ends(name), "tenant": {"id": "t1", "name": "ten"}});
    if name == "untenanted" {
        token.as_object_mut().expect("an object").remove("tenant");
    }
    let mut user = json!({"id": "u1", "name": "user", "username": "login", "roles": [{"name": "admin"}]});
    if name == "nameless" {
        user.as_object_mut().expect("an object").remove("name");
    }
    json!({"access": {"token": token, "user": user, "serviceCatalog": []}})
}

fn token_v3(name: &str, own: SocketAddr) -> Value {
    let url = format!("http://{own}/v3");
    let endpoints: Vec<_> = ["public", "internal", "admin"]
        .iter()
        .map(|interface| json!({"interface": interface, "url": url, "region": "R", "region_id": "R"}))
        .collect();
    let role = if name.starts_with("service") { "service" } else { "member" };
    let mut token = json!({
        "expires_at": ends(name),
        "project": {"id": "t1", "name": "ten", "domain": {"id": "d", "name": "D"}},
        "user": {"id": name, "name": "user", "domain": {"id": "d", "name": "D"}},
        "roles": [{"name": role}],
        "catalog": [{"type": "identity", "name": "keystone", "endpoints": endpoints}, {"type": "compute", "endpoints": []}],
    });
    if name == "bound" {
        token["bind"] = json!({"kerberos": "alice"});
    }
    if name == "ruled" {
        let rules = json!([{"service": "compute", "method": "GET", "path": "/x"}]);
        token["application_credential"] = json!({"access_rules": rules});
    }
    json!({"token": token})
}

fn status(case: &Case, name: &str) -> Option<String> {
    case.cx
        .identity(&case.request, &name.parse().expect("a name"))
        .map(|value| value.to_str().expect("text").to_owned())
}

fn refused(response: Option<Response>) -> u16 {
    response.expect("a refusal").status().as_u16()
}

const JSON_401: &str = r#"{"error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}}"#;

#[test]
fn a_token_is_asked_about_once_and_says_who_it_is() {
    let fake = Fake::start();
    let filter = fake.modern(&[]);
    for _ in 0..2 {
        let mut case = fake.get(&[("x-auth-token", "good"), ("x-user-id", "evil"), ("x-service-roles", "evil")]);
        assert!(case.enter(&*filter).is_none());
        assert_eq!(status(&case, "x-identity-status").as_deref(), Some("Confirmed"));
        assert_eq!(status(&case, "x-user-id").as_deref(), Some("good"));
        assert_eq!(status(&case, "x-roles").as_deref(), Some("member"));
        assert_eq!(status(&case, "x-service-roles"), None);
        assert!(status(&case, "x-service-catalog").is_some_and(|text| text.starts_with("[{\"type\": \"identity\"")));
        let facts = case.cx.token.expect("facts");
        assert!(facts.environ.contains(&("HTTP_X_DOMAIN_ID", Value::Null)));
        let info: Value = serde_json::from_slice(&facts.info.expect("the token")).expect("JSON");
        assert_eq!(info["token"]["user"]["id"], "good");
    }
    assert_eq!(fake.calls(), ["GET v3 good"]);
}

#[test]
fn who_has_no_good_token_gets_401_and_is_told_where_to_get_one() {
    let fake = Fake::start();
    let filter = fake.modern(&[]);
    for headers in [&[][..], &[("x-auth-token", "")], &[("x-auth-token", "unknown")], &[("x-auth-token", "expired")]] {
        let response = fake.get(headers).enter(&*filter).expect("a refusal");
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(head(&response), ["www-authenticate: Keystone uri=\"http://k:5000\""]);
        assert_eq!(text(response), JSON_401);
    }
    let response = fake.case("HEAD", &[]).enter(&*filter).expect("a refusal");
    assert_eq!(response.headers()["content-length"], "114");
    assert_eq!(fake.calls(), ["GET v3 unknown", "GET v3 expired"]);
    // An unknown token is asked about every time since 10.2, an expired one is remembered.
    for token in ["unknown", "expired"] {
        assert_eq!(refused(fake.get(&[("x-auth-token", token)]).enter(&*filter)), 401);
    }
    assert_eq!(fake.calls()[2..], ["GET v3 unknown"]);
}

#[test]
fn a_keystone_that_fails_is_503_and_one_that_talks_nonsense_500() {
    let fake = Fake::start();
    let filter = fake.modern(&[]);
    let response = fake.get(&[("x-auth-token", "boom")]).enter(&*filter).expect("a refusal");
    assert_eq!(response.status(), 503);
    assert_eq!(
        text(response),
        "503 Service Unavailable\n\nThe server is currently unavailable. Please try again at a later time.\n\n The \
         Keystone service is temporarily unavailable.  "
    );
    let mut case = fake.get(&[("x-auth-token", "garbled")]);
    case.cx.faultwrap = true;
    let response = case.enter(&*filter).expect("a refusal");
    assert_eq!(response.status(), 500);
    assert!(text(response).starts_with("{\"computeFault\": {\"code\": 500"));
}

#[test]
fn the_app_may_decide_instead() {
    let fake = Fake::start();
    let filter = fake.modern(&[("delay_auth_decision", "true")]);
    for headers in [&[][..], &[("x-auth-token", "unknown")], &[("x-auth-token", "boom")]] {
        let mut case = fake.get(headers);
        assert!(case.enter(&*filter).is_none());
        assert_eq!(status(&case, "x-identity-status").as_deref(), Some("Invalid"));
        assert_eq!(status(&case, "x-user-id"), None);
        assert!(case.cx.token.is_none());
    }
    let mut case = fake.get(&[("x-auth-token", "good"), ("x-service-token", "unknown")]);
    assert!(case.enter(&*filter).is_none());
    assert_eq!(status(&case, "x-identity-status").as_deref(), Some("Confirmed"));
    assert_eq!(status(&case, "x-service-identity-status").as_deref(), Some("Invalid"));
}

#[test]
fn a_service_token_must_be_a_services_and_lets_an_expired_token_pass() {
    let fake = Fake::start();
    let filter = fake.modern(&[]);
    for (user, service, passes) in [
        ("good", "service1", true),
        ("good", "member", false),
        ("good", "unknown", false),
        ("expired1", "service1", true),
        ("expired1", "member", false),
        ("good", "expired-service", false),
    ] {
        let mut case = fake.get(&[("x-auth-token", user), ("x-service-token", service)]);
        let response = case.enter(&*filter);
        assert_eq!(response.is_none(), passes, "{user} {service}");
        if passes {
            assert_eq!(status(&case, "x-service-identity-status").as_deref(), Some("Confirmed"));
            assert_eq!(status(&case, "x-service-user-id").as_deref(), Some(service));
            assert_eq!(status(&case, "x-service-roles").as_deref(), Some("service"));
            assert!(case.cx.token.is_some_and(|facts| facts.service_info.is_some()));
        }
    }
    let lax = fake.modern(&[("service_token_roles_required", "false")]);
    assert!(fake.get(&[("x-auth-token", "good"), ("x-service-token", "member")]).enter(&*lax).is_none());
    assert_eq!(refused(fake.get(&[("x-auth-token", "expired2"), ("x-service-token", "member")]).enter(&*lax)), 401);
}

#[test]
fn a_token_may_be_for_some_requests_and_some_clients_only() {
    let fake = Fake::start();
    let (none, compute) = (fake.modern(&[]), fake.modern(&[("service_type", "compute")]));
    assert_eq!(refused(fake.get(&[("x-auth-token", "ruled")]).enter(&*none)), 401);
    assert!(fake.get(&[("x-auth-token", "ruled")]).enter(&*compute).is_none());
    assert_eq!(refused(fake.case("POST", &[("x-auth-token", "ruled")]).enter(&*compute)), 401);

    assert_eq!(refused(fake.get(&[("x-auth-token", "bound")]).enter(&*none)), 401);
    let mut case = fake.get(&[("x-auth-token", "bound")]);
    case.cx.set("AUTH_TYPE", "Negotiate");
    case.cx.set("REMOTE_USER", "alice");
    assert!(case.enter(&*none).is_none());
}

#[test]
fn all_who_wait_for_a_token_share_one_question_and_nobody_can_cancel_it() {
    let fake = Fake::start();
    let filter = fake.modern(&[]);
    let mut cases: Vec<_> = (0..3).map(|_| fake.get(&[("x-auth-token", "slow")])).collect();
    let mut waits = Vec::new();
    for case in &mut cases {
        let Flow::Wait(wait) = filter.request(&mut case.cx, &mut case.request) else { panic!("does not wait") };
        waits.push(wait);
    }
    let local = Builder::new_current_thread().build().expect("a runtime");
    let open = || fake.open();
    let (first, second, ()) = local.block_on(async {
        let mut waits = waits.into_iter();
        let mut gone = waits.next().expect("the first");
        // It asks, and gives up.
        assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(gone.as_mut().poll(cx))).await.is_pending());
        drop(gone);
        tokio::join!(waits.next().expect("the second"), waits.next().expect("the third"), async { open() })
    });
    for (case, answer) in cases[1..].iter_mut().zip([first, second]) {
        assert!(matches!(filter.resume(&mut case.cx, &mut case.request, answer), Flow::Next));
    }
    assert_eq!(fake.calls(), ["GET v3 slow"]);
}

#[test]
fn havana_asks_v2_and_answers_401_whatever_happens() {
    let fake = Fake::start();
    let filter = fake.havana(&[]);
    for token in ["unknown", "nobody", "boom", "garbled", "expired", "untenanted"] {
        for _ in 0..2 {
            let response = fake.get(&[("x-auth-token", token)]).enter(&*filter).expect("a refusal");
            assert_eq!(response.status(), 401);
            let challenge = format!("www-authenticate: Keystone uri='http://{}'", fake.address);
            assert_eq!((head(&response), &response.headers()["content-type"] == "text/plain"), (vec![challenge], true));
            assert_eq!(text(response), "Authentication required");
        }
    }
    // Every failure but that of the network is remembered.
    assert_eq!(fake.calls().iter().filter(|call| !call.contains("boom")).count(), 5);
    let response = fake.case("HEAD", &[]).enter(&*filter).expect("a refusal");
    assert_eq!(response.headers()["content-length"], "0");

    let mut case = fake.get(&[("x-storage-token", "good"), ("x-service-token", "unknown")]);
    assert!(case.enter(&*filter).is_none());
    assert_eq!(status(&case, "x-tenant").as_deref(), Some("ten"));
    assert_eq!(status(&case, "x-service-catalog").as_deref(), Some("[]"));
    assert_eq!(status(&case, "x-is-admin-project"), None);
    assert_eq!(status(&case, "x-service-identity-status"), None);
}

#[test]
fn havana_breaks_at_a_valid_token_that_lacks_a_part_of_the_headers() {
    let fake = Fake::start();
    for delay in ["false", "true"] {
        let filter = fake.havana(&[("delay_auth_decision", delay)]);
        for _ in 0..2 {
            let mut case = fake.get(&[("x-auth-token", "nameless")]).release(Release::HAVANA);
            case.cx.faultwrap = true;
            let response = case.enter(&*filter).expect("a refusal");
            assert_eq!(response.status(), 500);
            assert!(text(response).starts_with("{\"computeFault\": {"));
        }
    }
    assert_eq!(fake.calls(), ["GET v2.0 nameless", "GET v2.0 nameless"]);
}

#[test]
fn a_401_of_the_app_gets_the_challenge_since_juno() {
    let fake = Fake::start();
    let with = |filter: Box<dyn Filter>| {
        head(&fake.get(&[("x-auth-token", "good")]).through(&*filter, answer(401, &[("www-authenticate", "Own")])))
    };
    assert_eq!(with(fake.modern(&[])), ["www-authenticate: Own", "www-authenticate: Keystone uri=\"http://k:5000\""]);
    assert_eq!(with(fake.havana(&[])), ["www-authenticate: Own"]);
}

#[test]
fn a_keystone_that_cannot_be_asked_is_503_and_known_tokens_go_on() {
    let fake = Fake::start();
    let filter = fake.modern(&[]);
    assert!(fake.get(&[("x-auth-token", "good")]).enter(&*filter).is_none());
    let mut stranger = Case::new("GET", "/x").header("x-auth-token", "other");
    assert_eq!(refused(stranger.enter(&*filter)), 503);
    assert!(Case::new("GET", "/x").header("x-auth-token", "good").enter(&*filter).is_none());
}

#[test]
fn an_unknown_option_is_told_in_the_originals_words() {
    let (_, _, findings) = build(&FACTORY, Release::NOVA_31, &[("servce_type", "compute")], &[]);
    let found = findings.iter().find(|found| found.message.contains("servce_type")).expect("a finding");
    assert_eq!(found.message, "The option \"servce_type\" is not known to keystonemiddleware");
    assert_eq!(found.help.as_deref(), Some("did you mean `service_type`?"));
}

#[test]
fn flags_of_a_paste_file_are_raw_text_in_havana() {
    let fake = Fake::start();
    for (text, passes) in [("true", true), ("y", true), ("True", false), ("false", false)] {
        let filter = fake.havana(&[("delay_auth_decision", text)]);
        assert_eq!(fake.get(&[]).enter(&*filter).is_none(), passes, "{text}");
    }
}
