//! Where the admin API listens: TCP addresses and Unix sockets.
//!
//! Must not know what is spoken on them.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::Mode;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

/// One address of the admin API; reads and shows as `127.0.0.1:9774`, `[::1]:9774`, `unix:/run/pasteway/admin.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum AdminListen {
    /// An address and a port; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A socket file, made with mode 0600.
    Unix(PathBuf),
}

/// The text names no admin address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither ADDRESS:PORT nor unix:/PATH")]
pub struct NotAnAddress(String);

impl FromStr for AdminListen {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(NotAnAddress(text.to_owned())),
            None => text.parse().map(Self::Tcp).map_err(|_| NotAnAddress(text.to_owned())),
        }
    }
}

impl fmt::Display for AdminListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<AdminListen> for String {
    fn from(listen: AdminListen) -> Self {
        listen.to_string()
    }
}

impl TryFrom<String> for AdminListen {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Self, NotAnAddress> {
        text.parse()
    }
}

/// A bound, listening, non-blocking socket.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(std::net::TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listening {
    /// Binds and listens. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// The address cannot be bound; the text names it.
    pub(super) fn bind(listen: &AdminListen) -> io::Result<Self> {
        let bound = match listen {
            AdminListen::Tcp(address) => tcp(*address),
            AdminListen::Unix(path) => unix(path),
        };
        bound.map_err(|e| io::Error::new(e.kind(), format!("admin listener {listen} cannot be bound: {e}")))
    }

    /// Takes a socket that listens already, of the front before this one; a socket's file stays that one's until it is
    /// [claimed](SocketFile::claim).
    ///
    /// # Errors
    /// Those of the kernel.
    pub(super) fn adopt(listen: &AdminListen, socket: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(socket);
        socket.set_nonblocking(true)?;
        Ok(match listen {
            AdminListen::Tcp(_) => Self::Tcp(socket.into()),
            AdminListen::Unix(path) => Self::Unix(socket.into(), SocketFile { path: path.clone(), inode: None }),
        })
    }

    /// The same socket for another process.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(match self {
            Self::Tcp(listener) => listener.try_clone()?.into(),
            Self::Unix(listener, _) => listener.try_clone()?.into(),
        })
    }

    /// The real address: the port is never 0.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub(super) fn address(&self) -> io::Result<AdminListen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(AdminListen::Tcp),
            Self::Unix(_, file) => Ok(AdminListen::Unix(file.path.clone())),
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<Listening> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(Listening::Tcp(listener))
}

fn unix(path: &Path) -> io::Result<Listening> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Before bind(2), which gives the file the socket's own mode: there is no moment at which others may connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_stale(path)? {
            return Err(error);
        }
        fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    socket.listen(128)?;
    socket.set_nonblocking(true)?;
    let mut file = SocketFile { path: path.to_owned(), inode: None };
    file.claim();
    Ok(Listening::Unix(socket.into(), file))
}

/// Whether the file is a socket on which nobody listens.
fn is_stale(path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path)?.file_type().is_socket()
        && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused))
}

/// A socket's file; removed on drop, unless somebody else has put another in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// `None`: it is not ours to remove.
    inode: Option<u64>,
}

impl SocketFile {
    /// The file is ours from now on.
    pub(super) fn claim(&mut self) {
        if self.inode.is_none() {
            self.inode = fs::symlink_metadata(&self.path).ok().map(|meta| meta.ino());
        }
    }

    /// Leaves the file to the process that has the socket too.
    pub(super) fn leave(&mut self) {
        self.inode = None;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| Some(meta.ino()) == self.inode) {
            // Nothing is lost when it stays: the next front replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_address_reads_as_it_shows() {
        for text in ["127.0.0.1:9774", "[::1]:9774", "unix:/run/pasteway/admin.sock"] {
            assert_eq!(text.parse::<AdminListen>().unwrap().to_string(), text);
        }
        for text in ["unix:relative", "localhost", "9774", ""] {
            assert!(text.parse::<AdminListen>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        let listen = AdminListen::Unix(path.clone());
        let first = Listening::bind(&listen).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = Listening::bind(&listen).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists(), "the file goes with its listener");
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        fs::write(&path, "precious").unwrap();
        assert!(Listening::bind(&AdminListen::Unix(path.clone())).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn the_file_of_a_successor_outlives_its_predecessor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let old = Listening::bind(&AdminListen::Unix(path.clone())).unwrap();
        fs::rename(&path, dir.path().join("old.sock")).unwrap();
        let _new = Listening::bind(&AdminListen::Unix(path.clone())).unwrap();
        drop(old);
        assert!(path.exists());
    }
}
