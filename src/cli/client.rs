//! `reload`, `plan`, `confirm`, `rollback`, `status`, `workers`, `generations`, `upgrade`, `drain`: ask the running front, print its
//! answer, leave with the right status.
//!
//! Must not know how the front is found.

use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::find::Found;
use super::front::{Front, NoAnswer};
use super::terminal::{complain, plain, print, print_bytes};
use super::{Client, EX_CHANGES, EX_CONFIG, Format, How, WorkersAction, diagnostic, render, report};
use crate::command::{Outcome, RestartReport, UpgradeOutcome, UpgradeReport};
use crate::message::Diagnostic;

/// How often a drain is looked at.
const FOLLOW: Duration = Duration::from_millis(200);

/// `POST /confirm`.
#[derive(Deserialize)]
struct Confirmed {
    confirmed: u64,
}

/// Carries a command to the front.
///
/// Exit status: 0; 3 when `plan` found changes; 78 when a reload was, or would be, rejected; 1 when there is no front, or it did not answer.
pub(super) fn client(command: &Client, front: &Found) -> ExitCode {
    match run(command, front) {
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

fn run(command: &Client, found: &Found) -> Result<ExitCode, Failure> {
    let how = command.how();
    // Without the operator's token the front's own key will do.
    let front = Front::find(&found.file, how.token_file.as_deref().filter(|_| !found.by_its_word))?;
    let Question { method, path, body, fine } = question(command);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if matches!(command, Client::Generations { file: Some(_), .. }) {
        print_bytes(&runtime.block_on(front.fetch(method, &path, None, fine))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let answer = runtime.block_on(front.ask(method, &path, body.as_ref(), fine))?;
    let code = show(command, how, answer)?;
    if matches!(command, Client::Drain(_)) {
        runtime.block_on(follow(&front, how))?;
    }
    Ok(code)
}

/// What a command asks of the front.
struct Question {
    method: Method,
    path: String,
    body: Option<Value>,
    /// Statuses that are answers.
    fine: &'static [StatusCode],
}

/// Shows how a drain goes on until the front is gone.
async fn follow(front: &Front, how: &How) -> std::io::Result<()> {
    let mut before = None;
    // Whatever keeps it from answering: it was told to go, and did.
    while let Ok(answer) = front.ask(Method::GET, "/status", None, &[StatusCode::OK]).await {
        let Ok(status) = read::<report::Status>(answer) else { break };
        let now = (status.in_flight, status.connections);
        if how.format == Format::Text && before.replace(now) != Some(now) {
            print(&render::draining(&status))?;
        }
        tokio::time::sleep(FOLLOW).await;
    }
    if how.format == Format::Text {
        print("the front is gone\n")?;
    }
    Ok(())
}

fn question(command: &Client) -> Question {
    const FINE: &[StatusCode] = &[StatusCode::OK];
    const VERDICT: &[StatusCode] = &[StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY];
    let meant = |generation: Option<u64>| generation.map(|number| json!({ "generation": number }));
    let get = |path: &str| Question { method: Method::GET, path: path.to_owned(), body: None, fine: FINE };
    let post = |path: String, fine| Question { method: Method::POST, path, body: None, fine };
    match command {
        Client::Reload { dry_run, confirm, canary, .. } => {
            let words = [
                dry_run.then(|| "dry_run=true".to_owned()),
                confirm.map(|seconds| format!("confirm={seconds}")),
                canary.map(|percent| format!("canary={percent}")),
            ];
            let words: Vec<_> = words.into_iter().flatten().collect();
            let path = if words.is_empty() { "/reload".to_owned() } else { format!("/reload?{}", words.join("&")) };
            post(path, VERDICT)
        }
        Client::Rollback { generation, .. } => {
            Question { body: meant(*generation), ..post("/rollback".to_owned(), VERDICT) }
        }
        Client::Plan(_) => post("/reload?dry_run=true".to_owned(), VERDICT),
        Client::Confirm { generation, .. } => {
            Question { body: meant(*generation), ..post("/confirm".to_owned(), FINE) }
        }
        Client::Upgrade(_) => {
            post("/upgrade".to_owned(), &[StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY, StatusCode::CONFLICT])
        }
        Client::Drain(_) => post("/drain".to_owned(), &[StatusCode::ACCEPTED]),
        Client::Workers { action: Some(WorkersAction::Restart { place, .. }), .. } => {
            post(format!("/workers/{place}/restart"), VERDICT)
        }
        Client::Status(_) => get("/status"),
        Client::Workers { action: None, .. } => get("/workers"),
        Client::Generations { generation: None, .. } => get("/generations"),
        Client::Generations { generation: Some(number), file: None, .. } => get(&format!("/generations/{number}")),
        Client::Generations { generation: Some(number), file: Some(path), .. } => {
            let path: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
            get(&format!("/generations/{number}/file?path={path}"))
        }
    }
}

fn show(command: &Client, how: &How, answer: Value) -> Result<ExitCode, Failure> {
    let code = exit_code(command, &answer)?;
    if how.format == Format::Json {
        print(&format!("{}\n", serde_json::to_string_pretty(&answer)?))?;
        return Ok(code);
    }
    let (text, diagnostics): (String, Vec<Diagnostic>) = match command {
        Client::Reload { .. } | Client::Rollback { .. } => {
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
        Client::Confirm { .. } => {
            let Confirmed { confirmed } = read(answer)?;
            (format!("generation {confirmed} is confirmed\n"), Vec::new())
        }
        Client::Upgrade(_) => (render::upgrade(&read(answer)?), Vec::new()),
        Client::Drain(_) => (render::draining(&read(answer)?), Vec::new()),
        Client::Workers { action: Some(_), .. } => (render::restarted(&read(answer)?), Vec::new()),
        Client::Workers { action: None, .. } => (render::workers(&read::<Vec<report::Slot>>(answer)?), Vec::new()),
        Client::Generations { generation: None, .. } => {
            (render::generations(&read::<Vec<report::Generation>>(answer)?), Vec::new())
        }
        Client::Generations { generation: Some(_), .. } => (render::generation(&read(answer)?), Vec::new()),
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
    match command {
        Client::Reload { .. } | Client::Plan(_) | Client::Rollback { .. } => {}
        Client::Workers { action: Some(_), .. } => {
            let report: RestartReport = read(answer.clone())?;
            return Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Client::Upgrade(_) => {
            let report: UpgradeReport = read(answer.clone())?;
            let upgraded = report.outcome == UpgradeOutcome::Upgraded;
            return Ok(if upgraded { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        _ => return Ok(ExitCode::SUCCESS),
    }
    let outcome = answer.get("outcome").cloned().unwrap_or_default();
    Ok(match read::<Outcome>(outcome)? {
        Outcome::Applied if matches!(command, Client::Plan(_)) => ExitCode::from(EX_CHANGES),
        Outcome::Applied | Outcome::Unchanged => ExitCode::SUCCESS,
        Outcome::Rejected | Outcome::RolledBack => ExitCode::from(EX_CONFIG),
    })
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
