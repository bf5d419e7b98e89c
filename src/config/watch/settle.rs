//! When an edit is over: signs of change and looks at the files go in, one report per settled edit comes out.
//!
//! Must not know the clock, the disk or how signs are heard; every method takes the time.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// An edit that does not rest is reported at the latest this long after its first sign. The time in which a file is held
/// open does not count, as long as it is written to at least this often.
const HOLD: Duration = Duration::from_secs(5);

/// Whatever its writers do, an edit is reported at the latest this long after its first sign.
const LONGEST: Duration = Duration::from_secs(60);

/// How far apart the two equal looks are when the last one saw something new.
const CONFIRM: Duration = Duration::from_millis(10);

/// What was heard about a watched path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It was written to and may be written to again before it is closed.
    Written(PathBuf),
    /// A writer closed it. Without a [`Sign::Written`] before it, nothing was written.
    Closed(PathBuf),
    /// It appeared, went or was exchanged as a whole.
    Changed(PathBuf),
    /// Something near it moved: only a look can tell.
    Doubt,
    /// It changed so shortly before it was read that no look can tell whether it has changed since.
    Young,
}

/// An edit that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    /// Something has changed; else a path is [`Sign::Young`].
    pub(super) certain: bool,
    /// How many changes it was.
    pub(super) changes: u64,
}

/// Collects signs into edits. `P` is what a look at all watched paths gives.
#[derive(Debug)]
pub(super) struct Settle<P> {
    quiet: Duration,
    hold: Duration,
    base: P,
    edit: Option<Edit<P>>,
}

/// An edit that has begun and is not reported yet.
#[derive(Debug)]
struct Edit<P> {
    first: Instant,
    /// `first`, later by the time in which writers were at work.
    since: Instant,
    /// The newest change.
    last: Instant,
    /// Not before this: set when two looks differed.
    again: Instant,
    /// Files with a writer that has not closed them, and its newest write.
    writing: HashMap<PathBuf, Instant>,
    /// When the first of them was opened.
    opened: Instant,
    /// Files of ours that certainly changed, whatever the looks say: each save counts.
    changes: u64,
    young: bool,
    /// Whether a sign came after `seen` was taken.
    heard: bool,
    seen: Option<P>,
}

impl<P> Edit<P> {
    fn write(&mut self, now: Instant, path: PathBuf) {
        if self.writing.is_empty() {
            self.opened = now;
        }
        self.changes += u64::from(self.writing.insert(path, now).is_none());
    }

    /// Whether the file had a writer.
    fn close(&mut self, now: Instant, path: &PathBuf) -> bool {
        let had = self.writing.remove(path).is_some();
        if had && self.writing.is_empty() {
            self.since += now.saturating_duration_since(self.opened);
        }
        had
    }

    /// When it is reported at the latest, by what is known now.
    fn end(&self, hold: Duration) -> Instant {
        let newest = self.writing.values().max().copied();
        (newest.unwrap_or(self.since).max(self.since) + hold).min(self.first + LONGEST.max(hold))
    }
}

impl<P: PartialEq> Settle<P> {
    /// Reports after `quiet` without a sign; `base` is the look that counts as known already.
    pub(super) fn new(quiet: Duration, base: P) -> Self {
        Self { quiet, hold: HOLD.max(quiet * 2), base, edit: None }
    }

    /// The look that was reported last.
    pub(super) fn base(&self) -> &P {
        &self.base
    }

    /// Makes another look the known one: the watched paths are others now.
    pub(super) fn rebase(&mut self, base: P) {
        self.base = base;
    }

    /// Takes a sign.
    pub(super) fn hear(&mut self, now: Instant, sign: Sign) {
        if self.edit.is_none() && matches!(sign, Sign::Closed(_)) {
            return;
        }
        let edit = self.edit.get_or_insert_with(|| Edit {
            first: now,
            since: now,
            last: now,
            again: now,
            writing: HashMap::new(),
            opened: now,
            changes: 0,
            young: false,
            heard: false,
            seen: None,
        });
        edit.heard = true;
        match sign {
            Sign::Written(path) => edit.write(now, path),
            Sign::Closed(path) if !edit.close(now, &path) => return,
            Sign::Closed(_) | Sign::Doubt => {}
            Sign::Young => edit.young = true,
            Sign::Changed(path) => {
                edit.close(now, &path);
                edit.changes += 1;
            }
        }
        edit.last = now;
    }

    /// When [`Settle::look`] wants to be called next; `None` while nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let edit = self.edit.as_ref()?;
        if edit.seen.is_none() {
            return Some(edit.first);
        }
        let end = edit.end(self.hold);
        let calm = if edit.writing.is_empty() { (edit.last + self.quiet).max(edit.again) } else { end };
        Some(calm.min(end))
    }

    /// Whether a report now would be one of files at rest: not one that has waited long enough for a writer.
    pub(super) fn is_calm(&self, now: Instant) -> bool {
        self.edit.as_ref().is_some_and(|edit| now < edit.end(self.hold))
    }

    /// Takes a look at all watched paths; tells of an edit that is complete and shall be reported.
    pub(super) fn look(&mut self, now: Instant, print: P) -> Option<Over> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        let edit = self.edit.as_mut()?;
        let stable = edit.seen.as_ref() == Some(&print);
        if !stable && (edit.seen.is_none() || now < edit.end(self.hold)) {
            match (&edit.seen, edit.heard) {
                (None, _) => {}
                (Some(_), true) => edit.again = now + CONFIRM,
                // The files changed without a sign (a mapped file, a network): that was a change like any other.
                (Some(_), false) => edit.last = now,
            }
            edit.heard = false;
            edit.seen = Some(print);
            return None;
        }
        // What raised no sign is a change all the same.
        let changes = edit.changes.max((print != self.base).into());
        let over = Over { certain: changes > 0, changes };
        let report = over.certain || edit.young;
        self.base = print;
        self.edit = None;
        report.then_some(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(100);

    /// A settle with its own clock; `print` stands for the state of the disk.
    struct Bench {
        settle: Settle<u32>,
        start: Instant,
        print: u32,
        over: Vec<Over>,
    }

    impl Bench {
        fn new() -> Self {
            Self { settle: Settle::new(QUIET, 0), start: Instant::now(), print: 0, over: Vec::new() }
        }

        fn hear(&mut self, ms: u64, sign: Sign) {
            self.settle.hear(self.start + Duration::from_millis(ms), sign);
        }

        /// The times of the reports up to `until`, with a look whenever one is due.
        fn reports(&mut self, from: u64, until: u64) -> Vec<u64> {
            (from..=until)
                .filter(|ms| {
                    let now = self.start + Duration::from_millis(*ms);
                    let due = self.settle.due().is_some_and(|due| due <= now);
                    let over = due.then(|| self.settle.look(now, self.print)).flatten();
                    self.over.extend(over);
                    over.is_some()
                })
                .collect()
        }
    }

    fn file() -> PathBuf {
        "nova.conf".into()
    }

    #[test]
    fn a_rename_is_reported_once_after_the_quiet_time() {
        let mut b = Bench::new();
        b.print = 1;
        b.hear(0, Sign::Changed(file()));
        assert_eq!(b.reports(0, 20_000), [100]);
    }

    #[test]
    fn every_further_sign_starts_the_quiet_time_anew() {
        let mut b = Bench::new();
        b.hear(0, Sign::Changed(file()));
        assert_eq!(b.reports(0, 80), [0u64; 0]);
        b.print = 2;
        b.hear(80, Sign::Changed(file()));
        assert_eq!(b.reports(80, 20_000), [190], "100 ms of quiet, then a second look that agrees");
    }

    #[test]
    fn a_file_that_is_being_written_waits_for_its_close() {
        let mut b = Bench::new();
        b.print = 1;
        b.hear(0, Sign::Written(file()));
        assert_eq!(b.reports(0, 3_000), [0u64; 0]);
        b.print = 2;
        b.hear(3_000, Sign::Closed(file()));
        assert_eq!(b.reports(3_000, 20_000), [3_110]);
    }

    #[test]
    fn a_writer_that_never_closes_is_waited_for_five_seconds_after_its_last_write() {
        let mut b = Bench::new();
        b.print = 1;
        b.hear(0, Sign::Written(file()));
        assert_eq!(b.reports(0, 2_000), [0u64; 0]);
        b.hear(2_000, Sign::Written(file()));
        assert_eq!(b.reports(2_000, 20_000), [7_000]);
    }

    /// Writes once a second, and closes the file then.
    fn slow_write(b: &mut Bench, seconds: u64) -> Vec<u64> {
        let mut reports = Vec::new();
        for ms in (0..seconds * 1_000).step_by(1_000) {
            b.print += 1;
            b.hear(ms, Sign::Written(file()));
            reports.extend(b.reports(ms, ms + 999));
        }
        b.hear(seconds * 1_000, Sign::Closed(file()));
        reports.extend(b.reports(seconds * 1_000, seconds * 1_000 + 20_000));
        reports
    }

    #[test]
    fn a_writer_that_goes_on_is_waited_for_and_its_file_is_one_edit() {
        assert_eq!(slow_write(&mut Bench::new(), 8), [8_110]);
        assert_eq!(slow_write(&mut Bench::new(), 59), [59_110]);
    }

    #[test]
    fn a_writer_that_goes_on_for_a_minute_is_not_waited_for() {
        assert_eq!(slow_write(&mut Bench::new(), 90), [60_000, 90_110]);
    }

    #[test]
    fn a_storm_of_saves_in_place_is_not_taken_for_one_writer() {
        let mut b = Bench::new();
        let mut reports = Vec::new();
        for ms in (0..12_000).step_by(20) {
            b.print += 1;
            b.hear(ms, Sign::Written(file()));
            b.hear(ms + 1, Sign::Closed(file()));
            reports.extend(b.reports(ms + 1, ms + 19));
        }
        reports.extend(b.reports(12_000, 40_000));
        assert_eq!(reports.len(), 3, "{reports:?}");
    }

    #[test]
    fn a_storm_is_reported_every_five_seconds_and_at_its_end() {
        let mut b = Bench::new();
        let mut reports = Vec::new();
        for ms in (0..12_000).step_by(20) {
            b.print += 1;
            b.hear(ms, Sign::Changed(file()));
            reports.extend(b.reports(ms, ms + 19));
        }
        reports.extend(b.reports(12_000, 40_000));
        assert_eq!(reports.len(), 3, "{reports:?}");
    }

    #[test]
    fn a_close_without_a_write_is_nothing() {
        let mut b = Bench::new();
        b.hear(0, Sign::Closed(file()));
        assert_eq!(b.settle.due(), None);
    }

    #[test]
    fn a_doubt_is_reported_only_when_the_files_differ() {
        let mut b = Bench::new();
        b.hear(0, Sign::Doubt);
        assert_eq!(b.reports(0, 1_000), [0u64; 0]);
        assert_eq!(b.settle.due(), None, "the doubt is settled");
        b.print = 1;
        b.hear(1_000, Sign::Doubt);
        assert_eq!(b.reports(1_000, 9_000), [1_100]);
        b.hear(9_000, Sign::Doubt);
        assert_eq!(b.reports(9_000, 20_000), [0u64; 0], "what was reported is known");
    }

    #[test]
    fn each_save_is_a_change_and_those_of_one_edit_are_told_together() {
        let mut b = Bench::new();
        for ms in [0, 10, 20] {
            b.print += 1;
            b.hear(ms, Sign::Written(file()));
            b.hear(ms + 1, Sign::Written(file()));
            b.hear(ms + 2, Sign::Closed(file()));
        }
        b.hear(30, Sign::Changed("api-paste.ini".into()));
        assert_eq!(b.reports(30, 1_000).len(), 1);
        b.print += 1;
        b.hear(1_000, Sign::Doubt);
        assert_eq!(b.reports(1_000, 2_000).len(), 1);
        let told = [4, 1].map(|changes| Over { certain: true, changes });
        assert_eq!(b.over, told);
    }

    #[test]
    fn a_young_file_is_told_of_and_not_for_certain() {
        let mut b = Bench::new();
        b.hear(0, Sign::Young);
        assert_eq!(b.reports(0, 1_000), [100]);
        b.hear(1_000, Sign::Young);
        b.print = 1;
        b.hear(1_010, Sign::Doubt);
        assert_eq!(b.reports(1_010, 2_000).len(), 1);
        assert_eq!(b.over, [Over { certain: false, changes: 0 }, Over { certain: true, changes: 1 }]);
    }

    #[test]
    fn files_that_change_without_a_sign_get_the_whole_quiet_time() {
        let mut b = Bench::new();
        b.print = 1;
        b.hear(0, Sign::Doubt);
        assert_eq!(b.reports(0, 99), [0u64; 0]);
        b.print = 2;
        assert_eq!(b.reports(100, 20_000), [200]);
    }

    #[test]
    fn a_rename_over_a_file_that_was_being_written_needs_no_close() {
        let mut b = Bench::new();
        b.print = 1;
        b.hear(0, Sign::Written(file()));
        b.hear(0, Sign::Changed(file()));
        assert_eq!(b.reports(0, 20_000), [100]);
    }

    #[test]
    fn a_quiet_time_longer_than_the_hold_is_kept() {
        let mut b = Bench::new();
        b.settle = Settle::new(Duration::from_secs(8), 0);
        b.print = 1;
        b.hear(0, Sign::Changed(file()));
        assert_eq!(b.reports(0, 30_000), [8_000]);
    }
}
