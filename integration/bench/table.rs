//! Samples → medians → a Markdown table with ratios to the better of nginx and HAProxy.
//!
//! Must not know how they were measured.

use std::fmt::Write;
use std::time::Duration;

use crate::load::Outcome;

/// One round of one peer.
pub struct Sample {
    rps: f64,
    /// Microseconds per request.
    cpu: f64,
    /// Microseconds.
    p50: f64,
    /// Microseconds.
    p99: f64,
    /// Bytes, right after the load.
    rss: u64,
}

impl Sample {
    /// From what the load saw, the proxy's CPU time for it, and its resident memory after it.
    pub fn new(mut outcome: Outcome, cpu: Duration, rss: u64) -> Self {
        let requests = outcome.requests as f64;
        outcome.latencies.sort_unstable();
        let at = |q| f64::from(percentile(&outcome.latencies, q)) / 1e3;
        Self {
            rps: requests / outcome.elapsed.as_secs_f64(),
            cpu: cpu.as_secs_f64() * 1e6 / requests,
            p50: at(0.50),
            p99: at(0.99),
            rss,
        }
    }
}

/// All rounds of one peer.
pub struct Series {
    /// As it stands in the table.
    pub name: &'static str,
    /// Bytes, before the first request of the load.
    pub idle_rss: u64,
    /// One per round.
    pub samples: Vec<Sample>,
}

impl Series {
    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median(&self.samples.iter().map(of).collect::<Vec<_>>())
    }
}

/// The value in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    percentile(&values, 0.5)
}

/// The value at a quantile of sorted values (nearest rank); the default of nothing.
pub fn percentile<T: Copy + Default>(sorted: &[T], quantile: f64) -> T {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Medians of all rounds. The ratio in brackets is to the better of nginx and HAProxy in the same column.
pub fn markdown(all: &[Series]) -> String {
    type Column = (&'static str, fn(&Series) -> f64, bool, usize);
    const MIB: f64 = 1024.0 * 1024.0;
    let columns: [Column; 6] = [
        ("requests/s", |s| s.median(|x| x.rps), true, 0),
        ("CPU µs/request", |s| s.median(|x| x.cpu), false, 2),
        ("p50 µs", |s| s.median(|x| x.p50), false, 0),
        ("p99 µs", |s| s.median(|x| x.p99), false, 0),
        ("RSS MiB loaded", |s| s.median(|x| x.rss as f64) / MIB, false, 1),
        ("RSS MiB idle", |s| s.idle_rss as f64 / MIB, false, 1),
    ];
    let mut text = String::from("| proxy |");
    for (title, ..) in &columns {
        let _ = write!(text, " {title} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"--:|".repeat(columns.len()));
    for series in all {
        let _ = write!(text, "\n| {} |", series.name);
        for (_, value, more_is_better, digits) in &columns {
            let value_here = value(series);
            let others = all.iter().filter(|other| other.name != crate::peers::PASTEWAY).map(value);
            let best = others.reduce(if *more_is_better { f64::max } else { f64::min });
            let _ = write!(text, " {value_here:.digits$}");
            if let Some(best) = best {
                let _ = write!(text, " ({:.2})", value_here / best);
            }
            text.push_str(" |");
        }
    }
    text.push('\n');
    text
}
