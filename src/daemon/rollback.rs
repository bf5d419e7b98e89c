//! The way back: what an earlier generation was made from becomes a generation again, by the way that all go.
//!
//! Afterwards the files on disk are not what runs. The text that was left is not taken again by itself: who wants it
//! rolls back to its number. Must not know how a generation is prepared.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::sync::MutexGuard;

use super::Daemon;
use super::changes::changes;
use super::generation::{Origin, Record, now};
use super::reload::millis;
use crate::command::{LastReload, Outcome, ReloadReport, Source};
use crate::compile;
use crate::config::{self, Reading};
use crate::message::{Diagnostic, Place};

impl Daemon {
    /// The turn of somebody who wants the way back. No reload that has its turn before may wait for workers meanwhile.
    pub(super) async fn overtake(&self, by: String) -> MutexGuard<'_, ()> {
        self.overtaking.send_modify(|all| all.push_back(by));
        let turn = self.reloading.lock().await;
        // Turns come in the order in which they are asked for.
        self.overtaking.send_modify(|all| drop(all.pop_front()));
        turn
    }

    /// Waits until somebody wants the way back: who.
    pub(super) async fn overtaken(&self) -> String {
        let mut overtaking = self.overtaking.subscribe();
        let all = overtaking.wait_for(|all| !all.is_empty()).await;
        all.ok().and_then(|all| all.front().cloned()).unwrap_or_default()
    }

    /// `rollback`: to a generation, or to the one before.
    pub(super) async fn rollback(self: &Rc<Self>, wanted: Option<u64>, peer: Option<String>) -> ReloadReport {
        let by = peer.clone().unwrap_or_else(|| "-".into());
        let _turn = self.overtake(format!("a rollback by {by}")).await;
        let begun = Instant::now();
        let result = self.roll_back(wanted, &by, peer.clone()).await;
        let report = result.unwrap_or_else(|found| self.verdict(Outcome::Rejected, found));
        let report = ReloadReport { took_ms: millis(begun.elapsed()), ..report };
        self.conclude(Source::Rollback, peer.as_deref(), &report);
        report
    }

    async fn roll_back(
        self: &Rc<Self>,
        wanted: Option<u64>,
        by: &str,
        peer: Option<String>,
    ) -> Result<ReloadReport, Vec<Diagnostic>> {
        let left = Arc::clone(&self.current.borrow().record);
        let beside = self.trial.borrow().as_ref().is_some_and(|trial| trial.is_canary());
        let target = match wanted {
            Some(number) => self.remembered(number)?,
            None if beside => Arc::clone(&left),
            None => self.before(&left)?,
        };
        let why = format!("rolled back to generation {} by {by}", target.number);
        // Who takes again what was taken back has nothing against what ran meanwhile.
        let wanted_again = self.taken_back.borrow().found_in(&Reading::thaw(&target.frozen)).is_some();
        let undone = if wanted_again { Vec::new() } else { self.undone_by(&target) };
        let report = if target.digest == left.digest {
            let Some(canary) = self.abandon(&why, None) else {
                let reason = format!("generation {} runs what generation {} was made from", left.number, target.number);
                return Ok(ReloadReport { reason: Some(reason), ..self.verdict(Outcome::Unchanged, Vec::new()) });
            };
            let reason = format!("generation {} is taken out, generation {} serves alone", canary.number, left.number);
            let verdict = self.verdict(Outcome::Applied, Vec::new());
            ReloadReport { previous: canary.number, reason: Some(reason), ..verdict }
        } else {
            let origin = Origin { source: Source::Rollback, peer, text_of: Some(target.text_of) };
            self.take_again(&target, origin, pending()).await?
        };
        self.taken_back.borrow_mut().forgive(&target);
        self.undo(&undone, &target, &why);
        self.compare_with_disk(&undone);
        Ok(report)
    }

    /// A trial has failed: what was confirmed last runs again. Where it cannot, the trial stays, for want of anything
    /// better.
    pub(super) async fn fail_trial(self: &Rc<Self>, why: &str) {
        let trial = self
            .trial
            .borrow()
            .as_ref()
            .map(|trial| (trial.source, Arc::clone(&trial.record), Arc::clone(&trial.back)));
        let Some((source, left, back)) = trial else { return };
        let begun = Instant::now();
        let undone = self.undone_by(&back);
        let result = match self.abandon(why, None) {
            Some(_) => Ok(()),
            None => {
                let origin = Origin { source: Source::Rollback, peer: None, text_of: Some(back.text_of) };
                self.take_again(&back, origin, self.confirmed(&left)).await.map(drop)
            }
        };
        let outcome = match &result {
            Ok(()) => {
                self.undo(&undone, &back, why);
                self.compare_with_disk(&undone);
                tracing::error!(
                    target: "pasteway::reload",
                    "generation {} is rolled back, generation {} serves again as {}: {why}",
                    left.number, back.number, self.current.borrow().record.number,
                );
                Outcome::RolledBack
            }
            Err(found) => {
                let first = found.iter().find(|found| found.is_error()).map(|found| found.message.clone());
                let mut trial = self.trial.borrow_mut();
                // It is confirmed, or as stuck as before.
                let is_news = trial.as_mut().is_some_and(|trial| trial.get_stuck(why, first.unwrap_or_default()));
                drop(trial);
                if !is_news {
                    return;
                }
                self.compare_with_disk(&[]);
                tracing::error!(
                    target: "pasteway::reload",
                    "generation {} should go ({why}), but cannot go back to generation {}; it is tried again until it can",
                    left.number, back.number,
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

    /// Waits until a generation is on trial no more.
    async fn confirmed(&self, record: &Arc<Record>) -> String {
        loop {
            let over = self.trial_over.notified();
            if !self.is_on_trial(record) {
                return "its confirmation".to_owned();
            }
            over.await;
        }
    }

    /// Makes a generation from what an earlier one was made from.
    async fn take_again(
        self: &Rc<Self>,
        earlier: &Record,
        origin: Origin,
        overtaken: impl Future<Output = String>,
    ) -> Result<ReloadReport, Vec<Diagnostic>> {
        let made = self.make_again(earlier, origin, overtaken).await;
        // Its lines are not those of the files on disk.
        let of_it = |found: Diagnostic| match &found.place {
            Some(place) => {
                let message = format!("{place} of generation {}: {}", earlier.number, found.message);
                Diagnostic { place: None, message, ..found }
            }
            None => found,
        };
        made.map_err(|found| found.into_iter().map(of_it).collect())
    }

    async fn make_again(
        self: &Rc<Self>,
        earlier: &Record,
        origin: Origin,
        overtaken: impl Future<Output = String>,
    ) -> Result<ReloadReport, Vec<Diagnostic>> {
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
        let prepared = self.prepare(plan, overtaken).await?;
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

    /// What was confirmed last; else the newest text before the one that runs that served all requests and was not taken
    /// back.
    fn before(&self, current: &Record) -> Result<Arc<Record>, Vec<Diagnostic>> {
        let of_trial = self.trial.borrow().as_ref().map(|trial| Arc::clone(&trial.back));
        let history = self.history();
        let older = history.iter().find(|record| {
            let served = record.live_since.get().is_some() && record.undone().is_none();
            served && record.number < current.text_of && record.digest != current.digest
        });
        of_trial.or_else(|| older.cloned()).ok_or_else(|| {
            vec![
                Diagnostic::error(None, "there is no generation to go back to")
                    .help("`pasteway generations` tells them"),
            ]
        })
    }

    /// What a way back to `target` leaves, the newest first: what serves, a canary beside it, and all that nobody has
    /// confirmed.
    fn undone_by(&self, target: &Record) -> Vec<Arc<Record>> {
        let current = Arc::clone(&self.current.borrow().record);
        let confirmed = self.trial.borrow().as_ref().map_or(current.number, |trial| trial.back.number);
        let history = self.history();
        let left = history.iter().filter(|record| {
            let unconfirmed = record.number > confirmed && record.live_since.get().is_some();
            let leaves = unconfirmed || record.number == current.number || self.is_on_trial(record);
            leaves && record.number > target.number && record.digest != target.digest
        });
        left.cloned().collect()
    }

    fn undo(&self, undone: &[Arc<Record>], back: &Record, why: &str) {
        for left in undone.iter().rev() {
            left.undo(why);
            self.taken_back.borrow_mut().remember(left, back, why);
        }
    }

    /// Whether the files on disk are what runs, now that something else may run; `undone`: what was left for it.
    pub(super) fn compare_with_disk(&self, undone: &[Arc<Record>]) {
        if self.current.borrow().record.frozen.is_on_disk() {
            return self.set_differs(None);
        }
        let known = self.differs_because.borrow().clone();
        let on_disk = undone.iter().find(|record| record.frozen.is_on_disk());
        let of_undone = on_disk.or_else(|| undone.first().filter(|_| known.is_none())).and_then(|record| {
            record.undone().map(|why| format!("generation {} was taken back: {why}", record.number))
        });
        self.set_differs(of_undone.or(known).or_else(|| Some("they have not been loaded".to_owned())));
    }

    /// The same text is not taken again, whatever else has changed.
    pub(super) fn refuse_what_was_undone(&self, reading: &Reading) -> Result<(), Vec<Diagnostic>> {
        let taken_back = self.taken_back.borrow();
        let Some(text) = taken_back.found_in(reading) else { return Ok(()) };
        let number = text.number;
        // The first is the place.
        let others: Vec<_> = text.files.iter().skip(1).map(|(file, _)| format!(", {}", file.display())).collect();
        let (what, them) = match text.files.len() {
            0 => ("the files are".to_owned(), "them"),
            1 => ("the file is".to_owned(), "it"),
            _ => (format!("this file{} are", others.concat()), "one of them"),
        };
        let message = format!("{what} as in generation {number}, which was taken back: {}", text.why);
        let help = match self.remembered(number.0) {
            Ok(_) => format!("change {them}, or take that generation again: pasteway rollback {number}"),
            Err(_) => format!("change {them}"),
        };
        let place = text.files.first().map(|(file, _)| Place::file(file));
        Err(vec![Diagnostic::error(place, message).help(help)])
    }
}
