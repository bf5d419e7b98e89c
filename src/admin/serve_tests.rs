//! The admin thread on real sockets: loopback with a free port, and a file in a temporary directory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::*;
use crate::admin::Token;

fn serve_on(listen: &[AdminListen]) -> Handle {
    let (commands, _) = tokio::sync::mpsc::channel(1);
    let access = Access { token: watch::channel(None::<Token>).1, key: None, host_names: Vec::new() };
    bind(listen).unwrap().serve(commands, Arc::new(|| "up 1\n".into()), access)
}

fn stop(handle: Handle) {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(handle.stop(Duration::from_secs(5)));
}

fn get(mut stream: impl Read + Write) -> String {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn both_kinds_of_address_serve_and_vanish_at_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let handle = serve_on(&[AdminListen::Tcp(([127, 0, 0, 1], 0).into()), AdminListen::Unix(path.clone())]);
    let AdminListen::Tcp(tcp) = handle.addresses()[0] else { panic!("the order is kept") };
    assert_ne!(tcp.port(), 0);
    for answer in [get(TcpStream::connect(tcp).unwrap()), get(UnixStream::connect(&path).unwrap())] {
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nup 1\n"), "{answer}");
    }
    let idle = TcpStream::connect(tcp).unwrap();
    stop(handle);
    assert!(TcpStream::connect(tcp).is_err());
    assert!(!path.exists());
    assert_eq!((&idle).read(&mut [0]).unwrap_or(0), 0, "an idle connection is closed");
}

#[test]
fn one_address_that_cannot_be_bound_fails_all() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let taken = AdminListen::Tcp(taken.local_addr().unwrap());
    let error = bind(&[AdminListen::Unix(path.clone()), taken.clone()]).unwrap_err();
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_socket_that_was_handed_over_serves_on_and_keeps_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let listen = AdminListen::Unix(path.clone());
    let old = serve_on(std::slice::from_ref(&listen));
    let socket = old.sockets()[0].try_clone().unwrap();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(old.leave(Duration::from_secs(5)));
    let waiting = UnixStream::connect(&path).unwrap();
    let (commands, _) = tokio::sync::mpsc::channel(1);
    let access = Access { token: watch::channel(None::<Token>).1, key: None, host_names: Vec::new() };
    drop(adopt(&listen, socket.try_clone().unwrap()).unwrap());
    assert!(path.exists(), "one that never serves takes nothing along");
    let new = adopt(&listen, socket).unwrap().serve(commands, Arc::new(|| "up 2\n".into()), access);
    assert!(get(waiting).ends_with("up 2\n"));
    stop(new);
    assert!(!path.exists());
}
