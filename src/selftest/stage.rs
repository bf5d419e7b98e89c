//! What the load and the edits must know of each other: where the APIs listen, when an edit is under way, when to end.
//!
//! Must not know requests or files.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Progress;

/// Windows that are remembered: more than the patience with one request.
const REMEMBERED: usize = 1024;

/// Shared by both sides.
pub(super) struct Stage {
    /// The API that stays where it is.
    pub(super) compute: SocketAddr,
    moving: Mutex<Moving>,
    windows: Mutex<Windows>,
    /// The load ends with this request.
    last: AtomicU64,
    /// Requests that have ended.
    pub(super) requests: AtomicU64,
    /// Those of them that failed.
    pub(super) failed: AtomicU64,
}

/// Where the API listens whose port moves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Moving {
    /// As far as anybody was told.
    pub(super) now: SocketAddr,
    /// Where it is about to be.
    pub(super) next: Option<SocketAddr>,
}

/// Where a moment stands among the edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before the first of them, when the load opens all its connections at once.
    Before,
    /// While one was under way.
    Inside,
    /// Between two.
    Outside,
}

/// When edits were under way.
#[derive(Default)]
struct Windows {
    first: Option<Instant>,
    open: Option<Instant>,
    past: VecDeque<(Instant, Instant)>,
}

/// Ends the load when it is dropped.
pub(super) struct Ends(Arc<Stage>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.last.store(0, Ordering::Relaxed);
    }
}

impl Stage {
    /// Nothing is edited yet, and no end is in sight.
    pub(super) fn new((compute, moving): (SocketAddr, SocketAddr)) -> Self {
        Self {
            compute,
            moving: Mutex::new(Moving { now: moving, next: None }),
            windows: Mutex::default(),
            last: AtomicU64::new(u64::MAX),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Ends the load at once when the result is dropped.
    pub(super) fn ends(self: &Arc<Self>) -> Ends {
        Ends(Arc::clone(self))
    }

    /// Ends the load with that request, or at once if there were more already.
    pub(super) fn finish(&self, requests: u64) {
        self.last.store(requests, Ordering::Relaxed);
    }

    /// Whether a request is one too many.
    pub(super) fn is_over(&self, number: u64) -> bool {
        number > self.last.load(Ordering::Relaxed)
    }

    /// How far the run is.
    pub(super) fn progress(&self, begun: Instant, reloads: u32) -> Progress {
        let (requests, failed) = (self.requests.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        Progress { elapsed: begun.elapsed(), requests, failed, reloads }
    }

    /// Where the moving API can be.
    pub(super) fn moving(&self) -> Moving {
        *lock(&self.moving)
    }

    /// The moving API is about to be there.
    pub(super) fn moves(&self, next: SocketAddr) {
        lock(&self.moving).next = Some(next);
    }

    /// It is there.
    pub(super) fn moved(&self) {
        let mut moving = lock(&self.moving);
        moving.now = moving.next.take().unwrap_or(moving.now);
    }

    /// An edit begins.
    pub(super) fn open_window(&self) {
        let (mut windows, now) = (lock(&self.windows), Instant::now());
        windows.first.get_or_insert(now);
        windows.open = Some(now);
    }

    /// Nothing of it is left.
    pub(super) fn close_window(&self) {
        let mut windows = lock(&self.windows);
        if let Some(begun) = windows.open.take() {
            windows.past.push_back((begun, Instant::now()));
            if windows.past.len() > REMEMBERED {
                windows.past.pop_front();
            }
        }
    }

    /// Where that moment stands.
    pub(super) fn place(&self, at: Instant) -> Place {
        let windows = lock(&self.windows);
        let inside = windows.open.is_some_and(|begun| at >= begun)
            || windows.past.iter().rev().take_while(|(_, end)| at <= *end).any(|(begun, _)| at >= *begun);
        match windows.first {
            Some(first) if at >= first => {
                if inside {
                    Place::Inside
                } else {
                    Place::Outside
                }
            }
            _ => Place::Before,
        }
    }
}

/// A panic elsewhere leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn stage() -> Stage {
        let address: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        Stage::new((address, address))
    }

    #[test]
    fn a_time_is_inside_of_the_window_that_was_open_then() {
        let stage = stage();
        let before = Instant::now();
        let step = || std::thread::sleep(Duration::from_millis(1));
        step();
        stage.open_window();
        step();
        let within = Instant::now();
        assert_eq!(stage.place(within), Place::Inside);
        step();
        stage.close_window();
        step();
        let after = Instant::now();
        stage.open_window();
        stage.close_window();
        let places = [before, within, after].map(|at| stage.place(at));
        assert_eq!(places, [Place::Before, Place::Inside, Place::Outside]);
    }

    #[test]
    fn a_moved_api_has_one_address_again() {
        let stage = stage();
        let next: SocketAddr = "127.0.0.1:2".parse().expect("an address");
        stage.moves(next);
        assert_eq!(stage.moving().next, Some(next));
        stage.moved();
        assert_eq!((stage.moving().now, stage.moving().next), (next, None));
    }
}
