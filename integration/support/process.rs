//! A look at other processes through /proc, and signals by process id.
//!
//! Must not know what the processes are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;

use rustix::process::{Pid, Signal, kill_process};

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut all: Vec<u32> = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    all.sort_unstable();
    all
}

/// All processes that live and whose environment says so, whoever their parent is by now.
pub fn with_variable(name: &str, value: &str) -> BTreeSet<u32> {
    let wanted = format!("{name}={value}");
    let says_so = |pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    let entries = fs::read_dir("/proc").expect("it is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(says_so).filter(|pid| lives(*pid)).collect()
}

/// The command line as `ps` shows it.
pub fn title(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// Whether a process exists and is not a zombie.
pub fn lives(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// The letter of its state (proc(5)), if it exists: `S` sleeping, `T` stopped, `Z` zombie.
pub fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Sends a signal to one process.
#[track_caller]
pub fn signal(pid: u32, signal: Signal) {
    let raw = i32::try_from(pid).expect("a process id");
    kill_process(Pid::from_raw(raw).expect("not 0"), signal).expect("the process exists");
}

/// Kibibytes of resident memory.
#[track_caller]
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Clock ticks (1/100 s) that a process has spent.
#[track_caller]
pub fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    fields.split_ascii_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum()
}

/// Open descriptors.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// A process that no other one with the same number later is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it began, in the kernel's ticks.
    began: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let began = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, began })
    }

    /// Sends it a signal, if it is still there.
    pub fn signal(self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).filter(|_| self.lives());
        // It may be gone in this moment.
        let _ = pid.map(|pid| kill_process(pid, signal));
    }

    /// Whether it is still there, and no zombie.
    pub fn lives(self) -> bool {
        lives(self.pid) && Self::of(self.pid) == Some(self)
    }
}

/// All that a process has started, and what that has started in turn.
pub fn family(pid: u32) -> Vec<Process> {
    let children = children(pid);
    let grandchildren: Vec<Process> = children.iter().flat_map(|child| family(*child)).collect();
    children.into_iter().filter_map(Process::of).chain(grandchildren).collect()
}

/// The TCP addresses that a process listens on (IPv4).
pub fn listens_on(pid: u32) -> BTreeSet<SocketAddr> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let sockets: BTreeMap<String, SocketAddr> = table.lines().skip(1).filter_map(listener).collect();
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter_map(|target| sockets.get(&*target.to_string_lossy()).copied()).collect()
}

/// A line of proc_net(5) as what /proc shows of the descriptor, and its address, if it is one of a listener.
fn listener(line: &str) -> Option<(String, SocketAddr)> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = fields.get(1).filter(|_| fields.get(3) == Some(&LISTEN))?.split_once(':')?;
    let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((format!("socket:[{}]", fields.get(9)?), SocketAddr::from((address, port))))
}
