//! The request flow: from a client's connection to a worker's socket and back.
//!
//! ```text
//! listener ─▶ thread ─▶ connection ─▶ door ─▶ pipeline (composite ⇄ filters) ─▶ balancer ─▶ upstream
//!                           ▲                      │ response, in reverse order ◀──────────────┘
//!                           └──── outgoing ◀───────┘
//! ```
//!
//! - [`listener`]: the sockets of the APIs, and the one acceptor that deals connections out.
//! - [`thread`]: the data threads; [`connection`]: hyper on a client's socket; [`incoming`]: a request's body.
//! - [`door`]: what no client may say.
//! - [`pipeline`]: the loop that walks the tree of the [`snapshot`].
//! - [`balancer`] and [`upstream`]: a lease on a worker, a wire to it, another try where that is safe.
//! - [`asked`]: what a worker has and has not answered, with its client or without; [`overdue`]: how long it may be silent.
//! - [`descriptors`]: who stands back when few are left.
//! - [`upgrade`]: what is no HTTP any more, carried as it comes.
//! - [`respond`]: errors become bytes; [`outgoing`]: the last byte, the access log, the metrics.
//! - [`live`]: the one `ArcSwap`, and who gets a canary.
//! - [`usage`]: who still uses a generation; [`tally`]: how its requests went; [`holder`]: who holds it.
//!
//! Must not know configuration files: `compile` makes the [`snapshot::Snapshot`] that all this serves.

mod asked;
mod balancer;
mod connection;
pub mod descriptors;
pub mod door;
pub mod holder;
mod incoming;
pub mod listener;
pub mod live;
mod outgoing;
mod overdue;
mod pipeline;
mod respond;
pub mod snapshot;
pub mod tally;
pub mod thread;
mod upgrade;
mod upstream;
pub mod usage;
