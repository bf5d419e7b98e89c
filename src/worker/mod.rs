//! Workers: spawn → ready → serving → draining → reaped.
//!
//! Must not know configuration files, filters or the proxy.

pub mod builtin;
pub mod manifest;
mod pool;
pub mod wire;

pub use pool::{Lease, Member, Pool, QueueError};
