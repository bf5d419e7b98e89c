//! Reloads: every way to save a file, every class of change, broken files, and the storm.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::front::executable;
use crate::support::traffic::{Style, Traffic};
use crate::support::{Client, Front, Layout, Save, eventually, process};

/// `Layout::bare` with one more mount, `/gN`.
fn with_mount(number: usize) -> String {
    format!(
        "[composite:osapi_compute]\nuse = egg:Paste#urlmap\n/v2: app\n/g{number}: app\n\n\
         [app:app]\npaste.app_factory = somewhere.else:app_factory\n"
    )
}

const REJECTED: &[(&str, &str)] = &[("outcome", "rejected")];

#[track_caller]
fn in_effect(front: &Front, number: usize) {
    let mut client = front.client();
    eventually(&format!("/g{number} is mounted"), || {
        (client.get(&format!("/g{number}/x"), &[]).expect("an answer").status == 200).then_some(())
    });
}

#[track_caller]
fn rejections(front: &Front) -> f64 {
    front.metric("pasteway_config_reloads_total", REJECTED)
}

/// The ways in which the file is always there: for how long the others let it be missing is the machine's to say.
const PRESENT: [Save; 5] = [Save::Rename, Save::InPlace, Save::InPieces, Save::Fsync, Save::Symlink];

/// Breaks the paste file in one of the ways in which files are broken.
fn break_file(front: &Front, number: usize) {
    let save = PRESENT[number / 5 % PRESENT.len()];
    match number % 5 {
        0 => save.save(&front.paste(), "[composite:osapi_compute\nuse = ").expect("saved"),
        1 => save.save(&front.paste(), "").expect("saved"),
        2 => front.edit(save, |text| text.replace("/v2: app", "/v2: ap")),
        3 => save.save(&front.paste(), "[app:other]\npaste.app_factory = a:b\n").expect("saved"),
        _ => std::fs::remove_file(front.paste()).expect("the file was there"),
    }
}

#[test]
fn in_a_storm_of_reloads_no_request_fails_and_no_connection_is_closed() {
    let front = Front::start(&Layout::bare().default("osapi_compute_workers = 2").pasteway("access_log = false"));
    let kept = Style { method: "GET", fresh: false };
    let styles = [kept, kept, Style { method: "POST", ..kept }, Style { fresh: true, ..kept }];
    let traffic = Traffic::start(front.address("osapi_compute"), &styles);
    let (mut reloads, mut broken) = (0, 0);
    while reloads < 200 || traffic.served() < 100_000 {
        reloads += 1;
        PRESENT[reloads % PRESENT.len()].save(&front.paste(), &with_mount(reloads)).expect("saved");
        in_effect(&front, reloads);
        assert_eq!(front.get(&format!("/g{}/x", reloads - 1)).status, 404, "the mount before is gone");
        if reloads % 4 == 0 {
            let before = rejections(&front);
            break_file(&front, broken);
            broken += 1;
            eventually("a verdict on the broken file", || (rejections(&front) > before).then_some(()));
            assert_eq!(front.get(&format!("/g{reloads}/x")).status, 200, "the last good file serves on");
        }
    }
    let report = traffic.stop();
    assert_eq!(report.failed, Vec::<String>::new());
    assert_eq!(report.closed, 0);
    assert!(report.served >= 100_000);
    // Half a file was never read, or there would be more rejections than broken files.
    assert_eq!(rejections(&front), f64::from(broken as u32));
    assert_eq!(front.generation(), 1 + reloads as u64);
    println!("{} requests, {reloads} reloads, {broken} broken files between them", report.served);
}

#[test]
fn every_way_to_save_a_file_is_seen() {
    let front = Front::start(&Layout::bare());
    for (number, save) in (1..).zip([Save::OF_FILES, Save::OF_FILES].concat()) {
        save.save(&front.paste(), &with_mount(number)).expect("saved");
        in_effect(&front, number);
    }
}

#[test]
fn a_broken_file_changes_nothing_and_is_reported_with_its_place() {
    let front = Front::start(&Layout::bare());
    front.edit(Save::Rename, |text| text.replace("/v2: app", "/v2: ap"));
    eventually("the verdict", || (rejections(&front) >= 1.0).then_some(()));
    assert_eq!(front.get("/v2/t1/servers").status, 200);
    assert_eq!(front.generation(), 1);
    assert_eq!(front.admin("/ready").status, 200);
    assert_eq!(front.metric("pasteway_config_file_differs", &[]), 1.0);
    assert_eq!(front.metric("pasteway_config_last_reload_successful", &[]), 0.0);
    let status = front.admin("/status").json();
    assert_eq!(status["config_file_differs"], true);
    let finding = &status["last_reload"]["diagnostics"][0];
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["line"], 3, "{finding}");
    assert!(finding["file"].as_str().expect("a file").ends_with("api-paste.ini"));
    assert!(finding["help"].as_str().expect("help").contains("app"), "{finding}");
    front.edit(Save::Rename, |text| text.replace("/v2: ap\n", "/v2: app\n"));
    eventually("the file is whole again", || (front.metric("pasteway_config_file_differs", &[]) == 0.0).then_some(()));
}

#[test]
fn an_emptied_nova_conf_is_no_configuration_even_where_another_file_says_enough() {
    let layout = Layout::bare().pasteway("watch = false");
    let directory = tempfile::tempdir().expect("a directory");
    let (nova, aside) = (directory.path().join("nova.conf"), directory.path().join("pasteway.conf"));
    std::fs::write(&nova, "[DEFAULT]\nmy_ip = 10.0.0.1\n").expect("nova.conf");
    std::fs::write(&aside, layout.conf(directory.path())).expect("pasteway.conf");
    std::fs::write(directory.path().join("api-paste.ini"), layout.paste()).expect("api-paste.ini");
    let mut command = Command::new(executable());
    command.arg("serve").arg("--config-file").arg(&nova).arg("--config-file").arg(&aside);
    let front = Front::spawn(directory, command);
    front.listening("osapi_compute");
    front.logged("administration on");
    Save::Rename.save(&nova, "").expect("saved");
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
    assert_eq!(verdict["diagnostics"][0]["message"], "the file is empty, and was not before");
    Save::Rename.save(&nova, "# nothing\n").expect("saved");
    assert_eq!(front.reload("").1["outcome"], "applied", "what is meant can be said");
}

#[test]
fn a_file_that_is_half_written_when_a_waiting_reload_gets_its_turn_is_not_taken() {
    let front = Front::start(&Layout::bare().pasteway("worker_start_timeout = 2"));
    let good = std::fs::read_to_string(front.conf()).expect("nova.conf");
    let compiled = || front.metric("pasteway_config_reload_duration_seconds_count", &[("phase", "compile")]);
    let before = compiled();
    // A reload that takes its time, since its workers never come; another edit is reported meanwhile.
    let nobody = "worker_kind_osapi_compute = external\nworker_sockets_osapi_compute = /nonexistent/worker.sock\n";
    front.edit_conf(|text| text + nobody);
    eventually("the reload has begun", || (compiled() > before).then_some(()));
    front.edit_conf(|_| good.clone() + "queue_size = 1001\n");
    std::thread::sleep(Duration::from_millis(300));
    let mut file = File::create(front.conf()).expect("the file is emptied");
    let (half, rest) = good.split_at(good.len() / 2);
    file.write_all(half.as_bytes()).expect("a half");
    eventually("the first verdict", || (rejections(&front) >= 1.0).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((rejections(&front), front.generation()), (1.0, 1), "the half was taken for a whole");
    file.write_all((rest.to_owned() + "queue_size = 1002\n").as_bytes()).expect("the rest");
    drop(file);
    eventually("the whole file is in force", || (front.generation() == 2).then_some(()));
    assert_eq!(rejections(&front), 1.0);
}

#[test]
fn after_a_rejected_edit_a_killed_worker_comes_back_and_serves() {
    let front = Front::start(&Layout::bare());
    Save::InPieces.save(&front.paste(), "nonsense").expect("saved");
    eventually("the verdict", || (rejections(&front) >= 1.0).then_some(()));
    let victim = *front.workers().first().expect("a worker");
    process::signal(victim, Signal::KILL);
    let answer = front.get("/v2/t1/servers");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["generation"], 1);
    assert_ne!(answer.json()["pid"].as_u64(), Some(u64::from(victim)));
}

#[test]
fn the_admin_api_and_sighup_reload_too() {
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (200, Some("unchanged")));
    Save::Rename.save(&front.paste(), &with_mount(1)).expect("saved");
    let (status, verdict) = front.reload("?dry_run=true");
    assert_eq!((status, verdict["dry_run"].as_bool()), (200, Some(true)), "{verdict}");
    assert_eq!(front.get("/g1/x").status, 404, "a dry run changes nothing");
    assert_eq!(front.metric("pasteway_config_file_differs", &[]), 1.0, "and tells that something would change");
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
    assert_eq!((verdict["generation"].as_u64(), verdict["previous"].as_u64()), (Some(2), Some(1)));
    assert!(!verdict["changes"].as_array().expect("a list").is_empty());
    assert_eq!(front.metric("pasteway_config_file_differs", &[]), 0.0);
    assert_eq!(front.get("/g1/x").status, 200);
    Save::Rename.save(&front.paste(), &with_mount(2)).expect("saved");
    front.signal(Signal::HUP);
    in_effect(&front, 2);
    Save::Rename.save(&front.paste(), "nonsense").expect("saved");
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
    assert_eq!(verdict["generation"], 3);
    assert!(!verdict["diagnostics"].as_array().expect("a list").is_empty());
    in_effect(&front, 2);
}

#[test]
fn a_request_under_way_ends_in_the_generation_in_which_it_began() {
    let front = Front::start(&Layout::bare());
    Save::Rename.save(&front.paste(), &with_mount(1)).expect("saved");
    in_effect(&front, 1);
    let mut client = front.client();
    let slow = std::thread::spawn(move || {
        let answer = client.get("/g1/slow?pasteway.delay=1500", &[]);
        (answer, client)
    });
    eventually("the slow request is on the worker", || {
        (front.metric("pasteway_worker_in_flight", &[("api", "osapi_compute")]) >= 1.0).then_some(())
    });
    Save::Rename.save(&front.paste(), &with_mount(2)).expect("saved");
    in_effect(&front, 2);
    assert_eq!(front.get("/g1/x").status, 404);
    assert!(!slow.is_finished(), "the reload did not wait for it");
    let (answer, mut client) = slow.join().expect("no panic");
    assert_eq!(answer.expect("an answer").status, 200);
    let next = client.get("/g2/x", &[]).expect("the connection is still good");
    assert_eq!(next.status, 200);
}

#[test]
fn workers_are_added_and_taken_away() {
    let front = Front::start(&Layout::bare().default("osapi_compute_workers = 1"));
    let traffic = Traffic::start(front.address("osapi_compute"), &[Style { method: "GET", fresh: false }]);
    for count in [3, 1] {
        front.edit_conf(|text| replace_line(&text, "osapi_compute_workers", &count.to_string()));
        eventually("the wanted workers", || (front.workers().len() == count).then_some(()));
    }
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::new(), 0));
}

#[test]
fn the_auth_strategy_can_be_changed() {
    let front = Front::start(&Layout::havana());
    let status = || front.client().get("/v2/t1/servers", &[]).expect("an answer").status;
    assert_eq!(status(), 204);
    front.edit_conf(|text| replace_line(&text, "auth_strategy", "keystone"));
    eventually("the keystone pipeline", || (status() == 401).then_some(()));
}

#[test]
fn a_filter_option_can_be_changed_on_a_kept_connection() {
    let front = Front::start(&Layout::havana().default("osapi_max_request_body_size = 1000"));
    let mut client = front.client();
    let mut post = |size: usize| {
        let token = [("X-Auth-Token", "u1:t1")];
        client.request("POST", "/v2/t1/servers", &token, &vec![b'x'; size]).expect("an answer").status
    };
    assert_eq!(post(900), 200);
    front.edit_conf(|text| replace_line(&text, "osapi_max_request_body_size", "2000"));
    eventually("the new limit", || (front.generation() == 2).then_some(()));
    assert_eq!(post(1900), 200);
}

#[test]
fn an_api_can_be_added_and_removed() {
    let front = Front::start(&Layout::havana().apis(&["osapi_compute"]));
    front.edit_conf(|text| {
        let text = text.replace("enabled_apis = osapi_compute\n", "enabled_apis = osapi_compute,metadata\n");
        text.replace("verbose = true\n", "verbose = true\nmetadata_listen = 127.0.0.1\nmetadata_listen_port = 0\n")
    });
    let address = front.listening("metadata");
    let mut client = eventually("metadata serves", || {
        let mut client = Client::connect(address).ok()?;
        (client.get("/latest", &[]).ok()?.status == 200).then_some(client)
    });
    assert_eq!(front.get("/v2/t1/servers").status, 200);
    front.edit_conf(|text| text.replace("osapi_compute,metadata", "osapi_compute"));
    refused(address);
    // What was open stays open to the end of its last request, and no longer than it must.
    let _ = client.get("/latest", &[]);
    assert_eq!(front.get("/v2/t1/servers").status, 200);
}

#[test]
fn a_port_can_be_moved() {
    let front = Front::start(&Layout::bare());
    let old = front.address("osapi_compute");
    let mut kept = front.client();
    assert_eq!(kept.get("/v2/x", &[]).expect("an answer").status, 200);
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    front.edit_conf(|text| replace_line(&text, "osapi_compute_listen_port", &free.port().to_string()));
    eventually("the new port serves", || {
        Client::connect(free).ok().and_then(|mut client| client.get("/v2/x", &[]).ok()).filter(|a| a.status == 200)
    });
    refused(old);
    // Who is connected already is served on, from one move to the next.
    assert_eq!(kept.get("/v2/x", &[]).expect("an answer").status, 200);
    front.edit(Save::Rename, |_| with_mount(1));
    eventually("the next generation", || (front.generation() == 3).then_some(()));
    assert_eq!(kept.get("/g1/x", &[]).expect("an answer").status, 200);
}

#[test]
fn a_port_that_is_taken_rejects_the_whole_reload() {
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    front.edit_conf(|text| replace_line(&text, "osapi_compute_listen_port", &port.to_string()));
    Save::Rename.save(&front.paste(), &with_mount(1)).expect("saved");
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
    assert_eq!(front.get("/g1/x").status, 404, "nothing of the change is applied");
    assert_eq!(front.get("/v2/x").status, 200);
}

#[test]
fn a_rejected_reload_listens_on_nothing() {
    let layout = Layout::havana().apis(&["osapi_compute", "metadata"]).pasteway("watch = false");
    let front = Front::start(&layout.pasteway("worker_start_timeout = 1"));
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    front.edit_conf(|text| {
        let nobody = "worker_kind_metadata = command\nworker_command_metadata = sleep 1000\n";
        replace_line(&text, "osapi_compute_listen_port", &free.to_string()) + nobody
    });
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
    front.logged("reload rejected");
    let told = front.log().iter().filter(|line| line.contains("osapi_compute listening on")).count();
    assert_eq!(told, 1, "only of the start");
}

#[test]
fn workers_that_a_rejected_reload_has_added_go_again() {
    let layout = Layout::havana().apis(&["osapi_compute", "metadata"]).default("osapi_compute_workers = 1");
    let front = Front::start(&layout.pasteway("watch = false").pasteway("worker_start_timeout = 3"));
    let before = front.workers();
    front.edit_conf(|text| {
        let nobody = "worker_kind_metadata = external\nworker_sockets_metadata = /nonexistent/worker.sock\n";
        replace_line(&text, "osapi_compute_workers", "3") + nobody
    });
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (422, Some("rejected")), "{verdict}");
    eventually("the workers from before", || (front.workers() == before).then_some(()));
    assert_eq!(front.get("/v2/t1/servers").status, 200);
}

#[test]
fn a_reload_of_the_front_does_not_wait_for_workers_that_it_does_not_touch() {
    let layout = Layout::havana().apis(&["osapi_compute", "metadata"]).pasteway("watch = false");
    let layout = layout.pasteway("worker_kind_metadata = external");
    let front = Front::launch(&layout.pasteway("worker_sockets_metadata = /nonexistent/worker.sock"));
    front.listening("metadata");
    front.edit(Save::Rename, |text| text.replace("/v3: openstack_compute_api_v3", "/v9: openstack_compute_api_v3"));
    let (status, verdict) = front.reload("");
    assert_eq!((status, verdict["outcome"].as_str()), (200, Some("applied")), "{verdict}");
}

#[test]
fn frozen_files_go_with_the_last_workers_that_read_them() {
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    let frozen = || {
        let names = std::fs::read_dir(front.own().join("generations")).expect("the directory");
        names.map(|entry| entry.expect("an entry").file_name().into_string().expect("a number")).collect::<Vec<_>>()
    };
    for number in 1..25 {
        Save::Rename.save(&front.paste(), &with_mount(number)).expect("saved");
        assert_eq!(front.reload("").0, 200);
    }
    assert!(frozen().contains(&"1".to_owned()), "the workers of generation 1 serve on: {:?}", frozen());
    Save::Rename.save(&front.paste(), &(with_mount(25) + "new = option\n")).expect("saved");
    assert_eq!(front.reload("").0, 200);
    eventually("only the live generation is left", || (frozen() == ["26"]).then_some(()));
}

#[test]
fn what_cannot_be_changed_while_running_rejects_the_whole_reload() {
    let front = Front::start(&Layout::bare().pasteway("watch = false"));
    front.edit_conf(|text| replace_line(&text, "front_threads", "1"));
    let (status, verdict) = front.reload("");
    assert_eq!(status, 422, "{verdict}");
    assert!(verdict["diagnostics"].to_string().contains("front_threads"), "{verdict}");
}

#[track_caller]
fn refused(address: SocketAddr) {
    eventually(&format!("{address} refuses connections"), || Client::connect(address).is_err().then_some(()));
}

/// The text with another value for an option that it holds.
#[track_caller]
fn replace_line(text: &str, option: &str, value: &str) -> String {
    let start = format!("{option} =");
    assert!(text.lines().any(|line| line.starts_with(&start)), "{option} is not in the file");
    let change = |line: &str| if line.starts_with(&start) { format!("{start} {value}\n") } else { format!("{line}\n") };
    text.lines().map(change).collect()
}
