//! One load's view of the disk: every file is read once, so that all parts of a load see the same bytes.
//!
//! Must not know what the files mean.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use sha2::{Digest, Sha256};

/// A file as it was read.
#[derive(Debug)]
pub struct Source {
    /// As the operator (or a file of theirs) named it.
    pub path: PathBuf,
    /// All of it, undecoded.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`.
    pub digest: [u8; 32],
}

impl Source {
    fn new(path: PathBuf, bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes).into();
        Self { path, bytes, digest }
    }
}

/// All of a file. Nobody waits for the writer of a FIFO, and no device fills the memory.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 MiB"));
    }
    Ok(bytes)
}

/// What the first look gave, or its error, which cannot be copied as it is.
type Seen<T> = Result<T, (io::ErrorKind, String)>;

/// What one load has read and looked for. A second request for the same path gets the same answer,
/// whatever has happened on the disk meanwhile.
#[derive(Debug, Default)]
pub struct Reading {
    // By the names as they are written: to a `Path`, `a.ini/` is `a.ini`, and to the system it is not.
    files: RefCell<IndexMap<OsString, Seen<Arc<Source>>>>,
    dirs: RefCell<IndexMap<OsString, Seen<Vec<PathBuf>>>>,
    /// What is not read but started, and what that is.
    programs: RefCell<IndexMap<OsString, String>>,
    /// There is nothing but what was put in.
    closed: bool,
    /// The disk is not looked at: what an earlier load has not seen is not there.
    thawed: bool,
}

/// All that one load has seen, kept: from it the same load can be made again, whatever is on the disk then.
#[derive(Debug, Default)]
pub struct Frozen {
    files: IndexMap<OsString, Seen<Arc<Source>>>,
    dirs: IndexMap<OsString, Seen<Vec<PathBuf>>>,
    programs: IndexMap<OsString, String>,
}

impl Frozen {
    /// The files that were read, in the order of their first use.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.files.values().filter_map(|seen| seen.as_ref().ok())
    }

    /// Whether the disk holds the same now.
    pub fn is_on_disk(&self) -> bool {
        // What a program is, only the load that starts it can tell.
        let now = Reading { programs: RefCell::new(self.programs.clone()), ..Reading::new() };
        for path in self.files.keys() {
            // Missing then and now is the same too.
            let _ = now.file(Path::new(path));
        }
        for path in self.dirs.keys() {
            let _ = now.dir(Path::new(path));
        }
        now.digest() == Reading::thaw(self).digest()
    }
}

/// A configuration file is smaller than this; a device may be without end.
const LARGEST: u64 = 64 << 20;

impl Reading {
    /// A view that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A view of these files and nothing else: the disk is not looked at.
    pub fn of(files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) -> Self {
        let file =
            |(path, bytes): (PathBuf, Vec<u8>)| (path.clone().into_os_string(), Ok(Arc::new(Source::new(path, bytes))));
        Self { files: RefCell::new(files.into_iter().map(file).collect()), closed: true, ..Self::default() }
    }

    /// A view of what another has seen and nothing else.
    pub fn thaw(frozen: &Frozen) -> Self {
        Self {
            files: RefCell::new(frozen.files.clone()),
            dirs: RefCell::new(frozen.dirs.clone()),
            programs: RefCell::new(frozen.programs.clone()),
            closed: false,
            thawed: true,
        }
    }

    /// What has been seen so far. Files that are the same in `older` share its bytes.
    pub fn freeze(&self, older: Option<&Frozen>) -> Frozen {
        let shared = |path: &OsString, seen: &Seen<Arc<Source>>| match older.and_then(|older| older.files.get(path)) {
            Some(Ok(old)) if seen.as_ref().is_ok_and(|new| new.digest == old.digest) => Ok(Arc::clone(old)),
            _ => seen.clone(),
        };
        let files = self.files.borrow().iter().map(|(path, seen)| (path.clone(), shared(path, seen))).collect();
        Frozen { files, dirs: self.dirs.borrow().clone(), programs: self.programs.borrow().clone() }
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// The error of the first attempt to open or read it in this load.
    pub fn file(&self, path: &Path) -> io::Result<Arc<Source>> {
        if !self.files.borrow().contains_key(path.as_os_str()) {
            let read = match self.closed || self.thawed {
                true => Err(io::ErrorKind::NotFound.into()),
                false => read(path),
            };
            let read =
                read.map(|bytes| Arc::new(Source::new(path.to_owned(), bytes))).map_err(|e| (e.kind(), e.to_string()));
            self.files.borrow_mut().insert(path.as_os_str().to_owned(), read);
        }
        match self.files.borrow().get(path.as_os_str()) {
            Some(Ok(source)) => Ok(Arc::clone(source)),
            Some(Err((kind, text))) => Err(io::Error::new(*kind, text.clone())),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Whether it exists and can be read as a file. Counts as a look: a file that appears there later is a change.
    pub fn exists(&self, path: &Path) -> bool {
        self.file(path).is_ok()
    }

    /// The paths of a directory's entries, sorted by name.
    ///
    /// # Errors
    /// The error of the first attempt to list it in this load.
    pub fn dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        if !self.dirs.borrow().contains_key(path.as_os_str()) {
            let entries = match self.closed || self.thawed {
                true => Err(io::ErrorKind::NotFound.into()),
                false => std::fs::read_dir(path),
            };
            let list = entries
                .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>())
                .map(|mut paths| {
                    paths.sort();
                    paths
                })
                .map_err(|e| (e.kind(), e.to_string()));
            self.dirs.borrow_mut().insert(path.as_os_str().to_owned(), list);
        }
        match self.dirs.borrow().get(path.as_os_str()) {
            Some(Ok(paths)) => Ok(paths.clone()),
            Some(Err((kind, text))) => Err(io::Error::new(*kind, text.clone())),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Notes a program that the configuration leads to; it counts by its path and `identity`.
    pub fn program(&self, path: &Path, identity: &str) {
        self.programs.borrow_mut().insert(path.as_os_str().to_owned(), identity.to_owned());
    }

    /// Whether there is nothing but what was put in.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The files that were read, in the order of their first use.
    pub fn sources(&self) -> Vec<Arc<Source>> {
        self.files.borrow().values().filter_map(|read| read.as_ref().ok().cloned()).collect()
    }

    /// Every file that was looked at and whether it could be read, in the order of their first use.
    pub fn looked(&self) -> Vec<(PathBuf, bool)> {
        self.files.borrow().iter().map(|(path, read)| (PathBuf::from(path), read.is_ok())).collect()
    }

    /// Every path that was looked at, found or not, directories included: what a watcher must watch.
    pub fn watched(&self) -> Vec<PathBuf> {
        let (files, dirs, programs) = (self.files.borrow(), self.dirs.borrow(), self.programs.borrow());
        files.keys().chain(dirs.keys()).chain(programs.keys()).map(PathBuf::from).collect()
    }

    /// A digest over the names and contents of all that was seen: equal digests mean an equal configuration.
    pub fn digest(&self) -> [u8; 32] {
        let mut sum = Sha256::new();
        for (path, read) in self.files.borrow().iter() {
            sum.update(path.as_encoded_bytes());
            sum.update([0]);
            match read {
                Ok(source) => sum.update(source.digest),
                Err(_) => sum.update([1]),
            }
        }
        for (path, list) in self.dirs.borrow().iter() {
            sum.update(path.as_encoded_bytes());
            for entry in list.iter().flatten() {
                sum.update(entry.as_os_str().as_encoded_bytes());
                sum.update([0]);
            }
        }
        for (path, identity) in self.programs.borrow().iter() {
            sum.update(path.as_encoded_bytes());
            sum.update([0]);
            sum.update(identity);
        }
        sum.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_of_given_files_never_looks_at_the_disk() {
        let reading = Reading::of([("/etc/hostname".into(), b"given".to_vec())]);
        assert_eq!(reading.file(Path::new("/etc/hostname")).expect("there").bytes, b"given");
        assert!(reading.file(Path::new("/proc/self/stat")).is_err() && reading.dir(Path::new("/")).is_err());
    }

    #[test]
    fn what_was_frozen_is_seen_again_whatever_the_disk_says() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, missing) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&file, "x").expect("written");
        let look = |reading: &Reading| (reading.exists(&file), reading.exists(&missing), reading.dir(directory.path()));
        let first = Reading::new();
        let seen = look(&first);
        let frozen = first.freeze(None);
        assert!(frozen.is_on_disk());
        std::fs::remove_file(&file).expect("removed");
        std::fs::write(&missing, "y").expect("written");
        assert!(!frozen.is_on_disk());
        let again = Reading::thaw(&frozen);
        let seen_again = look(&again);
        assert_eq!((seen.0, seen.1, seen.2.ok()), (seen_again.0, seen_again.1, seen_again.2.ok()));
        assert_eq!(again.digest(), first.digest());
        let _ = again.exists(Path::new("/etc/hostname"));
        assert!(!again.exists(Path::new("/etc/hostname")), "what nobody looked for is not there");
        std::fs::remove_file(&missing).expect("removed");
        std::fs::write(&file, "x").expect("written");
        let later = Reading::new();
        let _ = look(&later);
        let later = later.freeze(Some(&frozen));
        assert!(later.is_on_disk());
        let (old, new) = (&frozen.files[file.as_os_str()], &later.files[file.as_os_str()]);
        assert!(Arc::ptr_eq(old.as_ref().expect("read"), new.as_ref().expect("read")), "equal bytes are kept once");
    }

    #[test]
    fn what_was_looked_for_is_watched_found_or_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, missing) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&file, "x").expect("written");
        let reading = Reading::new();
        assert!(reading.exists(&file) && !reading.exists(&missing));
        let _ = reading.dir(&directory.path().join("c"));
        assert_eq!(reading.watched(), [file, missing, directory.path().join("c")]);
    }

    #[test]
    fn a_fifo_without_a_writer_is_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("made");
        assert!(Reading::new().file(&fifo).expect("empty").bytes.is_empty());
    }

    #[test]
    fn a_name_that_ends_in_a_slash_is_another_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("a");
        std::fs::write(&file, "x").expect("written");
        let reading = Reading::new();
        assert!(reading.exists(&file) && !reading.exists(&file.join("")));
    }

    #[test]
    fn a_file_without_end_is_no_configuration() {
        assert_eq!(
            Reading::new().file(Path::new("/dev/zero")).expect_err("endless").kind(),
            io::ErrorKind::FileTooLarge
        );
    }
}
