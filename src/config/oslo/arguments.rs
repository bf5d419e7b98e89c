//! The part of a command line that oslo.config understands, in its order, which decides precedence.
//!
//! Must not know what else the program takes.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;

use super::conf::shown;
use super::parser::Document;
use super::{Library, convert};
use crate::config::options::{self, Kind, Opt};
use crate::message::Diagnostic;

/// One argument, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// `--config-file F`
    File(PathBuf),
    /// `--config-dir D`
    Dir(PathBuf),
    /// An option of `[DEFAULT]`: `--debug`, `--log-file F`.
    Option {
        /// The option's current name, as in a file.
        name: String,
        /// As it would be written in a file.
        value: String,
    },
    /// An option of any group, said by the program itself: it wins over all others, and no file is looked for.
    Told {
        /// Its group.
        group: String,
        /// Its current name.
        name: String,
        /// As it would be written in a file.
        value: String,
    },
}

/// What a program of Nova's name is asked for in place of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `--help`, `-h`
    Help,
    /// `--version`
    Version,
}

/// A command line as oslo.config sees it.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// The program's name: the last part of `argv[0]`, without `.py`. Names `<program>.conf` and its log file.
    pub program: String,
    /// In their order.
    pub items: Vec<Argument>,
    /// The first `--help` or `--version`. Only looked for under a name of Nova's.
    pub ask: Option<Ask>,
}

/// The command line cannot be understood: exit status 2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{program}: error: {message}")]
pub struct UsageError {
    /// The program's name.
    pub program: String,
    /// In the words of Python's argparse.
    pub message: String,
}

impl Arguments {
    /// Takes out of `argv` (without the program) what oslo.config understands, and returns the rest in its order.
    ///
    /// Under a name that begins with `nova-`, `--help` and `--version` are taken too; else they are the program's own.
    ///
    /// # Errors
    /// A value is missing.
    pub fn take(program: &str, argv: Vec<OsString>) -> Result<(Self, Vec<OsString>), UsageError> {
        let base = program.rsplit('/').next().unwrap_or(program);
        let base = base.strip_suffix(".py").unwrap_or(base);
        let mut taken = Self { program: base.to_owned(), ..Self::default() };
        let mut rest = Vec::new();
        let mut argv = VecDeque::from(argv);
        while let Some(argument) = argv.pop_front() {
            match argument.to_str() {
                Some("--") => {
                    rest.push(argument);
                    rest.extend(argv);
                    break;
                }
                Some(text) if taken.one(text, &mut argv)? => {}
                _ => rest.push(argument),
            }
        }
        Ok((taken, rest))
    }

    /// Whether it was one of ours; its value is taken from `following`.
    fn one(&mut self, text: &str, following: &mut VecDeque<OsString>) -> Result<bool, UsageError> {
        if self.program.starts_with("nova-") {
            let ask = match text {
                "-h" | "--help" => Some(Ask::Help),
                "--version" => Some(Ask::Version),
                _ => None,
            };
            if ask.is_some() {
                self.ask = self.ask.or(ask);
                return Ok(true);
            }
        }
        let (flag, attached) = match text.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
            _ => (text, None),
        };
        let Some(known) = Known::find(flag) else { return Ok(false) };
        let program = &self.program;
        let usage = |message| UsageError { program: program.clone(), message };
        let item = match known {
            Known::Flag(name, value) => match attached {
                Some(value) => {
                    return Err(usage(format!("argument {flag}: ignored explicit argument '{value}'")));
                }
                None => Argument::Option { name: name.into(), value: value.into() },
            },
            known => {
                let value = match attached {
                    Some(value) => value.into(),
                    None => following
                        .pop_front()
                        .filter(|value| !value.as_encoded_bytes().starts_with(b"-"))
                        .ok_or_else(|| usage(format!("argument {flag}: expected one argument")))?,
                };
                match known {
                    Known::File => Argument::File(value.into()),
                    Known::Dir => Argument::Dir(value.into()),
                    Known::Value(name) | Known::Flag(name, _) => {
                        Argument::Option { name: name.into(), value: value.to_string_lossy().into_owned() }
                    }
                }
            }
        };
        self.items.push(item);
        Ok(true)
    }
}

/// A flag that oslo.config or oslo.log takes.
enum Known {
    File,
    Dir,
    Flag(&'static str, &'static str),
    Value(&'static str),
}

impl Known {
    fn find(flag: &str) -> Option<Self> {
        match flag {
            "--config-file" => return Some(Self::File),
            "--config-dir" => return Some(Self::Dir),
            "-d" => return Some(Self::Flag("debug", "true")),
            "-v" => return Some(Self::Flag("verbose", "true")),
            _ => {}
        }
        let name = flag.strip_prefix("--").filter(|name| !name.contains('_'))?.replace('-', "_");
        let spelled =
            |opt: &Opt, name: &str| opt.cli && (opt.name == name || opt.deprecated.contains(&("DEFAULT", name)));
        let find = |name: &str| options::all().find(|opt| spelled(opt, name));
        match find(&name) {
            Some(opt) if opt.kind == Kind::Bool => Some(Self::Flag(opt.name, "true")),
            Some(opt) => Some(Self::Value(opt.name)),
            None => {
                let opt = find(name.strip_prefix("no")?).filter(|opt| opt.kind == Kind::Bool)?;
                Some(Self::Flag(opt.name, "false"))
            }
        }
    }
}

/// What oslo.config 1.2.1 stops at in each file as it reads it: values of the command line's options that are not of
/// their type (`_parse_cli_opts_from_config_file`).
pub(super) fn in_file(document: &Document, options: &[&'static Opt]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for opt in options.iter().filter(|opt| opt.cli) {
        let names = std::iter::once((opt.group, opt.name)).chain(opt.deprecated.iter().copied());
        let all = names.map(|(group, name)| document.all(group, name)).find(|all| !all.is_empty());
        for assignment in all.into_iter().flatten() {
            if let Err(invalid) = convert(opt.kind, &assignment.value, Library::Old) {
                let text = format!("{}: {}", shown(opt.group, opt.name), invalid.fact);
                let problem = Diagnostic::error(assignment.place.clone(), text).help(format!("it is:{}", opt.help));
                found.push(problem.original("ConfigFileValueError", invalid.original));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(argv: &[&str]) -> Result<(Vec<Argument>, Vec<OsString>), String> {
        Arguments::take("/usr/bin/nova-api", argv.iter().map(Into::into).collect())
            .map(|(taken, rest)| (taken.items, rest))
            .map_err(|e| e.to_string())
    }

    fn option(name: &str, value: &str) -> Argument {
        Argument::Option { name: name.into(), value: value.into() }
    }

    #[test]
    fn ours_are_taken_in_order_and_the_rest_stays() {
        let (items, rest) = take(&[
            "serve",
            "--debug",
            "--config-file",
            "a",
            "--logfile=/l",
            "--listen",
            ":1",
            "--config-dir=d",
            "--nouse-syslog",
            "-v",
            "--log-config",
            "x",
            "--",
            "--debug",
        ])
        .expect("valid");
        assert_eq!(rest, ["serve", "--listen", ":1", "--", "--debug"]);
        let want = [
            option("debug", "true"),
            Argument::File("a".into()),
            option("log_file", "/l"),
            Argument::Dir("d".into()),
            option("use_syslog", "false"),
            option("verbose", "true"),
            option("log_config_append", "x"),
        ];
        assert_eq!(items, want);
    }

    #[test]
    fn a_missing_or_surplus_value_is_a_usage_error_in_the_original_words() {
        let error = take(&["--config-file"]).expect_err("no value");
        assert_eq!(error, "nova-api: error: argument --config-file: expected one argument");
        assert!(take(&["--debug=1"]).is_err());
        assert!(take(&["--config-file", "--debug"]).is_err());
    }

    #[test]
    fn help_and_version_are_ours_only_under_a_name_of_novas() {
        let argv = || vec!["--version".into(), "--help".into()];
        let (taken, rest) = Arguments::take("nova-api.py", argv()).expect("valid");
        assert_eq!((taken.program.as_str(), taken.ask, rest.len()), ("nova-api", Some(Ask::Version), 0));
        let (taken, rest) = Arguments::take("pasteway", argv()).expect("valid");
        assert_eq!((taken.ask, rest.len()), (None, 2));
    }
}
