//! The same Nova as a `command` worker: the samples of etc/command as they are, Nova's own WSGI modules in uWSGI (both
//! protocols), gunicorn and granian.
//!
//! Must not know what is asked of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::behind::Behind;
use crate::stack::Stack;
use crate::support::Front;

/// The samples.
pub const SERVERS: [&str; 4] = ["uwsgi", "uwsgi-http", "gunicorn", "granian"];

/// Where the servers are; `None`, loudly, when nobody has installed them.
pub fn servers() -> Option<PathBuf> {
    let found = std::env::var_os("PASTEWAY_SERVERS").map(PathBuf::from);
    if found.is_none() {
        eprintln!("SKIPPED: set PASTEWAY_SERVERS to the directory that integration/command/servers prints");
    }
    found
}

/// Starts Pasteway with a sample's `[pasteway]`.
#[track_caller]
pub fn serve(stack: &Stack, servers: &Path, sample: &str) -> Front {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/command");
    let text = fs::read_to_string(samples.join(format!("{sample}.conf"))).expect("a sample");
    let (_, options) = text.split_once("[pasteway]\n").expect("the sample's options");
    let options = options.replace("/etc/nova", &samples.display().to_string());
    let behind = Behind::of(stack, "nova");
    let packages = behind.python.parent().and_then(Path::parent).expect("a virtual environment").join("lib");
    let packages = fs::read_dir(packages).expect("its packages").next().expect("a Python").expect("a Python").path();
    let path = std::env::var("PATH").unwrap_or_default();
    let environment = [
        // The servers have an environment of their own, beside Nova's.
        ("PYTHONPATH", packages.join("site-packages").into_os_string()),
        ("PATH", format!("{}:{path}", servers.display()).into()),
        ("OS_NOVA_CONFIG_DIR", behind.conf.parent().expect("a directory").as_os_str().to_owned()),
    ];
    Behind { kind: options, environment: environment.into(), ..behind }.start()
}
