//! Whether the kernel ended a process for want of memory.
//!
//! A process that the out-of-memory killer chose looks like any other that got SIGKILL; only a count of such kills tells.
//! It is that of the front's own control group, where its workers are too (`oom_kill` in `memory.events` of version 2,
//! in `memory.oom_control` of version 1, as of Linux 4.13), and else that of the whole machine (`/proc/vmstat`).
//! Must not know what is done about it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What the kernel had killed for want of memory when it was last looked at, and the time before that.
///
/// The count rises before the signal is sent, and what a dying worker said before is still heard for a moment: so the
/// newest look cannot be trusted.
#[derive(Clone, Copy, Debug)]
pub struct Kills {
    before: u64,
    last: u64,
}

impl Kills {
    /// A first look.
    pub fn look() -> Self {
        let now = count(place());
        Self { before: now, last: now }
    }

    /// Another look, at a sign of life.
    pub fn look_again(&mut self) {
        *self = Self { before: self.last, last: count(place()) };
    }

    /// Whether there were more of them of late: then a process that has just got SIGKILL was one.
    pub fn have_risen(&self) -> bool {
        count(place()) > self.before
    }
}

/// The file that has the count for this process.
fn place() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let there = candidates(&groups).into_iter().find(|path| counted(path).is_some());
        there.unwrap_or_else(|| "/proc/vmstat".into())
    })
}

/// Where the count may be, by the lines of `/proc/self/cgroup`. A container may see its own group as the root.
fn candidates(groups: &str) -> Vec<PathBuf> {
    let lines = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':')
    });
    lines
        .filter_map(|(controllers, path)| match controllers {
            "" => Some(("", "memory.events", path)),
            _ if controllers.split(',').any(|name| name == "memory") => Some(("memory", "memory.oom_control", path)),
            _ => None,
        })
        .flat_map(|(mount, file, path)| {
            let root = Path::new("/sys/fs/cgroup").join(mount);
            [root.join(path.trim_start_matches('/')).join(file), root.join(file)]
        })
        .collect()
}

/// The line `oom_kill 3` of such a file.
fn counted(path: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|count| count.trim().parse().ok())
}

fn count(path: &Path) -> u64 {
    counted(path).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_counts_in_either_version() {
        let found = |groups: &str| -> Vec<String> {
            candidates(groups).iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(
            found("0::/system.slice/pasteway.service\n"),
            ["/sys/fs/cgroup/system.slice/pasteway.service/memory.events", "/sys/fs/cgroup/memory.events"]
        );
        let old = found("5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n");
        assert_eq!(old[0], "/sys/fs/cgroup/memory/a/memory.oom_control");
        assert!(counted(place()).is_some(), "{}", place().display());
    }

    #[test]
    fn a_look_just_before_the_end_hides_nothing() {
        let none = Kills { before: 0, last: 0 };
        assert_eq!(none.have_risen(), count(place()) > 0);
        let now = count(place());
        let mut kills = Kills { before: now, last: now };
        kills.look_again();
        assert!(!kills.have_risen());
        // The kill happened, then a last word was heard, then the end.
        let late = Kills { before: now.wrapping_sub(1), last: now };
        assert!(late.have_risen() || now == 0);
    }
}
