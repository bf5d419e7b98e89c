//! The instance file: by it the command line, and a successor, find the running front.
//!
//! Must not know where the file stands or who holds the instance's lock.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::listen::AdminListen;

/// `{"pid": 4242, "admin": ["127.0.0.1:9774", "unix:/run/pasteway/admin.sock"], "files": ["/etc/nova/nova.conf"], "key": "…"}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Of the front.
    pub pid: u32,
    /// The real addresses of its admin listener.
    pub admin: Vec<AdminListen>,
    /// The configuration files, and directories of such, that it runs with; absolute.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// Opens the admin listener as its token does: who may read it is of the front's user, or root.
    #[serde(default)]
    pub key: String,
}

impl Instance {
    /// Whether its process is there, as far as can be seen from here.
    pub fn runs(&self) -> bool {
        Path::new("/proc").join(self.pid.to_string()).exists()
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is missing, unreadable, or no instance file.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// Writes the file with mode 0600, whole or not at all.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension(format!("{}.new", self.pid));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&new, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("front.json");
        let admin = ["127.0.0.1:9774", "unix:/run/pasteway/admin.sock"].map(|a| a.parse().unwrap()).to_vec();
        let files = vec!["/etc/nova/nova.conf".into()];
        let instance = Instance { pid: 4242, admin, files, key: "ab".into() };
        instance.write(&path).unwrap();
        assert_eq!(Instance::read(&path).unwrap(), instance);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            r#"{"pid":4242,"admin":["127.0.0.1:9774","unix:/run/pasteway/admin.sock"],"files":["/etc/nova/nova.conf"],"key":"ab"}"#
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
