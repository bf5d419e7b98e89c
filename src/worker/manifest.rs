//! What a worker is told to host: the frozen list of its API's mounts, written once per generation.
//!
//! Must not know how the front found the mounts.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// All that a worker of one API needs to know; a JSON file in the generation's directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The API's name in `enabled_apis`.
    pub api: String,
    /// The Nova release whose answers hold (`2013.2`, `31`).
    pub release: String,
    /// The generation that this manifest belongs to.
    pub generation: u64,
    /// A request names its mount by the index in this list.
    pub mounts: Vec<Mount>,
    /// Options of nova.conf that the hosted apps read, as `group.name` → text.
    pub options: IndexMap<String, String>,
}

/// What remains of a pipeline below the cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Outermost first; the last one is the app (or a composite that the front does not know).
    pub contexts: Vec<MountContext>,
}

/// One Paste context of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountContext {
    /// `filter:authtoken`; a bare URI stands for itself.
    pub section: String,
    /// `module:attr`, `call:…` or `egg:Dist#name`.
    pub factory: String,
    /// `filter` or `app`.
    pub kind: String,
    /// The file with the section.
    pub file: String,
    /// The header's line in it.
    pub line: u32,
    /// First argument of the factory.
    pub global_conf: IndexMap<String, String>,
    /// Its keyword arguments.
    pub local_conf: IndexMap<String, String>,
}
