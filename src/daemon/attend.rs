//! What the daemon has attend to it: the watcher and the admin listener. Both follow a reload.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};

use super::Daemon;
use crate::admin::{Access, Bound, Instance, Token};
use crate::command::{Command, Commands, Source};
use crate::config::Config;
use crate::config::settings::{AdminAddress, PastewaySettings, Watch};
use crate::config::watch::{WatchMode, Watcher};

/// Admin requests that are under way when the listener moves get so long.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

impl Daemon {
    /// Begins to watch, or changes how; the paths are those of the running configuration.
    pub(super) fn rewatch(&self, settings: &PastewaySettings, config: &Config) {
        *self.watcher.borrow_mut() = None;
        let mode = match settings.watch {
            Watch::Off => return,
            Watch::Events => WatchMode::Events,
            Watch::Poll => WatchMode::Poll,
        };
        match Watcher::start(mode, settings.watch_settle) {
            Ok((watcher, edits)) => {
                watcher.watch(config.reading.watched(), config.read_at);
                *self.watcher.borrow_mut() = Some(watcher);
                tokio::task::spawn_local(reload_on_edits(self.commands.clone(), edits));
            }
            Err(error) => tracing::error!(target: "pasteway", "cannot watch the files: {error}"),
        }
    }

    /// Watches these paths, as they were read at `read`.
    pub(super) fn watch(&self, paths: Vec<PathBuf>, read: SystemTime) {
        if let Some(watcher) = &*self.watcher.borrow() {
            watcher.watch(paths, read);
        }
    }

    /// Serves the admin API on a listener that is bound; an older one ends.
    pub(super) fn administer(&self, bound: Bound, settings: &PastewaySettings, token: Option<Token>) {
        // The token is there before the first request can be.
        let (token, access) = watch::channel(token);
        let metrics = self.metrics.clone();
        let host_names = settings.admin_listen.iter().filter_map(|address| match address {
            AdminAddress::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => Some(host.clone()),
            _ => None,
        });
        let host_names = host_names.collect();
        let handle = bound.serve(
            self.commands.clone(),
            Arc::new(move || metrics.render()),
            Access { token: access, host_names },
        );
        for address in handle.addresses() {
            tracing::info!(target: "pasteway::admin", "administration on {address}");
        }
        let instance = Instance { pid: std::process::id(), admin: handle.addresses().to_vec() };
        if let Err(error) = instance.write(&self.runtime_dir.instance_file()) {
            tracing::warn!(target: "pasteway::admin", "cannot write the instance file: {error}");
        }
        *self.admin_token.borrow_mut() = Some(token);
        if let Some(old) = self.admin.borrow_mut().replace(handle) {
            tokio::task::spawn_local(old.stop(ADMIN_GRACE));
        }
    }

    /// Lets the admin API ask for this token from now on.
    pub(super) fn change_token(&self, token: Option<Token>) {
        if let Some(current) = &*self.admin_token.borrow() {
            current.send_replace(token);
        }
    }
}

/// Turns each settled edit into a reload.
async fn reload_on_edits(commands: Commands, mut edits: mpsc::Receiver<()>) {
    while edits.recv().await.is_some() {
        let (reply, verdict) = oneshot::channel();
        let command = Command::Reload { source: Source::Watch, peer: None, dry_run: false, reply };
        if commands.send(command).await.is_err() {
            return;
        }
        // One at a time: edits meanwhile are one edit.
        let _ = verdict.await;
    }
}
