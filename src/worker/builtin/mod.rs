//! The built-in worker: a stand-in app in the same binary, for a first try, tests and benchmarks.

pub mod versions;
