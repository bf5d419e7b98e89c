//! One long-running Python process that is asked over its standard input and output, a JSON text per line.
//!
//! Must not know the questions.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A running interpreter with the real libraries; it ends with this value.
pub struct Oracle {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Oracle {
    /// Starts `python`, which finds the libraries by itself or below `path`.
    pub fn start(python: &OsStr, path: Option<&OsStr>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/differential/oracle.py");
        let mut command = Command::new(python);
        command.arg("-B").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Files are text in UTF-8 to both, whatever this machine's locale.
        command.env("LC_ALL", "C.UTF-8").env("PYTHONUTF8", "1").env("PYTHONWARNINGS", "ignore");
        for name in
            std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("OS_") || name.starts_with("SNAP"))
        {
            command.env_remove(name);
        }
        if let Some(path) = path {
            command.env("PASTEWAY_ORACLE_PATH", path);
        }
        let mut child = command.spawn().expect("the interpreter");
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, input, output }
    }

    /// Asks one question.
    pub fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.input, "{question}").and_then(|()| self.input.flush()).expect("the oracle listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the oracle answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in the answer {line:?} to {question}"))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
