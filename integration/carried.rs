//! What a reload carries over from one generation to the next: an edit elsewhere leaves it untouched.

use std::process::Command;

use crate::recordings::havana_with;
use crate::support::app::PROBE;
use crate::support::front::executable;
use crate::support::keystone::Keystone;
use crate::support::{App, Front, Layout, Save, eventually};

/// An edit of a filter that none of the tests is about.
fn edit_elsewhere(front: &Front) {
    let before = front.generation();
    front.edit_conf(|text| text.replace("[DEFAULT]\n", "[DEFAULT]\nosapi_max_request_body_size = 5000\n"));
    eventually("the edit is applied", || (front.generation() == before + 1).then_some(()));
}

#[test]
fn a_token_that_is_known_and_a_limit_that_is_used_up_stay_so() {
    let keystone = Keystone::start();
    let layout = havana_with(&keystone, "auth_version = v2.0");
    let paste = layout.paste().replace("(POST, *, .*, 3, SECOND)", "(GET, *, .*, 2, HOUR)");
    let front = Front::start(&layout.with_paste(&paste));
    let status = || front.client().get("/v2/t1/lim", &[("X-Auth-Token", "good1")]).expect("an answer").status;
    assert_eq!([status(), status(), status()], [200, 200, 429]);
    let asked = keystone.asked().len();
    assert!(asked > 0);
    edit_elsewhere(&front);
    assert_eq!(status(), 429);
    assert_eq!(keystone.asked().len(), asked, "Keystone was asked again");
    // Nor by workers that are new.
    front.edit_conf(|text| text.replace("worker_threads = 16", "worker_threads = 8"));
    eventually("the edit is applied", || (front.generation() == 3).then_some(()));
    assert_eq!((status(), keystone.asked().len()), (429, asked));
    // What does change the filter begins anew.
    front.edit(Save::Rename, |text| text.replace("2, HOUR", "5, HOUR"));
    eventually("the edit is applied", || (front.generation() == 4).then_some(()));
    assert_eq!(status(), 200);
}

#[test]
fn a_worker_that_is_left_out_stays_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let sockets = ["a.sock", "b.sock"].map(|name| directory.path().join(name));
    // It closes its connections without a word, but to the probes.
    let _apps = [App::start(&sockets[0], |_, _| false), App::echo(&sockets[1])];
    let listed = sockets.each_ref().map(|path| path.display().to_string()).join(",");
    let layout = Layout::bare()
        .pasteway("worker_kind = external")
        .pasteway(&format!("worker_ready_request = {PROBE}"))
        .pasteway(&format!("worker_sockets = {listed}"));
    let front = Front::start(&layout);
    let slots = || front.admin("/workers").json();
    let left_out = || slots()[0]["ejected_seconds"].as_f64().expect("a number");
    eventually("both serve", || {
        let both = slots().as_array()?.iter().all(|slot| slot["state"] == "serving");
        both.then_some(())
    });
    // Longer each time; each request goes to the good one in the end.
    eventually("it is left out for a while", || {
        assert_eq!(front.get("/v2/x").status, 200);
        (left_out() > 1.5).then_some(())
    });
    let before = slots();
    edit_elsewhere(&front);
    assert!(left_out() > 0.0);
    let mut command = Command::new(executable());
    let told = command.arg("workers").arg("--config-file").arg(front.conf()).output().expect("the executable");
    assert!(String::from_utf8_lossy(&told.stdout).contains("ejected"), "{told:?}");
    for _ in 0..20 {
        assert_eq!(front.get("/v2/x").status, 200);
    }
    let after = slots();
    assert_eq!(after[0]["requests"], before[0]["requests"]);
    assert_eq!(after[1]["requests"].as_u64(), before[1]["requests"].as_u64().map(|requests| requests + 20));
}
