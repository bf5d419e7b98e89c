//! What the daemon has attend to it: the watcher and the admin listener. Both follow a reload.

use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;

use super::Daemon;
use crate::admin::{Access, Bound, Instance, Token};
use crate::command::{Outcome, Source, Terms};
use crate::config::settings::{AdminAddress, PastewaySettings, Watch};
use crate::config::watch::{Edit, WatchMode, Watcher};
use crate::config::{Config, Watched};

/// Admin requests that are under way when the listener moves get so long.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

impl Daemon {
    /// Begins to watch, or changes how; the paths are those of the running configuration.
    pub(super) fn rewatch(self: &Rc<Self>, settings: &PastewaySettings, config: &Config) {
        *self.watcher.borrow_mut() = None;
        let mode = match settings.watch {
            Watch::Events | Watch::Off => WatchMode::Events,
            Watch::Poll => WatchMode::Poll,
        };
        match Watcher::start(mode, settings.watch_settle, Arc::clone(&self.file_changes)) {
            Ok((watcher, edits)) => {
                watcher.watch(config.reading.watched(), config.read_at);
                *self.watcher.borrow_mut() = Some(watcher);
                tokio::task::spawn_local(attend_edits(Rc::downgrade(self), edits));
            }
            Err(error) => tracing::error!(target: "pasteway", "cannot watch the files: {error}"),
        }
    }

    /// Loads what an edit has left, or only tells of it.
    async fn attend_edit(self: &Rc<Self>, edit: Edit) {
        let record = Arc::clone(&self.current.borrow().record);
        if !edit.certain && record.frozen.is_on_disk() {
            return;
        }
        let only_told = self.current.borrow().running.plan.config.settings.pasteway.watch == Watch::Off;
        let report = self.reload(Source::Watch, None, only_told, Terms::default()).await;
        if only_told && report.outcome != Outcome::Unchanged {
            let why = self.differs_because.borrow().clone().unwrap_or_default();
            tracing::info!(
                target: "pasteway::reload",
                "the files on disk have changed and are not what runs: {why} (watch is off; help: pasteway reload)",
            );
        }
    }

    /// Watches these paths, as they were read at `read`.
    pub(super) fn watch(&self, paths: Vec<Watched>, read: SystemTime) {
        if let Some(watcher) = &*self.watcher.borrow() {
            watcher.watch(paths, read);
        }
    }

    /// Whether another edit has begun since the watcher reported one.
    pub(super) fn is_overtaken(&self) -> bool {
        self.watcher.borrow().as_ref().is_some_and(Watcher::is_overtaken)
    }

    /// Serves the admin API on the listeners that are new, and ends those that are wanted no more.
    pub(super) fn administer(&self, new: Vec<(AdminAddress, Bound)>, config: &Config, token: Option<Token>) {
        // The token holds before the first request can be.
        self.admin_token.send_replace(token);
        let settings = &config.settings.pasteway;
        let wanted = &settings.admin_listen;
        let mut serving = self.admin.borrow_mut();
        for (_, old) in serving.extract_if(.., |(address, _)| !wanted.contains(address)) {
            tokio::task::spawn_local(old.stop(ADMIN_GRACE));
        }
        for (address, bound) in new {
            let metrics = self.metrics.clone();
            let host_names = match &address {
                AdminAddress::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => vec![host.clone()],
                _ => Vec::new(),
            };
            let access = Access { token: self.admin_token.subscribe(), key: Token::new(&self.admin_key), host_names };
            let handle = bound.serve(self.commands.clone(), Arc::new(move || metrics.render()), access);
            handle
                .addresses()
                .iter()
                .for_each(|real| tracing::info!(target: "pasteway::admin", "administration on {real}"));
            serving.push((address, handle));
        }
        serving.sort_by_key(|(address, _)| wanted.iter().position(|other| other == address));
        let admin = serving.iter().flat_map(|(_, handle)| handle.addresses().to_vec()).collect();
        // JSON has no name for what is no text.
        let whole = |path: &PathBuf| Some(self.invocation.environment.cwd.join(path)).filter(|p| p.to_str().is_some());
        let files = config.conf.files().iter().chain(config.conf.config_dirs()).filter_map(whole).collect();
        let instance = Instance { pid: std::process::id(), admin, files, key: self.admin_key.clone() };
        if let Err(error) = instance.write(&self.runtime_dir.instance_file()) {
            tracing::warn!(target: "pasteway::admin", "cannot write the instance file: {error}");
        }
    }
}

/// One at a time: edits meanwhile are one edit.
async fn attend_edits(daemon: Weak<Daemon>, mut edits: mpsc::Receiver<Edit>) {
    while let Some(edit) = edits.recv().await {
        let Some(daemon) = daemon.upgrade() else { return };
        daemon.attend_edit(edit).await;
    }
}
