//! The `pasteway` executable.

fn main() {}
