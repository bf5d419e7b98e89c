//! The edits: one at a time, each until the instance has told what became of it, which must be what was meant.
//!
//! Must not know how files are written or what they say; no request is made here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use hdrhistogram::Histogram;
use http::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::Value;

use super::admin::{Events, Told, ask};
use super::files::{Change, Texts, broken};
use super::save::Save;
use super::scratch::Scratch;
use super::stage::Stage;
use super::tally::histogram;
use super::{Failure, Progress, Task};
use crate::command::{Class, Outcome, Source};

/// `watch_settle`'s default, which holds in the instance.
pub(super) const SETTLE: Duration = Duration::from_millis(100);
/// A save of several steps that took longer may have been read in the middle: that is what `watch_settle` says.
const SLOW: Duration = Duration::from_millis(75);
/// A verdict comes within this time of the last byte.
const PATIENCE: Duration = Duration::from_secs(20);
/// What an edit leaves behind (old workers that end, old generations that go) counts to its window for so long.
const WAKE: Duration = Duration::from_millis(50);
/// After that much silence no further verdict is to be expected.
const SILENCE: Duration = Duration::from_millis(300);
/// The first edit waits until the load has opened its connections.
const WARM_UP: Duration = Duration::from_millis(500);
/// How often progress is shown while nothing is edited.
const LOOK: Duration = Duration::from_millis(200);

/// One edit.
#[derive(Clone, Copy, Debug)]
enum Edit {
    /// The watcher finds it.
    Watched(Change, Save),
    /// `POST /reload` right behind it.
    Asked(Change),
    /// SIGHUP right behind it.
    Signalled(Change),
    /// Nothing but the stamps of the file.
    Touch,
    /// A save that cannot be loaded, then a good one.
    Broken(Save),
}

/// Some ways sleep, and the disk may be slow: answers and ticks must not wait for it.
async fn write(way: Save, path: PathBuf, text: String) -> io::Result<()> {
    tokio::task::spawn_blocking(move || way.save(&path, &text)).await.map_err(io::Error::other)?
}

/// Each change in each way, and what else happens to files.
fn round(rng: &mut Rng) -> Vec<Edit> {
    let mut edits = Vec::new();
    for change in Change::OF_FILES {
        edits.extend(Save::OF_FILES.map(|way| Edit::Watched(change, way)));
        edits.extend([Edit::Asked(change), Edit::Signalled(change)]);
    }
    edits.extend(Save::OF_FILES.map(Edit::Broken));
    edits.extend([Edit::Watched(Change::VolumeOption, Save::Volume); 4]);
    edits.extend([Edit::Touch; 4]);
    rng.shuffle(&mut edits);
    edits
}

/// What became of the edits.
pub(super) struct Edits {
    /// By what was changed.
    pub(super) changes: BTreeMap<&'static str, Row>,
    /// By how it was saved, or who asked.
    pub(super) ways: BTreeMap<&'static str, Row>,
    /// From the last byte to the verdict, in nanoseconds, of the watcher's reloads.
    pub(super) watched: Histogram<u64>,
    /// The same of those that were asked for.
    pub(super) asked: Histogram<u64>,
    /// Verdicts.
    pub(super) outcomes: BTreeMap<&'static str, u32>,
    /// Whatever was not as it was meant.
    pub(super) wrong: Vec<String>,
    /// The tail that each generation has.
    pub(super) tails: BTreeMap<u64, u64>,
}

/// Edits of one sort.
pub(super) struct Row {
    /// Edits.
    pub(super) edits: u32,
    /// Nanoseconds.
    pub(super) latency: Histogram<u64>,
}

impl Edits {
    /// Reloads that made a new generation.
    pub(super) fn applied(&self) -> u32 {
        self.outcomes.get("applied").copied().unwrap_or_default()
    }
}

/// Makes the edits.
pub(super) struct Driver<'a> {
    task: Task,
    scratch: &'a mut Scratch,
    stage: &'a Arc<Stage>,
    events: Events,
    rng: Rng,
    generation: u64,
    seen: Edits,
}

impl<'a> Driver<'a> {
    /// Listens to the instance.
    ///
    /// # Errors
    /// It does not tell what happens.
    pub(super) async fn new(task: Task, scratch: &'a mut Scratch, stage: &'a Arc<Stage>) -> Result<Self, Failure> {
        let events = Events::listen(&scratch.admin()).await.map_err(|what| scratch.failure(&what))?;
        let seen = Edits {
            changes: BTreeMap::new(),
            ways: BTreeMap::new(),
            watched: histogram(),
            asked: histogram(),
            outcomes: BTreeMap::new(),
            wrong: Vec::new(),
            tails: [(1, scratch.files.tail)].into(),
        };
        Ok(Self { task, scratch, stage, events, rng: Rng::with_seed(task.seed), generation: 1, seen })
    }

    /// Edits until enough reloads were applied.
    ///
    /// # Errors
    /// The instance ended, or the machine failed.
    pub(super) async fn run(mut self, progress: &dyn Fn(Progress), begun: Instant) -> Result<Edits, Failure> {
        let mut edits = Vec::new();
        let each = Duration::from_secs(self.task.seconds.into()) / self.task.reloads.max(1);
        // An edit that has no verdict takes its patience: a front that is stuck must not hold a run for ever.
        while self.seen.applied() < self.task.reloads && self.seen.wrong.len() < 20 {
            let due = begun + WARM_UP + each * self.seen.applied();
            loop {
                self.scratch.lives()?;
                progress(self.stage.progress(begun, self.seen.applied()));
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                tokio::time::sleep(left.min(LOOK)).await;
            }
            if edits.is_empty() {
                edits = round(&mut self.rng);
            }
            if let Some(edit) = edits.pop() {
                self.unasked();
                self.stage.open_window();
                let done = self.edit(edit).await;
                tokio::time::sleep(WAKE).await;
                self.stage.close_window();
                done?;
            }
        }
        self.compare_end().await;
        Ok(self.seen)
    }

    async fn edit(&mut self, edit: Edit) -> Result<(), Failure> {
        match edit {
            Edit::Watched(change, way) => {
                let (change, saved) = self.save(change, way).await?;
                self.applied(change, way.name(), saved, Source::Watch).await
            }
            Edit::Asked(change) => {
                let (change, saved) = self.save(change, Save::Rename).await?;
                match ask(&self.scratch.admin(), Method::POST, "/reload").await {
                    Ok((StatusCode::OK, _)) => {}
                    Ok((status, verdict)) => self.wrong(format!("POST /reload was answered with {status}: {verdict}")),
                    Err(why) => self.wrong(why),
                }
                self.applied(change, "POST /reload", saved, Source::Admin).await?;
                self.settled().await;
                Ok(())
            }
            Edit::Signalled(change) => {
                let (change, saved) = self.save(change, Save::Rename).await?;
                self.scratch.signal(Signal::HUP)?;
                self.applied(change, "SIGHUP", saved, Source::Signal).await?;
                self.settled().await;
                Ok(())
            }
            Edit::Touch => self.touch().await,
            Edit::Broken(way) => self.broken(way).await,
        }
    }

    /// Changes what the files say, and writes those that say something else now.
    async fn save(&mut self, change: Change, way: Save) -> Result<(Change, Saved), Failure> {
        let before = self.texts();
        let port = self.scratch.free_port();
        let change = self.scratch.files.change(change, &mut self.rng, || port);
        if change == Change::Port {
            let now = self.stage.moving().now;
            self.stage.moves((now.ip(), port).into());
        }
        let after = self.texts();
        let files = [
            (self.scratch.conf(), before.conf, after.conf),
            (self.scratch.paste(), before.paste, after.paste),
            (self.scratch.volume(), before.volume, after.volume),
        ];
        let begun = Instant::now();
        for (path, before, after) in files {
            if before != after {
                write(way, path, after).await?;
            }
        }
        let last = Instant::now();
        Ok((change, Saved { last, slow: last - begun > SLOW }))
    }

    fn texts(&self) -> Texts {
        self.scratch.files.texts(self.scratch.path())
    }

    /// Waits until a change is in force.
    async fn applied(&mut self, change: Change, way: &'static str, saved: Saved, by: Source) -> Result<(), Failure> {
        let Some(mut told) = self.verdict(Outcome::Applied, saved.slow).await? else { return Ok(()) };
        if saved.slow {
            // The rest of it, if it was read in the middle.
            while let Some(rest) = self.events.next(SILENCE).await {
                self.count(&rest);
                if rest.verdict.outcome == Outcome::Applied {
                    self.generation = told.verdict.generation;
                    self.seen.tails.insert(self.generation, self.scratch.files.tail);
                    told = rest;
                }
            }
        }
        let what = format!("{} ({way})", change.name());
        let generation = told.verdict.generation;
        if generation != self.generation + 1 {
            self.wrong(format!("{what} made generation {generation} of {}", self.generation));
        }
        self.generation = generation;
        self.seen.tails.insert(generation, self.scratch.files.tail);
        let class = told.verdict.changes.iter().map(|change| change.class).max().unwrap_or(Class::Live);
        if class != change.class() {
            self.wrong(format!("{what} was {class}, not {}", change.class()));
        }
        // Who asks and the watcher may come at the same time; a watcher alone is nobody else.
        if by == Source::Watch && told.source != by {
            self.wrong(format!("{what} was loaded by {}, not by the watcher", told.source));
        }
        if change == Change::Port {
            self.stage.moved();
        }
        let nanos = u64::try_from((told.heard - saved.last).as_nanos()).unwrap_or(u64::MAX);
        let all = if by == Source::Watch { &mut self.seen.watched } else { &mut self.seen.asked };
        all.saturating_record(nanos);
        for row in [self.seen.changes.entry(change.name()), self.seen.ways.entry(way)] {
            let row = row.or_insert_with(|| Row { edits: 0, latency: histogram() });
            row.edits += 1;
            row.latency.saturating_record(nanos);
        }
        Ok(())
    }

    /// Waits until the watcher has come too, to whom nothing is new; where somebody else had it before, it says nothing.
    async fn settled(&mut self) {
        if let Some(told) = self.events.next(SETTLE + SILENCE).await {
            self.late(&told);
        }
    }

    /// New stamps and no new text: no generation may come of it.
    async fn touch(&mut self) -> Result<(), Failure> {
        File::options().append(true).open(self.scratch.conf())?.set_modified(SystemTime::now())?;
        let last = Instant::now();
        match self.events.next(SETTLE + SILENCE).await {
            Some(told) => {
                self.late(&told);
                self.noted("touched", told.heard - last);
            }
            None => self.noted("touched", last.elapsed()),
        }
        Ok(())
    }

    /// A save that cannot be loaded is rejected, and the next one is loaded.
    async fn broken(&mut self, way: Save) -> Result<(), Failure> {
        let good = self.texts().paste;
        let begun = Instant::now();
        match broken(&good, &mut self.rng) {
            Some(text) => write(way, self.scratch.paste(), text).await?,
            None => std::fs::remove_file(self.scratch.paste())?,
        }
        let last = Instant::now();
        if let Some(told) = self.verdict(Outcome::Rejected, last - begun > SLOW).await? {
            if told.verdict.generation != self.generation {
                self.wrong(format!("a rejected edit left generation {}", told.verdict.generation));
            }
            self.noted("broken", told.heard - last);
        }
        // The file may be gone.
        let (change, saved) = self.save(Change::FilterOption, Save::Rename).await?;
        self.applied(change, "after a broken one", saved, Source::Watch).await
    }

    fn noted(&mut self, what: &'static str, took: Duration) {
        let row = self.seen.changes.entry(what).or_insert_with(|| Row { edits: 0, latency: histogram() });
        row.edits += 1;
        row.latency.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// The verdict that is wanted. `Unchanged` may come before it; another one may too when a save was `slow`.
    async fn verdict(&mut self, want: Outcome, slow: bool) -> Result<Option<Told>, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.scratch.lives()?;
            if self.events.is_over() {
                return Err(self.scratch.failure("the instance does not tell any more what happens"));
            }
            if Instant::now() > deadline {
                self.wrong(format!("an edit was not {want} within {PATIENCE:?}"));
                return Ok(None);
            }
            let Some(told) = self.events.next(LOOK).await else { continue };
            self.count(&told);
            match told.verdict.outcome {
                outcome if outcome == want => return Ok(Some(told)),
                Outcome::Unchanged => {}
                Outcome::Rejected if slow => {}
                outcome => {
                    let why = told.verdict.diagnostics.iter().map(|found| format!(": {}", found.message));
                    self.wrong(format!("an edit was {outcome}, not {want}{}", why.collect::<String>()));
                    self.generation = told.verdict.generation;
                    self.seen.tails.insert(self.generation, self.scratch.files.tail);
                    return Ok(None);
                }
            }
        }
    }

    /// Verdicts while nothing was edited.
    fn unasked(&mut self) {
        while let Some(told) = self.events.pending() {
            self.late(&told);
        }
    }

    fn late(&mut self, told: &Told) {
        self.count(told);
        if told.verdict.outcome != Outcome::Unchanged {
            self.generation = told.verdict.generation;
            self.seen.tails.insert(self.generation, self.scratch.files.tail);
            self.wrong(format!("a reload that nobody wanted was {}", told.verdict.outcome));
        }
    }

    fn count(&mut self, told: &Told) {
        let outcome = match told.verdict.outcome {
            Outcome::Applied => "applied",
            Outcome::Unchanged => "unchanged",
            Outcome::Rejected => "rejected",
            Outcome::RolledBack => "rolled back",
        };
        *self.seen.outcomes.entry(outcome).or_default() += 1;
    }

    fn wrong(&mut self, what: String) {
        self.seen.wrong.push(what);
    }

    /// In the end the instance must be where its edits have brought it.
    async fn compare_end(&mut self) {
        let status = match ask(&self.scratch.admin(), Method::GET, "/status").await {
            Ok((_, status)) => status,
            Err(why) => return self.wrong(why),
        };
        let want = u64::from(self.seen.applied()) + 1;
        for (name, want) in [("generation", Value::from(want)), ("config_file_differs", false.into())] {
            if status.get(name) != Some(&want) {
                self.wrong(format!("in the end, {name} is {}, not {want}", status.get(name).unwrap_or(&Value::Null)));
            }
        }
        if status.get("not_ready").and_then(Value::as_array).is_none_or(|reasons| !reasons.is_empty()) {
            self.wrong(format!("in the end, the instance is not ready: {status}"));
        }
    }
}

/// A save that is over.
#[derive(Clone, Copy)]
struct Saved {
    /// Its last byte.
    last: Instant,
    /// Whether it may have been read in the middle.
    slow: bool,
}
