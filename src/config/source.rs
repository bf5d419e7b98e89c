//! One load's view of the disk: every file is read once, so that all parts of a load see the same bytes.
//!
//! Must not know what the files mean.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use sha2::{Digest, Sha256};

/// No configuration is larger; `/dev/zero` is.
const MAX_SIZE: u64 = 64 * 1024 * 1024;

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

/// What one load has read and looked for. A second request for the same path gets the same answer,
/// whatever has happened on the disk meanwhile.
#[derive(Debug, Default)]
pub struct Reading {
    files: RefCell<Seen<Arc<Source>>>,
    dirs: RefCell<Seen<Vec<PathBuf>>>,
}

/// What each path gave at the first look, in the order of the looks.
type Seen<T> = IndexMap<PathBuf, Result<T, (io::ErrorKind, String)>>;

impl Reading {
    /// A view that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// The error of the first attempt to open or read it in this load.
    pub fn file(&self, path: &Path) -> io::Result<Arc<Source>> {
        if !self.files.borrow().contains_key(path) {
            let read = read(path)
                .map(|bytes| {
                    let digest = Sha256::digest(&bytes).into();
                    Arc::new(Source { path: path.to_owned(), bytes, digest })
                })
                .map_err(|e| (e.kind(), e.to_string()));
            self.files.borrow_mut().insert(path.to_owned(), read);
        }
        match self.files.borrow().get(path) {
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
        if !self.dirs.borrow().contains_key(path) {
            let list = std::fs::read_dir(path)
                .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>())
                .map(|mut paths| {
                    paths.sort();
                    paths
                })
                .map_err(|e| (e.kind(), e.to_string()));
            self.dirs.borrow_mut().insert(path.to_owned(), list);
        }
        match self.dirs.borrow().get(path) {
            Some(Ok(paths)) => Ok(paths.clone()),
            Some(Err((kind, text))) => Err(io::Error::new(*kind, text.clone())),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The files that were read, in the order of their first use.
    pub fn sources(&self) -> Vec<Arc<Source>> {
        self.files.borrow().values().filter_map(|read| read.as_ref().ok().cloned()).collect()
    }

    /// Every path that was looked at, found or not, directories included: what a watcher must watch.
    pub fn watched(&self) -> Vec<PathBuf> {
        self.files.borrow().keys().chain(self.dirs.borrow().keys()).cloned().collect()
    }

    /// A digest over the names and contents of all that was seen: equal digests mean an equal configuration.
    pub fn digest(&self) -> [u8; 32] {
        let mut sum = Sha256::new();
        for (path, read) in self.files.borrow().iter() {
            sum.update(path.as_os_str().as_encoded_bytes());
            sum.update([0]);
            match read {
                Ok(source) => sum.update(source.digest),
                Err(_) => sum.update([1]),
            }
        }
        for (path, list) in self.dirs.borrow().iter() {
            sum.update(path.as_os_str().as_encoded_bytes());
            for entry in list.iter().flatten() {
                sum.update(entry.as_os_str().as_encoded_bytes());
                sum.update([0]);
            }
        }
        sum.finalize().into()
    }
}

/// All of a file. Nobody waits for the writer of a FIFO, and no device fills the memory.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {MAX_SIZE} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_without_a_writer_and_an_endless_device_are_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("made");
        let reading = Reading::new();
        assert!(reading.file(&fifo).expect("empty").bytes.is_empty());
        assert!(reading.file(Path::new("/dev/null")).expect("empty").bytes.is_empty());
        let endless = reading.file(Path::new("/dev/zero")).map(drop);
        assert_eq!(endless.map_err(|error| error.kind()), Err(io::ErrorKind::FileTooLarge));
    }
}
