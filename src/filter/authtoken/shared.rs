//! What all who ask about tokens need, and one of them fetches: the front's own token, the certificates that sign tokens,
//! the list of those that were revoked.
//!
//! Must not know what it is, or how it is got.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Keeps the newest of something, which is fetched by one question at a time and anew when it is no good.
pub struct Shared<T, E> {
    state: Mutex<State<T, E>>,
    /// How many fetches have come to an end.
    ended: AtomicU64,
}

struct State<T, E> {
    current: Option<Arc<T>>,
    /// How the last fetch failed, if it did.
    failed: Option<E>,
}

impl<T, E: Clone> Shared<T, E> {
    /// Starts with one, or with none.
    pub fn new(current: Option<T>) -> Self {
        Self { state: Mutex::new(State { current: current.map(Arc::new), failed: None }), ended: AtomicU64::new(0) }
    }

    /// What there is if it is still `good`, else one from `fetch`.
    ///
    /// Those who waited for a fetch that failed share its failure: a thousand requests that wait for a stalled
    /// Keystone wait for one timeout and not in turn.
    ///
    /// # Errors
    /// The fetch's.
    pub async fn get(&self, good: impl Fn(&T) -> bool, fetch: impl Future<Output = Result<T, E>>) -> Result<Arc<T>, E> {
        let seen = self.ended.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if let Some(current) = state.current.as_ref().filter(|current| good(current)) {
            return Ok(Arc::clone(current));
        }
        if self.ended.load(Ordering::Acquire) != seen
            && let Some(fault) = &state.failed
        {
            return Err(fault.clone());
        }
        state.current = None;
        let result = fetch.await;
        self.ended.fetch_add(1, Ordering::AcqRel);
        match result {
            Ok(fetched) => {
                let fetched = Arc::new(fetched);
                (state.current, state.failed) = (Some(Arc::clone(&fetched)), None);
                Ok(fetched)
            }
            Err(fault) => {
                state.failed = Some(fault.clone());
                Err(fault)
            }
        }
    }

    /// This one was refused. If another has been fetched since, that one stays.
    pub async fn forget(&self, refused: &Arc<T>) {
        let mut state = self.state.lock().await;
        if state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, refused)) {
            state.current = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_share_one_fetch() {
        for result in [Ok(7), Err("down")] {
            let (shared, count) = (Shared::new(None), AtomicUsize::new(0));
            let ask = || {
                shared.get(|_| true, async {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    result
                })
            };
            let (a, b, c) = tokio::join!(ask(), ask(), ask());
            assert_eq!(count.load(Ordering::Relaxed), 1);
            for answer in [a, b, c] {
                assert_eq!(answer.map(|one| *one), result);
            }
        }
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let shared = Shared::new(None);
        assert!(shared.get(|_| true, async { Err("down") }).await.is_err());
        assert_eq!(shared.get(|_| true, async { Ok(1) }).await.map(|one| *one), Ok(1));
    }

    #[tokio::test]
    async fn a_refusal_of_an_old_one_leaves_the_new_one() {
        let shared = Shared::<_, ()>::new(Some(1));
        let one = shared.get(|_| true, async { unreachable!() }).await.expect("there");
        shared.forget(&one).await;
        let two = shared.get(|_| true, async { Ok(2) }).await.expect("fetched");
        shared.forget(&one).await;
        assert_eq!(*shared.get(|_| true, async { Ok(3) }).await.expect("there"), *two);
        assert_eq!(*shared.get(|_| false, async { Ok(3) }).await.expect("fetched"), 3, "what is no good is replaced");
    }
}
