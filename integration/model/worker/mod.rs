//! The program's pools, their members and how they choose, without those who start workers.

#[path = "../../../src/worker/choice.rs"]
mod choice;
#[path = "../../../src/worker/member.rs"]
mod member;
#[path = "../../../src/worker/pool.rs"]
mod pool;
#[path = "../../../src/worker/wire.rs"]
pub mod wire;

pub use member::Member;
pub use pool::{Lease, Pool};
