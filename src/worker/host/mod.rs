//! The Python host: one file of Python that serves the mounts of an API to the front, embedded as it is.
//!
//! It is run as `PYTHON -u FILE`, with a copy of [`SOURCE`] as FILE and the listening Unix socket as standard input. It
//! reads the [`Manifest`](super::manifest::Manifest) named by `PASTEWAY_WORKER`, says `READY=1` on `NOTIFY_SOCKET` when
//! all mounts are built, and ends with [`UNUSABLE`] when they cannot be.
//!
//! Must not know who starts it.

/// The host's source; needs Python 3.8 or later, its standard library, and the operator's PasteDeploy.
pub const SOURCE: &str = include_str!("host.py");

/// Exit code of a host whose mounts cannot be built; its report is on standard error.
pub const UNUSABLE: i32 = 78;
