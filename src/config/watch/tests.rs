//! The watcher on real files, each edit as some editor or orchestrator does it.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::config::Entries;

const SETTLE: Duration = Duration::from_millis(40);
const SOON: Duration = Duration::from_secs(3);
const NEVER: Duration = Duration::from_millis(250);

/// A directory with a `nova.conf`, and a watcher that knows it.
struct Bench {
    dir: PathBuf,
    conf: PathBuf,
    watcher: Watcher,
    edits: mpsc::Receiver<Edit>,
    changes: Arc<Changes>,
    _keep: tempfile::TempDir,
}

impl Bench {
    fn new(mode: WatchMode) -> Self {
        Self::with(mode, |dir| fs::write(dir.join("nova.conf"), "[DEFAULT]\n").unwrap())
    }

    fn with(mode: WatchMode, lay: impl FnOnce(&Path)) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let dir = keep.path().join("nova");
        fs::create_dir(&dir).unwrap();
        lay(&dir);
        let changes = Arc::<Changes>::default();
        let (watcher, edits) = Watcher::start(mode, SETTLE, Arc::clone(&changes)).unwrap();
        let mut bench = Self { conf: dir.join("nova.conf"), dir, watcher, edits, changes, _keep: keep };
        bench.watch(vec![bench.conf.clone().into()]);
        bench
    }

    /// Watches and waits until the watch stands: a name that is watched for this alone appears and is reported.
    fn watch(&mut self, mut paths: Vec<Watched>) {
        let probe = self.dir.join("probe");
        paths.push(probe.clone().into());
        self.watcher.watch(paths, SystemTime::now() + SOON);
        while !self.edited(SETTLE * 3) {
            if fs::remove_file(&probe).is_err() {
                fs::write(&probe, "").unwrap();
            }
        }
        while self.edited(SETTLE * 3) {}
    }

    /// Whether an edit is reported in time.
    fn edited(&mut self, within: Duration) -> bool {
        self.reported(within).is_some()
    }

    /// What is reported in time.
    fn reported(&mut self, within: Duration) -> Option<Edit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(within, self.edits.recv()).await }).ok().flatten()
    }

    /// Changes that were seen, and those of them that were reported with another.
    fn counted(&self) -> (u64, u64) {
        let Changes { seen, coalesced } = &*self.changes;
        (seen.load(Ordering::Relaxed), coalesced.load(Ordering::Relaxed))
    }

    /// One edit was reported, and it stays at one.
    #[track_caller]
    fn edited_once(&mut self) {
        assert!(self.edited(SOON), "the edit is reported");
        assert!(!self.edited(NEVER), "and only once");
    }
}

#[test]
fn a_rename_over_the_file_is_one_edit_each_time() {
    let mut b = Bench::new(WatchMode::Events);
    for text in ["a", "b", "c"] {
        fs::write(b.dir.join("nova.conf.new"), text).unwrap();
        fs::rename(b.dir.join("nova.conf.new"), &b.conf).unwrap();
        b.edited_once();
    }
}

#[test]
fn truncate_and_write_in_steps_is_one_edit_after_the_close() {
    let mut b = Bench::new(WatchMode::Events);
    let mut file = File::create(&b.conf).unwrap();
    for _ in 0..3 {
        file.write_all(b"debug = true\n").unwrap();
        assert!(!b.edited(SETTLE * 3), "still open");
    }
    drop(file);
    b.edited_once();
}

#[test]
fn a_file_that_is_deleted_and_made_anew_is_followed() {
    let mut b = Bench::new(WatchMode::Events);
    fs::remove_file(&b.conf).unwrap();
    b.edited_once();
    fs::write(&b.conf, "new").unwrap();
    b.edited_once();
    fs::write(&b.conf, "newer").unwrap();
    b.edited_once();
}

#[test]
fn a_config_map_swap_is_one_edit_each_time() {
    let mut b = Bench::with(WatchMode::Events, |dir| {
        fs::create_dir(dir.join("..1")).unwrap();
        fs::write(dir.join("..1/nova.conf"), "1").unwrap();
        symlink("..1", dir.join("..data")).unwrap();
        symlink("..data/nova.conf", dir.join("nova.conf")).unwrap();
    });
    for n in 2..4 {
        let new = format!("..{n}");
        fs::create_dir(b.dir.join(&new)).unwrap();
        fs::write(b.dir.join(&new).join("nova.conf"), new.as_bytes()).unwrap();
        symlink(&new, b.dir.join("..data_tmp")).unwrap();
        fs::rename(b.dir.join("..data_tmp"), b.dir.join("..data")).unwrap();
        fs::remove_dir_all(b.dir.join(format!("..{}", n - 1))).unwrap();
        b.edited_once();
    }
    fs::write(b.dir.join("..3/nova.conf"), "in place").unwrap();
    b.edited_once();
}

#[test]
fn a_directory_that_is_replaced_is_followed() {
    let mut b = Bench::new(WatchMode::Events);
    let new = b.dir.with_file_name("nova.new");
    fs::create_dir(&new).unwrap();
    fs::write(new.join("nova.conf"), "new").unwrap();
    fs::rename(&b.dir, b.dir.with_file_name("nova.old")).unwrap();
    fs::rename(&new, &b.dir).unwrap();
    b.edited_once();
    fs::write(&b.conf, "in the new directory").unwrap();
    b.edited_once();
    fs::write(b.dir.with_file_name("nova.old").join("nova.conf"), "in the old one").unwrap();
    assert!(!b.edited(NEVER));
}

/// Runs a test on a thread which, with those that it starts, obeys permissions; root need not.
fn with_permissions(test: impl FnOnce() + Send + 'static) {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let run = move || {
        let mut sets = capabilities(None).unwrap();
        sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        set_capabilities(None, sets).unwrap();
        test();
    };
    if let Err(panic) = thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_directory_that_is_shut_and_opened_again_is_followed() {
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    with_permissions(move || {
        // The directory itself; the one above it; itself where what happens to its name cannot be heard of.
        for (up, above) in [(0, 0o755), (1, 0o755), (0, 0o311)] {
            let mut b = Bench::new(WatchMode::Events);
            let shut = b.dir.ancestors().nth(up).unwrap().to_owned();
            mode(b.dir.parent().unwrap(), above);
            b.watch(vec![b.conf.clone().into()]);
            fs::write(&b.conf, "before").unwrap();
            b.edited_once();
            mode(&shut, 0o000);
            assert!(fs::read(&b.conf).is_err(), "permissions are obeyed");
            b.edited_once();
            mode(&shut, 0o755);
            b.edited_once();
            fs::write(&b.conf, "after").unwrap();
            b.edited_once();
            fs::write(b.dir.join("new"), "x").unwrap();
            fs::rename(b.dir.join("new"), &b.conf).unwrap();
            b.edited_once();
            mode(b.dir.parent().unwrap(), 0o755);
        }
    });
}

#[test]
fn a_file_in_directories_that_do_not_exist_is_awaited() {
    let mut b = Bench::new(WatchMode::Events);
    let late = b.dir.join("a/b/late.conf");
    b.watch(vec![late.clone().into()]);
    fs::create_dir_all(b.dir.join("a/b")).unwrap();
    fs::write(&late, "here").unwrap();
    assert!(b.edited(SOON));
    while b.edited(NEVER) {}
    fs::write(&late, "again").unwrap();
    b.edited_once();
}

#[test]
fn strangers_and_readers_are_no_edit() {
    let mut b = Bench::new(WatchMode::Events);
    let mut log = File::create(b.dir.join("nova-api.log")).unwrap();
    for _ in 0..100 {
        log.write_all(b"a line\n").unwrap();
        fs::read(&b.conf).unwrap();
        fs::read_dir(&b.dir).unwrap().for_each(drop);
    }
    fs::rename(b.dir.join("nova-api.log"), b.dir.join("nova-api.log.1")).unwrap();
    assert!(!b.edited(NEVER));
}

#[test]
fn a_watched_directory_tells_new_names_that_are_read_and_no_strangers() {
    for mode in [WatchMode::Events, WatchMode::Poll] {
        let mut b = Bench::new(mode);
        b.watch(vec![Watched { path: b.dir.clone(), entries: Some(Entries::Conf) }]);
        for stranger in [".10-local.conf.swp", "10-local.conf~", "4913", "stranger.1", "nova.log.tmp"] {
            fs::write(b.dir.join(stranger), "").unwrap();
        }
        fs::remove_file(b.dir.join("4913")).unwrap();
        assert!(!b.edited(NEVER));
        fs::write(b.dir.join("10-local.conf"), "").unwrap();
        b.edited_once();
    }
}

#[test]
fn a_storm_of_renames_is_few_edits_and_its_end_is_seen() {
    let mut b = Bench::new(WatchMode::Events);
    let until = Instant::now() + Duration::from_millis(400);
    let (mut saves, before) = (0, b.counted());
    while Instant::now() < until {
        fs::write(b.dir.join("new"), "x").unwrap();
        fs::rename(b.dir.join("new"), &b.conf).unwrap();
        saves += 1;
    }
    let mut edits = 0;
    while b.edited(NEVER) {
        edits += 1;
    }
    assert!((1..=3).contains(&edits), "{edits}");
    let (seen, coalesced) = (b.counted().0 - before.0, b.counted().1 - before.1);
    // The kernel's queue may have been too short for all of them.
    assert!((edits..=saves).contains(&seen), "{seen} of {saves}");
    assert_eq!(coalesced, seen - edits);
}

#[test]
fn what_may_have_been_written_between_reading_and_watching_is_reported() {
    let mut b = Bench::new(WatchMode::Events);
    let paste = b.dir.join("api-paste.ini");
    fs::write(&paste, "").unwrap();
    assert!(!b.edited(NEVER), "nobody watches it");
    b.watcher.watch(vec![b.conf.clone().into(), paste.clone().into()], SystemTime::UNIX_EPOCH);
    assert_eq!(b.reported(SOON), Some(Edit { certain: false }), "its bytes may be those that were read");
    assert!(!b.edited(NEVER));
    fs::write(&paste, "x").unwrap();
    assert_eq!(b.reported(SOON), Some(Edit { certain: true }));
}

#[test]
fn polling_sees_a_rename_and_a_rewrite() {
    let mut b = Bench::new(WatchMode::Poll);
    fs::write(b.dir.join("new"), "x").unwrap();
    fs::rename(b.dir.join("new"), &b.conf).unwrap();
    b.edited_once();
    fs::write(&b.conf, "longer than before").unwrap();
    b.edited_once();
    fs::remove_file(&b.conf).unwrap();
    b.edited_once();
}

/// Writes the text in one of the ways that editors and orchestrators have.
fn edit(dir: &Path, way: u32, text: &str) {
    let conf = dir.join("nova.conf");
    match way % 5 {
        0 => {
            fs::write(dir.join("new"), text).unwrap();
            fs::rename(dir.join("new"), &conf).unwrap();
        }
        1 => {
            let mut file = File::create(&conf).unwrap();
            for byte in text.bytes() {
                file.write_all(&[byte]).unwrap();
                thread::sleep(Duration::from_millis(2));
            }
        }
        2 => {
            fs::remove_file(&conf).unwrap();
            fs::write(&conf, text).unwrap();
        }
        3 => {
            let target = dir.join(format!("at-{text}"));
            fs::write(&target, text).unwrap();
            symlink(&target, dir.join("link")).unwrap();
            fs::rename(dir.join("link"), &conf).unwrap();
        }
        _ => {
            let new = dir.with_file_name("nova.new");
            fs::create_dir(&new).unwrap();
            fs::write(new.join("nova.conf"), text).unwrap();
            fs::rename(dir, dir.with_file_name(format!("nova.{text}"))).unwrap();
            fs::rename(&new, dir).unwrap();
        }
    }
}

#[test]
fn however_fast_and_in_whatever_way_it_is_edited_the_last_text_is_seen() {
    let mut b = Bench::new(WatchMode::Events);
    let mut random = fastrand::Rng::with_seed(2);
    for round in 0..60 {
        let text = round.to_string();
        edit(&b.dir, random.u32(..), &text);
        thread::sleep(Duration::from_millis(random.u64(..30)));
    }
    for round in 60..75 {
        let text = round.to_string();
        edit(&b.dir, random.u32(..), &text);
        let mut seen = String::new();
        while seen != text {
            assert!(b.edited(SOON), "round {round}: {seen:?} is what was read at the last report");
            seen = fs::read_to_string(&b.conf).unwrap();
        }
    }
}

#[test]
fn an_edit_that_follows_a_report_overtakes_it_and_is_reported_itself() {
    for mode in [WatchMode::Events, WatchMode::Poll] {
        let mut b = Bench::new(mode);
        fs::write(&b.conf, "one\n").unwrap();
        assert!(b.edited(SOON));
        assert!(!b.watcher.is_overtaken());
        let mut file = File::create(&b.conf).unwrap();
        assert!(b.watcher.is_overtaken(), "the file is empty, and was not when it was reported");
        file.write_all(b"two\n").unwrap();
        drop(file);
        assert!(b.edited(SOON));
        assert!(!b.watcher.is_overtaken());
    }
}
