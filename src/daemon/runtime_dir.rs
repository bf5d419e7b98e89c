//! `runtime_dir`: the lock that keeps a second front out, the instance file that tells the CLI where the front is,
//! and the frozen files of each generation.
//!
//! ```text
//! runtime_dir/ (0700)
//!   lock              held as long as the front, or the one that it was replaced by, lives
//!   front.json        {"pid": …, "admin": ["127.0.0.1:9774"], "files": ["/etc/nova/nova.conf"], "key": …}
//!   PID/              of one front; during an upgrade there are two
//!     generations/N/  files/… (a copy of every file that was read), manifest-API.json, host.py
//!     *.sock, *.notify  sockets of workers, and what they say of themselves
//! ```
//!
//! Must not know what the files mean.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use crate::config::{Source, settings};
use crate::id::Generation;
use crate::worker::host;
use crate::worker::manifest::Manifest;

/// The name of the instance file.
pub const INSTANCE_FILE: &str = "front.json";

const LOCK: &str = "lock";

/// The directory could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// It cannot be made or used.
    #[error("cannot use runtime_dir {path}: {error}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another front runs with it.
    #[error("another front runs with runtime_dir {0}: this one needs a runtime_dir and an admin_listen of its own")]
    Taken(PathBuf),
}

/// The directory of a running front.
pub struct RuntimeDir {
    path: PathBuf,
    /// What is this front's alone.
    own: PathBuf,
    lock: OwnedFd,
    /// It is this front's, and not that of the one before or after it.
    held: Cell<bool>,
}

impl RuntimeDir {
    /// Takes the directory that the options name: the given one, else the first that can be used, else a fresh one.
    ///
    /// # Errors
    /// See [`RuntimeDirError`].
    pub fn choose(wanted: &settings::RuntimeDir) -> Result<Self, RuntimeDirError> {
        let candidates = match wanted {
            settings::RuntimeDir::Given(path) => return Self::take(path),
            settings::RuntimeDir::FirstOf(candidates) => candidates,
        };
        for path in candidates {
            match Self::take(path) {
                Err(RuntimeDirError::Unusable { .. }) => {}
                taken => return taken,
            }
        }
        Self::take(&std::env::temp_dir().join(format!("pasteway-{}-{:08x}", std::process::id(), fastrand::u32(..))))
    }

    /// Makes the directory, locks it, and removes what a front that was killed left there.
    ///
    /// # Errors
    /// See [`RuntimeDirError`].
    pub fn take(path: &Path) -> Result<Self, RuntimeDirError> {
        let unusable = |error| RuntimeDirError::Unusable { path: path.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let metadata = std::fs::metadata(path).map_err(unusable)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(unusable)?;
        }
        let lock = private(&path.join(LOCK)).map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(RuntimeDirError::Taken(path.to_owned())),
            Err(error) => return Err(unusable(error.into())),
        }
        sweep(path);
        Self::furnish(path.to_owned(), lock.into(), true)
    }

    /// Shares the directory of a front that is to be replaced, with the lock that it has; it is that one's until
    /// [`hold`](Self::hold).
    ///
    /// # Errors
    /// [`RuntimeDirError::Unusable`].
    pub fn inherit(path: PathBuf, lock: OwnedFd) -> Result<Self, RuntimeDirError> {
        Self::furnish(path, lock, false)
    }

    fn furnish(path: PathBuf, lock: OwnedFd, held: bool) -> Result<Self, RuntimeDirError> {
        let own = of_front(&path, std::process::id());
        // An earlier process with this number has left it.
        let _ = std::fs::remove_dir_all(&own);
        match DirBuilder::new().mode(0o700).create(&own) {
            Ok(()) => Ok(Self { path, own, lock, held: Cell::new(held) }),
            Err(error) => Err(RuntimeDirError::Unusable { path: own, error }),
        }
    }

    /// The lock, for a front that is to replace this one: it holds as long as either has it.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// The front before this one has left it.
    pub fn hold(&self) {
        self.held.set(true);
    }

    /// Leaves the directory to another front, all but what is this one's alone.
    pub fn leave(&self) {
        self.held.set(false);
    }

    /// Removes what a front that was killed has left here.
    pub fn clear_after(&self, pid: u32) {
        let _ = std::fs::remove_dir_all(of_front(&self.path, pid));
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// This front's own part of it: for the sockets of its workers.
    pub fn own(&self) -> &Path {
        &self.own
    }

    /// Where a generation's files are.
    pub fn generation(&self, number: Generation) -> PathBuf {
        self.own.join("generations").join(number.to_string())
    }

    /// Where a generation's manifest for an API is.
    pub fn manifest(&self, number: Generation, api: &str) -> PathBuf {
        self.generation(number).join(format!("manifest-{api}.json"))
    }

    /// Where a generation's copy of a file or directory is.
    pub fn copy(&self, number: Generation, path: &Path) -> PathBuf {
        let below: PathBuf = path.components().filter_map(inside).collect();
        self.generation(number).join("files").join(below)
    }

    /// Where a generation's copy of the Python host is: its workers run the same one to their end, also after an
    /// upgrade of this program.
    pub fn host(&self, number: Generation) -> PathBuf {
        self.generation(number).join("host.py")
    }

    /// Copies the files that a generation was made from, and writes its manifests and the Python host. Of `dirs` there
    /// is a copy even where no file was in it.
    ///
    /// # Errors
    /// When the disk does not take them; nothing is left then.
    pub fn freeze(
        &self,
        number: Generation,
        sources: &[Arc<Source>],
        dirs: &[PathBuf],
        manifests: &[Manifest],
    ) -> io::Result<()> {
        let dir = self.generation(number);
        let write = || -> io::Result<()> {
            // Of an attempt that failed, whose files could not be removed.
            self.forget(number)?;
            for there in dirs.iter().filter(|dir| dir.is_dir()) {
                DirBuilder::new().recursive(true).mode(0o700).create(self.copy(number, there))?;
            }
            for source in sources {
                let path = self.copy(number, &source.path);
                if let Some(parent) = path.parent() {
                    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
                }
                private(&path)?.write_all(&source.bytes)?;
            }
            DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
            private(&self.host(number))?.write_all(host::SOURCE.as_bytes())?;
            for manifest in manifests {
                let path = self.manifest(number, &manifest.api);
                private(&path)?.write_all(&serde_json::to_vec_pretty(manifest)?)?;
            }
            Ok(())
        };
        write().inspect_err(|_| drop(self.forget(number)))
    }

    /// Removes a generation's files, if there are any.
    ///
    /// # Errors
    /// What the system says; some of them may be left.
    pub fn forget(&self, number: Generation) -> io::Result<()> {
        match std::fs::remove_dir_all(self.generation(number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Where the CLI finds this front.
    pub fn instance_file(&self) -> PathBuf {
        self.path.join(INSTANCE_FILE)
    }
}

/// The directories of all fronts that run, as far as this user may see. No configuration tells it for sure, since that may
/// have been edited meanwhile; but a front holds its `lock` open.
pub fn of_running_fronts() -> Vec<PathBuf> {
    let entries = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let processes = entries("/proc".into()).filter(|entry| number(&entry.file_name()).is_some());
    let open = processes.flat_map(|process| entries(process.path().join("fd")));
    let locks = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).filter(|path| path.ends_with(LOCK));
    let mut dirs: Vec<_> = locks.filter_map(|lock| Some(lock.parent()?.to_owned())).collect();
    dirs.retain(|dir| dir.join(INSTANCE_FILE).exists());
    dirs.sort();
    dirs.dedup();
    dirs
}

fn number(name: &OsStr) -> Option<u32> {
    name.to_str()?.parse().ok()
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.own);
        if self.held.get() {
            let _ = std::fs::remove_file(self.instance_file());
        }
    }
}

fn of_front(path: &Path, pid: u32) -> PathBuf {
    path.join(pid.to_string())
}

/// Removes what fronts that were killed have left.
fn sweep(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if number(&entry.file_name()).is_some() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A part of a path as a part of a path below a directory, so that two paths never become one.
fn inside(part: Component<'_>) -> Option<&OsStr> {
    match part {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..parent")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    }
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_front_is_kept_out_and_the_lock_ends_with_the_first() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("run");
        let first = RuntimeDir::take(&path).expect("free");
        assert!(matches!(RuntimeDir::take(&path), Err(RuntimeDirError::Taken(_))));
        drop(first);
        RuntimeDir::take(&path).expect("free again");
    }

    #[test]
    fn a_front_that_runs_is_seen_by_its_lock() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().canonicalize().expect("a directory").join("run");
        let dir = RuntimeDir::take(&path).expect("free");
        assert!(!of_running_fronts().contains(&path), "it cannot be asked yet");
        std::fs::write(dir.instance_file(), "{}").expect("written");
        assert!(of_running_fronts().contains(&path));
        drop(dir);
        std::fs::write(path.join(INSTANCE_FILE), "{}").expect("written");
        assert!(!of_running_fronts().contains(&path), "what a killed one left");
    }

    #[test]
    fn a_successor_shares_the_lock_and_keeps_what_its_predecessor_leaves() {
        let temp = tempfile::tempdir().expect("a directory");
        let path = temp.path().join("run");
        let old = RuntimeDir::take(&path).expect("free");
        std::fs::write(old.instance_file(), "{}").expect("written");
        let lock = old.lock().try_clone_to_owned().expect("a descriptor");
        let early = RuntimeDir::inherit(path.clone(), lock.try_clone().expect("a descriptor")).expect("shared");
        drop(early);
        assert!(old.instance_file().exists(), "who fails before his time takes nothing along");
        old.leave();
        drop(old);
        assert!(matches!(RuntimeDir::take(&path), Err(RuntimeDirError::Taken(_))));
        let new = RuntimeDir::inherit(path.clone(), lock).expect("shared");
        assert!(new.own().is_dir() && new.instance_file().exists());
        new.hold();
        drop(new);
        assert_eq!(std::fs::read_dir(&path).expect("a directory").count(), 1, "only the lock is left");
    }

    #[test]
    fn what_a_killed_front_left_goes_with_the_next() {
        let temp = tempfile::tempdir().expect("a directory");
        let left = temp.path().join("run/4194305");
        std::fs::create_dir_all(left.join("generations/7")).expect("made");
        let _dir = RuntimeDir::take(&temp.path().join("run")).expect("free");
        assert!(!left.exists());
    }

    #[test]
    fn frozen_files_are_private_and_complete() {
        let temp = tempfile::tempdir().expect("a directory");
        let dir = RuntimeDir::take(&temp.path().join("run")).expect("free");
        let source = Source { path: "/etc/nova/nova.conf".into(), bytes: b"[DEFAULT]\n".to_vec(), digest: [0; 32] };
        let empty = temp.path().join("policy.d");
        std::fs::create_dir(&empty).expect("made");
        let dirs = [empty.clone(), temp.path().join("nothing")];
        dir.freeze(Generation(3), &[Arc::new(source)], &dirs, &[]).expect("written");
        assert!(dir.copy(Generation(3), &empty).is_dir() && !dir.copy(Generation(3), &dirs[1]).exists());
        assert_eq!(std::fs::read_to_string(dir.host(Generation(3))).expect("the host"), host::SOURCE);
        let copy = dir.generation(Generation(3)).join("files/etc/nova/nova.conf");
        assert_eq!(std::fs::read(&copy).expect("a copy"), b"[DEFAULT]\n");
        assert_eq!(std::fs::metadata(&copy).expect("a copy").permissions().mode() & 0o777, 0o600);
        for _ in 0..2 {
            dir.forget(Generation(3)).expect("removed, or not there");
        }
        assert!(!copy.exists());
    }
}
