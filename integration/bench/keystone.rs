//! A Keystone for the bench: knows every token, and says the same of each, with a catalog of 2 KB.
//!
//! Must not know who asks. It is asked once per token; the front's cache does the rest.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::Result;

/// Starts it in threads that end with the bench.
pub fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || while serve(&stream, address).is_some() {});
        }
    });
    Ok(address)
}

/// One request; `None` at the end of the connection.
fn serve(stream: &TcpStream, own: SocketAddr) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    let (status, body) = match first.split(' ').nth(1)? {
        path if !path.starts_with("/v3/auth/tokens") => ("200 OK", versions(own)),
        _ if first.starts_with("POST") => ("201 Created", token(own)),
        _ => ("200 OK", token(own)),
    };
    let (mut stream, body) = (stream, body.to_string());
    let length = body.len();
    let head = "Content-Type: application/json\r\nX-Subject-Token: own";
    write!(stream, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}").ok()
}

fn versions(own: SocketAddr) -> Value {
    let links = json!([{"rel": "self", "href": format!("http://{own}/v3/")}]);
    json!({"versions": {"values": [{"id": "v3.14", "status": "stable", "links": links, "media-types": []}]}})
}

/// A project's token, as Keystone tells it.
fn token(own: SocketAddr) -> Value {
    let service = |kind: &str, url: String| {
        let endpoint = |interface| {
            json!({"id": "4b9a1fbe2c2d4f0c9a646ad4f1d60d3f", "interface": interface, "region": "RegionOne",
                   "region_id": "RegionOne", "url": url})
        };
        json!({"id": "9e3f7bd6a8a04ce4b7a1de5c3ab0c3f1", "type": kind, "name": kind,
               "endpoints": [endpoint("public"), endpoint("internal"), endpoint("admin")]})
    };
    let domain = json!({"id": "default", "name": "Default"});
    json!({"token": {
        "methods": ["password"],
        "user": {"id": "b1c2d3e4f5a60718293a4b5c6d7e8f90", "name": "demo", "domain": domain, "password_expires_at": null},
        "project": {"id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "name": "demo", "domain": domain},
        "is_domain": false,
        "roles": [{"id": "a1", "name": "member"}, {"id": "a2", "name": "reader"}],
        "audit_ids": ["3T2dc1CGQxyJsHdDu1xkcw"],
        "issued_at": "2026-01-01T00:00:00.000000Z",
        "expires_at": "2099-01-01T00:00:00.000000Z",
        "catalog": [
            service("identity", format!("http://{own}")),
            service("compute", "http://127.0.0.1:8774/v2.1".to_owned()),
            service("image", "http://127.0.0.1:9292".to_owned()),
            service("volumev3", "http://127.0.0.1:8776/v3".to_owned()),
        ],
    }})
}
