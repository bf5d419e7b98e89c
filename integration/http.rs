//! HTTP/1.1 between client and worker: bodies, framing, header fields, limits, bad input.

use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Answer, Client, Front, Layout, eventually};

const HOST: &str = "Host: 127.0.0.1:8774\r\n";

/// Bytes in which every position matters.
fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n * 31 + n / 251) as u8).collect()
}

fn sha256(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The values of a header that reached the worker.
#[track_caller]
fn received(answer: &Answer, name: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let picture = answer.json();
    let pairs = picture["headers"].as_array().expect("a list of pairs").clone();
    let fits = |pair: &&Value| pair[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name));
    pairs.iter().filter(fits).map(|pair| pair[1].as_str().expect("text").to_owned()).collect()
}

/// Sends bytes on a connection of its own and reads one answer.
#[track_caller]
fn exchange(front: &Front, request: impl AsRef<[u8]>) -> Answer {
    let mut client = front.client();
    client.send(request).and_then(|()| client.answer("GET")).expect("an answer")
}

/// Everything that the front says until it closes the connection.
#[track_caller]
fn said_until_closed(client: &mut Client) -> String {
    String::from_utf8_lossy(&client.rest().expect("the connection is closed")).into_owned()
}

const SIZES: [usize; 9] = [1, 2, 1023, 4096, 16_384, 65_535, 65_537, 1_000_003, 5_000_000];

#[test]
fn bodies_of_all_sizes_reach_the_worker_whole() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    for size in SIZES {
        let body = bytes(size);
        let answer = client.request("POST", "/v2/x", &[], &body).expect("an answer");
        assert_eq!(answer.json()["body"]["length"], size);
        assert_eq!(answer.json()["body"]["sha256"], sha256(&body));
        assert_eq!(received(&answer, "content-length"), [size.to_string()]);
        assert!(received(&answer, "transfer-encoding").is_empty());
    }
}

#[test]
fn bodies_of_all_sizes_come_back_whole() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    for size in SIZES {
        let body = bytes(size);
        for chunked in ["", "&pasteway.chunked=1"] {
            let path = format!("/v2/x?pasteway.echo=1{chunked}");
            let answer = client.request("POST", &path, &[], &body).expect("an answer");
            assert_eq!(answer.status, 200);
            assert_eq!(sha256(&answer.body), sha256(&body), "{size}{chunked}");
        }
    }
}

#[test]
fn long_answers_without_a_request_body_are_whole_with_a_length_and_chunked() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    for size in SIZES {
        let answer = client.get(&format!("/v2/x?pasteway.size={size}"), &[]).expect("an answer");
        assert_eq!(answer.header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(answer.body.len(), size);
        let answer = client.get(&format!("/v2/x?pasteway.size={size}&pasteway.chunked=1"), &[]).expect("an answer");
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.body.len(), size);
    }
}

#[test]
fn a_chunked_body_is_framed_anew_and_its_trailers_are_dropped() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    let body = bytes(100_000);
    let mut request =
        format!("POST /v2/x HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n").into_bytes();
    for chunk in body.chunks(7001) {
        request.extend(format!("{:X};ext=1\r\n", chunk.len()).bytes());
        request.extend(chunk);
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\nX-Late: trailer\r\n\r\n");
    for _ in 0..2 {
        client.send(&request).expect("sent");
        let answer = client.answer("POST").expect("an answer");
        assert_eq!(answer.json()["body"]["sha256"], sha256(&body));
        let framings = received(&answer, "content-length").len() + received(&answer, "transfer-encoding").len();
        assert_eq!(framings, 1, "{}", answer.text());
        assert!(received(&answer, "x-late").is_empty());
    }
}

#[test]
fn a_body_is_streamed_and_not_waited_for() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    client.send(format!("POST /v2/x?pasteway.echo=1 HTTP/1.1\r\n{HOST}Content-Length: 10\r\n\r\nfirst")).expect("sent");
    eventually("the request is on the worker before its body is whole", || {
        (front.metric("pasteway_worker_in_flight", &[("api", "osapi_compute")]) >= 1.0).then_some(())
    });
    client.send("-last").expect("sent");
    assert_eq!(client.answer("POST").expect("an answer").text(), "first-last");
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop() {
    let front = Front::start(&Layout::bare());
    let headers = [
        ("Connection", "keep-alive, X-Named"),
        ("X-Named", "hop"),
        ("Keep-Alive", "timeout=5"),
        ("TE", "trailers"),
        ("Upgrade", "h2c"),
        ("Proxy-Connection", "keep-alive"),
        ("X-Kept", "end-to-end"),
    ];
    let answer = front.client().get("/v2/x", &headers).expect("an answer");
    for name in ["x-named", "keep-alive", "te", "upgrade", "proxy-connection"] {
        assert!(received(&answer, name).is_empty(), "{name}");
    }
    assert_eq!(received(&answer, "x-kept"), ["end-to-end"]);
}

#[test]
fn a_name_with_an_underscore_is_dropped() {
    let front = Front::start(&Layout::bare());
    let answer = front.client().get("/v2/x", &[("X_User_Id", "evil"), ("X-Fine", "fine")]).expect("an answer");
    assert!(!answer.text().contains("evil"), "{}", answer.text());
    assert_eq!(received(&answer, "x-fine"), ["fine"]);
}

#[test]
fn the_fronts_own_fields_cannot_be_sent_by_a_client() {
    let front = Front::start(&Layout::bare());
    let names = [
        "X-Pasteway-Script-Name",
        "x-pasteway-mount",
        "X_Pasteway_Environ",
        "x-pasteway_environ",
        "X-Pasteway-Anything",
    ];
    for name in names {
        let answer = front.client().get("/v2/x", &[(name, "evil")]).expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(!answer.text().contains("evil"), "{name}: {}", answer.text());
    }
}

#[test]
fn repeated_fields_arrive_in_order() {
    let front = Front::start(&Layout::bare());
    let answer = front.client().get("/v2/x", &[("X-Many", "1"), ("X-Other", "o"), ("X-Many", "2")]).expect("an answer");
    assert_eq!(received(&answer, "x-many").join(",").replace(' ', ""), "1,2");
}

#[test]
fn head_has_the_length_and_no_body() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    let answer = client.request("HEAD", "/v2/x?pasteway.size=1234", &[], b"").expect("an answer");
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("1234")));
    let next = client.get("/v2/next", &[]).expect("the connection is in step");
    assert_eq!(next.json()["PATH_INFO"], "/next");
}

#[test]
fn answers_without_a_body_keep_the_connection_in_step() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    for code in [204, 304, 404, 500] {
        let answer = client.get(&format!("/v2/x?pasteway.status={code}"), &[]).expect("an answer");
        assert_eq!(answer.status, code);
    }
    assert_eq!(client.get("/v2/x", &[]).expect("an answer").status, 200);
}

#[test]
fn who_asks_to_continue_is_told_to() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    client
        .send(format!("POST /v2/x HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"))
        .expect("sent");
    assert_eq!(client.answer("POST").expect("an interim answer").status, 100);
    client.send("hello").expect("sent");
    let answer = client.answer("POST").expect("an answer");
    assert_eq!(answer.json()["body"]["length"], 5);
    assert!(received(&answer, "expect").is_empty());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    let paths = ["first?pasteway.delay=200", "second", "third"];
    let all: String = paths.iter().map(|path| format!("GET /v2/{path} HTTP/1.1\r\n{HOST}\r\n")).collect();
    client.send(all).expect("sent");
    for path in ["/first", "/second", "/third"] {
        assert_eq!(client.answer("GET").expect("an answer").json()["PATH_INFO"], path);
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let front = Front::start(&Layout::havana());
    let mut client = front.client();
    client
        .send(format!("POST /v2/t1/x HTTP/1.1\r\n{HOST}X-Auth-Token: a\r\nContent-Length: 114689\r\n\r\n"))
        .expect("sent");
    let answer = client.answer("POST").expect("an answer");
    // The announced body was never sent, so the connection cannot be kept.
    assert_eq!((answer.status, answer.closes()), (413, true));
    assert!(client.is_closed().expect("an end"));
}

/// A front that refuses a user's second POST, and what comes on a connection behind the first.
fn refusing() -> (Front, Client) {
    let limits = "compute.limits:RateLimitingMiddleware.factory";
    let paste = Layout::havana().paste().replace(limits, &format!("{limits}\nlimits = (POST, *, .*, 1, HOUR)"));
    let front = Front::start(&Layout::compute(&paste));
    let mut client = front.client();
    assert_eq!(client.request("POST", "/v2/t1/x", &[("X-Auth-Token", "u1:t1")], b"{}").expect("an answer").status, 200);
    (front, client)
}

fn head_of_post(more: &str) -> String {
    format!("POST /v2/t1/x HTTP/1.1\r\n{HOST}X-Auth-Token: u1:t1\r\n{more}\r\n")
}

#[test]
fn a_short_body_that_nobody_wanted_does_not_end_the_connection() {
    let (_front, mut client) = refusing();
    for size in [1, 100, 65_536] {
        client.send(head_of_post(&format!("Content-Length: {size}\r\n"))).expect("sent");
        std::thread::sleep(Duration::from_millis(50));
        client.send(bytes(size)).expect("the connection is there");
        let answer = client.answer("POST").expect("an answer");
        assert_eq!((answer.status, answer.closes()), (429, false), "{size}");
    }
    let answer = client.get("/v2/t1/x", &[("X-Auth-Token", "u1:t1")]).expect("the same connection");
    assert!(received(&answer, "content-length").is_empty());
}

#[test]
fn an_answer_before_a_body_that_is_not_waited_for_says_that_the_connection_ends() {
    let (front, _) = refusing();
    // Too long; sent only if it is wanted; never sent.
    for rest in ["Content-Length: 65537\r\n", "Content-Length: 5\r\nExpect: 100-continue\r\n", "Content-Length: 5\r\n"]
    {
        let mut client = front.client();
        client.send(head_of_post(rest)).expect("sent");
        let answer = client.answer("POST").expect("an answer");
        assert_eq!((answer.status, answer.closes()), (429, true), "{rest}");
        assert!(client.is_closed().expect("an end"), "{rest}");
    }
}

#[test]
fn an_app_that_answers_before_the_body_has_come_does_not_end_the_connection() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    for n in 0..5 {
        client.send(format!("POST /v2/x?pasteway.exit=9 HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\n")).expect("sent");
        std::thread::sleep(Duration::from_millis(100));
        client.send("hello").expect("the connection is there");
        let answer = client.answer("POST").expect("an answer");
        assert_eq!((answer.status, answer.closes()), (400, false), "{n}");
    }
}

#[test]
fn a_chunked_body_that_grows_too_large_is_refused() {
    let front = Front::start(&Layout::havana());
    let mut client = front.client();
    let head = format!("POST /v2/t1/x HTTP/1.1\r\n{HOST}X-Auth-Token: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
    client.send(head).expect("sent");
    client.send(&chunk).and_then(|()| client.send(&chunk)).expect("sent");
    assert_eq!(client.answer("POST").expect("an answer").status, 413);
}

#[test]
fn a_request_line_over_the_limit_is_414_and_a_header_line_over_it_400() {
    let front = Front::start(&Layout::bare());
    let fits = format!("GET /v2/{} HTTP/1.1\r\n{HOST}\r\n", "x".repeat(8000));
    assert_eq!(exchange(&front, fits).status, 200);
    let long = format!("GET /v2/{} HTTP/1.1\r\n{HOST}\r\n", "x".repeat(9000));
    assert_eq!(exchange(&front, long).status, 414);
    let fits = format!("GET /v2/x HTTP/1.1\r\n{HOST}X-Long: {}\r\n\r\n", "x".repeat(16_000));
    assert_eq!(exchange(&front, fits).status, 200);
    let long = format!("GET /v2/x HTTP/1.1\r\n{HOST}X-Long: {}\r\n\r\n", "x".repeat(17_000));
    assert_eq!(exchange(&front, long).status, 400);
}

#[test]
fn ambiguous_framing_is_refused_and_the_connection_closed() {
    let front = Front::start(&Layout::bare());
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        let mut client = front.client();
        let behind = "0\r\n\r\nGET /v2/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        client.send(format!("POST /v2/x HTTP/1.1\r\n{HOST}{framing}\r\n{behind}")).expect("sent");
        // RFC 9112, 6.1 and 6.3: refused, or read as chunked and closed; never is what stands behind it a request.
        let all = said_until_closed(&mut client);
        let both = framing.contains("Transfer-Encoding: chunked\r\n") && framing.contains("Content-Length");
        let fine = if both { all.to_lowercase().contains("\r\nconnection: close\r\n") } else { all.contains(" 400 ") };
        assert!(fine, "{framing}: {all}");
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{framing}: {all}");
        assert!(!all.contains("smuggled"), "{framing}: {all}");
    }
    assert_eq!(front.get("/v2/x").status, 200);
}

#[test]
fn nonsense_is_a_bad_request() {
    let front = Front::start(&Layout::bare());
    for request in [
        "GET\r\n\r\n".to_owned(),
        format!("GET /v2/x HTTP/1.1\r\n{HOST}Bad Name: x\r\n\r\n"),
        format!("GET /v2/x HTTP/1.1\r\n{HOST} folded\r\n\r\n"),
    ] {
        let mut client = front.client();
        client.send(&request).expect("sent");
        let all = said_until_closed(&mut client);
        assert!(all.starts_with("HTTP/1.1 400 ") || all.starts_with("HTTP/1.0 400 "), "{request:?}: {all}");
    }
    assert_eq!(front.get("/v2/x").status, 200);
}

#[test]
fn a_bad_chunk_never_ends_as_a_whole_body() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    let head = format!("POST /v2/x HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n");
    client.send(format!("{head}5\r\nhello\r\nZZ\r\n")).expect("sent");
    let all = said_until_closed(&mut client);
    assert!(!all.contains(" 200 "), "{all}");
    assert_eq!(front.get("/v2/x").status, 200);
}

#[test]
fn a_slow_client_is_served() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    client.trickle(format!("POST /v2/slow HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello")).expect("sent");
    let answer = client.answer("POST").expect("an answer");
    assert_eq!(answer.json()["PATH_INFO"], "/slow");
    assert_eq!(answer.json()["body"]["length"], 5);
}

#[test]
fn a_client_that_goes_away_leaves_the_worker_free() {
    let front = Front::start(&Layout::bare().pasteway("worker_threads = 1"));
    for _ in 0..10 {
        let mut client = front.client();
        client.send(format!("POST /v2/x HTTP/1.1\r\n{HOST}Content-Length: 1000000\r\n\r\npart")).expect("sent");
    }
    assert_eq!(front.get("/v2/x").status, 200);
}

#[test]
fn http_1_0_and_close_end_the_connection() {
    let front = Front::start(&Layout::bare());
    for request in
        ["GET /v2/x HTTP/1.0\r\nHost: a\r\n\r\n", "GET /v2/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
    {
        let mut client: Client = front.client();
        client.send(request).expect("sent");
        assert_eq!(client.answer("GET").expect("an answer").status, 200);
        assert!(client.is_closed().expect("an end"), "{request}");
    }
}

#[test]
fn an_absolute_target_is_its_path() {
    let front = Front::start(&Layout::bare());
    let answer = exchange(&front, format!("GET http://elsewhere/v2/abs?q=1 HTTP/1.1\r\n{HOST}\r\n"));
    assert_eq!(answer.json()["PATH_INFO"], "/abs");
    assert_eq!(answer.json()["QUERY_STRING"], "q=1");
    assert_ne!(received(&answer, "host"), ["elsewhere"]);
}

#[test]
fn nobody_gets_a_tunnel() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    client
        .send(format!("CONNECT 127.0.0.1:8774 HTTP/1.1\r\n{HOST}\r\nGET /v2/smuggled HTTP/1.1\r\n{HOST}\r\n"))
        .expect("sent");
    let all = said_until_closed(&mut client);
    assert!(all.starts_with("HTTP/1.1 405 ") && !all.contains("smuggled"), "{all}");
}

#[test]
fn an_upgrade_that_the_worker_does_not_agree_to_is_an_ordinary_request() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    for protocol in ["websocket", "h2c"] {
        let headers = [("Connection", "Upgrade"), ("Upgrade", protocol)];
        let answer = client.request("GET", "/v2/x", &headers, b"").expect("an answer");
        assert_eq!(answer.status, 200);
    }
    // The worker would agree, but is not asked for HTTP/2, nor by a request with a body.
    let headers = [("Connection", "Upgrade"), ("Upgrade", "h2c")];
    assert_eq!(client.request("GET", "/v2/x?pasteway.echo=1", &headers, b"").expect("an answer").status, 200);
    let headers = [("Connection", "Upgrade"), ("Upgrade", "echo")];
    let answer = client.request("POST", "/v2/x?pasteway.echo=1", &headers, b"body").expect("an answer");
    assert_eq!((answer.status, &*answer.body), (200, b"body".as_slice()));
}
