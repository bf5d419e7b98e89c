//! Clients that go away before they have their answer, and workers that go on all the same.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::chaos::orders::Orders;
use crate::support::{Answer, Client, Front, Layout, eventually, process};

const COMPUTE: (&str, &str) = ("api", "osapi_compute");

fn in_flight(front: &Front) -> f64 {
    front.metric("pasteway_worker_in_flight", &[COMPUTE])
}

fn gone(front: &Front) -> f64 {
    front.metric("pasteway_requests_total", &[COMPUTE, ("code", "499")])
}

fn exits(front: &Front, reason: &str) -> f64 {
    front.metric("pasteway_worker_exits_total", &[COMPUTE, ("reason", reason)])
}

/// Asks, and goes away when a worker has the request.
#[track_caller]
fn abandon(front: &Front, request: &str) {
    let (before, counted) = (in_flight(front), gone(front));
    let mut client = front.client();
    client.send(request).expect("sent");
    eventually("a worker is chosen", || (in_flight(front) > before).then_some(()));
    // What has not gone to the worker as a whole is dropped with its client, and nothing tells when it has.
    sleep(Duration::from_millis(200));
    drop(client);
    eventually("its client is known to be gone", || (gone(front) == counted + 1.0).then_some(()));
}

fn get(query: &str) -> String {
    format!("GET /v2/x?{query} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn order(path: &str) -> String {
    format!("POST /v2/orders/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\na server")
}

/// The same by a client that waits.
fn ordered(front: &Front, path: &str) -> std::thread::JoinHandle<std::io::Result<Answer>> {
    let (address, request) = (front.address("osapi_compute"), order(path));
    std::thread::spawn(move || {
        let mut client = Client::connect(address)?;
        client.send(request)?;
        client.answer("POST")
    })
}

#[test]
fn a_hang_is_found_although_its_client_had_less_patience() {
    let front = Front::start(&Layout::bare().pasteway("worker_request_timeout = 1"));
    abandon(&front, &get("pasteway.delay=60000"));
    assert_eq!((in_flight(&front), exits(&front, "hang")), (1.0, 0.0));
    eventually("the worker's end", || (exits(&front, "hang") == 1.0).then_some(()));
    front.logged("it said nothing for worker_request_timeout");
    eventually("another in its place", || (front.get("/v2/x").status == 200).then_some(()));
    assert_eq!((in_flight(&front), gone(&front), exits(&front, "hang")), (0.0, 1.0, 1.0));
    assert_eq!(front.metric("pasteway_upstream_errors_total", &[COMPUTE, ("reason", "timeout")]), 1.0);
}

#[test]
fn a_worker_is_busy_until_it_answers_whether_its_client_waits_or_not() {
    let layout = Layout::bare().default("osapi_compute_workers = 2").pasteway("worker_threads = 1");
    let front = Front::start(&layout);
    abandon(&front, &get("pasteway.delay=4000"));
    let holder = eventually("its generation says so", || {
        front.admin("/generations").json()[0]["holders"].get(0).filter(|it| it["client_gone"] == true).cloned()
    });
    assert_eq!(holder["method"], "GET");
    assert_eq!(front.admin("/generations").json()[0]["in_flight"], 1);
    assert_eq!(front.metric("pasteway_connections", &[COMPUTE]), 0.0);
    let pid = || front.get("/v2/x").json()["pid"].as_u64().expect("a pid");
    let other = pid();
    assert!((0..10).all(|_| pid() == other), "the one that is free answers");
    assert_eq!(in_flight(&front), 1.0);
    eventually("it has answered", || (in_flight(&front) == 0.0).then_some(()));
    eventually("it answers others", || (pid() != other).then_some(()));
    let generation = &front.admin("/generations").json()[0];
    assert_eq!((&generation["in_flight"], gone(&front)), (&0.into(), 1.0), "{generation}");
}

#[test]
fn a_request_that_is_not_whole_ends_with_its_client() {
    let front = Front::start(&Layout::bare());
    let mut client = front.client();
    client.send("POST /v2/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nten bytes.").expect("sent");
    eventually("a worker has it", || (in_flight(&front) == 1.0).then_some(()));
    drop(client);
    eventually("the worker is free", || (in_flight(&front) == 0.0).then_some(()));
}

#[test]
fn what_the_front_gave_up_is_not_done_by_the_next_worker_and_who_waits_goes_over_to_it() {
    let orders = Orders::new();
    let layout = orders.python().default("osapi_compute_workers = 1").pasteway("worker_request_timeout = 2");
    let front = Front::start(&layout);
    process::signal(front.workers()[0], Signal::STOP);
    let status = |asked: std::thread::JoinHandle<std::io::Result<Answer>>| {
        asked.join().expect("no panic").expect("an answer").status
    };
    // Its body comes in two pieces, which nobody keeps.
    let mut refused = front.client();
    let order_of = order("refused");
    let (begin, end) = order_of.split_at(order_of.len() - 3);
    refused.send(begin).expect("sent");
    eventually("it waits to be accepted", || (in_flight(&front) == 1.0).then_some(()));
    refused.send(end).expect("sent");
    abandon(&front, &order("abandoned"));
    let waiting = [ordered(&front, "first"), ordered(&front, "second")];
    assert_eq!(refused.answer("POST").expect("an answer").status, 502);
    assert_eq!((waiting.map(status), exits(&front, "hang")), ([200; 2], 1.0));
    assert_eq!(status(ordered(&front, "third")), 200);
    let mut done = orders.done();
    done.sort_unstable();
    assert_eq!(done, ["first", "second", "third"]);
    eventually("nothing is left of the others", || (in_flight(&front) == 0.0).then_some(()));
}

#[test]
fn a_stop_waits_for_what_changes_something_whether_its_client_waits_or_not() {
    let orders = Orders::new();
    let layout = orders.python().group("[DEFAULT]\ngraceful_shutdown_timeout = 1");
    let mut front = Front::start(&layout);
    abandon(&front, &order("late?before=4"));
    front.signal(Signal::TERM);
    assert_eq!(front.exit().code(), Some(0));
    assert_eq!(orders.done(), ["late"]);
}

#[test]
fn a_worker_that_is_replaced_finishes_what_changes_something_whether_its_client_waits_or_not() {
    let orders = Orders::new();
    let front = Front::start(&orders.python().pasteway("worker_stop_timeout = 1"));
    let before = front.workers();
    abandon(&front, &order("late?before=4"));
    assert_eq!(front.order("/workers/osapi_compute/restart").0, 200);
    assert!(orders.done().is_empty(), "too slow a machine to tell anything");
    eventually("the old ones go", || front.workers().iter().all(|pid| !before.contains(pid)).then_some(()));
    assert_eq!(orders.done(), ["late"]);
    assert_eq!(exits(&front, "asked"), 3.0);
}
