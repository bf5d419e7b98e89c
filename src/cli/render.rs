//! The front's answers as text for people.
//!
//! Must not know how the answers arrived.

use std::fmt::Write;

use chrono::DateTime;

use super::report::{Generation, GenerationFiles, Reload, Slot, Status};
use super::terminal::plain;
use crate::command::{
    Change, Class, HolderReport, Outcome, PredecessorReport, RestartReport, Source, TrialReport, UpgradeOutcome,
    UpgradeReport,
};

/// The verdict on a reload, without its diagnostics: those go to standard error.
pub(super) fn reload(report: &Reload) -> String {
    let Reload { generation, previous, took_ms, .. } = report;
    let reason = report.reason.as_deref().map(plain);
    let mut out = match (report.outcome, report.dry_run) {
        (Outcome::Applied, true) => "would be applied (dry run); nothing was changed\n".to_owned(),
        (Outcome::Applied, false) => match reason {
            Some(reason) => format!("applied in {took_ms} ms: {reason}\n"),
            None => format!("applied in {took_ms} ms: generation {generation}, before {previous}\n"),
        },
        (Outcome::Unchanged, _) => match reason {
            Some(reason) => format!("unchanged: {reason}\n"),
            None => format!("unchanged: generation {generation} is what the files say\n"),
        },
        (Outcome::RolledBack, _) => format!("taken back: generation {generation} serves\n"),
        (Outcome::Rejected, true) => "would be rejected (dry run)\n".to_owned(),
        (Outcome::Rejected, false) => format!("rejected: generation {generation} serves on\n"),
    };
    for change in &report.changes {
        let _ = writeln!(out, "  {}", plain(&change_text(change)));
    }
    if let Some(trial) = report.trial.as_ref().filter(|_| report.outcome == Outcome::Applied) {
        let _ = writeln!(out, "{}", plain(&trial_text(trial)));
    }
    out
}

fn trial_text(trial: &TrialReport) -> String {
    let TrialReport { generation, back, confirm_seconds, canary, cannot_go_back } = trial;
    if let Some(why) = cannot_go_back {
        return format!("generation {generation} should go, but cannot go back to generation {back}: {why}");
    }
    let gets = canary.as_ref().map_or_else(String::new, |share| format!(", gets {share}"));
    let until = match confirm_seconds {
        Some(seconds) => format!(": generation {back} again unless `pasteway confirm` comes within {seconds} s"),
        None => ": `pasteway confirm` makes it serve all".to_owned(),
    };
    format!("generation {generation} is on trial{gets}{until}")
}

/// The verdict on an upgrade.
pub(super) fn upgrade(report: &UpgradeReport) -> String {
    let UpgradeReport { pid, previous_pid, took_ms, .. } = report;
    let (version, before) = (plain(&report.version), plain(&report.previous_version));
    let why = report.reason.as_ref().map_or_else(String::new, |why| format!(": {}", plain(why)));
    match report.outcome {
        UpgradeOutcome::Upgraded => format!(
            "upgraded in {took_ms} ms: pasteway {version}, pid {pid}; before {before}, pid {previous_pid}, which ends with its last request\n"
        ),
        UpgradeOutcome::Failed => format!("failed: pasteway {version}, pid {pid}, serves on{why}\n"),
        UpgradeOutcome::Refused => format!("refused{why}\n"),
    }
}

/// What a front that stops still waits for.
pub(super) fn draining(status: &Status) -> String {
    format!("draining: {} requests in flight, {} connections\n", status.in_flight, status.connections)
}

/// What became of workers that were to be replaced.
pub(super) fn restarted(report: &RestartReport) -> String {
    let mut out = String::new();
    for slot in &report.restarted {
        let _ = writeln!(out, "{}/{slot} has a new worker", plain(&report.api));
    }
    for (slot, why) in &report.failed {
        let _ = writeln!(out, "{}/{slot} keeps its old worker: {}", plain(&report.api), plain(why));
    }
    out
}

/// What a reload would do, without its diagnostics.
pub(super) fn plan(report: &Reload) -> String {
    if report.outcome == Outcome::Rejected {
        return format!("the files cannot be loaded: generation {} would serve on\n", report.generation);
    }
    if report.changes.is_empty() {
        return match &report.reason {
            Some(reason) => format!("nothing to do: {}\n", plain(reason)),
            None => format!("nothing to do: generation {} is what the files say\n", report.generation),
        };
    }
    let mut out = String::new();
    for change in &report.changes {
        let _ = writeln!(out, "{}", plain(&change_text(change)));
    }
    if let Some(extra) = report.extra_memory_bytes {
        let mib = extra.div_ceil(1 << 20);
        let _ = writeln!(
            out,
            "new workers are started beside the old ones, which have {mib} MiB: so much more is needed for a while"
        );
    }
    out
}

fn change_text(change: &Change) -> String {
    let class = match change.class {
        Class::Live => "live",
        Class::Rolling => "rolling",
        Class::Rebind => "rebind",
    };
    let values = match (&change.old, &change.new) {
        (Some(old), Some(new)) => format!(": {old} -> {new}"),
        (None, Some(new)) => format!(": {new} (new)"),
        (Some(old), None) => format!(": {old} (gone)"),
        (None, None) => String::new(),
    };
    let place = match (&change.file, change.line) {
        (Some(file), Some(line)) => format!(" ({}:{line})", file.display()),
        (Some(file), None) => format!(" ({})", file.display()),
        (None, _) => String::new(),
    };
    format!("{class:8}{}{values}{place}", change.what)
}

/// How the front stands; `last_reload`'s diagnostics not included.
pub(super) fn status(status: &Status) -> String {
    let mut out = format!(
        "pasteway {}, pid {}, up {}, generation {}, {}\n",
        plain(&status.version),
        status.pid,
        age(status.uptime_seconds),
        status.generation,
        plain(&status.state)
    );
    for (what, reasons) in [("not live", &status.not_live), ("not ready", &status.not_ready)] {
        for reason in reasons {
            let _ = writeln!(out, "{what}: {}", plain(reason));
        }
    }
    if status.config_file_differs {
        let why = status.config_file_differs_because.as_ref().and_then(|why| why.lines().next());
        let why = why.map_or_else(String::new, |why| format!(": {}", plain(why)));
        let _ = writeln!(out, "the files on disk differ from what runs{why}");
    }
    if let Some(trial) = &status.trial {
        let _ = writeln!(out, "{}", plain(&trial_text(trial)));
    }
    if let Some(last) = &status.last_reload {
        let (source, when, took) = (source(last.source), time(last.when), last.took_ms);
        let _ = writeln!(out, "last reload: {} by {source} at {when}, {took} ms", outcome(last.outcome));
        if let Some(reason) = &last.reason {
            let _ = writeln!(out, "  {}", plain(reason));
        }
    }
    if let Some(last) = &status.last_upgrade {
        let _ = write!(out, "last upgrade: at {}, {}", time(last.when), upgrade(last));
    }
    if let Some(PredecessorReport { pid, in_flight, connections }) = &status.predecessor {
        let _ = writeln!(out, "pid {pid}, before this one, still has {in_flight} requests, {connections} connections");
    }
    out.push('\n');
    let rows = status.apis.iter().map(|api| {
        let listen = if api.tls { format!("{} (TLS)", api.listen) } else { api.listen.clone() };
        let workers = format!("{}/{}", api.workers_serving, api.workers_wanted);
        vec![api.name.clone(), listen, workers, api.queued.to_string()]
    });
    out + &table(&["API", "LISTENS ON", "WORKERS", "QUEUED"], rows)
}

/// The slots, and what the workers that do not serve had to say.
pub(super) fn workers(slots: &[Slot]) -> String {
    let rows = slots.iter().map(|w| {
        vec![
            format!("{}/{}", w.api, w.slot),
            if w.ejected_seconds > 0.0 { "ejected".to_owned() } else { w.state.clone() },
            w.python.as_ref().map_or_else(|| w.kind.clone(), |version| format!("{} {version}", w.kind)),
            if w.pid == 0 { "-".to_owned() } else { w.pid.to_string() },
            w.generation.to_string(),
            w.in_flight.to_string(),
            w.requests.to_string(),
            if w.rss_bytes == 0 { "-".to_owned() } else { format!("{} MiB", w.rss_bytes.div_ceil(1 << 20)) },
            if w.pid == 0 { "-".to_owned() } else { age(w.age_seconds) },
            w.starts.to_string(),
            w.last_exit.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let head =
        ["SLOT", "STATE", "KIND", "PID", "GENERATION", "IN FLIGHT", "REQUESTS", "RSS", "AGE", "STARTS", "LAST EXIT"];
    let mut out = table(&head, rows);
    for slot in slots.iter().filter(|slot| slot.state != "serving" && !slot.stderr.is_empty()) {
        let _ = writeln!(out, "\n{}/{} wrote last:", plain(&slot.api), slot.slot);
        for line in &slot.stderr {
            let _ = writeln!(out, "  {}", plain(line));
        }
    }
    out
}

/// The generations.
pub(super) fn generations(generations: &[Generation]) -> String {
    let rows = generations.iter().map(|g| {
        let by = source(g.source);
        vec![
            g.generation.to_string(),
            g.state.clone(),
            time(g.when),
            g.peer.as_ref().map_or_else(|| by.to_owned(), |peer| format!("{by}, {peer}")),
            g.in_flight.to_string(),
            g.oldest_request_seconds.map_or_else(|| "-".to_owned(), age),
            g.sha256.chars().take(12).collect(),
            g.changes.iter().map(|c| c.what.as_str()).collect::<Vec<_>>().join(", "),
        ]
    });
    let mut out = table(&["GENERATION", "STATE", "SINCE", "BY", "IN FLIGHT", "OLDEST", "FILES", "CHANGES"], rows);
    for generation in generations {
        let number = generation.generation;
        if let Some(why) = &generation.undone {
            let _ = writeln!(out, "generation {number} was taken back: {}", plain(why));
        }
        if let Some(why) = &generation.cannot_go_back {
            let _ = writeln!(out, "generation {number} cannot go back: {}", plain(why));
        }
        for holder in generation.holders.iter().filter(|_| generation.state != "live") {
            let HolderReport { peer, api, method, age_seconds, client_gone } = holder;
            let gone = if *client_gone { ", who has gone" } else { "" };
            let line =
                format!("generation {number} is held by {method} of {api} from {peer}{gone}, {}", age(*age_seconds));
            let _ = writeln!(out, "{}", plain(&line));
        }
    }
    out
}

/// One of them, and what it was made from.
pub(super) fn generation(GenerationFiles { generation, files }: &GenerationFiles) -> String {
    let rows = files.iter().map(|file| {
        let digest = file.sha256.chars().take(12).collect();
        vec![digest, file.bytes.to_string(), file.path.clone()]
    });
    generations(std::slice::from_ref(generation)) + "\n" + &table(&["SHA256", "BYTES", "FILE"], rows)
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Unchanged => "unchanged",
        Outcome::Rejected => "rejected",
        Outcome::RolledBack => "rolled back",
    }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Start => "start",
        Source::Watch => "watch",
        Source::Admin => "admin",
        Source::Signal => "signal",
        Source::Upgrade => "upgrade",
        Source::Rollback => "rollback",
    }
}

/// `37 s`, `12 min`, `5 h`, `3 d`: the largest unit of which there are two.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Saturates, and no age is negative.
fn age(seconds: f64) -> String {
    match seconds as u64 {
        s @ ..120 => format!("{s} s"),
        s @ ..7_200 => format!("{} min", s / 60),
        s @ ..172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// Seconds since 1970 as `2026-11-23 06:41:02Z`.
#[allow(clippy::cast_possible_truncation)] // Saturates; what is out of range is shown as it came.
fn time(when: f64) -> String {
    DateTime::from_timestamp(when as i64, 0)
        .map_or_else(|| when.to_string(), |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// Columns as wide as their widest cell; the last has no padding.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head = head.iter().map(|title| (*title).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows)
        .map(|row: Vec<String>| row.iter().map(|cell| plain(cell).into_owned()).collect())
        .collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
