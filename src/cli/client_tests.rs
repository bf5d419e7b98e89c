//! The client commands against an admin listener of the test's own, on a socket in a temporary directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::admin::{Access, AdminListen, Handle, Instance, Token, bind};
use crate::command::{Command, ReloadReport};
use crate::id;

/// A front that gives every reload the same outcome; `None` = it dies over it.
struct Bench {
    dir: tempfile::TempDir,
    handle: Option<Handle>,
}

impl Bench {
    fn new(listen: fn(&Path) -> AdminListen, token: Option<&str>, outcome: Option<Outcome>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (commands, mut inbox) = mpsc::channel(1);
        std::thread::spawn(move || {
            while let Some(command) = inbox.blocking_recv() {
                let (Command::Reload { dry_run, reply, .. }, Some(outcome)) = (command, outcome) else { continue };
                drop(reply.send(ReloadReport {
                    outcome,
                    generation: id::Generation(7),
                    previous: id::Generation(6),
                    took_ms: 12,
                    dry_run,
                    reason: None,
                    changes: Vec::new(),
                    extra_memory_bytes: None,
                    diagnostics: Vec::new(),
                    trial: None,
                }));
            }
        });
        let token = watch::channel(token.and_then(Token::new)).1;
        let access = Access { token, key: Token::new("k3y"), host_names: Vec::new() };
        let handle = bind(&[listen(dir.path())]).unwrap().serve(commands, Arc::new(String::new), access);
        let instance = Instance { pid: 1, admin: handle.addresses().to_vec(), files: Vec::new(), key: "k3y".into() };
        instance.write(&dir.path().join("front.json")).unwrap();
        Self { dir, handle: Some(handle) }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("front.json")
    }

    /// What the front answers, as `client` gets it.
    fn ask(&self, command: &Client, token: Option<&str>) -> Result<Value, NoAnswer> {
        let token = token.map(|token| {
            let path = self.dir.path().join("token");
            std::fs::write(&path, format!("{token}\n")).unwrap();
            path
        });
        let front = Front::find(&self.file(), token.as_deref())?;
        let Question { method, path, body, fine } = question(command);
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(front.ask(method, &path, body.as_ref(), fine))
    }
}

fn unix(dir: &Path) -> AdminListen {
    AdminListen::Unix(dir.join("admin.sock"))
}

fn tcp(_: &Path) -> AdminListen {
    AdminListen::Tcp(([127, 0, 0, 1], 0).into())
}

fn reload(dry_run: bool) -> Client {
    Client::Reload { dry_run, confirm: None, canary: None, how: How { format: Format::Json, ..How::default() } }
}

fn code(code: ExitCode) -> String {
    format!("{code:?}")
}

#[test]
fn a_reload_travels_over_either_kind_of_socket() {
    for listen in [unix, tcp] {
        let bench = Bench::new(listen, None, Some(Outcome::Applied));
        let answer = bench.ask(&reload(true), None).unwrap();
        assert_eq!(answer["outcome"], "applied");
        assert_eq!(answer["dry_run"], true);
        assert_eq!(bench.ask(&reload(false), None).unwrap().get("dry_run"), None);
    }
}

#[test]
fn only_a_rejected_reload_is_78() {
    for (outcome, want) in
        [(Outcome::Applied, ExitCode::SUCCESS), (Outcome::Unchanged, ExitCode::SUCCESS), (Outcome::Rejected, 78.into())]
    {
        let answer = json!({ "outcome": outcome });
        assert_eq!(code(exit_code(&reload(false), &answer).unwrap()), code(want));
    }
    assert!(exit_code(&reload(false), &json!({})).is_err());
    let bench = Bench::new(unix, None, Some(Outcome::Rejected));
    assert_eq!(bench.ask(&reload(false), None).unwrap()["outcome"], "rejected");
}

#[test]
fn over_tcp_the_token_is_sent() {
    let bench = Bench::new(tcp, Some("s3cret"), Some(Outcome::Applied));
    let refused = bench.ask(&reload(false), Some("wrong")).unwrap_err();
    assert!(matches!(refused, NoAnswer::Refused { status: StatusCode::UNAUTHORIZED, .. }), "{refused}");
    assert!(bench.ask(&reload(false), Some("s3cret")).is_ok());
    assert!(bench.ask(&reload(false), None).is_ok(), "who may read the instance file needs none");
}

#[test]
fn a_front_that_is_gone_or_stopping_is_a_failure() {
    let mut bench = Bench::new(unix, None, None);
    let refused = bench.ask(&reload(false), None).unwrap_err();
    assert!(matches!(refused, NoAnswer::Refused { status: StatusCode::SERVICE_UNAVAILABLE, .. }), "{refused}");
    let handle = bench.handle.take().unwrap();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(handle.stop(Duration::ZERO));
    let gone = bench.ask(&reload(false), None).unwrap_err();
    assert!(matches!(gone, NoAnswer::Gone { pid: 1, .. }), "{gone}");
    let missing = Front::find(Path::new("/nonexistent/front.json"), None).unwrap_err();
    assert!(missing.to_string().starts_with("no front is running here: /nonexistent/front.json: "), "{missing}");
}
