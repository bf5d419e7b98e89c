//! Fronts with Python workers: a virtualenv with PasteDeploy, made once, and a small service of the fixtures.
//!
//! Must not know what a test wants of them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

use super::Layout;

/// The paste file of the service: `cors` runs in the front, `tag` and `app` in the worker.
pub const PASTE: &str = "[composite:osapi_compute]\nuse = egg:Paste#urlmap\n/v2: tail\n\n\
                         [pipeline:tail]\npipeline = cors tag app\n\n\
                         [filter:cors]\npaste.filter_factory = oslo_middleware.cors:filter_factory\noslo_config_project = nova\n\n\
                         [filter:tag]\npaste.filter_factory = service:tag_factory\ntag = one\n\n\
                         [app:app]\npaste.app_factory = service:app_factory\ngreeting = hello\n";

/// The virtualenv; made at the first use, which pip is needed for.
#[track_caller]
pub fn venv() -> &'static Path {
    static VENV: OnceLock<PathBuf> = OnceLock::new();
    VENV.get_or_init(|| {
        let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-workers");
        // Another test program may be making it.
        let lock = File::create(room.with_extension("lock")).expect("a lock");
        flock(&lock, FlockOperation::LockExclusive).expect("locked");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/python/venv");
        let made = Command::new("sh").arg(script).arg(&room).output().expect("a shell");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        room
    })
}

/// Its interpreter.
#[track_caller]
pub fn python() -> PathBuf {
    venv().join("bin/python")
}

/// Two Python workers of osapi_compute with this paste file.
#[track_caller]
pub fn layout(paste: &str) -> Layout {
    with_interpreter(paste, &python())
}

/// The same with another interpreter.
pub fn with_interpreter(paste: &str, python: &Path) -> Layout {
    Layout::current()
        .apis(&["osapi_compute"])
        .with_paste(paste)
        .default("osapi_compute_workers = 2")
        .group("[cors]\nallowed_origin = http://one.example")
        .pasteway("worker_kind = python")
        .pasteway("worker_threads = 2")
        .pasteway(&format!("worker_python = {}", python.display()))
        .env("PYTHONPATH", concat!(env!("CARGO_MANIFEST_DIR"), "/integration/fixtures/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

/// Two Python workers that are not ready as long as a file is there, and deaf to SIGTERM meanwhile.
#[track_caller]
pub fn held(hold: &Path) -> Layout {
    let app = format!("paste.app_factory = stubborn:app_factory\nhold = {}\n", hold.display());
    layout(&format!("[composite:osapi_compute]\nuse = egg:Paste#urlmap\n/v2: app\n\n[app:app]\n{app}"))
        .pasteway("worker_stop_timeout = 1")
}
