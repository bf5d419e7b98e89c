//! Workers that have outlived their front. One that is killed cannot end them; the kernel tells them (SIGTERM), but who is
//! frozen, or hangs in foreign code, does not hear it. The next front with the same `runtime_dir` ends them.
//!
//! Must not know what that front is to serve.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::wire::{ENV_FRONT_PID, ENV_RUNTIME_DIR};

/// A process that is left, by a descriptor: no later one with the same number is ever meant.
#[derive(Debug)]
pub struct Leftover {
    pid: i32,
    handle: OwnedFd,
}

/// All processes that a front with this directory has started and that it is no longer a parent of.
///
/// # Errors
/// When there is no /proc.
pub fn find(runtime_dir: &Path) -> io::Result<Vec<Leftover>> {
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // Who ends meanwhile is not left; who is somebody else's does not tell.
    Ok(pids.filter_map(|pid| look(pid, runtime_dir)).collect())
}

fn look(pid: i32, runtime_dir: &Path) -> Option<Leftover> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let front = front_of(&environ, runtime_dir)?;
    if ancestors(pid).any(|ancestor| ancestor == front) {
        return None;
    }
    let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    Some(Leftover { pid, handle })
}

/// The front that has started a process with this environment, if that one had the directory.
fn front_of(environ: &[u8], runtime_dir: &Path) -> Option<i32> {
    let pairs = environ.split(|byte| *byte == 0).filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((pair.get(..at)?, pair.get(at + 1..)?))
    });
    let variables: HashMap<&[u8], &[u8]> = pairs.collect();
    let directory = variables.get(ENV_RUNTIME_DIR.as_bytes())?;
    let front = variables.get(ENV_FRONT_PID.as_bytes())?;
    // Its own directory lies in that.
    (Path::new(OsStr::from_bytes(directory)).parent()? == runtime_dir).then_some(())?;
    std::str::from_utf8(front).ok()?.parse().ok()
}

/// The parent of a process, that one's parent and so on.
fn ancestors(pid: i32) -> impl Iterator<Item = i32> {
    std::iter::successors(Some(pid), |pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok().filter(|parent| *parent > 0)
    })
    .skip(1)
}

/// Ends them: SIGTERM, which the frozen ones hear now, and SIGKILL after `grace`. Blocks until then.
pub fn end(leftovers: &[Leftover], grace: Duration) {
    for Leftover { pid, handle } in leftovers {
        tracing::warn!(target: "pasteway::worker", "worker {pid} of a front that is gone is still there: it is ended");
        // It may be gone by now.
        let _ = pidfd_send_signal(handle, Signal::TERM);
        let _ = pidfd_send_signal(handle, Signal::CONT);
    }
    let deadline = Instant::now() + grace;
    for Leftover { handle, .. } in leftovers {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
        // A descriptor of a process can be read from when it has ended.
        if poll(&mut [PollFd::new(handle, PollFlags::IN)], left.as_ref()) == Ok(0) {
            let _ = pidfd_send_signal(handle, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_front_of_a_process_is_told_by_its_environment() {
        let environ = b"HOME=/\0PASTEWAY_FRONT_PID=7\0PASTEWAY_RUNTIME_DIR=/run/a/7\0";
        assert_eq!(front_of(environ, Path::new("/run/a")), Some(7));
        assert_eq!(front_of(environ, Path::new("/run/b")), None);
        assert_eq!(front_of(b"PASTEWAY_FRONT_PID=7\0", Path::new("/run/a")), None);
        assert_eq!(front_of(b"\0=\0x\0", Path::new("/run/a")), None);
    }

    #[test]
    fn who_has_no_front_any_more_is_ended_and_who_has_one_is_left_alone() {
        let room = tempfile::tempdir().expect("a directory");
        let start = |front: u32| {
            let mut command = Command::new("sleep");
            command.arg("1000").env(ENV_RUNTIME_DIR, room.path().join("1")).env(ENV_FRONT_PID, front.to_string());
            let child = command.stdin(Stdio::null()).spawn().expect("started");
            // The kernel lets the parent go on a moment before the new program has its environment.
            while fs::read(format!("/proc/{}/environ", child.id())).expect("a child").is_empty() {
                std::thread::yield_now();
            }
            child
        };
        // No process has this number.
        let (mut orphan, mut ours) = (start(u32::MAX >> 1), start(std::process::id()));
        let found = find(room.path()).expect("/proc");
        assert_eq!(found.iter().map(|it| it.pid.unsigned_abs()).collect::<Vec<_>>(), [orphan.id()]);
        end(&found, Duration::from_secs(10));
        assert_eq!(orphan.wait().expect("a child").signal(), Some(Signal::TERM.as_raw()));
        assert!(ours.try_wait().expect("a child").is_none());
        ours.kill().and_then(|()| ours.wait()).expect("ended");
    }
}
