//! Which names in which directories decide what a path means: every component on its way, through every symlink.
//!
//! Must not know how directories are watched.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::config::{Entries, Watched};

/// As many symlinks as the kernel follows in one path (Linux `MAXSYMLINKS`, path_resolution(7)).
const MAX_LINKS: usize = 40;

/// What a name in a directory is to a watched path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// A directory or symlink on the way to it.
    Way,
    /// The path's own last name, or that of the symlink's target.
    File,
}

/// What is ours in one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ours {
    names: HashMap<OsString, Role>,
    /// The directory is itself a watched path: these of its names count.
    listed: Option<Entries>,
}

impl Ours {
    /// What the name is to us; `None` for a stranger's.
    pub(super) fn role(&self, name: &OsStr) -> Option<Role> {
        self.names.get(name).copied()
    }

    /// Whether the name is one of those that make the directory what it is.
    pub(super) fn lists(&self, name: &OsStr) -> bool {
        self.listed.is_some_and(|entries| entries.include(name))
    }

    /// Whether what is written into files here can concern us.
    pub(super) fn has_files(&self) -> bool {
        self.names.values().any(|role| *role == Role::File)
    }

    /// Adds what is ours in the same directory under another name of it.
    pub(super) fn merge(&mut self, other: Self) {
        self.listed = self.listed.max(other.listed);
        for (name, role) in other.names {
            self.add(name, role);
        }
    }

    fn add(&mut self, name: OsString, role: Role) {
        let known = self.names.entry(name).or_insert(role);
        *known = role.max(*known);
    }
}

/// The directories to watch (their real paths) and what is ours in them, as the disk is now.
///
/// A path that does not exist contributes the directories up to the first missing name, so that its appearance is seen.
pub(super) fn directories(paths: &[Watched]) -> BTreeMap<PathBuf, Ours> {
    let mut all = BTreeMap::new();
    for path in paths {
        // Fails only for an empty path, or when the working directory is gone.
        if let Ok(absolute) = std::path::absolute(&path.path) {
            follow(&mut all, &absolute, path.entries);
        }
    }
    all
}

/// Walks one absolute path as the kernel does.
fn follow(all: &mut BTreeMap<PathBuf, Ours>, path: &Path, entries: Option<Entries>) {
    let mut here = PathBuf::from("/");
    let mut todo = names(path);
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            here.pop();
            continue;
        }
        let role = if todo.is_empty() { Role::File } else { Role::Way };
        let next = here.join(&name);
        all.entry(here.clone()).or_default().add(name, role);
        match fs::symlink_metadata(&next) {
            Ok(meta) if meta.is_symlink() => {
                links += 1;
                let Ok(target) = fs::read_link(&next) else { return };
                if links > MAX_LINKS {
                    return;
                }
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                todo.extend(names(&target));
            }
            Ok(meta) => {
                if todo.is_empty() && meta.is_dir() {
                    let ours = all.entry(next.clone()).or_default();
                    ours.listed = ours.listed.max(entries);
                }
                here = next;
            }
            Err(_) => return,
        }
    }
}

/// The names of a path, last first.
fn names(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        (dir, real)
    }

    #[test]
    fn every_link_of_a_config_map_is_on_the_way() {
        let (_keep, dir) = root();
        fs::create_dir(dir.join("..2024")).unwrap();
        fs::write(dir.join("..2024/nova.conf"), "").unwrap();
        symlink("..2024", dir.join("..data")).unwrap();
        symlink("..data/nova.conf", dir.join("nova.conf")).unwrap();
        let all = directories(&[dir.join("nova.conf").into()]);
        let here = &all[&dir];
        assert_eq!(here.role("nova.conf".as_ref()), Some(Role::File));
        assert_eq!(here.role("..data".as_ref()), Some(Role::Way));
        assert_eq!(here.role("..2024".as_ref()), Some(Role::Way));
        assert_eq!(here.role("nova-api.log".as_ref()), None);
        assert_eq!(all[&dir.join("..2024")].role("nova.conf".as_ref()), Some(Role::File));
        assert_eq!(all[dir.parent().unwrap()].role(dir.file_name().unwrap()), Some(Role::Way));
    }

    #[test]
    fn a_missing_path_is_awaited_at_its_first_missing_name() {
        let (_keep, dir) = root();
        let all = directories(&[dir.join("nova.conf.d/10-local.conf").into()]);
        assert_eq!(all[&dir].role("nova.conf.d".as_ref()), Some(Role::Way));
        assert!(!all.contains_key(&dir.join("nova.conf.d")));
    }

    #[test]
    fn a_directory_counts_those_of_its_names_that_are_read_and_its_own() {
        let (_keep, dir) = root();
        let all = directories(&[Watched { path: dir.clone(), entries: Some(Entries::Conf) }]);
        assert!(all[&dir].lists("10.conf".as_ref()) && !all[&dir].lists("stranger.1".as_ref()));
        assert_eq!(all[dir.parent().unwrap()].role(dir.file_name().unwrap()), Some(Role::File));
    }

    #[test]
    fn a_ring_of_links_comes_to_an_end() {
        let (_keep, dir) = root();
        symlink("b", dir.join("a")).unwrap();
        symlink("a", dir.join("b")).unwrap();
        let all = directories(&[dir.join("a").into()]);
        assert!(all[&dir].has_files());
    }

    #[test]
    fn dots_lead_up_from_the_link_target() {
        let (_keep, dir) = root();
        fs::create_dir_all(dir.join("real/deep")).unwrap();
        symlink("real/deep", dir.join("link")).unwrap();
        let all = directories(&[dir.join("link/../nova.conf").into()]);
        assert_eq!(all[&dir.join("real")].role("nova.conf".as_ref()), Some(Role::File));
    }
}
