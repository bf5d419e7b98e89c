//! One slot's life as a pure function: what happened and the time go in, what is to be done comes out.
//!
//! Must not know the clock, processes, sockets or the pool.
//!
//! ```text
//! waiting ─▶ starting ─▶ serving ─▶ draining ─▶ stopping ─▶ reaped
//!    ▲           │          │                       │
//!    └───────────┴──────────┴───── a death ─────────┘ (unless asked for)
//! ```

use std::time::Duration;

pub use crate::metrics::ExitReason as Reason;

/// Deaths in a row after which a slot is filled again at once.
const FREE_DEATHS: u32 = 3;
/// The first wait after those; each further death doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A life that served for this long forgives the deaths before it.
const STEADY: Duration = Duration::from_secs(30);
/// Lives in a row that end before they are ready until the start counts as failed.
const START_TRIES: u32 = 3;
/// From SIGABRT to SIGKILL: time to say where it hangs.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a worker may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the spawn to `READY=1`.
    pub start: Duration,
    /// From SIGTERM to SIGKILL; `None` = never.
    pub stop: Option<Duration>,
    /// From one sign of life to the next while it serves.
    pub hang: Duration,
    /// The same, after which others are preferred.
    pub quiet: Duration,
}

/// What somebody wants of a slot for good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// No new requests; SIGTERM when the last one is answered, or after `drain`.
    Retire {
        /// The deadline of the requests.
        drain: Duration,
        /// What is noted when it is gone.
        why: Reason,
    },
    /// SIGTERM now, SIGKILL after `grace` (`None`: never).
    Stop {
        /// The deadline of the worker.
        grace: Option<Duration>,
    },
    /// SIGKILL now.
    Kill,
}

/// Something that happened. Times are durations since any fixed moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Nothing but that time passed.
    Tick,
    /// [`Action::Spawn`] failed; no process came to be.
    Unborn {
        /// From 0 to 1: shortens the wait by up to a quarter, so that slots do not march in step.
        jitter: f64,
    },
    /// The worker said `READY=1`.
    Ready,
    /// The worker said `WATCHDOG=1`.
    Beat,
    /// The worker said `STOPPING=1`: it goes on its own account.
    Leaving,
    /// The process ended.
    Exited {
        /// Whether a signal ended it.
        signal: bool,
        /// As in [`Event::Unborn`].
        jitter: f64,
    },
    /// The process ended, and said that none like it can become ready.
    Unusable {
        /// As in [`Event::Unborn`].
        jitter: f64,
    },
    /// No request is left on the worker.
    Idle,
    /// A request takes longer on it than it may.
    Hung,
    /// See [`Order`].
    Asked(Order),
}

/// Something to do about the life in the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a process; when that fails, say [`Event::Unborn`].
    Spawn,
    /// Give it requests.
    Admit,
    /// Prefer others: it gives no sign of life.
    Suspect,
    /// Prefer them no more.
    Trust,
    /// Give it no more requests.
    Dismiss,
    /// SIGTERM.
    Terminate,
    /// SIGABRT: a Python worker tells where it hangs.
    Abort,
    /// SIGKILL.
    Kill,
    /// The process is gone: note why.
    Bury(Reason),
    /// Whoever waits for this slot to become ready need not wait on.
    GiveUp(Cause),
    /// The slot is over: remove its socket.
    Close,
}

/// Why a start counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was not ready in [`Limits::start`].
    Timeout,
    /// A life said that none like it can become ready.
    Unusable,
    /// So many lives in a row ended before they were ready.
    Died(u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Waiting { until: Duration },
    Starting { until: Duration },
    Serving { since: Duration, beat: Duration, quiet: bool },
    Draining { until: Duration, why: Reason },
    Stopping { kill_at: Option<Duration>, killed: bool, why: Option<Reason>, last: bool },
    Reaped,
}

/// Where a slot stands. At most one process lives in it, ever.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    phase: Phase,
    /// Deaths in a row, for the wait.
    deaths: u32,
    /// Lives in a row that were never ready.
    unready: u32,
}

impl State {
    /// An empty slot; the next [`Event::Tick`] fills it.
    pub fn new() -> Self {
        Self { phase: Phase::Waiting { until: Duration::ZERO }, deaths: 0, unready: 0 }
    }

    /// The word in reports.
    pub fn as_str(&self) -> &'static str {
        match self.phase {
            Phase::Waiting { .. } => "backoff",
            Phase::Starting { .. } => "starting",
            Phase::Serving { .. } => "serving",
            Phase::Draining { .. } | Phase::Stopping { .. } => "draining",
            Phase::Reaped => "stopped",
        }
    }

    /// Whether [`Event::Idle`] is waited for.
    pub fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// Whether nothing will ever happen in this slot again.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Reaped
    }

    /// How long the empty slot waits for its next worker; `None` when it does not wait.
    pub fn pause(&self, now: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Waiting { until } if until > now => Some(until.saturating_sub(now)),
            _ => None,
        }
    }

    /// When the next [`Event::Tick`] is due.
    pub fn wakes_at(&self, limits: &Limits) -> Option<Duration> {
        match self.phase {
            Phase::Waiting { until } | Phase::Starting { until } | Phase::Draining { until, .. } => Some(until),
            Phase::Serving { beat, quiet: false, .. } => Some(beat + limits.quiet.min(limits.hang)),
            Phase::Serving { beat, quiet: true, .. } => Some(beat + limits.hang),
            Phase::Stopping { kill_at, .. } => kill_at,
            Phase::Reaped => None,
        }
    }

    /// One step. An event that cannot happen in this state changes nothing.
    pub fn step(self, event: Event, now: Duration, limits: &Limits) -> (Self, Vec<Action>) {
        let event = match (event, self.phase) {
            (Event::Unusable { .. }, Phase::Starting { .. }) => event,
            // A worker that did become ready ended like any other.
            (Event::Unusable { jitter }, _) => Event::Exited { signal: false, jitter },
            _ => event,
        };
        match self.phase {
            Phase::Waiting { until } => self.waiting(event, until, now, limits),
            Phase::Starting { until } => self.starting(event, until, now, limits),
            Phase::Serving { since, beat, quiet } => self.serving(event, since, beat, quiet, now, limits),
            Phase::Draining { until, why } => self.draining(event, until, why, now, limits),
            Phase::Stopping { .. } => self.stopping(event, now),
            Phase::Reaped => (self, Vec::new()),
        }
    }

    fn waiting(self, event: Event, until: Duration, now: Duration, limits: &Limits) -> (Self, Vec<Action>) {
        match event {
            Event::Tick if now >= until => {
                (self.to(Phase::Starting { until: now + limits.start }), vec![Action::Spawn])
            }
            Event::Asked(_) => (self.to(Phase::Reaped), vec![Action::Close]),
            _ => (self, Vec::new()),
        }
    }

    fn starting(self, event: Event, until: Duration, now: Duration, limits: &Limits) -> (Self, Vec<Action>) {
        match event {
            Event::Ready => {
                let serving = self.to(Phase::Serving { since: now, beat: now, quiet: false });
                (Self { unready: 0, ..serving }, vec![Action::Admit])
            }
            Event::Tick if now >= until => {
                let phase = Phase::Stopping { kill_at: None, killed: true, why: Some(Reason::NeverReady), last: false };
                (self.to(phase), vec![Action::Kill, Action::GiveUp(Cause::Timeout)])
            }
            Event::Unborn { jitter } => self.mourn(None, Reason::NeverReady, None, now, jitter),
            Event::Exited { jitter, .. } => self.mourn(Some(Reason::NeverReady), Reason::NeverReady, None, now, jitter),
            Event::Unusable { jitter } => {
                self.mourn(Some(Reason::NeverReady), Reason::NeverReady, Some(Cause::Unusable), now, jitter)
            }
            // There are no requests to wait for.
            Event::Asked(Order::Retire { why, .. }) => self.terminate(limits.stop.map(|s| now + s), why, Vec::new()),
            Event::Asked(Order::Stop { grace }) => self.terminate(grace.map(|g| now + g), Reason::Asked, Vec::new()),
            Event::Asked(Order::Kill) => self.kill(Reason::Asked, true, Vec::new()),
            Event::Tick | Event::Beat | Event::Leaving | Event::Idle | Event::Hung => (self, Vec::new()),
        }
    }

    fn serving(
        self,
        event: Event,
        since: Duration,
        beat: Duration,
        quiet: bool,
        now: Duration,
        limits: &Limits,
    ) -> (Self, Vec<Action>) {
        match event {
            Event::Beat | Event::Ready => {
                let actions = if quiet { vec![Action::Trust] } else { Vec::new() };
                (self.to(Phase::Serving { since, beat: now, quiet: false }), actions)
            }
            Event::Tick if now >= beat + limits.hang => self.kill(Reason::Hang, false, vec![Action::Dismiss]),
            Event::Tick if !quiet && now >= beat + limits.quiet => {
                (self.to(Phase::Serving { since, beat, quiet: true }), vec![Action::Suspect])
            }
            Event::Hung => self.abort(now + LAST_WORDS, false, vec![Action::Dismiss]),
            Event::Leaving => {
                let phase = Phase::Stopping {
                    kill_at: limits.stop.map(|stop| now + stop),
                    killed: false,
                    why: None,
                    last: false,
                };
                (self.to(phase), vec![Action::Dismiss])
            }
            Event::Exited { signal, jitter } => {
                let forgiven = if now.saturating_sub(since) >= STEADY { Self { deaths: 0, ..self } } else { self };
                let why = by_itself(signal);
                let (next, mut actions) = forgiven.mourn(Some(why), why, None, now, jitter);
                actions.insert(0, Action::Dismiss);
                (next, actions)
            }
            Event::Asked(Order::Retire { drain, why }) => {
                (self.to(Phase::Draining { until: now + drain, why }), vec![Action::Dismiss])
            }
            Event::Asked(Order::Stop { grace }) => {
                self.terminate(grace.map(|g| now + g), Reason::Asked, vec![Action::Dismiss])
            }
            Event::Asked(Order::Kill) => self.kill(Reason::Asked, true, vec![Action::Dismiss]),
            Event::Tick | Event::Unborn { .. } | Event::Unusable { .. } | Event::Idle => (self, Vec::new()),
        }
    }

    fn draining(
        self,
        event: Event,
        until: Duration,
        why: Reason,
        now: Duration,
        limits: &Limits,
    ) -> (Self, Vec<Action>) {
        match event {
            Event::Idle => self.terminate(limits.stop.map(|stop| now + stop), why, Vec::new()),
            Event::Tick if now >= until => self.terminate(limits.stop.map(|stop| now + stop), why, Vec::new()),
            // It goes with its last request; that one will not end by itself.
            Event::Hung => self.abort(now + LAST_WORDS, true, Vec::new()),
            Event::Exited { signal, .. } => {
                (self.to(Phase::Reaped), vec![Action::Bury(by_itself(signal)), Action::Close])
            }
            Event::Asked(Order::Retire { drain, .. }) => {
                (self.to(Phase::Draining { until: until.min(now + drain), why }), Vec::new())
            }
            Event::Asked(Order::Stop { grace }) => self.terminate(grace.map(|g| now + g), Reason::Asked, Vec::new()),
            Event::Asked(Order::Kill) => self.kill(Reason::Asked, true, Vec::new()),
            _ => (self, Vec::new()),
        }
    }

    fn stopping(self, event: Event, now: Duration) -> (Self, Vec<Action>) {
        let Phase::Stopping { kill_at, killed, why, last } = self.phase else { return (self, Vec::new()) };
        match event {
            Event::Exited { signal, jitter } => {
                let why = why.unwrap_or_else(|| by_itself(signal));
                if last {
                    (self.to(Phase::Reaped), vec![Action::Bury(why), Action::Close])
                } else {
                    self.mourn(Some(why), why, None, now, jitter)
                }
            }
            // The request that it is left time for will not end by itself.
            Event::Hung if !killed && why != Some(Reason::Hang) => {
                let by = now + LAST_WORDS;
                self.abort(kill_at.map_or(by, |at| at.min(by)), last, Vec::new())
            }
            Event::Tick if !killed && kill_at.is_some_and(|at| now >= at) => {
                let phase = Phase::Stopping { kill_at: None, killed: true, why, last };
                (self.to(phase), vec![Action::Kill])
            }
            Event::Asked(Order::Kill) if !killed => {
                let phase = Phase::Stopping { kill_at: None, killed: true, why, last: true };
                (self.to(phase), vec![Action::Kill])
            }
            Event::Asked(order) => {
                let asked = match order {
                    Order::Stop { grace } if !killed => grace.map(|g| now + g),
                    _ => None,
                };
                let kill_at = match (kill_at, asked) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                (self.to(Phase::Stopping { kill_at, killed, why, last: true }), Vec::new())
            }
            _ => (self, Vec::new()),
        }
    }

    /// The slot is empty against our will: it is filled again, later after each death in a row.
    fn mourn(
        self,
        buried: Option<Reason>,
        why: Reason,
        hopeless: Option<Cause>,
        now: Duration,
        jitter: f64,
    ) -> (Self, Vec<Action>) {
        let deaths = self.deaths.saturating_add(1);
        let unready = if why == Reason::NeverReady { self.unready.saturating_add(1) } else { 0 };
        let failed = hopeless.or((unready >= START_TRIES).then_some(Cause::Died(unready)));
        let actions = buried.map(Action::Bury).into_iter().chain(failed.map(Action::GiveUp)).collect();
        // Whoever waited for it may want no other one: it is not followed before they could say so.
        let counted = if failed.is_some() { deaths.max(FREE_DEATHS + 1) } else { deaths };
        let phase = Phase::Waiting { until: now + wait_after(counted, jitter) };
        (Self { phase, deaths, unready }, actions)
    }

    fn terminate(self, kill_at: Option<Duration>, why: Reason, mut first: Vec<Action>) -> (Self, Vec<Action>) {
        first.push(Action::Terminate);
        let phase = Phase::Stopping { kill_at, killed: false, why: Some(why), last: true };
        (self.to(phase), first)
    }

    /// It hangs: it may say where, until `kill_at`.
    fn abort(self, kill_at: Duration, last: bool, mut first: Vec<Action>) -> (Self, Vec<Action>) {
        first.push(Action::Abort);
        let phase = Phase::Stopping { kill_at: Some(kill_at), killed: false, why: Some(Reason::Hang), last };
        (self.to(phase), first)
    }

    fn kill(self, why: Reason, last: bool, mut first: Vec<Action>) -> (Self, Vec<Action>) {
        first.push(Action::Kill);
        (self.to(Phase::Stopping { kill_at: None, killed: true, why: Some(why), last }), first)
    }

    fn to(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

fn by_itself(signal: bool) -> Reason {
    if signal { Reason::Signal } else { Reason::Exit }
}

/// Nothing for the first deaths in a row, then a second, doubled up to half a minute.
fn wait_after(deaths: u32, jitter: f64) -> Duration {
    let Some(doublings) = deaths.checked_sub(FREE_DEATHS + 1) else { return Duration::ZERO };
    let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_WAIT);
    wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod storm;
#[cfg(test)]
mod tests;
