//! authtoken against a real Keystone, and beside the real keystonemiddleware. `run` beside this file starts Keystone;
//! the tests start everything else.
//!
//! Must not know how a front comes to its answers.

// Shared with the end-to-end tests, which need more of it.
#[path = "../stack/stack.rs"]
#[allow(dead_code)]
mod stack;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod cached;
mod gate;
mod identities;
mod original;
mod same;
mod secure;
mod stage;
mod trouble;
