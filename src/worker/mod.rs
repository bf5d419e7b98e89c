//! Workers: spawn → ready → serving → draining → reaped.
//!
//! ```text
//! Supervisor ── PoolSpec ─▶ StartedPool ── one task per slot ─▶ Member in the Pool ── Lease ─▶ a request
//!     slot:      State (pure) ⇄ Slot (clock, child, sockets)      what the front starts
//!                judge (pure) ⇄ ExternalSlot (probes)             what something else runs
//! ```
//!
//! Must not know configuration files, filters or the proxy.

pub mod announce;
pub mod builtin;
mod choice;
mod external;
pub mod host;
pub mod manifest;
mod member;
mod notify;
mod output;
mod place;
mod pool;
mod recycle;
mod slot;
mod socket;
mod spawn;
mod spec;
mod standing;
mod state;
mod supervisor;
pub mod wire;

pub use member::Member;
pub use pool::{Lease, Pool, QueueError};
pub use recycle::Recycling;
pub use spec::{HANG_TIMEOUT, Kind, OWN_BINARY, PoolSpec, StartError};
pub use standing::STATES;
pub use state::Reason;
pub use supervisor::{OutOfGrace, StartedPool, Supervisor};
