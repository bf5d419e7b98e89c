//! The one path of every reload: read → resolve → compile → prepare → swap → retire.
//!
//! Nothing that runs is touched before the swap, and the swap cannot fail: a reload that fails leaves no trace but
//! its verdict. Each step gives way to requests that wait for the processor.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::changes::{changes, rolled};
use super::generation::{Origin, now};
use super::prepare::foresee;
use super::trial::{Trial, terms_text};
use super::{Daemon, Phase as Stage, systemd};
use crate::command::{LastReload, Outcome, ReloadReport, Source, Terms};
use crate::compile::{self, Plan};
use crate::config::{self, Config, Failed};
use crate::message::{Diagnostic, Place};
use crate::metrics::Phase;
use crate::scheduler;

impl Daemon {
    /// Loads the files again and puts them into force if they can be; returns the verdict.
    pub(super) async fn reload(
        self: &Rc<Self>,
        source: Source,
        peer: Option<String>,
        dry_run: bool,
        terms: Terms,
    ) -> ReloadReport {
        let _turn = self.reloading.lock().await;
        if let Some(successor) = self.replaced_by() {
            // Who waits for the verdict asks that one; a signal does not wait.
            if source == Source::Signal {
                Self::pass_on_reload(successor);
            }
            return self.verdict(Outcome::Rejected, Vec::new());
        }
        let begun = Instant::now();
        scheduler::give_way();
        let loaded = self.load_files();
        if source == Source::Watch && self.is_overtaken() {
            // What was read may be half of the next edit, whose own end will be heard of.
            tracing::debug!(target: "pasteway::reload", "the files have changed again before they were read");
            return self.verdict(Outcome::Unchanged, Vec::new());
        }
        let telling = !dry_run && self.state.get() == Stage::Serving;
        if telling {
            systemd::reloading();
        }
        let attempt = self.attempt(loaded, source, peer.clone(), dry_run, terms);
        let result = if telling { systemd::busy_with("reloading", attempt).await } else { attempt.await };
        // To look is enough to know.
        let why = match &result {
            Err(found) => {
                let first = found.iter().find(|found| found.is_error());
                Some(first.map_or_else(|| "they were rejected".to_owned(), ToString::to_string))
            }
            Ok(report) if dry_run && report.outcome == Outcome::Applied => {
                Some(report.reason.clone().unwrap_or_else(|| "they have not been loaded yet".to_owned()))
            }
            Ok(_) => None,
        };
        let report = result.unwrap_or_else(|found| self.verdict(Outcome::Rejected, found));
        let report = ReloadReport { took_ms: millis(begun.elapsed()), dry_run, ..report };
        // What a stop has kept from being read is as true as before.
        if self.state.get() == Stage::Serving {
            self.set_differs(why);
        }
        if !dry_run {
            self.conclude(source, peer.as_deref(), &report);
        }
        if telling && self.state.get() == Stage::Serving {
            systemd::ready(&self.summary());
        }
        report
    }

    /// Reads the files as they are now.
    pub(super) fn load_files(&self) -> Result<Config, Failed> {
        config::load(&self.invocation, &|phase, took| {
            self.metrics.phase(
                match phase {
                    config::Phase::Read => Phase::Read,
                    config::Phase::Resolve => Phase::Resolve,
                },
                took,
            );
            scheduler::give_way();
        })
    }

    pub(super) async fn attempt(
        self: &Rc<Self>,
        loaded: Result<Config, Failed>,
        source: Source,
        peer: Option<String>,
        dry_run: bool,
        terms: Terms,
    ) -> Result<ReloadReport, Vec<Diagnostic>> {
        self.refuse_while_stopping()?;
        // What was looked at is watched even when it is broken: the next save may mend it.
        let config = loaded.map_err(|failed| {
            self.watch(failed.watched, failed.read_at);
            failed.diagnostics
        })?;
        let (reading, read_at) = (Rc::clone(&config.reading), config.read_at);
        let running = Rc::clone(&self.current.borrow().running);
        let emptied = self.refuse_what_was_emptied(&config);
        // Filters name files too.
        let plan = self.timed(Phase::Compile, || compile::compile(config, Some(&running.plan)));
        scheduler::give_way();
        self.watch(reading.watched(), read_at);
        scheduler::give_way();
        emptied?;
        let plan = plan?;
        let digest = plan.config.digest();
        if digest == self.current.borrow().record.digest && !dry_run && source != Source::Watch {
            self.scale_as_written().await;
        }
        if let Some(mut report) = self.known(&digest, dry_run, terms) {
            report.diagnostics.extend(plan.config.warnings);
            return Ok(report);
        }
        self.refuse_what_was_undone(&reading)?;
        self.refuse_what_cannot_change(&plan)?;
        let changes = changes(&self.current.borrow().running.plan, &plan);
        let canary = self.tried(terms).is_canary();
        if canary {
            self.refuse_canary(&plan, &changes)?;
        }
        if dry_run {
            foresee(&plan)?;
            let extra_memory_bytes = self.doubled(&plan);
            let verdict = self.verdict(Outcome::Applied, plan.config.warnings);
            return Ok(ReloadReport { changes, extra_memory_bytes, ..verdict });
        }
        scheduler::give_way();
        let begun = Instant::now();
        let prepared = self.prepare(plan, self.reloading.overtaken()).await?;
        // A stop that began meanwhile would not close the new listeners; it ends the new workers with all others.
        self.refuse_while_stopping()?;
        self.metrics.phase(Phase::Prepare, begun.elapsed());

        let warnings = prepared.plan.config.warnings.clone();
        let chosen = prepared.plan.config.chosen.clone();
        if chosen != self.current.borrow().running.plan.config.chosen {
            tracing::info!(target: "pasteway::reload", "{chosen}");
        }
        let (previous, generation) = (self.current.borrow().record.number, prepared.number);
        let origin = Origin { source, peer, text_of: None };
        // Once more: a trial may have been confirmed meanwhile.
        let tried = self.tried(terms);
        let canary = canary && tried.is_canary();
        self.timed(Phase::Swap, || match canary {
            true => self.stage(prepared, origin, changes.clone(), tried),
            false => self.go_live(prepared, origin, changes.clone(), Some(tried)),
        });
        let verdict = self.verdict(Outcome::Applied, warnings);
        let share = verdict.trial.as_ref().and_then(|trial| trial.canary.as_ref());
        let reason = share.map(|share| format!("generation {generation} is a canary ({share})"));
        Ok(ReloadReport { generation, previous, reason, changes, ..verdict })
    }

    /// The verdict on files of which a generation is made already: the one on trial, or the one that serves.
    fn known(self: &Rc<Self>, digest: &[u8; 32], dry_run: bool, terms: Terms) -> Option<ReloadReport> {
        let trial = self.trial_report();
        let reason = match &trial {
            Some(trial) if self.is_of_trial(digest) => {
                if !dry_run && terms != Terms::default() {
                    return Some(self.try_otherwise(terms));
                }
                let (number, how) = (trial.generation, terms_text(trial));
                Some(format!("the files are those of generation {number}, which is on trial: {how}"))
            }
            _ if *digest != self.current.borrow().record.digest => return None,
            Some(canary) if dry_run => {
                let reason = Some(format!("canary generation {} would be taken out", canary.generation));
                return Some(ReloadReport { reason, ..self.verdict(Outcome::Applied, Vec::new()) });
            }
            _ => self.abandon("the files say again what serves", None).map(|canary| {
                format!("canary generation {} is taken out: the files say again what serves", canary.number)
            }),
        };
        Some(ReloadReport { reason, ..self.verdict(Outcome::Unchanged, Vec::new()) })
    }

    /// Remembers, counts and logs a verdict.
    pub(super) fn conclude(&self, source: Source, peer: Option<&str>, report: &ReloadReport) {
        scheduler::give_way();
        let peer = peer.unwrap_or("-");
        if report.outcome == Outcome::Rejected && self.state.get() == Stage::Draining {
            // Nothing is wrong with the files.
            tracing::info!(target: "pasteway::reload", "reload given up: the front is stopping (asked by {source}, {peer})");
            return;
        }
        self.metrics.reloaded(report.outcome, source);
        match report.outcome {
            Outcome::Applied => {
                let what = report.reason.clone().unwrap_or_else(|| format!("generation {} is live", report.generation));
                let class = report.changes.iter().map(|change| change.class).max();
                let changes = class.map(|class| format!(": {} changes, {class}", report.changes.len()));
                tracing::info!(
                    target: "pasteway::reload",
                    "{what} after {} ms{} (asked by {source}, {peer})", report.took_ms, changes.unwrap_or_default(),
                );
            }
            Outcome::Unchanged => {
                let why = report.reason.as_deref().unwrap_or("the files say what runs");
                tracing::info!(target: "pasteway::reload", "nothing to reload: {why} (asked by {source}, {peer})");
            }
            Outcome::Rejected | Outcome::RolledBack => {
                tracing::error!(
                    target: "pasteway::reload",
                    "reload rejected, generation {} serves on (asked by {source}, {peer})", report.generation,
                );
            }
        }
        for diagnostic in &report.diagnostics {
            if diagnostic.is_error() {
                tracing::error!(target: "pasteway::reload", "{diagnostic}");
            } else {
                tracing::warn!(target: "pasteway::reload", "{diagnostic}");
            }
        }
        self.tell("reload", &json!({ "source": source, "verdict": report }));
        // The watcher looks again after others have loaded: that is nobody's reload.
        let is_good = |last: &LastReload| matches!(last.outcome, Outcome::Applied | Outcome::Unchanged);
        if source == Source::Watch
            && report.outcome == Outcome::Unchanged
            && self.last_reload.borrow().as_ref().is_some_and(is_good)
        {
            return;
        }
        *self.last_reload.borrow_mut() = Some(LastReload {
            outcome: report.outcome,
            source,
            when: now(),
            took_ms: report.took_ms,
            reason: None,
            diagnostics: report.diagnostics.clone(),
        });
    }

    /// Why the files on disk are not what runs, if they are not; or what runs is not what should.
    pub(super) fn set_differs(&self, why: Option<String>) {
        let why = self.trial.borrow().as_ref().and_then(Trial::stuck).or(why);
        self.metrics.config_file_differs(why.is_some());
        *self.differs_because.borrow_mut() = why;
    }

    pub(super) fn refuse_while_stopping(&self) -> Result<(), Vec<Diagnostic>> {
        match self.state.get() {
            Stage::Serving => Ok(()),
            Stage::Draining => {
                Err(vec![Diagnostic::error(None, "the front is stopping: nothing is reloaded any more")])
            }
        }
    }

    /// Files that held something and hold nothing now: an empty nova.conf is as good a configuration as any other, but
    /// here it is one that is just being written, or that found the disk full.
    fn refuse_what_was_emptied(&self, config: &Config) -> Result<(), Vec<Diagnostic>> {
        let current = self.current.borrow();
        let before = current.running.plan.config.reading.sources();
        let held = |path: &Path| before.iter().any(|was| was.path == path && !was.bytes.trim_ascii().is_empty());
        let emptied: Vec<_> = (config.reading.sources().iter())
            .filter(|source| source.bytes.trim_ascii().is_empty() && held(&source.path))
            .map(|source| {
                Diagnostic::error(Place::file(&source.path), "the file is empty, and was not before")
                    .help("write it again; if nothing is to stand in it, write a comment")
            })
            .collect();
        if emptied.is_empty() { Ok(()) } else { Err(emptied) }
    }

    /// Options that would need another process.
    pub(super) fn refuse_what_cannot_change(&self, plan: &Plan) -> Result<(), Vec<Diagnostic>> {
        let current = self.current.borrow();
        let (old, new) = (&current.running.plan.config.settings.pasteway, &plan.config.settings.pasteway);
        let mut found = Vec::new();
        let mut refuse = |name: &str| {
            let place = plan.config.conf.place("pasteway", name);
            found.push(
                Diagnostic::error(place, format!("`{name}` cannot be changed while the front runs"))
                    .help("restart the front, or write its old value again"),
            );
        };
        if old.runtime_dir != new.runtime_dir {
            refuse("runtime_dir");
        }
        if old.front_threads != new.front_threads {
            refuse("front_threads");
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// The memory of the workers that new ones would be started beside; `None` where there are none.
    fn doubled(&self, plan: &Plan) -> Option<u64> {
        let current = self.current.borrow();
        let rolled = rolled(&current.running.plan, plan);
        let slots = self.supervisor.report().into_iter().filter(|slot| {
            let mut pools = current.running.pools.iter().map(|pool| pool.pool.spec());
            rolled.iter().any(|api| api == slot.api.as_str())
                && pools.any(|spec| spec.api == slot.api && spec.generation == slot.generation)
        });
        let sum = slots.map(|slot| slot.rss_bytes).sum();
        (!rolled.is_empty()).then_some(sum)
    }

    /// A verdict on what serves now.
    pub(super) fn verdict(&self, outcome: Outcome, diagnostics: Vec<Diagnostic>) -> ReloadReport {
        let generation = self.current.borrow().record.number;
        ReloadReport {
            outcome,
            generation,
            previous: generation,
            took_ms: 0,
            dry_run: false,
            reason: None,
            changes: Vec::new(),
            extra_memory_bytes: None,
            diagnostics,
            trial: self.trial_report(),
        }
    }

    fn timed<T>(&self, phase: Phase, work: impl FnOnce() -> T) -> T {
        scheduler::give_way();
        let begun = Instant::now();
        let done = work();
        self.metrics.phase(phase, begun.elapsed());
        done
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
