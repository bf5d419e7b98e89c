//! The file watcher: tells when an edit of the files that a load was made from is over.
//!
//! ```text
//! paths ─▶ route (names in directories) ─▶ events (inotify) ─▶ signs ─▶ settle ─▶ one [`Edit`] each
//!                                           print (stat) ─▶ looks ─────▶
//! ```
//!
//! Must not know what the files mean or what is done about an edit; it never opens them.

mod events;
mod print;
mod route;
mod settle;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use tokio::sync::mpsc;

use events::Events;
use print::Print;
use settle::{Over, Settle, Sign};

use super::Watched;

/// The watcher sleeps this long after it heard something, so that no storm of events can keep a core busy.
const PACE: Duration = Duration::from_millis(5);

/// Where not all can be heard of, files are looked at so often.
const UNHEARD: Duration = Duration::from_secs(1);

/// How often the ways to the files are walked when they change while they are walked.
const WALKS: usize = 8;

/// How changes are noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// By the kernel's events; falls back to [`WatchMode::Poll`], with a warning, when the kernel gives none.
    Events,
    /// By looking at the files again and again: for network file systems, which raise no events for what others write.
    Poll,
}

/// An edit that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Something has changed. Else a file is so young that only its bytes can tell whether they are those that were read.
    pub certain: bool,
}

/// What the watchers of a process have counted.
#[derive(Debug, Default)]
pub struct Changes {
    /// Files that were saved, exchanged, made or deleted.
    pub seen: AtomicU64,
    /// Those that were reported together with another.
    pub coalesced: AtomicU64,
}

/// A thread that watches files; ends when this is dropped.
#[derive(Debug)]
pub struct Watcher {
    orders: Sender<Order>,
    wake: Arc<OwnedFd>,
    reported: Arc<Mutex<Option<Print>>>,
}

#[derive(Debug)]
enum Order {
    Watch { paths: Vec<Watched>, read: SystemTime },
    Look,
    Stop,
}

impl Watcher {
    /// Starts the thread. The receiver gets each edit `settle` after its last change; edits that nobody has received yet
    /// count as one.
    ///
    /// # Errors
    /// No thread or file descriptor is left.
    pub fn start(mode: WatchMode, settle: Duration, changes: Arc<Changes>) -> io::Result<(Self, mpsc::Receiver<Edit>)> {
        let (orders, inbox) = channel();
        let (edits, receiver) = mpsc::channel(1);
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let reported = Arc::new(Mutex::new(None));
        let events = match mode {
            WatchMode::Poll => None,
            WatchMode::Events => Events::new().inspect_err(falls_back).ok(),
        };
        let eyes = Eyes {
            inbox,
            edits,
            changes,
            wake: Arc::clone(&wake),
            reported: Arc::clone(&reported),
            events,
            unheard: false,
            looked: Instant::now(),
            tick: settle.clamp(Duration::from_millis(100), Duration::from_secs(1)),
            paths: Vec::new(),
            settle: Settle::new(settle, Print::new()),
        };
        thread::Builder::new().name("watch".into()).spawn(move || eyes.run())?;
        Ok((Self { orders, wake, reported }, receiver))
    }

    /// Replaces the set of watched paths: files, directories, and what does not exist yet.
    ///
    /// `read` is the time at which the load began that read them. A path that is new in the set and may have changed since
    /// is reported, so that no edit is lost between the reading and the watching.
    pub fn watch(&self, paths: Vec<Watched>, read: SystemTime) {
        self.order(Order::Watch { paths, read });
    }

    /// Whether the files are not any more what they were when an edit was last reported: another has begun, which will be
    /// reported when it is over. Never after a report that did not wait for the end of an edit.
    pub fn is_overtaken(&self) -> bool {
        let reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = |print: &Print| print::look(&print.keys().cloned().collect::<Vec<_>>()) != *print;
        let overtaken = reported.as_ref().is_some_and(differs);
        if overtaken {
            // It may have raised no event.
            self.order(Order::Look);
        }
        overtaken
    }

    fn order(&self, order: Order) {
        // Both fail only when the thread is gone, which happens when nobody receives its reports.
        let _ = self.orders.send(order);
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.order(Order::Stop);
    }
}

fn falls_back(error: &io::Error) {
    tracing::warn!(
        "the kernel gives no file events: {error}; files are polled instead \
         (help: raise fs.inotify.max_user_instances and max_user_watches, or set watch = poll)"
    );
}

/// The thread's own state.
struct Eyes {
    inbox: Receiver<Order>,
    edits: mpsc::Sender<Edit>,
    changes: Arc<Changes>,
    wake: Arc<OwnedFd>,
    /// How the files looked at the last report; `None` when they were not at rest.
    reported: Arc<Mutex<Option<Print>>>,
    /// `None` = poll.
    events: Option<Events>,
    /// Some directories on the way cannot be watched, for want of permission.
    unheard: bool,
    /// When a look was last taken for want of events.
    looked: Instant,
    /// Time between two looks when polling.
    tick: Duration,
    paths: Vec<Watched>,
    settle: Settle<Print>,
}

impl Eyes {
    fn run(mut self) {
        loop {
            if let Err(error) = self.wait() {
                tracing::error!("files are no longer watched: {error}");
                return;
            }
            loop {
                match self.inbox.try_recv() {
                    Ok(Order::Watch { paths, read }) => self.replace(paths, read),
                    Ok(Order::Look) => self.settle.hear(Instant::now(), Sign::Doubt),
                    Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return,
                    Err(TryRecvError::Empty) => break,
                }
            }
            self.hear();
            let now = Instant::now();
            if self.settle.due().is_none_or(|due| due > now) {
                continue;
            }
            let calm = self.settle.is_calm(now);
            if let Some(over) = self.settle.look(now, print::look(&self.paths)) {
                let print = calm.then(|| self.settle.base().clone());
                *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = print;
                if !self.report(over) {
                    return;
                }
            }
        }
    }

    /// Whether somebody listens still.
    fn report(&self, over: Over) -> bool {
        let sent = self.edits.try_send(Edit { certain: over.certain });
        // What waits to be received takes this along.
        let alone = u64::from(sent.is_ok());
        self.changes.seen.fetch_add(over.changes, Ordering::Relaxed);
        self.changes.coalesced.fetch_add(over.changes.saturating_sub(alone), Ordering::Relaxed);
        !matches!(sent, Err(mpsc::error::TrySendError::Closed(_)))
    }

    /// Sleeps until there is an order, an event or a look to take.
    fn wait(&self) -> io::Result<()> {
        let next = self.settle.due().into_iter().chain(self.next_look()).min();
        let wait = next.map(|next| next.saturating_duration_since(Instant::now()));
        let timeout = wait.and_then(|wait| Timespec::try_from(wait).ok());
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        fds.extend(self.events.as_ref().map(|events| PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Empty unless there was an order.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        Ok(())
    }

    /// When to look for what events do not tell.
    fn next_look(&self) -> Option<Instant> {
        match &self.events {
            None => Some(self.looked + self.tick),
            Some(_) => self.unheard.then(|| self.looked + UNHEARD),
        }
    }

    /// Takes what the kernel has to say, and looks where it has nothing to say.
    fn hear(&mut self) {
        let now = Instant::now();
        if self.next_look().is_some_and(|next| next <= now) {
            self.looked = now;
            if self.settle.due().is_none() && print::look(&self.paths) != *self.settle.base() {
                self.settle.hear(now, Sign::Doubt);
                self.reroute();
            }
        }
        let Some(events) = &mut self.events else { return };
        match events.hear() {
            Ok(heard) => {
                for sign in heard.signs {
                    self.settle.hear(now, sign);
                }
                if heard.rerouted {
                    self.reroute();
                }
                if heard.anything {
                    thread::sleep(PACE);
                }
            }
            Err(error) => self.poll_instead(&error),
        }
    }

    /// Watches the directories that lead to the paths now. What is made in a directory before its watch stands raises
    /// no event, hence the second walk.
    fn reroute(&mut self) {
        let Some(events) = &mut self.events else { return };
        let mut ways = route::directories(&self.paths);
        for _ in 0..WALKS {
            match events.watch(ways.clone()) {
                Ok(whole) => self.unheard = !whole,
                Err(error) => return self.poll_instead(&error),
            }
            let now = route::directories(&self.paths);
            if now == ways {
                return;
            }
            ways = now;
        }
    }

    fn poll_instead(&mut self, error: &io::Error) {
        falls_back(error);
        self.events = None;
    }

    fn replace(&mut self, paths: Vec<Watched>, read: SystemTime) {
        self.paths = paths;
        self.reroute();
        let print = print::look(&self.paths);
        let mut base = print.clone();
        let mut young = false;
        for (path, stat) in &mut base {
            match self.settle.base().get(path) {
                Some(known) => stat.clone_from(known),
                None => young |= print::changed_since(&path.path, read),
            }
        }
        let differs = base != print;
        self.settle.rebase(base);
        for sign in differs.then_some(Sign::Doubt).into_iter().chain(young.then_some(Sign::Young)) {
            self.settle.hear(Instant::now(), sign);
        }
    }
}

#[cfg(test)]
mod tests;
