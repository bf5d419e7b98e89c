//! The listening Unix socket that one life of a worker inherits: made by the front, which outlives the worker and so can
//! say of each connection that it was not accepted.
//!
//! Must not know who listens on it.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::id::SlotId;
use crate::worker::wire::NOT_ACCEPTED;

/// Bytes of a path in `sockaddr_un` (Linux: 108 with the final zero byte).
const LONGEST_PATH: usize = 107;
/// Bytes of an API's name that a file name shows.
const LONGEST_NAME: usize = 24;
/// Connections that wait in the kernel; the front's own queue comes first, so this is only slack.
const BACKLOG: i32 = 1024;

/// Why a socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The kernel has no room for the path.
    #[error(
        "the socket path {path} is {length} bytes long, the kernel takes {LONGEST_PATH}; help: set a shorter `runtime_dir`"
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its bytes.
        length: usize,
    },
    /// The kernel refused.
    #[error("cannot make the socket {path}: {source}")]
    Refused {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// `DIR/osapi_compute.0.17.EXTENSION` for the life 17, begun in slot 0 of osapi_compute.
///
/// # Errors
/// [`SocketError::TooLong`].
pub fn path_of(dir: &Path, slot: &SlotId, life: u64, extension: &str) -> Result<PathBuf, SocketError> {
    let name: String = slot
        .api
        .as_str()
        .chars()
        .take(LONGEST_NAME)
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' })
        .collect();
    let path = dir.join(format!("{name}.{}.{life}.{extension}", slot.index));
    let length = path.as_os_str().len();
    if length > LONGEST_PATH { Err(SocketError::TooLong { path, length }) } else { Ok(path) }
}

/// A bound and listening socket. When it is dropped, its file goes, and who has connected and was not accepted is told
/// ([`NOT_ACCEPTED`]).
#[derive(Debug)]
pub struct WorkerSocket {
    path: PathBuf,
    socket: Socket,
}

impl WorkerSocket {
    /// Binds `path` with mode 0600. A file that a front before us left there is replaced.
    ///
    /// # Errors
    /// [`SocketError::Refused`].
    pub fn bind(path: PathBuf) -> Result<Self, SocketError> {
        let make = || -> io::Result<Socket> {
            remove(&path)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // Linux gives the file the mode that the socket has when it is bound: it is never open to others.
            rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
            socket.bind(&SockAddr::unix(&path)?)?;
            socket.listen(BACKLOG)?;
            Ok(socket)
        };
        match make() {
            Ok(socket) => Ok(Self { path, socket }),
            Err(source) => Err(SocketError::Refused { path, source }),
        }
    }

    /// Where to connect.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A descriptor for a worker.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone().map(OwnedFd::from)
    }
}

impl Drop for WorkerSocket {
    fn drop(&mut self) {
        // A file that stays only takes space: the next front replaces it.
        let _ = remove(&self.path);
        // From here on the kernel refuses connections, also to the worker, if that lives; what waits already can still be
        // accepted: by nobody but us, so that it is certain that no worker has seen it or will.
        let shut = self.socket.shutdown(Shutdown::Both).and_then(|()| self.socket.set_nonblocking(true));
        while shut.is_ok()
            && let Ok((waiting, _)) = self.socket.accept()
        {
            // Who gave up meanwhile need not know.
            let _ = waiting.send(&[NOT_ACCEPTED]);
        }
    }
}

/// Removes a file that may not be there.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn slot(api: &str) -> SlotId {
        SlotId { api: api.into(), index: 2 }
    }

    #[test]
    fn a_path_is_telling_tame_and_never_longer_than_the_kernel_takes() {
        let dir = Path::new("/run/pasteway");
        let path = path_of(dir, &slot("osapi_compute"), 17, "sock").expect("short");
        assert_eq!(path, Path::new("/run/pasteway/osapi_compute.2.17.sock"));
        let path = path_of(dir, &slot(&"../".repeat(50)), 1, "sock").expect("cut");
        assert_eq!(path, dir.join(format!("{}.2.1.sock", "_".repeat(24))));
        let deep = PathBuf::from(format!("/{}", "d".repeat(100)));
        assert!(matches!(path_of(&deep, &slot("ec2"), 1, "sock"), Err(SocketError::TooLong { length: 114, .. })));
    }

    #[test]
    fn only_the_owner_may_connect_and_the_file_goes_with_the_socket() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.sock");
        std::fs::write(&path, "left by a front before us").expect("written");
        let socket = WorkerSocket::bind(path.clone()).expect("bound");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn who_was_not_accepted_is_told_and_nobody_will_be() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = WorkerSocket::bind(dir.path().join("a.sock")).expect("bound");
        let worker = UnixListener::from(socket.share().expect("a descriptor"));
        let connect = || {
            let mut client = UnixStream::connect(socket.path()).expect("it listens");
            client.write_all(b"hello").expect("buffered");
            client
        };
        let mut accepted = connect();
        drop(worker.accept().expect("a connection"));
        let mut waiting = [connect(), connect()];
        drop(connect());
        drop(socket);
        let mut said = [0; 9];
        for client in &mut waiting {
            assert_eq!(client.read(&mut said).expect("a word"), 1);
            assert_eq!(said[0], NOT_ACCEPTED);
        }
        assert!(!matches!(accepted.read(&mut said), Ok(1..)), "a worker had it");
        worker.set_nonblocking(true).expect("set");
        assert!(worker.accept().is_err(), "nothing is left for a worker that still lives");
    }
}
