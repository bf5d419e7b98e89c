//! Signals, and the way out.
//!
//! SIGTERM: lame duck, stop accepting, finish what is in flight, end the workers, exit 0. SIGINT, or a second SIGTERM:
//! at once. SIGHUP: reload. SIGUSR2: upgrade. SIGTTIN, SIGTTOU: one worker more or less for each API.
//!
//! ```text
//! told to stop: lame duck ─▶ close listeners ─┐
//! replaced (upgrade): they are the other's ───┴▶ drain ─▶ end the workers ─▶ exit 0
//! ```

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::handover::{Load, Word};
use super::retire::{deadlines, deadlines_of_stop};
use super::{Daemon, systemd};
use crate::command::{Command, Source, Terms};
use crate::proxy::thread::{Message, TICK};
use crate::worker::announce;

/// After an upgrade nothing hurries: a connection is closed behind its next answer, or when it was silent for so long.
/// Who closes a connection at once may meet a request that is on its way.
const QUIET: Duration = Duration::from_secs(5);
/// How often it is told to the log, in looks.
const LOG_EVERY: u32 = 10;
/// Workers without requests get at least so long to end.
const LEAST_GRACE: Duration = Duration::from_secs(1);
/// A front before this one that takes so much longer than its requests may is frozen.
const FROZEN: Duration = Duration::from_secs(60);

/// The signals that the front takes.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
    more: Signal,
    fewer: Signal,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalled {
    Terminate,
    Interrupt,
    /// It does not end the front.
    Other(Wish),
}

/// What a signal asks of a front that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Reload,
    Upgrade,
    MoreWorkers,
    FewerWorkers,
}

impl Signals {
    /// Takes them from now on.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            // gunicorn's; unhandled, they would stop the process.
            more: signal(SignalKind::from_raw(rustix::process::Signal::TTIN.as_raw()))?,
            fewer: signal(SignalKind::from_raw(rustix::process::Signal::TTOU.as_raw()))?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.terminate.recv() => Signalled::Terminate,
            _ = self.interrupt.recv() => Signalled::Interrupt,
            _ = self.hangup.recv() => Signalled::Other(Wish::Reload),
            _ = self.upgrade.recv() => Signalled::Other(Wish::Upgrade),
            _ = self.more.recv() => Signalled::Other(Wish::MoreWorkers),
            _ = self.fewer.recv() => Signalled::Other(Wish::FewerWorkers),
        }
    }

    /// The next one that ends the front. The others wait until they are asked for.
    pub async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Daemon {
    /// Does what a signal asks for.
    pub(super) fn grant(self: &Rc<Self>, wish: Wish) {
        match wish {
            Wish::Reload => {
                let (reply, _) = oneshot::channel();
                self.take(Command::Reload {
                    source: Source::Signal,
                    peer: None,
                    dry_run: false,
                    terms: Terms::default(),
                    reply,
                });
            }
            Wish::Upgrade => {
                let daemon = Rc::clone(self);
                tokio::task::spawn_local(async move { daemon.upgrade(Source::Signal, None).await });
            }
            Wish::MoreWorkers => self.scale(true),
            Wish::FewerWorkers => self.scale(false),
        }
    }

    /// Stops the front gracefully, unless a second signal hurries it.
    pub(super) async fn shutdown(self: &Rc<Self>, signals: &mut Signals, inbox: &mut mpsc::Receiver<Command>) {
        let graceful = self.stop_gracefully();
        tokio::pin!(graceful);
        loop {
            tokio::select! {
                biased;
                () = signals.end() => {
                    self.stop_now("caught a second signal, exiting at once").await;
                    break;
                }
                () = &mut graceful => break,
                // The admin listener still answers: `/ready` says 503, `/workers` shows what is left.
                Some(command) = inbox.recv() => self.take(command),
            }
        }
    }

    async fn stop_gracefully(self: &Rc<Self>) {
        let current = self.current.borrow().clone();
        let settings = &current.running.plan.config.settings;
        if self.successor_pid.get().is_some() {
            // Who ends this front does not want another one.
            self.stopping.notify_one();
            drop(self.upgrading.lock().await);
        }
        let replaced = self.successor.borrow().is_some();
        if !replaced {
            announce::stopping(settings.release, current.running.plan.apis.len());
            systemd::stopping("stopping");
            let lame_duck = settings.pasteway.lame_duck;
            if !lame_duck.is_zero() {
                self.threads.iter().for_each(|thread| drop(thread.messages.send(Message::LameDuck(lame_duck))));
                let lame = tokio::time::sleep(lame_duck);
                self.told(false, lame).await;
            }
            for listener in &current.running.listeners {
                self.acceptor.close(listener.id).await;
            }
        }
        let begun = Instant::now();
        let limit = settings.graceful_shutdown_timeout.filter(|_| !replaced);
        let leaving = self.leave(if replaced { QUIET } else { TICK });
        let drained = async {
            for left in leaving {
                let _ = left.await;
            }
        };
        let plan = &current.running.plan;
        let deadlines = if replaced { deadlines(plan) } else { deadlines_of_stop(plan, limit) };
        if self.told(replaced, self.drain(&current, begun, deadlines, drained)).await {
            let grace = match limit {
                Some(limit) => limit.saturating_sub(begun.elapsed()).max(LEAST_GRACE),
                // Zero is for ever.
                None => settings.pasteway.worker_stop_timeout.unwrap_or_default(),
            };
            // Workers that did not end in time were killed, and the log says so.
            let _ = self.supervisor.stop(grace).await;
        } else {
            announce::out_of_grace(settings.release);
            self.supervisor.stop_now().await;
        }
        // The service manager kills what is left when its main process is gone, and they have requests still. Who is
        // replaced has left them to its successor.
        let all = tokio::time::timeout(settings.pasteway.drain_kill_timeout + FROZEN, self.all_seen_off());
        if self.told(replaced, all).await.is_err() {
            tracing::warn!(target: "pasteway", "a front before this one does not end: it is not waited for any longer");
        }
    }

    /// Waits for a part of the stop, and tells meanwhile how far it is: the log, the service manager, and the front that
    /// has replaced this one.
    async fn told<T>(&self, replaced: bool, part: impl Future<Output = T>) -> T {
        let telling = async {
            for turn in 1_u32.. {
                tokio::time::sleep(systemd::LOOK).await;
                let Load { mut in_flight, mut connections } = self.load();
                for before in self.predecessor_reports() {
                    in_flight += before.in_flight;
                    connections += before.connections;
                }
                let status = format!("draining: {in_flight} requests in flight, {connections} connections");
                if turn % LOG_EVERY == 0 {
                    tracing::info!(target: "pasteway", "{status}");
                }
                match self.successor.borrow().as_ref().filter(|_| replaced) {
                    Some(successor) => successor.channel.tell(&Word::Draining(Load { in_flight, connections })),
                    None => systemd::busy(&status),
                }
            }
        };
        tokio::select! {
            done = part => done,
            () = telling => std::future::pending().await,
        }
    }

    /// Has every data thread finish its requests and close its connections, idle ones after a silence.
    fn leave(&self, quiet: Duration) -> Vec<oneshot::Receiver<()>> {
        self.threads
            .iter()
            .map(|thread| {
                let (done, left) = oneshot::channel();
                let _ = thread.messages.send(Message::Leave { quiet, done });
                left
            })
            .collect()
    }

    pub(super) async fn stop_now(&self, why: &str) {
        self.kill_successor().await;
        let release = self.current.borrow().running.plan.config.settings.release;
        tracing::info!(target: "pasteway::launcher", logger = announce::logger(release), "{why}");
        self.supervisor.stop_now().await;
    }
}
