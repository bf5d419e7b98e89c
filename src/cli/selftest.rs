//! `selftest`: makes the run, shows how it goes on, prints its report.
//!
//! Must not know how anything is measured.

use std::fmt::Write;
use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use super::terminal::{complain, plain, print};
use super::{Format, SelftestReload};
use crate::selftest::{EditRow, Failure, Latency, Progress, Report, Task, reload};

/// Exit status: 0 when everything that was asked for was done and nothing was lost, else 1.
pub(super) fn selftest(asked: &SelftestReload) -> ExitCode {
    let SelftestReload { rate, reloads, seconds, seed, format } = *asked;
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let report = reload(Task { rate, reloads, seconds, seed }, &shown(reloads));
    if stderr().is_terminal() {
        complain("\r\x1b[K");
    }
    let report = match report {
        Ok(report) => report,
        Err(failure) => {
            let lines: Vec<_> = failure.to_string().lines().map(|line| plain(line).into_owned()).collect();
            complain(&format!("pasteway: {}\n", lines.join("\n")));
            return match failure {
                // As a shell says it of a program that SIGINT ended.
                Failure::Interrupted => ExitCode::from(130),
                _ => ExitCode::FAILURE,
            };
        }
    };
    let text = match format {
        Format::Text => text(&report),
        Format::Json => serde_json::to_string_pretty(&report).map_or_else(|e| e.to_string(), |text| text + "\n"),
    };
    match print(&text) {
        Ok(()) if report.ok => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// A line on a terminal that is written over; nothing elsewhere.
fn shown(wanted: u32) -> impl Fn(Progress) {
    let terminal = stderr().is_terminal();
    move |Progress { elapsed, requests, failed, reloads }| {
        if terminal {
            let seconds = elapsed.as_secs();
            complain(&format!(
                "\r{seconds} s: {requests} requests, {failed} failed, {reloads} of {wanted} reloads\x1b[K"
            ));
        }
    }
}

fn text(report: &Report) -> String {
    let Report { requests, failed, closed, seconds, rate, reloads, seed, .. } = report;
    let outcomes = report.outcomes.iter().map(|(outcome, count)| format!(", {count} {outcome}")).collect::<String>();
    let mut out = format!(
        "{requests} requests in {seconds:.0} s (open loop, {rate}/s), {failed} failed, {closed} connections closed\n\
         {reloads} reloads (verdicts{}), seed {seed}\n\n",
        outcomes.replacen(',', ":", 1),
    );
    let _ = writeln!(out, "{:24}{:>9}{:>8}{HEAD}", "REQUESTS", "COUNT", "FAILED");
    for row in &report.kinds {
        let _ = writeln!(out, "{:24}{:>9}{:>8}{}", row.kind, row.requests, row.failed, figures(&row.latency));
    }
    for (name, latency) in [("inside reload windows", &report.inside), ("outside", &report.outside)] {
        let _ = writeln!(out, "{name:24}{:>9}{:>8}{}", latency.count, "", figures(latency));
    }
    let _ = writeln!(out, "p99 inside / outside: {:.2} (the bar is {BAR})\n", report.p99_ratio);
    let _ = writeln!(out, "{:24}{:>9}{:>8}{HEAD}", "LAST BYTE TO VERDICT", "EDITS", "");
    for (name, latency) in [("found by the watcher", &report.watched), ("asked for", &report.asked)] {
        let _ = writeln!(out, "{name:24}{:>9}{:>8}{}", latency.count, "", figures(latency));
    }
    for (head, rows) in [("WHAT WAS EDITED", &report.changes), ("HOW IT WAS SAVED", &report.ways)] {
        let _ = writeln!(out, "\n{head:24}{:>9}{:>8}{HEAD}", "EDITS", "");
        for EditRow { sort, edits, latency } in rows {
            let _ = writeln!(out, "{sort:24}{edits:>9}{:>8}{}", "", figures(latency));
        }
    }
    if !report.reasons.is_empty() {
        let _ = writeln!(out, "\nREASONS");
    }
    for (reason, count) in &report.reasons {
        let _ = writeln!(out, "{count:>9}  {}", plain(reason));
    }
    let _ = writeln!(out, "\n{}", if report.ok { "nothing was lost" } else { "NOT AS IT SHOULD BE" });
    for problem in &report.problems {
        let _ = writeln!(out, "  {}", plain(problem));
    }
    out
}

/// What p99 inside of reload windows may be of p99 outside: told, and no reason to fail, since the machine has its part in it.
const BAR: f64 = 1.1;
const HEAD: &str = "    p50 ms    p99 ms  p99.9 ms    max ms";

fn figures(latency: &Latency) -> String {
    let Latency { p50_ms, p99_ms, p999_ms, max_ms, .. } = latency;
    format!("{p50_ms:>10.2}{p99_ms:>10.2}{p999_ms:>10.2}{max_ms:>10.2}")
}
