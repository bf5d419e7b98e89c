//! The interpreter of the Python workers, asked what it is: its version, and which Nova and PasteDeploy it imports.
//!
//! One short process per question, ended after [`PATIENCE`]; what was answered is remembered for as long as the
//! program is the same file, so that reloads do not pay for it.
//! Must not know what the workers do.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;

/// How long an interpreter may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of its output is waited for after its own end: a process that it left behind may hold the pipe. On a
/// machine that has much to do, as at its boot, the thread that reads may be late by itself.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Lines of its standard error that are told.
const TOLD: usize = 5;
/// Python that the host runs on begins here.
const OLDEST: (u32, u32) = (3, 8);

/// What is asked, in words that Python 2 understands too: names of modules and distributions are the arguments, and
/// those that are not there come back. A distribution may be a module without metadata, and the other way round.
const QUESTION: &str = r#"
import sys
if sys.path[:1] == [""]:
    # The host does not import from the directory in which it happens to be started.
    del sys.path[0]
import json
try:
    from importlib import metadata, util
except ImportError:
    metadata = util = None
def version(name):
    try:
        return metadata.version(name)
    except Exception:
        return None
def module(name):
    try:
        return util.find_spec(name) is not None
    except Exception:
        return False
told = {"python": "%d.%d.%d" % tuple(sys.version_info[:3]), "nova": None, "paste": None, "missing": []}
if util:
    told["nova"] = version("nova") if module("nova") else None
    told["paste"] = (version("PasteDeploy") or "unknown") if module("paste.deploy") else None
    for name in sys.argv[1:]:
        if not (version(name[4:]) if name.startswith("egg:") else module(name)):
            told["missing"].append(name)
sys.stdout.write(json.dumps(told))
"#;

/// An interpreter, as it described itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// How it is started: absolute, and no link is followed, for a virtualenv is found by this path.
    pub program: PathBuf,
    /// Where its links lead: the program itself and the directory of its virtualenv. Another target is another
    /// interpreter.
    pub target: String,
    /// `3.11.7`
    pub python: String,
    /// `34.0.0`; `None` when it imports no Nova.
    pub nova: Option<String>,
    /// `3.1.0`, or `unknown`.
    pub paste_deploy: String,
}

impl Interpreter {
    /// Whether its configparser is Python 3's.
    pub fn is_python3(&self) -> bool {
        !self.python.starts_with("2.")
    }

    /// The first number of PasteDeploy's version; an unknown one is a new one.
    pub fn paste_generation(&self) -> u32 {
        self.paste_deploy.split('.').next().and_then(|first| first.parse().ok()).unwrap_or(2)
    }
}

/// Why an interpreter cannot run workers: a fact, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fact}")]
pub struct Unusable {
    /// What is wrong.
    pub fact: String,
    /// What helps.
    pub help: String,
}

/// The interpreters that were asked already; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Interpreters(Arc<Mutex<HashMap<Question, Told>>>);

/// What an answer holds for: the path, the file behind it, and the names that were asked for.
type Question = (PathBuf, Stamp, Vec<String>);

/// Device, inode, size, seconds and nanoseconds of the last change.
type Stamp = (u64, u64, u64, i64, i64);

#[derive(Clone, Debug, Deserialize)]
struct Told {
    python: String,
    nova: Option<String>,
    paste: Option<String>,
    missing: Vec<String>,
}

impl Interpreters {
    /// What the interpreter at `program` says of itself.
    ///
    /// # Errors
    /// It cannot be started, does not answer in time, is too old, or has no PasteDeploy.
    pub fn ask(&self, program: &Path) -> Result<Interpreter, Unusable> {
        let told = self.told(program, &[])?;
        let version = |n: usize| told.python.split('.').nth(n).and_then(|part| part.parse().ok()).unwrap_or(0);
        let shown = program.display();
        if (version(0), version(1)) < OLDEST {
            return Err(Unusable {
                fact: format!("{shown} is Python {}, and workers need {}.{}", told.python, OLDEST.0, OLDEST.1),
                help: "set worker_python to a newer one, or run the service with worker_kind = external".to_owned(),
            });
        }
        let Some(paste_deploy) = told.paste else {
            return Err(Unusable {
                fact: format!("{shown} (Python {}) has no module `paste.deploy`", told.python),
                help: format!(
                    "set worker_python to the Python of the service's virtualenv, or install it: {shown} -m pip install \
                     PasteDeploy"
                ),
            });
        };
        Ok(Interpreter {
            program: program.to_owned(),
            target: target(program),
            python: told.python,
            nova: told.nova,
            paste_deploy,
        })
    }

    /// Those of `names` (`module`, or `egg:Distribution`) that the interpreter does not find; nothing is imported but
    /// what a module lies in.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn missing(&self, program: &Path, names: &[String]) -> Result<Vec<String>, Unusable> {
        self.told(program, names).map(|told| told.missing)
    }

    fn told(&self, program: &Path, names: &[String]) -> Result<Told, Unusable> {
        let question = (program.to_owned(), stamp(program), names.to_vec());
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&question).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let told = run(program, names)?;
        // What is missing may be installed, and that is no change of the program.
        if told.missing.is_empty() && told.paste.is_some() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(question, told.clone());
        }
        Ok(told)
    }
}

/// The program that a shell would start: with a slash in it a path, else the first of `PATH`.
pub fn search(name: &str, path: Option<&str>, cwd: &Path) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(cwd.join(name));
    }
    let dirs = path.unwrap_or("/usr/local/bin:/usr/bin:/bin").split(':').filter(|dir| !dir.is_empty());
    dirs.map(|dir| cwd.join(dir).join(name))
        .find(|file| std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0))
}

/// Where the links on the way to a program lead, and those on the way to the directory of its virtualenv.
fn target(program: &Path) -> String {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let program_itself = real(program);
    match program.parent().and_then(Path::parent).filter(|dir| dir.join("pyvenv.cfg").exists()) {
        Some(dir) => format!("{} in {}", program_itself.display(), real(dir).display()),
        None => program_itself.display().to_string(),
    }
}

fn stamp(program: &Path) -> Stamp {
    std::fs::metadata(program)
        .map(|meta| (meta.dev(), meta.ino(), meta.size(), meta.ctime(), meta.ctime_nsec()))
        .unwrap_or_default()
}

fn run(program: &Path, names: &[String]) -> Result<Told, Unusable> {
    let shown = program.display();
    let unusable = |fact: String| Unusable {
        fact,
        help: "set worker_python to a Python of the service, or choose another worker_kind: builtin, external"
            .to_owned(),
    };
    let mut command = Command::new(program);
    command.args(["-c", QUESTION]).args(names).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that what it starts can be ended with it.
    let mut child = command
        .process_group(0)
        .spawn()
        .map_err(|error| unusable(format!("cannot start the workers' Python {shown}: {error}")))?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let status = wait(&mut child).ok_or_else(|| {
        unusable(format!("the workers' Python {shown} did not answer within {} s", PATIENCE.as_secs()))
    })?;
    let text = stdout.recv_timeout(LAST_WORDS).unwrap_or_default();
    serde_json::from_slice(&text).map_err(|_| {
        let said = stderr.recv_timeout(LAST_WORDS).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<_> = said.lines().rev().take(TOLD).collect();
        let lines: String = lines.into_iter().rev().map(|line| format!("\n  {line}")).collect();
        unusable(format!("the workers' Python {shown} cannot tell what it is ({status}){lines}"))
    })
}

/// All that a pipe carries, once it is closed.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut all = Vec::new();
        // What came before an error counts.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut all));
        let _ = sender.send(all);
    });
    receiver
}

/// Its end; `None` when it was killed for taking too long.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(pause),
            Ok(None) | Err(_) => break,
        }
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Written by another process: a file that this one has open for writing may be inherited by a child of another
    /// test, and cannot be started then.
    fn script(dir: &Path, text: &str) -> PathBuf {
        let path = dir.join("python");
        let write = ["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#];
        let status = Command::new("/bin/sh").args(write).arg(&path).arg(text).status().expect("a shell");
        assert!(status.success());
        path
    }

    fn answering(dir: &Path, python: &str, paste: &str) -> PathBuf {
        let told = format!(r#"{{"python": "{python}", "nova": null, "paste": {paste}, "missing": []}}"#);
        script(dir, &format!("echo asked >> {}/log\necho '{told}'", dir.display()))
    }

    #[test]
    fn an_interpreter_is_asked_once_for_as_long_as_it_is_the_same_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = answering(dir.path(), "3.11.7", "\"3.1.0\"");
        let interpreters = Interpreters::default();
        let first = interpreters.ask(&program).expect("an answer");
        assert_eq!((first.python.as_str(), first.paste_generation()), ("3.11.7", 3));
        assert_eq!(interpreters.ask(&program).expect("the same"), first);
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).expect("a log"), "asked\n");
        // Another file, if only by its size.
        let program = answering(dir.path(), "3.12.10", "\"2.1\"");
        assert_eq!(interpreters.ask(&program).expect("an answer").python, "3.12.10");
    }

    #[test]
    fn what_cannot_run_workers_says_why() {
        let dir = tempfile::tempdir().expect("a directory");
        let ask = |program: &Path| Interpreters::default().ask(program).expect_err("unusable").fact;
        assert!(ask(Path::new("/nonexistent/python3")).contains("cannot start the workers' Python /nonexistent"));
        assert!(ask(&answering(dir.path(), "2.7.18", "\"1.5.2\"")).contains("is Python 2.7.18, and workers need 3.8"));
        assert!(ask(&answering(dir.path(), "3.11.7", "null")).contains("has no module `paste.deploy`"));
        let broken = ask(&script(dir.path(), "echo no encodings >&2; exit 3"));
        assert!(broken.contains("status: 3") && broken.ends_with("\n  no encodings"), "{broken}");
    }

    #[test]
    fn a_program_without_a_slash_is_looked_for_in_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = script(dir.path(), "");
        let path = format!("/nonexistent:{}", dir.path().display());
        assert_eq!(search("python", Some(&path), Path::new("/")), Some(program));
        assert_eq!(search("pythoff", Some(&path), Path::new("/")), None);
        assert_eq!(search("venv/bin/python", None, Path::new("/srv")), Some("/srv/venv/bin/python".into()));
    }

    #[test]
    fn a_virtualenv_behind_another_link_is_another_interpreter() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["one", "two"] {
            std::fs::create_dir_all(dir.path().join(name).join("bin")).expect("made");
            std::fs::write(dir.path().join(name).join("pyvenv.cfg"), "").expect("written");
            symlink("/bin/sh", dir.path().join(name).join("bin/python")).expect("linked");
        }
        let link = dir.path().join("venv");
        symlink(dir.path().join("one"), &link).expect("linked");
        let first = target(&link.join("bin/python"));
        std::fs::remove_file(&link).expect("removed");
        symlink(dir.path().join("two"), &link).expect("linked");
        assert_ne!(target(&link.join("bin/python")), first);
    }
}
