//! Where the front listens, what moves while it runs, and whom it believes about who its client is.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use crate::support::{Answer, Client, Front, Layout, eventually};

/// osapi_compute and metadata, each with one app.
const TWO: &str = "\
[composite:osapi_compute]
use = egg:Paste#urlmap
/: app

[composite:metadata]
use = egg:Paste#urlmap
/: app

[app:app]
paste.app_factory = somewhere.else:app_factory
";

/// A port that is free on all addresses.
#[track_caller]
fn free_port() -> u16 {
    TcpListener::bind("0.0.0.0:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[track_caller]
fn ask(address: SocketAddr) -> Answer {
    Client::connect(address).and_then(|mut client| client.get("/v2/x", &[])).expect("an answer")
}

/// Reloads and wants the change to be in force.
#[track_caller]
fn applied(front: &Front, change: impl FnOnce(String) -> String) {
    front.edit_conf(change);
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
    eventually("what the old generation listened on is closed", || {
        let generations = front.admin("/generations").json();
        let all = generations.as_array().expect("a list");
        (!all.iter().any(|generation| generation["state"] == "draining")).then_some(())
    });
}

#[test]
fn two_apis_swap_their_ports_in_one_reload() {
    let (a, b) = (free_port(), free_port());
    let layout = Layout::compute(TWO)
        .apis(&["osapi_compute", "metadata"])
        .default(&format!("osapi_compute_listen_port = {a}"))
        .default(&format!("metadata_listen_port = {b}"))
        .pasteway("watch = false");
    let front = Front::start(&layout);
    let mut kept = Client::connect(local(a)).expect("a connection");
    assert_eq!(kept.get("/x", &[]).expect("an answer").json()["api"], "osapi_compute");
    for swapped in [true, false, true] {
        applied(&front, |text| {
            let text = text.replace(&format!("_listen_port = {a}\n"), "_listen_port = A\n");
            let text = text.replace(&format!("_listen_port = {b}\n"), &format!("_listen_port = {a}\n"));
            text.replace("_listen_port = A\n", &format!("_listen_port = {b}\n"))
        });
        let (at_a, at_b) = if swapped { ("metadata", "osapi_compute") } else { ("osapi_compute", "metadata") };
        assert_eq!(ask(local(a)).json()["api"], at_a);
        assert_eq!(ask(local(b)).json()["api"], at_b);
        let answer = kept.get("/x", &[]).expect("the connection stays");
        assert_eq!(answer.json()["api"], at_a);
    }
}

#[test]
fn an_api_moves_between_all_addresses_and_one_of_them_on_the_same_port() {
    let port = free_port();
    let layout = Layout::bare()
        .default("osapi_compute_listen = 0.0.0.0")
        .default(&format!("osapi_compute_listen_port = {port}"))
        .pasteway("watch = false");
    let front = Front::launch(&layout);
    assert_eq!(front.listening("osapi_compute"), ([0, 0, 0, 0], port).into());
    eventually("ready", || (front.admin("/ready").status == 200).then_some(()));
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], port));
    for _ in 0..2 {
        assert_eq!(ask(elsewhere).status, 200);
        applied(&front, |text| text.replace("osapi_compute_listen = 0.0.0.0", "osapi_compute_listen = 127.0.0.9"));
        let now = SocketAddr::from(([127, 0, 0, 9], port));
        eventually("only one address is left", || Client::connect(elsewhere).is_err().then_some(()));
        assert_eq!(ask(now).status, 200);
        applied(&front, |text| text.replace("osapi_compute_listen = 127.0.0.9", "osapi_compute_listen = 0.0.0.0"));
        assert_eq!(ask(now).status, 200);
    }
}

#[test]
fn ipv6_is_listened_on_and_logged_as_the_original_logs_it() {
    let front = Front::launch(&Layout::bare().default("osapi_compute_listen = ::1"));
    let line = front.logged("osapi_compute listening on ::1:");
    let port: u16 = line.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    eventually("ready", || (front.admin("/ready").status == 200).then_some(()));
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    assert_eq!(ask(address).json()["environ"]["REMOTE_ADDR"], "::1");
}

#[test]
fn port_0_is_read_back_and_kept_over_reloads() {
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    let address = front.address("osapi_compute");
    assert_ne!(address.port(), 0);
    assert_eq!(front.admin("/status").json()["apis"][0]["listen"], address.to_string());
    applied(&front, |text| text.replace("verbose = true", "verbose = false"));
    assert_eq!(ask(address).status, 200);
    assert_eq!(front.admin("/status").json()["apis"][0]["listen"], address.to_string());
}

#[test]
fn an_api_that_is_removed_ends_its_requests_and_closes_its_connections() {
    let layout = Layout::compute(TWO).apis(&["osapi_compute", "metadata"]).pasteway("watch = false");
    let front = Front::start(&layout);
    let metadata = front.address("metadata");
    let mut idle = Client::connect(metadata).expect("a connection");
    assert_eq!(idle.get("/x", &[]).expect("an answer").status, 200);
    let mut busy = Client::connect(metadata).expect("a connection");
    busy.send("GET /x?pasteway.delay=700&pasteway.size=100000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    eventually("the request is on a worker", || {
        (front.metric("pasteway_worker_in_flight", &[("api", "metadata")]) == 1.0).then_some(())
    });
    front.edit_conf(|text| text.replace("osapi_compute,metadata", "osapi_compute"));
    assert_eq!(front.reload("").0, 200);
    assert!(idle.is_closed().expect("closed in order"));
    let answer = busy.answer("GET").expect("the whole answer");
    assert_eq!((answer.status, answer.body.len(), answer.closes()), (200, 100_000, true));
    assert!(busy.is_closed().expect("closed in order"));
    eventually("nobody listens", || Client::connect(metadata).is_err().then_some(()));
    assert_eq!(front.client().get("/x", &[]).expect("an answer").json()["api"], "osapi_compute");
}

/// With the filter that believes proxies.
fn behind_proxy() -> Layout {
    Layout::compute(
        "[composite:osapi_compute]\nuse = egg:Paste#urlmap\n/v2: proxied\n\n\
         [pipeline:proxied]\npipeline = http_proxy_to_wsgi app\n\n\
         [filter:http_proxy_to_wsgi]\n\
         paste.filter_factory = oslo_middleware.http_proxy_to_wsgi:HTTPProxyToWSGI.factory\n\n\
         [app:app]\npaste.app_factory = somewhere.else:app_factory\n",
    )
    .group("[oslo_middleware]\nenable_proxy_headers_parsing = true")
}

/// REMOTE_ADDR and scheme, as the app sees them of a request that a proxy has passed on.
#[track_caller]
fn seen(front: &Front) -> (String, String) {
    let headers = [("X-Forwarded-For", "192.0.2.7"), ("X-Forwarded-Proto", "https")];
    let answer = front.client().get("/v2/x", &headers).expect("an answer");
    let environ = &answer.json()["environ"];
    let text = |name: &str| environ[name].as_str().expect("text").to_owned();
    (text("REMOTE_ADDR"), text("wsgi.url_scheme"))
}

#[test]
fn headers_of_every_proxy_are_believed_with_a_warning_as_long_as_nobody_says_whose() {
    let front = Front::start(&behind_proxy());
    let line =
        front.logged("enable_proxy_headers_parsing makes the front believe the forwarding headers of every client");
    assert!(line.contains(" WARNING "), "{line}");
    assert_eq!(seen(&front), ("192.0.2.7".to_owned(), "https".to_owned()));
}

#[test]
fn only_trusted_proxies_are_believed() {
    let front = Front::start(&behind_proxy().pasteway("trusted_proxies = 10.0.0.0/8").pasteway("watch = false"));
    assert_eq!(seen(&front), ("127.0.0.1".to_owned(), "http".to_owned()));
    assert!(!front.log().iter().any(|line| line.contains("believe the forwarding headers")));
    applied(&front, |text| text.replace("10.0.0.0/8", "10.0.0.0/8,127.0.0.0/8"));
    assert_eq!(seen(&front), ("192.0.2.7".to_owned(), "https".to_owned()));
}

#[test]
fn forwarding_headers_do_not_pass_where_nobody_reads_them() {
    let front = Front::start(&Layout::bare());
    assert_eq!(seen(&front), ("127.0.0.1".to_owned(), "http".to_owned()));
    let headers = [("X-Forwarded-For", "192.0.2.7"), ("Forwarded", "for=192.0.2.7")];
    let answer = front.client().get("/v2/x", &headers).expect("an answer");
    assert!(!answer.text().contains("192.0.2.7"), "{}", answer.text());
}
