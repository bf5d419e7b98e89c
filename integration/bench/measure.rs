//! What a process costs: its time on a processor and its memory, from /proc.
//!
//! Must not know what the process is.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;

/// How [`cpu`] knows; printed with the tables.
pub const CPU_SOURCE: &str = "user and system, in nanoseconds, from /proc/PID/task/*/schedstat, summed over all \
     threads of all the proxy's processes";

/// Time that these processes' threads spent on a processor.
pub fn cpu(pids: &[u32]) -> Result<Duration> {
    let mut nanos = 0_u64;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the look.
            if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
                nanos += text.split_ascii_whitespace().next().unwrap_or_default().parse::<u64>()?;
            }
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// Time on a processor, by whose code ran.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// The program's own.
    pub user: Duration,
    /// The kernel's, on its behalf.
    pub system: Duration,
}

impl Times {
    /// From an earlier moment to this one.
    pub fn since(self, before: Self) -> Self {
        Self { user: self.user.saturating_sub(before.user), system: self.system.saturating_sub(before.system) }
    }
}

/// The same time as [`cpu`]'s, parted by `/proc/PID/stat`, whose unit is a tick of 10 ms: for runs of seconds.
pub fn times(pids: &[u32]) -> Result<Times> {
    let mut times = Times::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = text.rsplit_once(')').ok_or("no stat")?;
        // utime and stime are the 14th and 15th fields, the third one stands first here.
        let mut fields = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
        let mut next = || -> Result<Duration> { Ok(Duration::from_millis(10 * fields.next().ok_or("no times")??)) };
        times.user += next()?;
        times.system += next()?;
    }
    Ok(times)
}

/// Resident memory in bytes.
pub fn rss(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Who gets which processor.
#[derive(Clone, Copy)]
pub enum Side {
    /// The proxies: the first one.
    Proxy,
    /// Load and backends: the last one.
    Load,
}

/// Keeps all threads of a process on its side; does nothing on a machine with one processor.
pub fn pin(pid: u32, side: Side) -> Result<()> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = task?.file_name().to_string_lossy().parse::<i32>()?;
        set(Pid::from_raw(thread), side)?;
    }
    Ok(())
}

/// Keeps the calling thread (and those that it starts) on its side.
pub fn pin_self(side: Side) -> Result<()> {
    set(None, side)
}

/// Lets the calling thread (and what it starts) have every processor again.
pub fn unpin_self() -> Result<()> {
    let mut set = CpuSet::new();
    machine()?.iter().for_each(|cpu| set.set(*cpu));
    Ok(sched_setaffinity(None, &set)?)
}

fn set(thread: Option<Pid>, side: Side) -> Result<()> {
    let all = machine()?;
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return Ok(()) };
    if first != last {
        let mut set = CpuSet::new();
        set.set(match side {
            Side::Proxy => *first,
            Side::Load => *last,
        });
        sched_setaffinity(thread, &set)?;
    }
    Ok(())
}

/// The processors that this process may use, as it was started.
fn machine() -> Result<&'static [usize]> {
    static ALL: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    if let Some(all) = ALL.get() {
        return Ok(all);
    }
    let set = sched_getaffinity(None)?;
    Ok(ALL.get_or_init(|| (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()))
}
