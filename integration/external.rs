//! External workers: Unix sockets of servers that the front has not started, and what the worst of them may send.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::app::{PROBE, reply};
use crate::support::traffic::{Style, Traffic};
use crate::support::{App, Asked, Client, Front, Layout, eventually};

const COMPUTE: &[(&str, &str)] = &[("api", "osapi_compute")];
const HOST: &str = "Host: 127.0.0.1:8774\r\n";

/// One data thread, so that every request of a test meets the kept connections of the one before.
pub fn layout(sockets: &[&Path]) -> Layout {
    let sockets: Vec<_> = sockets.iter().map(|path| path.display().to_string()).collect();
    Layout::bare()
        .pasteway("front_threads = 1")
        .pasteway("worker_kind = external")
        .pasteway(&format!("worker_ready_request = {PROBE}"))
        .pasteway(&format!("worker_sockets = {}", sockets.join(",")))
}

fn sockets() -> (TempDir, PathBuf, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let (a, b) = (directory.path().join("a.sock"), directory.path().join("b.sock"));
    (directory, a, b)
}

/// A front on one worker that does what `answer` says.
fn single(
    options: &[&str],
    answer: impl Fn(&Asked, &mut UnixStream) -> bool + Send + Sync + 'static,
) -> (Front, App, TempDir) {
    let (directory, socket, _) = sockets();
    let app = App::start(&socket, answer);
    let layout = options.iter().fold(layout(&[&socket]), |layout, option| layout.pasteway(option));
    (Front::start(&layout), app, directory)
}

/// Workers of osapi_compute that serve.
pub fn serving(front: &Front) -> f64 {
    front.metric("pasteway_workers", &[("api", "osapi_compute"), ("state", "serving")])
}

#[test]
fn requests_are_balanced_over_the_sockets() {
    let (_directory, a, b) = sockets();
    let slow = |asked: &Asked, stream: &mut UnixStream| {
        std::thread::sleep(Duration::from_millis(1500));
        reply(stream, &asked.line)
    };
    let apps = [App::start(&a, slow), App::start(&b, slow)];
    let front = Front::start(&layout(&[&a, &b]));
    eventually("both serve", || (serving(&front) == 2.0).then_some(()));
    let mut clients: Vec<_> = (0..6).map(|_| front.client()).collect();
    for (n, client) in (1..).zip(&mut clients) {
        client.send(format!("GET /v2/{n} HTTP/1.1\r\n{HOST}\r\n")).expect("sent");
        eventually("the request is on a worker", || {
            (front.metric("pasteway_worker_in_flight", COMPUTE) == f64::from(n)).then_some(())
        });
    }
    for (n, client) in (1..).zip(&mut clients) {
        assert_eq!(client.answer("GET").expect("an answer").text(), format!("GET /v2/{n}"));
    }
    assert_eq!(apps.each_ref().map(|app| app.asked().len()), [3, 3]);
}

#[test]
fn who_the_client_is_says_the_front_and_not_the_client() {
    let (front, app, _directory) = single(&[], |asked, stream| reply(stream, &asked.line));
    let lies = [
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil"),
        ("Forwarded", "for=6.6.6.6"),
    ];
    assert_eq!(front.client().get("/v2/x", &lies).expect("an answer").status, 200);
    let asked = app.asked().pop().expect("a request");
    assert_eq!(asked.headers("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(asked.headers("x-forwarded-proto"), ["http"]);
    assert!(asked.headers("x-forwarded-host").is_empty() && asked.headers("forwarded").is_empty(), "{asked:?}");
    assert!(!format!("{asked:?}").contains("6.6.6.6"), "{asked:?}");
}

#[test]
fn a_socket_that_goes_away_is_taken_out_and_comes_back() {
    let (_directory, a, b) = sockets();
    let (_kept, gone) = (App::echo(&a), App::echo(&b));
    let front = Front::start(&layout(&[&a, &b]));
    eventually("both serve", || (serving(&front) == 2.0).then_some(()));
    let kept = Style { method: "GET", fresh: false };
    let traffic = Traffic::start(front.address("osapi_compute"), &[kept, Style { fresh: true, ..kept }]);
    drop(gone);
    eventually("one is taken out", || (serving(&front) == 1.0).then_some(()));
    let back = App::echo(&b);
    eventually("it is back", || (serving(&front) == 2.0 && !back.asked().is_empty()).then_some(()));
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::new(), 0));
    assert_eq!(front.admin("/ready").status, 200);
}

#[test]
fn a_front_that_starts_before_its_workers_becomes_ready_with_them() {
    let (_directory, socket, _) = sockets();
    let front = Front::launch(&layout(&[&socket]));
    let address = front.listening("osapi_compute");
    let ready = front.admin("/ready");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("osapi_compute: no worker is serving"), "{}", ready.text());
    // A request that comes now waits.
    let waiting = std::thread::spawn(move || Client::connect(address)?.get("/v2/early", &[]));
    eventually("it waits", || (front.metric("pasteway_queue_length", COMPUTE) == 1.0).then_some(()));
    let _app = App::echo(&socket);
    let answer = waiting.join().expect("no panic").expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "GET /v2/early"));
    eventually("ready", || (front.admin("/ready").status == 200).then_some(()));
}

fn chunked(path: &str, chunks: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in chunks {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend(*chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    request
}

#[test]
fn a_chunked_body_reaches_a_strange_worker_with_a_length() {
    let (front, app, _directory) = single(&[], |asked, stream| reply(stream, &asked.line));
    let mut client = front.client();
    client.send(chunked("/v2/x", &[b"hello, ", b"world"])).expect("sent");
    assert_eq!(client.answer("POST").expect("an answer").status, 200);
    let asked = app.asked().pop().expect("a request");
    assert_eq!(asked.headers("content-length"), ["12"]);
    assert!(asked.headers("transfer-encoding").is_empty());
    assert_eq!(asked.body, b"hello, world");
}

#[test]
fn a_chunked_body_longer_than_the_spool_is_413_and_reaches_no_worker() {
    let (front, app, _directory) = single(&[], |asked, stream| reply(stream, &asked.line));
    let chunk = vec![b'x'; 256 * 1024];
    let mut client = front.client();
    client.send(chunked("/v2/fits", &[chunk.as_slice(); 4])).expect("sent");
    assert_eq!(client.answer("POST").expect("an answer").status, 200);
    let mut client = front.client();
    client.send(chunked("/v2/long", &[chunk.as_slice(), &chunk, &chunk, &chunk, b"x"])).expect("sent");
    assert_eq!(client.answer("POST").expect("an answer").status, 413);
    assert_eq!(app.asked().iter().map(|asked| asked.line.as_str()).collect::<Vec<_>>(), ["POST /v2/fits"]);
}

#[test]
fn worker_chunked_refuse_is_411_and_pass_passes_the_chunks() {
    let (front, app, _directory) = single(&["worker_chunked = refuse"], |asked, stream| reply(stream, &asked.line));
    let mut client = front.client();
    client.send(chunked("/v2/x", &[b"hello"])).expect("sent");
    assert_eq!(client.answer("POST").expect("an answer").status, 411);
    assert!(app.asked().is_empty());
    front.edit_conf(|text| text.replace("worker_chunked = refuse", "worker_chunked = pass"));
    eventually("the new rule", || (front.generation() == 2).then_some(()));
    let mut client = front.client();
    client.send(chunked("/v2/x", &[b"hello"])).expect("sent");
    assert_eq!(client.answer("POST").expect("an answer").status, 200);
    let asked = app.asked().pop().expect("a request");
    assert_eq!(asked.headers("transfer-encoding"), ["chunked"]);
    assert!(asked.headers("content-length").is_empty());
    assert_eq!(asked.body, b"5\r\nhello\r\n0\r\n\r\n");
}

/// What a bad worker sends, and whether it closes behind it.
const BAD: &[(&str, &str, bool)] = &[
    (
        "both-framings",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nevil",
        false,
    ),
    ("two-lengths", "Content-Length: 4\r\nContent-Length: 40\r\n\r\nevil", false),
    ("no-number", "Content-Length: 0x4\r\n\r\nevil", false),
    ("unknown-coding", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false),
    ("bad-chunk", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nevil\r\n0\r\n\r\n", false),
    ("long-chunk", "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n", false),
    ("cut-chunk", "Transfer-Encoding: chunked\r\n\r\n40\r\nevil", true),
    ("cut-body", "Content-Length: 100\r\n\r\nevil", true),
    ("cut-head", "Content-Le", true),
    (
        "long-body-behind-chunks",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        false,
    ),
    ("long-body", "Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", false),
];

fn misbehave(asked: &Asked, stream: &mut UnixStream) -> bool {
    let Some((_, answer, closes)) = BAD.iter().find(|(name, ..)| asked.line.ends_with(name)) else {
        return reply(stream, &asked.line);
    };
    let head = "HTTP/1.1 200 OK\r\nX-Bad: yes\r\n";
    stream.write_all(format!("{head}{answer}").as_bytes()).is_ok() && !closes
}

#[test]
fn no_answer_of_a_bad_worker_becomes_part_of_the_next_one() {
    let (front, _app, _directory) = single(&[], misbehave);
    for method in ["GET", "POST"] {
        for (name, ..) in BAD {
            let mut client = front.client();
            assert_eq!(client.get("/v2/before", &[]).expect("an answer").text(), "GET /v2/before");
            // An answer that begins well and goes wrong can only be cut off, where everybody sees it.
            let answered = client.request(method, &format!("/v2/{name}"), &[], b"");
            let stays = match &answered {
                Ok(answer) if name.starts_with("long-body") => {
                    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{method} {name}");
                    !answer.closes()
                }
                Ok(answer) => {
                    assert_eq!(answer.status, 502, "{method} {name}: {}", answer.text());
                    !answer.closes()
                }
                Err(_) => false,
            };
            let mut client = if stays { client } else { front.client() };
            for n in 0..3 {
                let answer = client.get(&format!("/v2/after/{n}"), &[]).expect("an answer");
                assert_eq!(answer.text(), format!("GET /v2/after/{n}"), "after {method} {name}");
            }
        }
    }
}

#[test]
fn bytes_that_a_worker_sends_unasked_are_no_answer_to_the_next_request() {
    let (front, _app, _directory) = single(&[], |asked, stream| {
        let goes_on = reply(stream, &asked.line);
        if asked.line.ends_with("late") {
            // Behind an answer that is complete, when the connection is idle.
            std::thread::sleep(Duration::from_millis(100));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        }
        goes_on
    });
    let mut client = front.client();
    for method in ["GET", "POST"] {
        assert_eq!(client.get("/v2/late", &[]).expect("an answer").text(), "GET /v2/late");
        std::thread::sleep(Duration::from_millis(200));
        let answer = client.request(method, "/v2/next", &[], b"").expect("an answer");
        assert_eq!(answer.text(), format!("{method} /v2/next"));
    }
}

#[test]
fn a_worker_that_closes_kept_connections_costs_no_request() {
    let (front, app, _directory) = single(&[], |asked, stream| {
        reply(stream, &asked.line);
        // Without a word in the answer.
        stream.shutdown(Shutdown::Both).is_err()
    });
    let mut client = front.client();
    for _ in 0..20 {
        assert_eq!(client.request("POST", "/v2/x", &[], b"body").expect("an answer").status, 200);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(app.asked().len(), 20);
}
