//! The running front, as the command line reaches it: found by its instance file, asked over its admin listener.
//!
//! Must not know what the answers mean.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use reqwest::redirect::Policy;
use serde_json::Value;

use crate::admin::{AdminListen, Instance};
use crate::message::root_cause;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no front is running here: {}: {source}\nhelp: start one with `pasteway serve`, with the same configuration files", file.display())]
    NoInstance { file: PathBuf, source: io::Error },
    #[error("the front has no admin listener\nhelp: set admin_listen")]
    NoListener,
    #[error("no front is running here: pid {pid} of {} does not answer: {cause}", file.display())]
    Gone { file: PathBuf, pid: u32, cause: String },
    #[error("the token cannot be read: {}: {source}", file.display())]
    Token { file: PathBuf, source: io::Error },
    #[error("the front answered {status}: {text}")]
    Refused { status: StatusCode, text: String },
    #[error("the front's answer was cut off or is none: {0}")]
    Broken(String),
}

/// How to reach the front.
#[derive(Debug)]
pub(super) struct Front {
    file: PathBuf,
    instance: Instance,
    token: String,
}

impl Front {
    /// Reads the instance file, whose key does what a token does, unless there is a `token_file`.
    pub(super) fn find(file: &Path, token_file: Option<&Path>) -> Result<Self, NoAnswer> {
        let instance = Instance::read(file).map_err(|source| NoAnswer::NoInstance { file: file.to_owned(), source })?;
        let token = match token_file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|source| NoAnswer::Token { file: file.to_owned(), source })?
                .trim()
                .to_owned(),
            None => instance.key.clone(),
        };
        Ok(Self { file: file.to_owned(), instance, token })
    }

    /// Asks for JSON.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        fine: &[StatusCode],
    ) -> Result<Value, NoAnswer> {
        let answer = self.fetch(method, path, body, fine).await?;
        serde_json::from_slice(&answer).map_err(|e| NoAnswer::Broken(e.to_string()))
    }

    /// Asks the first listener that can be reached, Unix sockets first: there the kernel says who asks. Statuses in
    /// `fine` are answers, all others are refusals.
    pub(super) async fn fetch(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        fine: &[StatusCode],
    ) -> Result<Bytes, NoAnswer> {
        let mut listeners: Vec<_> = self.instance.admin.iter().collect();
        listeners.sort_by_key(|listen| !matches!(listen, AdminListen::Unix(_)));
        let mut failure = NoAnswer::NoListener;
        for listen in listeners {
            match self.send(listen, &method, path, body).await {
                Ok(response) => return answer(response, fine).await,
                Err(error) if error.is_connect() => {
                    let (file, pid) = (self.file.clone(), self.instance.pid);
                    failure = NoAnswer::Gone { file, pid, cause: root_cause(&error) };
                }
                Err(error) => return Err(NoAnswer::Broken(root_cause(&error))),
            }
        }
        Err(failure)
    }

    async fn send(
        &self,
        listen: &AdminListen,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> reqwest::Result<reqwest::Response> {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            // The admin API is plain HTTP: spare the search for the system's certificates.
            .tls_certs_only([]);
        let (builder, host) = match listen {
            AdminListen::Unix(socket) => (builder.unix_socket(socket.as_path()), "localhost".to_owned()),
            AdminListen::Tcp(address) => (builder, reachable(*address).to_string()),
        };
        let request = builder.build()?.request(method.clone(), format!("http://{host}{path}"));
        let request = request.bearer_auth(&self.token);
        match body {
            Some(body) => request.json(body),
            None => request,
        }
        .send()
        .await
    }
}

/// The address to connect to for one that was bound: every address of this machine includes the loopback one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

async fn answer(response: reqwest::Response, fine: &[StatusCode]) -> Result<Bytes, NoAnswer> {
    let status = response.status();
    let body = response.bytes().await.map_err(|e| NoAnswer::Broken(root_cause(&e)))?;
    if fine.contains(&status) {
        return Ok(body);
    }
    let value: Option<Value> = serde_json::from_slice(&body).ok();
    let text = value.as_ref().and_then(|value| value.get("error")).and_then(Value::as_str);
    Err(NoAnswer::Refused { status, text: text.unwrap_or("no reason given").to_owned() })
}
