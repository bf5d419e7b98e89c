//! The load: every kind of request at once, in an open loop, on a thread of its own; every answer is compared in full.
//!
//! Each request carries a word of its own, which must come back. Must not know files or reloads.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use tokio::task::{LocalSet, spawn_local};

use super::client::{Answer, Connection, Upgraded, cause, request};
use super::pace::Pace;
use super::stage::Stage;
use super::tally::{Kind, Tally};
use super::upload::Upload;
use super::{Failure, Progress};
use crate::scheduler;

/// A request without an answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pieces of a slow body, and the longest pause before one: several reloads can come and go meanwhile.
const SLOW_PIECES: usize = 8;
const SLOW_PAUSE: u64 = 250;
/// Pieces of a chunked body.
const CHUNKS: usize = 4;
/// Upgraded connections, and the round trips that each lives for: several reloads long.
const TUNNELS: usize = 16;
const TRIPS: u32 = 40;
/// How often the end of the load is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// A running load.
pub(super) struct Load(JoinHandle<io::Result<Tally>>);

/// Starts it; it ends when the stage says so.
///
/// # Errors
/// When the system gives no thread or no runtime.
pub(super) fn start(stage: Arc<Stage>, rate: u32) -> io::Result<Load> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("load".into());
    Ok(Load(thread.spawn(move || {
        // What is measured is how long the instance takes, not how long we wait for a processor.
        scheduler::wake_promptly();
        LocalSet::new().block_on(&runtime, run(stage, rate))
    })?))
}

impl Load {
    /// Waits for the last answer, and shows how it goes on meanwhile.
    ///
    /// # Errors
    /// The load could not be made.
    pub(super) async fn ended(
        self,
        stage: &Stage,
        begun: Instant,
        progress: &dyn Fn(Progress),
        reloads: u32,
    ) -> Result<Tally, Failure> {
        while !self.0.is_finished() {
            tokio::time::sleep(LOOK).await;
            progress(stage.progress(begun, reloads));
        }
        let ended = self.0.join().map_err(|_| io::Error::other("the load panicked"))?;
        Ok(ended?)
    }
}

async fn run(stage: Arc<Stage>, rate: u32) -> io::Result<Tally> {
    let mut pace = Pace::start(rate)?;
    let clients = Rc::new(Clients {
        stage: Arc::clone(&stage),
        kept: RefCell::default(),
        moving: RefCell::default(),
        tunnels: RefCell::default(),
        tally: RefCell::new(Tally::new()),
        under_way: Cell::new(0),
    });
    'load: loop {
        for number in pace.due().await? {
            if stage.is_over(number) {
                break 'load;
            }
            clients.under_way.set(clients.under_way.get() + 1);
            spawn_local(Rc::clone(&clients).one(number, pace.due_at(number)));
        }
    }
    // Each ends within its patience.
    while clients.under_way.get() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(clients.tally.replace(Tally::new()))
}

/// Of 100 requests.
fn kind(number: u64) -> Kind {
    // Not in blocks: 37 has no divisor in common with 100.
    match number * 37 % 100 {
        0 => Kind::Slow,
        1..10 => Kind::Moving,
        10..20 => Kind::Chunked,
        20..35 => Kind::Fresh,
        35..40 => Kind::Upgraded,
        _ => Kind::Kept,
    }
}

struct Clients {
    stage: Arc<Stage>,
    kept: RefCell<Vec<Connection>>,
    moving: RefCell<Vec<Connection>>,
    /// The one that was used longest ago is the first, with the round trips that are left to it.
    tunnels: RefCell<VecDeque<(Upgraded, u32)>>,
    tally: RefCell<Tally>,
    under_way: Cell<u64>,
}

impl Clients {
    async fn one(self: Rc<Self>, number: u64, due: Instant) {
        let kind = kind(number);
        let asked = tokio::time::timeout(PATIENCE, self.ask(kind, number, due)).await;
        let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
        let outcome = asked.map(|since| since.elapsed());
        self.stage.requests.fetch_add(1, Ordering::Relaxed);
        if outcome.is_err() {
            self.stage.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.tally.borrow_mut().record(kind, self.stage.place(due), outcome);
        self.under_way.set(self.under_way.get() - 1);
    }

    /// Returns since when the answer could have come.
    async fn ask(&self, kind: Kind, number: u64, due: Instant) -> Result<Instant, String> {
        let word = format!("word-{number}-end");
        match kind {
            Kind::Kept => self.get(&self.kept, true, &word).await.map(|()| due),
            Kind::Fresh => self.get(&self.kept, false, &word).await.map(|()| due),
            Kind::Chunked => {
                let pieces = pieces(&word, CHUNKS);
                self.echo(&word, Upload::chunked(pieces.clone()), pieces).await.map(|_| due)
            }
            Kind::Slow => {
                let pieces = pieces(&word, SLOW_PIECES);
                let pause = Duration::from_millis(50 + number % SLOW_PAUSE);
                self.echo(&word, Upload::slow(pieces.clone(), pause), pieces).await
            }
            Kind::Upgraded => self.trip(&word).await.map(|()| due),
            Kind::Moving => self.follow(number.is_multiple_of(2), &word).await.map(|()| due),
        }
    }

    /// GET of something that shows the request.
    async fn get(&self, pool: &RefCell<Vec<Connection>>, keep: bool, word: &str) -> Result<(), String> {
        let connection = match keep.then(|| self.take(pool)).flatten() {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let answer = connection.ask(get(word)?).await?;
        self.pictured(&answer, word)?;
        self.paired(&answer)?;
        if keep {
            self.put_back(pool, answer.connection);
        }
        Ok(())
    }

    /// POST whose body comes back; when the last piece of it went out.
    async fn echo(&self, word: &str, upload: Upload, sent: VecDeque<Bytes>) -> Result<Instant, String> {
        let connection = match self.take(&self.kept) {
            Some(connection) => connection,
            None => self.open().await?,
        };
        let last = upload.last();
        let post = request(Method::POST, &format!("/v2/echo/{word}?pasteway.echo=1"), upload)?;
        let answer = connection.ask(post).await?;
        right(&answer)?;
        if !answer.body.iter().eq(sent.iter().flatten()) {
            return Err("another body came back".to_owned());
        }
        self.put_back(&self.kept, answer.connection);
        Ok(last.get())
    }

    /// There and back on an upgraded connection.
    async fn trip(&self, word: &str) -> Result<(), String> {
        let oldest = {
            let mut tunnels = self.tunnels.borrow_mut();
            if tunnels.len() < TUNNELS { None } else { tunnels.pop_front() }
        };
        let (mut tunnel, left) = match oldest {
            Some(oldest) => oldest,
            None => (self.open().await?.upgrade("/v2/tunnel?pasteway.echo=1").await?, TRIPS),
        };
        tunnel.echo(word.as_bytes()).await?;
        if left > 1 {
            self.tunnels.borrow_mut().push_back((tunnel, left - 1));
        }
        Ok(())
    }

    /// GET on the API whose port moves. A client that finds the old port closed goes to the new one, of which it was told.
    async fn follow(&self, keep: bool, word: &str) -> Result<(), String> {
        let connection = match keep.then(|| self.take(&self.moving)).flatten() {
            Some(connection) => connection,
            None => self.open_moving().await?,
        };
        let answer = connection.ask(get(word)?).await?;
        self.pictured(&answer, word)?;
        if keep {
            self.put_back(&self.moving, answer.connection);
        }
        Ok(())
    }

    /// At the old port, else at the new one; once more if it has moved since it was looked up.
    async fn open_moving(&self) -> Result<Connection, String> {
        loop {
            let moving = self.stage.moving();
            let mut failed = String::new();
            for address in [Some(moving.now), moving.next].into_iter().flatten() {
                match Connection::open(address).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => failed = cause("cannot connect", &error),
                }
            }
            if self.stage.moving() == moving {
                return Err(failed);
            }
        }
    }

    async fn open(&self) -> Result<Connection, String> {
        Connection::open(self.stage.compute).await.map_err(|e| cause("cannot connect", &e))
    }

    /// A kept connection; none is closed for a reload.
    fn take(&self, pool: &RefCell<Vec<Connection>>) -> Option<Connection> {
        let mut pool = pool.borrow_mut();
        while let Some(connection) = pool.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
            self.tally.borrow_mut().closed += 1;
        }
        None
    }

    fn put_back(&self, pool: &RefCell<Vec<Connection>>, connection: Option<Connection>) {
        match connection {
            Some(connection) => pool.borrow_mut().push(connection),
            None => self.tally.borrow_mut().closed += 1,
        }
    }

    /// The answer shows this request, and no other.
    fn pictured(&self, answer: &Answer, word: &str) -> Result<(), String> {
        right(answer)?;
        let text = String::from_utf8_lossy(&answer.body);
        if !text.contains(&format!("/{word}\"")) || !text.ends_with("}\n") {
            return Err("the answer to another request".to_owned());
        }
        Ok(())
    }

    /// Notes which generation's front answered with which tail: a tail's number stands in its section's name.
    fn paired(&self, answer: &Answer) -> Result<(), String> {
        let generation =
            answer.headers.get("x-pasteway-generation").and_then(|value| value.to_str().ok()?.parse().ok());
        let text = String::from_utf8_lossy(&answer.body);
        let tail = text.split_once("\"app:tail").and_then(|(_, rest)| rest.split_once('"')?.0.parse().ok());
        let (generation, tail) = generation.zip(tail).ok_or("the answer does not tell its generation and its tail")?;
        self.tally.borrow_mut().pair(generation, tail)
    }
}

fn get(word: &str) -> Result<Request<Upload>, String> {
    request(Method::GET, &format!("/v2/{word}"), Upload::none())
}

fn right(answer: &Answer) -> Result<(), String> {
    match answer.status {
        StatusCode::OK => Ok(()),
        status => Err(format!("{status}")),
    }
}

/// Pieces of different sizes, each of which tells whose it is.
fn pieces(word: &str, count: usize) -> VecDeque<Bytes> {
    (0..count).map(|n| format!("{word} {n} {}\n", ".".repeat(n * 131 % 700)).into()).collect()
}
