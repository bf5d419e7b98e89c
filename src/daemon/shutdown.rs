//! Signals, and the way out.
//!
//! SIGTERM: lame duck, stop accepting, finish what is in flight, end the workers, exit 0. SIGINT, or a second SIGTERM:
//! at once. SIGHUP: reload.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::{Daemon, Phase};
use crate::command::{Command, Source, Terms};
use crate::proxy::thread::Message;
use crate::worker::announce;

/// The signals that the front takes.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalled {
    Terminate,
    Interrupt,
    HangUp,
}

impl Signals {
    /// Takes them from now on.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.terminate.recv() => Signalled::Terminate,
            _ = self.interrupt.recv() => Signalled::Interrupt,
            _ = self.hangup.recv() => Signalled::HangUp,
        }
    }

    /// The next one that ends the front. A hang-up waits until it is asked for.
    pub async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Daemon {
    /// Whether the signal ends the front.
    pub(super) async fn signalled(self: &Rc<Self>, signal: Signalled) -> bool {
        match signal {
            Signalled::HangUp => {
                let (reply, _) = oneshot::channel();
                self.take(Command::Reload {
                    source: Source::Signal,
                    peer: None,
                    dry_run: false,
                    terms: Terms::default(),
                    reply,
                });
                false
            }
            Signalled::Interrupt => {
                self.state.set(Phase::Draining);
                self.stop_now("Caught SIGINT signal, instantaneous exiting").await;
                true
            }
            Signalled::Terminate => true,
        }
    }

    /// Stops the front: gracefully, unless it is stopping at once already or a second signal hurries it.
    pub(super) async fn shutdown(self: &Rc<Self>, signals: &mut Signals, inbox: &mut mpsc::Receiver<Command>) {
        if self.state.replace(Phase::Draining) == Phase::Draining {
            return;
        }
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
        self.log.flush(Duration::from_secs(1));
    }

    async fn stop_gracefully(self: &Rc<Self>) {
        let running = Rc::clone(&self.current.borrow().running);
        let settings = &running.plan.config.settings;
        announce::stopping(settings.release, running.plan.apis.len());
        let lame_duck = settings.pasteway.lame_duck;
        if !lame_duck.is_zero() {
            self.threads.iter().for_each(|thread| drop(thread.messages.send(Message::LameDuck(lame_duck))));
            tokio::time::sleep(lame_duck).await;
        }
        for listener in &running.listeners {
            self.acceptor.close(listener.id).await;
        }
        let limit = settings.graceful_shutdown_timeout;
        let leaving = self.leave();
        let begun = Instant::now();
        let drained = async {
            for left in leaving {
                let _ = left.await;
            }
        };
        match limit {
            None => drained.await,
            Some(limit) => {
                if tokio::time::timeout(limit, drained).await.is_err() {
                    announce::out_of_grace(settings.release);
                    self.supervisor.stop_now().await;
                    return;
                }
            }
        }
        // What is left of the time; never zero, which would be for ever.
        let left = limit.map(|limit| limit.saturating_sub(begun.elapsed()).max(Duration::from_millis(100)));
        // Workers that did not end in time were killed, and the log says so.
        let _ = self.supervisor.stop(left.unwrap_or_default()).await;
    }

    /// Has every data thread finish its requests and close its connections.
    fn leave(&self) -> Vec<oneshot::Receiver<()>> {
        self.threads
            .iter()
            .map(|thread| {
                let (done, left) = oneshot::channel();
                let _ = thread.messages.send(Message::Leave(done));
                left
            })
            .collect()
    }

    async fn stop_now(&self, why: &str) {
        let release = self.current.borrow().running.plan.config.settings.release;
        tracing::info!(target: "pasteway::launcher", logger = announce::logger(release), "{why}");
        self.supervisor.stop_now().await;
    }
}
