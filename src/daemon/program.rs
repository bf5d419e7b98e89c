//! What this process was started as, so that an upgrade can start the same again.
//!
//! Must not know when it is started.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::handover::ENV_UPGRADE;

/// A program and its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// This process. Its path is the one that it was called by, with every link in it: an upgrade may be a link that
    /// points elsewhere by then, or a new file under the old name, neither of which `/proc/self/exe` would lead to.
    pub fn of_process() -> Self {
        let arguments: Vec<_> = env::args_os().collect();
        let called = arguments.first().and_then(|name| located(name));
        let path = called.or_else(|| env::current_exe().ok()).unwrap_or_default();
        Self { path, arguments }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same again, in the place of this one.
    pub fn successor(&self) -> Command {
        let mut command = Command::new(&self.path);
        let mut arguments = self.arguments.iter();
        if let Some(name) = arguments.next() {
            // Under a name of Nova's it is that program.
            command.arg0(name);
        }
        command.args(arguments).env(ENV_UPGRADE, "1");
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
            command.env_remove(name);
        }
        command
    }
}

/// The absolute path of the program that runs, by the name that it was called by; `None` when that leads elsewhere.
fn located(name: &OsStr) -> Option<PathBuf> {
    let directory = env::current_dir().ok()?;
    let candidates: Vec<PathBuf> = if name.as_encoded_bytes().contains(&b'/') {
        vec![directory.join(name)]
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|entry| directory.join(entry).join(name)).collect()
    };
    let of = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let running = of(Path::new("/proc/self/exe"))?;
    candidates.into_iter().find(|path| of(path) == Some(running))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_the_link_that_it_was_called_by() {
        let temp = tempfile::tempdir().expect("a directory");
        let link = temp.path().join("nova-api");
        std::os::unix::fs::symlink("/proc/self/exe", &link).expect("a link");
        assert_eq!(located(link.as_os_str()), Some(link));
        assert_eq!(located(OsStr::new("/bin/sh")), None);
        assert_eq!(located(OsStr::new("no-such-program")), None);
    }
}
