//! The program's views of what is live and its count of who uses a generation, without requests.

#[path = "../../../src/proxy/holder.rs"]
pub mod holder;
#[path = "../../../src/proxy/live.rs"]
pub mod live;
#[path = "../../../src/proxy/tally.rs"]
pub mod tally;
#[path = "../../../src/proxy/usage.rs"]
pub mod usage;

pub mod snapshot;
