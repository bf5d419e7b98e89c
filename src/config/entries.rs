//! Which entries of a directory are read: what else lies there may come and go without being anybody's change.
//!
//! Must not know what is in them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;

/// Endings of files beside nova.conf that services read.
const READ: [&str; 10] = ["json", "yaml", "yml", "xml", "ini", "cfg", "toml", "pem", "crt", "key"];

/// What is read of a directory; each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entries {
    /// `*.conf` as a shell matches it: of a `--config-dir`, by oslo.config.
    Conf,
    /// Also what services read beside it, by its ending.
    Service,
    /// All files that are not hidden: of a policy directory, by oslo.policy.
    Visible,
}

impl Entries {
    /// Whether an entry of this name is one of them.
    pub fn include(self, name: &OsStr) -> bool {
        let ending = Path::new(name).extension().and_then(OsStr::to_str).unwrap_or_default();
        let named = match self {
            Self::Conf => ending == "conf",
            Self::Service => ending == "conf" || READ.contains(&ending),
            Self::Visible => true,
        };
        named && !name.as_encoded_bytes().starts_with(b".")
    }
}

/// The names in a directory that can be entries of any kind, sorted. Directories are none, but for one that a shell's
/// `*.conf` matches: who reads that fails.
///
/// # Errors
/// Those of opendir(3) and readdir(3).
pub fn list(path: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let (entry, name) = entry.map(|entry| (entry.file_type(), entry.file_name()))?;
        let is_file = !entry.is_ok_and(|kind| kind.is_dir());
        if Entries::Conf.include(&name) || is_file && Entries::Visible.include(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_includes_the_ones_before_it_and_none_what_is_hidden() {
        let all = [Entries::Conf, Entries::Service, Entries::Visible];
        let of = |name: &str| all.map(|entries| entries.include(name.as_ref()));
        assert_eq!(of("10.conf"), [true, true, true]);
        assert_eq!(of("vendordata.json"), [false, true, true]);
        for stranger in ["stranger.1", "nova.log.tmp", "10.conf~", "4913", "10.conf.dpkg-new"] {
            assert_eq!(of(stranger), [false, false, true], "{stranger}");
        }
        assert_eq!([of(".10.conf"), of(".conf"), of(".10.conf.swp")], [[false; 3]; 3]);
    }

    #[test]
    fn directories_are_no_entries_unless_a_shell_would_match_them() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["old", "x.conf", ".git"] {
            fs::create_dir(dir.path().join(name)).expect("made");
        }
        for name in ["b.yaml", "a", ".swp"] {
            fs::write(dir.path().join(name), "").expect("written");
        }
        assert_eq!(list(dir.path()).expect("a list"), ["a", "b.yaml", "x.conf"]);
    }
}
