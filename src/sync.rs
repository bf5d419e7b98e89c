//! What threads share state by, of the standard library. Files whose protocols a model checks (`integration/model`) name it
//! by this module, in whose place the model has one of its own that tries the orders in which threads can run.
//!
//! Must not know what is shared.

pub use std::sync::{Mutex, MutexGuard, atomic};
