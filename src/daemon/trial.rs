//! A generation on trial: it must be confirmed in time, or it is a canary that only some requests see; and it must not be
//! worse than the one before.
//!
//! ```text
//! staged (canary) ─▶ confirmed, or no worse for canary_time ─▶ live
//! live (confirm)  ─▶ confirmed
//! either          ─▶ not confirmed, worse, rolled back ─▶ what was confirmed last runs again
//! ```
//!
//! There is at most one. Must not know how a generation is made.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Daemon;
use super::bounds::{Bounds, Judgement, judge, standard};
use super::generation::{Current, Origin, Record, Running, State};
use super::prepare::Prepared;
use super::retire::worker_patience;
use crate::command::{Change, Class, Source, Terms, TrialReport};
use crate::message::{Diagnostic, Place};
use crate::proxy::snapshot::{Canary, CanaryShare, Snapshot};
use crate::proxy::tally::Tallied;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What is remembered of it while it lasts.
pub struct Trial {
    /// The generation on trial.
    pub record: Arc<Record>,
    /// What was confirmed last.
    pub back: Arc<Record>,
    /// What that ran on, for a short way back; `None` where it still serves.
    kept: Option<Rc<Running>>,
    /// Who wanted the new one.
    pub source: Source,
    began: Instant,
    confirm_by: Option<Instant>,
    bounds: Bounds,
    /// How requests of `back` had gone when the trial began.
    before: Tallied,
    /// Those before `back`, the newest first.
    earlier: Vec<Arc<Record>>,
    /// A canary waits for its swap.
    staged: Option<Staged>,
}

struct Staged {
    prepared: Prepared,
    snapshot: Arc<Snapshot>,
    share: CanaryShare,
    time: Option<Duration>,
}

/// How one reload is tried, after the options of the running configuration.
pub struct Tried {
    confirm: Option<Duration>,
    bounds: Bounds,
    share: CanaryShare,
    time: Option<Duration>,
}

impl Tried {
    /// Whether it begins as a canary.
    pub fn is_canary(&self) -> bool {
        !self.share.is_nobody()
    }
}

/// What is to be done about a trial.
enum Next {
    Wait,
    Promote,
    Back(String),
}

impl Trial {
    /// Whether the workers of this are needed for the way back.
    pub fn keeps(&self, running: &Rc<Running>) -> bool {
        self.kept.as_ref().is_some_and(|kept| Rc::ptr_eq(kept, running))
    }

    /// What they are.
    pub fn kept(&self) -> Option<&Rc<Running>> {
        self.kept.as_ref()
    }

    /// Whether only some requests see it.
    pub fn is_canary(&self) -> bool {
        self.staged.is_some()
    }

    fn next(&self) -> Next {
        let old = self.back.usage.tallied();
        // Beside a canary the old one serves on: the same time is compared, if enough happened in it.
        let beside =
            Some(old.since(&self.before)).filter(|old| self.is_canary() && old.answers >= self.bounds.requests);
        let earlier = self.earlier.iter().map(|record| record.usage.tallied());
        let old = beside.unwrap_or_else(|| standard(std::iter::once(old).chain(earlier), &self.bounds));
        let judgement = judge(&self.bounds, &old, &self.record.usage.tallied());
        if let Judgement::Worse(why) = judgement {
            return Next::Back(why);
        }
        if self.confirm_by.is_some_and(|by| Instant::now() >= by) {
            let time = self.confirm_by.map(|by| by.saturating_duration_since(self.began)).unwrap_or_default();
            return Next::Back(format!("it was not confirmed within {} s", time.as_secs_f64().round()));
        }
        let time = self.staged.as_ref().and_then(|staged| staged.time);
        if judgement == Judgement::Fine && time.is_some_and(|time| self.began.elapsed() >= time) {
            return Next::Promote;
        }
        Next::Wait
    }

    fn report(&self) -> TrialReport {
        let left = self.confirm_by.map(|by| by.saturating_duration_since(Instant::now()));
        TrialReport {
            generation: self.record.number.0,
            back: self.back.number.0,
            confirm_seconds: left.map(|left| left.as_secs_f64().round() as u64),
            canary: self.staged.as_ref().map(|staged| share_text(&staged.share)),
        }
    }
}

fn share_text(share: &CanaryShare) -> String {
    let percent = (share.percent > 0).then(|| format!("{} % of the requests", share.percent));
    // Its value may be a secret.
    let header = share.header.as_ref().map(|(name, _)| format!("requests with the header {name}"));
    percent.into_iter().chain(header).collect::<Vec<_>>().join(", and ")
}

impl Daemon {
    /// How a reload with these terms is tried. The running configuration decides, not the one that is to be tried.
    pub(super) fn tried(&self, terms: Terms) -> Tried {
        let settings = &self.current.borrow().running.plan.config.settings.pasteway.trial;
        let by_options = CanaryShare { percent: settings.share, header: settings.header.clone() };
        Tried {
            confirm: terms.confirm.or(settings.confirm).filter(|time| !time.is_zero()),
            bounds: Bounds::from(settings),
            share: match terms.canary {
                None => by_options,
                Some(0) => CanaryShare::default(),
                Some(percent) => CanaryShare { percent, ..by_options },
            },
            time: settings.canary_time,
        }
    }

    /// What stands in the way of a canary.
    pub(super) fn refuse_canary(&self, changes: &[Change]) -> Result<(), Vec<Diagnostic>> {
        if let Some(waiting) = self.trial.borrow().as_ref().filter(|trial| !trial.is_canary()) {
            let text = format!("generation {} is not confirmed yet: no canary beside it", waiting.record.number);
            return Err(vec![Diagnostic::error(None, text).help("confirm it, or roll it back, first")]);
        }
        let rebind = changes.iter().filter(|change| change.class == Class::Rebind).map(|change| {
            let place = change.file.clone().map(|file| Place { file, line: change.line.unwrap_or(0), column: 0 });
            let text = format!("`{}` cannot be tried by a canary: both generations share their listeners", change.what);
            Diagnostic::error(place, text).help("load it for all requests: pasteway reload --canary 0")
        });
        let found: Vec<_> = rebind.collect();
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// Puts a prepared generation into force for some of the requests.
    pub(super) fn stage(self: &Rc<Self>, prepared: Prepared, origin: Origin, changes: Vec<Change>, tried: Tried) {
        self.abandon(&format!("generation {} is tried in its place", prepared.number), false);
        let current = self.current.borrow().clone();
        let snapshot = Arc::new(prepared.snapshot(Some(&self.live.load())));
        let source = origin.source;
        let record = prepared.record(Arc::clone(&snapshot.usage), origin, changes, Some(&current.record));
        self.remember(&record);
        self.enter(&record, State::Canary);
        let Tried { confirm, bounds, share, time } = tried;
        let canary = Canary { snapshot: Arc::clone(&snapshot), share: share.clone() };
        self.live.store(Arc::new(self.live.load().with_canary(Some(canary))));
        let began = Instant::now();
        self.begin_trial(Trial {
            before: current.record.usage.tallied(),
            earlier: self.standards_before(&current.record),
            record,
            back: current.record,
            kept: None,
            source,
            began,
            confirm_by: confirm.map(|time| began + time),
            bounds,
            staged: Some(Staged { prepared, snapshot, share, time }),
        });
    }

    /// Puts a prepared generation into force for all requests. While one waits to be confirmed, what was confirmed last
    /// stays the way back.
    pub(super) fn go_live(
        self: &Rc<Self>,
        prepared: Prepared,
        origin: Origin,
        changes: Vec<Change>,
        tried: Option<Tried>,
    ) {
        self.abandon(&format!("generation {} came in its place", prepared.number), false);
        let earlier = self.trial.take();
        let old = self.current.borrow().clone();
        let source = origin.source;
        self.swap(prepared, origin, changes);
        let record = Arc::clone(&self.current.borrow().record);
        let began = Instant::now();
        let (back, kept, inherited) = match earlier {
            Some(Trial { back, kept, confirm_by, .. }) => (back, kept, confirm_by),
            None => (old.record, Some(old.running), None),
        };
        let by = tried.as_ref().and_then(|tried| tried.confirm.map(|time| began + time).or(inherited));
        if let (Some(tried), Some(by)) = (tried, by)
            && back.digest != record.digest
        {
            self.begin_trial(Trial {
                before: Tallied::default(),
                earlier: self.standards_before(&back),
                record,
                back,
                kept,
                source,
                began,
                confirm_by: Some(by),
                bounds: tried.bounds,
                staged: None,
            });
        }
        self.trial_over.notify_waiters();
    }

    /// What a generation is measured by where that before it has answered too little.
    fn standards_before(&self, back: &Record) -> Vec<Arc<Record>> {
        let history = self.history();
        history.iter().filter(|record| record.number < back.number && record.is_a_standard()).cloned().collect()
    }

    fn begin_trial(self: &Rc<Self>, trial: Trial) {
        let (daemon, record) = (Rc::clone(self), Arc::clone(&trial.record));
        self.tell("trial", &json!(trial.report()));
        *self.trial.borrow_mut() = Some(trial);
        tokio::task::spawn_local(async move { daemon.attend_trial(&record).await });
    }

    /// Looks at a trial until it is over.
    async fn attend_trial(self: &Rc<Self>, record: &Arc<Record>) {
        let is_this = |trial: &&Trial| Arc::ptr_eq(&trial.record, record);
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(next) = self.trial.borrow().as_ref().filter(is_this).map(Trial::next) else { return };
            let why = match next {
                Next::Wait => continue,
                Next::Promote => Ok(()),
                Next::Back(why) => Err(why),
            };
            // A reload that is under way may put an end to it.
            let _turn = self.reloading.lock().await;
            if self.trial.borrow().as_ref().filter(is_this).is_none() {
                return;
            }
            match why {
                Ok(()) => drop(self.confirm_trial("it is no worse than the one before")),
                Err(why) => self.fail_trial(&why).await,
            }
            return;
        }
    }

    /// `confirm`.
    pub(super) async fn confirm(self: &Rc<Self>, peer: Option<&str>) -> Option<TrialReport> {
        let _turn = self.reloading.lock().await;
        self.confirm_trial(&format!("asked by {}", peer.unwrap_or("-")))
    }

    fn confirm_trial(self: &Rc<Self>, why: &str) -> Option<TrialReport> {
        let trial = self.trial.take()?;
        let report = trial.report();
        tracing::info!(target: "pasteway::reload", "generation {} is confirmed: {why}", trial.record.number);
        if let Some(staged) = trial.staged {
            self.install(staged.prepared, staged.snapshot, trial.record);
        }
        self.tell("trial", &json!({ "generation": report.generation, "confirmed": why }));
        self.trial_over.notify_waiters();
        Some(report)
    }

    /// Takes a canary out, if there is one; `undone`: for good.
    pub(super) fn abandon(self: &Rc<Self>, why: &str, undone: bool) -> Option<Arc<Record>> {
        let trial = self.trial.borrow_mut().take_if(|trial| trial.is_canary())?;
        let Staged { prepared, .. } = trial.staged?;
        self.live.store(Arc::new(self.live.load().with_canary(None)));
        if undone {
            trial.record.undo(why);
        }
        tracing::warn!(target: "pasteway::reload", "canary generation {} is taken out: {why}", trial.record.number);
        self.tell("trial", &json!({ "generation": trial.record.number, "back": trial.back.number, "reason": why }));
        // Workers that were added for it to pools that both use.
        let running = Rc::clone(&self.current.borrow().running);
        for (api, pool) in running.plan.apis.iter().zip(&running.pools) {
            if api.settings.slots() < pool.pool.wanted() {
                self.shrink(pool, api.settings.slots(), worker_patience(api, &running.plan.config.settings.pasteway));
            }
        }
        let gone = Current { record: Arc::clone(&trial.record), running: prepared.running() };
        self.pools.borrow_mut().extend(gone.running.pools.iter().map(Rc::downgrade));
        let daemon = Rc::clone(self);
        tokio::task::spawn_local(async move { daemon.retire(gone).await });
        self.trial_over.notify_waiters();
        Some(trial.record)
    }

    /// For reports.
    pub(super) fn trial_report(&self) -> Option<TrialReport> {
        self.trial.borrow().as_ref().map(Trial::report)
    }
}
