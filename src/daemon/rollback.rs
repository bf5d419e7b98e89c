//! The way back: what an earlier generation was made from becomes a generation again, by the way that all go.
//!
//! Afterwards the files on disk are not what runs. The text that was left is not taken again by itself: who wants it
//! rolls back to its number. Must not know how a generation is prepared.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::Daemon;
use super::changes::changes;
use super::generation::{Origin, Record, now};
use super::reload::millis;
use crate::command::{LastReload, Outcome, ReloadReport, Source};
use crate::compile;
use crate::config;
use crate::message::Diagnostic;

impl Daemon {
    /// `rollback`: to a generation, or to the one before.
    pub(super) async fn rollback(self: &Rc<Self>, wanted: Option<u64>, peer: Option<String>) -> ReloadReport {
        let _turn = self.reloading.lock().await;
        let begun = Instant::now();
        let by = peer.clone().unwrap_or_else(|| "-".into());
        let result = match self.drop_canary(wanted, &by) {
            Some(report) => Ok(report),
            None => self.roll_back_to(wanted, &by, peer.clone()).await,
        };
        let report = result.unwrap_or_else(|found| self.verdict(Outcome::Rejected, found));
        let report = ReloadReport { took_ms: millis(begun.elapsed()), ..report };
        self.conclude(Source::Rollback, peer.as_deref(), &report);
        report
    }

    fn drop_canary(self: &Rc<Self>, wanted: Option<u64>, by: &str) -> Option<ReloadReport> {
        let current = self.current.borrow().record.number;
        if wanted.is_some_and(|wanted| wanted != current.0) {
            return None;
        }
        let canary = self.abandon(&format!("rolled back by {by}"), true)?;
        self.compare_with_disk(&canary);
        Some(ReloadReport { previous: canary.number, ..self.verdict(Outcome::Applied, Vec::new()) })
    }

    async fn roll_back_to(
        self: &Rc<Self>,
        wanted: Option<u64>,
        by: &str,
        peer: Option<String>,
    ) -> Result<ReloadReport, Vec<Diagnostic>> {
        let left = Arc::clone(&self.current.borrow().record);
        let target = match wanted {
            Some(number) => self.remembered(number)?,
            None => self.before(&left)?,
        };
        if target.digest == left.digest {
            return Ok(self.verdict(Outcome::Unchanged, Vec::new()));
        }
        let report = self.take_again(&target, Origin { source: Source::Rollback, peer }).await?;
        // Who takes again what was taken back has nothing against what ran meanwhile.
        if target.undone().is_none() {
            left.undo(&format!("rolled back to generation {} by {by}", target.number));
        }
        self.compare_with_disk(&left);
        Ok(report)
    }

    /// A trial has failed: what was confirmed last runs again.
    pub(super) async fn fail_trial(self: &Rc<Self>, why: &str) {
        let trial = self
            .trial
            .borrow()
            .as_ref()
            .map(|trial| (trial.source, Arc::clone(&trial.record), Arc::clone(&trial.back)));
        let Some((source, left, back)) = trial else { return };
        let begun = Instant::now();
        let result = match self.abandon(why, true) {
            Some(_) => Ok(()),
            None => self.take_again(&back, Origin { source: Source::Rollback, peer: None }).await.map(drop),
        };
        let outcome = match &result {
            Ok(()) => {
                left.undo(why);
                self.compare_with_disk(&left);
                tracing::error!(
                    target: "pasteway::reload",
                    "generation {} is rolled back, generation {} serves again as {}: {why}",
                    left.number, back.number, self.current.borrow().record.number,
                );
                Outcome::RolledBack
            }
            Err(found) => {
                // It is tried no more, and stays for want of anything better.
                *self.trial.borrow_mut() = None;
                self.trial_over.notify_waiters();
                tracing::error!(
                    target: "pasteway::reload",
                    "generation {} should go ({why}), but generation {} cannot be made again", left.number, back.number,
                );
                found.iter().for_each(|found| tracing::error!(target: "pasteway::reload", "{found}"));
                Outcome::Rejected
            }
        };
        self.metrics.reloaded(outcome, source);
        let last = LastReload {
            outcome,
            source,
            when: now(),
            took_ms: millis(begun.elapsed()),
            reason: Some(format!("generation {}: {why}", left.number)),
            diagnostics: result.err().unwrap_or_default(),
        };
        self.tell("reload", &serde_json::json!(last));
        *self.last_reload.borrow_mut() = Some(last);
    }

    /// Makes a generation from what an earlier one was made from.
    async fn take_again(self: &Rc<Self>, earlier: &Record, origin: Origin) -> Result<ReloadReport, Vec<Diagnostic>> {
        self.refuse_while_stopping()?;
        let running = Rc::clone(&self.current.borrow().running);
        let config =
            config::load_again(&self.invocation, &earlier.frozen, &|_, _| {}).map_err(|failed| failed.diagnostics)?;
        let plan = compile::compile(config, Some(&running.plan))?;
        self.refuse_what_cannot_change(&plan)?;
        // What was left is watched on: the next edit may be in a file that only it knows.
        let mut watched = plan.config.reading.watched();
        watched.extend(
            running
                .plan
                .config
                .reading
                .watched()
                .into_iter()
                .filter(|path| !watched.contains(path))
                .collect::<Vec<_>>(),
        );
        let changes = changes(&running.plan, &plan);
        let prepared = self.prepare(plan).await?;
        self.refuse_while_stopping()?;
        let warnings = prepared.plan.config.warnings.clone();
        let previous = self.current.borrow().record.number;
        self.go_live(prepared, origin, changes.clone(), None);
        self.watch(watched, SystemTime::now());
        Ok(ReloadReport { previous, changes, ..self.verdict(Outcome::Applied, warnings) })
    }

    fn remembered(&self, number: u64) -> Result<Arc<Record>, Vec<Diagnostic>> {
        self.generation(number).ok_or_else(|| {
            let known: Vec<_> = self.history().iter().map(|record| record.number.to_string()).collect();
            let text = format!("generation {number} is not remembered");
            vec![Diagnostic::error(None, text).help(format!("these are: {}", known.join(", ")))]
        })
    }

    /// The newest generation that is neither what runs nor was taken back.
    fn before(&self, current: &Record) -> Result<Arc<Record>, Vec<Diagnostic>> {
        let of_trial = self.trial.borrow().as_ref().map(|trial| Arc::clone(&trial.back));
        let history = self.history();
        let older = history.iter().find(|record| {
            record.number < current.number && record.digest != current.digest && record.undone().is_none()
        });
        of_trial.or_else(|| older.cloned()).ok_or_else(|| {
            vec![
                Diagnostic::error(None, "there is no generation to go back to")
                    .help("`pasteway generations` tells them"),
            ]
        })
    }

    /// The files on disk, now that something else may run; `left` is what ran before.
    fn compare_with_disk(&self, left: &Record) {
        let differs = !self.current.borrow().record.frozen.is_on_disk();
        let why = left.undone().map(|why| format!("generation {} was taken back: {why}", left.number));
        self.set_differs(differs, why);
    }

    /// The same text is not taken again.
    pub(super) fn refuse_what_was_undone(&self, digest: &[u8; 32]) -> Result<(), Vec<Diagnostic>> {
        let newest = self.history().iter().find(|record| record.digest == *digest).cloned();
        let Some((record, why)) = newest.and_then(|record| record.undone().map(|why| (record, why))) else {
            return Ok(());
        };
        let number = record.number;
        let text = format!("the files are those of generation {number}, which was taken back: {why}");
        Err(vec![
            Diagnostic::error(None, text).help(format!("change them, or take them again: pasteway rollback {number}")),
        ])
    }
}
