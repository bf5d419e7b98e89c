//! The admin listener: how things stand, and the few things that may be asked of the running front, over HTTP.
//!
//! ```text
//! listen (sockets) ─▶ serve (own thread, connections) ─▶ guard (who may) ─▶ routes ─▶ Command ─▶ daemon
//! ```
//!
//! It has a thread of its own, so that it answers while the data threads are busy and never slows them.
//! Must not know the daemon, the proxy or configuration files: it speaks only [`crate::command::Command`].

mod feed;
mod guard;
mod instance;
mod listen;
mod peer;
mod routes;
mod serve;
mod token;

pub use guard::Access;
pub use instance::Instance;
pub use listen::{AdminListen, NotAnAddress};
pub use serve::{Bound, Handle, adopt, bind};
pub use token::Token;
