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
pub mod exec;
mod external;
pub mod host;
pub mod leftover;
mod line;
pub mod manifest;
mod member;
mod memory;
mod notify;
mod output;
mod place;
mod pool;
mod probe;
mod recycle;
mod resident;
mod slot;
mod socket;
mod spawn;
mod spec;
mod standing;
mod state;
mod supervisor;
pub mod uwsgi;
pub mod wire;

pub use line::CommandLine;
pub use member::Member;
pub use pool::{Lease, Pool, QueueError};
pub use probe::Tongue;
pub use recycle::Recycling;
pub use spawn::signal_group_of;
pub use spec::{HANG_TIMEOUT, Kind, OWN_BINARY, PoolSpec, StartError, Tuning};
pub use standing::STATES;
pub use state::Reason;
pub use supervisor::{Glance, OutOfGrace, StartedPool, Supervisor};
