//! Connections in memory, with the requests that the front sends.

use indexmap::IndexMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use super::*;
use crate::worker::manifest::{HostSpec, Manifest, Mount, MountContext};

fn life(release: &str) -> Life {
    let mount = |section: &str, factory: &str| Mount {
        contexts: vec![MountContext {
            section: section.into(),
            factory: factory.into(),
            kind: "app".into(),
            file: "api-paste.ini".into(),
            line: 12,
            ..MountContext::default()
        }],
    };
    let manifest = Manifest {
        api: "osapi_compute".into(),
        release: release.into(),
        generation: 4,
        mounts: vec![
            mount("app:oscomputeversionapp", "nova.api.openstack.compute.versions:Versions.factory"),
            mount("app:osapi_compute_app_v2", "nova.api.openstack.compute:APIRouter.factory"),
            mount("app:oscomputeversionapp_v2", "nova.api.openstack.compute.versions:VersionsV2.factory"),
        ],
        options: IndexMap::new(),
        host: HostSpec::default(),
    };
    Life { die: || panic!("the worker died"), ..Life::new(manifest, 2, 77).expect("a release") }
}

struct Served {
    client: DuplexStream,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

fn serve(release: &str) -> Served {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (stop, stopped) = watch::channel(());
    let task = tokio::spawn(connection(server, Arc::new(life(release)), stopped));
    Served { client, stop, task }
}

/// Sends a request and reads until the connection is closed; head and body.
async fn exchange(release: &str, request: &str) -> (String, String) {
    let mut served = serve(release);
    served.client.write_all(request.as_bytes()).await.expect("open");
    let mut answer = String::new();
    served.client.read_to_string(&mut answer).await.expect("text");
    served.task.await.expect("no panic");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_version_app_is_answered_with_novas_document() {
    let request = "GET / HTTP/1.1\r\nHost: h:8774\r\nConnection: close\r\nx-pasteway-mount: 0\r\n\
                   x-pasteway-environ: {\"nova.best_content_type\":\"application/xml\",\"wsgi.url_scheme\":\"https\"}\r\n\r\n";
    let (head, body) = exchange("2013.2", request).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("content-type: application/xml\r\n"), "{head}");
    assert!(body.contains(r#"<atom:link href="https://h:8774/v2/" rel="self"/>"#), "{body}");
    assert!(!head.contains("x-pasteway"), "{head}");
}

#[tokio::test]
async fn head_has_the_length_of_the_document_and_no_body() {
    let request = |method: &str| format!("{method} /x HTTP/1.1\r\nConnection: close\r\nx-pasteway-mount: 0\r\n\r\n");
    let (_, document) = exchange("31", &request("GET")).await;
    let (head, body) = exchange("31", &request("HEAD")).await;
    assert!(head.starts_with("HTTP/1.1 300 "), "{head}");
    assert!(head.contains(&format!("content-length: {}\r\n", document.len())), "{head}");
    assert_eq!(body, "");
}

#[tokio::test]
async fn a_versions_own_document_names_its_microversion() {
    let request = "GET /v2.1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nx-pasteway-mount: 2\r\n\
                   x-pasteway-script-name: /v2.1\r\nx-pasteway-path-info: \r\n";
    let (head, body) = exchange("31", &format!("{request}OpenStack-API-Version: compute 2.7\r\n\r\n")).await;
    for field in
        ["openstack-api-version: compute 2.7", "vary: OpenStack-API-Version", "vary: X-OpenStack-Nova-API-Version"]
    {
        assert!(head.contains(field), "{head}");
    }
    assert!(body.contains(r#""href": "http://h/v2.1/""#), "{body}");
    let (head, body) =
        exchange("31", &format!("{request}x-pasteway-environ: {{\"openstack.legacy_v2\":true}}\r\n\r\n")).await;
    assert!(!head.contains("vary"), "{head}");
    assert!(body.contains(r#""id": "v2.0""#), "{body}");
}

#[tokio::test]
async fn a_mount_that_is_no_version_app_gets_a_picture_of_the_request() {
    let request = "PUT /v2/a%20b?x=%41&y HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 3\r\n\
                   Connection: close\r\nx-pasteway-mount: 1\r\nx-pasteway-script-name: /v2\r\n\
                   x-pasteway-path-info: /a%20b\r\nx-pasteway-remote-addr: 192.0.2.1\r\nx-pasteway-generation: 9\r\n\
                   x-pasteway-environ: {\"HTTP_X_USER\":null,\"openstack.request_id\":\"req-1\"}\r\n\r\nabc";
    let (head, body) = exchange("2013.2", request).await;
    assert!(head.contains("x-pasteway-stand-in: builtin"), "{head}");
    let first_key = r#"{"pasteway":"this is the built-in stand-in of pasteway, not the application"#;
    assert!(body.starts_with(first_key), "{body}");
    let mut picture: Value = serde_json::from_str(&body).expect("JSON");
    picture.as_object_mut().map(|keys| keys.shift_remove("pasteway"));
    let want = json!({
        "stands_in_for": [{
            "section": "app:osapi_compute_app_v2",
            "factory": "nova.api.openstack.compute:APIRouter.factory",
            "file": "api-paste.ini",
            "line": 12,
        }],
        "method": "PUT",
        "SCRIPT_NAME": "/v2",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "x=%41&y",
        "headers": [["host", "h"], ["x-two", "1"], ["x-two", "2"], ["content-length", "3"], ["connection", "close"]],
        "environ": {
            "HTTP_X_USER": null, "openstack.request_id": "req-1", "REMOTE_ADDR": "192.0.2.1", "wsgi.url_scheme": "http",
        },
        "api": "osapi_compute",
        "slot": 2,
        "pid": std::process::id(),
        "life": 77,
        "generation": 9,
        "body": {"length": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    });
    assert_eq!(picture, want);
}

#[tokio::test]
async fn a_request_without_a_mount_is_refused_and_so_is_a_drill_that_is_none() {
    let (head, body) = exchange("31", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    assert!(body.contains("x-pasteway-mount"), "{body}");
    let (head, _) = exchange("31", "GET / HTTP/1.1\r\nConnection: close\r\nx-pasteway-mount: 3\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    let (head, _) = exchange("31", "GET /?pasteway.nap=1 HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
}

#[tokio::test]
async fn filler_has_its_size_with_and_without_a_length() {
    let request = |more: &str| {
        format!("GET /?pasteway.size=200000&pasteway.status=404{more} HTTP/1.1\r\nConnection: close\r\n\r\n")
    };
    let (head, body) = exchange("31", &request("")).await;
    assert!(head.starts_with("HTTP/1.1 404 ") && head.contains("content-length: 200000"), "{head}");
    assert_eq!(body.len(), 200_000);
    let (head, body) = exchange("31", &request("&pasteway.chunked=1")).await;
    assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
    assert_eq!(body.matches('.').count(), 200_000);
    assert!(body.ends_with("\r\n0\r\n\r\n"));
}

/// Reads until what came ends with `end`.
async fn read_to(client: &mut DuplexStream, end: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        assert_ne!(client.read_buf(&mut seen).await.expect("open"), 0, "{}", seen.escape_ascii());
    }
    String::from_utf8(seen).expect("text")
}

#[tokio::test]
async fn an_echo_comes_back_while_the_request_is_still_being_sent_and_outlives_the_order_to_stop() {
    let Served { mut client, stop, task } = serve("31");
    client.write_all(b"POST /?pasteway.echo=1 HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").await.expect("open");
    let head = read_to(&mut client, "\r\n\r\nabc").await;
    assert!(head.contains("content-length: 9\r\n"), "{head}");
    client.write_all(b"def").await.expect("open");
    read_to(&mut client, "def").await;
    stop.send_replace(());
    tokio::task::yield_now().await;
    client.write_all(b"ghi").await.expect("open");
    read_to(&mut client, "ghi").await;
    task.await.expect("no panic");
}

#[tokio::test]
async fn half_of_the_body_has_left_when_the_worker_dies_in_it() {
    let Served { mut client, stop: _stop, task } = serve("31");
    client.write_all(b"GET /?pasteway.size=1000&pasteway.exit=body HTTP/1.1\r\n\r\n").await.expect("open");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("text");
    assert!(task.await.is_err_and(|error| error.is_panic()));
    assert!(answer.contains("content-length: 1000\r\n"), "{answer}");
    assert_eq!(answer.matches('.').count() - 1, 500, "one dot is the protocol's version");
}

#[tokio::test]
async fn a_worker_that_dies_before_the_head_has_sent_nothing() {
    let Served { mut client, stop: _stop, task } = serve("31");
    client.write_all(b"GET /?pasteway.exit=1 HTTP/1.1\r\n\r\n").await.expect("open");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("text");
    assert!(task.await.is_err_and(|error| error.is_panic()));
    assert_eq!(answer, "");
}

#[tokio::test(start_paused = true)]
async fn the_request_in_flight_is_answered_after_the_order_to_stop() {
    let Served { mut client, stop, task } = serve("31");
    client.write_all(b"GET /?pasteway.size=3&pasteway.delay=60000 HTTP/1.1\r\n\r\n").await.expect("open");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    stop.send_replace(());
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("text");
    assert!(answer.contains("connection: close") && answer.ends_with("\r\n\r\n..."), "{answer}");
    task.await.expect("no panic");
    stop.closed().await;
}

#[tokio::test]
async fn an_idle_connection_ends_at_the_order_to_stop_and_serves_many_requests_before() {
    let Served { mut client, stop, task } = serve("31");
    for _ in 0..3 {
        client
            .write_all(b"POST / HTTP/1.1\r\nContent-Length: 3\r\nx-pasteway-mount: 0\r\n\r\nabc")
            .await
            .expect("open");
        read_to(&mut client, "]}]}").await;
    }
    stop.send_replace(());
    task.await.expect("no panic");
    assert_eq!(client.read(&mut [0; 1]).await.expect("closed"), 0);
}

#[tokio::test]
async fn as_many_headers_are_taken_as_the_front_may_pass_on() {
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let request = format!("GET /x HTTP/1.1\r\nConnection: close\r\nx-pasteway-mount: 1\r\n{many}\r\n");
    let (head, body) = exchange("31", &request).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(body.contains(r#"["x-99","1"]"#), "{body}");
}
