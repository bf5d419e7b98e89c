//! The daemon: the only module that knows all the others. It starts the front, reloads it and stops it.
//!
//! ```text
//! start ─▶ serving ─▶ shutdown
//!            │  ▲
//! watcher, signals, admin ─▶ Command ─▶ reload: read → resolve → compile → prepare → swap → retire
//!                                  rollback: what was read once ─▶ … the same way
//! ```
//!
//! Everything here runs on the control thread (a current-thread runtime): nothing that it waits for is waited for by
//! a request.

mod attend;
mod bounds;
mod changes;
mod events;
mod generation;
mod log;
mod prepare;
mod reload;
mod report;
mod restart;
mod retire;
mod rollback;
pub mod runtime_dir;
mod shutdown;
mod start;
mod swap;
mod trial;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc, watch};

pub use start::{StartFailure, serve};

use crate::admin::{self, Token};
use crate::command::{Command, Commands, Event, LastReload};
use crate::config::Invocation;
use crate::config::settings::AdminAddress;
use crate::config::watch::Watcher;
use crate::metrics::Metrics;
use crate::proxy::listener::Acceptor;
use crate::proxy::live::Live;
use crate::proxy::thread::DataThread;
use crate::telemetry::Log;
use crate::worker::Supervisor;
use generation::{Current, PoolInUse, Record};
use runtime_dir::RuntimeDir;
use shutdown::Signals;
use trial::Trial;

/// Newest first; the metrics look at it from the admin thread.
type History = Arc<Mutex<VecDeque<Arc<Record>>>>;

/// Generations that are remembered.
const HISTORY: usize = 20;

/// A running front, as its control thread sees it.
pub struct Daemon {
    invocation: Invocation,
    runtime_dir: RuntimeDir,
    log: Log,
    metrics: Metrics,
    supervisor: Supervisor,
    live: Live,
    threads: Arc<Vec<DataThread>>,
    acceptor: Acceptor,
    commands: Commands,
    started: Instant,
    current: RefCell<Current>,
    /// Every pool that some generation holds.
    pools: RefCell<Vec<Weak<PoolInUse>>>,
    /// Newest first.
    history: History,
    admin_token: watch::Sender<Option<Token>>,
    /// By the address that was asked for.
    admin: RefCell<Vec<(AdminAddress, admin::Handle)>>,
    watcher: RefCell<Option<Watcher>>,
    last_reload: RefCell<Option<LastReload>>,
    /// The files on disk are not what runs.
    differs: Cell<bool>,
    differs_because: RefCell<Option<String>>,
    /// A generation that may have to go again.
    trial: RefCell<Option<Trial>>,
    trial_over: Notify,
    /// Of events.
    listeners: RefCell<Vec<mpsc::Sender<Event>>>,
    /// Somebody asked for the end.
    drain_wanted: Notify,
    state: Cell<Phase>,
    /// One reload at a time; the others wait for their turn.
    reloading: tokio::sync::Mutex<()>,
}

/// What the front is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
}

impl Daemon {
    fn history(&self) -> MutexGuard<'_, VecDeque<Arc<Record>>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes commands until told to stop.
    async fn run(self: &Rc<Self>, mut signals: Signals, mut inbox: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                Some(command) = inbox.recv() => self.take(command),
                () = self.drain_wanted.notified() => break,
                signal = signals.next() => if self.signalled(signal).await { break },
            }
        }
        self.shutdown(&mut signals, &mut inbox).await;
    }

    /// Answers at once, but for reloads, which take their time beside this loop.
    fn take(self: &Rc<Self>, command: Command) {
        // A questioner who has gone needs no answer.
        match command {
            Command::Reload { source, peer, dry_run, terms, reply } => {
                let daemon = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    let _ = reply.send(daemon.reload(source, peer, dry_run, terms).await);
                });
            }
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Tree(reply) => drop(reply.send(self.tree())),
            Command::Config(reply) => drop(reply.send(self.effective_config())),
            Command::Workers(reply) => drop(reply.send(self.supervisor.report())),
            Command::Generations(reply) => drop(reply.send(self.generations())),
            Command::Confirm { peer, reply } => {
                let daemon = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    let _ = reply.send(daemon.confirm(peer.as_deref()).await);
                });
            }
            Command::Rollback { generation, peer, reply } => {
                let daemon = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    let _ = reply.send(daemon.rollback(generation, peer).await);
                });
            }
            Command::Restart { api, slot, peer, reply } => {
                let daemon = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    let _ = reply.send(daemon.restart(api, slot, peer.as_deref()).await);
                });
            }
            Command::Drain { peer, reply } => {
                tracing::info!(target: "pasteway", "drain asked by {}", peer.as_deref().unwrap_or("-"));
                self.drain_wanted.notify_one();
                drop(reply.send(self.status()));
            }
            Command::Events(reply) => drop(reply.send(self.listen())),
        }
    }
}
