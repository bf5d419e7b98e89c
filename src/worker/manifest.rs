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
    /// How `python` workers start; builtin ones look at none of it.
    #[serde(default)]
    pub host: HostSpec,
}

/// What the Python host ([`host.py`](super::host)) is told beyond the mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSpec {
    /// `sys.argv[0]` of the hosted service, and its only element: services read their command line from it.
    pub program: String,
    /// The service's own WSGI entry, `module:callable`, or `module:factory()` for a function that makes it; it is
    /// imported, and where it asks Paste for `paste_name` it gets the mounts. `None`: the sections are loaded directly.
    pub worker_app: Option<String>,
    /// Requests that the worker takes at once (`worker_threads`); at least 1.
    pub threads: usize,
    /// The Paste file as the operator knows it, absolute.
    pub paste_file: String,
    /// The name under which the service asks Paste for its app: the API's, or `main`.
    pub paste_name: String,
    /// The service's `--config-file`s, absolute, in order; without the Paste file.
    pub config_files: Vec<String>,
    /// Its `--config-dir`s, absolute.
    pub config_dirs: Vec<String>,
    /// Files and directories of the operator's (absolute) → their copies of this generation; `None`: there was no such
    /// file. Reading, listing or examining the one does so to the other; what is in a directory of this list but not
    /// in its copy is not there.
    pub frozen: IndexMap<String, Option<String>>,
    /// The Paste file's logging sections (`[loggers]`, …) are handed to `logging.config.fileConfig`.
    pub file_logging: bool,
    /// The service's manager class, `module.Class`, whose hooks run before and after the first request is accepted
    /// (`metadata_manager` of Nova up to Ussuri).
    pub manager: Option<String>,
    /// The front validates tokens for these mounts: what rebuilds `keystone.token_auth` is imported at the start.
    pub token_auth: bool,
}

impl Default for HostSpec {
    fn default() -> Self {
        Self {
            program: "nova-api".to_owned(),
            worker_app: None,
            threads: 1,
            paste_file: String::new(),
            paste_name: "main".to_owned(),
            config_files: Vec::new(),
            config_dirs: Vec::new(),
            frozen: IndexMap::new(),
            file_logging: false,
            manager: None,
            token_auth: false,
        }
    }
}

/// What remains of a pipeline below the cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Outermost first; the last one is the app (or a composite that the front does not know).
    pub contexts: Vec<MountContext>,
}

/// One Paste context of a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// `paste.app_factory`, `paste.filter_app_factory`, …; `None` where the installed distribution decides (`egg:`).
    #[serde(default)]
    pub protocol: Option<String>,
    /// The file in which a composite's factory looks up further names; empty: `file`.
    #[serde(default)]
    pub loader: String,
    /// What a file that refers to `loader` passes on to its `[DEFAULT]`.
    #[serde(default)]
    pub inherited: IndexMap<String, String>,
}
