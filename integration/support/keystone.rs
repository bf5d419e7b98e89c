//! A Keystone that says of every token what its name says: v2.0, v3 and EC2's signatures, on a port of its own.
//!
//! `good1` is valid, `expired1` has ended, `denied1` is answered by 401, `boom1` by 500, `notjson1` by text, `empty1`
//! by `{}`, `unknown1` and tokens of PKI by 404. Must not know who asks.

use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::Asked;
use super::app::read;

/// The service's own token by v2.0.
pub const ADMIN: &str = "ADMINTOK";
/// The service's own token by v3.
pub const ADMIN_V3: &str = "ADMINTOK3";

/// A running Keystone; closes its socket when dropped.
pub struct Keystone {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    asked: Mutex<Vec<Asked>>,
    open: Mutex<Vec<TcpStream>>,
}

/// Status, further headers, body.
type Answer = (u16, Vec<(&'static str, &'static str)>, Vec<u8>);

impl Keystone {
    /// Starts it on loopback.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let accepted = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepted.stopped.load(Ordering::SeqCst) {
                    return;
                }
                accepted.open.lock().expect("no panic").push(stream.try_clone().expect("a descriptor"));
                let shared = Arc::clone(&accepted);
                std::thread::spawn(move || serve(stream, address, &shared));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no panic").clone()
    }
}

impl Drop for Keystone {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then closes the socket.
        drop(TcpStream::connect(self.address));
        for stream in self.shared.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(mut stream: TcpStream, address: SocketAddr, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
    while let Some(asked) = read(&mut reader) {
        shared.asked.lock().expect("no panic").push(asked.clone());
        let (status, headers, body) = answer(&asked, address);
        let mut head = format!("HTTP/1.1 {status} As\r\nContent-Type: application/json\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

fn answer(asked: &Asked, address: SocketAddr) -> Answer {
    let (method, target) = asked.line.split_once(' ').expect("a request line");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let header = |name| asked.headers(name).first().copied().unwrap_or_default();
    match (method, path) {
        ("GET", "/") => said(300, &versions(address)),
        ("POST", "/v2.0/tokens") => said(200, &access(ADMIN)),
        ("POST", "/v3/auth/tokens") => (201, vec![("X-Subject-Token", ADMIN_V3)], text(&token("good1", address))),
        ("POST", "/v2.0/ec2tokens") => match serde_json::from_slice::<Value>(&asked.body) {
            Ok(body) if body["ec2Credentials"]["access"] == "AK" => said(200, &access("EC2TOK")),
            _ => error(401),
        },
        ("GET", "/v3/auth/tokens") if header("x-auth-token") != ADMIN_V3 && header("x-auth-token") != ADMIN => {
            error(401)
        }
        ("GET", "/v3/auth/tokens") => {
            let name = header("x-subject-token");
            by_name(name, query.contains("allow_expired=1"), || token(name, address))
        }
        ("GET", path) => match path.strip_prefix("/v2.0/tokens/") {
            Some(_) if header("x-auth-token") != ADMIN => error(401),
            Some(name) => by_name(name, true, || access(name)),
            None => error(404),
        },
        _ => error(404),
    }
}

/// What happens to a token of this name; `valid` makes what is said of one that is known.
fn by_name(name: &str, tell_expired: bool, valid: impl FnOnce() -> Value) -> Answer {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match kind {
        "denied" => error(401),
        "forbidden" => error(403),
        "boom" => error(500),
        "notjson" => (200, Vec::new(), b"this is no JSON".to_vec()),
        "empty" => said(200, &json!({})),
        "expired" if !tell_expired => error(404),
        kind if kind.starts_with("unknown") || kind == "revoked" => error(404),
        _ => said(200, &valid()),
    }
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn said(status: u16, value: &Value) -> Answer {
    (status, Vec::new(), text(value))
}

fn error(status: u16) -> Answer {
    said(status, &json!({"error": {"message": "no", "code": status}}))
}

fn versions(address: SocketAddr) -> Value {
    let one = |id, status, path| {
        json!({"id": id, "status": status, "updated": "2013-03-06T00:00:00Z", "media-types": [],
               "links": [{"rel": "self", "href": format!("http://{address}{path}")}]})
    };
    json!({"versions": {"values": [one("v3.14", "stable", "/v3/"), one("v2.0", "deprecated", "/v2.0/")]}})
}

/// An hour from now, or a minute ago for a token that has ended.
fn ends(name: &str, format: &str) -> String {
    let after = if name.starts_with("expired") { TimeDelta::minutes(-1) } else { TimeDelta::hours(1) };
    (Utc::now() + after).format(format).to_string()
}

/// What v2.0 says of a token.
fn access(name: &str) -> Value {
    let mut all = json!({"access": {
        "token": {
            "id": name, "expires": ends(name, "%Y-%m-%dT%H:%M:%SZ"), "issued_at": "2013-10-01T00:00:00.000000",
            "tenant": {"id": "t1", "name": "ten-one", "description": null, "enabled": true},
        },
        "user": {
            "id": "u1", "name": "user-one", "username": "user-one", "roles_links": [],
            "roles": [{"name": "admin"}, {"name": "Member"}],
        },
        "metadata": {"is_admin": 0, "roles": ["r1"]},
        "serviceCatalog": [
            {"type": "volume", "name": "cinder", "endpoints_links": [], "endpoints": [{
                "id": "e1", "region": "R1", "adminURL": "http://a/v1/t1", "internalURL": "http://i/v1/t1",
                "publicURL": "http://p/v1/t1",
            }]},
            {"type": "compute", "name": "nova", "endpoints_links": [], "endpoints": [{
                "region": "R1", "publicURL": "http://p:8774/v2/t1",
            }]},
        ],
    }});
    let access = &mut all["access"];
    if name.starts_with("untenanted") || name.starts_with("default-tenant") {
        access["token"].as_object_mut().expect("a token").remove("tenant");
    }
    if name.starts_with("default-tenant") {
        access["user"]["tenantId"] = "dt".into();
        access["user"]["tenantName"] = "dt-name".into();
    }
    if name.starts_with("nocatalog") {
        access.as_object_mut().expect("an object").remove("serviceCatalog");
    }
    all
}

/// What v3 says of a token.
fn token(name: &str, address: SocketAddr) -> Value {
    let is = |kind: &str| name.starts_with(kind);
    let mut token = json!({
        "methods": ["password"], "audit_ids": ["aud1"],
        "expires_at": ends(name, "%Y-%m-%dT%H:%M:%S.000000Z"),
        "issued_at": Utc::now().format("%Y-%m-%dT%H:%M:%S.000000Z").to_string(),
        "user": {"id": "u1", "name": "user-one", "domain": {"id": "default", "name": "Default"},
                 "password_expires_at": null},
    });
    if is("system") {
        token["system"] = json!({"all": true});
    } else if is("domain") {
        token["domain"] = json!({"id": "d1", "name": "Dom"});
    } else if !is("unscoped") {
        token["project"] = json!({"id": "t1", "name": "ten-one", "domain": {"id": "pd", "name": "PDom"}});
        token["is_admin_project"] = (!is("notadmin")).into();
    }
    if !is("unscoped") {
        let roles: &[&str] = match name {
            _ if is("system") || is("domain") => &["admin"],
            _ if is("svc") => &["service"],
            _ => &["admin", "member"],
        };
        token["roles"] = (1..).zip(roles).map(|(n, name)| json!({"id": format!("r{n}"), "name": name})).collect();
        let keystone = format!("http://{address}/v3");
        token["catalog"] = json!([
            service("s0", "identity", "keystone", "e9", |_| keystone.clone()),
            service("s1", "volumev3", "cinderv3", "e1", |interface| format!("http://{interface}/v3/t1")),
        ]);
    }
    if is("appcred") {
        token["methods"] = json!(["application_credential"]);
        token["application_credential"] = json!({"id": "ac1", "name": "ac", "restricted": true,
            "access_rules": [{"id": "ar1", "service": "compute", "method": "GET", "path": "/v2.1/servers"}]});
    }
    if is("bind") {
        token["bind"] = json!({"kerberos": "USER@REALM"});
    }
    json!({"token": token})
}

fn service(id: &str, kind: &str, name: &str, endpoint: &str, url: impl Fn(&str) -> String) -> Value {
    let endpoints: Vec<_> = ["public", "internal", "admin"]
        .iter()
        .map(|interface| {
            json!({"id": endpoint, "interface": interface, "region": "R1", "region_id": "R1", "url": url(interface)})
        })
        .collect();
    json!({"id": id, "type": kind, "name": name, "endpoints": endpoints})
}
