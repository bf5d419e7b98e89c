//! What a run has shown: figures, and whether anything was lost.
//!
//! Must not know how it is printed.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::Task;
use super::drive::Edits;
use super::tally::Tally;

/// The report of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether everything that was asked for was done and nothing was lost.
    pub ok: bool,
    /// Why not.
    pub problems: Vec<String>,
    /// Decided the order of the edits.
    pub seed: u64,
    /// Requests per second that were asked for.
    pub rate: u32,
    /// How long the load lasted.
    pub seconds: f64,
    /// Requests that were made.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Kept connections that the instance closed.
    pub closed: u64,
    /// How often requests failed for which reason.
    pub reasons: BTreeMap<String, u64>,
    /// Reloads that made a new generation.
    pub reloads: u32,
    /// All verdicts.
    pub outcomes: BTreeMap<&'static str, u32>,
    /// By kind.
    pub kinds: Vec<RequestRow>,
    /// Requests that were due while an edit was under way.
    pub inside: Latency,
    /// Those between two edits.
    pub outside: Latency,
    /// p99 inside of the windows by p99 outside.
    pub p99_ratio: f64,
    /// From the last byte of an edit to the verdict, where the watcher found it: `watch_settle` included.
    pub watched: Latency,
    /// The same where the reload was asked for.
    pub asked: Latency,
    /// By what was edited.
    pub changes: Vec<EditRow>,
    /// By how it was saved, or who asked.
    pub ways: Vec<EditRow>,
}

/// Requests of one kind.
#[derive(Debug, Serialize)]
pub struct RequestRow {
    /// What they are.
    pub kind: &'static str,
    /// How many.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// From when each was due to the last byte of its answer.
    pub latency: Latency,
}

/// Edits of one sort.
#[derive(Debug, Serialize)]
pub struct EditRow {
    /// What they are.
    pub sort: &'static str,
    /// How many.
    pub edits: u32,
    /// From the last byte to the verdict.
    pub latency: Latency,
}

/// Percentiles in milliseconds; zeros of nothing.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Of how many.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// 999 of 1000.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl From<&Histogram<u64>> for Latency {
    fn from(histogram: &Histogram<u64>) -> Self {
        let ms = |nanos: u64| nanos as f64 / 1e6;
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        let max_ms = ms(histogram.max());
        Self { count: histogram.len(), p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999), max_ms }
    }
}

impl Report {
    pub(super) fn new(task: Task, elapsed: Duration, tally: Tally, edits: Edits) -> Self {
        let (inside, outside) = tally.latencies();
        let (inside, outside) = (Latency::from(inside), Latency::from(outside));
        let kinds: Vec<RequestRow> = tally
            .kinds()
            .map(|(kind, count)| RequestRow {
                kind: kind.name(),
                requests: count.requests,
                failed: count.failed,
                latency: (&count.latency).into(),
            })
            .collect();
        let rows = |rows: &BTreeMap<&'static str, super::drive::Row>| {
            let row = |(sort, row): (&&'static str, &super::drive::Row)| EditRow {
                sort,
                edits: row.edits,
                latency: (&row.latency).into(),
            };
            rows.iter().map(row).collect()
        };
        let mut report = Self {
            ok: true,
            problems: Vec::new(),
            seed: task.seed,
            rate: task.rate,
            seconds: elapsed.as_secs_f64(),
            requests: kinds.iter().map(|row| row.requests).sum(),
            failed: kinds.iter().map(|row| row.failed).sum(),
            closed: tally.closed,
            reloads: edits.applied(),
            p99_ratio: if outside.p99_ms > 0.0 { inside.p99_ms / outside.p99_ms } else { 0.0 },
            watched: (&edits.watched).into(),
            asked: (&edits.asked).into(),
            changes: rows(&edits.changes),
            ways: rows(&edits.ways),
            kinds,
            inside,
            outside,
            outcomes: edits.outcomes,
            reasons: tally.reasons,
        };
        report.judge(task, &tally.pairs, &edits.tails);
        edits.wrong.into_iter().for_each(|what| report.problem(what));
        report
    }

    fn judge(&mut self, task: Task, pairs: &BTreeMap<u64, u64>, tails: &BTreeMap<u64, u64>) {
        if self.failed > 0 {
            self.problem(format!("{} of {} requests failed", self.failed, self.requests));
        }
        if self.closed > 0 {
            self.problem(format!("{} kept connections were closed", self.closed));
        }
        if self.requests < task.requests() {
            self.problem(format!("only {} of {} requests were made", self.requests, task.requests()));
        }
        if self.reloads < task.reloads {
            self.problem(format!("only {} of {} reloads were applied", self.reloads, task.reloads));
        }
        for (generation, tail) in pairs {
            if tails.get(generation) != Some(tail) {
                self.problem(format!("generation {generation} answered with tail {tail}, which is not its own"));
            }
        }
    }

    /// The instance has been stopped.
    pub(super) fn note_end(&mut self, stopped: Result<(), String>) {
        if let Err(why) = stopped {
            self.problem(why);
        }
    }

    fn problem(&mut self, what: String) {
        self.ok = false;
        self.problems.push(what);
    }
}

#[cfg(test)]
mod tests {
    use super::super::drive::Row;
    use super::super::stage::Place;
    use super::super::tally::{Kind, histogram};
    use super::*;

    const TASK: Task = Task { rate: 2, reloads: 1, seconds: 1, seed: 0 };

    fn report(requests: u32, change: impl FnOnce(&mut Tally, &mut Edits)) -> Report {
        let mut tally = Tally::new();
        for _ in 0..requests {
            tally.record(Kind::Kept, Place::Inside, Ok(Duration::from_millis(1)));
        }
        let row = Row { edits: 1, latency: histogram() };
        let mut edits = Edits {
            changes: [("x", row)].into(),
            ways: BTreeMap::new(),
            watched: histogram(),
            asked: histogram(),
            outcomes: [("applied", 1)].into(),
            wrong: Vec::new(),
            tails: [(1, 1), (2, 7)].into(),
        };
        change(&mut tally, &mut edits);
        Report::new(TASK, Duration::from_secs(1), tally, edits)
    }

    #[test]
    fn what_was_asked_for_and_nothing_lost_is_fine() {
        let report = report(2, |tally, _| tally.pair(2, 7).expect("a pair"));
        assert!(report.ok && report.problems.is_empty(), "{:?}", report.problems);
    }

    #[test]
    fn whatever_is_missing_lost_or_wrong_is_a_problem() {
        let problems = [
            report(1, |_, _| ()),
            report(2, |_, edits| edits.outcomes.clear()),
            report(2, |tally, _| tally.record(Kind::Slow, Place::Outside, Err("502".to_owned()))),
            report(2, |tally, _| tally.closed += 1),
            report(2, |tally, _| tally.pair(2, 6).expect("a pair")),
            report(2, |_, edits| edits.wrong.push("two generations".to_owned())),
        ];
        for report in problems {
            assert!(!report.ok);
            assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        }
        let mut fine = report(2, |_, _| ());
        fine.note_end(Err("it did not stop".to_owned()));
        assert!(!fine.ok);
    }
}
