//! `reload`, `plan`, `status`, `workers`, `generations`: ask the running front, print its answer, leave with the right status.
//!
//! Must not know how the front is found.

use std::path::Path;
use std::process::ExitCode;

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::front::{Front, NoAnswer};
use super::terminal::{complain, plain, print};
use super::{Client, EX_CHANGES, EX_CONFIG, Format, How, diagnostic, render, report};
use crate::command::Outcome;
use crate::message::Diagnostic;

/// Carries a command to the front whose instance file this is. `token_file` is the one of the configuration
/// (`admin_token_file`); the command line's goes before it.
///
/// Exit status: 0; 3 when `plan` found changes; 78 when a reload was, or would be, rejected; 1 when there is no front, or it did not answer.
pub fn client(command: &Client, instance: &Path, token_file: Option<&Path>) -> ExitCode {
    match run(command, instance, token_file) {
        Ok(code) => code,
        Err(error) => {
            let error = error.to_string();
            let lines: Vec<_> = error.lines().map(plain).collect();
            complain(&format!("pasteway: {}\n", lines.join("\n")));
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("the answer cannot be understood: {0}\nhelp: is the front of another version?")]
    Answer(#[from] serde_json::Error),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

fn run(command: &Client, instance: &Path, token_file: Option<&Path>) -> Result<ExitCode, Failure> {
    let (Client::Reload { how, .. }
    | Client::Plan(how)
    | Client::Status(how)
    | Client::Workers(how)
    | Client::Generations(how)) = command;
    let front = Front::find(instance, how.token_file.as_deref().or(token_file))?;
    let (method, path, fine) = question(command);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(front.ask(method, path, fine))?;
    show(command, how, answer)
}

fn question(command: &Client) -> (Method, &'static str, &'static [StatusCode]) {
    match command {
        Client::Reload { dry_run, .. } => {
            let path = if *dry_run { "/reload?dry_run=true" } else { "/reload" };
            (Method::POST, path, &[StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY])
        }
        Client::Plan(_) => (Method::POST, "/reload?dry_run=true", &[StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY]),
        Client::Status(_) => (Method::GET, "/status", &[StatusCode::OK]),
        Client::Workers(_) => (Method::GET, "/workers", &[StatusCode::OK]),
        Client::Generations(_) => (Method::GET, "/generations", &[StatusCode::OK]),
    }
}

fn show(command: &Client, how: &How, answer: Value) -> Result<ExitCode, Failure> {
    let code = exit_code(command, &answer)?;
    if how.format == Format::Json {
        print(&format!("{}\n", serde_json::to_string_pretty(&answer)?))?;
        return Ok(code);
    }
    let (text, diagnostics): (String, Vec<Diagnostic>) = match command {
        Client::Reload { .. } => {
            let report: report::Reload = read(answer)?;
            (render::reload(&report), report.diagnostics)
        }
        Client::Plan(_) => {
            let report: report::Reload = read(answer)?;
            (render::plan(&report), report.diagnostics)
        }
        Client::Status(_) => {
            let report: report::Status = read(answer)?;
            (render::status(&report), report.last_reload.map(|last| last.diagnostics).unwrap_or_default())
        }
        Client::Workers(_) => (render::workers(&read::<Vec<report::Slot>>(answer)?), Vec::new()),
        Client::Generations(_) => (render::generations(&read::<Vec<report::Generation>>(answer)?), Vec::new()),
    };
    print(&text)?;
    if !diagnostics.is_empty() {
        diagnostic::print(&diagnostics, &|path| std::fs::read_to_string(path).ok());
    }
    Ok(code)
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(answer)
}

fn exit_code(command: &Client, answer: &Value) -> Result<ExitCode, serde_json::Error> {
    if !matches!(command, Client::Reload { .. } | Client::Plan(_)) {
        return Ok(ExitCode::SUCCESS);
    }
    let outcome = answer.get("outcome").cloned().unwrap_or_default();
    Ok(match read::<Outcome>(outcome)? {
        Outcome::Applied if matches!(command, Client::Plan(_)) => ExitCode::from(EX_CHANGES),
        Outcome::Applied | Outcome::Unchanged => ExitCode::SUCCESS,
        Outcome::Rejected => ExitCode::from(EX_CONFIG),
    })
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
