//! The front's own token: fetched by one question at a time, shared by all, and fetched anew when it is no good.
//!
//! Must not know how a token is got.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::Fault;

/// Keeps the newest token.
pub struct Login<T> {
    state: Mutex<State<T>>,
    /// How many logins have come to an end.
    ended: AtomicU64,
}

struct State<T> {
    current: Option<Arc<T>>,
    /// How the last login failed, if it did.
    failed: Option<Fault>,
}

impl<T> Login<T> {
    /// Starts with a token, or with none.
    pub fn new(current: Option<T>) -> Self {
        Self { state: Mutex::new(State { current: current.map(Arc::new), failed: None }), ended: AtomicU64::new(0) }
    }

    /// The token if it is still `good`, else one from `log_in`.
    ///
    /// Those who waited for a login that failed share its failure: a thousand requests that wait for a stalled
    /// Keystone wait for one timeout and not in turn.
    ///
    /// # Errors
    /// The login's.
    pub async fn get(
        &self,
        good: impl Fn(&T) -> bool,
        log_in: impl Future<Output = Result<T, Fault>>,
    ) -> Result<Arc<T>, Fault> {
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
        let result = log_in.await;
        self.ended.fetch_add(1, Ordering::AcqRel);
        match result {
            Ok(token) => {
                let token = Arc::new(token);
                (state.current, state.failed) = (Some(Arc::clone(&token)), None);
                Ok(token)
            }
            Err(fault) => {
                state.failed = Some(fault.clone());
                Err(fault)
            }
        }
    }

    /// Keystone refused this token. If another has been fetched since, that one stays.
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
    async fn those_who_wait_share_one_login() {
        for result in [Ok(7), Err(Fault::Unavailable("down".into()))] {
            let (login, count) = (Login::new(None), AtomicUsize::new(0));
            let ask = || {
                login.get(|_| true, async {
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    result.clone()
                })
            };
            let (a, b, c) = tokio::join!(ask(), ask(), ask());
            assert_eq!(count.load(Ordering::Relaxed), 1);
            for answer in [a, b, c] {
                assert_eq!(answer.map(|token| *token), result);
            }
        }
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let login = Login::new(None);
        assert!(login.get(|_| true, async { Err(Fault::Status(500)) }).await.is_err());
        assert_eq!(login.get(|_| true, async { Ok(1) }).await.map(|token| *token), Ok(1));
    }

    #[tokio::test]
    async fn a_refusal_of_an_old_token_leaves_the_new_one() {
        let login = Login::new(Some(1));
        let one = login.get(|_| true, async { unreachable!() }).await.expect("there");
        login.forget(&one).await;
        let two = login.get(|_| true, async { Ok(2) }).await.expect("fetched");
        login.forget(&one).await;
        assert_eq!(*login.get(|_| true, async { Ok(3) }).await.expect("there"), *two);
        assert_eq!(*login.get(|_| false, async { Ok(3) }).await.expect("fetched"), 3, "what is no good is replaced");
    }
}
