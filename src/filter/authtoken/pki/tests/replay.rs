//! Scenarios that the original was put through (`integration/pki/run`): the same tokens, and the same answers, the same
//! environ for the app, the same calls to Keystone in the same order, the same files.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use http::header::CONTENT_LENGTH;
use serde_json::{Map, Value, json};
use tokio::runtime::Builder;

use crate::filter::authtoken::keystone::tests::fake::{Fake, Play, Seen, say};
use crate::filter::authtoken::pki::form::Hash;
use crate::filter::authtoken::{CLIENT_FACTORY, FACTORY};
use crate::filter::harness::{Case, built, text};
use crate::filter::{Factory, Filter, Outside};
use crate::metrics::Metrics;
use crate::release::Release;

fn vector(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/filter/authtoken/pki/vectors").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a text of the scenarios stands for.
fn content(text: &str) -> String {
    if let Some(name) = text.strip_prefix("signed:") {
        return json!({"signed": vector(name)}).to_string();
    }
    text.strip_prefix('@').map_or_else(|| text.to_owned(), vector)
}

/// What Keystone answers, by request line.
#[derive(Default)]
struct Script {
    answers: Map<String, Value>,
    logins: u32,
}

impl Script {
    fn play(&mut self, seen: &Seen) -> Play {
        let line = format!("{} {}", seen.method, seen.path);
        let answer = self.answers.get(&line).map(|answer| match answer.as_object() {
            Some(by_token) => by_token.get(seen.header("x-auth-token").unwrap_or_default()).unwrap_or(&answer["else"]),
            None => answer,
        });
        if let Some(answer) = answer {
            let status = answer[0].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
            return say(status, content(answer[1].as_str().expect("a body")));
        }
        if line == "GET /" {
            let version = |id: &str| {
                let links = json!([{"rel": "self", "href": format!("http://keystone/{id}/")}]);
                json!({"id": id, "status": "stable", "links": links})
            };
            return say(300, json!({"versions": {"values": [version("v2.0"), version("v3.0")]}}).to_string());
        }
        if line != "POST /v2.0/tokens" {
            return say(404, "{}");
        }
        self.logins += 1;
        let token = json!({"id": format!("admin{}", self.logins), "expires": "2099-01-02T03:04:05Z"});
        say(200, json!({"access": {"token": token}}).to_string())
    }
}

struct Stage {
    script: Arc<Mutex<Script>>,
    keystone: Fake,
    filter: Box<dyn Filter>,
    outside: Rc<Outside>,
    room: PathBuf,
}

/// What one step of a scenario came to, in the words of `original.py`.
fn ask(stage: &Stage, token: &str, expected: &Value) -> Value {
    let mut case = Case::new("GET", "/").header("x-auth-token", token);
    case.cx.outside = Rc::clone(&stage.outside);
    case.cx.faultwrap = true;
    stage.keystone.forget();
    let mut told = Map::new();
    match case.enter(&*stage.filter) {
        None => drop(told.insert("environ".to_owned(), environ(&case))),
        // In whose words an exception is told is for the filters around.
        Some(response) if response.status() == 500 && is_exception(expected) => {
            let told_then = expected.as_object().into_iter().flatten();
            told.extend(told_then.filter(|(key, _)| *key != "calls").map(|(key, value)| (key.clone(), value.clone())));
            if let Some(text) = told.get_mut("body") {
                *text = body(text.as_str().expect("a text"));
            }
        }
        Some(response) => {
            let (status, reason) = (response.status(), response.status().canonical_reason().unwrap_or_default());
            told.insert("status".to_owned(), format!("{} {reason}", status.as_u16()).into());
            let mut headers: Vec<_> = (response.headers().iter())
                .filter(|(name, _)| *name != CONTENT_LENGTH)
                .map(|(name, value)| json!([name.as_str(), value.to_str().expect("text")]))
                .collect();
            headers.sort_by_key(Value::to_string);
            told.insert("headers".to_owned(), headers.into());
            told.insert("body".to_owned(), body(&text(response)));
        }
    }
    let call = |seen: &Seen| {
        let header = |name| seen.header(name).map_or(Value::Null, Value::from);
        json!([
            format!("{} {}", seen.method, seen.path),
            header("x-auth-token"),
            header("accept"),
            header("content-type")
        ])
    };
    told.insert("calls".to_owned(), stage.keystone.seen().iter().map(call).collect());
    told.into()
}

/// Later releases quoted less of a token in a path.
fn unquoted(told: &Value) -> Value {
    serde_json::from_str(&told.to_string().replace("%2B", "+").replace("%3D", "=")).expect("JSON")
}

fn is_exception(expected: &Value) -> bool {
    expected["raised"].is_string() || expected["status"] == "500 Internal Server Error"
}

/// A body; the keys of JSON have another order in Python 2.
fn body(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// The identity of a request that was let in.
fn environ(case: &Case) -> Value {
    let facts = case.cx.token.as_ref();
    let nulls = facts.iter().flat_map(|facts| facts.environ.iter());
    let mut seen: Map<String, Value> = nulls.map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let mut headers = case.request.headers().clone();
    for prepared in facts.iter().flat_map(|facts| &facts.headers) {
        headers.extend(prepared.fields().iter().cloned());
    }
    for (name, value) in &headers {
        let key = format!("HTTP_{}", name.as_str().replace('-', "_").to_uppercase());
        if key != "HTTP_X_AUTH_TOKEN" {
            seen.insert(key, value.to_str().expect("text").into());
        }
    }
    seen.into()
}

fn play(scenario: &Value, sets: &Value, recorded: &Value, factory: &'static Factory, release: Release) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let script = Arc::new(Mutex::new(Script::default()));
    let of_set = |name: &Value| sets[name.as_str().expect("a name")].clone();
    let answers = scenario["sets"].as_array().into_iter().flatten().map(of_set).chain([scenario["answers"].clone()]);
    let learn = |answers: &Value| {
        let more = answers.as_object().cloned().unwrap_or_default();
        script.lock().expect("whole").answers.extend(more);
    };
    answers.for_each(|answers| learn(&answers));
    for (name, text) in scenario["files"].as_object().into_iter().flatten() {
        fs::write(directory.path().join(name), content(text.as_str().expect("a text"))).expect("a file");
    }

    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let plays = Arc::clone(&script);
    let keystone = runtime.block_on(Fake::start(move |seen, _| plays.lock().expect("whole").play(seen)));
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let address = if scenario["down"] == true { nobody } else { keystone.address };
    let mut options = json!({
        "auth_host": "127.0.0.1", "auth_port": address.port(), "auth_protocol": "http",
        "auth_uri": "http://keystone:5000", "auth_version": "v2.0", "admin_user": "nova", "admin_password": "s3cret",
        "admin_tenant_name": "service", "signing_dir": directory.path(), "revocation_cache_time": 300,
        "http_request_max_retries": 0,
    });
    let more = scenario["options"].as_object().cloned().unwrap_or_default();
    options.as_object_mut().expect("an object").extend(more);
    let options: Vec<(String, String)> = (options.as_object().into_iter().flatten())
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let local: Vec<_> = options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let conf: Vec<(&str, String)> = (scenario["conf"].as_object().into_iter().flatten())
        .map(|(name, value)| (name.as_str(), list(value)))
        .collect();
    let conf: Vec<_> = conf.iter().map(|(name, value)| ("keystone_authtoken", *name, value.as_str())).collect();
    let filter = built(factory, release, &local, &conf);
    let outside = Rc::new(Outside::new(runtime.handle().clone(), Metrics::new()));
    let (alive, dead) = tokio::sync::oneshot::channel::<()>();
    let control = std::thread::spawn(move || runtime.block_on(dead));

    let stage = Stage { script: Arc::clone(&script), keystone, filter, outside, room: directory.path().to_owned() };
    let name = scenario["name"].as_str().expect("a name");
    let mut wrong = Vec::new();
    let mut expected = recorded["steps"].as_array().expect("steps").iter();
    for step in scenario["steps"].as_array().expect("steps") {
        let Some(token) = token(&stage, step) else { continue };
        let expected = expected.next().expect("as many steps");
        let (told, mut expected) = (ask(&stage, &token, expected), expected.clone());
        if let Some(text) = expected.get_mut("body") {
            *text = body(text.as_str().expect("a text"));
        }
        let (told, expected) = (unquoted(&told), unquoted(&expected));
        if told != expected {
            wrong.push(format!("{name}: {step}\n  then {expected}\n  now  {told}"));
        }
    }
    let mut files: Vec<_> = (fs::read_dir(&stage.room).expect("a directory"))
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    files.sort();
    if json!(files) != recorded["files"] {
        wrong.push(format!("{name}: {files:?}, and then {}", recorded["files"]));
    }
    drop(alive);
    // Its sender is gone, which is all that it waits for.
    let _ = control.join();
    wrong
}

fn list(value: &Value) -> String {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

/// The token that a step sends, if it is not one that changes something.
fn token(stage: &Stage, step: &Value) -> Option<String> {
    let of = |name: &Value| vector(&format!("{}.token", name.as_str().expect("a name")));
    let file = |name: &Value| stage.room.join(name.as_str().expect("a name"));
    let Some(step) = step.as_object() else { return Some(of(step)) };
    let (what, with) = step.iter().next().expect("a step");
    match what.as_str() {
        "raw" => with.as_str().map(str::to_owned),
        "changed" => {
            let mut token = of(with);
            let other = if token.as_bytes()[400] == b'A' { "B" } else { "A" };
            token.replace_range(400..401, other);
            Some(token)
        }
        "slashed" => Some(of(with).replace('-', "/")),
        "md5" | "sha256" => Hash::named(what).map(|hash| hash.of(of(with).as_bytes())),
        "answers" => {
            let answers = with.as_object().expect("answers").clone();
            stage.script.lock().expect("whole").answers.extend(answers);
            None
        }
        "remove" => {
            fs::remove_file(file(with)).expect("a file");
            None
        }
        "copy" => {
            fs::write(file(&with[1]), vector(with[0].as_str().expect("a name"))).expect("a file");
            None
        }
        what => panic!("{what}"),
    }
}

/// Holds the front against a recording, but for the scenarios that are different on purpose.
fn replay(recording: &str, factory: &'static Factory, release: Release, different: &[&str]) {
    let script: Value = serde_json::from_str(&vector("scenarios.json")).expect("JSON");
    let recorded: Value = serde_json::from_str(&vector(recording)).expect("JSON");
    let (scenarios, recorded) = (script["scenarios"].as_array(), recorded.as_array());
    let (scenarios, recorded) = (scenarios.expect("scenarios"), recorded.expect("recordings"));
    assert_eq!(scenarios.len(), recorded.len());
    let mut wrong = Vec::new();
    for (scenario, recorded) in scenarios.iter().zip(recorded) {
        assert_eq!(scenario["name"], recorded["name"]);
        let found = play(scenario, &script["sets"], recorded, factory, release);
        if different.iter().any(|name| scenario["name"] == *name) {
            assert!(!found.is_empty(), "{} does not differ any more", scenario["name"]);
        } else {
            wrong.extend(found);
        }
    }
    assert!(wrong.is_empty(), "{recording}: {} differences\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn havana_asks_and_answers_as_keystoneclient_0_4() {
    replay("client-0.4.1.json", &CLIENT_FACTORY, Release::HAVANA, &[]);
}

#[test]
fn icehouse_asks_and_answers_as_keystoneclient_0_8() {
    // It fetched the certificates once more for each token that it could not read.
    replay("client-0.8.0.json", &CLIENT_FACTORY, Release::ICEHOUSE, &["garbage"]);
}

#[test]
fn juno_asks_and_answers_as_keystoneclient_1_6_and_keystonemiddleware_1_0() {
    replay("client-1.6.0.json", &CLIENT_FACTORY, Release::JUNO, &[]);
    replay("middleware-1.0.0.json", &FACTORY, Release::JUNO, &[]);
}

#[test]
fn kilo_asks_and_answers_as_keystonemiddleware_1_5() {
    replay("middleware-1.5.0.json", &FACTORY, Release::KILO, &[]);
}

#[test]
fn liberty_asks_and_answers_as_keystonemiddleware_2_3() {
    // They broke at one that cannot be unpacked.
    replay("middleware-2.3.3.json", &FACTORY, Release::LIBERTY, &["packed"]);
}

#[test]
fn queens_asks_and_answers_as_keystonemiddleware_4_22() {
    replay("middleware-4.22.0.json", &FACTORY, Release::QUEENS, &["packed"]);
}
