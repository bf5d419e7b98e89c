//! The words between the front and the workers that speak HTTP/1.1 to it: header names and environment variables.
//!
//! Must not know who sends them or what is done with them.

use http::HeaderName;

/// Every header of the front to a worker begins so; the front removes such headers from what clients send.
pub const PREFIX: &str = "x-pasteway-";

/// Index into the mounts of the [`Manifest`](super::manifest::Manifest).
pub const MOUNT: HeaderName = HeaderName::from_static("x-pasteway-mount");
/// `SCRIPT_NAME`, percent-encoded. Absent if it is empty and `PATH_INFO` is the path of the request line.
pub const SCRIPT_NAME: HeaderName = HeaderName::from_static("x-pasteway-script-name");
/// `PATH_INFO`, percent-encoded. Absent together with [`SCRIPT_NAME`].
pub const PATH_INFO: HeaderName = HeaderName::from_static("x-pasteway-path-info");
/// A JSON object of further values of the WSGI environ, `null` for Python's `None`. Absent if empty.
pub const ENVIRON: HeaderName = HeaderName::from_static("x-pasteway-environ");
/// `REMOTE_ADDR`.
pub const REMOTE_ADDR: HeaderName = HeaderName::from_static("x-pasteway-remote-addr");
/// The generation that the request belongs to; a worker may have been started in an earlier one.
pub const GENERATION: HeaderName = HeaderName::from_static("x-pasteway-generation");

/// Path of the manifest; a process that finds it in its environment is a built-in worker.
pub const ENV_MANIFEST: &str = "PASTEWAY_WORKER";
/// Index of the slot.
pub const ENV_SLOT: &str = "PASTEWAY_SLOT";
/// Process id of the front: a worker whose parent is another process leaves.
pub const ENV_FRONT_PID: &str = "PASTEWAY_FRONT_PID";
/// What is the front's own in `runtime_dir`: the next front with that ends what this one left ([`leftover`](super::leftover)).
pub const ENV_RUNTIME_DIR: &str = "PASTEWAY_RUNTIME_DIR";
/// Number of the worker's life, unique in its front.
pub const ENV_LIFE: &str = "PASTEWAY_LIFE";

/// What a connection says that no worker had accepted when its listening socket went: the front itself says it, to
/// itself. No answer in any of the protocols begins so.
pub const NOT_ACCEPTED: u8 = 0;
