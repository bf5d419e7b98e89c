//! Upgraded connections: who may have one, what it holds, and what ends it.

use std::time::Duration;

use crate::support::{Front, Layout, Save, Tunnel, eventually};

const COMPUTE: &[(&str, &str)] = &[("api", "osapi_compute")];

fn ended(front: &Front, reason: &str) -> f64 {
    front.metric("pasteway_tunnels_ended_total", &[("api", "osapi_compute"), ("reason", reason)])
}

fn in_flight(front: &Front) -> f64 {
    front.metric("pasteway_worker_in_flight", COMPUTE)
}

#[test]
fn an_upgraded_connection_lives_on_over_reloads_and_holds_its_worker() {
    let front = Front::start(&Layout::bare());
    let mut tunnel = Tunnel::open(&front);
    assert_eq!(in_flight(&front), 1.0);
    // New workers: the old one stays for the tunnel.
    front.edit(Save::Rename, |text| text.replace("[app:app]", "[app:app]\nnew = option"));
    eventually("the next generation", || (front.generation() == 2).then_some(()));
    assert_eq!(front.client().get("/v2/x", &[]).expect("an answer").json()["generation"], 2);
    tunnel.echoes();
    // Half closed: what is on its way back still comes.
    tunnel.finish("the last");
    assert_eq!(tunnel.rest(), "the last");
    eventually("the old worker is free, and goes", || (front.workers().len() == 1).then_some(()));
    assert_eq!(ended(&front, "closed"), 1.0);
}

#[test]
fn a_tunnel_in_which_nobody_speaks_for_client_socket_timeout_is_closed() {
    let front = Front::start(&Layout::bare().default("client_socket_timeout = 900"));
    let mut tunnel = Tunnel::open(&front);
    front.edit_conf(|text| text.replace("client_socket_timeout = 900", "client_socket_timeout = 1"));
    eventually("the next generation", || (front.generation() == 2).then_some(()));
    for _ in 0..5 {
        tunnel.echoes();
        std::thread::sleep(Duration::from_millis(400));
    }
    tunnel.echoes();
    assert_eq!(ended(&front, "timeout"), 0.0);
    let mut late = Tunnel::open(&front);
    for silent in [&mut tunnel, &mut late] {
        assert_eq!(silent.rest(), "");
    }
    eventually("the worker is free", || (in_flight(&front) == 0.0).then_some(()));
    assert_eq!((ended(&front, "timeout"), ended(&front, "closed")), (2.0, 0.0));
}

#[test]
fn a_tunnel_that_outlasts_the_drain_of_its_workers_is_ended() {
    let front = Front::start(&Layout::bare().pasteway("drain_timeout = 1"));
    let mut tunnel = Tunnel::open(&front);
    front.edit(Save::Rename, |text| text.replace("[app:app]", "[app:app]\nnew = option"));
    assert_eq!(tunnel.rest(), "");
    eventually("its end is counted", || (ended(&front, "asked") == 1.0).then_some(()));
    front.logged(&format!("its requests are ended: GET of osapi_compute from {}", tunnel.peer()));
}

#[test]
fn a_tunnel_is_ended_when_its_worker_has_waited_long_enough_for_it() {
    let layout = Layout::bare().pasteway("drain_timeout = 0").pasteway("drain_kill_timeout = 1");
    let front = Front::start(&layout.default("graceful_shutdown_timeout = 60"));
    let mut tunnel = Tunnel::open(&front);
    let before = front.workers();
    assert_eq!(front.order("/workers/osapi_compute/restart").0, 200);
    tunnel.echoes();
    assert_eq!(tunnel.rest(), "");
    eventually("its end is counted", || (ended(&front, "asked") == 1.0).then_some(()));
    let line = front.logged(&format!("the upgraded connection from {} is ended", tunnel.peer()));
    assert!(line.contains("osapi_compute/0"), "{line}");
    eventually("the worker is gone", || front.workers().iter().all(|pid| !before.contains(pid)).then_some(()));
}
