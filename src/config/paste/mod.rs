//! Paste Deploy: its INI dialects, its interpolation, and its loader, as the real library has them.
//!
//! Must not know what any factory does.

mod context;

pub use context::{Context, Object, Shape};
