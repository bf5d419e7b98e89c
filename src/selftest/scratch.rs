//! The scratch instance: this executable as `serve`, on loopback ports and files in a directory of its own.
//!
//! Both are gone at the end, whatever the end is. Must not know edits or load.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use rustix::fs::{FsWord, statfs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::Failure;
use super::admin::ask;
use super::files::Files;
use super::save::Save;

/// It is ready by then.
const START: Duration = Duration::from_secs(30);
/// It is gone so long after SIGTERM.
const STOP: Duration = Duration::from_secs(30);
/// Lines of its log that are shown when it fails.
const LAST_LINES: usize = 20;
/// Where Linux systems keep files in memory, and how such a file system calls itself (`linux/magic.h`).
const MEMORY: [&str; 2] = ["/run", "/dev/shm"];
const TMPFS_MAGIC: FsWord = 0x0102_1994;
/// Ports that clients do not get by themselves, when the system does not say.
const EPHEMERAL: u16 = 32768;

/// The instance and its directory.
pub(super) struct Scratch {
    directory: TempDir,
    child: Option<Child>,
    ports: fastrand::Rng,
    /// What its files say.
    pub(super) files: Files,
}

impl Scratch {
    /// Makes the directory: in `TMPDIR`, else in memory if there is such a place.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(seed: u64) -> io::Result<Self> {
        let directory = directory()?;
        let mut ports = fastrand::Rng::with_seed(seed);
        let files = Files::new(free_port(&mut ports));
        Ok(Self { directory, child: None, ports, files })
    }

    /// Writes the files, starts the instance and waits until it is ready.
    ///
    /// # Errors
    /// With the end of its log.
    pub(super) async fn start(&mut self) -> Result<(), Failure> {
        let texts = self.files.texts(self.path());
        fs::create_dir(self.path().join("volume"))?;
        fs::write(self.conf(), &texts.conf)?;
        fs::write(self.paste(), &texts.paste)?;
        Save::Volume.save(&self.volume(), &texts.volume)?;
        let log = File::create(self.log())?;
        let child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .arg("--config-file")
            .arg(self.conf())
            .arg("--config-file")
            .arg(self.volume())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C is for us: the instance is stopped in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        self.child = Some(child);
        let begun = Instant::now();
        while !matches!(ask(&self.admin(), Method::GET, "/ready").await, Ok((StatusCode::OK, _))) {
            self.lives()?;
            if begun.elapsed() > START {
                return Err(self.failure("the instance was not ready in time"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Where osapi_compute and metadata listen.
    ///
    /// # Errors
    /// The instance does not tell.
    pub(super) async fn addresses(&self) -> Result<(SocketAddr, SocketAddr), Failure> {
        let status = ask(&self.admin(), Method::GET, "/status").await.map_err(|what| self.failure(&what))?.1;
        let address = |name: &str| -> Option<SocketAddr> {
            let apis = status.get("apis")?.as_array()?;
            let api = apis.iter().find(|api| api.get("name").and_then(Value::as_str) == Some(name))?;
            api.get("listen")?.as_str()?.parse().ok()
        };
        let both = address("osapi_compute").zip(address("metadata"));
        both.ok_or_else(|| self.failure("the instance does not tell where it listens"))
    }

    /// An error, if it has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub(super) fn lives(&mut self) -> Result<(), Failure> {
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => Ok(()),
            Some(Ok(Some(status))) => Err(self.failure(&format!("the instance ended: {status}"))),
            Some(Err(error)) => Err(error.into()),
            None => Err(self.failure("the instance was not started")),
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        // A child that was waited for has no id: nobody else's process can be meant.
        let pid = self.child.as_ref().and_then(Child::id).and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        Ok(kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?)
    }

    /// Stops it in order; what was wrong with its end.
    pub(super) async fn stop(&mut self) -> Result<(), String> {
        if self.signal(Signal::TERM).is_err() {
            return Ok(());
        }
        let Some(child) = &mut self.child else { return Ok(()) };
        match timeout(STOP, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(format!("the instance was told to stop and ended with {status}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                // Its workers follow it.
                let _ = child.kill().await;
                Err(format!("the instance did not stop within {STOP:?}"))
            }
        }
    }

    /// An error with the end of the log.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
        Failure::Instance { what: what.to_owned(), log: last.join("\n") }
    }

    /// A port that is free, and that no client of ours takes by chance.
    pub(super) fn free_port(&mut self) -> u16 {
        free_port(&mut self.ports)
    }

    /// Its directory.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// nova.conf
    pub(super) fn conf(&self) -> PathBuf {
        self.path().join("nova.conf")
    }

    /// api-paste.ini
    pub(super) fn paste(&self) -> PathBuf {
        self.path().join("api-paste.ini")
    }

    /// The second file of options, in a volume.
    pub(super) fn volume(&self) -> PathBuf {
        self.path().join("volume/pasteway.conf")
    }

    /// The admin socket.
    pub(super) fn admin(&self) -> PathBuf {
        self.path().join("admin.sock")
    }

    fn log(&self) -> PathBuf {
        self.path().join("log")
    }
}

/// In memory, as `runtime_dir` mostly is: a disk's own pauses are not what is measured.
fn directory() -> io::Result<TempDir> {
    let mut new = tempfile::Builder::new();
    new.prefix("pasteway-selftest-");
    if std::env::var_os("TMPDIR").is_none() {
        for place in MEMORY {
            let in_memory = statfs(place).is_ok_and(|system| system.f_type == TMPFS_MAGIC);
            if in_memory && let Ok(directory) = new.tempdir_in(place) {
                return Ok(directory);
            }
        }
    }
    new.tempdir()
}

/// Below those that the system gives to clients: one of our own connections could have it just then.
fn free_port(rng: &mut fastrand::Rng) -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(EPHEMERAL);
    let mut ports = std::iter::repeat_with(|| rng.u16(10_000..first.max(20_000)));
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.find(free).unwrap_or_default()
}
