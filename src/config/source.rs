//! One load's view of the disk: every file is read once, so that all parts of a load see the same bytes.
//!
//! Must not know what the files mean.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use sha2::{Digest, Sha256};

use super::entries::{Entries, list};

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

/// A directory as it was listed once.
#[derive(Clone, Debug)]
struct Listing {
    names: Seen<Vec<OsString>>,
    /// What is read of it, over all who asked.
    read: Entries,
}

impl Listing {
    /// The names that count.
    fn names(&self, read: Entries) -> impl Iterator<Item = &OsString> {
        self.names.iter().flatten().filter(move |name| read.include(name))
    }
}

/// A path that a load has looked at, found or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watched {
    /// The path.
    pub path: PathBuf,
    /// Which of its entries count, where it is looked at as a directory.
    pub entries: Option<Entries>,
}

impl From<PathBuf> for Watched {
    fn from(path: PathBuf) -> Self {
        Self { path, entries: None }
    }
}

/// What one load has read and looked for. A second request for the same path gets the same answer,
/// whatever has happened on the disk meanwhile.
#[derive(Debug, Default)]
pub struct Reading {
    // By the names as they are written: to a `Path`, `a.ini/` is `a.ini`, and to the system it is not.
    files: RefCell<IndexMap<OsString, Seen<Arc<Source>>>>,
    dirs: RefCell<IndexMap<OsString, Listing>>,
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
    dirs: IndexMap<OsString, Listing>,
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
        for (path, listing) in &self.dirs {
            let _ = now.dir(Path::new(path), listing.read);
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

    /// Whether there is something of this name, readable or not. Counts as a look: a file that appears there later is a
    /// change.
    pub fn exists(&self, path: &Path) -> bool {
        let blind = self.closed || self.thawed;
        match self.file(path) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::NotFound && !blind && std::fs::metadata(path).is_ok(),
        }
    }

    /// The names of those entries of a directory that are read, sorted. It is listed once; only these count.
    ///
    /// # Errors
    /// The error of the first attempt to list it in this load.
    pub fn dir(&self, path: &Path, read: Entries) -> io::Result<Vec<OsString>> {
        let mut dirs = self.dirs.borrow_mut();
        let listing = dirs.entry(path.as_os_str().to_owned()).or_insert_with(|| {
            let names = match self.closed || self.thawed {
                true => Err(io::ErrorKind::NotFound.into()),
                false => list(path),
            };
            Listing { names: names.map_err(|e| (e.kind(), e.to_string())), read }
        });
        listing.read = listing.read.max(read);
        match &listing.names {
            Ok(_) => Ok(listing.names(read).cloned().collect()),
            Err((kind, text)) => Err(io::Error::new(*kind, text.clone())),
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
    pub fn watched(&self) -> Vec<Watched> {
        let (files, dirs, programs) = (self.files.borrow(), self.dirs.borrow(), self.programs.borrow());
        let files = files.keys().chain(programs.keys()).map(|path| PathBuf::from(path).into());
        let dirs = dirs.iter().map(|(path, listing)| Watched { path: path.into(), entries: Some(listing.read) });
        files.chain(dirs).collect()
    }

    /// A digest over the names and contents of all that was seen: equal digests mean an equal configuration.
    pub fn digest(&self) -> [u8; 32] {
        let mut sum = Sha256::new();
        for ((look, path), seen) in self.sums() {
            sum.update(path.as_encoded_bytes());
            sum.update([0, look as u8]);
            match seen {
                Some(seen) => sum.update(seen),
                None => sum.update([0]),
            }
        }
        sum.finalize().into()
    }

    /// What the two have not seen alike, by path: nothing where their digests are equal, and only there.
    pub fn differences(&self, older: &Self) -> Vec<Difference> {
        let (was, is) = (older.sums(), self.sums());
        let keys: BTreeSet<_> = was.keys().chain(is.keys()).filter(|key| was.get(*key) != is.get(*key)).collect();
        let difference = |key: &(Look, OsString)| Difference {
            path: PathBuf::from(&key.1),
            look: key.0,
            of_both: was.contains_key(key) && is.contains_key(key),
            was: was.get(key).copied().flatten(),
            is: is.get(key).copied().flatten(),
        };
        keys.into_iter().map(difference).collect()
    }

    /// Every look, and the sum of what was there; `None`: nothing. A directory that is not there has no names in it.
    fn sums(&self) -> BTreeMap<(Look, OsString), Option<[u8; 32]>> {
        let (files, dirs, programs) = (self.files.borrow(), self.dirs.borrow(), self.programs.borrow());
        let files =
            files.iter().map(|(path, read)| ((Look::File, path.clone()), read.as_ref().ok().map(|file| file.digest)));
        let names = |listing: &Listing| {
            let mut sum = Sha256::new();
            for name in listing.names(listing.read) {
                sum.update(name.as_encoded_bytes());
                sum.update([0]);
            }
            sum.finalize().into()
        };
        let dirs = dirs.iter().map(|(path, list)| ((Look::Dir, path.clone()), Some(names(list))));
        let programs = programs
            .iter()
            .map(|(path, identity)| ((Look::Program, path.clone()), Some(Sha256::digest(identity).into())));
        files.chain(dirs).chain(programs).collect()
    }
}

/// What a path was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// Its bytes count.
    File,
    /// The names in it do.
    Dir,
    /// It is started; what it said of itself counts.
    Program,
}

/// A path at which two loads have not seen the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As it was looked for.
    pub path: PathBuf,
    /// What it was taken for.
    pub look: Look,
    /// Whether both have looked there.
    pub of_both: bool,
    /// SHA-256 of what the older one has seen; `None`: nothing.
    pub was: Option<[u8; 32]>,
    /// The same of the newer one.
    pub is: Option<[u8; 32]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_of_given_files_never_looks_at_the_disk() {
        let reading = Reading::of([("/etc/hostname".into(), b"given".to_vec())]);
        assert_eq!(reading.file(Path::new("/etc/hostname")).expect("there").bytes, b"given");
        assert!(
            reading.file(Path::new("/proc/self/stat")).is_err()
                && reading.dir(Path::new("/"), Entries::Visible).is_err()
        );
    }

    #[test]
    fn what_was_frozen_is_seen_again_whatever_the_disk_says() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, missing) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&file, "x").expect("written");
        let look = |reading: &Reading| {
            (reading.exists(&file), reading.exists(&missing), reading.dir(directory.path(), Entries::Visible))
        };
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
    fn two_loads_differ_where_they_have_not_seen_the_same_and_only_then() {
        let view = |files: &[(&str, &str)], looks: &[&str]| {
            let files = files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()));
            let reading = Reading::of(files.collect::<Vec<_>>());
            looks.iter().for_each(|path| {
                let _ = reading.file(Path::new(path));
            });
            reading
        };
        let old = view(&[("/a", "1"), ("/b", "2")], &["/missing"]);
        assert!(view(&[("/a", "1"), ("/b", "2")], &["/missing"]).differences(&old).is_empty());
        let new = view(&[("/a", "1"), ("/b", "3"), ("/missing", "4")], &["/elsewhere"]);
        let found: Vec<_> =
            new.differences(&old).into_iter().map(|it| (it.path, it.of_both, it.was.is_some())).collect();
        let want = [("/b", true, true), ("/elsewhere", false, false), ("/missing", true, false)];
        assert_eq!(found, want.map(|(path, both, was)| (PathBuf::from(path), both, was)));
        assert_ne!(new.digest(), old.digest());
    }

    #[test]
    fn of_a_directory_only_that_counts_which_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str| std::fs::write(directory.path().join(name), "").expect("written");
        write("10.conf");
        let look = |read: Entries| {
            let reading = Reading::new();
            let _ = reading.dir(directory.path(), Entries::Conf);
            let _ = reading.dir(directory.path(), read);
            reading
        };
        let (conf, all) = (look(Entries::Conf), look(Entries::Visible));
        ["stranger.1", "nova.log.tmp", ".10.conf.swp", "10.conf~"].into_iter().for_each(write);
        assert_eq!(look(Entries::Conf).digest(), conf.digest());
        assert_ne!(look(Entries::Visible).digest(), all.digest());
        let frozen = conf.freeze(None);
        assert!(frozen.is_on_disk());
        write("20.conf");
        assert_ne!(look(Entries::Conf).digest(), conf.digest());
        assert!(!frozen.is_on_disk());
        assert_eq!(conf.dir(directory.path(), Entries::Conf).expect("a list"), ["10.conf"], "as it was listed first");
    }

    #[test]
    fn what_was_looked_for_is_watched_found_or_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, missing) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&file, "x").expect("written");
        let reading = Reading::new();
        assert!(reading.exists(&file) && !reading.exists(&missing));
        let dir = directory.path().join("c");
        let _ = (reading.dir(&dir, Entries::Visible), reading.dir(&dir, Entries::Conf));
        let dir = Watched { path: dir, entries: Some(Entries::Visible) };
        assert_eq!(reading.watched(), [file.into(), missing.into(), dir]);
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
