//! Resident memory of a worker: of its process and of those below it that main threads have started, as shells and masters
//! do. (To ask every thread for its children would cost the control thread far more than all else in a report.)
//!
//! What several of them share counts for each. Must not know what is done about it.

use std::fs;

/// Of a process and those below it, in bytes; 0 when there is none.
pub fn of_tree(root: u32) -> u64 {
    let (mut pages, mut found) = (0, vec![root]);
    while let Some(pid) = found.pop() {
        // Who ends meanwhile needs none.
        pages += pages_of(pid).unwrap_or(0);
        // proc_tid_children(5); a kernel without it knows of none.
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    pages * rustix::param::page_size() as u64
}

/// The second number of proc_pid_statm(5).
fn pages_of(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_a_process_has_started_counts_too() {
        // A shell, another one below it, and below that a program that cannot get rid of what it has in memory.
        let mut shell = Command::new("/bin/sh")
            .args(["-c", "sh -c 'dd if=/dev/zero bs=60M count=1 2>/dev/null; true'; true"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut output = shell.stdout.take().expect("a pipe");
        output.read_exact(&mut [0]).expect("it has read all");
        let page = rustix::param::page_size() as u64;
        let (own, all) = (pages_of(shell.id()).expect("it lives") * page, of_tree(shell.id()));
        drop(output);
        shell.wait().expect("ended");
        assert!(own > 0 && own < 20 << 20 && all > 60 << 20, "{own} of {all} bytes");
        assert_eq!(of_tree(shell.id()), 0);
    }
}
