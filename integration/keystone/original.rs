//! The real pipeline in Python, with an echo in the place of the app: `original.py` beside this file.
//!
//! Must not know what it is compared with.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pasteway::filter::registry::FACTORIES;
use tempfile::TempDir;

use crate::stack::Stack;
use crate::support::layout::CURRENT;

/// One process for each configuration; all end with this value.
pub struct Original {
    child: Child,
    /// In the order of the configurations.
    pub addresses: Vec<SocketAddr>,
    directory: TempDir,
}

impl Original {
    /// Starts one for each `[keystone_authtoken]`.
    #[track_caller]
    pub fn start(stack: &Stack, authtoken: &[String]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let paste = directory.path().join("api-paste.ini");
        std::fs::write(&paste, comparable_pipeline()).expect("api-paste.ini");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/keystone/original.py");
        let mut command = Command::new(stack.python());
        let log = File::create(directory.path().join("log")).expect("a log");
        command.arg(script).arg(paste).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        command.env("OS_NOVA_DISABLE_EVENTLET_PATCHING", "1").env("PYTHONWARNINGS", "ignore");
        command.env("PYTHONPYCACHEPREFIX", Path::new(stack.text("/directory")).join("pycache"));
        for (number, group) in authtoken.iter().enumerate() {
            let conf = directory.path().join(format!("{number}.conf"));
            std::fs::write(&conf, group).expect("nova.conf");
            command.arg(conf);
        }
        let mut child = command.spawn().expect("the interpreter");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let ports = lines.take(authtoken.len()).map(|line| line.expect("a line").parse().expect("a port"));
        let addresses: Vec<_> = ports.map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        assert_eq!(addresses.len(), authtoken.len(), "the original has ended");
        Self { child, addresses, directory }
    }
}

/// The paste file, with nothing in the place of keystonecontext while a front leaves that to its worker: the stand-in
/// there lets everybody in.
fn comparable_pipeline() -> String {
    const CONTEXT: &str = "nova.api.auth:NovaKeystoneContext.factory";
    match FACTORIES.iter().any(|factory| factory.aliases.contains(&CONTEXT)) {
        true => CURRENT.to_owned(),
        false => CURRENT.replace(CONTEXT, "original:passing"),
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            let end: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!(
                "--- end of the log of the original ---\n{}",
                end.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        // The end of its standard input ends it and the processes it has forked.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
