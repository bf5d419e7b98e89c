//! TLS: `enabled_ssl_apis`, its three files, and what becomes of them while the front runs.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;

use crate::support::certificates::{Authority, Identity};
use crate::support::{Client, DEADLINE, Front, Layout, Save, eventually};

const REJECTED: &[(&str, &str)] = &[("outcome", "rejected")];

/// A front on a certificate of `authority`, which lies in the directory.
#[track_caller]
fn start(layout: Layout, authority: &Authority) -> (Front, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    authority.issue().save(directory.path());
    (Front::start(&on_tls(layout, directory.path())), directory)
}

fn on_tls(layout: Layout, directory: &Path) -> Layout {
    let here = directory.display();
    layout
        .default("enabled_ssl_apis = osapi_compute")
        .default(&format!("ssl_cert_file = {here}/cert.pem"))
        .default(&format!("ssl_key_file = {here}/key.pem"))
}

/// A connection by TLS, and the certificate that the front has shown.
fn connect(
    front: &Front,
    trusted: &Authority,
    own: Option<&Identity>,
) -> io::Result<(Client, CertificateDer<'static>)> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.certificate().clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_auth_cert(vec![own.certificate.clone()], own.private_key()).expect("they fit"),
    };
    let name = "127.0.0.1".try_into().expect("a name");
    let mut session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let mut socket = TcpStream::connect(front.address("osapi_compute"))?;
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.set_write_timeout(Some(DEADLINE))?;
    session.complete_io(&mut socket)?;
    let shown = session.peer_certificates().and_then(|chain| chain.first()).expect("a certificate");
    let shown = shown.clone().into_owned();
    Ok((Client::over(StreamOwned::new(session, socket)), shown))
}

#[test]
fn https_is_served_and_the_worker_is_told_so() {
    let authority = Authority::new();
    let (front, _files) = start(Layout::bare(), &authority);
    let (mut client, _) = connect(&front, &authority, None).expect("a connection");
    for path in ["/v2/first", "/v2/second"] {
        let answer = client.get(path, &[]).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["environ"]["wsgi.url_scheme"], "https");
        assert_eq!(answer.json()["environ"]["REMOTE_ADDR"], "127.0.0.1");
    }
    assert_eq!(front.admin("/status").json()["apis"][0]["tls"], true);
}

#[test]
fn links_in_a_version_document_begin_with_https() {
    let authority = Authority::new();
    let (front, _files) = start(Layout::havana().apis(&["osapi_compute"]), &authority);
    let (mut client, _) = connect(&front, &authority, None).expect("a connection");
    let text = client.get("/", &[]).expect("an answer").text();
    assert!(text.contains("https://127.0.0.1:8774/v2/"), "{text}");
    assert!(!text.contains("http://127.0.0.1"), "{text}");
}

#[test]
fn long_bodies_are_whole_over_tls() {
    let authority = Authority::new();
    let (front, _files) = start(Layout::bare(), &authority);
    let (mut client, _) = connect(&front, &authority, None).expect("a connection");
    let body: Vec<u8> = (0..1_000_003_u32).map(|n| (n * 31 + n / 251) as u8).collect();
    for path in ["/v2/x?pasteway.echo=1", "/v2/x?pasteway.echo=1&pasteway.chunked=1"] {
        let answer = client.request("POST", path, &[], &body).expect("an answer");
        assert!(answer.body == body, "{path}: {} bytes", answer.body.len());
    }
}

#[test]
fn plain_http_on_a_tls_port_is_closed_and_hurts_nobody() {
    let authority = Authority::new();
    let (front, _files) = start(Layout::bare(), &authority);
    let mut plain = front.client();
    plain.send("GET /v2/x HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let said = plain.rest().expect("closed");
    assert!(!said.starts_with(b"HTTP/"), "{said:?}");
    let (mut client, _) = connect(&front, &authority, None).expect("a connection");
    assert_eq!(client.get("/v2/x", &[]).expect("an answer").status, 200);
}

#[test]
fn a_client_that_never_shakes_hands_holds_up_nobody() {
    let authority = Authority::new();
    let (front, _files) = start(Layout::bare().pasteway("front_threads = 1"), &authority);
    let mut silent = front.client();
    let mut slow = front.client();
    // The first bytes of a ClientHello.
    slow.send([0x16, 0x03, 0x01, 0x02]).expect("sent");
    let (mut client, _) = connect(&front, &authority, None).expect("a connection");
    assert_eq!(client.get("/v2/x", &[]).expect("an answer").status, 200);
    silent.send("nonsense").and_then(|()| silent.rest()).expect("closed");
}

#[test]
fn with_ssl_ca_file_only_clients_that_it_signed_get_in() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("ca.pem"), authority.pem()).expect("ca.pem");
    let ca = format!("ssl_ca_file = {}/ca.pem", directory.path().display());
    let (front, _files) = start(Layout::bare().default(&ca), &authority);
    let ask = |own: Option<&Identity>| {
        let (mut client, _) = connect(&front, &authority, own)?;
        client.get("/v2/x", &[]).map(|answer| answer.status)
    };
    // By TLS 1.3 a client is done before the front has seen its certificate, so that only the request fails.
    assert!(ask(None).is_err());
    assert!(ask(Some(&stranger.issue())).is_err());
    assert_eq!(ask(Some(&authority.issue())).expect("an answer"), 200);
    assert_eq!(front.metric("pasteway_worker_requests_total", &[("api", "osapi_compute")]), 1.0);
}

#[test]
fn a_renewed_certificate_on_disk_is_noticed_and_an_open_connection_goes_on() {
    let authority = Authority::new();
    let (front, files) = start(Layout::bare(), &authority);
    let (mut open, _) = connect(&front, &authority, None).expect("a connection");
    assert_eq!(open.get("/v2/x", &[]).expect("an answer").status, 200);
    for _ in 0..3 {
        let renewed = authority.issue();
        renewed.save(files.path());
        eventually("the new certificate", || {
            let (mut fresh, shown) = connect(&front, &authority, None).expect("a connection at any time");
            assert_eq!(fresh.get("/v2/x", &[]).expect("an answer").status, 200);
            (shown == renewed.certificate).then_some(())
        });
        let answer = open.get("/v2/x", &[]).expect("an answer");
        assert_eq!((answer.status, answer.closes()), (200, false));
    }
    assert_eq!(front.workers().len(), 1);
    // Each generation says for which file it was made, and which option names that.
    eventually("the generations", || {
        let generations = front.admin("/generations").json();
        let changed = named(&generations[0]["changes"]);
        changed.iter().any(|change| change.contains("ssl_key_file")).then_some(())
    });
}

/// `class what:line`
fn named(changes: &serde_json::Value) -> Vec<String> {
    let text = |change: &serde_json::Value| {
        format!(
            "{} {}:{}",
            change["class"].as_str().expect("a class"),
            change["what"].as_str().expect("a text"),
            change["line"]
        )
    };
    changes.as_array().expect("a list").iter().map(text).collect()
}

#[test]
fn a_renewed_certificate_is_told_before_and_after_it_is_loaded() {
    let authority = Authority::new();
    let (front, files) = start(Layout::bare().pasteway("watch = false"), &authority);
    authority.issue().save(files.path());
    let line = |option: &str| read(&front.conf()).lines().position(|line| line.starts_with(option)).expect("there") + 1;
    let want = ["ssl_cert_file", "ssl_key_file"].map(|option| {
        let file = if option == "ssl_cert_file" { "cert.pem" } else { "key.pem" };
        format!("live [wsgi] {option}, the file {}:{}", files.path().join(file).display(), line(option))
    });
    let (status, plan) = front.reload("?dry_run=true");
    assert_eq!((status, plan["outcome"].as_str()), (200, Some("applied")), "{plan}");
    assert_eq!(named(&plan["changes"]), want);
    assert_eq!(front.generation(), 1);
    let (status, verdict) = front.reload("");
    assert_eq!((status, named(&verdict["changes"])), (200, want.to_vec()), "{verdict}");
    assert_eq!(named(&front.admin("/generations").json()[0]["changes"]), want);
    assert_eq!(front.reload("?dry_run=true").1["outcome"], "unchanged");
}

#[test]
fn a_broken_certificate_changes_nothing_and_is_reported_with_its_file() {
    let authority = Authority::new();
    let (front, files) = start(Layout::bare(), &authority);
    let (_, before) = connect(&front, &authority, None).expect("a connection");
    let good = authority.issue();
    let (cert, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    let broken = [(&cert, "nonsense"), (&key, "nonsense"), (&cert, &good.pem)];
    let (old_cert, old_key) = (read(&cert), read(&key));
    for (n, (path, text)) in (1..).zip(broken) {
        Save::Rename.save(path, text).expect("saved");
        eventually("the verdict", || {
            (front.metric("pasteway_config_reloads_total", REJECTED) >= f64::from(n)).then_some(())
        });
        let (mut client, shown) = connect(&front, &authority, None).expect("a connection");
        assert!(shown == before, "the old certificate is shown");
        assert_eq!(client.get("/v2/x", &[]).expect("an answer").status, 200);
        let status = front.admin("/status").json();
        let file = status["last_reload"]["diagnostics"][0]["file"].as_str().expect("a file");
        assert_eq!(Path::new(file), path, "{status}");
        Save::Rename.save(&cert, &old_cert).expect("saved");
        Save::Rename.save(&key, &old_key).expect("saved");
        eventually("whole again", || (front.metric("pasteway_config_file_differs", &[]) == 0.0).then_some(()));
    }
    assert_eq!(front.generation(), 1);
}

#[test]
fn tls_can_be_turned_on_and_off_while_the_front_runs() {
    let authority = Authority::new();
    let (front, _files) = start(Layout::bare(), &authority);
    front.edit_conf(|text| text.replace("enabled_ssl_apis = osapi_compute\n", "enabled_ssl_apis =\n"));
    eventually("plain HTTP", || (front.generation() == 2).then_some(()));
    assert_eq!(front.get("/v2/x").json()["environ"]["wsgi.url_scheme"], "http");
    front.edit_conf(|text| text.replace("enabled_ssl_apis =\n", "enabled_ssl_apis = osapi_compute\n"));
    eventually("HTTPS", || (front.generation() == 3).then_some(()));
    let (mut client, _) = connect(&front, &authority, None).expect("a connection");
    assert_eq!(client.get("/v2/x", &[]).expect("an answer").json()["environ"]["wsgi.url_scheme"], "https");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file")
}
