//! All of a new generation that can fail on the machine: its files are frozen, its new listeners are bound, its new
//! workers are started and ready. What runs is not touched; a failure takes back what was begun.

use std::rc::Rc;
use std::sync::Arc;

use super::Daemon;
use super::generation::{PoolInUse, Running};
use super::runtime_dir::RuntimeDir;
use crate::admin;
use crate::compile::{ApiPlan, Plan};
use crate::config::settings::WorkerKind;
use crate::config::Config;
use crate::id::Generation;
use crate::message::Diagnostic;
use crate::proxy::listener::{ListenKey, Listener};
use crate::telemetry::PreparedLog;
use crate::worker::{Kind, PoolSpec, StartedPool, Supervisor};

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
    /// Where the new generation wants its admin listener, if elsewhere.
    pub admin: Option<admin::Bound>,
}

/// What a generation is prepared with, at the start and at a reload alike.
pub struct Workshop<'a> {
    pub runtime_dir: &'a RuntimeDir,
    pub supervisor: &'a Supervisor,
    /// What runs; `None` at the start.
    pub running: Option<Rc<Running>>,
    /// Of the new generation.
    pub number: Generation,
}

impl Daemon {
    pub(super) async fn prepare(self: &Rc<Self>, plan: Plan) -> Result<Prepared, Vec<Diagnostic>> {
        let running = Rc::clone(&self.current.borrow().running);
        let number = Generation(self.history.borrow().front().map_or(0, |newest| newest.number.0) + 1);
        let workshop = Workshop {
            runtime_dir: &self.runtime_dir,
            supervisor: &self.supervisor,
            running: Some(running),
            number,
        };
        workshop.prepare(plan).await
    }
}

impl Workshop<'_> {
    /// Prepares the whole generation, or takes back what it began.
    pub async fn prepare(&self, plan: Plan) -> Result<Prepared, Vec<Diagnostic>> {
        let mut started = Vec::new();
        let result = self.build(plan, &mut started).await;
        if result.is_err() {
            for pool in started {
                self.supervisor.retire(&pool, std::time::Duration::ZERO);
            }
            self.runtime_dir.forget(self.number);
        }
        result
    }

    async fn build(&self, plan: Plan, started: &mut Vec<StartedPool>) -> Result<Prepared, Vec<Diagnostic>> {
        let config = &plan.config;
        let log = super::log::config(&config.settings)
            .prepare()
            .map(Some)
            .map_err(|error| one(error.to_string()))?;
        let admin = self.admin(config)?;
        let manifests: Vec<_> = plan.apis.iter().map(|api| api.manifest(config, self.number.0)).collect();
        self.runtime_dir
            .freeze(self.number, &config.reading.sources(), &manifests)
            .map_err(|error| one(format!("cannot keep a copy of the files in runtime_dir: {error}")))?;

        // As the original starts: one API after the other, its listener first, then its workers.
        let (mut listeners, mut pools) = (Vec::new(), Vec::new());
        for api in &plan.apis {
            let listener = self.listener(api, config, &listeners)?;
            pools.push(self.pool(api, config, &listener, started));
            listeners.push(listener);
        }
        for (api, pool) in plan.apis.iter().zip(&pools) {
            self.supervisor.ready(&pool.pool).await.map_err(|failed| {
                let lines = failed.stderr.iter().map(|line| format!("\n  {line}")).collect::<String>();
                vec![
                    Diagnostic::error(api.settings.place.clone(), format!("{failed}{lines}"))
                        .help("the running generation serves on; mend the cause and save again"),
                ]
            })?;
            // More workers are added before the swap; fewer go after it.
            self.supervisor.grow(&pool.pool, api.settings.worker.count).await.map_err(|failed| one(failed.to_string()))?;
        }
        Ok(Prepared { number: self.number, listeners, pools, log, admin, plan })
    }

    /// A listener that is there already, or a new one.
    fn listener(&self, api: &ApiPlan, config: &Config, new: &[Arc<Listener>]) -> Result<Arc<Listener>, Vec<Diagnostic>> {
        let settings = &api.settings;
        let key = ListenKey {
            host: settings.listen.clone(),
            port: settings.port,
            api: (settings.port == 0).then(|| settings.name.clone()),
        };
        let old = self.running.as_ref().map(|running| running.listeners.as_slice()).unwrap_or_default();
        if let Some(kept) = old.iter().find(|listener| listener.key == key) {
            return Ok(Arc::clone(kept));
        }
        let ours: Vec<_> = old.iter().chain(new).cloned().collect();
        let listener = Listener::bind(key, config.settings.tcp_keepidle, &ours).map_err(|error| {
            let text = format!("{} cannot listen on {}:{}: {error}", settings.name, settings.listen, settings.port);
            vec![Diagnostic::error(settings.place.clone(), text).help("is another program using the port?")
                .original("error", format!("[Errno {}] {}", error.raw_os_error().unwrap_or(0), plain(&error)))]
        })?;
        crate::worker::announce::listening(&settings.name, &listener.address, config.settings.release);
        Ok(Arc::new(listener))
    }

    /// A pool that is there already for the same worker side, or a new one, starting.
    fn pool(&self, api: &ApiPlan, config: &Config, listener: &Listener, started: &mut Vec<StartedPool>) -> Rc<PoolInUse> {
        if let Some(running) = &self.running {
            let old = running.plan.apis.iter().zip(&running.pools);
            let same = old.into_iter().find(|(old, pool)| {
                old.settings.name == api.settings.name && pool.digest == api.digest
            });
            if let Some((_, pool)) = same {
                return Rc::clone(pool);
            }
        }
        let worker = &api.settings.worker;
        let scheme = if api.tls.is_some() { "https" } else { "http" };
        let pool = self.supervisor.start(PoolSpec {
            api: api.settings.name.clone(),
            generation: self.number,
            kind: match &worker.kind {
                WorkerKind::Builtin => Kind::Builtin,
                WorkerKind::External(sockets) => Kind::External { sockets: sockets.clone() },
            },
            count: worker.count,
            threads: worker.threads,
            queue_size: config.settings.pasteway.queue_size,
            queue_timeout: config.settings.pasteway.queue_timeout,
            start_timeout: worker.start_timeout,
            stop_timeout: worker.stop_timeout,
            hang_timeout: worker.hang_timeout,
            surge: self.running.is_some().then_some(config.settings.pasteway.worker_surge),
            manifest: self.runtime_dir.manifest(self.number, api.settings.name.as_str()),
            runtime_dir: self.runtime_dir.path().to_owned(),
            program: crate::worker::OWN_BINARY.into(),
            ready_request: worker.ready_request.clone(),
            url: format!("{scheme}://{}", listener.address),
            release: config.settings.release,
        });
        started.push(pool.clone());
        Rc::new(PoolInUse { pool, digest: api.digest, born: self.number })
    }

    /// The admin listener, if it is new or moves.
    fn admin(&self, config: &Config) -> Result<Option<admin::Bound>, Vec<Diagnostic>> {
        let wanted = &config.settings.pasteway.admin_listen;
        let kept = self.running.as_ref().is_some_and(|running| {
            let old = &running.plan.config.settings.pasteway;
            old.admin_listen == *wanted && old.admin_token_file == config.settings.pasteway.admin_token_file
        });
        if kept {
            return Ok(None);
        }
        admin::bind(wanted).map(Some).map_err(|error| {
            let place = config.conf.place("pasteway", "admin_listen");
            vec![Diagnostic::error(place, format!("cannot listen for administration: {error}"))]
        })
    }
}

fn one(message: String) -> Vec<Diagnostic> {
    vec![Diagnostic::error(None, message)]
}

/// The kernel's own text, as Python prints it.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
