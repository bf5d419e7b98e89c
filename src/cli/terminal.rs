//! Writing to people and pipes: colour where it is wanted, and a reader that leaves is no error.
//!
//! Must not know what is written.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

/// Whether a stream takes colours: a terminal that is not `dumb`, and no `NO_COLOR` (<https://no-color.org>).
pub fn color(stream: &impl IsTerminal) -> bool {
    let unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    stream.is_terminal() && unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Writes to standard output. A reader that has gone away (`pasteway tree | head`) is a clean end.
///
/// # Errors
/// Any other failure: a full disk.
pub fn print(text: &str) -> io::Result<()> {
    print_bytes(text.as_bytes())
}

/// The same of what need not be text.
///
/// # Errors
/// Any failure but that of a reader that has gone away.
pub fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    unless_gone(write(&mut io::stdout().lock(), bytes))
}

/// Writes to standard error; there is nobody to tell when that fails.
pub fn complain(text: &str) {
    let _ = write(&mut io::stderr().lock(), text.as_bytes());
}

fn write(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

fn unless_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// The text without characters that would make a terminal do something: it may come from a file or from a worker.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_pipe_is_a_clean_end() {
        assert!(unless_gone(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(unless_gone(Err(io::ErrorKind::StorageFull.into())).is_err());
    }

    #[test]
    fn what_would_move_the_cursor_is_made_harmless() {
        assert_eq!(plain("limit = 1"), "limit = 1");
        assert_eq!(plain("a\x1b[2Jb"), "a\u{fffd}[2Jb");
    }
}
