//! A slot as the task that drives it sees it, whatever kind of worker lives there.
//!
//! Must not know how workers live.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};

use crate::id::SlotId;
use crate::metrics::Metrics;
use crate::worker::pool::Pool;
use crate::worker::spawn::Spawner;
use crate::worker::spec::{PoolSpec, StartError, Tuning};
use crate::worker::standing::{Proof, Standing};
use crate::worker::state::{Limits, Order};

/// What all slots share.
#[derive(Debug)]
pub struct Staff {
    /// Starts every process.
    pub spawner: Spawner,
    /// Counts them.
    pub metrics: Metrics,
    lives: AtomicU64,
}

impl Staff {
    /// Nothing started yet.
    pub fn new(spawner: Spawner, metrics: Metrics) -> Self {
        Self { spawner, metrics, lives: AtomicU64::new(0) }
    }

    /// A number that no other life has.
    pub fn next_life(&self) -> u64 {
        self.lives.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A slot as its task sees it, of either kind.
#[derive(Debug)]
pub struct Place {
    /// Its name.
    pub id: SlotId,
    /// What its pool is to be.
    pub spec: Arc<PoolSpec>,
    /// What of that may change.
    pub tuning: watch::Receiver<Tuning>,
    /// The pool that its worker serves in.
    pub pool: Arc<Pool>,
    /// Shared with all slots.
    pub staff: Arc<Staff>,
    /// What others see of it.
    pub standing: watch::Sender<Standing>,
    /// What others want of it; their end closes when the task is over.
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// Nobody is left to give orders, and the last one was made up for that.
    pub deserted: bool,
}

impl Place {
    /// How long its worker may take, as it is now.
    pub fn limits(&self) -> Limits {
        self.spec.limits(&self.tuning.borrow())
    }

    /// The next order; when nobody is left to give any, the worker is to go.
    pub async fn order(&mut self) -> Order {
        match self.orders.recv().await {
            Some(order) => order,
            None if self.deserted => std::future::pending().await,
            None => {
                self.deserted = true;
                Order::Stop { grace: self.tuning.borrow().stop_timeout }
            }
        }
    }

    /// Tells that the start of this slot counts as failed.
    pub fn give_up(&self, reason: String) {
        let stderr = self.standing.borrow().tail.lines();
        let error = StartError { slot: self.id.clone(), reason, stderr };
        tracing::warn!(target: "pasteway::worker", "{error}");
        self.standing.send_modify(|s| s.proof = Proof::Failed(error));
    }

    /// Nothing will happen in this slot again.
    pub fn close(&self) {
        self.standing.send_modify(|s| {
            s.state = "stopped";
            if s.proof == Proof::Pending {
                let reason = "it was stopped before".to_owned();
                s.proof = Proof::Failed(StartError { slot: self.id.clone(), reason, stderr: s.tail.lines() });
            }
        });
    }
}
