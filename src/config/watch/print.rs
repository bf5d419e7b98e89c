//! A look at files without reading them: equal prints mean that nothing was written, exchanged, added or removed.
//!
//! Must not know when a look is due.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Watched;
use crate::config::entries::{Entries, list};

/// The state of every watched path; `None` = it cannot be reached.
pub(super) type Print = BTreeMap<Watched, Option<Stat>>;

/// File stamps come from a clock that lags behind by up to a tick of the kernel (1/100 s at the slowest setting).
const TICK: Duration = Duration::from_millis(10);

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    device: u64,
    inode: u64,
    mode: u32,
    /// Size and stamps: of a file only, since a directory's change whenever a stranger's file comes or goes.
    content: Option<(u64, Stamp, Stamp)>,
    /// The names in a directory that count, sorted.
    entries: Vec<OsString>,
}

/// Seconds and nanoseconds since 1970.
type Stamp = (i64, i64);

/// Looks at all paths, through symlinks.
pub(super) fn look(paths: &[Watched]) -> Print {
    paths.iter().map(|path| (path.clone(), stat(&path.path, path.entries))).collect()
}

fn stat(path: &Path, entries: Option<Entries>) -> Option<Stat> {
    let meta = fs::metadata(path).ok()?;
    let mut stat =
        Stat { device: meta.dev(), inode: meta.ino(), mode: meta.mode(), content: None, entries: Vec::new() };
    if meta.is_dir() {
        if let Some(entries) = entries {
            stat.entries = list(path).ok()?;
            stat.entries.retain(|name| entries.include(name));
        }
    } else {
        stat.content = Some((meta.len(), (meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())));
    }
    Some(stat)
}

/// Whether the path may have changed after `since`, as far as its stamps tell (of a missing file: its directory's).
pub(super) fn changed_since(path: &Path, since: SystemTime) -> bool {
    let parent = || path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(meta) = fs::metadata(path).or_else(|_| fs::metadata(parent())) else { return false };
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(meta.ctime()), u32::try_from(meta.ctime_nsec())) else {
        return false;
    };
    UNIX_EPOCH + Duration::new(seconds, nanos) + TICK >= since
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_log_leaves_the_print_of_its_directory_and_its_neighbour_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (conf, log) = (dir.path().join("nova.conf"), dir.path().join("nova-api.log"));
        fs::write(&conf, "a").unwrap();
        fs::write(&log, "a").unwrap();
        let paths = [conf.into(), Watched { path: dir.path().to_owned(), entries: Some(Entries::Conf) }];
        let before = look(&paths);
        fs::write(&log, "more").unwrap();
        fs::write(dir.path().join(".nova.conf.swp"), "").unwrap();
        fs::write(dir.path().join("stranger.1"), "").unwrap();
        assert_eq!(look(&paths), before);
        fs::write(dir.path().join("new.conf"), "").unwrap();
        assert_ne!(look(&paths), before);
    }

    #[test]
    fn an_exchanged_file_differs_even_with_the_same_text() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("nova.conf");
        fs::write(&conf, "same").unwrap();
        let look = || look(&[conf.clone().into()]);
        let before = look();
        fs::write(dir.path().join("new"), "same").unwrap();
        fs::rename(dir.path().join("new"), &conf).unwrap();
        assert_ne!(look(), before);
    }

    #[test]
    fn what_was_written_after_the_reading_is_told_by_its_stamps() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("nova.conf");
        fs::write(&conf, "").unwrap();
        assert!(changed_since(&conf, UNIX_EPOCH));
        assert!(!changed_since(&conf, SystemTime::now() + Duration::from_secs(60)));
        assert!(changed_since(&dir.path().join("missing"), UNIX_EPOCH));
    }
}
