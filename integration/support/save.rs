//! The ways in which programs save a file.
//!
//! Must not know who reads it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

/// How to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Save {
    /// A new file beside the old one, then a rename over it: most editors, configuration management.
    Rename,
    /// The file is emptied and written in several steps, as `cp` and careless scripts do.
    InSteps,
    /// A link to a new file replaces the link to the old one, as a Kubernetes volume does.
    SymlinkSwap,
}

impl Save {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rename, Self::InSteps, Self::SymlinkSwap];

    /// Makes `text` the content of `path`.
    pub fn save(self, path: &Path, text: &str) {
        match self {
            Self::Rename => {
                let new = path.with_extension("new");
                fs::write(&new, text).expect("a new file");
                fs::rename(&new, path).expect("a rename");
            }
            Self::InSteps => {
                let mut file = File::create(path).expect("the file is emptied");
                let step = text.len().div_ceil(4).max(1);
                for part in text.as_bytes().chunks(step) {
                    file.write_all(part).expect("a step");
                    file.flush().expect("a step");
                    std::thread::sleep(Duration::from_millis(8));
                }
            }
            Self::SymlinkSwap => {
                let directory = path.parent().expect("a directory").join("versions");
                fs::create_dir_all(&directory).expect("a directory");
                let number = fs::read_dir(&directory).expect("a directory").count();
                let target = directory.join(format!("{number}.ini"));
                fs::write(&target, text).expect("a new file");
                let link = path.with_extension("link");
                symlink(&target, &link).expect("a link");
                fs::rename(&link, path).expect("a rename");
            }
        }
    }
}
