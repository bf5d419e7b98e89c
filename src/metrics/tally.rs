//! Counters that several threads write without waiting for each other: each thread has a row of its own, as long as
//! there are rows.
//!
//! Must not know what they count.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// `N` counters.
#[derive(Debug, Default)]
pub struct Tally<const N: usize> {
    rows: [Row<N>; ROWS],
}

const ROWS: usize = 16;

/// As long as two cache lines, which processors fetch in pairs: no row slows another down.
#[derive(Debug)]
#[repr(align(128))]
struct Row<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Row<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn own_row() -> usize {
    OWN.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed) % ROWS);
        }
        own.get()
    })
}

impl<const N: usize> Tally<N> {
    /// Counts one of `which`.
    pub fn count(&self, which: usize) {
        if let Some(count) = self.rows.get(own_row()).and_then(|row| row.0.get(which)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters, summed over threads.
    pub fn sums(&self) -> [u64; N] {
        let mut sums = [0; N];
        for row in &self.rows {
            for (sum, count) in sums.iter_mut().zip(&row.0) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_into_one_sum() {
        let tally = Tally::<2>::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * ROWS {
                scope.spawn(|| (0..10).for_each(|_| tally.count(1)));
            }
        });
        tally.count(0);
        tally.count(7);
        assert_eq!(tally.sums(), [1, 20 * ROWS as u64]);
    }
}
