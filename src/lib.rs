//! Pasteway stands where `nova-api` stood: it reads an operator's `nova.conf` and `api-paste.ini`, listens on the API
//! ports, runs the filters that it knows, and balances the rest over worker processes. When a file changes, a new
//! generation is built beside the running one, made ready, and swapped in.
//!
//! # Three flows
//!
//! - **Request**: [`proxy`]: listener → connection → door → (composite ⇄ filters) → balancer → worker, and back
//!   through the filters.
//! - **Config**: [`config`]: files → `Conf` and Paste contexts → [`config::Config`]; [`compile`]: the cut of each
//!   pipeline, all filters built; [`daemon`]: prepare → swap → retire.
//! - **Process**: [`worker`]: spawn → ready → serving → draining → reaped.
//!
//! # Layers
//!
//! A module knows only those above its line in this list, and not its neighbours on the same line; a test holds it to
//! that.
//!
//! ```text
//! balance  command  id  message  network  release  scheduler  sync  telemetry  metrics  versions   the floor: words that everyone shares
//! config   worker   admin   selftest                              strangers to each other
//! filter                                                          knows config's options and worker's pools
//! proxy                                                           never sees config
//! compile                                                         the only join of config with behaviour
//! daemon                                                          knows all
//! cli                                                             the command line
//! ```

// Nothing that a client or a file says may panic.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod balance;
pub mod command;
pub mod id;
pub mod message;
pub mod metrics;
pub mod network;
pub mod release;
pub mod scheduler;
pub mod sync;
pub mod telemetry;
pub mod versions;

pub mod admin;
pub mod config;
pub mod selftest;
pub mod worker;

pub mod filter;

pub mod proxy;

pub mod compile;

pub mod daemon;

pub mod cli;
