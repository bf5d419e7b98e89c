//! Workers that are replaced: after so many requests, at so much memory, when a request never ends; and those that are
//! left alone.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::traffic::{Style, Traffic};
use crate::support::{Front, Layout, eventually, process};

const COMPUTE: (&str, &str) = ("api", "osapi_compute");

fn exits(front: &Front, reason: &str) -> f64 {
    front.metric("pasteway_worker_exits_total", &[COMPUTE, ("reason", reason)])
}

#[test]
fn workers_are_replaced_after_their_requests_and_no_request_fails_for_it() {
    let layout = Layout::bare().default("osapi_compute_workers = 2").pasteway("worker_max_requests = 200");
    let front = Front::start(&layout);
    let before = front.workers();
    let post = Style { method: "POST", fresh: false };
    let traffic = Traffic::start(front.address("osapi_compute"), &[post, post]);
    eventually("two workers to be replaced", || {
        // Never both at once: one always serves.
        assert!(front.metric("pasteway_workers", &[COMPUTE, ("state", "serving")]) >= 1.0);
        (exits(&front, "max_requests") >= 2.0).then_some(())
    });
    let report = traffic.stop();
    assert_eq!((report.failed, report.closed), (Vec::<String>::new(), 0));
    assert!(front.workers().iter().all(|pid| !before.contains(pid)));
    assert_eq!([exits(&front, "signal"), exits(&front, "exit"), exits(&front, "asked")], [0.0; 3]);
}

#[test]
fn a_worker_that_grew_too_large_is_replaced_and_the_bound_is_live() {
    let front = Front::start(&Layout::bare());
    let before = front.workers();
    front.edit_conf(|text| text.replace("[pasteway]\n", "[pasteway]\nworker_max_rss = 1\n"));
    eventually("the worker to be replaced", || (exits(&front, "rss") >= 1.0).then_some(()));
    assert_eq!(front.get("/v2/t1/servers").status, 200);
    front.edit_conf(|text| text.replace("worker_max_rss = 1\n", ""));
    eventually("the bound to be gone", || (front.generation() == 3).then_some(()));
    eventually("one worker, another one", || {
        let now = front.workers();
        (now.len() == 1 && now != before).then_some(())
    });
}

#[test]
fn a_request_that_never_ends_is_given_up_and_its_worker_ended_as_hung() {
    let layout = Layout::bare().default("osapi_compute_workers = 2").pasteway("worker_request_timeout = 0.5");
    let front = Front::start(&layout);
    let begun = Instant::now();
    // A GET may be sent again when a worker dies, but not one that has just hung a worker.
    assert_eq!(front.get("/v2/t1/servers?pasteway.delay=60000").status, 502);
    assert!(begun.elapsed() < Duration::from_secs(30));
    eventually("the worker's end", || (exits(&front, "hang") >= 1.0).then_some(()));
    assert_eq!(front.get("/v2/t1/servers").status, 200);
    eventually("another in its place", || (front.workers().len() == 2).then_some(()));
    assert_eq!(exits(&front, "hang"), 1.0);
    assert_eq!(front.metric("pasteway_upstream_errors_total", &[COMPUTE, ("reason", "timeout")]), 1.0);
}

/// A control group whose processes have little memory together; gone when dropped, when they are.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// In the group of this process; `None` where none may be made.
    fn make(mib: u64) -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let of = |controllers: &str| {
            let line = groups.lines().find_map(|line| line.split_once(':')?.1.strip_prefix(controllers))?;
            Some(line.strip_prefix(':')?.trim_start_matches('/').to_owned())
        };
        let name = format!("pasteway-test-{}", std::process::id());
        [("memory", "memory/", "memory.limit_in_bytes"), ("", "", "memory.max")].into_iter().find_map(|place| {
            let (controllers, mount, limit) = place;
            let path = PathBuf::from(format!("/sys/fs/cgroup/{mount}{}", of(controllers)?)).join(&name);
            fs::create_dir(&path).ok()?;
            let group = Self(path);
            fs::write(group.0.join(limit), (mib << 20).to_string()).is_ok().then_some(group)
        })
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        eventually("the control group to be empty", || fs::remove_dir(&self.0).ok());
    }
}

#[test]
fn a_worker_that_the_kernel_ends_for_want_of_memory_is_told_from_one_that_was_killed() {
    let Some(group) = MemoryGroup::make(512) else {
        eprintln!(
            "SKIPPED a_worker_that_the_kernel_ends_for_want_of_memory_is_told_from_one_that_was_killed: no control group \
             for memory can be made here"
        );
        return;
    };
    let front = Front::start_after(&format!("echo $$ >{}/cgroup.procs", group.0.display()), &Layout::bare());
    process::signal(front.workers()[0], Signal::KILL);
    eventually("the killed one to be told", || (exits(&front, "signal") >= 1.0).then_some(()));
    assert_eq!(front.post("/v2/t1/servers", b"").status, 200);
    assert_eq!(front.post("/v2/t1/servers?pasteway.memory=1000", b"").status, 502);
    eventually("the other one to be told", || (exits(&front, "oom") >= 1.0).then_some(()));
    assert_eq!((exits(&front, "signal"), exits(&front, "oom")), (1.0, 1.0));
    let told = eventually("a third", || {
        let told = front.admin("/workers").text();
        told.contains("serving").then_some(told)
    });
    assert!(told.contains("killed by signal 9, for want of memory") && told.contains("\"oom\""), "{told}");
    drop(front);
    drop(group);
}
