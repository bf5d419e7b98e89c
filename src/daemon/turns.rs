//! Whose turn it is to change what runs: one at a time, the others wait. What may take long and is not urgent gives way.
//!
//! Must not know what is changed.

use std::collections::VecDeque;

use tokio::sync::{Mutex, MutexGuard, TryLockError, watch};

/// The turns.
#[derive(Debug)]
pub struct Turns {
    turn: Mutex<()>,
    waiting: watch::Sender<usize>,
    /// Who of them cannot wait for workers of who has the turn: they want the way back.
    overtaking: watch::Sender<VecDeque<String>>,
}

/// Somebody who waits.
struct Waiting<'a>(&'a Turns);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}

impl Turns {
    /// It is nobody's.
    pub fn new() -> Self {
        Self { turn: Mutex::new(()), waiting: watch::Sender::new(0), overtaking: watch::Sender::default() }
    }

    /// Waits for a turn, which lasts until it is dropped.
    pub async fn lock(&self) -> MutexGuard<'_, ()> {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let _waiting = Waiting(self);
        self.turn.lock().await
    }

    /// The turn, if it is nobody's.
    ///
    /// # Errors
    /// It is somebody's.
    pub fn try_lock(&self) -> Result<MutexGuard<'_, ()>, TryLockError> {
        self.turn.try_lock()
    }

    /// The turn of somebody who wants the way back. No reload that has its turn before may wait for workers meanwhile.
    pub async fn overtake(&self, by: String) -> MutexGuard<'_, ()> {
        self.overtaking.send_modify(|all| all.push_back(by));
        let turn = self.lock().await;
        // Turns come in the order in which they are asked for.
        self.overtaking.send_modify(|all| drop(all.pop_front()));
        turn
    }

    /// Waits until somebody wants the way back: who.
    pub async fn overtaken(&self) -> String {
        let mut overtaking = self.overtaking.subscribe();
        let all = overtaking.wait_for(|all| !all.is_empty()).await;
        all.ok().and_then(|all| all.front().cloned()).unwrap_or_default()
    }

    /// Returns when somebody waits.
    pub async fn is_wanted(&self) {
        // The sender is here: there is no end to it.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_the_turn_hears_of_who_waits_for_it_and_of_nobody_else() {
        let turns = Turns::new();
        let turn = turns.lock().await;
        let given_up = tokio::select! {
            biased;
            _ = turns.lock() => false,
            () = turns.is_wanted() => true,
        };
        assert!(given_up);
        tokio::select! {
            biased;
            () = turns.is_wanted() => panic!("nobody waits any more"),
            () = std::future::ready(()) => {}
        }
        drop(turn);
        let _next = turns.lock().await;
    }
}
