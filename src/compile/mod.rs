//! The only join of configuration with behaviour: a [`Config`] becomes a
//! [`Plan`], from which the daemon makes the [`Snapshot`](crate::proxy::snapshot::Snapshot).
//!
//! ```text
//! Config ─▶ split (the cut of each pipeline) ─▶ ApiPlan {tree, mounts, pool} ─▶ listeners + pools ─▶ Snapshot
//! ```
//!
//! Everything is built and nothing is changed here: what can fail on the machine (binding, spawning) is `prepare`,
//! in the daemon.

mod carry;
pub mod explain;
#[cfg(test)]
pub mod harness;
mod identity;
pub mod log;
pub mod origins;
mod python;
pub mod show;
mod split;
mod tls;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use carry::Filters;
pub use split::{Reason, Step, Tree};

use crate::config::settings::{ApiSettings, Chunked, WorkerKind, WorkerProtocol};
use crate::config::{ApiConfig, Config};
use crate::filter::identity::is_auth_factory;
use crate::message::{Diagnostic, nearest};
use crate::proxy::snapshot::{ChunkedBodies, DoorRules, Limits, Protocol, WireRules};
use crate::release::Release;
use crate::telemetry::{AccessFormat, AccessStyle};
use crate::worker::manifest::{Manifest, Mount};

/// A body of unknown length is held up to this many bytes for a worker that cannot read chunks.
const SPOOL_LIMIT: u64 = 1024 * 1024;

/// A worker with fewer threads than this has none to spare for idle connections.
const FEW_THREADS: usize = 8;

/// A configuration, compiled: what a new generation would be.
pub struct Plan {
    /// What it was made from.
    pub config: Config,
    /// In the order of `enabled_apis`.
    pub apis: Vec<ApiPlan>,
    /// What `admin_token_file` holds, never blank; `None` while that is unset.
    pub admin_token: Option<String>,
}

/// One API of a [`Plan`].
pub struct ApiPlan {
    /// Its settings.
    pub settings: ApiSettings,
    /// The compiled tree.
    pub tree: Tree,
    /// The short names of its native filters, by [`Step::index`].
    pub filter_names: Vec<&'static str>,
    /// Its native filters, for the generation after this one.
    filters: Filters,
    /// What its workers host.
    pub mounts: Vec<Mount>,
    /// The identity of its worker side: equal digests mean that its workers can stay.
    pub digest: [u8; 32],
    /// Options of nova.conf that only its native filters read.
    pub owned: identity::Owned,
    /// For listeners that speak TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What the door takes off.
    pub door: DoorRules,
    /// Bounds on requests.
    pub limits: Limits,
    /// How the workers are spoken to.
    pub wire: WireRules,
    /// `None`: no access log.
    pub access: Option<Arc<AccessStyle>>,
}

impl ApiPlan {
    /// The manifest of a new pool's workers; `copy` says where the generation's copy of a file or directory is.
    pub fn manifest(&self, config: &Config, generation: u64, copy: &dyn Fn(&Path) -> PathBuf) -> Manifest {
        let host = python::host(&self.settings, config, &self.mounts, &self.filter_names, copy);
        identity::manifest(&self.settings, config, self.mounts.clone(), host, generation)
    }
}

/// Builds everything that a configuration wants. Filters of the `running` plan that are the same in it serve on.
///
/// # Errors
/// All problems at once; warnings come with the plan, in its config.
pub fn compile(mut config: Config, running: Option<&Plan>) -> Result<Plan, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let (mut apis, mut factories) = (Vec::new(), HashSet::new());
    for api in &config.apis {
        if let Some(plan) = api_plan(api, &config, running, &mut factories, &mut found) {
            apis.push(plan);
        }
    }
    strangers(&config, &factories, &mut found);
    let admin_token = admin_token(&config).unwrap_or_else(|problem| {
        found.push(problem);
        None
    });
    let log = log::config(&config.settings, config.conf.program());
    found.extend(log.check_formats().err().map(|error| log::problem(&error, &config.conf)));
    found.extend(python::missing(&config, apis.iter().map(|api| (&api.settings, api.mounts.as_slice()))));
    if found.iter().any(Diagnostic::is_error) {
        found.append(&mut config.warnings);
        return Err(found);
    }
    config.warnings.append(&mut found);
    Ok(Plan { config, apis, admin_token })
}

/// The token, from the file as it was read with the others.
fn admin_token(config: &Config) -> Result<Option<String>, Diagnostic> {
    let Some(path) = &config.settings.pasteway.admin_token_file else { return Ok(None) };
    let unusable = |why: String| {
        let place = config.conf.place("pasteway", "admin_token_file");
        Diagnostic::error(place, format!("admin_token_file {}: {why}", path.display()))
            .help("write a token into the file, or take the option out")
    };
    let source = config.reading.file(path).map_err(|error| unusable(error.to_string()))?;
    let token = String::from_utf8_lossy(&source.bytes).trim().to_owned();
    if token.is_empty() { Err(unusable("it holds no token".to_owned())) } else { Ok(Some(token)) }
}

/// Warns of factories that an option names and no pipeline has.
fn strangers(config: &Config, factories: &HashSet<String>, found: &mut Vec<Diagnostic>) {
    let options = &config.settings.pasteway;
    for (option, names) in [("python_filters", &options.python_filters), ("native_filters", &options.native_filters)] {
        for name in names.iter().filter(|name| !factories.contains(*name)) {
            let place = config.conf.place("pasteway", option);
            let warning = Diagnostic::warning(place, format!("`{option}` names {name}, which no pipeline has"));
            found.push(match nearest(name, factories.iter().map(String::as_str)) {
                Some(known) => warning.help(format!("did you mean `{known}`?")),
                None => warning.help("factories are written as in the paste file: module:attribute, or egg:Dist#name"),
            });
        }
    }
}

fn api_plan(
    api: &ApiConfig,
    config: &Config,
    running: Option<&Plan>,
    factories: &mut HashSet<String>,
    found: &mut Vec<Diagnostic>,
) -> Option<ApiPlan> {
    let settings = &config.settings;
    let running = running.and_then(|plan| plan.apis.iter().find(|old| old.settings.name == api.settings.name));
    let running = running.map(|old| &old.filters);
    let mut split = split::split(&api.tree, settings, &config.conf, &config.reading, running, found);
    factories.extend(split.factories.iter().cloned());
    let tls = match &api.settings.tls {
        None => None,
        Some(files) => match tls::server(files, &config.reading) {
            Ok(server) => Some(server),
            Err(mut problems) => {
                found.append(&mut problems);
                return None;
            }
        },
    };
    let access = match access(&api.settings, config) {
        Ok(access) => access,
        Err(problem) => {
            found.push(problem);
            return None;
        }
    };
    let owned = identity::owned(&split);
    Some(ApiPlan {
        digest: identity::digest(&api.settings, config, &mut split.mounts, &split.filter_names, &owned),
        owned,
        settings: api.settings.clone(),
        mounts: split.mounts,
        tls,
        door: DoorRules {
            strip_identity: split.factories.iter().any(|factory| is_auth_factory(factory)),
            trusted: settings.pasteway.trusted_proxies.clone(),
        },
        tree: split.tree,
        filter_names: split.filter_names,
        filters: split.filters,
        limits: Limits {
            request_line: api.settings.max_url_len,
            header_line: settings.max_header_line,
            idle: settings.client_socket_timeout,
            keep_alive: settings.keep_alive,
        },
        wire: wire(&api.settings, settings.pasteway.worker_request_timeout),
        access,
    })
}

/// How the API's access log looks; `None` when there is none.
fn access(api: &ApiSettings, config: &Config) -> Result<Option<Arc<AccessStyle>>, Diagnostic> {
    let settings = &config.settings;
    if !settings.pasteway.access_log {
        return Ok(None);
    }
    let format = AccessFormat::compile(&settings.wsgi_log_format).map_err(|error| {
        let place = config.conf.place("wsgi", "wsgi_log_format");
        Diagnostic::error(place, format!("wsgi_log_format: {error}"))
            .help("known are client_ip, client_port, date_time, request_line, status_code, body_length, wall_seconds")
    })?;
    Ok(Some(Arc::new(AccessStyle {
        logger: match settings.log.own_names {
            true => "pasteway::access".to_owned(),
            false => format!("nova.{}.wsgi.server", api.name),
        },
        format,
        // eventlet 0.13's messages end in a newline of their own.
        blank_line: settings.release < Release::KILO,
    })))
}

/// How the API's workers are spoken to, by their kind.
fn wire(settings: &ApiSettings, silence: Option<Duration>) -> WireRules {
    let own = matches!(settings.kind, WorkerKind::Python { .. } | WorkerKind::Builtin);
    let many = matches!(settings.kind, WorkerKind::External(_)) && settings.worker_threads >= FEW_THREADS;
    WireRules {
        protocol: match settings.protocol {
            WorkerProtocol::Uwsgi => Protocol::Uwsgi,
            WorkerProtocol::Http if matches!(settings.kind, WorkerKind::Python { .. }) => Protocol::Framed,
            WorkerProtocol::Http => Protocol::Http1,
        },
        silence,
        chunked: match settings.chunked {
            Chunked::Pass => ChunkedBodies::Pass,
            Chunked::Spool => ChunkedBodies::Spool(SPOOL_LIMIT),
            Chunked::Refuse => ChunkedBodies::Refuse,
        },
        // A worker of someone else's may bind a thread, or itself, to an idle connection.
        keep_alive: own || settings.keep_alive.unwrap_or(many),
        forwarded: !own,
    }
}
