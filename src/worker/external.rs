//! Drives one slot whose worker something else runs: probes its socket and keeps it in the pool while it answers.
//!
//! Must not know who runs the worker; it is never signalled.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::worker::choice::Record;
use crate::worker::member::Member;
use crate::worker::place::Place;
use crate::worker::probe::{PATIENCE, PERIOD, Probe, probe};
use crate::worker::standing::Proof;
use crate::worker::state::{Order, Reason};

/// Probes in a row without an answer that take a worker out.
const MISSES: u32 = 3;

/// What a worker's place in the pool is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// As it is.
    Keep,
    /// It gave a sign of life.
    Beat,
    /// It takes requests (again).
    Admit,
    /// It takes no more requests.
    Dismiss,
}

/// What is known of a worker in the pool when its probe comes back.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Every request that it may have is on it: a probe has to wait for one of them.
    busy: bool,
    /// It took a new request since the probe before: it works.
    moving: bool,
    /// No other worker serves.
    alone: bool,
}

/// Judges by the probe, the load of a serving worker, and the probes missed in a row (counted on here).
fn judge(probe: &Probe, load: Option<Load>, misses: &mut u32) -> Verdict {
    match (load, probe) {
        (None, Probe::Answered) => Verdict::Admit,
        (None, _) => Verdict::Keep,
        (Some(_), Probe::Answered) => {
            *misses = 0;
            Verdict::Beat
        }
        (Some(_), Probe::Refused(_)) => {
            *misses = 0;
            Verdict::Dismiss
        }
        (Some(Load { moving: true, .. }), Probe::Silent) => Verdict::Beat,
        (Some(Load { busy: true, .. }), Probe::Silent) => Verdict::Keep,
        (Some(load), Probe::Silent) => {
            *misses += 1;
            // A slow worker is better than none: silence alone never empties a pool.
            if *misses >= MISSES && !load.alone { Verdict::Dismiss } else { Verdict::Keep }
        }
    }
}

/// A slot of an external worker.
#[derive(Debug)]
pub struct ExternalSlot {
    place: Place,
    socket: PathBuf,
    /// What is known of the worker from a pool that has it too.
    record: Arc<Record>,
    member: Option<Arc<Member>>,
    /// Requests that the worker had been given at the last probe.
    seen: u64,
    misses: u32,
}

impl ExternalSlot {
    /// A slot for the worker at `socket`.
    pub fn new(place: Place, socket: PathBuf, record: Arc<Record>) -> Self {
        Self { place, socket, record, member: None, seen: 0, misses: 0 }
    }

    /// Probes until an order ends it.
    pub async fn run(mut self) {
        let spec = Arc::clone(&self.place.spec);
        let deadline = Instant::now() + spec.start_timeout;
        let order = loop {
            let answer = tokio::select! {
                biased;
                order = self.place.order() => break order,
                answer = probe(&self.socket, spec.tongue, &spec.ready_request, PATIENCE) => answer,
            };
            self.apply(&answer);
            if self.place.standing.borrow().proof == Proof::Pending && Instant::now() >= deadline {
                self.place.give_up(match answer {
                    Probe::Refused(why) => format!("{}: {why}", self.socket.display()),
                    _ => format!("{} did not answer `{}`", self.socket.display(), spec.ready_request),
                });
            }
            tokio::select! {
                biased;
                order = self.place.order() => break order,
                () = sleep(PERIOD) => {}
            }
        };
        if let Some(member) = self.member.take() {
            self.place.pool.dismiss(member.life);
            if let Order::Retire { drain, .. } = order {
                self.drain(&member, drain).await;
            }
        }
        self.place.close();
    }

    fn apply(&mut self, answer: &Probe) {
        let load = self.member.as_ref().map(|member| Load {
            busy: member.in_flight() >= self.place.spec.threads,
            moving: member.requests() != self.seen,
            alone: self.place.pool.members().len() <= 1,
        });
        match judge(answer, load, &mut self.misses) {
            Verdict::Keep => {}
            Verdict::Beat => {
                if let Some(member) = &self.member {
                    member.beat(self.place.pool.now());
                }
            }
            Verdict::Admit => self.admit(),
            Verdict::Dismiss => self.dismiss(answer),
        }
        self.seen = self.member.as_ref().map_or(0, |member| member.requests());
    }

    fn admit(&mut self) {
        // A new life each time, so that no kept connection to the worker before is used again.
        let life = self.place.staff.next_life();
        let member = Member::new(self.place.id.clone(), life, 0, self.socket.clone(), self.place.spec.threads);
        // Once: who was gone and comes back is another.
        let member = Arc::new(member.known_as(std::mem::take(&mut self.record)));
        self.member = Some(Arc::clone(&member));
        self.misses = 0;
        tracing::info!(target: "pasteway::worker", "worker {} answers at {}", self.place.id, self.socket.display());
        self.place.pool.admit(Arc::clone(&member));
        self.place.standing.send_modify(|s| {
            s.state = "serving";
            s.begin(0);
            s.serve(member);
        });
    }

    fn dismiss(&mut self, answer: &Probe) {
        let Some(member) = self.member.take() else { return };
        self.place.pool.dismiss(member.life);
        let (how, why) = match answer {
            Probe::Refused(why) => (why.clone(), Reason::Exit),
            _ => (format!("no answer to {MISSES} probes"), Reason::Hang),
        };
        tracing::warn!(target: "pasteway::worker", "worker {} at {}: {how}", self.place.id, self.socket.display());
        self.place.standing.send_modify(|s| {
            s.state = "backoff";
            s.end(how, why);
        });
    }

    /// Waits for the requests on the worker, up to the deadline or to a harder order.
    async fn drain(&mut self, member: &Member, limit: Duration) {
        self.place.standing.send_modify(|s| s.state = "draining");
        let harder = async { while let Order::Retire { .. } = self.place.order().await {} };
        tokio::select! {
            _ = timeout(limit, member.idle()) => {}
            () = harder => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Load = Load { busy: false, moving: false, alone: false };

    fn verdict(probe: &Probe, load: Option<Load>) -> Verdict {
        judge(probe, load, &mut 0)
    }

    #[test]
    fn a_worker_comes_in_when_it_answers_and_goes_when_nobody_is_there() {
        assert_eq!(verdict(&Probe::Answered, None), Verdict::Admit);
        assert_eq!(verdict(&Probe::Silent, None), Verdict::Keep);
        assert_eq!(verdict(&Probe::Answered, Some(FREE)), Verdict::Beat);
        let refused = Probe::Refused("connection refused".to_owned());
        assert_eq!(verdict(&refused, Some(Load { alone: true, ..FREE })), Verdict::Dismiss);
    }

    #[test]
    fn silence_takes_out_an_idle_worker_after_some_probes_but_never_the_last_one() {
        let mut misses = 0;
        let mut told = |load| judge(&Probe::Silent, Some(load), &mut misses);
        assert_eq!([told(FREE), told(FREE)], [Verdict::Keep; 2]);
        assert_eq!(told(Load { alone: true, ..FREE }), Verdict::Keep);
        assert_eq!(told(FREE), Verdict::Dismiss);
    }

    #[test]
    fn a_worker_that_is_full_of_our_requests_is_not_blamed_for_silence() {
        let mut misses = MISSES;
        let busy = Load { busy: true, ..FREE };
        assert_eq!(judge(&Probe::Silent, Some(busy), &mut misses), Verdict::Keep);
        assert_eq!(judge(&Probe::Silent, Some(Load { moving: true, ..busy }), &mut misses), Verdict::Beat);
        assert_eq!(misses, MISSES);
    }
}
