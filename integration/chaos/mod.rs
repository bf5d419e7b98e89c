//! What goes wrong at random while clients ask: workers and the front are killed and frozen, the machine runs out of
//! disk, descriptors and memory, its clock jumps, files are broken, ports move, and upgrades go wrong.
//!
//! After each of it the same holds: what was acknowledged was done, once ([`orders`]); what the front says of itself is
//! what /proc says ([`truth`]); nothing is left behind. One seed decides everything (`support/chance.rs`).

mod clock;
mod edits;
mod front;
mod machine;
pub mod orders;
mod truth;
mod upgrade;
mod workers;
