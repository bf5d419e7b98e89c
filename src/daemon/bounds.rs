//! Whether a generation on trial is worse than the one before it, and by how much it may be.
//!
//! Pure: must not know when it is asked or what follows from the answer.

use std::time::Duration;

use crate::config::settings::TrialSettings;
use crate::proxy::tally::Tallied;

/// Shorter than this more is no reason: fresh workers are slow for a moment, and fast answers vary by large factors.
const NOTICED: Duration = Duration::from_millis(100);

/// By how much a new generation may be worse.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// Percentage points of server errors.
    pub errors: u8,
    /// Times the p99; `None` = any.
    pub p99: Option<u32>,
    /// Answers of both before anything is compared.
    pub requests: u64,
}

impl From<&TrialSettings> for Bounds {
    fn from(settings: &TrialSettings) -> Self {
        Self { errors: settings.errors, p99: settings.p99, requests: settings.requests }
    }
}

/// How a generation on trial does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// One of the two has answered too few requests to tell.
    TooFew,
    /// It keeps the bounds.
    Fine,
    /// It does not; in words.
    Worse(String),
}

/// How requests went, as far back as it takes to tell: the newest generation's first.
pub fn standard(newest_first: impl IntoIterator<Item = Tallied>, bounds: &Bounds) -> Tallied {
    let mut sum = Tallied::default();
    for tallied in newest_first {
        if sum.answers >= bounds.requests {
            break;
        }
        sum.merge(&tallied);
    }
    sum
}

/// Compares how requests went before and how they go now.
pub fn judge(bounds: &Bounds, old: &Tallied, new: &Tallied) -> Judgement {
    if old.answers.min(new.answers) < bounds.requests {
        return Judgement::TooFew;
    }
    let (before, now) = (old.error_percent(), new.error_percent());
    if now > before + f64::from(bounds.errors) {
        return Judgement::Worse(format!(
            "{now:.1} % of its {} answers are server errors, {before:.1} % before (reload_confirm_errors = {})",
            new.answers, bounds.errors,
        ));
    }
    let Some(factor) = bounds.p99 else { return Judgement::Fine };
    let (before, now) = (old.p99(), new.p99());
    if now > before.saturating_mul(factor) && now > before + NOTICED {
        return Judgement::Worse(format!(
            "its p99 is {}, {} before (reload_confirm_p99 = {factor})",
            words(now),
            words(before),
        ));
    }
    Judgement::Fine
}

fn words(time: Duration) -> String {
    match time.as_millis() {
        0 => "less than 1 ms".to_owned(),
        ms => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::tally::Tally;

    const BOUNDS: Bounds = Bounds { errors: 5, p99: Some(4), requests: 20 };

    fn went(answers: u32, errors: u32, ms: u64) -> Tallied {
        let (tally, mut sum) = (Tally::default(), Tallied::default());
        for n in 0..answers {
            tally.count(if n < errors { 502 } else { 200 }, Duration::from_millis(ms));
        }
        sum.add(&tally);
        sum
    }

    fn is_worse(old: &Tallied, new: &Tallied) -> bool {
        matches!(judge(&BOUNDS, old, new), Judgement::Worse(_))
    }

    #[test]
    fn nothing_is_concluded_from_a_few_requests() {
        assert_eq!(judge(&BOUNDS, &went(100, 0, 1), &went(19, 19, 9_000)), Judgement::TooFew);
        assert_eq!(judge(&BOUNDS, &went(19, 0, 1), &went(100, 100, 9_000)), Judgement::TooFew);
        assert_eq!(judge(&BOUNDS, &went(20, 0, 1), &went(20, 0, 1)), Judgement::Fine);
    }

    #[test]
    fn errors_are_compared_with_those_of_before() {
        assert!(!is_worse(&went(100, 0, 1), &went(100, 5, 1)), "at the bound");
        assert!(is_worse(&went(100, 0, 1), &went(100, 6, 1)));
        assert!(!is_worse(&went(100, 50, 1), &went(100, 55, 1)), "no worse than it was");
    }

    #[test]
    fn who_has_answered_too_few_is_helped_out_by_those_before() {
        let standard = |tallied: &[Tallied]| standard(tallied.iter().cloned(), &BOUNDS);
        let (empty, few, many) = (Tallied::default(), went(19, 19, 1), went(80, 2, 1));
        let sum = standard(&[empty, few.clone(), many.clone(), went(100, 0, 1)]);
        assert_eq!((sum.answers, sum.errors), (99, 21));
        assert_eq!(standard(&[many.clone(), few.clone()]), many);
        assert_eq!(standard(std::slice::from_ref(&few)), few);
    }

    #[test]
    fn a_longer_p99_counts_by_factor_and_by_time() {
        assert!(is_worse(&went(100, 0, 100), &went(100, 0, 600)));
        assert!(!is_worse(&went(100, 0, 100), &went(100, 0, 300)), "within the factor");
        assert!(!is_worse(&went(100, 0, 1), &went(100, 0, 50)), "too short to be noticed");
        let (short, long) = (Duration::from_micros(700), Duration::from_millis(600));
        assert_eq!([short, long].map(words), ["less than 1 ms", "600 ms"]);
        let off = Bounds { p99: None, ..BOUNDS };
        assert_eq!(judge(&off, &went(100, 0, 1), &went(100, 0, 9_000)), Judgement::Fine);
    }
}
