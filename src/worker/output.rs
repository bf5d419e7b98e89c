//! What a worker writes to its standard output and error: into the log, and its last lines kept for reports.
//!
//! Must not know what the lines mean.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

use crate::id::SlotId;

/// Lines that are kept.
const KEPT: usize = 20;
/// A line that is longer is logged in pieces of this many bytes.
const LONGEST_LINE: u64 = 8192;

/// The last lines of one life, or of all that a slot has had.
#[derive(Debug, Default)]
pub struct Tail(Mutex<VecDeque<String>>);

impl Tail {
    /// The oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Reads one end of a pipe until the worker, and all that inherited the other end from it, are gone.
pub async fn relay(pipe: impl AsyncRead + Unpin, slot: SlotId, pid: u32, tails: Vec<Arc<Tail>>) {
    each_line(pipe, |line| {
        tracing::info!(
            target: "pasteway::worker::output",
            api = slot.api.as_str(), slot = slot.index, pid, "{line}"
        );
        tails.iter().for_each(|tail| tail.push(line.clone()));
    })
    .await;
}

async fn each_line(source: impl AsyncRead + Unpin, mut take: impl FnMut(String)) {
    let mut reader = BufReader::new(source);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => take(String::from_utf8_lossy(&line).trim_end().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_lines_come_in_pieces_and_a_last_line_needs_no_end() {
        let text = format!("one\r\n{}\n\nlast", "x".repeat(9000));
        let mut lines = Vec::new();
        each_line(text.as_bytes(), |line| lines.push(line)).await;
        let lengths: Vec<usize> = lines.iter().map(String::len).collect();
        assert_eq!(lengths, [3, 8192, 808, 0, 4]);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let tail = Tail::default();
        for n in 0..25 {
            tail.push(n.to_string());
        }
        assert_eq!(tail.lines().len(), KEPT);
        assert_eq!(tail.lines().first().map(String::as_str), Some("5"));
    }
}
