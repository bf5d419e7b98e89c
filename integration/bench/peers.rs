//! The three proxies: their configuration for each scenario, started as one process tree, ended by its ids.
//!
//! All have one worker thread, keep their connections to the two backends, and listen on loopback.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::measure::{self, Side};
use crate::{Result, backend};

/// Pasteway's name in the tables.
pub const PASTEWAY: &str = "pasteway";

/// The peers that can be measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This repository's executable.
    Pasteway,
    /// `nginx` from PATH.
    Nginx,
    /// `haproxy` from PATH.
    Haproxy,
}

/// What the proxies are asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Proxy, and nothing else.
    Plain,
    /// With access logs; Pasteway with Havana's `noauth` pipeline.
    Logged,
}

impl Scenario {
    /// As options and headings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Logged => "logged",
        }
    }

    /// What the numbers are of.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Plain => "Plain proxying to two backends on Unix sockets, no access log.",
            Self::Logged => {
                "Access logs on. nginx: `combined` to a file with `buffer=16k`; HAProxy: `option httplog`, to a file \
                 through its standard output; Pasteway: `wsgi_log_format` to `log_file`, and Havana's noauth pipeline \
                 for `/v2` (Nova's urlmap, faultwrap, sizelimit, noauth, then the worker)."
            }
        }
    }

    /// The request that the load sends.
    pub fn request(self) -> &'static [u8] {
        b"GET /v2/t1/servers HTTP/1.1\r\nHost: 127.0.0.1:8774\r\nAccept: application/json\r\n\
          User-Agent: python-novaclient\r\nX-Auth-Token: admin:t1\r\n\r\n"
    }
}

impl Kind {
    /// In the tables and for `--peers`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pasteway => PASTEWAY,
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// The reverse of [`name`](Self::name).
    pub fn named(name: &str) -> Result<Self> {
        let all = [Self::Pasteway, Self::Nginx, Self::Haproxy];
        all.into_iter().find(|kind| kind.name() == name).ok_or_else(|| format!("unknown peer {name}").into())
    }

    /// `PASTEWAY_PROGRAM` names another build to measure.
    pub fn program(self) -> OsString {
        match self {
            Self::Pasteway => {
                std::env::var_os("PASTEWAY_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_pasteway").into())
            }
            Self::Nginx => "nginx".into(),
            Self::Haproxy => "haproxy".into(),
        }
    }

    /// The first line that the program says of its version; empty when it cannot be run.
    pub fn version(self) -> String {
        let flag = if self == Self::Pasteway { "--version" } else { "-v" };
        let output = Command::new(self.program()).arg(flag).output();
        output.map_or_else(
            |_| String::new(),
            |output| {
                let text = [output.stdout, output.stderr].concat();
                String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
            },
        )
    }
}

/// Refuses to start while a peer is not installed.
pub fn require(kinds: &[Kind]) -> Result<()> {
    let missing: Vec<_> = kinds.iter().filter(|kind| kind.version().is_empty()).map(|kind| kind.name()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{0} cannot be run\nhelp: on Debian, `apt-get install --no-install-recommends {0}`; or leave it out with --peers",
        missing.join(" ")
    )
    .into())
}

/// A running proxy; ends with all its processes when dropped.
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    /// All its processes.
    pub pids: Vec<u32>,
    /// The one that serves.
    pub server: u32,
    child: Child,
    log: PathBuf,
}

impl Peer {
    /// Starts it with its files in `place` and waits until a request comes through. The backends are `a.sock` and
    /// `b.sock` in the directory above.
    pub fn start(kind: Kind, scenario: Scenario, place: &Path) -> Result<Self> {
        let place = place.join(kind.name());
        fs::create_dir_all(&place)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let args = match kind {
            Kind::Nginx => nginx(scenario, &place, port)?,
            Kind::Haproxy => haproxy(scenario, &place, port)?,
            Kind::Pasteway => pasteway(&place, port, scenario == Scenario::Logged, paste(scenario))?,
        };
        Self::spawn(kind, &args, &place, port)
    }

    /// Pasteway alone, with a paste file of the caller's.
    pub fn pasteway(place: &Path, paste: &str) -> Result<Self> {
        fs::create_dir_all(place)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let args = pasteway(place, port, false, paste)?;
        Self::spawn(Kind::Pasteway, &args, place, port)
    }

    /// Pasteway alone as Nova 31's front, with a paste file and further sections of the caller's.
    pub fn modern(place: &Path, paste: &str, sections: &str) -> Result<Self> {
        fs::create_dir_all(place)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let args = pasteway(place, port, false, paste)?;
        let file = place.join("nova.conf");
        let text = fs::read_to_string(&file)?.replace("release = 2013.2", "release = 2025.1");
        fs::write(file, text.replace("auth_strategy = noauth\n", "") + sections)?;
        Self::spawn(Kind::Pasteway, &args, place, port)
    }

    fn spawn(kind: Kind, args: &[String], place: &Path, port: u16) -> Result<Self> {
        let append = |name: &str| OpenOptions::new().create(true).append(true).open(place.join(name));
        let mut command = Command::new(kind.program());
        command.args(args).stdin(Stdio::null()).stdout(append("access.log")?).stderr(append("stderr.log")?);
        let child = command.spawn()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let pid = child.id();
        let mut peer = Self { address, pids: vec![pid], server: pid, child, log: place.join("access.log") };
        peer.answers(place)?;
        if kind == Kind::Nginx {
            // Its master reads the configuration, its only child serves.
            peer.server = *measure::children(pid).first().ok_or("nginx has no worker")?;
            peer.pids.push(peer.server);
        }
        for pid in &peer.pids {
            measure::pin(*pid, Side::Proxy)?;
        }
        Ok(peer)
    }

    fn answers(&mut self, place: &Path) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !probe(self.address) {
            if Instant::now() > deadline || self.child.try_wait()?.is_some() {
                let said = ["stderr.log", "access.log"].map(|f| fs::read_to_string(place.join(f)).unwrap_or_default());
                return Err(format!("no answer from the proxy in {}:\n{}", place.display(), said.concat()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Access logs grow by the gigabyte: emptied after each round (all three append).
    pub fn empty_log(&self) -> Result<()> {
        File::options().write(true).open(&self.log)?.set_len(0)?;
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let signal = |pid: u32, signal| {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, signal);
            }
        };
        // Pasteway finishes what is in flight on SIGTERM; there is nothing in flight.
        signal(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                for pid in measure::children(self.child.id()) {
                    signal(pid, Signal::KILL);
                }
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether a request comes through to a backend and back.
fn probe(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let request =
            String::from_utf8_lossy(Scenario::Plain.request()).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer.ends_with(backend::BODY.as_bytes()))
    };
    ask().unwrap_or(false)
}

fn written(place: &Path, name: &str, text: &str) -> Result<String> {
    let path = place.join(name);
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// The two backends' sockets: two directories above a peer's files.
fn sockets(place: &Path) -> [String; 2] {
    let above = place.ancestors().nth(2).unwrap_or(place);
    ["a.sock", "b.sock"].map(|name| above.join(name).display().to_string())
}

fn nginx(scenario: Scenario, place: &Path, port: u16) -> Result<Vec<String>> {
    let [a, b] = sockets(place);
    let here = place.display();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let log = match scenario {
        Scenario::Plain => "access_log off;".to_owned(),
        Scenario::Logged => format!("access_log {here}/access.log combined buffer=16k;"),
    };
    let text = format!(
        "daemon off;\n{user}\nworker_processes 1;\npid {here}/pid;\nerror_log {here}/stderr.log warn;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
         {log}\n\
         client_body_temp_path {here}/body;\nproxy_temp_path {here}/proxy;\nfastcgi_temp_path {here}/fastcgi;\n\
         uwsgi_temp_path {here}/uwsgi;\nscgi_temp_path {here}/scgi;\n\
         keepalive_timeout 3600;\nkeepalive_requests 1000000000;\n\
         upstream workers {{ server unix:{a}; server unix:{b}; keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{\n\
         listen 127.0.0.1:{port};\n\
         location / {{ proxy_pass http://workers; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
         proxy_set_header Host $http_host; }}\n\
         }}\n}}\n"
    );
    let file = written(place, "nginx.conf", &text)?;
    Ok(vec!["-c".into(), file, "-p".into(), here.to_string(), "-e".into(), format!("{here}/stderr.log")])
}

fn haproxy(scenario: Scenario, place: &Path, port: u16) -> Result<Vec<String>> {
    let [a, b] = sockets(place);
    let (log, httplog) = match scenario {
        Scenario::Plain => ("", ""),
        Scenario::Logged => ("log stdout format raw local0", "log global\n option httplog"),
    };
    let text = format!(
        "global\n nbthread 1\n maxconn 4096\n {log}\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 3600s\n timeout server 60s\n http-reuse always\n\
         frontend front\n bind 127.0.0.1:{port}\n {httplog}\n default_backend workers\n\
         backend workers\n server a unix@{a}\n server b unix@{b}\n"
    );
    // In the foreground, without a master process.
    Ok(vec!["-db".into(), "-f".into(), written(place, "haproxy.cfg", &text)?])
}

fn paste(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Plain => "[app:osapi_compute]\npaste.app_factory = bench.backend:factory\n",
        Scenario::Logged => include_str!("../fixtures/havana/api-paste.ini"),
    }
}

/// `serve` on the two backends as external workers.
fn pasteway(place: &Path, port: u16, access_log: bool, paste: &str) -> Result<Vec<String>> {
    let [a, b] = sockets(place);
    let here = place.display();
    let paste = written(place, "api-paste.ini", paste)?;
    let text = format!(
        "[DEFAULT]\nenabled_apis = osapi_compute\nosapi_compute_listen = 127.0.0.1\nosapi_compute_listen_port = {port}\n\
         api_paste_config = {paste}\nauth_strategy = noauth\nverbose = true\nuse_stderr = false\n\
         log_file = {here}/access.log\n\
         [pasteway]\nrelease = 2013.2\nworker_kind = external\nworker_sockets = {a},{b}\nworker_threads = 64\n\
         front_threads = 1\naccess_log = {access_log}\nadmin_listen = unix:{here}/admin.sock\nruntime_dir = {here}/run\n"
    );
    Ok(vec!["serve".into(), "--config-file".into(), written(place, "nova.conf", &text)?])
}
