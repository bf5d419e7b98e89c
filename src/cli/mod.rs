//! The command line: its words, and the commands that talk to a running front.
//!
//! The only module above the daemon.

mod client;
mod conf;
pub mod diagnostic;
mod filters;
mod find;
mod front;
mod local;
mod man;
mod paste;
mod render;
mod report;
mod selftest;
pub mod terminal;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use http::{HeaderName, HeaderValue, Method};

use crate::config::PasteService;

use client::client;
pub use local::main;

/// Exit status of `plan` when something would change.
pub const EX_CHANGES: u8 = 3;

/// Exit status for a configuration that cannot be loaded (`EX_CONFIG` of sysexits.h).
pub const EX_CONFIG: u8 = 78;

/// A hot-reloading control-plane proxy that stands where nova-api stood.
#[derive(Debug, Parser)]
#[command(name = "pasteway", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Line {
    #[command(flatten)]
    files: Files,
    #[command(subcommand)]
    command: Command,
}

/// Taken out of the arguments before they come here, since the order of the two decides which file wins; declared
/// for the help.
#[derive(Debug, Args)]
struct Files {
    /// Configuration file; may be given several times, later files win
    #[arg(long, global = true, value_name = "FILE")]
    config_file: Vec<PathBuf>,
    /// Directory whose *.conf files are read, sorted; may be given several times
    #[arg(long, global = true, value_name = "DIR")]
    config_dir: Vec<PathBuf>,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the front and its workers
    Serve {
        /// What to serve without a nova.conf.
        #[command(flatten)]
        paste: Served,
    },
    /// Read, resolve and compile everything and start nothing; tells all problems (exit 78 if there are any)
    Check {
        /// What to read without a nova.conf.
        #[command(flatten)]
        paste: Served,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show the compiled tree of each API: composites, prefixes, filters, mounts
    Tree {
        /// What to read without a nova.conf.
        #[command(flatten)]
        paste: Served,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: TreeFormat,
    },
    /// Show which way a request takes, step by step, and where each option on it came from
    Explain(Explain),
    /// Show what the Paste loader makes of a file, as JSON; an error is shown as the original's exception (exit 78)
    Paste(Paste),
    /// Show the options in effect, as JSON; one that cannot be read is shown as the original's exception (exit 78)
    Conf(Conf),
    /// Show the native filters and apps: what they do, their factory names, options and defaults
    Filters {
        /// A filter's name, or a factory's as in Paste files [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: FiltersFormat,
    },
    /// Test this very executable on this machine, on files and ports of its own (exit 1 if anything was lost)
    Selftest {
        /// Which test.
        #[command(subcommand)]
        test: Selftest,
    },
    /// Print the completions for a shell: bash, zsh, fish, elvish, powershell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, with all options of the configuration
    Man,
    /// Ask the running front.
    #[command(flatten)]
    Client(Client),
}

/// What can be tested.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Selftest {
    /// Open-loop load on a scratch instance while its files are edited in every way an editor does it
    Reload(SelftestReload),
}

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct SelftestReload {
    /// Requests per second
    #[arg(long, value_name = "R", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// Reloads that are to be applied, spread over the time
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub reloads: u32,
    /// How long the load lasts at least
    #[arg(long, value_name = "S", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: u32,
    /// Decides the order of the edits [default: another one each time, which is printed]
    #[arg(long, value_name = "X")]
    pub seed: Option<u64>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Commands that a running front answers.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Client {
    /// Load the files again now and wait for the verdict (exit 78 if they are rejected)
    Reload {
        /// Only say what would change
        #[arg(long)]
        dry_run: bool,
        /// Take it back unless it is confirmed within so many seconds; also what is on trial already [default: as the canary
        /// that it replaces, else reload_confirm]
        #[arg(long, value_name = "SECONDS", conflicts_with = "dry_run")]
        confirm: Option<u32>,
        /// Let so many of a hundred requests try it first; 0: none; also what is on trial already [default: as the canary
        /// that it replaces, else canary_share]
        #[arg(long, value_name = "PERCENT", conflicts_with = "dry_run", value_parser = clap::value_parser!(u8).range(..=100))]
        canary: Option<u8>,
        /// How to ask and to print.
        #[command(flatten)]
        how: How,
    },
    /// Show what would change if the files on disk were loaded now: live, rolling (new workers) or rebind (exit 3 if
    /// anything would, 0 if nothing, 78 if they cannot be loaded)
    Plan(How),
    /// Show how the running front stands
    Status(How),
    /// Keep the generation on trial; a canary serves all requests from then on
    Confirm {
        /// Its number: confirm no other one [default: whichever is on trial]
        #[arg(value_name = "GENERATION")]
        generation: Option<u64>,
        /// How to ask and to print.
        #[command(flatten)]
        how: How,
    },
    /// Let an earlier generation's files run again (exit 78 if they cannot)
    Rollback {
        /// Its number [default: the one before]
        #[arg(value_name = "GENERATION")]
        generation: Option<u64>,
        /// How to ask and to print.
        #[command(flatten)]
        how: How,
    },
    /// Show the workers of the running front, or replace them
    #[command(args_conflicts_with_subcommands = true)]
    Workers {
        /// What to do with them.
        #[command(subcommand)]
        action: Option<WorkersAction>,
        /// How to ask and to print.
        #[command(flatten)]
        how: How,
    },
    /// Show the generations that the running front remembers, or one of them with the files that it was made from
    Generations {
        /// Only this one, and its files
        #[arg(value_name = "GENERATION")]
        generation: Option<u64>,
        /// Print what this file of it held, and nothing else
        #[arg(long, value_name = "PATH", requires = "generation", conflicts_with = "format")]
        file: Option<String>,
        /// How to ask and to print.
        #[command(flatten)]
        how: How,
    },
    /// Start the program again, as it is on disk now, and have it take the front's place once it is ready; no request is
    /// lost (exit 1 if it does not become ready: the old one serves on)
    Upgrade(How),
    /// Stop the front as SIGTERM does, and show what it still waits for
    Drain(How),
}

/// What can be done with workers.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum WorkersAction {
    /// Replace them, one after the other, each by one that serves already
    Restart {
        /// The API, or one of its slots: osapi_compute, osapi_compute/0
        #[arg(value_name = "API[/SLOT]", value_parser = place)]
        place: String,
        /// How to ask and to print.
        #[command(flatten)]
        how: How,
    },
}

fn place(text: &str) -> Result<String, &'static str> {
    let (api, slot) = text.split_once('/').unwrap_or((text, "0"));
    let word = api.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if !api.is_empty() && word && slot.parse::<u32>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("write API or API/SLOT")
    }
}

/// How to ask the front and how to print its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct How {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// File with the admin token; without it the key in the front's directory will do
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Directory of the front that is meant [default: the one that runs with these configuration files]
    #[arg(long, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
}

impl Client {
    /// How to ask, and to print.
    fn how(&self) -> &How {
        match self {
            Self::Workers { action: Some(WorkersAction::Restart { how, .. }), .. } => how,
            Self::Reload { how, .. } | Self::Rollback { how, .. } | Self::Workers { how, .. } => how,
            Self::Generations { how, .. } | Self::Confirm { how, .. } => how,
            Self::Plan(how) | Self::Status(how) | Self::Upgrade(how) | Self::Drain(how) => how,
        }
    }
}

/// A Paste file without a nova.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Served {
    /// A Paste file to be served by itself: no nova.conf is looked for
    #[arg(long, value_name = "FILE")]
    pub paste: Option<PathBuf>,
    /// The app's section without its prefix, which is the API's name too [default: main]
    #[arg(long, value_name = "NAME", requires = "paste")]
    pub name: Option<String>,
    /// Where to listen (default: what section server:main says)
    #[arg(long, value_name = "HOST:PORT", requires = "paste")]
    pub listen: Option<String>,
    /// How many workers (default: what section server:main says, else 1)
    #[arg(long, value_name = "N", requires = "paste", value_parser = clap::value_parser!(u32).range(1..))]
    pub workers: Option<u32>,
    /// What the workers are [default: python]
    #[arg(long, value_name = "KIND", requires = "paste", value_parser = ["auto", "python", "builtin", "command", "external"])]
    pub worker_kind: Option<String>,
}

impl Served {
    fn service(self) -> Option<PasteService> {
        let Self { paste, name, listen, workers, worker_kind } = self;
        let name = name.unwrap_or_else(|| "main".to_owned());
        paste.map(|file| PasteService { file, name, listen, workers, worker_kind })
    }
}

/// A request to explain.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Explain {
    /// What to read without a nova.conf.
    #[command(flatten)]
    pub paste: Served,
    /// As enabled_apis names it: osapi_compute
    pub api: String,
    /// GET, POST, …
    pub method: Method,
    /// With its query: /v2/servers?limit=1
    #[arg(value_parser = path)]
    pub path: String,
    /// A request header, 'NAME: VALUE'; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What to load, and as who.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Paste {
    /// A file, or a URI: config:FILE#NAME, egg:DIST#NAME, call:MODULE:FUNCTION
    #[arg(value_name = "FILE|URI")]
    pub target: String,
    /// The section's name without its prefix [default: main]
    #[arg(long)]
    pub name: Option<String>,
    /// What kind of section
    #[arg(long = "type", value_enum, default_value_t)]
    pub kind: ObjectKind,
    /// Whose INI grammar and interpolation hold [default: by the layout of the file]
    #[arg(long, value_enum)]
    pub dialect: Option<DialectName>,
    /// Which generation of PasteDeploy is followed [default: by the layout of the file]
    #[arg(long, value_enum)]
    pub library: Option<LibraryName>,
    /// An entry of the global_conf that is passed in; may be given several times
    #[arg(long, value_name = "K=V", value_parser = pair)]
    pub global: Vec<(String, String)>,
    /// Show every section that can be loaded
    #[arg(long, conflicts_with_all = ["name", "kind", "global"])]
    pub all: bool,
}

/// What is looked for in a Paste file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ObjectKind {
    /// Apps, composites, pipelines, filter-apps
    #[default]
    App,
    /// Filters
    Filter,
    /// Servers
    Server,
}

/// An INI dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DialectName {
    /// ConfigParser of Python 2.7
    Py2,
    /// configparser of Python 3
    Py3,
}

/// A generation of PasteDeploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LibraryName {
    /// Up to 1.5.2
    #[value(name = "1")]
    One,
    /// 2.0 and newer
    #[value(name = "2")]
    Two,
}

/// Which options to show, and how much of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Conf {
    /// Show where each value came from too, and the options of all filters
    #[arg(long)]
    pub origin: bool,
    /// Only this one; may be given several times [default: all]
    #[arg(long = "option", value_name = "GROUP.NAME")]
    pub options: Vec<String>,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// How `tree` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TreeFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For Graphviz
    Dot,
    /// For Markdown that draws Mermaid
    Mermaid,
}

/// How `filters` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FiltersFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// As `etc/filters.md` has it
    Markdown,
}

/// Reads the arguments, the program's name first.
///
/// # Errors
/// Also for `--help` and `--version`: [`clap::Error::exit`] prints what belongs to each and leaves with 0 or 2.
pub fn parse(argv: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Command, clap::Error> {
    Line::try_parse_from(argv).map(|line| line.command)
}

/// The completions for a shell, from the definitions above.
fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Line::command(), "pasteway", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

fn path(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("a path begins with /") }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or("write KEY=VALUE")
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("no colon between name and value")?;
    let name = name.trim().parse().map_err(|e| format!("{e}"))?;
    let value = value.trim().parse().map_err(|e| format!("{e}"))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn parsed(line: &str) -> Result<Command, ErrorKind> {
        parse(["pasteway"].into_iter().chain(line.split_whitespace())).map_err(|e| e.kind())
    }

    #[test]
    fn the_definitions_hold_together() {
        Line::command().debug_assert();
    }

    #[test]
    fn the_files_may_stand_on_either_side_of_the_command() {
        assert_eq!(
            parsed("serve --config-file a.conf --config-dir d"),
            Ok(Command::Serve { paste: Served::default() })
        );
        assert_eq!(
            parsed("--config-file a.conf tree --format dot"),
            Ok(Command::Tree { paste: Served::default(), format: TreeFormat::Dot })
        );
    }

    #[test]
    fn a_paste_file_is_served_by_itself_and_its_options_need_it() {
        let Ok(Command::Serve { paste }) = parsed("serve --paste a.ini --listen 127.0.0.1:0 --workers 2") else {
            panic!("another command")
        };
        let service = paste.service().expect("a service");
        assert_eq!((service.name.as_str(), service.workers), ("main", Some(2)));
        assert_eq!(parsed("serve --workers 2"), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(parsed("serve --paste a.ini --workers 0"), Err(ErrorKind::ValueValidation));
        assert_eq!(parsed("serve --paste a.ini --worker-kind x"), Err(ErrorKind::InvalidValue));
    }

    #[test]
    fn a_reload_is_asked_of_the_front() {
        let how = How { format: Format::Json, token_file: Some("t".into()), runtime_dir: Some("/r".into()) };
        assert_eq!(
            parsed("reload --dry-run --format json --token-file t --runtime-dir /r"),
            Ok(Command::Client(Client::Reload { dry_run: true, confirm: None, canary: None, how }))
        );
        assert_eq!(parsed("plan"), Ok(Command::Client(Client::Plan(How::default()))));
        let workers = Client::Workers { action: None, how: How::default() };
        assert_eq!(parsed("workers"), Ok(Command::Client(workers)));
        assert_eq!(parsed("reload --canary 101"), Err(ErrorKind::ValueValidation));
        assert_eq!(parsed("reload --dry-run --confirm 5"), Err(ErrorKind::ArgumentConflict));
        let restart = WorkersAction::Restart { place: "ec2/1".into(), how: How::default() };
        let workers = Client::Workers { action: Some(restart), how: How::default() };
        assert_eq!(parsed("workers restart ec2/1"), Ok(Command::Client(workers)));
        assert_eq!(parsed("workers restart ec2/one"), Err(ErrorKind::ValueValidation));
        assert_eq!(parsed("rollback five"), Err(ErrorKind::ValueValidation));
        assert_eq!(parsed("generations --file a.ini"), Err(ErrorKind::MissingRequiredArgument));
    }

    #[test]
    fn explain_takes_a_whole_request() {
        let argv = ["pasteway", "explain", "osapi_compute", "GET", "/v2/servers", "-H", "X-Auth-Token: a:b"];
        let Command::Explain(explain) = parse(argv).unwrap() else { panic!("another command") };
        assert_eq!(explain.headers[0].0, "x-auth-token");
        assert_eq!(explain.headers[0].1, "a:b");
        assert_eq!(parsed("explain ec2 GET services"), Err(ErrorKind::ValueValidation));
        assert_eq!(parsed("explain ec2 GET / -H nocolon"), Err(ErrorKind::ValueValidation));
    }

    #[test]
    fn paste_and_conf_take_what_the_reference_says() {
        let Ok(Command::Paste(paste)) =
            parsed("paste a.ini --name x --type filter --dialect py2 --library 1 --global a=b=c")
        else {
            panic!("another command")
        };
        assert_eq!(
            (paste.kind, paste.dialect, paste.library),
            (ObjectKind::Filter, Some(DialectName::Py2), Some(LibraryName::One))
        );
        assert_eq!(paste.global, [("a".to_owned(), "b=c".to_owned())]);
        assert_eq!(parsed("paste a.ini --all --name x"), Err(ErrorKind::ArgumentConflict));
        let conf = Conf { origin: true, options: vec!["DEFAULT.debug".into(), "cors.max_age".into()] };
        assert_eq!(parsed("conf --origin --option DEFAULT.debug --option cors.max_age"), Ok(Command::Conf(conf)));
    }

    #[test]
    fn mistakes_and_questions_are_told_apart() {
        assert_eq!(parsed("sevre"), Err(ErrorKind::InvalidSubcommand));
        assert_eq!(parse(["pasteway", "sevre"]).unwrap_err().exit_code(), 2);
        assert_eq!(parse(["pasteway", "--help"]).unwrap_err().exit_code(), 0);
    }
}
