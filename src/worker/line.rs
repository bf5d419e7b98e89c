//! `worker_command` with its placeholders filled in for one life.
//!
//! Must not know how the line was written, or what the program does.

use std::path::{Path, PathBuf};

use crate::id::SlotId;
use crate::worker::exec::FIRST_SOCKET;

/// The program and its arguments, as they are configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// The words of the line; the first is the program.
    pub words: Vec<String>,
    /// The Paste file, for `{paste}`.
    pub paste: PathBuf,
}

impl CommandLine {
    /// Whether the program makes the socket by itself; else it inherits one.
    pub fn binds(&self) -> bool {
        self.words.iter().any(|word| word.contains("{socket}"))
    }

    /// Whether the program is told the descriptor of the socket that it inherits.
    pub fn is_told_the_descriptor(&self) -> bool {
        self.words.iter().any(|word| word.contains("{fd}"))
    }

    /// The words for a life in that slot, which serves `socket`.
    pub fn filled(&self, slot: &SlotId, socket: &Path) -> Vec<String> {
        let values = [
            ("{socket}", socket.display().to_string()),
            ("{fd}", FIRST_SOCKET.to_string()),
            ("{api}", slot.api.to_string()),
            ("{slot}", slot.index.to_string()),
            ("{paste}", self.paste.display().to_string()),
        ];
        let fill = |word: &String| values.iter().fold(word.clone(), |word, (name, value)| word.replace(name, value));
        self.words.iter().map(fill).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> CommandLine {
        CommandLine { words: text.split(' ').map(str::to_owned).collect(), paste: "/etc/p.ini".into() }
    }

    #[test]
    fn each_life_gets_its_own_words() {
        let slot = SlotId { api: "metadata".into(), index: 2 };
        let filled = line("run --uds={socket} {api}-{slot} {paste}").filled(&slot, Path::new("/r/a.sock"));
        assert_eq!(filled, ["run", "--uds=/r/a.sock", "metadata-2", "/etc/p.ini"]);
        assert_eq!(line("run fd://{fd}").filled(&slot, Path::new("/x")), ["run", "fd://3"]);
    }

    #[test]
    fn a_program_that_is_told_no_socket_inherits_one() {
        assert!(line("run {socket}").binds());
        assert!(!line("run fd://{fd}").binds() && !line("run").binds());
        assert!(line("run fd://{fd}").is_told_the_descriptor() && !line("run").is_told_the_descriptor());
    }
}
