//! `signing_dir`: where certificates and the list of revoked tokens are kept, for all services of one user that name it.
//!
//! Without it, each process of the original made a directory of its own under `/tmp` and left it behind; here they are
//! kept in memory then. Files are read and written on threads that may wait for a disk.
//! Must not know what is in them.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::filter::authtoken::era::Era;

/// No file is longer.
const LARGEST: u64 = 8 << 20;

/// The three files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// `signing_cert.pem`
    Signing,
    /// `cacert.pem`
    Authorities,
    /// `revoked.pem`, which holds no PEM: the list as it was signed, without the signature.
    Revoked,
}

impl File {
    fn name(self) -> &'static str {
        match self {
            Self::Signing => "signing_cert.pem",
            Self::Authorities => "cacert.pem",
            Self::Revoked => "revoked.pem",
        }
    }
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it was written.
    pub written: SystemTime,
    length: u64,
    inode: u64,
}

/// Where they are.
#[derive(Debug)]
pub enum Store {
    /// In a directory.
    Directory {
        /// Its path.
        path: PathBuf,
        /// The mode of new files, before the umask.
        mode: u32,
    },
    /// In memory.
    Memory(Mutex<Memory>),
}

/// Files of the front alone.
#[derive(Debug, Default)]
pub struct Memory {
    files: Vec<(File, Stamp, Bytes)>,
    written: u64,
}

impl Store {
    /// That of an era, and of a directory if there is one.
    pub fn new(path: Option<PathBuf>, era: Era) -> Arc<Self> {
        Arc::new(match path {
            // Later releases made temporary files, which are their owner's alone.
            Some(path) => Self::Directory { path, mode: if era < Era::CLIENT_0_8 { 0o666 } else { 0o600 } },
            None => Self::Memory(Mutex::default()),
        })
    }

    /// The state of a file; `None` when it is not there.
    pub async fn stamp(self: &Arc<Self>, file: File) -> Option<Stamp> {
        match &**self {
            Self::Memory(memory) => {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                memory.files.iter().find(|known| known.0 == file).map(|known| known.1)
            }
            Self::Directory { path, .. } => {
                let path = path.join(file.name());
                aside(move || Ok(stamp(&fs::metadata(path)?))).await.ok()
            }
        }
    }

    /// A file and its state; `None` when it is not there.
    pub async fn read(self: &Arc<Self>, file: File) -> Option<(Stamp, Bytes)> {
        match &**self {
            Self::Memory(memory) => {
                let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                memory.files.iter().find(|known| known.0 == file).map(|known| (known.1, known.2.clone()))
            }
            Self::Directory { path, .. } => {
                let path = path.join(file.name());
                aside(move || {
                    let file = fs::File::open(path)?;
                    let stamp = stamp(&file.metadata()?);
                    let mut bytes = Vec::new();
                    file.take(LARGEST).read_to_end(&mut bytes)?;
                    Ok((stamp, bytes.into()))
                })
                .await
                .ok()
            }
        }
    }

    /// Writes a file, in one step.
    ///
    /// # Errors
    /// The disk's.
    pub async fn write(self: &Arc<Self>, file: File, bytes: Bytes) -> io::Result<()> {
        match &**self {
            Self::Memory(memory) => {
                let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
                memory.written += 1;
                let stamp = Stamp { written: SystemTime::now(), length: bytes.len() as u64, inode: memory.written };
                memory.files.retain(|known| known.0 != file);
                memory.files.push((file, stamp, bytes));
                Ok(())
            }
            Self::Directory { path, mode } => {
                let (path, mode) = (path.clone(), *mode);
                aside(move || {
                    let write = || replace(&path, file.name(), mode, &bytes);
                    write().or_else(|_| {
                        // As the original: somebody may have removed it.
                        make(&path)?;
                        write()
                    })
                })
                .await
            }
        }
    }
}

/// Makes the directory as the original does: its owner's alone.
///
/// # Errors
/// The disk's.
pub fn make(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn replace(directory: &Path, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.persist(directory.join(name)).map(drop).map_err(|error| error.error)
}

fn stamp(of: &fs::Metadata) -> Stamp {
    Stamp { written: of.modified().unwrap_or(SystemTime::UNIX_EPOCH), length: of.len(), inode: of.ino() }
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
