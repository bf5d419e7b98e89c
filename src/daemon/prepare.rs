//! All of a new generation that can fail on the machine: its files are frozen, its new listeners are bound, its new
//! workers are started and ready. What runs is not touched; a failure takes back what was begun.

use std::net::ToSocketAddrs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::Daemon;
use super::generation::{PoolInUse, Running};
use super::inherited::Sockets;
use super::retire::worker_patience;
use super::runtime_dir::RuntimeDir;
use crate::admin::{self, AdminListen, Token};
use crate::compile::{ApiPlan, Plan, log};
use crate::config::Config;
use crate::config::settings::{AdminAddress, PastewaySettings, WorkerKind, WorkerProtocol};
use crate::id::Generation;
use crate::message::Diagnostic;
use crate::proxy::listener::{ListenKey, Listener};
use crate::telemetry::PreparedLog;
use crate::worker::{
    CommandLine, HANG_TIMEOUT, Kind, OWN_BINARY, PoolSpec, Recycling, StartError, StartedPool, Supervisor, Tongue,
    Tuning, announce,
};

/// A generation that only waits for its swap.
pub struct Prepared {
    /// Its number.
    pub number: Generation,
    /// What it is made from.
    pub plan: Plan,
    /// In the order of `plan.apis`; taken over or new.
    pub listeners: Vec<Arc<Listener>>,
    /// In the order of `plan.apis`; taken over or new, all ready.
    pub pools: Vec<Rc<PoolInUse>>,
    /// The log as the new generation wants it.
    pub log: Option<PreparedLog>,
    /// Admin listeners that the new generation wants and the running one has not.
    pub admin: Vec<(AdminAddress, admin::Bound)>,
    /// The token of `admin_token_file`.
    pub admin_token: Option<Token>,
}

/// What a generation is prepared with, at the start and at a reload alike.
pub struct Workshop<'a> {
    pub runtime_dir: &'a RuntimeDir,
    pub supervisor: &'a Supervisor,
    /// What runs; `None` at the start.
    pub running: Option<Rc<Running>>,
    /// What is kept for the way back from what runs.
    pub kept: Option<Rc<Running>>,
    /// What listens already and belongs to no generation yet; at the start alone.
    pub inherited: Option<&'a Sockets>,
    /// Somebody serves, this front or the one before it: there is something to lose.
    pub serving: bool,
    /// Of the new generation.
    pub number: Generation,
}

/// What a preparation has begun: a failure takes it back.
#[derive(Default)]
struct Begun {
    started: Vec<StartedPool>,
    /// Running pools that got more workers: how many they had, and how long those that go again may take.
    grown: Vec<(StartedPool, u32, Duration)>,
}

impl Daemon {
    /// Prepares the next generation, unless somebody comes first: `overtaken` tells who.
    pub(super) async fn prepare(
        self: &Rc<Self>,
        plan: Plan,
        overtaken: impl Future<Output = String>,
    ) -> Result<Prepared, Vec<Diagnostic>> {
        let running = Rc::clone(&self.current.borrow().running);
        let number = Generation(self.history().front().map_or(0, |newest| newest.number.0) + 1);
        let kept = self.trial.borrow().as_ref().and_then(|trial| trial.kept().cloned());
        let (runtime_dir, supervisor) = (&self.runtime_dir, &self.supervisor);
        let workshop =
            Workshop { runtime_dir, supervisor, running: Some(running), kept, inherited: None, serving: true, number };
        workshop.prepare(plan, overtaken).await
    }
}

impl Workshop<'_> {
    /// Prepares the whole generation, or takes back what it began.
    pub async fn prepare(
        &self,
        plan: Plan,
        overtaken: impl Future<Output = String>,
    ) -> Result<Prepared, Vec<Diagnostic>> {
        let mut begun = Begun::default();
        let result = tokio::select! {
            // Who comes first does not find that it was too late.
            biased;
            by = overtaken => Err(vec![
                Diagnostic::error(None, format!("overtaken by {by}")).help("load the files again: pasteway reload"),
            ]),
            built = self.build(plan, &mut begun) => built,
        };
        if result.is_err() {
            for pool in begun.started {
                self.supervisor.retire(&pool, Duration::ZERO);
            }
            for (pool, count, drain) in begun.grown {
                // Fewer slots cannot fail to start.
                let _ = self.supervisor.resize(&pool, count, drain, 1).await;
            }
            let _ = self.runtime_dir.forget(self.number);
        }
        result
    }

    async fn build(&self, plan: Plan, begun: &mut Begun) -> Result<Prepared, Vec<Diagnostic>> {
        let config = &plan.config;
        let log = log::config(&config.settings, config.conf.program());
        let log = log.prepare().map(Some).map_err(|error| vec![log::problem(&error, &config.conf)])?;
        let admin = self.admin(config)?;
        let admin_token = plan.admin_token.as_deref().and_then(Token::new);
        let copy = |path: &Path| self.runtime_dir.copy(self.number, path);
        let manifests: Vec<_> = plan.apis.iter().map(|api| api.manifest(config, self.number.0, &copy)).collect();
        self.runtime_dir
            .freeze(self.number, &config.reading.sources(), &config.service.dirs, &manifests)
            .map_err(|error| one(format!("cannot keep a copy of the files in runtime_dir: {error}")))?;

        // No worker is started for a port that cannot be had.
        let listeners = plan.apis.iter().map(|api| self.listener(api, &plan)).collect::<Result<Vec<_>, _>>()?;
        // As the original starts: one API after the other, its listener first, then its workers.
        let mut pools = Vec::new();
        for (api, listener) in plan.apis.iter().zip(&listeners) {
            if self.running.is_none() {
                announce::listening(config.settings.release, &api.settings.name, listener.address);
            }
            pools.push(match self.kept(api) {
                Some(pool) => pool,
                None => self.pool(api, config, listener, &mut begun.started).await,
            });
        }
        for (api, pool) in plan.apis.iter().zip(&pools) {
            // Workers that something else starts may come later than the front does; until then it is not ready.
            if !self.serving && matches!(api.settings.kind, WorkerKind::External(_)) {
                continue;
            }
            // A pool that runs already has proved itself, and is not to be ended if it has a bad moment now.
            if pool.born == self.number {
                self.ready(api, config, &pool.pool).await?;
            }
            // More workers are added before the swap; fewer go after it.
            let before = pool.pool.wanted();
            if api.settings.slots() > before {
                let settings = &config.settings.pasteway;
                begun.grown.push((pool.pool.clone(), before, worker_patience(api, settings)));
                let grown =
                    self.supervisor.resize(&pool.pool, api.settings.slots(), Duration::ZERO, settings.worker_surge);
                grown.await.map_err(|failed| vec![self.unready(api, config, &failed)])?;
            }
        }
        Ok(Prepared { number: self.number, listeners, pools, log, admin, admin_token, plan })
    }

    /// Waits until every worker of a new pool serves.
    async fn ready(&self, api: &ApiPlan, config: &Config, pool: &StartedPool) -> Result<(), Vec<Diagnostic>> {
        self.supervisor.ready(pool).await.map(drop).map_err(|failed| vec![self.unready(api, config, &failed)])
    }

    /// Why workers do not serve, at the line that wants them.
    fn unready(&self, api: &ApiPlan, config: &Config, failed: &StartError) -> Diagnostic {
        let lines = failed.stderr.iter().map(|line| format!("\n  {line}")).collect::<String>();
        let place = api.settings.place.clone().or_else(|| config.conf.last_file());
        Diagnostic::error(place, format!("{failed}{lines}")).help(match self.serving {
            true => "the running generation serves on; mend the cause and save again",
            false => "mend the cause and start again",
        })
    }

    /// A listener that is there already, or a new one.
    fn listener(&self, api: &ApiPlan, plan: &Plan) -> Result<Arc<Listener>, Vec<Diagnostic>> {
        let settings = &api.settings;
        let key = listen_key(api);
        let old = self.running.as_ref().map(|running| running.listeners.as_slice()).unwrap_or_default();
        if let Some(kept) = old.iter().find(|listener| listener.serves(&key)) {
            return Ok(Arc::clone(kept));
        }
        let stays = |listener: &Arc<Listener>| plan.apis.iter().any(|api| listener.serves(&listen_key(api)));
        let leaving: Vec<_> = old.iter().filter(|listener| !stays(listener)).cloned().collect();
        let keepidle = plan.config.settings.tcp_keepidle;
        let listener = match self.inherited.and_then(|sockets| sockets.for_api(&key, &settings.name)) {
            Some(socket) => Listener::adopt(key, socket, keepidle),
            None => Listener::bind(key, keepidle, &leaving),
        };
        let listener = listener.map_err(|error| {
            let text = format!("{} cannot listen on {}:{}: {error}", settings.name, settings.listen, settings.port);
            let place = settings.listen_place.clone().or_else(|| settings.place.clone());
            vec![
                Diagnostic::error(place.or_else(|| plan.config.conf.last_file()), text)
                    .help("is another program using the port?")
                    .original("error", format!("[Errno {}] {}", error.raw_os_error().unwrap_or(0), plain(&error))),
            ]
        })?;
        Ok(Arc::new(listener))
    }

    /// The pool that is there already for the same worker side.
    fn kept(&self, api: &ApiPlan) -> Option<Rc<PoolInUse>> {
        self.running.iter().chain(&self.kept).find_map(|running| {
            let mut old = running.plan.apis.iter().zip(&running.pools);
            let same = |(old, pool): &(&ApiPlan, &Rc<PoolInUse>)| {
                old.settings.name == api.settings.name && pool.digest == api.digest
            };
            old.find(same).map(|(_, pool)| Rc::clone(pool))
        })
    }

    /// A new pool, starting.
    async fn pool(
        &self,
        api: &ApiPlan,
        config: &Config,
        listener: &Listener,
        started: &mut Vec<StartedPool>,
    ) -> Rc<PoolInUse> {
        let surge = self.running.is_some().then_some(config.settings.pasteway.worker_surge);
        let spec = pool_spec(api, config, self.runtime_dir, self.number);
        let pool = self.supervisor.start(spec, tuning(api, &config.settings.pasteway, listener), surge).await;
        started.push(pool.clone());
        Rc::new(PoolInUse { pool, digest: api.digest, born: self.number })
    }

    /// The admin listeners that are not there yet.
    fn admin(&self, config: &Config) -> Result<Vec<(AdminAddress, admin::Bound)>, Vec<Diagnostic>> {
        let old = self.running.as_ref().map(|running| &running.plan.config.settings.pasteway.admin_listen);
        let wanted = config.settings.pasteway.admin_listen.iter();
        wanted
            .filter(|address| !old.is_some_and(|old| old.contains(address)))
            .map(|address| {
                let handed_over = self.inherited.and_then(|sockets| sockets.for_admin(&address.to_string()));
                let bound = resolve_admin(address).and_then(|listen| match handed_over {
                    Some(socket) => admin::adopt(&listen, socket),
                    None => admin::bind(&[listen]),
                });
                bound.map(|bound| (address.clone(), bound)).map_err(|error| {
                    let place = config.conf.place_or_file("pasteway", "admin_listen");
                    vec![Diagnostic::error(place, format!("cannot listen for administration: {error}"))]
                })
            })
            .collect()
    }
}

/// What of a preparation would fail, as far as that can be told without beginning it.
pub fn foresee(plan: &Plan) -> Result<(), Vec<Diagnostic>> {
    let config = &plan.config;
    let log = log::config(&config.settings, config.conf.program());
    log.check_destinations().map_err(|error| vec![log::problem(&error, &config.conf)])
}

/// What the workers of an API are for as long as they live: all of it is part of its digest, or a place of the generation's.
pub(super) fn pool_spec(api: &ApiPlan, config: &Config, runtime_dir: &RuntimeDir, number: Generation) -> PoolSpec {
    let settings = &config.settings.pasteway;
    PoolSpec {
        api: api.settings.name.clone(),
        generation: number,
        kind: match &api.settings.kind {
            WorkerKind::Builtin => Kind::Builtin,
            WorkerKind::Python { .. } => {
                let interpreter = config.interpreter.as_ref();
                Kind::Python {
                    interpreter: interpreter.map(|it| it.program.clone()).unwrap_or_default(),
                    version: interpreter.map(|it| it.python.clone()).unwrap_or_default(),
                    host: runtime_dir.host(number),
                }
            }
            WorkerKind::Command(words) => {
                Kind::Command(CommandLine { words: words.clone(), paste: config.paste_file.clone() })
            }
            WorkerKind::External(sockets) => Kind::External { sockets: sockets.clone() },
        },
        count: api.settings.slots(),
        threads: api.settings.worker_threads,
        start_timeout: settings.worker_start_timeout,
        hang_timeout: HANG_TIMEOUT,
        manifest: runtime_dir.manifest(number, api.settings.name.as_str()),
        runtime_dir: runtime_dir.own().to_owned(),
        program: OWN_BINARY.into(),
        tongue: match api.settings.protocol {
            WorkerProtocol::Http => Tongue::Http,
            WorkerProtocol::Uwsgi => Tongue::Uwsgi,
        },
        ready_request: format!("{} {}", settings.worker_ready_request.method, settings.worker_ready_request.path),
        release: config.settings.release,
    }
}

/// What may change while they live; a swap gives it to pools that stay.
pub fn tuning(api: &ApiPlan, settings: &PastewaySettings, listener: &Listener) -> Tuning {
    let scheme = if api.tls.is_some() { "https" } else { "http" };
    Tuning {
        queue_size: settings.queue_size,
        queue_timeout: settings.queue_timeout,
        balance: settings.balance,
        // Zero is for ever.
        stop_timeout: settings.worker_stop_timeout.filter(|time| !time.is_zero()),
        recycling: Recycling {
            requests: settings.worker_max_requests,
            lifetime: settings.worker_max_lifetime,
            rss: settings.worker_max_rss,
        },
        patience: worker_patience(api, settings),
        url: format!("{scheme}://{}", listener.address),
    }
}

fn listen_key(api: &ApiPlan) -> ListenKey {
    let settings = &api.settings;
    ListenKey {
        host: settings.listen.clone(),
        port: settings.port,
        api: (settings.port == 0).then(|| settings.name.clone()),
    }
}

fn one(message: String) -> Vec<Diagnostic> {
    vec![Diagnostic::error(None, message)]
}

/// A name in `admin_listen` is its first address.
fn resolve_admin(address: &AdminAddress) -> std::io::Result<AdminListen> {
    match address {
        AdminAddress::Unix(path) => Ok(AdminListen::Unix(path.clone())),
        AdminAddress::Tcp { host, port } => (host.as_str(), *port)
            .to_socket_addrs()?
            .next()
            .map(AdminListen::Tcp)
            .ok_or_else(|| std::io::Error::other(format!("`{host}` has no address"))),
    }
}

/// The kernel's own text, as Python prints it.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
