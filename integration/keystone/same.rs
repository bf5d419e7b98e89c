//! The same requests to a front and to the real pipeline in Python: the same answers, the same identities behind the
//! filter, the same calls to Keystone.
//!
//! Must not know what is right: the original is.

use std::net::SocketAddr;

use crate::gate::{Call, Gate};
use crate::identities::{Identity, of_original, of_picture, tokens};
use crate::original::Original;
use crate::stack::{free_address, project};
use crate::stage::{Stage, authtoken, layout, stage};
use crate::support::recording::comparable;
use crate::support::{Answer, Client, Front};

/// Options that change what is let in, or what is said to those who are not.
const VARIANTS: &[(&str, &[&str])] = &[
    ("as Nova has it", &[]),
    ("left to the app", &["delay_auth_decision = true"]),
    ("without a catalogue", &["include_service_catalog = false"]),
    ("any service", &["service_token_roles_required = false"]),
    ("with access rules", &["service_type = compute"]),
    ("access rules of another service", &["service_type = image"]),
    ("without a URI", &["www_authenticate_uri ="]),
];

/// Options under which Keystone is of no use.
const USELESS: &[(&str, &[&str])] = &[
    ("wrong password", &["password = wrong"]),
    ("wrong password, left to the app", &["password = wrong", "delay_auth_decision = true"]),
    ("no such region", &["region_name = nowhere"]),
    ("no role", &["username = other", "password = other-pw"]),
];

/// One request to both.
struct Case {
    name: String,
    request: String,
}

fn case(name: impl Into<String>, line: &str, headers: &[(&str, &str)]) -> Case {
    let mut request = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1:8774\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    Case { name: name.into(), request: request + "\r\n" }
}

/// Every token, alone and together with others, on paths that access rules allow and that they do not.
fn cases(stage: &Stage) -> Vec<Case> {
    const FLAVORS: &str = "GET /v2.1/flavors";
    let stack = &stage.stack;
    let short = stage.another_keystone(1);
    let expired = stack.token_at(short.address, "demo", project("demo"));
    let begun = std::time::Instant::now();
    let all = tokens(stack);
    let good = stack.token("glance", project("service"));
    let other = stack.token("other", project("service"));
    let demo = stack.token("demo", project("demo"));
    // Keystone counts in whole seconds.
    std::thread::sleep(std::time::Duration::from_secs(3).saturating_sub(begun.elapsed()));

    let mut cases = Vec::new();
    for (name, token) in &all {
        for line in [FLAVORS, "GET /v2.1/servers/1", "GET /v2.1/os-keypairs/a", "POST /v2.1/servers/1/action"] {
            cases.push(case(format!("{name}: {line}"), line, &[("X-Auth-Token", token)]));
        }
    }
    let mut more = |name: &str, line: &str, headers: &[(&str, &str)]| cases.push(case(name, line, headers));
    more("no token", FLAVORS, &[]);
    more("an empty token", FLAVORS, &[("X-Auth-Token", "")]);
    more("an empty token before another", FLAVORS, &[("X-Auth-Token", ""), ("X-Storage-Token", &demo)]);
    more("X-Storage-Token", FLAVORS, &[("X-Storage-Token", &demo)]);
    more("both", FLAVORS, &[("X-Storage-Token", "unknown"), ("X-Auth-Token", &demo)]);
    more("spaces around", FLAVORS, &[("X-Auth-Token", &format!("  {demo}  "))]);
    more("a token with a slash", FLAVORS, &[("X-Auth-Token", "a/b%2F?c")]);
    more("a long token", FLAVORS, &[("X-Auth-Token", &"x".repeat(3000))]);
    more("not ASCII", FLAVORS, &[("X-Auth-Token", "tökän")]);
    more("no token, text", FLAVORS, &[("Accept", "text/plain")]);
    more("no token, HEAD", "HEAD /v2.1/flavors", &[]);
    more("no token, POST", "POST /v2.1/servers", &[("Content-Length", "0")]);
    more("no token, legacy", "GET /v2/flavors", &[]);
    more("legacy", "GET /v2/flavors", &[("X-Auth-Token", &demo)]);
    more("expired", FLAVORS, &[("X-Auth-Token", &expired)]);
    for (name, user) in [("valid", demo.as_str()), ("expired", &expired), ("unknown", "unknown")] {
        for (service, token) in [("of a service", good.as_str()), ("of a member", &other), ("unknown", "nonsense")] {
            let headers = [("X-Auth-Token", user), ("X-Service-Token", token)];
            more(&format!("{name}, with a service token {service}"), FLAVORS, &headers);
        }
    }
    let expired_service = stack.token_at(short.address, "glance", project("service"));
    more("only a service token", FLAVORS, &[("X-Service-Token", &good)]);
    more("an empty service token", FLAVORS, &[("X-Auth-Token", &demo), ("X-Service-Token", "")]);
    more("the same token twice", FLAVORS, &[("X-Auth-Token", &good), ("X-Service-Token", &good)]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    more("an expired service token", FLAVORS, &[("X-Auth-Token", &demo), ("X-Service-Token", &expired_service)]);
    let (_, ruled) = all.iter().find(|(name, _)| *name == "credential with rules").expect("it is there");
    let headers = [("X-Auth-Token", ruled.as_str()), ("X-Service-Token", good.as_str())];
    more("rules do not bind services", "GET /v2.1/servers/1", &headers);
    let spoofed = [
        "X-Identity-Status",
        "X-Service-Identity-Status",
        "X-User-Id",
        "X-User-Name",
        "X-User",
        "X-Roles",
        "X-Role",
        "X-Tenant-Id",
        "X-Tenant",
        "X-Project-Id",
        "X-Domain-Id",
        "X-Service-Catalog",
        "X-Service-Roles",
        "X-Service-User-Id",
        "X-Is-Admin-Project",
        "OpenStack-System-Scope",
    ];
    let mut headers: Vec<_> = spoofed.iter().map(|name| (*name, "spoofed")).collect();
    more("spoofed, no token", FLAVORS, &headers);
    headers.push(("X-Auth-Token", &demo));
    more("spoofed", FLAVORS, &headers);
    more("401 of the app", "GET /v2.1/flavors?pasteway.status=401", &[("X-Auth-Token", &demo)]);
    more("404 of the app", "GET /v2.1/flavors?pasteway.status=404", &[("X-Auth-Token", &demo)]);
    cases
}

fn ask(address: SocketAddr, case: &Case) -> Answer {
    let method = case.request.split(' ').next().expect("a method");
    let mut client = Client::connect(address).expect("a connection");
    client
        .send(&case.request)
        .and_then(|()| client.answer(method))
        .unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

/// An answer, as far as two are to be the same: of an echo only the identity, of everything else all.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    identity: Option<Identity>,
}

fn seen(answer: &Answer, identity: Option<Identity>, gate: &Gate) -> Seen {
    // The server's own, and what describes the echo.
    let own = ["server", "x-echo", "x-pasteway-stand-in", "transfer-encoding"];
    let headers = comparable(&answer.headers).into_iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let headers = headers.filter(|(name, _)| identity.is_none() || !name.starts_with("content-"));
    // Each has a gate of its own, which the challenge names when no option does.
    let headers = headers.map(|(name, value)| (name, value.replace(&gate.address.to_string(), "GATE"))).collect();
    let body = if identity.is_some() { String::new() } else { answer.text() };
    Seen { status: answer.status, headers, body, identity }
}

/// What the original lets through and a front must not: it takes this header from a client who has no valid token.
const SPOOFED: &str = "HTTP_OPENSTACK_SYSTEM_SCOPE";

/// What differs, told for people.
fn differences(one: &Seen, other: &Seen) -> Vec<String> {
    let mut all = Vec::new();
    if one.status != other.status {
        all.push(format!("status {} became {}", one.status, other.status));
    }
    all.extend(one.headers.iter().filter(|h| !other.headers.contains(h)).map(|h| format!("- {h:?}")));
    all.extend(other.headers.iter().filter(|h| !one.headers.contains(h)).map(|h| format!("+ {h:?}")));
    if one.body != other.body {
        all.push(format!("body {:?} became {:?}", one.body, other.body));
    }
    let (none, nobody) = (Identity::new(), Identity::new());
    let (one, other) = (one.identity.as_ref().unwrap_or(&none), other.identity.as_ref().unwrap_or(&nobody));
    for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
        let on_purpose = key == SPOOFED && one.get(key).is_some_and(|value| value == "spoofed");
        if one.get(key) != other.get(key) && !on_purpose {
            all.push(format!("{key}: {:?} became {:?}", one.get(key), other.get(key)));
        }
    }
    all
}

/// Asks both, each with its gate; all differences.
fn compare(variant: &str, cases: &[Case], original: (SocketAddr, &Gate), front: (&Front, &Gate)) -> Vec<String> {
    let mut found = Vec::new();
    for case in cases {
        let (theirs, ours) = (ask(original.0, case), ask(front.0.address("osapi_compute"), case));
        let echoed = theirs.header("x-echo").is_some();
        let pictured = ours.header("x-pasteway-stand-in").is_some();
        let (theirs, ours) = (
            seen(&theirs, echoed.then(|| of_original(&theirs)), original.1),
            seen(&ours, pictured.then(|| of_picture(&ours)), front.1),
        );
        let differ = differences(&theirs, &ours);
        if !differ.is_empty() {
            found.push(format!("{variant}; {}:\n    {}", case.name, differ.join("\n    ")));
        }
    }
    found
}

/// The calls about tokens, as far as they are to be the same.
fn asked(calls: &[Call]) -> Vec<(String, Vec<Option<String>>)> {
    let header = |call: &Call, name: &str| call.header(name).map(str::to_owned);
    let subjects = calls.iter().filter(|call| call.header("x-subject-token").is_some());
    let of = |call: &Call| {
        let names = ["x-subject-token", "openstack-identity-access-rules", "accept"];
        (call.line.clone(), names.iter().map(|name| header(call, name)).collect())
    };
    let mut all: Vec<_> = subjects.map(of).collect();
    // What both have asked once, the original asks again when its cache of another thread answers.
    all.sort();
    all.dedup();
    all
}

#[test]
fn every_token_is_what_keystonemiddleware_makes_of_it() {
    let Some(stage) = stage() else { return };
    let cases = cases(stage);
    let gates: Vec<_> = VARIANTS.iter().map(|_| (stage.gate(), stage.gate())).collect();
    let of_originals: Vec<_> =
        VARIANTS.iter().zip(&gates).map(|((_, lines), (gate, _))| authtoken(gate, lines)).collect();
    let original = Original::start(&stage.stack, &of_originals);
    let mut found = Vec::new();
    for (number, (variant, lines)) in VARIANTS.iter().enumerate() {
        let (theirs, ours) = &gates[number];
        let front = Front::start(&layout(&authtoken(ours, lines)));
        found.extend(compare(variant, &cases, (original.addresses[number], theirs), (&front, ours)));
        let (theirs, ours) = (asked(&theirs.calls()), asked(&ours.calls()));
        assert!(!theirs.is_empty());
        found.extend(
            theirs.iter().filter(|call| !ours.contains(call)).map(|call| format!("{variant}: never asked {call:?}")),
        );
        found
            .extend(ours.iter().filter(|call| !theirs.contains(call)).map(|call| format!("{variant}: asked {call:?}")));
    }
    eprintln!("keystone: {} requests under {} configurations, {} different", cases.len(), VARIANTS.len(), found.len());
    assert!(found.is_empty(), "{} different\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_useless_keystone_is_the_same_misfortune_for_both() {
    let Some(stage) = stage() else { return };
    let demo = stage.stack.token("demo", project("demo"));
    let cases = [
        case("a token", "GET /v2.1/flavors", &[("X-Auth-Token", demo.as_str())]),
        case("a token, JSON", "GET /v2.1/flavors", &[("X-Auth-Token", demo.as_str()), ("Accept", "application/json")]),
        case("a token, text", "GET /v2.1/flavors", &[("X-Auth-Token", demo.as_str()), ("Accept", "text/plain")]),
        case("no token", "GET /v2.1/flavors", &[]),
    ];
    let nobody = format!("auth_url = http://{}/v3", free_address());
    let quick = "http_request_max_retries = 0";
    let mut useless: Vec<(&str, Vec<&str>)> = USELESS.iter().map(|(name, lines)| (*name, lines.to_vec())).collect();
    useless.push(("refused", vec![&nobody, quick]));
    useless.push(("refused, left to the app", vec![&nobody, quick, "delay_auth_decision = true"]));
    useless.push(("no Keystone there", vec!["auth_url = http://127.0.0.1:1/nope", quick]));
    let gates: Vec<_> = useless.iter().map(|_| stage.gate()).collect();
    let groups: Vec<_> = useless.iter().zip(&gates).map(|((_, lines), gate)| authtoken(gate, lines)).collect();
    let original = Original::start(&stage.stack, &groups);
    let mut found = Vec::new();
    for (number, (name, _)) in useless.iter().enumerate() {
        let (front, gate) = (Front::start(&layout(&groups[number])), &gates[number]);
        found.extend(compare(name, &cases, (original.addresses[number], gate), (&front, gate)));
    }
    assert!(found.is_empty(), "{} different\n{}", found.len(), found.join("\n"));
}
