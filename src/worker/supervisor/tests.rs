//! Pools with real processes: the test binary itself plays the workers.
//!
//! Must not wait for anything without a deadline.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tempfile::TempDir;

use super::*;
use crate::release::Release;
use crate::worker::state::Reason;

/// Nothing here takes nearly as long.
const DEADLINE: Duration = Duration::from_secs(20);

/// Not a test: what the scripts of [`Bench::script`] become.
#[test]
fn plays_the_worker() {
    let Ok(part) = std::env::var("PASTEWAY_TEST_PART") else { return };
    set_parent_process_death_signal(Some(Signal::KILL)).expect("asked");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _guard = runtime.enter();
    // Its mere existence keeps SIGTERM from ending this process.
    let _deaf = (part == "stubborn")
        .then(|| tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("a handler"));
    let front = UnixDatagram::unbound().expect("a socket");
    let notify = std::env::var("NOTIFY_SOCKET").expect("given");
    front.send_to(b"READY=1", &notify).expect("heard");
    loop {
        thread::sleep(Duration::from_millis(100));
        if part != "mute" {
            let _ = front.send_to(b"WATCHDOG=1", &notify);
        }
    }
}

struct Bench {
    dir: TempDir,
    supervisor: Supervisor,
    metrics: Metrics,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("run")).expect("made");
        let metrics = Metrics::new();
        Self { dir, supervisor: Supervisor::new(Handle::current(), metrics.clone()).expect("a thread"), metrics }
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// A program without arguments, as a worker is.
    fn script(&self, body: &str) -> PathBuf {
        let path = self.dir.path().join("worker.sh");
        // Written by another process: were it open for writing here while another test forks, it could not be run.
        let written = std::process::Command::new("/bin/sh")
            .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#])
            .arg(&path)
            .arg(body)
            .status();
        assert!(written.expect("a shell").success());
        path
    }

    fn part(&self, part: &str) -> PathBuf {
        let binary = std::env::current_exe().expect("known");
        self.script(&format!(
            "PASTEWAY_TEST_PART={part} exec '{}' --exact worker::supervisor::tests::plays_the_worker --nocapture",
            binary.display()
        ))
    }

    fn spec(&self, program: PathBuf, count: u32) -> PoolSpec {
        PoolSpec {
            api: "ec2".into(),
            generation: Generation(1),
            kind: Kind::Builtin,
            count,
            threads: 4,
            queue_size: 8,
            queue_timeout: DEADLINE,
            start_timeout: DEADLINE,
            stop_timeout: DEADLINE,
            hang_timeout: DEADLINE,
            surge: None,
            manifest: self.dir.path().join("ec2.json"),
            runtime_dir: self.run_dir(),
            program,
            tongue: crate::worker::Tongue::Http,
            ready_request: "GET /".to_owned(),
            url: "http://127.0.0.1:8773".to_owned(),
            release: Release::HAVANA,
        }
    }

    fn left_behind(&self) -> usize {
        fs::read_dir(self.run_dir()).expect("there").count()
    }

    fn exits(&self) -> Vec<(&'static str, u64)> {
        let text = self.metrics.render();
        let count = |reason: Reason| {
            let series = format!("pasteway_worker_exits_total{{api=\"ec2\",reason=\"{}\"}} ", reason.as_str());
            text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok()).unwrap_or(0)
        };
        Reason::ALL.iter().map(|reason| (reason.as_str(), count(*reason))).filter(|(_, n)| *n > 0).collect()
    }
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("in time")
}

/// Waits until the first slot is as wished.
async fn first_slot(started: &StartedPool, wish: impl FnMut(&Standing) -> bool) -> Standing {
    let mut standing = started.slots().first().expect("a slot").standing.clone();
    in_time(standing.wait_for(wish)).await.expect("the slot lives").clone()
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().expect("small")).expect("not zero");
    kill_process(pid, Signal::KILL).expect("it lives");
}

#[tokio::test]
async fn a_pool_serves_when_all_workers_said_so_and_leaves_nothing_when_retired() {
    let bench = Bench::new();
    let started = bench.supervisor.start(bench.spec(bench.part("good"), 2)).await;
    let pool = in_time(bench.supervisor.ready(&started)).await.expect("ready");
    assert_eq!(pool.members().len(), 2);
    assert_eq!(pool.health(), Ok(()));
    let report = bench.supervisor.report();
    assert_eq!(report.iter().map(|r| (r.slot, r.state)).collect::<Vec<_>>(), [(0, "serving"), (1, "serving")]);
    assert!(report.iter().all(|r| r.pid > 0 && r.rss_bytes > 0 && r.starts == 1), "{report:?}");
    assert_eq!(bench.supervisor.states()[&("ec2".into(), "serving")], 2);

    bench.supervisor.retire(&started, DEADLINE);
    in_time(started.gone()).await;
    assert_eq!(pool.members().len(), 0);
    assert_eq!(bench.supervisor.report().len(), 0);
    assert_eq!(bench.left_behind(), 0);
    assert_eq!(bench.exits(), [("asked", 2)]);
    assert_eq!(bench.supervisor.states()[&("ec2".into(), "serving")], 0);
}

#[tokio::test]
async fn a_killed_worker_is_followed_by_one_on_a_socket_of_its_own() {
    let bench = Bench::new();
    let started = bench.supervisor.start(bench.spec(bench.part("good"), 1)).await;
    in_time(bench.supervisor.ready(&started)).await.expect("ready");
    let first = first_slot(&started, |s| s.member.is_some()).await.member.expect("serving");
    kill(first.pid);
    let after = first_slot(&started, |s| s.starts == 2 && s.member.is_some()).await;
    let second = after.member.expect("serving");
    assert!(second.socket != first.socket && !first.socket.exists());
    assert!(second.pid != first.pid && second.life != first.life && first.is_draining());
    assert_eq!(after.last_exit, Some(("killed by signal 9".to_owned(), crate::worker::state::Reason::Signal)));
    assert_eq!(bench.exits(), [("signal", 1)]);
    in_time(bench.supervisor.stop_now()).await;
    assert_eq!(bench.left_behind(), 0);
}

#[tokio::test]
async fn a_worker_that_dies_at_birth_fails_the_pool_with_its_last_words() {
    let bench = Bench::new();
    let program = bench.script("echo 'no module named nova' >&2; exit 3");
    let started = bench.supervisor.start(bench.spec(program, 1)).await;
    let error = in_time(bench.supervisor.ready(&started)).await.expect_err("not ready");
    assert_eq!(error.to_string(), "worker ec2/0 did not become ready: exited with status 3, 3 times in a row");
    assert_eq!(error.stderr, ["no module named nova"; 3]);
    assert_eq!(bench.supervisor.report().len(), 0);
    assert_eq!(bench.left_behind(), 0);
}

#[tokio::test]
async fn what_cannot_be_started_at_all_fails_the_pool_too() {
    let bench = Bench::new();
    let started = bench.supervisor.start(bench.spec("/does/not/exist".into(), 1)).await;
    let error = in_time(bench.supervisor.ready(&started)).await.expect_err("not ready");
    assert!(error.reason.starts_with("cannot start /does/not/exist: No such file"), "{error}");
    assert_eq!(bench.left_behind(), 0);
    assert_eq!(bench.exits(), []);
}

#[tokio::test]
async fn a_worker_that_stays_silent_fails_the_pool_after_the_start_timeout() {
    let bench = Bench::new();
    let start_timeout = Duration::from_millis(100);
    let spec = PoolSpec { start_timeout, ..bench.spec(bench.script("exec sleep 30"), 1) };
    let started = bench.supervisor.start(spec).await;
    let error = in_time(bench.supervisor.ready(&started)).await.expect_err("not ready");
    assert_eq!(error.reason, "it did not say READY=1 within 0.1 s");
    assert_eq!(bench.left_behind(), 0);
}

#[tokio::test]
async fn only_as_many_workers_start_at_a_time_as_the_surge_allows() {
    let bench = Bench::new();
    let spec = PoolSpec { surge: Some(1), ..bench.spec(bench.script("exec sleep 30"), 3) };
    let started = bench.supervisor.start(spec).await;
    first_slot(&started, |s| s.starts == 1).await;
    let starts: Vec<u64> = bench.supervisor.report().iter().map(|r| r.starts).collect();
    assert_eq!(starts, [1, 0, 0]);
    in_time(bench.supervisor.stop_now()).await;
    assert_eq!(bench.supervisor.report().len(), 0);
}

#[tokio::test]
async fn a_pool_grows_and_shrinks() {
    let bench = Bench::new();
    let started = bench.supervisor.start(bench.spec(bench.part("good"), 1)).await;
    let pool = in_time(bench.supervisor.ready(&started)).await.expect("ready");
    in_time(bench.supervisor.resize(&started, 3, DEADLINE)).await.expect("grown");
    assert_eq!(pool.members().len(), 3);
    in_time(bench.supervisor.resize(&started, 2, DEADLINE)).await.expect("shrunk");
    assert_eq!(started.wanted(), 2);
    let dismissed = async {
        while pool.members().len() > 2 {
            tokio::task::yield_now().await;
        }
    };
    in_time(dismissed).await;
    assert_eq!(pool.members().iter().map(|m| m.slot.index).collect::<Vec<_>>(), [0, 1]);
    in_time(bench.supervisor.stop(DEADLINE)).await.expect("in time");
    assert_eq!(bench.exits(), [("asked", 3)]);
}

#[tokio::test]
async fn a_retired_worker_lives_until_its_last_request_is_answered() {
    let bench = Bench::new();
    let started = bench.supervisor.start(bench.spec(bench.part("good"), 1)).await;
    let pool = in_time(bench.supervisor.ready(&started)).await.expect("ready");
    let lease = pool.try_lease(None).expect("room");
    bench.supervisor.retire(&started, DEADLINE);
    let standing = first_slot(&started, |s| s.state == "draining").await;
    assert!(standing.pid > 0);
    assert!(timeout(Duration::from_millis(50), started.gone()).await.is_err());
    drop(lease);
    in_time(started.gone()).await;
    assert_eq!(bench.exits(), [("asked", 1)]);
}

#[tokio::test]
async fn a_worker_without_a_heartbeat_is_killed_and_replaced() {
    let bench = Bench::new();
    let spec = PoolSpec { hang_timeout: Duration::from_millis(300), ..bench.spec(bench.part("mute"), 1) };
    let started = bench.supervisor.start(spec).await;
    in_time(bench.supervisor.ready(&started)).await.expect("ready");
    first_slot(&started, |s| s.starts == 2).await;
    assert_eq!(bench.exits(), [("hang", 1)]);
    in_time(bench.supervisor.stop_now()).await;
}

#[tokio::test]
async fn a_worker_that_ignores_sigterm_is_killed_when_the_grace_is_over() {
    let bench = Bench::new();
    let started = bench.supervisor.start(bench.spec(bench.part("stubborn"), 1)).await;
    in_time(bench.supervisor.ready(&started)).await.expect("ready");
    let grace = Duration::from_millis(100);
    assert_eq!(in_time(bench.supervisor.stop(grace)).await, Err(OutOfGrace(grace)));
    assert_eq!(bench.left_behind(), 0);
    assert_eq!(bench.exits(), [("asked", 1)]);
}

#[tokio::test]
async fn an_external_worker_serves_when_it_answers_and_is_left_alone() {
    let bench = Bench::new();
    let path = bench.run_dir().join("external.sock");
    let socket = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.expect("a probe");
            let length = stream.read(&mut [0; 512]).expect("a request");
            assert!(length > 0);
            stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").expect("answered");
        }
    });
    let kind = Kind::External { sockets: vec![path.clone()] };
    let spec = PoolSpec { kind, ..bench.spec(PathBuf::new(), 7) };
    let started = bench.supervisor.start(spec).await;
    assert_eq!(started.wanted(), 1);
    let pool = in_time(bench.supervisor.ready(&started)).await.expect("ready");
    assert_eq!(pool.members().iter().map(|m| m.socket.clone()).collect::<Vec<_>>(), [path.as_path()]);
    bench.supervisor.retire(&started, DEADLINE);
    in_time(started.gone()).await;
    assert!(Path::exists(&path));
    assert_eq!(bench.exits(), []);
}

/// Every line of the launcher, as `logger process message`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() == "pasteway::launcher" {
            let mut line = Line::default();
            event.record(&mut line);
            let Line { logger, process, message } = line;
            self.0.lock().expect("whole").push(format!("{logger} {process} {message}"));
        }
    }
}

#[derive(Default)]
struct Line {
    logger: String,
    process: u64,
    message: String,
}

impl tracing::field::Visit for Line {
    fn record_str(&mut self, _: &tracing::field::Field, value: &str) {
        self.logger = value.to_owned();
    }

    fn record_u64(&mut self, _: &tracing::field::Field, value: u64) {
        self.process = value;
    }

    fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.message = format!("{value:?}");
    }
}

#[tokio::test]
async fn the_log_of_a_life_is_that_of_the_launcher() {
    use tracing_subscriber::layer::SubscriberExt;
    let lines = Lines::default();
    let _told = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
    let bench = Bench::new();
    let started = bench.supervisor.start(bench.spec(bench.part("good"), 1)).await;
    in_time(bench.supervisor.ready(&started)).await.expect("ready");
    let pid = first_slot(&started, |s| s.member.is_some()).await.pid;
    in_time(bench.supervisor.stop(DEADLINE)).await.expect("in time");
    let service = "nova.openstack.common.service 0";
    let expected = [
        format!("{service} Starting 1 workers"),
        format!("{service} Started child {pid}"),
        format!("nova.ec2.wsgi.server {pid} ({pid}) wsgi starting up on http://127.0.0.1:8773/\n"),
        format!("{service} Waiting on 1 children to exit"),
        format!("{service} Child {pid} killed by signal 15"),
    ];
    assert_eq!(*lines.0.lock().expect("whole"), expected);
}
