//! Starting processes, and watching and signalling the one that was started.
//!
//! Must not know when a worker is started or what its end means.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::id::SlotId;
use crate::worker::exec;
use crate::worker::wire::{ENV_FRONT_PID, ENV_RUNTIME_DIR, ENV_SLOT};

/// A worker must say that it lives this often (it does so twice in that time).
pub const WATCHDOG: Duration = Duration::from_secs(2);

/// What systemd, or the front before, gave to the front, and only to it.
const NOT_INHERITED: [&str; 5] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "PASTEWAY_UPGRADE"];

/// What one life of a worker is told at its birth.
#[derive(Debug)]
pub struct Birth<'a> {
    /// The executable: this binary, or an interpreter.
    pub program: &'a Path,
    /// What an interpreter runs; `None` for this binary.
    pub host: Option<&'a Path>,
    /// The manifest.
    pub manifest: &'a Path,
    /// Its slot.
    pub slot: &'a SlotId,
    /// Its number among all lives.
    pub life: u64,
    /// Where it says how it is.
    pub notify: &'a Path,
    /// Where the front keeps what is its own.
    pub runtime_dir: &'a Path,
}

/// What one life of a `command` worker is told at its birth.
#[derive(Debug)]
pub struct CommandBirth<'a> {
    /// This binary, for the stage before the program ([`exec`]).
    pub stage: &'a Path,
    /// The program and its arguments.
    pub words: &'a [String],
    /// Its slot.
    pub slot: &'a SlotId,
    /// Where the front keeps what is its own.
    pub runtime_dir: &'a Path,
    /// The socket that it inherits, and how it learns that ([`exec::ENV_INHERIT`]); without one it makes its own.
    pub socket: Option<(OwnedFd, &'static str)>,
}

impl CommandBirth<'_> {
    /// The command; its process leads a group of its own, so that its children can be ended with it.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.stage);
        command
            .arg(exec::WORD)
            .args(self.words)
            .env("PASTEWAY_API", self.slot.api.as_str())
            .env(ENV_SLOT, self.slot.index.to_string())
            .env(ENV_FRONT_PID, std::process::id().to_string())
            .env(ENV_RUNTIME_DIR, self.runtime_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        for name in NOT_INHERITED.into_iter().chain(["NOTIFY_SOCKET", "WATCHDOG_USEC"]) {
            command.env_remove(name);
        }
        match self.socket {
            Some((socket, how)) => command.env(exec::ENV_INHERIT, how).stdin(Stdio::from(socket)),
            None => command.stdin(Stdio::null()),
        };
        command
    }
}

impl Birth<'_> {
    /// The command, with `socket` as its standard input.
    pub fn command(&self, socket: OwnedFd) -> Command {
        let mut command = Command::new(self.program);
        let title = format!("pasteway: {} worker {}", self.slot.api, self.slot.index);
        match self.host {
            // No further arguments, so that `ps` shows this title alone.
            None => command.arg0(title),
            // Python finds its virtualenv by its own name, so that the title can only stand behind it.
            Some(host) => command.arg("-u").arg(host).arg(title),
        };
        command
            .env("PASTEWAY_WORKER", self.manifest)
            .env("PASTEWAY_SLOT", self.slot.index.to_string())
            .env("PASTEWAY_LIFE", self.life.to_string())
            // The worker compares it with its parent: the front may be gone before the worker asks to be told so.
            .env(ENV_FRONT_PID, std::process::id().to_string())
            .env(ENV_RUNTIME_DIR, self.runtime_dir)
            .env("NOTIFY_SOCKET", self.notify)
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
            .stdin(Stdio::from(socket))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        command
    }
}

struct Job {
    command: Command,
    reply: oneshot::Sender<io::Result<Child>>,
}

/// The thread that starts every worker.
///
/// A parent-death signal (prctl(2), `PR_SET_PDEATHSIG`) comes when the *thread* that started the process ends, so
/// that thread must live as long as the front.
#[derive(Debug)]
pub struct Spawner {
    jobs: mpsc::Sender<Job>,
}

impl Spawner {
    /// Starts the thread; the processes are watched by `runtime`.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(runtime: Handle) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            let _watched = runtime.enter();
            for Job { command, reply } in queue {
                let child = tokio::process::Command::from(command).spawn().map(Child);
                if let Err(Ok(orphan)) = reply.send(child) {
                    // Nobody will watch it.
                    orphan.signal(Signal::KILL);
                }
            }
        })?;
        Ok(Self { jobs })
    }

    /// Starts a process.
    ///
    /// # Errors
    /// When the system cannot start it.
    pub async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts processes is gone");
        self.jobs.send(Job { command, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Sends a signal to what is left of the group that a process led. While any of it is left, the number is nobody else's.
pub fn signal_group_of(leader: u32, signal: Signal) {
    if let Some(group) = leader.try_into().ok().and_then(Pid::from_raw) {
        // None is left.
        let _ = kill_process_group(group, signal);
    }
}

/// A process of ours.
#[derive(Debug)]
pub struct Child(tokio::process::Child);

impl Child {
    /// Its process id, which cannot be anyone else's until [`exited`](Self::exited) has told its end; then `None`.
    pub fn pid(&self) -> Option<u32> {
        self.0.id()
    }

    /// Our ends of its standard output and error; once.
    pub fn outputs(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.0.stdout.take(), self.0.stderr.take())
    }

    /// Sends a signal. A process that is gone already does not mind.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Sends a signal to all that it has started too, if it leads a group of its own.
    pub fn signal_group(&self, signal: Signal) {
        self.pid().into_iter().for_each(|pid| signal_group_of(pid, signal));
    }

    /// Waits for its end and reaps it. Nothing is lost when it is not waited for to the end.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("/bin/sleep");
        command.arg("60");
        command
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_told_with_its_status() {
        let spawner = Spawner::start(Handle::current()).expect("a thread");
        let mut child = spawner.spawn(sleeper()).await.expect("started");
        assert!(child.pid().is_some());
        child.signal(Signal::TERM);
        assert_eq!(child.exited().await.expect("told").signal(), Some(15));
        assert_eq!(child.pid(), None);
        child.signal(Signal::KILL);
    }

    #[tokio::test]
    async fn a_program_that_does_not_exist_is_an_error() {
        let spawner = Spawner::start(Handle::current()).expect("a thread");
        let error = spawner.spawn(Command::new("/does/not/exist")).await.expect_err("nothing to start");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_worker_is_told_all_by_its_environment_and_shows_a_title() {
        let slot = SlotId { api: "osapi_compute".into(), index: 3 };
        let birth = Birth {
            program: Path::new("/proc/self/exe"),
            host: None,
            manifest: Path::new("/run/pasteway/generations/1/osapi_compute.json"),
            slot: &slot,
            life: 17,
            notify: Path::new("/run/pasteway/n"),
            runtime_dir: Path::new("/run/pasteway"),
        };
        let stdin = OwnedFd::from(std::fs::File::open("/dev/null").expect("there"));
        let command = birth.command(stdin);
        assert_eq!(command.get_args().count(), 0);
        assert!(format!("{command:?}").contains("pasteway: osapi_compute worker 3"));
        let told = |name: &str| {
            command.get_envs().find(|(k, _)| *k == name).and_then(|(_, v)| v).map(|v| v.to_string_lossy().into_owned())
        };
        assert_eq!(told("PASTEWAY_SLOT").as_deref(), Some("3"));
        assert_eq!(told("PASTEWAY_LIFE").as_deref(), Some("17"));
        assert_eq!(told("NOTIFY_SOCKET").as_deref(), Some("/run/pasteway/n"));
        assert_eq!(told("PASTEWAY_RUNTIME_DIR").as_deref(), Some("/run/pasteway"));
        assert_eq!(told("WATCHDOG_USEC").as_deref(), Some("2000000"));
        assert_eq!(told("LISTEN_FDS"), None);
    }

    #[test]
    fn an_interpreter_keeps_its_name_and_runs_the_host() {
        let slot = SlotId { api: "metadata".into(), index: 1 };
        let path = Path::new("/run/x");
        let python = Path::new("/srv/venv/bin/python");
        let birth = Birth {
            program: python,
            host: Some(path),
            manifest: path,
            slot: &slot,
            life: 1,
            notify: path,
            runtime_dir: path,
        };
        let stdin = OwnedFd::from(std::fs::File::open("/dev/null").expect("there"));
        let command = birth.command(stdin);
        assert_eq!(command.get_program(), python);
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["-u", "/run/x", "pasteway: metadata worker 1"]);
        assert!(format!("{command:?}").contains("\"/srv/venv/bin/python\" \"-u\""));
    }

    #[tokio::test]
    async fn a_worker_shows_nothing_but_its_title_in_the_process_list() {
        let slot = SlotId { api: "ec2".into(), index: 0 };
        let path = Path::new("/nowhere");
        // Without arguments it waits for its standard input, which here never ends.
        let birth = Birth {
            program: Path::new("/bin/cat"),
            host: None,
            manifest: path,
            slot: &slot,
            life: 1,
            notify: path,
            runtime_dir: path,
        };
        let (_front, worker) = std::os::unix::net::UnixStream::pair().expect("two sockets");
        let spawner = Spawner::start(Handle::current()).expect("a thread");
        let mut child = spawner.spawn(birth.command(worker.into())).await.expect("started");
        let pid = child.pid().expect("it lives");
        // In the middle of its exec a process has no command line; it has one before it waits for its input.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let title = loop {
            let title = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it lives");
            if !title.is_empty() || std::time::Instant::now() > deadline {
                break title;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(title, "pasteway: ec2 worker 0\0");
        child.signal(Signal::KILL);
        child.exited().await.expect("told");
    }
}
