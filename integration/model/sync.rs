//! In the place of the program's own `sync`: every use is a place at which another thread may go on.

pub use shuttle::sync::{Mutex, MutexGuard, atomic};
