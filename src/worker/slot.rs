//! Drives one slot with processes of ours: it has the clock and the child, and does what [`State`] says.
//!
//! Must not decide anything that [`State`] decides.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::worker::announce;
use crate::worker::exec;
use crate::worker::host::UNUSABLE;
use crate::worker::line::CommandLine;
use crate::worker::member::Member;
use crate::worker::memory::Kills;
use crate::worker::notify::{Note, NotifySocket};
use crate::worker::output::relay;
use crate::worker::place::Place;
use crate::worker::probe::{Probe, Prober};
use crate::worker::socket::{SocketError, WorkerSocket, path_of, remove};
use crate::worker::spawn::{Birth, Child, CommandBirth, signal_group_of};
use crate::worker::spec::Kind;
use crate::worker::standing::describe;
use crate::worker::state::{Action, Cause, Event, Limits, Reason, State};

/// How long the last lines of a dead worker are waited for; its own children may hold the pipe open for ever.
const LAST_LINES: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
enum SpawnError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("cannot listen for its notifications at {path}: {source}")]
    Notify { path: PathBuf, source: io::Error },
    #[error("cannot start {program}: {source}")]
    Program { program: PathBuf, source: io::Error },
}

/// How a life says how it is.
#[derive(Debug)]
enum Voice {
    /// By itself.
    Notes(NotifySocket),
    /// By answering.
    Answers(Prober),
}

#[derive(Debug)]
struct Life {
    number: u64,
    pid: u32,
    child: Child,
    voice: Voice,
    socket: PathBuf,
    member: Option<Arc<Member>>,
    outputs: [Option<JoinHandle<()>>; 2],
    kills: Kills,
    /// Known when it is over.
    status: Option<ExitStatus>,
}

/// A slot whose workers the front starts.
#[derive(Debug)]
pub struct Slot {
    place: Place,
    limits: Limits,
    epoch: Instant,
    /// Held while the worker is starting, so that only so many do at a time.
    turn: Option<OwnedSemaphorePermit>,
    /// What the life in it listens on, unless it has made that itself.
    socket: Option<WorkerSocket>,
    life: Option<Life>,
    /// How the last life ended, or why there was none.
    last_words: String,
}

impl Slot {
    /// A slot without a worker yet.
    pub fn new(place: Place) -> Self {
        let limits = place.spec.limits();
        let epoch = Instant::now();
        Self { place, limits, epoch, turn: None, socket: None, life: None, last_words: String::new() }
    }

    /// Fills the slot, in turn when there are `turns`, and keeps it filled until an order ends it.
    /// `spawned` hears when the first worker was started or could not be.
    pub async fn run(mut self, turns: Option<Arc<Semaphore>>, spawned: oneshot::Sender<()>) {
        if let Some(turns) = turns {
            tokio::select! {
                biased;
                _ = self.place.orders.recv() => return self.place.close(),
                turn = turns.acquire_owned() => self.turn = turn.ok(),
            }
        }
        let mut spawned = Some(spawned);
        let (mut state, mut event) = (State::new(), Event::Tick);
        loop {
            let now = self.epoch.elapsed();
            let (next, actions) = state.step(event, now, &self.limits);
            let emptied = matches!(event, Event::Exited { .. } | Event::Unusable { .. } | Event::Unborn { .. });
            if emptied && next.pause(now).is_some() {
                announce::too_fast(self.place.spec.release);
            }
            state = next;
            let mut follow_up = None;
            for action in actions {
                // Only a spawn can fail, and it is the last action of its step.
                follow_up = self.perform(action).await;
            }
            self.place.standing.send_if_modified(|s| std::mem::replace(&mut s.state, state.as_str()) != s.state);
            if let Some(spawned) = spawned.take() {
                // Whoever waited may have gone.
                let _ = spawned.send(());
            }
            if state.is_over() {
                return self.place.close();
            }
            event = match follow_up {
                Some(event) => event,
                None => self.next(&state).await,
            };
        }
    }

    /// Waits for the next thing to happen. What a worker said comes before the clock, so that a front that was
    /// itself stopped for a while does not take its workers for hung.
    async fn next(&mut self, state: &State) -> Event {
        let wake = state.wakes_at(&self.limits).map(|at| self.epoch + at);
        let alarm = async {
            match wake {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let Some(life) = &mut self.life else {
            return tokio::select! {
                biased;
                order = self.place.order() => Event::Asked(order),
                () = alarm => Event::Tick,
            };
        };
        let member = life.member.clone();
        let idle = async {
            match &member {
                Some(member) if state.is_draining() => member.idle().await,
                _ => std::future::pending().await,
            }
        };
        let hung = async {
            match &member {
                Some(member) => member.hung().await,
                None => std::future::pending().await,
            }
        };
        let threads = self.place.spec.threads;
        tokio::select! {
            biased;
            status = life.child.exited() => {
                let status = status.unwrap_or_default();
                life.status = Some(status);
                let jitter = fastrand::f64();
                if matches!(self.place.spec.kind, Kind::Python { .. }) && status.code() == Some(UNUSABLE) {
                    return Event::Unusable { jitter };
                }
                Event::Exited { signal: status.code().is_none(), jitter }
            }
            order = self.place.order() => Event::Asked(order),
            note = hear(&mut life.voice, member.as_ref(), threads) => {
                if let Some(member) = &life.member {
                    member.beat(self.place.pool.now());
                }
                life.kills.look_again();
                if let Voice::Notes(notes) = &mut life.voice
                    && let Some(facts) = notes.take_facts()
                {
                    self.place.pool.learn(facts);
                }
                match note {
                    Note::Ready => Event::Ready,
                    Note::Beat => Event::Beat,
                    Note::Leaving => Event::Leaving,
                }
            }
            () = hung => Event::Hung,
            () = idle => Event::Idle,
            () = alarm => Event::Tick,
        }
    }

    async fn perform(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn => {
                if let Err(error) = self.spawn().await {
                    tracing::warn!(target: "pasteway::worker", "worker {}: {error}", self.place.id);
                    self.last_words = error.to_string();
                    return Some(Event::Unborn { jitter: fastrand::f64() });
                }
            }
            Action::Admit => self.admit(),
            Action::Dismiss => {
                if let Some(life) = &self.life {
                    self.place.pool.dismiss(life.number);
                }
            }
            Action::Terminate => {
                if let Some(member) = self.life.as_ref().and_then(|life| life.member.as_ref()) {
                    member.part();
                }
                self.signal(Signal::TERM);
            }
            Action::Abort => {
                tracing::warn!(
                    target: "pasteway::worker",
                    "worker {}: it said nothing for worker_request_timeout while a request waited; it is ended as hung",
                    self.place.id,
                );
                // What it has not accepted need not wait for its end.
                self.socket = None;
                self.signal(Signal::ABORT);
            }
            Action::Kill => match &self.life {
                Some(life) if self.leads_a_group() => life.child.signal_group(Signal::KILL),
                _ => self.signal(Signal::KILL),
            },
            Action::Bury(reason) => self.bury(reason).await,
            Action::GiveUp(cause) => {
                self.turn = None;
                self.place.give_up(match cause {
                    Cause::Timeout => {
                        let omitted = match self.leads_a_group() {
                            true => format!("answer `{}`", self.place.spec.ready_request),
                            false => "say READY=1".to_owned(),
                        };
                        format!("it did not {omitted} within {} s", self.limits.start.as_secs_f64())
                    }
                    Cause::Unusable => "it cannot build what it is to serve".to_owned(),
                    Cause::Died(times) => format!("{}, {times} times in a row", self.last_words),
                });
            }
            Action::Close => self.socket = None,
        }
        None
    }

    async fn spawn(&mut self) -> Result<(), SpawnError> {
        let Place { id, spec, staff, .. } = &self.place;
        let number = staff.next_life();
        if let Kind::Command(line) = &spec.kind {
            let line = line.clone();
            return self.spawn_command(number, &line).await;
        }
        let socket = self.socket.insert(WorkerSocket::bind(path_of(&spec.runtime_dir, id, number, "sock")?)?);
        let path = path_of(&spec.runtime_dir, id, number, "notify")?;
        let notify = NotifySocket::bind(path.clone()).map_err(|source| SpawnError::Notify { path, source })?;
        let (program, host) = match &spec.kind {
            Kind::Python { interpreter, host, .. } => (interpreter, Some(host.as_path())),
            Kind::Builtin | Kind::Command(_) | Kind::External { .. } => (&spec.program, None),
        };
        let birth = Birth {
            program,
            host,
            manifest: &spec.manifest,
            slot: id,
            life: number,
            notify: notify.path(),
            runtime_dir: &spec.runtime_dir,
        };
        let refused = |source| SpawnError::Program { program: program.clone(), source };
        let command = birth.command(socket.share().map_err(refused)?);
        let child = staff.spawner.spawn(command).await.map_err(refused)?;
        let path = socket.path().to_owned();
        self.begin(number, child, Voice::Notes(notify), path);
        Ok(())
    }

    /// Starts a command: it binds its socket, or inherits one, and is ready when it answers.
    async fn spawn_command(&mut self, number: u64, line: &CommandLine) -> Result<(), SpawnError> {
        let Place { id, spec, staff, .. } = &self.place;
        let program = PathBuf::from(line.words.first().map_or("", String::as_str));
        let refused = |source| SpawnError::Program { program: program.clone(), source };
        let path = path_of(&spec.runtime_dir, id, number, "sock")?;
        let socket = match line.binds() {
            true => None,
            false => Some(self.socket.insert(WorkerSocket::bind(path.clone())?).share().map_err(refused)?),
        };
        let words = line.filled(id, &path);
        let how = if line.is_told_the_descriptor() { exec::BY_NUMBER } else { exec::BY_ENVIRONMENT };
        let socket = socket.map(|socket| (socket, how));
        let birth =
            CommandBirth { stage: &spec.program, words: &words, slot: id, runtime_dir: &spec.runtime_dir, socket };
        let child = staff.spawner.spawn(birth.command()).await.map_err(refused)?;
        let prober = Prober::start(path.clone(), spec.tongue, spec.ready_request.clone());
        self.begin(number, child, Voice::Answers(prober), path);
        Ok(())
    }

    /// A process was started.
    fn begin(&mut self, number: u64, mut child: Child, voice: Voice, socket: PathBuf) {
        let Place { id, spec, staff, standing, .. } = &self.place;
        // A child that nobody waited for yet has one.
        let pid = child.pid().unwrap_or_default();
        announce::started(spec.release, pid);
        staff.metrics.worker_started(&spec.api);
        standing.send_modify(|s| s.begin(pid));
        let tails = [&standing.borrow().stdout, &standing.borrow().tail].map(Arc::clone);
        let [said, tail] = tails;
        let (stdout, stderr) = child.outputs();
        let outputs = [
            stdout.map(|pipe| tokio::spawn(relay(pipe, id.clone(), pid, said))),
            stderr.map(|pipe| tokio::spawn(relay(pipe, id.clone(), pid, tail))),
        ];
        self.life =
            Some(Life { number, pid, child, voice, socket, member: None, outputs, kills: Kills::look(), status: None });
    }

    fn admit(&mut self) {
        let Some(life) = &mut self.life else { return };
        let Place { id, spec, pool, standing, .. } = &self.place;
        let pid = life.pid;
        let member = Arc::new(Member::new(id.clone(), life.number, pid, life.socket.clone(), spec.threads));
        life.member = Some(Arc::clone(&member));
        announce::serving(spec.release, &spec.api, pid, &spec.url);
        pool.admit(Arc::clone(&member));
        standing.send_modify(|s| s.serve(member));
        self.turn = None;
    }

    /// Whether its processes are an operator's program and what that starts.
    fn leads_a_group(&self) -> bool {
        matches!(self.place.spec.kind, Kind::Command(_))
    }

    fn signal(&self, signal: Signal) {
        if let Some(life) = &self.life {
            life.child.signal(signal);
        }
    }

    async fn bury(&mut self, reason: Reason) {
        let Some(life) = self.life.take() else { return };
        let status = life.status.unwrap_or_default();
        if self.leads_a_group() {
            // A master that died leaves its workers behind.
            signal_group_of(life.pid, Signal::KILL);
        }
        if self.socket.take().is_none() {
            // Made by the program; one that it has removed by itself is fine.
            let _ = remove(&life.socket);
        }
        // The last lines often say why.
        let last_lines = async {
            for output in life.outputs.into_iter().flatten() {
                let _ = output.await;
            }
        };
        let _ = timeout(LAST_LINES, last_lines).await;
        announce::ended(self.place.spec.release, life.pid, status);
        let killed = status.signal() == Some(Signal::KILL.as_raw());
        let reason = match reason {
            // That a signal ended it is all that its state can know.
            Reason::Signal if killed && life.kills.have_risen() => Reason::Oom,
            reason => reason,
        };
        let mut how = describe(status);
        if reason == Reason::Oom {
            how.push_str(", for want of memory");
            tracing::error!(
                target: "pasteway::worker",
                "worker {} was killed by the kernel for want of memory: have fewer workers, bound them with worker_max_rss, \
                 or give them more", self.place.id,
            );
        }
        let requests = life.member.as_ref().map_or(0, |member| member.requests());
        self.last_words.clone_from(&how);
        self.place.standing.send_modify(|s| s.end(how, reason));
        // After the life is out of the reports: nobody may count it twice.
        self.place.staff.metrics.worker_exited(&self.place.id, reason, requests);
    }
}

/// The next word of a life, by itself or by its answers.
async fn hear(voice: &mut Voice, member: Option<&Arc<Member>>, threads: usize) -> Note {
    match voice {
        Voice::Notes(socket) => socket.hear().await,
        Voice::Answers(prober) => loop {
            // Who is full of our requests cannot answer another one; how long those may take is another option.
            let full = |member: &Arc<Member>| member.in_flight() >= threads;
            match prober.hear().await {
                Probe::Answered => return Note::Ready,
                Probe::Silent if member.is_some_and(full) => return Note::Beat,
                Probe::Silent | Probe::Refused(_) => {}
            }
        },
    }
}
