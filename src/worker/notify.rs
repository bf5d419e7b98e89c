//! What a worker says of itself on its `NOTIFY_SOCKET`, as a service says it to systemd (sd_notify(3)).
//!
//! Must not know what follows from it.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::net::UnixDatagram;

use crate::worker::socket;

/// Enough for any datagram with the words that count.
const LONGEST_DATAGRAM: usize = 4096;

/// A word of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// `READY=1`.
    Ready,
    /// `WATCHDOG=1`.
    Beat,
    /// `STOPPING=1`.
    Leaving,
}

/// The socket of one life; its file goes when it is dropped, and with it what a dead worker said last.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
    heard: VecDeque<Note>,
    facts: Option<Value>,
}

impl NotifySocket {
    /// Binds `path`, in a directory that nobody else may enter. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn bind(path: PathBuf) -> io::Result<Self> {
        socket::remove(&path)?;
        Ok(Self { socket: UnixDatagram::bind(&path)?, path, heard: VecDeque::new(), facts: None })
    }

    /// For the environment of the worker.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it has told of the service that it hosts; once.
    pub fn take_facts(&mut self) -> Option<Value> {
        self.facts.take()
    }

    /// The next word. Nothing is lost when it is not waited for to the end.
    pub async fn hear(&mut self) -> Note {
        let mut datagram = [0; LONGEST_DATAGRAM];
        loop {
            if let Some(note) = self.heard.pop_front() {
                return note;
            }
            match self.socket.recv(&mut datagram).await {
                Ok(length) => {
                    let said = datagram.get(..length).unwrap_or_default();
                    self.facts = facts(said).or(self.facts.take());
                    self.heard.extend(notes(said));
                }
                // A socket that cannot be read stays silent: the timeouts of the worker decide.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let _ = socket::remove(&self.path);
    }
}

/// What only the hosted service knows: `X_PASTEWAY_FACTS=`, and one line of JSON.
fn facts(datagram: &[u8]) -> Option<Value> {
    let line = datagram.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"X_PASTEWAY_FACTS="))?;
    serde_json::from_slice(line).ok()
}

/// The words that count, in the order of their lines; all others are for other readers.
fn notes(datagram: &[u8]) -> impl Iterator<Item = Note> + '_ {
    datagram.split(|b| *b == b'\n').filter_map(|line| match line {
        b"READY=1" => Some(Note::Ready),
        b"WATCHDOG=1" => Some(Note::Beat),
        b"STOPPING=1" => Some(Note::Leaving),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_count_are_found_among_others() {
        let said: Vec<Note> = notes(b"READY=1\nSTATUS=serving\nWATCHDOG=1").collect();
        assert_eq!(said, [Note::Ready, Note::Beat]);
        assert_eq!(notes(b"STOPPING=1\n").collect::<Vec<_>>(), [Note::Leaving]);
        assert_eq!(notes(b"READY=0\nXREADY=1\n\xff").count(), 0);
    }

    #[tokio::test]
    async fn every_word_of_a_datagram_is_heard_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut socket = NotifySocket::bind(dir.path().join("n")).expect("bound");
        let worker = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
        let ready = b"READY=1\nX_PASTEWAY_FACTS={\"a\": [1]}\nWATCHDOG=1";
        worker.send_to(ready, socket.path()).expect("sent");
        worker.send_to(b"STOPPING=1", socket.path()).expect("sent");
        let heard = [socket.hear().await, socket.hear().await, socket.hear().await];
        assert_eq!(heard, [Note::Ready, Note::Beat, Note::Leaving]);
        assert_eq!(socket.take_facts(), Some(serde_json::json!({"a": [1]})));
        assert_eq!(facts(b"X_PASTEWAY_FACTS={"), None);
    }
}
