//! Questions on their way: those who ask about one token wait for one answer, and there is a bound to all of them.
//!
//! Must not know what is asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::token::{Entry, TokenHash};

/// Tokens that are asked about at the same time.
const MAX_FLIGHTS: usize = 2048;
/// Requests that wait for an answer.
const MAX_WAITING: usize = 16_384;

/// What came of a question about a token.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Keystone knows the token.
    Valid(Arc<Entry>),
    /// It does not.
    Invalid,
    /// It cannot be asked now.
    Unavailable,
    /// The original raises an exception that nobody catches.
    Broken,
}

/// A token, and whether it may have expired.
pub type Subject = (TokenHash, bool);

/// The open questions.
#[derive(Debug, Default)]
pub struct Flights(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    waiting: HashMap<Subject, Vec<oneshot::Sender<Verdict>>>,
    requests: usize,
}

/// A place among those who wait.
pub struct Seat {
    /// Where the answer comes; without one, the question came to no end.
    pub answer: oneshot::Receiver<Verdict>,
    /// Set for the one who has to ask.
    pub landing: Option<Landing>,
}

/// The end of a question: tells everyone who waits, also when it was given up.
pub struct Landing {
    flights: Arc<Flights>,
    subject: Option<Subject>,
}

impl Flights {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits with the others, or asks. `None` when too many do already.
    pub fn join(self: &Arc<Self>, subject: Subject) -> Option<Seat> {
        let mut open = self.open();
        let known = open.waiting.contains_key(&subject);
        if open.requests >= MAX_WAITING || (!known && open.waiting.len() >= MAX_FLIGHTS) {
            return None;
        }
        open.requests += 1;
        let (tell, answer) = oneshot::channel();
        open.waiting.entry(subject).or_default().push(tell);
        let landing = (!known).then(|| Landing { flights: Arc::clone(self), subject: Some(subject) });
        Some(Seat { answer, landing })
    }
}

impl Landing {
    /// Tells everyone who waits.
    pub fn tell(mut self, verdict: &Verdict) {
        self.land(verdict);
    }

    fn land(&mut self, verdict: &Verdict) {
        // Once only: the next question about the same token is not this one's.
        let Some(subject) = self.subject.take() else { return };
        let mut open = self.flights.open();
        let waiting = open.waiting.remove(&subject).unwrap_or_default();
        open.requests = open.requests.saturating_sub(waiting.len());
        drop(open);
        for tell in waiting {
            // Whoever waited may be gone.
            let _ = tell.send(verdict.clone());
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.land(&Verdict::Unavailable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(n: u32) -> Subject {
        (TokenHash::of(&n.to_be_bytes()), false)
    }

    #[test]
    fn one_asks_and_all_are_told() {
        let flights = Arc::new(Flights::default());
        let first = flights.join(subject(1)).unwrap();
        let mut second = flights.join(subject(1)).unwrap();
        assert!(second.landing.is_none());
        drop(first.answer);
        first.landing.unwrap().tell(&Verdict::Invalid);
        assert!(matches!(second.answer.try_recv(), Ok(Verdict::Invalid)));
        assert!(flights.join(subject(1)).unwrap().landing.is_some(), "the next one asks anew");
    }

    #[test]
    fn a_question_that_was_given_up_is_answered_too() {
        let flights = Arc::new(Flights::default());
        let mut seat = flights.join(subject(1)).unwrap();
        drop(seat.landing.take());
        assert!(matches!(seat.answer.try_recv(), Ok(Verdict::Unavailable)));
    }

    #[test]
    fn there_is_a_bound() {
        let flights = Arc::new(Flights::default());
        let seats: Vec<_> = (0..MAX_FLIGHTS as u32).map(|n| flights.join(subject(n)).unwrap()).collect();
        assert!(flights.join(subject(u32::MAX)).is_none());
        assert!(flights.join(subject(0)).is_some(), "the same token needs no second question");
        drop(seats);
        assert!(flights.join(subject(u32::MAX)).is_some());
    }
}
