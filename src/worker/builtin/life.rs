//! The worker process from its start to its end: who it is, its socket, its signals, its heartbeat.
//!
//! Must not know what requests ask or how they are answered.

use std::env::{self, VarError};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use sd_notify::NotifyState;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::app::App;
use super::serve;
use crate::release::{Release, UnknownRelease};
use crate::scheduler;
use crate::versions::Edition;
use crate::worker::manifest::Manifest;
use crate::worker::wire::{ENV_FRONT_PID, ENV_LIFE, ENV_MANIFEST, ENV_SLOT};

/// One life of the worker: what does not change from its start to its end.
#[derive(Debug)]
pub struct Life {
    /// What it hosts.
    pub manifest: Manifest,
    /// The app of each mount.
    pub apps: Vec<App>,
    /// How the version documents are written.
    pub edition: Edition,
    /// Index of its slot.
    pub slot: u32,
    /// Unique in its front.
    pub number: u64,
    /// Its process.
    pub pid: u32,
    /// Ends the process as a crash would.
    pub die: fn() -> !,
}

/// Why a worker could not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("the environment variable {name} {problem}: workers are started by the front")]
    Environment { name: &'static str, problem: String },
    #[error("cannot read the manifest {}: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("cannot understand the manifest {}: {cause}", path.display())]
    Parse { path: PathBuf, cause: serde_json::Error },
    #[error("the manifest {}: {cause}", path.display())]
    Release { path: PathBuf, cause: UnknownRelease },
    #[error("standard input is not a listening Unix socket: workers are started by the front")]
    NoListener,
    #[error("cannot {doing}: {cause}")]
    Io { doing: &'static str, cause: io::Error },
}

/// How to name a step that fails.
fn failed<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> StartError {
    move |cause| StartError::Io { doing, cause: cause.into() }
}

/// Is a built-in worker until SIGTERM or the end of the front; to be called before threads are started.
///
/// The manifest's path, slot, life and the front's pid come in the environment ([`crate::worker::wire`]), the listening
/// Unix socket is standard input; readiness and heartbeats go to `NOTIFY_SOCKET` as for systemd. Problems go to
/// standard error and give exit code 1.
pub fn run() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pasteway-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), StartError> {
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(failed("follow the front's end"))?;
    // A front that ended before this moment sends no signal any more.
    let front: i32 = variable(ENV_FRONT_PID)?;
    if getppid().is_none_or(|parent| parent.as_raw_nonzero().get() != front) {
        return Ok(());
    }
    rustix::thread::set_name(c"pasteway-worker").map_err(failed("set the process's name"))?;
    let life = Arc::new(Life::begin()?);
    let listener = listener()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Not before: workers that serve already go before one that starts.
    scheduler::wake_promptly();
    let served = runtime.map_err(failed("start"))?.block_on(serve(listener, life));
    served.map_err(failed("serve"))
}

impl Life {
    fn begin() -> Result<Self, StartError> {
        let path: PathBuf = variable(ENV_MANIFEST)?;
        let (slot, number) = (variable(ENV_SLOT)?, variable(ENV_LIFE)?);
        let text = fs::read(&path).map_err(|cause| StartError::Read { path: path.clone(), cause })?;
        let manifest =
            serde_json::from_slice(&text).map_err(|cause| StartError::Parse { path: path.clone(), cause })?;
        Self::new(manifest, slot, number).map_err(|cause| StartError::Release { path, cause })
    }

    /// A life that hosts what `manifest` says.
    ///
    /// # Errors
    /// A release that Pasteway does not know.
    pub fn new(manifest: Manifest, slot: u32, number: u64) -> Result<Self, UnknownRelease> {
        let release: Release = manifest.release.parse()?;
        Ok(Self {
            apps: manifest.mounts.iter().map(App::of).collect(),
            edition: Edition::new(release, &manifest.options),
            slot,
            number,
            pid: std::process::id(),
            die: std::process::abort,
            manifest,
        })
    }
}

fn variable<T: FromStr<Err: fmt::Display>>(name: &'static str) -> Result<T, StartError> {
    let wrong = |problem| StartError::Environment { name, problem };
    let text = env::var(name).map_err(|error| match error {
        VarError::NotPresent => wrong("is not set".to_owned()),
        VarError::NotUnicode(_) => wrong("is not text".to_owned()),
    })?;
    text.parse().map_err(|error| wrong(format!("is `{text}`: {error}")))
}

/// The socket that the front left as standard input.
fn listener() -> Result<std::os::unix::net::UnixListener, StartError> {
    let stdin = rustix::stdio::stdin();
    let is_unix = rustix::net::sockopt::socket_domain(stdin) == Ok(rustix::net::AddressFamily::UNIX);
    if !is_unix || rustix::net::sockopt::socket_acceptconn(stdin) != Ok(true) {
        return Err(StartError::NoListener);
    }
    let listener = std::os::unix::net::UnixListener::from(
        stdin.try_clone_to_owned().map_err(failed("take over the listening socket"))?,
    );
    listener.set_nonblocking(true).map_err(failed("take over the listening socket"))?;
    // One descriptor is enough: when it is closed, this process has stopped accepting.
    let null = File::open("/dev/null").map_err(failed("open /dev/null"))?;
    rustix::stdio::dup2_stdin(&null).map_err(failed("replace standard input"))?;
    Ok(listener)
}

async fn serve(listener: std::os::unix::net::UnixListener, life: Arc<Life>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    // Caught and never looked at: a terminal sends them to the whole group, and the front decides.
    let _ignored = (signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    let listener = UnixListener::from_std(listener)?;
    let (stop, _) = watch::channel(());
    let mut heartbeat = Heartbeat::new(sd_notify::watchdog_enabled());
    tell(NotifyState::Ready);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(serve::connection(stream, Arc::clone(&life), stop.subscribe()))),
                // Out of descriptors: those that close give room.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            () = heartbeat.beat() => tell(NotifyState::Watchdog),
            _ = terminate.recv() => break,
        }
    }
    drop(listener);
    tell(NotifyState::Stopping);
    stop.send_replace(());
    loop {
        tokio::select! {
            () = stop.closed() => return Ok(()),
            () = heartbeat.beat() => tell(NotifyState::Watchdog),
            _ = terminate.recv() => return Ok(()),
        }
    }
}

/// Ticks twice in the time after which the front takes a silent worker for stuck.
struct Heartbeat(Option<Interval>);

impl Heartbeat {
    fn new(limit: Option<Duration>) -> Self {
        Self(limit.map(|limit| limit / 2).filter(|half| !half.is_zero()).map(|half| {
            let mut ticks = interval(half);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    async fn beat(&mut self) {
        match &mut self.0 {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }
}

/// Tells the front; a front that is gone sends SIGTERM by its end.
fn tell(state: NotifyState<'_>) {
    let _ = sd_notify::notify(&[state]);
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_heartbeats_fit_into_the_time_after_which_a_worker_counts_as_stuck() {
        let mut heartbeat = Heartbeat::new(Some(Duration::from_secs(3)));
        heartbeat.beat().await;
        let first = Instant::now();
        heartbeat.beat().await;
        heartbeat.beat().await;
        assert_eq!(first.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_no_heartbeat_where_nobody_asks_for_one() {
        for limit in [None, Some(Duration::ZERO)] {
            assert!(timeout(Duration::from_secs(3600), Heartbeat::new(limit).beat()).await.is_err());
        }
    }
}
