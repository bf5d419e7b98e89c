//! The commands that need no running front: `serve`, `check`, `tree`, `explain`; and the way from a command line to
//! any command.
//!
//! Started under a name of Nova's it is that program: `serve`, with oslo.config's options, and the original's exit
//! statuses and last words (nova/cmd/api.py, oslo.config's `ConfigOpts.__call__`).

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::terminal::{complain, print};
use super::{
    Client, Command, EX_CONFIG, Explain, Format, Selftest, Served, TreeFormat, conf, diagnostic, find, man, paste,
    selftest,
};
use crate::compile::explain::explain;
use crate::compile::{self, Plan, show};
use crate::config::interpreter::Interpreters;
use crate::config::oslo::{Arguments, Ask, Environment};
use crate::config::{self, Invocation};
use crate::daemon::{self, StartFailure};
use crate::message::Diagnostic;

/// A wrong command line, as Python's argparse has it.
const USAGE: u8 = 2;

/// Does what the process was started for.
pub fn main() -> ExitCode {
    let mut argv = std::env::args_os();
    let name = argv.next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let nova = name.starts_with("nova-");
    // Without a name of its own it reads what nova-api reads; its log file is named after itself.
    let program = if nova { name } else { "pasteway".to_owned() };
    let (arguments, rest) = match Arguments::take(&program, argv.collect()) {
        Ok(taken) => taken,
        Err(error) => return usage(&error.to_string()),
    };
    let command = if nova {
        match (arguments.ask, rest.first()) {
            (Some(Ask::Version), _) => return printed(&format!("{}\n", env!("CARGO_PKG_VERSION"))),
            (Some(Ask::Help), _) => return printed(&nova_help(&program)),
            (None, Some(word)) => {
                return usage(&format!("{program}: error: unrecognized arguments: {}", word.to_string_lossy()));
            }
            (None, None) => Command::Serve { paste: Served::default() },
        }
    } else {
        match super::parse(std::iter::once(OsString::from("pasteway")).chain(rest)) {
            Ok(command) => command,
            // Also for --help and --version.
            Err(error) => error.exit(),
        }
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let paste = match &command {
        Command::Serve { paste } | Command::Check { paste, .. } | Command::Tree { paste, .. } => {
            paste.clone().service()
        }
        Command::Explain(asked) => asked.paste.clone().service(),
        _ => None,
    };
    let (environment, interpreters) = (Environment::of_process(), Interpreters::default());
    let invocation = Invocation { arguments, environment, cpus, interpreters, paste };
    match command {
        Command::Serve { .. } => serve(invocation, nova),
        Command::Check { format, .. } => check(&invocation, format),
        Command::Tree { format, .. } => tree(&invocation, format),
        Command::Explain(asked) => explained(&invocation, &asked),
        Command::Paste(asked) => paste::paste(&asked),
        Command::Conf(asked) => conf::conf(&invocation, &asked),
        Command::Man => printed(&man::page()),
        Command::Completions { shell } => printed(&super::completions(shell)),
        Command::Filters { names, format } => match super::filters::filters(&names, format) {
            Ok(text) => printed(&text),
            Err(problem) => usage(&problem),
        },
        Command::Selftest { test: Selftest::Reload(asked) } => selftest::selftest(&asked),
        Command::Client(command) => client(&invocation, &command),
    }
}

fn serve(invocation: Invocation, nova: bool) -> ExitCode {
    match daemon::serve(invocation) {
        Ok(code) => code,
        // The log has the last words, as the original's has.
        Err(_) if nova => ExitCode::FAILURE,
        Err(StartFailure::Config(found)) => {
            diagnostic::print(&found, &text_of);
            ExitCode::from(EX_CONFIG)
        }
        Err(StartFailure::Prepare(found)) => {
            diagnostic::print(&found, &text_of);
            ExitCode::FAILURE
        }
        Err(StartFailure::Machine(why)) => {
            complain(&format!("pasteway: {why}\n"));
            ExitCode::FAILURE
        }
    }
}

fn check(invocation: &Invocation, format: Format) -> ExitCode {
    let config = config::load_thoroughly(invocation).map_err(|failed| failed.diagnostics);
    let (found, fine) = match config.and_then(|config| compile::compile(config, None)) {
        Ok(plan) => (plan.config.warnings, true),
        Err(found) => (found, false),
    };
    match format {
        Format::Json => {
            let report = json!({ "ok": fine, "diagnostics": diagnostic::json(&found) });
            let _ = print(&format!("{report:#}\n"));
        }
        Format::Text => {
            diagnostic::print(&found, &text_of);
            if fine {
                let _ = print("the configuration can be loaded\n");
            }
        }
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::from(EX_CONFIG) }
}

fn tree(invocation: &Invocation, format: TreeFormat) -> ExitCode {
    match planned(invocation) {
        Ok(plan) => printed(&match format {
            TreeFormat::Text => show::text(&plan),
            TreeFormat::Json => format!("{:#}\n", show::json(&plan)),
            TreeFormat::Dot => show::dot(&plan),
            TreeFormat::Mermaid => show::mermaid(&plan),
        }),
        Err(found) => rejected(&found),
    }
}

fn explained(invocation: &Invocation, asked: &Explain) -> ExitCode {
    let plan = match planned(invocation) {
        Ok(plan) => plan,
        Err(found) => return rejected(&found),
    };
    let Some(api) = plan.apis.iter().find(|api| api.settings.name.as_str() == asked.api) else {
        let known: Vec<_> = plan.apis.iter().map(|api| api.settings.name.as_str()).collect();
        return usage(&format!("pasteway: `{}` is no enabled API\nhelp: {} are", asked.api, known.join(", ")));
    };
    let mut request = http::Request::builder().method(asked.method.clone()).uri(&asked.path);
    for (name, value) in &asked.headers {
        request = request.header(name, value);
    }
    let request = match request.body(()) {
        Ok(request) => request,
        Err(error) => return usage(&format!("pasteway: {error}")),
    };
    let steps = explain(api, plan.config.settings.release, request);
    match asked.format {
        Format::Json => printed(&format!("{:#}\n", json!({ "api": asked.api, "steps": steps }))),
        Format::Text => printed(&steps.iter().map(step_text).collect::<String>()),
    }
}

/// A step and, indented below it, where each of its options came from.
fn step_text(step: &Value) -> String {
    let text = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut out = text("step").to_owned();
    if !text("place").is_empty() {
        out = format!("{out}  ({})", text("place"));
    }
    out.push('\n');
    if step.get("script_name").is_some() {
        out += &format!("    SCRIPT_NAME={} PATH_INFO={}\n", text("script_name"), text("path_info"));
    }
    for option in step.get("options").and_then(Value::as_array).into_iter().flatten() {
        let part = |key: &str| option.get(key).and_then(Value::as_str).unwrap_or_default();
        let (group, from) = (part("group"), part("from"));
        let group = if group.is_empty() { String::new() } else { format!(" [{group}]") };
        let from = if from.is_empty() { String::new() } else { format!(", {from}") };
        let unused = if option.get("unused").is_some() { "; no such option" } else { "" };
        out += &format!("    {} = {}  ({}{group}{from}{unused})\n", part("option"), part("value"), part("via"));
    }
    out
}

fn client(invocation: &Invocation, command: &Client) -> ExitCode {
    match find::front(invocation, command.how().runtime_dir.as_deref()) {
        Ok(found) => super::client(command, &found),
        Err(unclear) => {
            complain(&format!("pasteway: {unclear}\n"));
            ExitCode::FAILURE
        }
    }
}

pub(super) fn planned(invocation: &Invocation) -> Result<Plan, Vec<Diagnostic>> {
    let config = config::load(invocation, &|_, _| {}).map_err(|failed| failed.diagnostics)?;
    compile::compile(config, None)
}

pub(super) fn rejected(found: &[Diagnostic]) -> ExitCode {
    diagnostic::print(found, &text_of);
    ExitCode::from(EX_CONFIG)
}

pub(super) fn text_of(path: &Path) -> Option<String> {
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

pub(super) fn printed(text: &str) -> ExitCode {
    match print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

pub(super) fn usage(text: &str) -> ExitCode {
    complain(&format!("{text}\n"));
    ExitCode::from(USAGE)
}

fn nova_help(program: &str) -> String {
    format!(
        "usage: {program} [--config-file FILE]... [--config-dir DIR]... [--debug] [--verbose] [--log-file FILE] [--log-dir DIR]\n\n\
         Pasteway under the name of {program}: serves what nova.conf and api-paste.ini say.\n\
         `pasteway --help` shows all commands.\n"
    )
}
