//! The ways in which programs save a file; the end-to-end tests save theirs by them too.
//!
//! Must not know who reads it or what it says.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Between two writes of one save: less than the front's `watch_settle`.
const STEP: Duration = Duration::from_millis(8);

/// How a file is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Save {
    /// A new file beside the old one, then a rename over it: most editors, configuration management.
    Rename,
    /// The file is emptied and written: nano, shell redirections, `cp`.
    InPlace,
    /// The same in several steps.
    InPieces,
    /// Written to a new file, brought to the disk, renamed: vim with `fsync`, databases' habits.
    Fsync,
    /// A link to a new file replaces the link or the file that was there.
    Symlink,
    /// The file is deleted and made anew: some editors, `sed -i` of old.
    Recreate,
    /// A volume of Kubernetes: `..data` becomes a link to another directory.
    Volume,
}

impl Save {
    /// Those that fit any file.
    pub const OF_FILES: [Self; 6] =
        [Self::Rename, Self::InPlace, Self::InPieces, Self::Fsync, Self::Symlink, Self::Recreate];

    /// In the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rename => "renamed over",
            Self::InPlace => "written in place",
            Self::InPieces => "written in pieces",
            Self::Fsync => "fsync and rename",
            Self::Symlink => "link swapped",
            Self::Recreate => "deleted and made anew",
            Self::Volume => "volume swapped",
        }
    }

    /// Makes `text` the content of `path`. What takes several steps sleeps between them.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(self, path: &Path, text: &str) -> io::Result<()> {
        let new = beside(path, "new");
        match self {
            Self::Rename => {
                fs::write(&new, text)?;
                fs::rename(&new, path)
            }
            Self::InPlace => fs::write(path, text),
            Self::InPieces => {
                let mut file = OpenOptions::new().write(true).truncate(true).create(true).open(path)?;
                for piece in text.as_bytes().chunks(text.len().div_ceil(5).max(1)) {
                    thread::sleep(STEP);
                    file.write_all(piece)?;
                }
                Ok(())
            }
            Self::Fsync => {
                let mut file = File::create(&new)?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                fs::rename(&new, path)
            }
            Self::Symlink => {
                let target = version(path)?;
                fs::write(&target, text)?;
                symlink(&target, &new)?;
                fs::rename(&new, path)
            }
            Self::Recreate => {
                fs::remove_file(path)?;
                thread::sleep(STEP);
                fs::write(path, text)
            }
            Self::Volume => volume(path, text),
        }
    }
}

/// `nova.conf.new` for `nova.conf`.
fn beside(path: &Path, word: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(word);
    name.into()
}

/// A name that nothing has yet.
fn version(path: &Path) -> io::Result<PathBuf> {
    let directory = beside(path, "versions");
    fs::create_dir_all(&directory)?;
    let number = fs::read_dir(&directory)?.count();
    Ok(directory.join(number.to_string()))
}

/// What the kubelet's atomic writer does: a new directory, and `..data` renamed to lead there; the file itself is a link
/// through `..data` and stays as it is.
fn volume(path: &Path, text: &str) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let data = directory.join("..data");
    let before = fs::read_link(&data).ok();
    let number: u64 = before.as_ref().and_then(|was| was.to_str()?.strip_prefix("..v")?.parse().ok()).unwrap_or(0);
    let now = format!("..v{}", number + 1);
    fs::create_dir(directory.join(&now))?;
    fs::write(directory.join(&now).join(name), text)?;
    let link = directory.join("..data_tmp");
    symlink(&now, &link)?;
    fs::rename(&link, &data)?;
    if before.is_none() {
        symlink(Path::new("..data").join(name), path)?;
    }
    match before {
        Some(before) => fs::remove_dir_all(directory.join(before)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_every_way_following_every_other_the_file_says_what_was_saved() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("nova.conf");
        fs::write(&path, "first").expect("a file");
        for first in Save::OF_FILES {
            for second in Save::OF_FILES {
                for (way, text) in [(first, "one"), (second, "two")] {
                    way.save(&path, text).expect("a save");
                    assert_eq!(fs::read_to_string(&path).expect("a file"), text, "{first:?}, {second:?}");
                }
            }
        }
    }

    #[test]
    fn a_volume_leaves_the_file_itself_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pasteway.conf");
        Save::Volume.save(&path, "one").expect("a save");
        let link = fs::read_link(&path).expect("a link");
        Save::Volume.save(&path, "two").expect("a save");
        assert_eq!(fs::read_link(&path).expect("a link"), link);
        assert_eq!(fs::read_to_string(&path).expect("a file"), "two");
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 3, "..v2, ..data and the file");
    }
}
