//! The log thread: it alone writes to the destinations; everyone else hands it filled buffers and goes on.
//!
//! A full queue or a full disk costs lines, which are counted, and never time of the one who logs.
//! Must not know what the lines say.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::destination::Sink;

/// Buffers that may wait for the log thread.
const QUEUE: usize = 4096;
/// Bytes in them.
const QUEUE_BYTES: usize = 4 << 20;
/// Bytes of one write, if no single buffer is larger.
const BATCH: usize = 64 << 10;
/// A line waits so long for others: under load nobody has to wake the thread then, which costs more than the line.
const GATHERED: Duration = Duration::from_millis(2);

enum Message {
    Lines {
        bytes: Vec<u8>,
        lines: u64,
        severity: u8,
    },
    /// Only to have the thread look for new destinations.
    Wake,
    Flush(SyncSender<()>),
}

/// The way to the log thread; cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    sender: SyncSender<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
    next: Mutex<Option<Vec<Sink>>>,
}

impl Shared {
    fn next(&self) -> MutexGuard<'_, Option<Vec<Sink>>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Starts the thread. It ends when the last `Writer` is gone.
    pub(super) fn start(sinks: Vec<Sink>) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || run(&receiver, &of_thread, sinks))?;
        Ok(Self { sender, shared })
    }

    /// Hands over whole lines; returns at once. `severity` is syslog(3)'s.
    pub(super) fn send(&self, bytes: Vec<u8>, lines: u64, severity: u8) {
        let size = bytes.len();
        if self.shared.waiting_bytes.fetch_add(size, Ordering::Relaxed) + size > QUEUE_BYTES
            || self.sender.try_send(Message::Lines { bytes, lines, severity }).is_err()
        {
            self.shared.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
            self.shared.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Replaces the destinations: lines that are sent from now on go to the new ones, waiting ones may.
    pub(super) fn redirect(&self, sinks: Vec<Sink>) {
        *self.shared.next() = Some(sinks);
        // With a full queue the thread is about to look anyway.
        let _ = self.sender.try_send(Message::Wake);
    }

    /// Lines that did not reach a destination, since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything that was sent before is written; `false` when that took longer than `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let (done, written) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match self.sender.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(_)) if Instant::now() >= deadline => return false,
                Err(TrySendError::Full(back)) => message = back,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        written.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
    }
}

fn run(receiver: &Receiver<Message>, shared: &Shared, sinks: Vec<Sink>) {
    let mut batch = Batch { shared, sinks, bytes: Vec::new(), lines: 0, severity: 0 };
    while let Ok(first) = receiver.recv() {
        if matches!(first, Message::Lines { .. }) {
            std::thread::sleep(GATHERED);
        }
        for message in std::iter::once(first).chain(receiver.try_iter()) {
            match message {
                Message::Wake => {}
                Message::Flush(done) => {
                    batch.write();
                    // Whoever asked may have given up.
                    let _ = done.try_send(());
                }
                Message::Lines { bytes, lines, severity } => batch.add(&bytes, lines, severity),
            }
        }
        batch.write();
    }
}

/// Lines that go out in one write.
struct Batch<'a> {
    shared: &'a Shared,
    sinks: Vec<Sink>,
    bytes: Vec<u8>,
    lines: u64,
    severity: u8,
}

impl Batch<'_> {
    fn add(&mut self, bytes: &[u8], lines: u64, severity: u8) {
        if severity != self.severity || self.bytes.len() + bytes.len() > BATCH {
            self.write();
        }
        self.bytes.extend_from_slice(bytes);
        self.lines += lines;
        self.severity = severity;
    }

    /// To the destinations as they are now: those who wrote after a change of them meant the new ones.
    fn write(&mut self) {
        if let Some(next) = self.shared.next().take() {
            self.sinks = next;
        }
        if self.bytes.is_empty() {
            return;
        }
        for sink in &mut self.sinks {
            if sink.write(&self.bytes, self.severity).is_err() {
                self.shared.dropped.fetch_add(self.lines, Ordering::Relaxed);
            }
        }
        self.shared.waiting_bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        self.bytes.clear();
        self.lines = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::destination::Destination;
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn file(path: &std::path::Path) -> Vec<Sink> {
        vec![Sink::open(&Destination::File(path.to_owned())).expect("a file")]
    }

    #[test]
    fn what_was_sent_before_a_flush_is_in_the_file_after_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let (first, second) = (directory.path().join("1"), directory.path().join("2"));
        let writer = Writer::start(file(&first)).expect("a thread");
        for _ in 0..100 {
            writer.send(b"line\n".to_vec(), 1, 6);
        }
        assert!(writer.flush(LONG));
        assert_eq!(std::fs::read_to_string(&first).expect("text"), "line\n".repeat(100));
        writer.redirect(file(&second));
        writer.send(b"other\n".to_vec(), 1, 6);
        assert!(writer.flush(LONG));
        assert_eq!(std::fs::read_to_string(&second).expect("text"), "other\n");
        assert_eq!(writer.dropped(), 0);
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let writer = Writer::start(file("/dev/full".as_ref())).expect("a thread");
        writer.send(b"one\ntwo\n".to_vec(), 2, 6);
        assert!(writer.flush(LONG));
        assert_eq!(writer.dropped(), 2);
    }

    #[test]
    fn a_full_queue_drops_lines_and_does_not_wait() {
        let (sender, receiver) = sync_channel(1);
        let writer = Writer { sender, shared: Arc::default() };
        writer.send(b"kept\n".to_vec(), 1, 6);
        writer.send(b"lost\n".to_vec(), 1, 6);
        writer.send(vec![b'x'; QUEUE_BYTES + 1], 7, 6);
        assert_eq!(writer.dropped(), 8);
        assert!(!writer.flush(Duration::ZERO));
        assert!(matches!(receiver.try_recv(), Ok(Message::Lines { lines: 1, .. })));
    }
}
