//! The built-in worker: a stand-in app in the same binary, for a first try, tests and benchmarks.
//!
//! A process of its own, started by the front: [`run`] reads the manifest, serves HTTP/1.1 on the listening socket
//! that it inherits, and leaves with the front. A mount that is Nova's version app is answered with Nova's documents
//! ([`crate::versions`]); for any other it answers a picture of the request, as JSON, which nobody can take for the app's answer.
//!
//! # Drills
//!
//! Query parameters that make it behave as apps do on bad days. They exist only in this stand-in.
//!
//! | parameter | does |
//! |---|---|
//! | `pasteway.delay=MS` | waits before the head of the response |
//! | `pasteway.status=CODE` | answers with this status (200 to 999) |
//! | `pasteway.size=N` | answers N bytes `application/octet-stream`, made as they are sent |
//! | `pasteway.chunked=1` | sends the body without `Content-Length` |
//! | `pasteway.echo=1` | sends the request's body back while it arrives; with `Upgrade`, agrees and sends back what comes |
//! | `pasteway.memory=MIB` | takes so much memory and keeps it |
//! | `pasteway.exit=1` | kills the worker before the head |
//! | `pasteway.exit=body` | kills the worker after half of the body |
//!
//! Must not know how workers are started, or what the front did with a request before.

mod app;
mod body;
mod call;
mod drill;
mod life;
mod picture;
mod serve;

pub use life::run;
