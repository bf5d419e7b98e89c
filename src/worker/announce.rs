//! The launcher's log lines, word for word those of `nova.openstack.common.service` (Havana to Kilo) and of
//! `oslo_service.service` after it.
//!
//! Must not know what a log line looks like: the logger's name and a foreign pid travel as fields.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::id::ApiName;
use crate::release::Release;

/// The logger of the launcher.
pub fn logger(release: Release) -> &'static str {
    if release < Release::LIBERTY {
        "nova.openstack.common.service"
    } else if release < Release::NOVA_31 {
        "oslo_service.service"
    } else {
        "oslo_service.backend._eventlet.service"
    }
}

/// The logger of Nova's own WSGI server class.
fn wsgi_logger(release: Release) -> &'static str {
    if release < Release::NOVA_29 { "nova.wsgi" } else { "nova.service" }
}

/// A listener is bound.
pub fn listening(release: Release, api: &ApiName, address: SocketAddr) {
    // IPv6 without brackets, as the original prints it.
    let (ip, port) = (address.ip(), address.port());
    tracing::info!(target: "pasteway::launcher", logger = wsgi_logger(release), "{api} listening on {ip}:{port}");
}

/// SIGTERM has come: one line for the launcher, and from oslo.service on one for each API's server.
pub fn stopping(release: Release, apis: usize) {
    tracing::info!(target: "pasteway::launcher", logger = logger(release), "Caught SIGTERM, stopping children");
    if release >= Release::LIBERTY {
        for _ in 0..apis {
            tracing::info!(target: "pasteway::launcher", logger = wsgi_logger(release), "Stopping WSGI server.");
        }
    }
}

/// A service is about to be launched.
pub fn starting(release: Release, workers: u32) {
    tracing::info!(target: "pasteway::launcher", logger = logger(release), "Starting {workers} workers");
}

/// A child lives; oslo.service thinks less of this than its predecessor.
pub fn started(release: Release, pid: u32) {
    if release < Release::LIBERTY {
        tracing::info!(target: "pasteway::launcher", logger = logger(release), "Started child {pid}");
    } else {
        tracing::debug!(target: "pasteway::launcher", logger = logger(release), "Started child {pid}");
    }
}

/// The next child has to wait.
pub fn too_fast(release: Release) {
    tracing::info!(target: "pasteway::launcher", logger = logger(release), "Forking too fast, sleeping");
}

/// A child is gone.
pub fn ended(release: Release, pid: u32, status: ExitStatus) {
    match status.signal() {
        Some(signal) => {
            tracing::info!(
                target: "pasteway::launcher", logger = logger(release),
                "Child {pid} killed by signal {signal}"
            );
        }
        None => {
            let code = status.code().unwrap_or_default();
            tracing::info!(
                target: "pasteway::launcher", logger = logger(release),
                "Child {pid} exited with status {code}"
            );
        }
    }
}

/// A child serves: said in its name, as eventlet's WSGI server says it there.
pub fn serving(release: Release, api: &ApiName, pid: u32, url: &str) {
    let logger = format!("nova.{api}.wsgi.server");
    // The early eventlet (0.13 with Havana) ended the address with a slash, and the line with a newline of its own.
    let end = if release < Release::KILO {
        "/\n"
    } else if release < Release::NEWTON {
        "/"
    } else {
        ""
    };
    tracing::info!(
        target: "pasteway::launcher", logger = logger.as_str(), process = pid,
        "({pid}) wsgi starting up on {url}{end}"
    );
}

/// The launcher stops and has children.
pub fn waiting(release: Release, children: usize) {
    tracing::info!(target: "pasteway::launcher", logger = logger(release), "Waiting on {children} children to exit");
}

/// The children took longer than `graceful_shutdown_timeout`.
pub fn out_of_grace(release: Release) {
    tracing::info!(
        target: "pasteway::launcher", logger = logger(release),
        "Graceful shutdown timeout exceeded, instantaneous exiting"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launcher_speaks_under_the_name_of_its_time() {
        assert_eq!(logger(Release::HAVANA), "nova.openstack.common.service");
        assert_eq!(logger(Release::KILO), "nova.openstack.common.service");
        assert_eq!(logger(Release::NEWTON), "oslo_service.service");
        assert_eq!(logger(Release::NOVA_31), "oslo_service.backend._eventlet.service");
    }
}
