//! The real services that `up` beside this file has started, and more processes of theirs that a test starts itself.
//!
//! Must not know what is asked of them.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Client, process};

/// How long a Python service may take to its first answer on a busy machine.
const START: Duration = Duration::from_secs(120);

/// What stack.json says.
pub struct Stack {
    facts: Value,
}

impl Stack {
    /// Starts what is not running yet (`up` leaves alone what is). `None`, loudly, when nobody asked for real services
    /// by setting `PASTEWAY_STACK`: they take a minute to install.
    pub fn up(parts: &[&str]) -> Option<Self> {
        let Some(directory) = std::env::var_os("PASTEWAY_STACK").map(PathBuf::from) else {
            eprintln!("SKIPPED: set PASTEWAY_STACK, or use the `run` beside the test, to have real services");
            return None;
        };
        // Cargo runs tests in the package's directory, where `run` was as well.
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/stack/up");
        let status = Command::new(script).args(parts).stdin(Stdio::null()).status().expect("the script");
        assert!(status.success(), "the real services do not start: {status}");
        let text = std::fs::read(directory.join("stack.json")).expect("stack.json");
        Some(Self { facts: serde_json::from_slice(&text).expect("JSON") })
    }

    /// A text in stack.json, by its JSON pointer.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> &str {
        self.value(pointer).as_str().unwrap_or_else(|| panic!("{pointer} in stack.json is no text"))
    }

    /// A value in stack.json, by its JSON pointer.
    #[track_caller]
    pub fn value(&self, pointer: &str) -> &Value {
        self.facts.pointer(pointer).unwrap_or_else(|| panic!("stack.json has no {pointer}"))
    }

    /// The address of a URL in stack.json.
    #[track_caller]
    pub fn address(&self, pointer: &str) -> SocketAddr {
        let url = self.text(pointer).strip_prefix("http://").expect("a plain URL");
        url.split('/').next().expect("a host").parse().expect("an address")
    }

    /// Keystone's address.
    pub fn keystone(&self) -> SocketAddr {
        self.address("/keystone/url")
    }

    /// The interpreter that has the real libraries.
    pub fn python(&self) -> PathBuf {
        Path::new(self.text("/venv")).join("bin/python")
    }

    /// A new token: for a user of the stack, in a scope as Keystone's API spells it (`Null`: unscoped).
    #[track_caller]
    pub fn token(&self, user: &str, scope: Value) -> String {
        self.token_at(self.keystone(), user, scope)
    }

    /// The same from another Keystone.
    #[track_caller]
    pub fn token_at(&self, keystone: SocketAddr, user: &str, scope: Value) -> String {
        let password = self.text(&format!("/keystone/users/{user}/password"));
        let who = json!({"name": user, "domain": {"id": "default"}, "password": password});
        let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": who}}});
        // Without a scope Keystone takes the user's default project.
        auth["scope"] = if scope.is_null() { json!("unscoped") } else { scope };
        issue(keystone, &auth)
    }

    /// A new token of one of the application credentials.
    #[track_caller]
    pub fn credential_token(&self, name: &str) -> String {
        let credential = self.value(&format!("/keystone/credentials/{name}"));
        let method = "application_credential";
        issue(self.keystone(), &json!({"identity": {"methods": [method], method: credential}}))
    }

    /// A request to Keystone with an administrator's token, which must succeed.
    #[track_caller]
    pub fn keystone_call(&self, method: &str, path: &str, body: &Value) -> Value {
        let admin = self.token("admin", project("admin"));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("X-Auth-Token", admin.as_str()), ("Content-Type", "application/json")];
        let mut client = Client::connect(self.keystone()).expect("Keystone");
        let answer = client.request(method, path, &headers, body.as_bytes()).expect("an answer of Keystone's");
        assert!(answer.status < 300, "{method} {path}: {answer:?} {}", answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// Makes Keystone forget a token.
    #[track_caller]
    pub fn revoke(&self, token: &str) {
        let headers = [("X-Auth-Token", token), ("X-Subject-Token", token)];
        let mut client = Client::connect(self.keystone()).expect("Keystone");
        let answer = client.request("DELETE", "/v3/auth/tokens", &headers, b"").expect("an answer of Keystone's");
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

#[track_caller]
fn issue(keystone: SocketAddr, auth: &Value) -> String {
    let body = json!({"auth": auth}).to_string();
    let mut client = Client::connect(keystone).expect("Keystone");
    let headers = [("Content-Type", "application/json")];
    let answer = client.request("POST", "/v3/auth/tokens", &headers, body.as_bytes()).expect("an answer of Keystone's");
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.header("X-Subject-Token").expect("a token").to_owned()
}

/// The scope of a project in the default domain.
pub fn project(name: &str) -> Value {
    json!({"project": {"name": name, "domain": {"id": "default"}}})
}

/// One more process of a service, on a port of its own; ended with this value.
pub struct Served {
    child: Child,
    /// Where it answers.
    pub address: SocketAddr,
}

impl Served {
    /// Starts a command in which `{port}` stands for the port, and waits until it answers a request.
    #[track_caller]
    pub fn start(command: &Value, environment: &[&Value], more: &[(&str, &str)]) -> Self {
        let address = free_address();
        Self::start_at(address, command, environment, more)
    }

    /// The same at an address that the test has chosen.
    #[track_caller]
    pub fn start_at(address: SocketAddr, command: &Value, environment: &[&Value], more: &[(&str, &str)]) -> Self {
        let words = command.as_array().expect("a command").iter();
        let words: Vec<_> =
            words.map(|word| word.as_str().expect("text").replace("{port}", &address.port().to_string())).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        for (name, value) in environment.iter().flat_map(|map| map.as_object().expect("an environment")) {
            command.env(name, value.as_str().expect("text"));
        }
        command.envs(more.iter().copied());
        let child = command.spawn().unwrap_or_else(|error| panic!("{error}: {words:?}"));
        let mut served = Self { child, address };
        let deadline = Instant::now() + START;
        while !served.answers() {
            assert!(served.child.try_wait().expect("a child").is_none(), "ended at once: {words:?}");
            assert!(Instant::now() < deadline, "does not answer: {words:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        served
    }

    fn answers(&self) -> bool {
        let answer = Client::connect(self.address).and_then(|mut client| client.get("/", &[]));
        answer.is_ok()
    }

    /// The process and those it has forked.
    fn family(&self) -> Vec<u32> {
        let mut all = vec![self.child.id()];
        all.extend(process::children(self.child.id()));
        all
    }

    /// Sends all of its processes a signal, SIGSTOP for example.
    pub fn signal(&self, signal: Signal) {
        for pid in self.family() {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// An address on which nobody listens at this moment.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}
