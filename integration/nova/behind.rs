//! The same Nova behind Pasteway: its paste file and nova.conf as they are, and a pasteway.conf beside them.
//!
//! Must not know what is asked of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::compare::Nova;
use crate::stack::Stack;
use crate::support::front::executable;
use crate::support::{Front, eventually, process};

/// How long Nova's workers may take to be ready on a busy machine.
pub const START: Duration = Duration::from_secs(120);

/// How Pasteway is started for a Nova.
pub struct Behind {
    /// nova.conf, read first.
    pub conf: PathBuf,
    /// The interpreter that has this Nova.
    pub python: PathBuf,
    /// Where compiled modules are.
    pub pycache: PathBuf,
    /// The lines of `[pasteway]` about its workers.
    pub kind: String,
    /// More for its environment.
    pub environment: Vec<(&'static str, OsString)>,
    /// More lines for `[pasteway]`.
    pub more: String,
}

impl Behind {
    /// For the Nova of this name in stack.json.
    pub fn of(stack: &Stack, nova: &str) -> Self {
        let text = |what: &str| PathBuf::from(stack.text(&format!("/{nova}/{what}")));
        let pycache = Path::new(stack.text("/directory")).join("pycache");
        let python = text("venv").join("bin/python");
        let kind = format!("worker_kind = python\nworker_python = {}\n", python.display());
        Self { conf: text("conf"), python, pycache, kind, environment: Vec::new(), more: String::new() }
    }

    /// Starts it and waits until it is ready. Listeners are on free ports.
    #[track_caller]
    pub fn start(&self) -> Front {
        self.start_in(tempfile::tempdir().expect("a directory"))
    }

    /// The same with a directory in which there may be files already; Python finds modules there.
    #[track_caller]
    pub fn start_in(&self, directory: TempDir) -> Front {
        let pasteway = directory.path().join("pasteway.conf");
        std::fs::write(&pasteway, self.pasteway_conf(directory.path())).expect("pasteway.conf");
        let mut command = Command::new(executable());
        command.arg("serve");
        for file in [&self.conf, &pasteway] {
            command.arg("--config-file").arg(file);
        }
        // What Nova's own programs would read.
        for name in ["OS_NOVA_CONFIG_DIR", "OS_NOVA_CONFIG_FILES"] {
            command.env_remove(name);
        }
        // Compiled modules stay out of the sources, and are there at the next start.
        command.env("PYTHONPYCACHEPREFIX", &self.pycache).env_remove("PYTHONDONTWRITEBYTECODE");
        command.env("PYTHONPATH", directory.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let front = Front::spawn(directory, command);
        let deadline = Instant::now() + START;
        // Nova takes its time to be imported, and only then the admin socket answers.
        while !front.log().iter().any(|line| line.contains("administration on ")) {
            assert!(process::lives(front.pid()), "the front has ended");
            assert!(Instant::now() < deadline, "not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        eventually("ready", || (front.admin("/ready").status == 200).then_some(()));
        front
    }

    fn pasteway_conf(&self, directory: &Path) -> String {
        let (here, kind, more) = (directory.display(), &self.kind, &self.more);
        format!(
            "[DEFAULT]\nosapi_compute_listen = 127.0.0.1\nosapi_compute_listen_port = 0\nosapi_compute_workers = 1\n\
             metadata_listen = 127.0.0.1\nmetadata_listen_port = 0\nmetadata_workers = 1\nuse_stderr = true\n\
             [pasteway]\n{kind}admin_listen = unix:{here}/admin.sock\n\
             runtime_dir = {here}/run\nwatch_settle = 0.02\n\
             worker_start_timeout = 180\n{more}"
        )
    }
}

/// Where it answers.
#[track_caller]
pub fn answering(front: &Front) -> Nova {
    Nova { compute: front.listening("osapi_compute"), metadata: front.listening("metadata") }
}
