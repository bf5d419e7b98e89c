//! The stage between the front and a program that it starts (`worker_command`): in the process that becomes the program,
//! it asks for the parent-death signal, puts the listening socket where systemd's services find it, and execs.
//!
//! `LISTEN_PID` has to be the child's own, which only the child knows. Must not know what the program is.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::worker::wire::ENV_FRONT_PID;

/// The first argument of this stage.
pub const WORD: &str = "__exec";
/// Set by the front when standard input is the socket that the program is to inherit.
pub const ENV_INHERIT: &str = "PASTEWAY_INHERIT";
/// Its value for a program that looks for the socket as systemd's services do.
pub const BY_ENVIRONMENT: &str = "environment";
/// Its value for a program that is told the descriptor: gunicorn would take the socket twice if it were told both.
pub const BY_NUMBER: &str = "number";
/// Where systemd passes the first socket (sd_listen_fds(3)).
pub const FIRST_SOCKET: i32 = 3;
/// The shell's status for a program that cannot be run.
const CANNOT_RUN: u8 = 127;

/// Becomes the program in `argv`, which is followed by its arguments. Returns only if that fails.
pub fn run(argv: Vec<OsString>) -> ExitCode {
    let Err(why) = become_program(argv) else { return ExitCode::SUCCESS };
    eprintln!("pasteway: {why}");
    ExitCode::from(CANNOT_RUN)
}

fn become_program(argv: Vec<OsString>) -> Result<(), String> {
    let mut argv = argv.into_iter();
    let program = argv.next().ok_or("no program is named: this stage is for the front alone")?;
    // It stays over the exec. A master that gets it ends its own workers.
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(|e| format!("cannot follow the front's end: {e}"))?;
    let front = std::env::var(ENV_FRONT_PID).ok().and_then(|pid| pid.parse::<i32>().ok());
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != front {
        // The front was gone before the signal was asked for.
        return Ok(());
    }
    let mut command = Command::new(&program);
    command.args(argv).env_remove(ENV_INHERIT);
    if let Some(inherit) = std::env::var_os(ENV_INHERIT) {
        let socket = rustix::stdio::stdin().try_clone_to_owned().map_err(|e| format!("no socket: {e}"))?;
        let mapping = FdMapping { parent_fd: socket, child_fd: FIRST_SOCKET };
        command.fd_mappings(vec![mapping]).map_err(|e| format!("no socket: {e}"))?;
        if inherit == BY_ENVIRONMENT {
            command.env("LISTEN_FDS", "1").env("LISTEN_PID", std::process::id().to_string());
        }
    }
    let error = command.stdin(Stdio::null()).exec();
    Err(format!("cannot run {}: {error}", program.to_string_lossy()))
}
