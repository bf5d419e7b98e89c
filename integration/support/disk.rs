//! A file system that is quickly full.
//!
//! Must not know what is written to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of 256 KiB and 100 files, unmounted when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it; where that is not allowed, says so and gives none. In CI it is allowed.
    #[track_caller]
    pub fn mount(path: PathBuf) -> Option<Self> {
        fs::create_dir_all(&path).expect("a directory");
        let options = ["-t", "tmpfs", "-o", "size=256k,nr_inodes=100", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(&path).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            super::missing("the right to mount a file system");
            return None;
        }
        Some(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
