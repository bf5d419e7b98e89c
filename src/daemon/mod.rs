//! The daemon: the only module that knows all the others. It starts the front, reloads it and stops it.
//!
//! ```text
//! start ─▶ serving ─▶ shutdown, when told to or when upgrade has put another front in this one's place
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
mod handover;
mod inherited;
mod log;
mod predecessor;
mod prepare;
mod program;
mod reload;
mod report;
mod restart;
mod retire;
mod rollback;
pub mod runtime_dir;
mod scale;
mod shutdown;
mod start;
mod swap;
mod systemd;
mod taken_back;
mod trial;
mod upgrade;
mod watchdog;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};

pub use start::{StartFailure, serve};

use crate::admin::{self, Token};
use crate::command::{Command, Commands, Event, LastReload, PredecessorReport, Source, UpgradeReport};
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
use handover::Channel;
use program::Program;
use runtime_dir::RuntimeDir;
use shutdown::{Signalled, Signals};
use taken_back::TakenBack;
use trial::Trial;

/// Newest first; the metrics look at it from the admin thread.
type History = Arc<Mutex<VecDeque<Arc<Record>>>>;

/// Generations that are remembered.
const HISTORY: usize = 20;

/// A running front, as its control thread sees it.
pub struct Daemon {
    invocation: Invocation,
    program: Program,
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
    /// What opens the admin listener too, to those who may read it in the instance file.
    admin_key: String,
    /// By the address that was asked for.
    admin: RefCell<Vec<(AdminAddress, admin::Handle)>>,
    watcher: RefCell<Option<Watcher>>,
    last_reload: RefCell<Option<LastReload>>,
    /// Why the files on disk are not what runs, if they are not.
    differs_because: RefCell<Option<String>>,
    /// A generation that may have to go again.
    trial: RefCell<Option<Trial>>,
    trial_over: Notify,
    taken_back: RefCell<TakenBack>,
    /// Of events.
    listeners: RefCell<Vec<mpsc::Sender<Event>>>,
    /// Somebody asked for the end.
    drain_wanted: Notify,
    state: Cell<Phase>,
    /// One reload at a time; the others wait for their turn.
    reloading: tokio::sync::Mutex<()>,
    /// Who waits for a turn and is not to wait for workers of a reload: they want the way back.
    overtaking: watch::Sender<VecDeque<String>>,
    /// One upgrade at a time; others are refused.
    upgrading: tokio::sync::Mutex<()>,
    /// The front that an upgrade has started, until it is known what becomes of it.
    successor_pid: Cell<Option<u32>>,
    /// Ends an upgrade that is under way.
    stopping: Notify,
    /// The front that has taken this one's place.
    successor: RefCell<Option<Channel>>,
    last_upgrade: RefCell<Option<UpgradeReport>>,
    /// The front whose place this one has taken, until it is gone.
    predecessor: RefCell<Option<PredecessorReport>>,
    seen_off: Notify,
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
        let at_once = loop {
            tokio::select! {
                Some(command) = inbox.recv() => self.take(command),
                () = self.drain_wanted.notified() => break false,
                signal = signals.next() => match signal {
                    Signalled::Interrupt => break true,
                    Signalled::Terminate => break false,
                    Signalled::Other(wish) => self.grant(wish),
                },
            }
        };
        self.state.set(Phase::Draining);
        if at_once {
            self.stop_now("Caught SIGINT signal, instantaneous exiting").await;
        } else {
            self.shutdown(&mut signals, &mut inbox).await;
        }
        let administration = std::mem::take(&mut *self.admin.borrow_mut());
        for (_, handle) in administration {
            handle.stop(Duration::ZERO).await;
        }
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
            Command::Generation { generation, reply } => {
                drop(reply.send(self.generation(generation).map(|record| record.report_with_files())));
            }
            Command::File { generation, path, reply } => {
                drop(reply.send(self.generation(generation).and_then(|record| record.file(&path))));
            }
            Command::Confirm { generation, peer, reply } => {
                drop(reply.send(self.confirm(generation, peer.as_deref())));
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
            Command::Upgrade { peer, reply } => {
                let daemon = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    let _ = reply.send(daemon.upgrade(Source::Admin, peer).await);
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
