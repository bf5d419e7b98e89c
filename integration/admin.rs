//! The admin listener: what it tells, and whom it refuses.

use std::collections::BTreeSet;

use crate::support::{Front, Layout, Save, eventually};

#[test]
fn a_running_front_is_alive_and_ready_and_tells_its_status() {
    let front = Front::start(&Layout::havana());
    assert_eq!(front.admin("/live").status, 200);
    assert_eq!(front.admin("/ready").status, 200);
    let status = front.admin("/status").json();
    assert_eq!(status["pid"], front.pid());
    assert_eq!(status["generation"], 1);
    assert_eq!(status["config_file_differs"], false);
    let apis: Vec<&str> =
        status["apis"].as_array().expect("a list").iter().map(|api| api["name"].as_str().expect("a name")).collect();
    assert_eq!(apis, ["ec2", "osapi_compute", "metadata"]);
    assert!(
        status["apis"][1]["listen"]
            .as_str()
            .expect("an address")
            .ends_with(&front.address("osapi_compute").port().to_string())
    );
}

#[test]
fn an_api_whose_worker_is_gone_for_good_is_not_ready() {
    let layout = Layout::bare().pasteway("worker_kind = external").pasteway("worker_sockets = /nonexistent.sock");
    let front = Front::launch(&layout);
    let answer = eventually("not ready", || Some(front.admin("/ready")).filter(|answer| answer.status == 503));
    assert!(answer.text().contains("osapi_compute"), "{}", answer.text());
}

#[test]
fn the_workers_are_told_by_slot() {
    let front = Front::start(&Layout::havana().default("osapi_compute_workers = 2"));
    assert_eq!(front.get("/v2/t1/servers").status, 200);
    let workers = front.admin("/workers").json();
    let workers = workers.as_array().or_else(|| workers["workers"].as_array()).expect("a list").clone();
    assert_eq!(workers.len(), 4);
    let pids: BTreeSet<u64> = workers.iter().map(|worker| worker["pid"].as_u64().expect("a pid")).collect();
    assert_eq!(pids, front.workers().into_iter().map(u64::from).collect());
    assert!(workers.iter().all(|worker| worker["state"] == "serving" && worker["kind"] == "builtin"), "{workers:?}");
    let requests: u64 =
        workers.iter().filter(|w| w["api"] == "osapi_compute").filter_map(|w| w["requests"].as_u64()).sum();
    assert!(requests >= 1);
}

#[test]
fn the_tree_names_the_filters_and_where_the_worker_begins() {
    let front = Front::start(&Layout::havana());
    let tree = front.admin("/tree").json().to_string();
    for name in ["osapi_compute", "/v1.1", "faultwrap", "sizelimit", "ratelimit", "osapi_compute_app_v2"] {
        assert!(tree.contains(name), "{name} is not in {tree}");
    }
}

#[test]
fn the_configuration_is_told_without_its_secrets() {
    let layout = Layout::havana().group("[keystone_authtoken]\nadmin_password = hunter2\npassword = hunter2");
    let front = Front::start(&layout);
    let answer = front.admin("/config");
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("auth_strategy"), "{}", answer.text());
    assert!(!answer.text().contains("hunter2"));
}

#[test]
fn generations_are_remembered_with_their_source() {
    let front = Front::start(&Layout::bare());
    Save::Rename
        .save(
            &front.paste(),
            "[composite:osapi_compute]\nuse = egg:Paste#urlmap\n/v3: app\n[app:app]\npaste.app_factory = a.b:c\n",
        )
        .expect("saved");
    eventually("generation 2", || (front.generation() == 2).then_some(()));
    let generations = front.admin("/generations").json();
    let list = generations.as_array().or_else(|| generations["generations"].as_array()).expect("a list").clone();
    let told = |number: u64| list.iter().find(|g| g["generation"] == number).expect("is remembered");
    assert_eq!((told(1)["source"].as_str(), told(2)["source"].as_str()), (Some("start"), Some("watch")));
    assert_eq!(told(2)["state"], "live");
    assert_ne!(told(1)["sha256"], told(2)["sha256"]);
    assert_eq!(told(2)["sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn only_post_changes_anything() {
    let front = Front::start(&Layout::bare());
    assert_eq!(front.admin("/reload").status, 405);
    assert_eq!(front.admin("/nowhere").status, 404);
    assert_eq!(front.metric("pasteway_config_reloads_total", &[("source", "admin")]), 0.0);
}

#[test]
fn foreign_pages_are_refused() {
    let front = Front::start(&Layout::bare());
    for fields in ["Host: evil.example", "Host: localhost\r\nOrigin: http://evil.example"] {
        let mut client = front.admin_client();
        client
            .send(format!("POST /reload HTTP/1.1\r\n{fields}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
            .expect("sent");
        let status = client.answer("POST").expect("an answer").status;
        assert!((400..500).contains(&status), "{fields}: {status}");
    }
    assert_eq!(front.metric("pasteway_config_reloads_total", &[("source", "admin")]), 0.0);
}
