//! The `pasteway` executable: a worker, or the stage before one, where a front has started it as such, else what its command line says.

use std::process::ExitCode;

use pasteway::{cli, worker};

/// A request costs a dozen short-lived blocks, which the C library's allocator makes several times dearer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut argv = std::env::args_os().skip(1);
    if argv.next().is_some_and(|word| word == worker::exec::WORD) {
        return worker::exec::run(argv.collect());
    }
    if std::env::var_os(worker::wire::ENV_MANIFEST).is_some() {
        return worker::builtin::run();
    }
    cli::main()
}
