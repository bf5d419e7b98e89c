//! A clock that jumps: days ahead, days back. What is measured by it is told in it; nothing else may notice.
//!
//! libfaketime gives the front and its workers a clock of their own (the package `faketime`).

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::truth;
use crate::support::chance::{chance, one, times};
use crate::support::keystone::Keystone;
use crate::support::{Front, Layout, Save, eventually, missing, process};

const HOUR: i64 = 3600;

fn library() -> Option<String> {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let library = places.map(|place| format!("{place}/faketime/libfaketimeMT.so.1"));
    library.into_iter().find(|path| Path::new(path).exists())
}

/// So far, in seconds, the front is ahead of us by what it says in its verdicts.
fn ahead(front: &Front) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    front.reload("");
    front.admin("/status").json()["last_reload"]["when"].as_f64().expect("a time") - now
}

#[test]
fn a_clock_that_jumps_ends_no_request_and_hides_no_edit() {
    let Some(library) = library() else { return missing("libfaketime (apt-get install faketime)") };
    let (mut chance, room) = (chance(), tempfile::tempdir().expect("a directory"));
    let clock = room.path().join("clock");
    std::fs::write(&clock, "+0").expect("written");
    let keystone = Keystone::start();
    let address = keystone.address();
    let layout = Layout::havana()
        .apis(&["osapi_compute"])
        .default("auth_strategy = keystone")
        .default("api_rate_limit = false")
        .default("osapi_compute_workers = 2")
        .group(&format!(
            "[keystone_authtoken]\nauth_host = {}\nauth_port = {}\nauth_protocol = http\nauth_version = v2.0\n\
             admin_user = nova\nadmin_password = s3cret\nadmin_tenant_name = service\ntoken_cache_time = 1",
            address.ip(),
            address.port()
        ))
        .env("LD_PRELOAD", &library)
        .env("FAKETIME_TIMESTAMP_FILE", &clock.display().to_string())
        .env("FAKETIME_CACHE_DURATION", "1")
        // Only the clock on the wall jumps, as in life.
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
    let front = Front::start(&layout);
    let answer = |path: &str| front.client().get(path, &[("X-Auth-Token", "good1")]).expect("an answer").status;
    assert_eq!(answer("/v2/t1/servers"), 200);
    let mut kept = front.client();
    for number in 1..=times(4) {
        let jump = one(&mut chance, &[-400 * 24 * HOUR, -2 * 24 * HOUR, -HOUR / 2, 0, HOUR / 2, 2 * 24 * HOUR]);
        println!("the clock is {jump} s ahead");
        std::fs::write(&clock, format!("{jump:+}")).expect("written");
        eventually("the front's clock jumps", || ((ahead(&front) - jump as f64).abs() < 60.0).then_some(()));
        let mount = format!("/g{number}: openstack_compute_api_v2\n/v2: ");
        front.edit(one(&mut chance, &Save::OF_FILES), |text| text.replacen("/v2: ", &mount, 1));
        // A token of an hour is over in two days, and good again when they have not been. That it was over is remembered
        // for token_cache_time.
        let wanted = if jump > HOUR { 401 } else { 200 };
        eventually("the edit is in force, and the token as good as the time is", || {
            (answer(&format!("/g{number}/t1/servers")) == wanted).then_some(())
        });
        process::signal(one(&mut chance, &front.workers()), Signal::KILL);
        truth::is_told_and_all_serve(&front, 2);
        // Each thread looks at such a clock once in a second.
        eventually("the same on a kept connection", || {
            let answer = kept.get("/v2/t1/servers", &[("X-Auth-Token", "good1")]).expect("an answer");
            assert!(!answer.closes());
            (answer.status == wanted).then_some(())
        });
    }
    assert!(front.log().iter().all(|line| !line.contains("panicked")), "{:?}", front.log());
    let exits = |reason| front.metric("pasteway_worker_exits_total", &[("reason", reason)]);
    assert_eq!((exits("hang"), exits("never_ready")), (0.0, 0.0), "nobody's time was over");
}
