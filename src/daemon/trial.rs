//! A generation on trial: it must be confirmed in time, or it is a canary that only some requests see; and it must not be
//! worse than the one before.
//!
//! ```text
//! staged (canary) ─▶ confirmed, or no worse for canary_time ─▶ live
//! live (confirm)  ─▶ confirmed
//! either          ─▶ not confirmed, worse, rolled back ─▶ what was confirmed last runs again
//! ```
//!
//! There is at most one. What comes while there is one takes its place, and is tried as it was. One that cannot go back
//! stays, and tries again. Must not know how a generation is made.

mod terms;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use terms::{Deadline, share_text};
pub use terms::{Tried, terms_text};

use super::Daemon;
use super::bounds::{Bounds, Judgement, judge, standard};
use super::generation::{Current, Origin, Record, Running, State};
use super::prepare::Prepared;
use super::retire::worker_patience;
use crate::command::{Change, NotOnTrial, Outcome, ReloadReport, Source, Terms, TrialReport};
use crate::compile::{ApiPlan, Plan};
use crate::message::Diagnostic;
use crate::proxy::snapshot::{Canary, CanaryShare, Snapshot};
use crate::proxy::tally::Tallied;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often one that could not go back tries it again.
const AGAIN: Duration = Duration::from_secs(1);

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
    deadline: Option<Deadline>,
    bounds: Bounds,
    /// How requests of `back` had gone when the trial began.
    before: Tallied,
    /// Those before `back`, the newest first.
    earlier: Vec<Arc<Record>>,
    /// A canary waits for its swap.
    staged: Option<Staged>,
    /// It should go, and cannot.
    stuck: Option<Stuck>,
}

struct Staged {
    prepared: Prepared,
    snapshot: Arc<Snapshot>,
    share: CanaryShare,
    time: Option<Duration>,
}

/// A trial that has failed and cannot go back.
#[derive(Clone)]
struct Stuck {
    /// Why it should.
    why: String,
    /// Why it cannot.
    cannot: String,
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

    /// That it should go and cannot, in words.
    pub fn stuck(&self) -> Option<String> {
        let Stuck { why, cannot } = self.stuck.as_ref()?;
        Some(format!("generation {} should go ({why}), but cannot go back: {cannot}", self.record.number))
    }

    /// Remembers that it cannot go back; whether that is news.
    pub fn get_stuck(&mut self, why: &str, cannot: String) -> bool {
        self.stuck.replace(Stuck { why: why.to_owned(), cannot }).is_none()
    }

    fn next(&self) -> Next {
        if let Some(Stuck { why, .. }) = &self.stuck {
            return Next::Back(why.clone());
        }
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
        if let Some(Deadline { time, .. }) = self.deadline.filter(|deadline| Instant::now() >= deadline.by) {
            return Next::Back(format!("it was not confirmed within {} s", time.as_secs_f64().round()));
        }
        let time = self.staged.as_ref().and_then(|staged| staged.time);
        if judgement == Judgement::Fine && time.is_some_and(|time| self.began.elapsed() >= time) {
            return Next::Promote;
        }
        Next::Wait
    }

    fn report(&self) -> TrialReport {
        let left = self.deadline.map(|deadline| deadline.by.saturating_duration_since(Instant::now()));
        TrialReport {
            generation: self.record.number.0,
            back: self.back.number.0,
            confirm_seconds: left.map(|left| left.as_secs_f64().round() as u64),
            canary: self.staged.as_ref().map(|staged| share_text(&staged.share)),
            cannot_go_back: self.stuck.as_ref().map(|stuck| stuck.cannot.clone()),
        }
    }
}

impl Daemon {
    /// Puts a prepared generation into force for some of the requests.
    pub(super) fn stage(self: &Rc<Self>, prepared: Prepared, origin: Origin, changes: Vec<Change>, tried: Tried) {
        self.abandon(&format!("generation {} is tried in its place", prepared.number), Some(&prepared.plan));
        let current = self.current.borrow().clone();
        let snapshot = Arc::new(prepared.snapshot(Some(&self.live.load())));
        let source = origin.source;
        let record = prepared.record(Arc::clone(&snapshot.usage), origin, changes, Some(&current.record));
        self.remember(&record);
        self.enter(&record, State::Canary);
        let Tried { deadline, bounds, share, time } = tried;
        let staged = Staged { prepared, snapshot, share, time };
        self.share(&staged);
        self.begin_trial(Trial {
            before: current.record.usage.tallied(),
            earlier: self.standards_before(&current.record),
            record,
            back: current.record,
            kept: None,
            source,
            began: Instant::now(),
            deadline,
            bounds,
            staged: Some(staged),
            stuck: None,
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
        self.abandon(&format!("generation {} came in its place", prepared.number), Some(&prepared.plan));
        let earlier = self.trial.take();
        let old = self.current.borrow().clone();
        let source = origin.source;
        self.swap(prepared, origin, changes);
        let record = Arc::clone(&self.current.borrow().record);
        let (back, kept) = match earlier {
            Some(Trial { back, kept, .. }) => (back, kept),
            None => (old.record, Some(old.running)),
        };
        if let Some(Tried { deadline: Some(deadline), bounds, .. }) = tried
            && back.digest != record.digest
        {
            self.begin_trial(Trial {
                before: Tallied::default(),
                earlier: self.standards_before(&back),
                record,
                back,
                kept,
                source,
                began: Instant::now(),
                deadline: Some(deadline),
                bounds,
                staged: None,
                stuck: None,
            });
        }
        self.trial_over.notify_waiters();
    }

    /// What a generation is measured by where that before it has answered too little.
    fn standards_before(&self, back: &Record) -> Vec<Arc<Record>> {
        let history = self.history();
        history.iter().filter(|record| record.number < back.number && record.is_a_standard()).cloned().collect()
    }

    /// The files are those of the generation on trial: it goes on, on the terms that are stated now.
    pub(super) fn try_otherwise(self: &Rc<Self>, terms: Terms) -> ReloadReport {
        let serves = self.trial.borrow().as_ref().filter(|trial| !trial.is_canary()).map(|trial| trial.record.number);
        if let (Some(number), Some(1..)) = (serves, terms.canary) {
            let text = format!("generation {number} serves all requests already: no canary can be made of it");
            let found = Diagnostic::error(None, text).help("roll it back, and load it as a canary then");
            return self.verdict(Outcome::Rejected, vec![found]);
        }
        let before = self.current.borrow().clone();
        let Some(mut trial) = self.trial.take() else { return self.verdict(Outcome::Unchanged, Vec::new()) };
        let record = Arc::clone(&trial.record);
        if let Some(time) = terms.confirm {
            trial.deadline = Deadline::after(time);
            trial.stuck = None;
        }
        let mut live = None;
        match (trial.staged.take(), terms.canary) {
            (Some(staged), Some(0)) => {
                (trial.before, trial.kept) = (Tallied::default(), Some(before.running));
                live = Some(staged);
            }
            (Some(mut staged), percent) => {
                staged.share.percent = percent.unwrap_or(staged.share.percent);
                self.share(&staged);
                trial.staged = Some(staged);
            }
            (None, _) => {}
        }
        let over = !trial.is_canary() && trial.deadline.is_none();
        *self.trial.borrow_mut() = Some(trial);
        if let Some(Staged { prepared, snapshot, .. }) = live {
            self.install(prepared, snapshot, Arc::clone(&record), true);
        }
        if over {
            self.confirm_trial("it need not be confirmed any more");
        }
        let trial = self.trial_report();
        self.tell("trial", &json!(trial));
        let how = trial
            .as_ref()
            .map_or_else(|| "live, and on trial no more".to_owned(), |it| format!("on trial: {}", terms_text(it)));
        ReloadReport {
            generation: record.number,
            previous: before.record.number,
            reason: Some(format!("generation {} is {how}", record.number)),
            ..self.verdict(Outcome::Applied, Vec::new())
        }
    }

    /// Has data threads give a canary its share.
    fn share(&self, Staged { snapshot, share, .. }: &Staged) {
        let canary = Canary { snapshot: Arc::clone(snapshot), share: share.clone() };
        self.live.store(Arc::new(self.live.load().with_canary(Some(canary))));
    }

    fn begin_trial(self: &Rc<Self>, trial: Trial) {
        let (daemon, record) = (Rc::clone(self), Arc::clone(&trial.record));
        self.tell("trial", &json!(trial.report()));
        *self.trial.borrow_mut() = Some(trial);
        tokio::task::spawn_local(async move { daemon.attend_trial(&record).await });
    }

    /// Whether this is the one on trial.
    pub(super) fn is_on_trial(&self, record: &Arc<Record>) -> bool {
        self.trial.borrow().as_ref().is_some_and(|trial| Arc::ptr_eq(&trial.record, record))
    }

    /// Looks at a trial until it is over.
    async fn attend_trial(self: &Rc<Self>, record: &Arc<Record>) {
        let next = || self.trial.borrow().as_ref().map_or(Next::Wait, Trial::next);
        loop {
            let stuck = self.trial.borrow().as_ref().is_some_and(|trial| trial.stuck.is_some());
            tokio::time::sleep(if stuck { AGAIN } else { LOOK }).await;
            if !self.is_on_trial(record) || self.refuse_while_stopping().is_err() {
                return;
            }
            let why = match next() {
                Next::Wait => continue,
                Next::Promote => {
                    self.confirm_trial("it is no worse than the one before");
                    return;
                }
                Next::Back(why) => why,
            };
            let turn = match stuck {
                false => Some(
                    self.reloading.overtake(format!("the way back from generation {}: {why}", record.number)).await,
                ),
                // What is being loaded may put an end to it.
                true => self.reloading.try_lock().ok(),
            };
            if turn.is_none() || !self.is_on_trial(record) {
                continue;
            }
            // Who had the turn before may have given it other terms.
            if let Next::Back(why) = next() {
                self.fail_trial(&why).await;
            }
        }
    }

    /// `confirm`: what is on trial now; no reload is waited for.
    pub(super) fn confirm(self: &Rc<Self>, wanted: Option<u64>, peer: Option<&str>) -> Result<TrialReport, NotOnTrial> {
        let now = self.trial.borrow().as_ref().map(|trial| trial.record.number.0);
        let confirmed = match now {
            Some(now) if wanted.is_some_and(|wanted| wanted != now) => None,
            _ => self.confirm_trial(&format!("asked by {}", peer.unwrap_or("-"))),
        };
        confirmed.ok_or_else(|| {
            NotOnTrial(match now {
                Some(now) => format!("another generation is to be confirmed, but generation {now} is on trial"),
                None => "no generation is on trial".to_owned(),
            })
        })
    }

    fn confirm_trial(self: &Rc<Self>, why: &str) -> Option<TrialReport> {
        let trial = self.trial.take()?;
        let report = trial.report();
        tracing::info!(target: "pasteway::reload", "generation {} is confirmed: {why}", trial.record.number);
        if let Some(staged) = trial.staged {
            let turn = self.reloading.try_lock();
            self.install(staged.prepared, staged.snapshot, trial.record, turn.is_ok());
        }
        if trial.stuck.is_some() {
            self.set_differs(None);
            self.compare_with_disk(&[]);
        }
        self.tell("trial", &json!({ "generation": report.generation, "confirmed": why }));
        self.trial_over.notify_waiters();
        Some(report)
    }

    /// Takes a canary out, if there is one; `next` comes in its place.
    pub(super) fn abandon(self: &Rc<Self>, why: &str, next: Option<&Plan>) -> Option<Arc<Record>> {
        let trial = self.trial.borrow_mut().take_if(|trial| trial.is_canary())?;
        let Staged { prepared, .. } = trial.staged?;
        self.live.store(Arc::new(self.live.load().with_canary(None)));
        tracing::warn!(target: "pasteway::reload", "canary generation {} is taken out: {why}", trial.record.number);
        self.tell("trial", &json!({ "generation": trial.record.number, "back": trial.back.number, "reason": why }));
        // Workers that were added for it to pools that both use.
        let running = Rc::clone(&self.current.borrow().running);
        for (api, pool) in running.plan.apis.iter().zip(&running.pools) {
            let same = |other: &&ApiPlan| other.settings.name == api.settings.name;
            let next = next.and_then(|next| next.apis.iter().find(same)).map_or(0, |next| next.settings.slots());
            let slots = api.settings.slots().max(next);
            if slots < pool.pool.wanted() {
                self.shrink(pool, slots, worker_patience(api, &running.plan.config.settings.pasteway));
            }
        }
        let gone = Current { record: Arc::clone(&trial.record), running: prepared.running() };
        self.pools.borrow_mut().extend(gone.running.pools.iter().map(Rc::downgrade));
        let daemon = Rc::clone(self);
        tokio::task::spawn_local(async move { daemon.retire(gone).await });
        self.trial_over.notify_waiters();
        Some(trial.record)
    }

    /// Whether the one on trial was made from these files.
    pub(super) fn is_of_trial(&self, digest: &[u8; 32]) -> bool {
        self.trial.borrow().as_ref().is_some_and(|trial| trial.record.digest == *digest)
    }

    /// For reports.
    pub(super) fn trial_report(&self) -> Option<TrialReport> {
        self.trial.borrow().as_ref().map(Trial::report)
    }
}
