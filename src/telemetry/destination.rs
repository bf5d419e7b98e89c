//! Where lines go: a file, the standard streams, syslog.
//!
//! Must not know how lines are made; used by the log thread alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Access;

/// A place for the log, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `log_file`: appended to, and opened anew when it has been moved or deleted.
    File(PathBuf),
    /// `use_stderr`.
    Stderr,
    /// When there is neither of the two.
    Stdout,
    /// `use_syslog`: datagrams to `/dev/log`.
    Syslog {
        /// `syslog_log_facility` as syslog(3) numbers it: LOG_USER is 1, LOG_LOCAL0 is 16.
        facility: u8,
        /// What the lines are tagged with.
        program: String,
    },
}

impl Destination {
    /// Whether it can be opened, as far as that can be told without doing it.
    pub(super) fn check(&self) -> io::Result<()> {
        let Self::File(path) = self else { return Ok(()) };
        let may = |path: &Path, access| Ok(rustix::fs::access(path, access)?);
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => may(path, Access::WRITE_OK),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
                may(dir, Access::WRITE_OK | Access::EXEC_OK)
            }
            Err(error) => Err(error),
        }
    }
}

/// The number of a facility by its name with or without `LOG_` (`LOG_LOCAL0`, `daemon`).
pub fn facility_named(name: &str) -> Option<u8> {
    const NAMES: &[&str] =
        &["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"];
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix("log_").unwrap_or(&name);
    if let Some(local) = name.strip_prefix("local") {
        return local.parse().ok().filter(|n| *n < 8).map(|n: u8| 16 + n);
    }
    NAMES.iter().position(|known| *known == name).and_then(|n| n.try_into().ok())
}

/// How often a file's name is looked up.
const WATCH: Duration = Duration::from_secs(1);

/// An open destination.
#[derive(Debug)]
pub(super) enum Sink {
    File(WatchedFile),
    Stderr,
    Stdout,
    Syslog(Syslog),
}

impl Sink {
    pub(super) fn open(destination: &Destination) -> io::Result<Self> {
        Ok(match destination {
            Destination::File(path) => Self::File(WatchedFile::open(path)?),
            Destination::Stderr => Self::Stderr,
            Destination::Stdout => Self::Stdout,
            Destination::Syslog { facility, program } => Self::Syslog(Syslog::open(*facility, program)?),
        })
    }

    /// Writes whole lines; `severity` is syslog(3)'s.
    pub(super) fn write(&mut self, lines: &[u8], severity: u8) -> io::Result<()> {
        match self {
            Self::File(file) => file.write(lines, Instant::now()),
            Self::Stderr => io::stderr().write_all(lines),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::Syslog(syslog) => syslog.write(lines, severity),
        }
    }
}

/// A file that is followed by name, as Python's `WatchedFileHandler` does it.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    file: File,
    identity: (u64, u64),
    looked: Instant,
}

impl WatchedFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let metadata = file.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self { path: path.to_owned(), file, identity, looked: Instant::now() })
    }

    fn write(&mut self, lines: &[u8], now: Instant) -> io::Result<()> {
        if now.saturating_duration_since(self.looked) >= WATCH {
            self.looked = now;
            let there = std::fs::metadata(&self.path).map(|m| (m.dev(), m.ino()));
            if there.ok() != Some(self.identity) {
                // When the name cannot be opened, the lines go on to the file that was moved.
                if let Ok(fresh) = Self::open(&self.path) {
                    *self = Self { looked: now, ..fresh };
                }
            }
        }
        self.file.write_all(lines)
    }
}

/// The local syslog daemon.
#[derive(Debug)]
pub(super) struct Syslog {
    socket: UnixDatagram,
    facility: u8,
    tag: String,
    datagram: Vec<u8>,
}

impl Syslog {
    fn open(facility: u8, program: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // A daemon that does not read must not hold up the other destinations.
        socket.set_nonblocking(true)?;
        let tag = format!("{program}[{}]: ", std::process::id());
        Ok(Self { socket, facility, tag, datagram: Vec::new() })
    }

    fn write(&mut self, lines: &[u8], severity: u8) -> io::Result<()> {
        for line in lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            self.datagram.clear();
            write!(self.datagram, "<{}>{}", u16::from(self.facility) * 8 + u16::from(severity), self.tag)?;
            self.datagram.extend_from_slice(line);
            // Addressed each time, so that a restarted daemon gets the next line.
            self.socket.send_to(&self.datagram, "/dev/log")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_file_is_opened_anew_under_its_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, moved) = (directory.path().join("api.log"), directory.path().join("api.log.1"));
        let start = Instant::now();
        let mut file = WatchedFile::open(&path).expect("a file");
        file.write(b"one\n", start).expect("room");
        std::fs::rename(&path, &moved).expect("moved");
        file.write(b"two\n", start).expect("room");
        file.write(b"three\n", start + WATCH * 2).expect("room");
        assert_eq!(std::fs::read_to_string(&moved).expect("text"), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "three\n");
    }

    #[test]
    fn a_file_whose_directory_is_gone_goes_on_where_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("api.log");
        let mut file = WatchedFile::open(&path).expect("a file");
        drop(directory);
        assert!(file.write(b"one\n", Instant::now() + WATCH * 2).is_ok());
        assert!(!path.exists());
    }

    #[test]
    fn facilities_have_the_names_of_syslog() {
        assert_eq!(facility_named("LOG_USER"), Some(1));
        assert_eq!(facility_named("local7"), Some(23));
        assert_eq!(facility_named("LOG_LOCAL8"), None);
        assert_eq!(facility_named("nope"), None);
    }
}
