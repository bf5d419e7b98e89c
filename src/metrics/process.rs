//! What the front itself takes, under the names that Prometheus' clients use for every process.
//!
//! Must not know workers: theirs are other processes.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::families::{BUILD_INFO, PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RSS, PROCESS_START_TIME};
use super::page::Page;

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Shows the process; what cannot be read is left out. `start` in seconds since 1970.
pub(super) fn show(page: &mut Page, start: f64) {
    let revision = option_env!("PASTEWAY_REVISION").unwrap_or("unknown");
    page.family(&BUILD_INFO, |s| s.gauge(&[env!("CARGO_PKG_VERSION"), revision], 1.0));
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    page.family(&PROCESS_CPU, |s| s.float_counter(&[], cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9));
    let rss = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_bytes(&status));
    page.family(&PROCESS_RSS, |s| rss.into_iter().for_each(|bytes| s.gauge(&[], bytes as f64)));
    // The directory that is being read is one of them.
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1));
    page.family(&PROCESS_OPEN_FDS, |s| open.into_iter().for_each(|n| s.gauge(&[], n as f64)));
    let most = getrlimit(Resource::Nofile).current;
    page.family(&PROCESS_MAX_FDS, |s| s.gauge(&[], most.map_or(f64::INFINITY, |n| n as f64)));
    page.family(&PROCESS_START_TIME, |s| s.gauge(&[], start));
}

/// `VmRSS` of proc_pid_status(5).
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_kilobytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    9900 kB\nThreads:\t4\n"), Some(9900 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
