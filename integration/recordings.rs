//! The recordings of golden/, replayed: the same requests in the same order, and the same answers, the same environ
//! for the app, the same calls to Keystone.
//!
//! Each recording says how the original was set up (a layout), which requests the front answers by itself, and what is
//! different on purpose. A difference that is not in that list fails the test, and so does one in the list that is
//! no difference any more.

mod compare;
mod echo;

use compare::{Answered, Found, Part, differences, recorded_call, seen_call};
use echo::Apps;

use crate::support::keystone::Keystone;
use crate::support::recording::{Exchange, exchanges};
use crate::support::{Client, Front, Layout};

/// A recording and what is known of it.
struct Recording {
    exchanges: &'static str,
    /// What reached Keystone, one call a line.
    calls: &'static str,
    /// The exchanges that no app had a part in, by name; `*` at the end stands for any rest.
    by_front: &'static [&'static str],
    /// What is different on purpose.
    known: &'static [Known],
}

/// A difference of an exchange, by its name, in a part of the answer; and why.
struct Known(&'static str, Part, &'static str);

const STRIPPED: &str = "identity headers of clients are taken off wherever an auth filter stands in the tree";
const NO_CONTENT: &str = "204 has no length (RFC 9110, 8.6)";
const NO_HTTP: &str = "what is no request line gets a head, where eventlet answers by a page without one";
const TOO_LARGE: &str = "sizelimit judges a chunked body too, which WebOb takes for empty behind eventlet";
const CHUNKED: &str = "the app gets a chunked body with its length, which WebOb takes for empty behind eventlet";

fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

impl Recording {
    #[track_caller]
    fn replay(&self, layout: impl FnOnce(&Keystone) -> Layout) {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("worker.sock");
        let (apps, keystone) = (Apps::start(&socket), Keystone::start());
        let layout = layout(&keystone)
            .pasteway("worker_kind = external")
            .pasteway("worker_ready_request = GET /probe")
            .pasteway(&format!("worker_sockets = {}", socket.display()));
        let front = Front::start(&layout);
        let all = exchanges(self.exchanges, |_| true);
        let mut wrong = Vec::new();
        let mut met = vec![false; self.known.len()];
        let mut same = 0;
        for exchange in &all {
            let by_worker = !self.by_front.iter().any(|pattern| fits(pattern, &exchange.name));
            let answered = ask(&front, &apps, &keystone, exchange);
            let found = differences(exchange, by_worker, &answered);
            same += usize::from(found.is_empty());
            wrong.extend(self.unknown(&exchange.name, found, &mut met));
        }
        wrong.extend(self.calls(&keystone));
        for (known, _) in self.known.iter().zip(met).filter(|(_, met)| !met) {
            wrong.push(format!("{}: {} does not differ any more", known.0, known.1.name()));
        }
        println!("{} exchanges: {same} the same, {} differ", all.len(), all.len() - same);
        assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// The differences that are not known; those that are known are marked as met.
    fn unknown(&self, name: &str, found: Vec<Found>, met: &mut [bool]) -> Vec<String> {
        let mut unknown = Vec::new();
        for (part, text) in found {
            match self.known.iter().zip(&mut *met).find(|(known, _)| known.0 == name && known.1.name() == part) {
                Some((Known(.., why), met)) => {
                    *met = true;
                    println!("{name}: {part} differs: {why}");
                }
                None => unknown.push(format!("{name}: {part}: {text}")),
            }
        }
        unknown
    }

    /// What is wrong with the calls that reached Keystone.
    fn calls(&self, keystone: &Keystone) -> Option<String> {
        let recorded: Vec<_> = self.calls.lines().map(recorded_call).collect();
        let now: Vec<_> = keystone.asked().iter().map(seen_call).collect();
        println!("{} calls of Keystone, {} recorded", now.len(), recorded.len());
        if recorded == now {
            return None;
        }
        Some(format!("calls recorded:\n  {}\ncalls now:\n  {}", recorded.join("\n  "), now.join("\n  ")))
    }
}

/// Asks what the original was asked.
#[track_caller]
fn ask(front: &Front, apps: &Apps, keystone: &Keystone, exchange: &Exchange) -> Answered {
    let api = match exchange.port {
        8773 => "ec2",
        8774 => "osapi_compute",
        8775 => "metadata",
        port => panic!("{port} is nobody's"),
    };
    let address = front.address(api);
    let before = apps.asked();
    apps.play(exchange);
    let mut client = Client::connect(address).expect("a connection");
    // A body that nobody wants may be refused before it is sent.
    let _ = client.send(&exchange.request);
    let answer = client.answer(exchange.method()).unwrap_or_else(|error| panic!("{}: {error}", exchange.name));
    let recorded = |text: &str| {
        text.replace(&address.to_string(), &format!("127.0.0.1:{}", exchange.port))
            .replace(&keystone.address().to_string(), "127.0.0.1:35357")
    };
    let body = recorded(&answer.text());
    let mut headers = answer.headers.clone();
    for (name, value) in &mut headers {
        *value = recorded(value);
        if name.eq_ignore_ascii_case("content-length") && *value == answer.body.len().to_string() {
            *value = body.len().to_string();
        }
    }
    Answered {
        status: answer.line.split_once(' ').map_or_else(String::new, |(_, rest)| rest.to_owned()),
        headers,
        by_worker: apps.asked() > before,
        body,
    }
}

#[test]
fn nova_2013_2_without_keystone_is_answered_alike() {
    let recording = Recording {
        exchanges: include_str!("golden/havana/noauth.txt"),
        calls: "",
        by_front: &[
            "root accept version 2",
            "v2 no token",
            "v2/ no token",
            "v2/p1/servers no token",
            "v2 users",
            "v3 no token",
            "sizelimit CL over*",
            "sizelimit chunked over",
            "bad request line",
            "long*",
            "ec2 root*",
            "ec2 noparams",
            "ec2 slash",
            "ec2 long url",
            "md root",
        ],
        known: &[
            Known("root accept version 2", Part::Header("content-length"), NO_CONTENT),
            Known("v2 no token", Part::Header("content-length"), NO_CONTENT),
            Known("v2/ no token", Part::Header("content-length"), NO_CONTENT),
            Known("v2/p1/servers no token", Part::Header("content-length"), NO_CONTENT),
            Known("v2 users", Part::Header("content-length"), NO_CONTENT),
            Known("v3 no token", Part::Header("content-length"), NO_CONTENT),
            Known("bad request line", Part::Status, NO_HTTP),
            Known("bad request line", Part::Header("content-length"), NO_HTTP),
            Known("bad request line", Part::Body, NO_HTTP),
        ],
    };
    recording.replay(|_| Layout::havana().group("[osapi_v3]\nenabled = true"));
}

#[test]
fn nova_2013_2_with_keystone_v2_is_answered_alike() {
    let recording = Recording {
        exchanges: include_str!("golden/havana/keystone-v2.txt"),
        calls: include_str!("golden/havana/keystone-v2.calls.jsonl"),
        by_front: &[
            "no token*",
            "empty token",
            "unknown*",
            "expired",
            "denied*",
            "boom500",
            "notjson",
            "empty json",
            "untenanted",
            "pki-like",
            "ratelimit POST 3",
            "ratelimit POST 4",
            "v3 no token",
            "ec2 nosig",
            "ec2 nokey",
            "ec2 bad",
        ],
        known: &[
            Known("spoof", Part::Key("HTTP_X_SERVICE_ROLES"), STRIPPED),
            Known("spoof", Part::Key("HTTP_X_SERVICE_USER_ID"), STRIPPED),
            Known("spoof", Part::Key("HTTP_X_IS_ADMIN_PROJECT"), STRIPPED),
            Known("spoof", Part::Key("HTTP_X_FORWARDED_FOR"), "believed of trusted_proxies only"),
        ],
    };
    recording.replay(|keystone| havana_with(keystone, "auth_version = v2.0"));
}

/// Nova 2013.2 as it was set up for the recordings with Keystone.
pub fn havana_with(keystone: &Keystone, version: &str) -> Layout {
    let paste = Layout::havana().paste().replace(
        "compute.limits:RateLimitingMiddleware.factory",
        "compute.limits:RateLimitingMiddleware.factory\n\
         limits = (GET, */lim*, /v2/t1/lim, 2, MINUTE);(POST, *, .*, 3, SECOND)",
    );
    let address = keystone.address();
    Layout::havana()
        .with_paste(&paste)
        .default("auth_strategy = keystone")
        .default("api_rate_limit = true")
        .default(&format!("keystone_ec2_url = http://{address}/v2.0/ec2tokens"))
        .group("[osapi_v3]\nenabled = true")
        .group(&format!(
            "[keystone_authtoken]\nauth_host = {}\nauth_port = {}\nauth_protocol = http\n{version}\n\
             admin_user = nova\nadmin_password = s3cret\nadmin_tenant_name = service",
            address.ip(),
            address.port()
        ))
}

#[test]
fn nova_31_with_keystone_v3_is_answered_alike() {
    let recording = Recording {
        exchanges: include_str!("golden/nova31/keystone-v3.txt"),
        calls: include_str!("golden/nova31/keystone-v3.calls.jsonl"),
        by_front: &[
            "v2.1/x *",
            "v2/x no token",
            "unknown*",
            "expired",
            "denied",
            "forbidden",
            "boom",
            "notjson",
            "emptyjson",
            "empty token",
            "service token wrong role",
            "service token bad",
            "appcred",
            "bind",
            "cors preflight*",
            "options plain",
            "sizelimit CL*",
            "long*",
            "md root",
        ],
        known: &[
            Known("sizelimit chunked", Part::Worker, TOO_LARGE),
            Known("sizelimit chunked", Part::Status, TOO_LARGE),
            Known("sizelimit chunked", Part::Header("content-type"), TOO_LARGE),
            Known("sizelimit chunked", Part::Body, TOO_LARGE),
            Known("chunked small", Part::Key("CONTENT_LENGTH"), CHUNKED),
            Known("chunked small", Part::Key("_body_len"), CHUNKED),
        ],
    };
    recording.replay(|keystone| {
        Layout::current()
            .group("[api]\nauth_strategy = keystone")
            .group("[oslo_middleware]\nenable_proxy_headers_parsing = true")
            .group(&format!(
                "[keystone_authtoken]\nauth_type = password\nauth_url = http://{}\n\
                 www_authenticate_uri = http://127.0.0.1:5000\nusername = nova\npassword = s3cret\n\
                 project_name = service\nuser_domain_name = Default\nproject_domain_name = Default",
                keystone.address()
            ))
    });
}
