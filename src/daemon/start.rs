//! The start: load, compile, prepare, and the parts that live as long as the front.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::LocalSet;

use super::generation::{Current, Origin, State};
use super::inherited::Sockets;
use super::predecessor::Predecessor;
use super::prepare::Workshop;
use super::program::Program;
use super::runtime_dir::RuntimeDir;
use super::shutdown::Signals;
use super::{Daemon, Phase, systemd};
use crate::admin::Token;
use crate::command::{Commands, Source, UpgradeOutcome};
use crate::compile::{self, Plan};
use crate::config::settings::Settings;
use crate::config::{self, Invocation};
use crate::filter::Outside;
use crate::id::Generation;
use crate::message::Diagnostic;
use crate::metrics::Metrics;
use crate::proxy::descriptors::Descriptors;
use crate::proxy::listener::Acceptor;
use crate::proxy::{live, thread};
use crate::telemetry::Log;
use crate::worker::{Supervisor, leftover};

/// How a start can fail.
#[derive(Debug)]
pub enum StartFailure {
    /// The configuration cannot be used.
    Config(Vec<Diagnostic>),
    /// The machine does not give what is needed.
    Machine(String),
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(why) => f.write_str(why),
            Self::Config(found) => {
                let first = found.iter().find(|found| found.is_error()).map(ToString::to_string).unwrap_or_default();
                // Its help stands in the log.
                f.write_str(first.lines().next().unwrap_or_default())
            }
        }
    }
}

/// The log's last lines get so long.
const FLUSH_TIME: Duration = Duration::from_secs(1);
/// Workers of a front that is gone get so long where `worker_stop_timeout` says nothing: nobody waits for their answers.
const LEFTOVER_TIME: Duration = Duration::from_secs(30);
/// Commands that may wait for the daemon.
const INBOX: usize = 64;

/// Serves until told to stop.
///
/// # Errors
/// What kept the front from starting; nothing is left of it then.
pub fn serve(invocation: Invocation) -> Result<ExitCode, StartFailure> {
    let (mut predecessor, sockets) = match Predecessor::find().map_err(machine("nothing is handed over"))? {
        Some((predecessor, sockets)) => (Some(predecessor), sockets),
        None => (None, Sockets::activated().map_err(machine("systemd passes something else than TCP sockets"))?),
    };
    let lock = predecessor.as_mut().and_then(|it| Some((it.handover.runtime_dir.clone(), it.lock.take()?)));
    run(invocation, predecessor.as_ref(), lock, sockets).inspect_err(|failure| {
        if let Some(predecessor) = &predecessor {
            predecessor.failed(&failure.to_string());
        }
    })
}

fn machine(what: &'static str) -> impl Fn(io::Error) -> StartFailure {
    move |error| StartFailure::Machine(format!("{what}: {error}"))
}

fn run(
    invocation: Invocation,
    predecessor: Option<&Predecessor>,
    lock: Option<(PathBuf, OwnedFd)>,
    sockets: Sockets,
) -> Result<ExitCode, StartFailure> {
    let config = config::load(&invocation, &|_, _| {}).map_err(|failed| {
        if let Some((settings, log)) =
            failed.settings.as_ref().and_then(|settings| Some((settings, open_log(settings, &failed.program).ok()?)))
        {
            last_words(&log, settings, &failed.program, &failed.diagnostics);
        }
        StartFailure::Config(failed.diagnostics)
    })?;
    let program = invocation.arguments.program.clone();
    let log = open_log(&config.settings, &program)?;
    let settings = config.settings.clone();
    let plan = compile::compile(config, None).map_err(|problems| {
        last_words(&log, &settings, &program, &problems);
        StartFailure::Config(problems)
    })?;
    let runtime_dir = match lock {
        Some((path, lock)) => RuntimeDir::inherit(path, lock),
        None => RuntimeDir::choose(&plan.config.settings.pasteway.runtime_dir),
    };
    let runtime_dir = runtime_dir.map_err(|error| StartFailure::Machine(error.to_string()))?;
    raise_descriptor_limit();

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(machine("cannot make the control runtime"))?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, async {
        // Before the first worker is: a SIGHUP during the start is a reload after it, and not the end.
        let mut signals = Signals::install().map_err(machine("cannot install signal handlers"))?;
        let metrics = Metrics::new();
        let supervisor =
            Supervisor::new(runtime.handle().clone(), metrics.clone()).map_err(machine("cannot start the spawner"))?;
        let (commands, inbox) = mpsc::channel(INBOX);
        let parts = Parts {
            invocation,
            runtime_dir,
            log: log.clone(),
            metrics,
            supervisor: supervisor.clone(),
            commands,
            sockets,
        };
        let daemon = tokio::select! {
            daemon = start(parts, plan, predecessor) => daemon?,
            () = signals.end() => {
                supervisor.stop_now().await;
                return Ok(());
            }
        };
        daemon.run(signals, inbox).await;
        Ok(())
    });
    log.flush(FLUSH_TIME);
    result.map(|()| ExitCode::SUCCESS)
}

/// What the daemon is made of.
struct Parts {
    invocation: Invocation,
    runtime_dir: RuntimeDir,
    log: Log,
    metrics: Metrics,
    supervisor: Supervisor,
    commands: Commands,
    sockets: Sockets,
}

async fn start(parts: Parts, plan: Plan, predecessor: Option<&Predecessor>) -> Result<Rc<Daemon>, StartFailure> {
    let Parts { invocation, runtime_dir, log, metrics, supervisor, commands, sockets } = parts;
    for warning in &plan.config.warnings {
        tracing::warn!(target: "pasteway", "{warning}");
    }
    tracing::info!(target: "pasteway", "{}", plan.config.chosen);
    let settings = plan.config.settings.clone();
    end_leftovers(&runtime_dir, settings.pasteway.worker_stop_timeout);
    let workshop = Workshop {
        runtime_dir: &runtime_dir,
        supervisor: &supervisor,
        running: None,
        kept: None,
        inherited: Some(&sockets),
        serving: predecessor.is_some(),
        // Numbers go on over an upgrade, so that answers never name a smaller one than before.
        number: Generation(predecessor.map_or(0, |it| it.handover.generation) + 1),
    };
    let mut prepared = match workshop.prepare(plan, std::future::pending()).await {
        Ok(prepared) => prepared,
        Err(problems) => {
            let program = &invocation.arguments.program;
            supervisor.stop_now().await;
            last_words(&log, &settings, program, &problems);
            return Err(StartFailure::Config(problems));
        }
    };

    let snapshot = Arc::new(prepared.snapshot(None));
    let source = if predecessor.is_some() { Source::Upgrade } else { Source::Start };
    let origin = Origin { source, peer: None, text_of: None };
    let record = prepared.record(Arc::clone(&snapshot.usage), origin, Vec::new(), None);
    record.enter(State::Live);
    let live: live::Live = Arc::new(ArcSwap::new(snapshot));
    let outside = Outside::new(tokio::runtime::Handle::current(), metrics.clone());
    let descriptors = Arc::new(Descriptors::at_start());
    let threads = (0..settings.pasteway.front_threads)
        .map(|index| thread::start(index, Arc::clone(&live), outside.clone(), Arc::clone(&descriptors), log.access()))
        .collect::<std::io::Result<Vec<_>>>()
        .map(Arc::new)
        .map_err(|error| StartFailure::Machine(format!("cannot start the data threads: {error}")))?;
    let acceptor = Acceptor::start(Arc::clone(&threads), descriptors)
        .map_err(|error| StartFailure::Machine(format!("cannot start the acceptor: {error}")))?;

    sockets.close_unwanted();
    let channel = match predecessor {
        Some(predecessor) => Some(predecessor.released().await.map_err(machine("cannot watch the front before"))?),
        None => None,
    };
    runtime_dir.hold();

    let (bound, token) = (std::mem::take(&mut prepared.admin), prepared.admin_token.take());
    let running = prepared.running();
    let daemon = Rc::new(Daemon {
        invocation,
        program: Program::of_process(),
        runtime_dir,
        log,
        metrics,
        supervisor,
        live,
        threads,
        acceptor,
        commands,
        started: Instant::now(),
        pools: RefCell::new(running.pools.iter().map(Rc::downgrade).collect()),
        history: Arc::new(Mutex::new([Arc::clone(&record)].into())),
        admin_token: watch::channel(None).0,
        admin_key: Token::random().map_err(machine("there are no random numbers"))?,
        current: RefCell::new(Current { record, running: Rc::clone(&running) }),
        admin: RefCell::default(),
        watcher: RefCell::new(None),
        last_reload: RefCell::new(None),
        differs_because: RefCell::new(None),
        trial: RefCell::new(None),
        taken_back: RefCell::default(),
        trial_over: Notify::new(),
        listeners: RefCell::default(),
        drain_wanted: Notify::new(),
        state: Cell::new(Phase::Serving),
        reloading: tokio::sync::Mutex::new(()),
        overtaking: watch::channel(VecDeque::new()).0,
        upgrading: tokio::sync::Mutex::new(()),
        successor_pid: Cell::new(None),
        stopping: Notify::new(),
        successor: RefCell::new(None),
        last_upgrade: RefCell::new(predecessor.map(Predecessor::upgrade)),
        predecessor: RefCell::new(None),
        seen_off: Notify::new(),
    });
    for listener in &running.listeners {
        daemon.acceptor.accept(Arc::clone(listener));
    }
    daemon.report_to_metrics();
    let pasteway = &running.plan.config.settings.pasteway;
    daemon.administer(bound, &running.plan.config, token);
    daemon.rewatch(pasteway, &running.plan.config);
    if let Some((predecessor, channel)) = predecessor.zip(channel) {
        daemon.metrics.upgraded(UpgradeOutcome::Upgraded);
        tokio::task::spawn_local(Rc::clone(&daemon).see_off(predecessor.handover.pid, channel));
    }
    systemd::ready(&daemon.summary());
    if let Some(period) = sd_notify::watchdog_enabled() {
        tokio::task::spawn_local(Rc::clone(&daemon).watch_over(period));
    }
    Ok(daemon)
}

/// Ends the workers of a front before that was killed. Nobody waits for it: what they serve is not ours. To be called
/// before there are workers of our own.
fn end_leftovers(runtime_dir: &RuntimeDir, stop_timeout: Option<Duration>) {
    let grace = stop_timeout.filter(|time| !time.is_zero()).unwrap_or(LEFTOVER_TIME);
    let left = match leftover::find(runtime_dir.path()) {
        Ok(left) if left.is_empty() => return,
        Ok(left) => left,
        Err(error) => {
            return tracing::warn!(target: "pasteway::worker", "cannot look for workers of a front before: {error}");
        }
    };
    let thread = std::thread::Builder::new().name("leftover".to_owned());
    if let Err(error) = thread.spawn(move || leftover::end(&left, grace)) {
        tracing::warn!(target: "pasteway::worker", "workers of a front before are left alone: {error}");
    }
}

fn open_log(settings: &Settings, program: &str) -> Result<Log, StartFailure> {
    let log = Log::start(&super::log::config(settings, program)).map_err(|e| StartFailure::Machine(e.to_string()))?;
    log.install().map_err(|error| StartFailure::Machine(error.to_string()))?;
    Ok(log)
}

/// What a front that cannot start leaves in its log: under the original's name the original's words, which are all
/// that it says; else the problems, which go to standard error as well. A terminal that shows both has them once.
fn last_words(log: &Log, settings: &Settings, program: &str, problems: &[Diagnostic]) {
    if settings.log.stderr && io::stderr().is_terminal() && !program.starts_with("nova-") {
        return;
    }
    for problem in problems.iter().filter(|problem| problem.is_error()) {
        match &problem.original {
            Some(original) if program.starts_with("nova-") => {
                tracing::error!(target: "nova", critical = true, "{}", original.message);
            }
            _ => tracing::error!(target: "pasteway", critical = true, "{problem}"),
        }
    }
    log.flush(FLUSH_TIME);
}

/// Every connection is a descriptor: takes as many as the system allows.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Without it the front serves all the same, fewer connections at a time.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
