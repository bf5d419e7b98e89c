//! The front as a service of systemd: what it says on a `NOTIFY_SOCKET` of the test's own, sockets that it is passed, and
//! the units of etc/systemd.

use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::support::front::executable;
use crate::support::{Client, DEADLINE, Front, Layout, Save, eventually, process, python, skipped};

/// What a service manager hears, and from whom.
#[derive(Debug)]
struct Word {
    pid: u32,
    lines: Vec<String>,
}

impl Word {
    fn is(&self, line: &str) -> bool {
        self.lines.iter().any(|said| said == line)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

struct Manager(UnixDatagram);

impl Manager {
    fn new(directory: &Path) -> Self {
        let socket = UnixDatagram::bind(directory.join("notify.sock")).expect("a socket");
        sockopt::set_socket_passcred(&socket, true).expect("set");
        socket.set_read_timeout(Some(DEADLINE)).expect("set");
        Self(socket)
    }

    /// The next word.
    #[track_caller]
    fn hear(&self) -> Word {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::empty());
        let length = got.expect("a word in time").bytes;
        let pid = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(from) => u32::try_from(from.pid.as_raw_nonzero().get()).ok(),
            _ => None,
        });
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        Word { pid: pid.expect("a sender"), lines: text.lines().map(str::to_owned).collect() }
    }

    /// The next word that is neither a heartbeat nor a wish for more time.
    #[track_caller]
    fn hear_state(&self) -> Word {
        let mut words = std::iter::from_fn(|| Some(self.hear()));
        let passing = |word: &Word| word.is("WATCHDOG=1") || word.value("EXTEND_TIMEOUT_USEC").is_some();
        words.find(|word| !passing(word)).expect("endless")
    }
}

/// Nothing is reloaded, and told, but what the test asks for.
fn layout() -> Layout {
    Layout::bare().pasteway("watch = false")
}

/// Files, and the command that serves them, with a manager that listens.
fn service(layout: &Layout) -> (TempDir, Command, Manager) {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("nova.conf"), layout.conf(directory.path())).expect("nova.conf");
    fs::write(directory.path().join("api-paste.ini"), layout.paste()).expect("api-paste.ini");
    let manager = Manager::new(directory.path());
    let mut command = Command::new(executable());
    command.arg("serve").arg("--config-file").arg(directory.path().join("nova.conf")).envs(layout.variables());
    command.env("NOTIFY_SOCKET", directory.path().join("notify.sock"));
    (directory, command, manager)
}

fn monotonic_usec() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

#[test]
fn it_says_when_it_is_ready_reloads_drains_and_stops() {
    let (directory, command, manager) = service(&layout());
    let mut front = Front::spawn(directory, command);
    let word = manager.hear_state();
    assert_eq!((word.pid, word.value("READY")), (front.pid(), Some("1")));
    assert_eq!(word.value("STATUS"), Some("serving generation 1"));
    assert_eq!(front.admin("/ready").status, 200, "ready means ready");

    front.edit(Save::Rename, |text| text.replace("/v2: app\n", "/v2: app\n/v3: app\n"));
    for (status, broken) in [("serving generation 2", false), ("serving generation 2; the files on disk are not", true)]
    {
        if broken {
            front.edit(Save::Rename, |text| text.replace("/v3: app\n", "/v3: nobody\n"));
        }
        let before = monotonic_usec();
        front.signal(Signal::HUP);
        let word = manager.hear();
        assert!(word.is("RELOADING=1"), "{word:?}");
        let since: i64 = word.value("MONOTONIC_USEC").and_then(|usec| usec.parse().ok()).expect("a time");
        assert!((before..=monotonic_usec()).contains(&since));
        let word = manager.hear_state();
        assert!(word.is("READY=1") && word.value("STATUS").expect("a status").starts_with(status), "{word:?}");
    }

    let mut client = Client::connect(front.listening("osapi_compute")).expect("a connection");
    let request = std::thread::spawn(move || client.request("POST", "/v2/x?pasteway.delay=2500", &[], b""));
    eventually("it is on a worker", || (front.metric("pasteway_worker_in_flight", &[]) >= 1.0).then_some(()));
    front.signal(Signal::TERM);
    let word = manager.hear();
    assert!(word.is("STOPPING=1"), "{word:?}");
    let word = manager.hear();
    assert!(word.value("EXTEND_TIMEOUT_USEC").is_some_and(|usec| usec.parse::<u64>().expect("a number") > 5_000_000));
    assert!(word.value("STATUS").expect("a status").starts_with("draining: 1 requests in flight"), "{word:?}");
    assert_eq!(request.join().expect("no panic").expect("an answer").status, 200);
    assert_eq!(front.exit().code(), Some(0));
}

#[test]
fn it_asks_for_more_time_as_long_as_a_start_or_a_reload_takes() {
    let room = tempfile::tempdir().expect("a directory");
    let hold = room.path().join("hold");
    let (directory, command, manager) = service(&python::held(&hold).pasteway("watch = false"));
    let asks = |what: &str| {
        let word = manager.hear();
        let more = word.value("EXTEND_TIMEOUT_USEC").and_then(|usec| usec.parse::<u64>().ok());
        // More than until it asks the next time.
        assert!(more > Some(5_000_000) && word.value("STATUS") == Some(what), "{word:?}");
    };
    fs::write(&hold, "").expect("written");
    let front = Front::spawn(directory, command);
    asks("starting");
    asks("starting");
    fs::remove_file(&hold).expect("removed");
    assert!(manager.hear_state().is("READY=1"));
    fs::write(&hold, "").expect("written");
    // Its workers are to be others then.
    front.edit(Save::Rename, |text| text + "other = 1\n");
    front.signal(Signal::HUP);
    assert!(manager.hear().is("RELOADING=1"));
    asks("reloading");
    asks("reloading");
    fs::remove_file(&hold).expect("removed");
    assert!(manager.hear_state().is("READY=1"));
}

#[test]
fn it_is_alive_as_often_as_it_must_be_and_not_while_it_is_stopped() {
    let (directory, mut command, manager) = service(&layout());
    command.env("WATCHDOG_USEC", "400000");
    let front = Front::spawn(directory, command);
    assert!(manager.hear().is("READY=1"));
    let began = Instant::now();
    for _ in 0..10 {
        assert!(manager.hear().is("WATCHDOG=1"));
    }
    // Ten halves of the time; a machine that is busy may stretch but not shorten them.
    assert!(began.elapsed() > Duration::from_millis(1500), "{:?}", began.elapsed());
    front.signal(Signal::STOP);
    eventually("it is stopped", || process::state(front.pid()).filter(|state| *state == 'T'));
    manager.0.set_read_timeout(Some(Duration::from_secs(1))).expect("set");
    let mut bytes = [0; 512];
    while manager.0.recv(&mut bytes).is_ok() {
        assert!(began.elapsed() < DEADLINE, "a stopped process goes on talking");
    }
    front.signal(Signal::CONT);
    manager.0.set_read_timeout(Some(DEADLINE)).expect("set");
    assert!(manager.hear().is("WATCHDOG=1"));
}

#[test]
fn at_an_upgrade_the_old_one_names_the_new_one_and_then_is_silent() {
    let (directory, mut command, manager) = service(&layout());
    // As systemd sets it, for one process.
    command.env("WATCHDOG_USEC", "400000");
    let mut front = Front::spawn(directory, command);
    assert!(manager.hear().is("READY=1"));
    let mut client = Client::connect(front.listening("osapi_compute")).expect("a connection");
    let request = std::thread::spawn(move || client.request("POST", "/v2/x?pasteway.delay=3000", &[], b""));
    eventually("it is on a worker", || (front.metric("pasteway_worker_in_flight", &[]) >= 1.0).then_some(()));
    front.signal(Signal::USR2);
    let word = manager.hear_state();
    assert_eq!((word.pid, word.lines.len()), (front.pid(), 1));
    let new: u32 = word.value("MAINPID").and_then(|pid| pid.parse().ok()).expect("a process");
    let word = manager.hear();
    assert_eq!((word.pid, word.is("READY=1")), (new, true), "{word:?}");
    assert_eq!(word.value("STATUS"), Some("serving generation 2"));
    while !request.is_finished() {
        let word = manager.hear();
        assert_eq!((word.pid, word.is("WATCHDOG=1")), (new, true), "{word:?}");
    }
    assert_eq!(request.join().expect("no panic").expect("an answer").status, 200);
    assert_eq!(front.exit().code(), Some(0));
    process::signal(new, Signal::TERM);
    let word = manager.hear_state();
    assert_eq!((word.pid, word.is("STOPPING=1")), (new, true), "{word:?}");
    eventually("it is gone", || (!process::lives(new)).then_some(()));
}

#[test]
fn a_failed_upgrade_tells_the_manager_nothing() {
    let (directory, mut command, manager) = service(&layout());
    let program = directory.path().join("pasteway");
    std::os::unix::fs::symlink(executable(), &program).expect("a link");
    command = {
        let mut by_link = Command::new(&program);
        by_link.args(command.get_args()).env("NOTIFY_SOCKET", directory.path().join("notify.sock"));
        by_link
    };
    let front = Front::spawn(directory, command);
    assert!(manager.hear().is("READY=1"));
    fs::remove_file(&program).expect("removed");
    assert_eq!(front.order("/upgrade").0, 422);
    front.signal(Signal::TERM);
    let word = manager.hear();
    assert_eq!((word.pid, word.is("STOPPING=1")), (front.pid(), true), "{word:?}");
}

/// A socket that listens, as systemd opens it, and its port.
fn activated() -> (OwnedFd, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("an address").port();
    (listener.into(), port)
}

/// The command with sockets from descriptor 3 on; `LISTEN_PID` is its own, which only it knows.
fn pass(command: &Command, sockets: Vec<OwnedFd>, names: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg("LISTEN_PID=$$ exec \"$0\" \"$@\"").arg(command.get_program()).args(command.get_args());
    shell.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    let mappings = (3..).zip(sockets).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
    shell.fd_mappings(mappings.collect()).expect("no number twice");
    shell
}

/// Of the socket that listens on a port (proc_net(5): the local address is the second word, the inode the tenth).
fn inode(port: u16) -> String {
    let table = fs::read_to_string("/proc/net/tcp").expect("a table");
    let of_port = format!(":{port:04X}");
    let words = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut listening = words.filter(|words| words[1].ends_with(&of_port) && words[3] == "0A");
    listening.next().expect("it listens")[9].to_owned()
}

#[test]
fn sockets_that_systemd_opened_are_served_by_who_has_their_address_or_name() {
    let (by_address, port) = activated();
    let ((by_name, named), (unwanted, other)) = (activated(), activated());
    let closed = inode(other);
    let layout = Layout::havana().default(&format!("osapi_compute_listen_port = {port}"));
    let (directory, command, _) = service(&layout);
    // Before the front is there, and in the queue when it comes.
    let mut early = Client::connect(([127, 0, 0, 1], port).into()).expect("a connection");
    let sockets = vec![unwanted, by_address, by_name];
    let mut front = Front::spawn(directory, pass(&command, sockets, "pasteway.socket:pasteway.socket:metadata"));
    assert_eq!(early.get("/", &[]).expect("an answer").status, 200, "the list of versions");
    assert_eq!((front.listening("osapi_compute").port(), front.listening("metadata").port()), (port, named));
    let line = front.logged("no API wants the inherited socket on");
    assert!(line.contains(&format!("127.0.0.1:{other} (pasteway.socket)")), "{line}");
    let has = |pid: u32, inode: &str| {
        let link = PathBuf::from(format!("socket:[{inode}]"));
        let mut descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").flatten();
        descriptors.any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == link))
    };
    assert!(!has(front.pid(), &closed), "it is closed");
    // No worker keeps one open.
    for inode in [port, named].map(inode) {
        assert!(has(front.pid(), &inode) && !front.workers().iter().any(|pid| has(*pid, &inode)), "{inode}");
    }

    let metadata = || Client::connect(([127, 0, 0, 1], named).into()).expect("a connection");
    assert_eq!(metadata().get("/", &[]).expect("an answer").status, 200);
    // They go through an upgrade as all others do.
    front.signal(Signal::USR2);
    assert_eq!(front.exit().code(), Some(0));
    let answer = Client::connect(([127, 0, 0, 1], port).into()).and_then(|mut client| client.get("/", &[]));
    assert_eq!(answer.expect("an answer").status, 200);
    assert_eq!(metadata().get("/", &[]).expect("an answer").status, 200);
}

#[test]
fn the_units_are_in_order() {
    let version = Command::new("systemd-analyze").arg("--version").output();
    let Ok(version) = version else {
        assert!(std::env::var_os("PASTEWAY_SYSTEMD").is_none(), "PASTEWAY_SYSTEMD is set, and there is no systemd");
        return skipped("systemd-analyze (apt-get install systemd)");
    };
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let version: u32 = version.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("systemd 252 (…)");
    let etc = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/systemd");
    let directory = tempfile::tempdir().expect("a directory");
    // The program must be there.
    let text = fs::read_to_string(etc.join("pasteway.service")).expect("read");
    let text = text.replace("/usr/bin/pasteway", &executable().display().to_string());
    fs::write(directory.path().join("pasteway.service"), text).expect("written");
    fs::copy(etc.join("pasteway.socket"), directory.path().join("pasteway.socket")).expect("copied");
    let found = || {
        let units = ["pasteway.service", "pasteway.socket"].map(|unit| directory.path().join(unit));
        let output = Command::new("systemd-analyze").arg("verify").args(units).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // What this machine's own units are found guilty of is not ours.
        let ours: Vec<_> = said.lines().filter(|line| line.contains("pasteway")).collect();
        ours.join("\n") + if output.status.success() { "" } else { &said }
    };
    let verify = || assert_eq!(found(), "");
    verify();
    let drop_in = directory.path().join("pasteway.service.d");
    fs::create_dir(&drop_in).expect("made");
    let text = fs::read_to_string(etc.join("notify-reload.conf")).expect("read");
    let known = if version < 253 {
        skipped(&format!("systemd 253 to know Type=notify-reload, which is {version}; the rest of it is verified"));
        text.replace("Type=notify-reload\n", "Type=notify\n")
    } else {
        text
    };
    fs::write(drop_in.join("notify-reload.conf"), known).expect("written");
    verify();
    // What it does not know it says.
    fs::write(drop_in.join("notify-reload.conf"), "[Service]\nType=nothing\n").expect("written");
    assert!(found().contains("notify-reload.conf"));
}
