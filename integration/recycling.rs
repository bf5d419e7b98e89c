//! Workers that are replaced: after so many requests, at so much memory, when a request never ends; and those that are
//! left alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::process::Signal;

use crate::chaos::orders::Orders;
use crate::support::traffic::{Style, Traffic};
use crate::support::{Front, Layout, eventually, missing, process, skipped};

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

#[test]
fn a_worker_that_falls_silent_in_its_answer_is_ended_as_hung() {
    let orders = Orders::new();
    let front = Front::start(&orders.python().pasteway("worker_request_timeout = 1"));
    let mut client = front.client();
    client.send("POST /v2/orders/12?within=600 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").expect("sent");
    // The head and a piece of the body have come; the rest is cut off.
    let said = client.rest().expect("closed");
    assert!(said.starts_with(b"HTTP/1.1 200 OK\r\n") && said.ends_with(b"\r\n\r\n1"), "{said:?}");
    eventually("the worker's end", || (exits(&front, "hang") == 1.0).then_some(()));
    eventually("another in its place", || (front.workers().len() == 3).then_some(()));
    // Whoever speaks at times does not hang.
    let answer = front.post("/v2/orders/34?within=0.7&before=0.7", b"x");
    assert_eq!((answer.status, answer.text().as_str(), exits(&front, "hang")), (200, "34", 1.0));
}

#[test]
fn a_slow_client_is_no_hung_worker() {
    let front = Front::start(&Layout::bare().pasteway("worker_request_timeout = 1"));
    let mut slow = [front.client(), front.client(), front.client()];
    let post = "POST /v2/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe";
    slow[0].send("GET /v2/x?pasteway.size=30000000 HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    slow[1].send(post).expect("sent");
    // Here the worker has begun to answer what has not come yet.
    slow[2].send(post.replace("/v2/x", "/v2/x?pasteway.echo=1")).expect("sent");
    std::thread::sleep(Duration::from_secs(3));
    slow[1].send("llo").expect("sent");
    slow[2].send("llo").expect("sent");
    let answers = slow.map(|mut client| client.answer("GET").expect("an answer"));
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200; 3]);
    assert_eq!((answers[0].body.len(), answers[2].text().as_str()), (30_000_000, "hello"));
    assert_eq!(exits(&front, "hang"), 0.0);
}

/// A control group whose processes have little memory together; gone when dropped, when they are.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// Where the kernel and the user let one be made; `None` with a word about it elsewhere.
    #[track_caller]
    fn make(mib: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped("root");
            return None;
        }
        let Some((parent, limit)) = Self::places().into_iter().find(|(parent, limit)| Self::may_be(parent, limit))
        else {
            skipped("a cgroup file system that can be written to and has the memory controller");
            return None;
        };
        let group = Self(parent.join(format!("pasteway-test-{}", std::process::id())));
        let made = fs::create_dir(&group.0).and_then(|()| fs::write(group.0.join(limit), (mib << 20).to_string()));
        match made {
            Ok(()) => Some(group),
            Err(error) => {
                missing(&format!("to make {}: {error}", group.0.display()));
                None
            }
        }
    }

    /// The group of this process and the uppermost one, which is all that a container may see, with the file of the limit.
    fn places() -> Vec<(PathBuf, &'static str)> {
        let groups = fs::read_to_string("/proc/self/cgroup").expect("the kernel has control groups");
        let below = |mount: &str, limit, group: &str| {
            let root = Path::new("/sys/fs/cgroup").join(mount);
            [(root.join(group.trim_start_matches('/')), limit), (root, limit)]
        };
        let place = |line: &str| {
            let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
            match controllers {
                "" => Some(below("", "memory.max", group)),
                "memory" => Some(below("memory", "memory.limit_in_bytes", group)),
                _ => None,
            }
        };
        groups.lines().filter_map(place).flatten().collect()
    }

    /// The mount may be read-only, and a group of version 2 must have passed the controller on to those below it.
    fn may_be(parent: &Path, limit: &str) -> bool {
        let writable = statvfs(parent).is_ok_and(|fs| !fs.f_flag.contains(StatVfsMountFlags::RDONLY));
        let passed_on = || fs::read_to_string(parent.join("cgroup.subtree_control"));
        let controlled = if limit == "memory.max" {
            passed_on().is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "memory"))
        } else {
            parent.join(limit).exists()
        };
        writable && controlled
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        eventually("the control group to be empty", || {
            (!self.0.exists() || fs::remove_dir(&self.0).is_ok()).then_some(())
        });
    }
}

#[test]
fn a_worker_that_the_kernel_ends_for_want_of_memory_is_told_from_one_that_was_killed() {
    let Some(group) = MemoryGroup::make(512) else { return };
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
