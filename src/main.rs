//! The `pasteway` executable: a worker where a front has started it as one, else what its command line says.

use std::process::ExitCode;

use pasteway::{cli, worker};

fn main() -> ExitCode {
    if std::env::var_os(worker::wire::ENV_MANIFEST).is_some() {
        return worker::builtin::run();
    }
    cli::main()
}
