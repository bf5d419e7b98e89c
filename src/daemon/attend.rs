//! What the daemon has attend to it: the watcher and the admin listener. Both follow a reload.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};

use super::Daemon;
use crate::admin::{Access, AdminListen, Bound, Token};
use crate::command::{Command, Source};
use crate::config::settings::PastewaySettings;
use crate::config::watch::{WatchMode, Watcher};
use crate::worker::Supervisor;

/// Admin requests that are under way when the listener moves get so long.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

impl Daemon {
    /// Begins to watch, or changes how; the paths are those of the running configuration.
    pub(super) fn rewatch(&self, settings: &PastewaySettings) {
        *self.watcher.borrow_mut() = None;
        let Some(mode) = settings.watch else { return };
        match Watcher::start(mode, settings.watch_settle) {
            Ok((watcher, edits)) => {
                *self.watcher.borrow_mut() = Some(watcher);
                tokio::task::spawn_local(reload_on_edits(self.commands.clone(), edits));
            }
            Err(error) => tracing::error!(target: "pasteway", "cannot watch the files: {error}"),
        }
    }

    /// Watches these paths, as they were read at `read`.
    pub(super) fn watch(&self, paths: Vec<std::path::PathBuf>, read: SystemTime) {
        if let Some(watcher) = &*self.watcher.borrow() {
            watcher.watch(paths, read);
        }
    }

    /// Serves the admin API on a listener that is bound; an older one ends.
    pub(super) fn administer(&self, bound: Bound, settings: &PastewaySettings) {
        let (token, access) = watch::channel(settings.admin_token.clone());
        let metrics = self.metrics.clone();
        let host_names = settings.admin_host_names.clone();
        let handle = bound.serve(
            self.commands.clone(),
            Arc::new(move || metrics.render()),
            Access { token: access, host_names },
        );
        let addresses: Vec<_> = handle.addresses().iter().map(ToString::to_string).collect();
        for address in &addresses {
            tracing::info!(target: "pasteway::admin", "administration on {address}");
        }
        if let Err(error) = self.runtime_dir.announce(&addresses) {
            tracing::warn!(target: "pasteway::admin", "cannot write the instance file: {error}");
        }
        *self.admin_token.borrow_mut() = Some(token);
        if let Some(old) = self.admin.borrow_mut().replace(handle) {
            tokio::task::spawn_local(old.stop(ADMIN_GRACE));
        }
    }
}

/// Turns each settled edit into a reload.
async fn reload_on_edits(commands: crate::command::Commands, mut edits: mpsc::Receiver<()>) {
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
