//! How a reload is tried: as was said with it, as the canary in whose place it comes, or after the options of the running
//! configuration. And what no canary can try.
//!
//! Must not know how a trial goes on.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::Daemon;
use super::super::bounds::Bounds;
use crate::command::{Change, Class, Terms, TrialReport};
use crate::compile::{ApiPlan, Plan};
use crate::message::{Diagnostic, Place};
use crate::proxy::snapshot::CanaryShare;

/// Until when it must be confirmed.
#[derive(Clone, Copy)]
pub struct Deadline {
    /// Then it is too late.
    pub by: Instant,
    /// What was asked for.
    pub time: Duration,
}

impl Deadline {
    /// From now on; none in no time.
    pub fn after(time: Duration) -> Option<Self> {
        (!time.is_zero()).then(|| Self { by: Instant::now() + time, time })
    }
}

/// How one reload is tried.
pub struct Tried {
    /// Until when it must be confirmed; `None` = it need not be.
    pub deadline: Option<Deadline>,
    /// By how much it may be worse.
    pub bounds: Bounds,
    /// Which requests it gets as a canary; nobody's, if it is none.
    pub share: CanaryShare,
    /// After which a canary that is no worse serves all.
    pub time: Option<Duration>,
}

impl Tried {
    /// Whether it begins as a canary.
    pub fn is_canary(&self) -> bool {
        !self.share.is_nobody()
    }
}

/// How one is tried, in words.
pub fn terms_text(trial: &TrialReport) -> String {
    let gets = trial.canary.as_deref().unwrap_or("all requests");
    let within = trial.confirm_seconds.map(|left| format!(", to be confirmed within {left} s"));
    format!("{gets}{}", within.unwrap_or_default())
}

/// Which requests a canary gets, in words.
pub fn share_text(share: &CanaryShare) -> String {
    let percent = (share.percent > 0).then(|| format!("{} % of the requests", share.percent));
    // Its value may be a secret.
    let header = share.header.as_ref().map(|(name, _)| format!("requests with the header {name}"));
    percent.into_iter().chain(header).collect::<Vec<_>>().join(", and ")
}

/// APIs whose TLS differs: it belongs to the connections, which both generations share.
fn other_tls<'a>(old: &Plan, new: &'a Plan) -> impl Iterator<Item = &'a ApiPlan> {
    let tls = |plan: &Plan, api: &ApiPlan| {
        let tls = api.settings.tls.as_ref()?;
        let digest = |path: &PathBuf| plan.config.reading.file(path).ok().map(|source| source.digest);
        Some([Some(&tls.cert), Some(&tls.key), tls.ca.as_ref()].map(|path| path.and_then(digest)))
    };
    new.apis.iter().filter(move |api| {
        let before = old.apis.iter().find(|old| old.settings.name == api.settings.name);
        before.is_some_and(|before| tls(old, before) != tls(new, api))
    })
}

impl Daemon {
    /// How a reload with these terms is tried. The running configuration decides, not the one that is to be tried; beside
    /// a canary that canary, since what comes holds its changes too.
    pub(in crate::daemon) fn tried(&self, terms: Terms) -> Tried {
        let settings = &self.current.borrow().running.plan.config.settings.pasteway.trial;
        let trial = self.trial.borrow();
        let trial = trial.as_ref().filter(|trial| trial.stuck.is_none());
        let canary = trial.and_then(|trial| Some((trial, trial.staged.as_ref()?)));
        let by_options = CanaryShare { percent: settings.share, header: settings.header.clone() };
        let share = canary.map_or(by_options, |(_, staged)| staged.share.clone());
        let inherited = trial.and_then(|trial| trial.deadline);
        Tried {
            deadline: match terms.confirm {
                Some(time) => Deadline::after(time),
                None if canary.is_some() => inherited,
                None => settings.confirm.and_then(Deadline::after).or(inherited),
            },
            bounds: canary.map_or_else(|| Bounds::from(settings), |(trial, _)| trial.bounds.clone()),
            share: match terms.canary {
                None => share,
                Some(0) => CanaryShare::default(),
                Some(percent) => CanaryShare { percent, ..share },
            },
            time: canary.map_or(settings.canary_time, |(_, staged)| staged.time),
        }
    }

    /// What stands in the way of a canary.
    pub(in crate::daemon) fn refuse_canary(&self, plan: &Plan, changes: &[Change]) -> Result<(), Vec<Diagnostic>> {
        let trial = self.trial.borrow();
        if let Some(waiting) = trial.as_ref().filter(|trial| !trial.is_canary()) {
            let text = format!("generation {} is not confirmed yet: no canary beside it", waiting.record.number);
            return Err(vec![Diagnostic::error(None, text).help("confirm it, or roll it back, first")]);
        }
        let help = match trial.as_ref() {
            Some(canary) => format!(
                "end the trial of generation {} first: pasteway confirm, or pasteway rollback",
                canary.record.number,
            ),
            None => "load it for all requests: pasteway reload --canary 0".to_owned(),
        };
        let rebind = changes.iter().filter(|change| change.class == Class::Rebind).map(|change| {
            let place = change.file.clone().map(|file| Place { file, line: change.line.unwrap_or(0), column: 0 });
            let text = format!("`{}` cannot be tried by a canary: both generations share their listeners", change.what);
            Diagnostic::error(place, text)
        });
        let current = self.current.borrow();
        let tls = other_tls(&current.running.plan, plan).map(|api| {
            let place = api.settings.tls.as_ref().and_then(|tls| tls.place.clone());
            let text = format!(
                "TLS of {} cannot be tried by a canary: both generations share their connections",
                api.settings.name,
            );
            Diagnostic::error(place.or_else(|| plan.config.conf.place("DEFAULT", "enabled_ssl_apis")), text)
        });
        let found: Vec<_> = rebind.chain(tls).map(|found| found.help(help.clone())).collect();
        if found.is_empty() { Ok(()) } else { Err(found) }
    }
}
