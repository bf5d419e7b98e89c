//! The way from a filter to what lies outside of the front: other programs are asked on the control runtime, never on
//! a data thread.
//!
//! Must not know what is asked, or of whom.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::metrics::Metrics;

/// What a filter needs to ask another program: a place where the asking runs, and where it is counted.
#[derive(Clone)]
pub struct Outside {
    /// `None` where nothing is served (`pasteway explain`): nobody is asked then.
    control: Option<Handle>,
    /// Of the process.
    pub metrics: Metrics,
}

/// The front is stopping, or does not serve: nobody was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the front does not serve")]
pub struct NotServing;

impl Outside {
    /// Questions run on `control`.
    pub fn new(control: Handle, metrics: Metrics) -> Self {
        Self { control: Some(control), metrics }
    }

    /// For a look at the tree without serving anyone.
    pub fn closed() -> Self {
        Self { control: None, metrics: Metrics::new() }
    }

    /// Runs a question on the control runtime. It goes on when its asker does not wait any more, so that an answer
    /// that others wait for too is not lost with the first client who gives up; it must bound its own time.
    ///
    /// # Errors
    /// [`NotServing`] from the returned future when the question was not asked or came to no end.
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = T> + Send + 'static,
    ) -> impl Future<Output = Result<T, NotServing>> + 'static {
        let answer = self.control.as_ref().map(|control| {
            let (done, answer) = oneshot::channel();
            control.spawn(async move {
                // Whoever asked may be gone.
                let _ = done.send(question.await);
            });
            answer
        });
        async move { answer.ok_or(NotServing)?.await.map_err(|_| NotServing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_is_answered_elsewhere_or_not_at_all() {
        let outside = Outside::new(Handle::current(), Metrics::new());
        assert_eq!(outside.ask(async { 7 }).await, Ok(7));
        assert_eq!(Outside::closed().ask(async { 7 }).await, Err(NotServing));
    }
}
