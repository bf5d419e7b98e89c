//! The kernel's file events (inotify), turned into signs.
//!
//! Spoken directly rather than through a library, because of the masks: a library's asks for every open of every
//! file in a directory, so that our own reads, and each program that starts while `/etc` is on the way to a
//! configuration file, would wake the front. Directories are watched, never files: a file's watch dies with its inode.
//!
//! Must not know when an edit is over.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::route::{Ours, Role};
use super::settle::Sign;

/// Names come, go and are exchanged, and directories are shut and opened (chmod).
const NAMES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    // Two paths may lead to one directory (a bind mount): each adds to what is asked of it.
    .union(WatchFlags::MASK_ADD);

/// Files are written.
const WRITES: WatchFlags = WatchFlags::MODIFY.union(WatchFlags::CLOSE_WRITE);

/// A name came, went or was exchanged.
const NAMED: ReadFlags =
    ReadFlags::CREATE.union(ReadFlags::DELETE).union(ReadFlags::MOVED_FROM).union(ReadFlags::MOVED_TO);

/// The watched directory itself went, or may be shut now.
const GONE: ReadFlags = ReadFlags::DELETE_SELF
    .union(ReadFlags::MOVE_SELF)
    .union(ReadFlags::UNMOUNT)
    .union(ReadFlags::IGNORED)
    .union(ReadFlags::ATTRIB);

/// So many events are taken in one go; the rest waits in the kernel's bounded queue.
const BATCH: usize = 4096;

/// The watched directories.
#[derive(Debug)]
pub(super) struct Events {
    fd: OwnedFd,
    dirs: HashMap<i32, Dir>,
}

#[derive(Debug)]
struct Dir {
    path: PathBuf,
    ours: Ours,
}

/// What [`Events::hear`] heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Whether there was any event, be it a stranger's.
    pub(super) anything: bool,
    /// In order.
    pub(super) signs: Vec<Sign>,
    /// A way to a watched path may lead elsewhere now: the directories must be looked up again.
    pub(super) rerouted: bool,
}

impl Events {
    /// Nothing is watched yet.
    ///
    /// # Errors
    /// No inotify instance is left for this user, or no file descriptor.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { fd: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?, dirs: HashMap::new() })
    }

    /// Watches these directories and no others; whether all that can happen there will be heard of. Those that are gone
    /// meanwhile are left out, and so are those that may not be read.
    ///
    /// # Errors
    /// No watch is left for this user (`fs.inotify.max_user_watches`), or no memory.
    pub(super) fn watch(&mut self, directories: BTreeMap<PathBuf, Ours>) -> io::Result<bool> {
        let mut dirs: HashMap<i32, Dir> = HashMap::new();
        let mut whole = true;
        for (path, ours) in directories {
            let mask = if ours.has_files() { NAMES | WRITES } else { NAMES };
            match inotify::add_watch(&self.fd, &path, mask) {
                Ok(watch) => match dirs.get_mut(&watch) {
                    Some(dir) => dir.ours.merge(ours),
                    None => {
                        dirs.insert(watch, Dir { path, ours });
                    }
                },
                Err(error @ (Errno::NOSPC | Errno::NOMEM)) => return Err(error.into()),
                Err(error) => {
                    whole &= error != Errno::ACCESS;
                    tracing::debug!("directory {} is not watched: {error}", path.display());
                }
            }
        }
        for watch in self.dirs.keys().filter(|watch| !dirs.contains_key(watch)) {
            // Fails when the directory is gone and its watch with it.
            let _ = inotify::remove_watch(&self.fd, *watch);
        }
        self.dirs = dirs;
        Ok(whole)
    }

    /// Takes the events that wait; never blocks.
    ///
    /// # Errors
    /// Those of read(2).
    pub(super) fn hear(&mut self) -> io::Result<Heard> {
        let mut heard = Heard::default();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        for _ in 0..BATCH {
            match reader.next() {
                Ok(event) => {
                    heard.anything = true;
                    if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                        heard.doubt(true);
                    }
                    // Unknown: an event that was on its way when its directory was dropped.
                    if let Some(dir) = self.dirs.get(&event.wd()) {
                        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                        heard.event(dir, name, event.events());
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(heard)
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Heard {
    fn doubt(&mut self, rerouted: bool) {
        self.rerouted |= rerouted;
        if self.signs.last() != Some(&Sign::Doubt) {
            self.signs.push(Sign::Doubt);
        }
    }

    fn event(&mut self, dir: &Dir, name: Option<&OsStr>, what: ReadFlags) {
        let Some(name) = name else {
            return if what.intersects(GONE) {
                self.doubt(true)
            };
        };
        let named = what.intersects(NAMED);
        match dir.ours.role(name) {
            Some(Role::File) if !what.contains(ReadFlags::ISDIR) => {
                let path = dir.path.join(name);
                self.rerouted |= named;
                if what.contains(ReadFlags::MODIFY) || what.contains(ReadFlags::CREATE) && is_being_written(&path) {
                    self.signs.push(Sign::Written(path));
                } else if what.contains(ReadFlags::CLOSE_WRITE) {
                    self.signs.push(Sign::Closed(path));
                } else if named {
                    self.signs.push(Sign::Changed(path));
                } else {
                    self.doubt(false);
                }
            }
            Some(_) if named || what.contains(ReadFlags::ATTRIB) => self.doubt(true),
            None if named && dir.ours.lists(name) => self.doubt(false),
            Some(_) | None => {}
        }
    }
}

/// Whether a name that just appeared is a file that somebody has opened to write: a symlink, a hard link or a pipe
/// is complete at once, and no close will ever be heard of it.
fn is_being_written(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.nlink() == 1)
}
