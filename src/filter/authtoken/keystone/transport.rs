//! One exchange with Keystone: a request, its retries, and an answer of bounded size within bounded time.
//!
//! The client is reqwest's, over connections that are kept. Proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`)
//! are used, since python-requests uses them. Must not know what is asked.

use std::error::Error;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use reqwest::{Client, Url};

use super::tls::Tls;
use crate::filter::authtoken::secret::Secret;
use crate::message::{causes, root_cause};
use crate::metrics::{KeystoneOutcome, Metrics};

/// An answer with a catalog has some 100 KiB. What is longer is no token.
const LARGEST: usize = 8 << 20;
/// The original waits for ever when `http_connect_timeout` is unset, and so it does for one that sends a byte now and
/// then. Here no exchange takes longer than this (beyond the timeout that is set).
const LONGEST: Duration = Duration::from_secs(60);
/// Before the first retry; doubled for each next one, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// As python-requests and keystoneauth.
const REDIRECTS: usize = 30;

/// How Keystone is spoken to.
pub struct Transport {
    client: OnceLock<Result<Client, String>>,
    tls: Tls,
    /// For a connection, and for each piece of an answer; `None` = only the whole is bounded.
    timeout: Option<Duration>,
    /// For the whole of one exchange.
    longest: Duration,
    pause: Duration,
}

/// A question. It holds secrets, so it cannot be shown.
pub struct Call {
    /// GET or POST.
    pub method: Method,
    /// In full.
    pub url: String,
    /// In the order in which they are sent.
    pub headers: HeaderMap,
    /// JSON.
    pub body: Option<Bytes>,
    /// How often it is repeated when there is no answer.
    pub retries: u32,
}

/// An answer of any status.
pub struct Reply {
    /// Of the last of a chain of redirects.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
}

/// There is no answer.
#[derive(Clone, Debug)]
struct Failure {
    text: String,
    outcome: KeystoneOutcome,
    /// It may be tried again.
    passing: bool,
}

impl Transport {
    /// Nothing is opened before the first exchange.
    pub fn new(tls: Tls, timeout: Option<Duration>) -> Self {
        let longest = LONGEST.saturating_add(timeout.unwrap_or_default());
        Self { client: OnceLock::new(), tls, timeout, longest, pause: PAUSE }
    }

    /// Takes other bounds than the original's, which no test has the time for.
    #[cfg(test)]
    pub fn hasten(&mut self, longest: Duration) {
        self.longest = longest;
        self.pause = Duration::from_millis(1);
    }

    /// Asks, and asks again as often as the call allows while nobody answers.
    ///
    /// # Errors
    /// Why there is no answer, for the log.
    pub async fn exchange(&self, metrics: &Metrics, call: &Call) -> Result<Reply, String> {
        // Reading the system's authorities does not count as Keystone's time.
        let client = self.client().map_err(|text| format!("no TLS to Keystone: {text}"))?;
        let (mut left, mut pause) = (call.retries, self.pause);
        loop {
            let started = Instant::now();
            let result = match tokio::time::timeout(self.longest, self.follow(client, call)).await {
                Ok(result) => result,
                Err(_) => Err(Failure::timeout(&call.url, false)),
            };
            let outcome = match &result {
                Ok(reply) => outcome(reply.status),
                Err(failure) => failure.outcome,
            };
            metrics.keystone_request(super::METRIC, outcome, started.elapsed());
            match result {
                Ok(reply) => return Ok(reply),
                Err(failure) if failure.passing && left > 0 => {
                    tracing::warn!("{}: asking again in {:.1} s", failure.text, pause.as_secs_f64());
                    tokio::time::sleep(pause).await;
                    left -= 1;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
                Err(failure) => return Err(failure.text),
            }
        }
    }

    /// One try, with the redirects on its way. Nobody follows one to another host: the headers hold tokens.
    async fn follow(&self, client: &Client, call: &Call) -> Result<Reply, Failure> {
        let mut url = Url::parse(&call.url).map_err(|error| Failure::lasting(format!("its address: {error}")))?;
        for _ in 0..=REDIRECTS {
            let mut request = client.request(call.method.clone(), url.clone()).headers(call.headers.clone());
            if let Some(body) = &call.body {
                request = request.body(body.clone());
            }
            let response = request.send().await.map_err(|error| self.failure(&url, &error))?;
            let (status, headers) = (response.status(), response.headers().clone());
            if let Some(next) = redirected(status, &headers, &url)? {
                url = next;
                continue;
            }
            let body = self.read(&url, response).await?;
            return Ok(Reply { status, headers, body });
        }
        Err(Failure::lasting(format!("{}: too many redirects", origin(&url))))
    }

    async fn read(&self, url: &Url, mut response: reqwest::Response) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.failure(url, &error))? {
            if body.len() + piece.len() > LARGEST {
                return Err(Failure::lasting(format!("{}: the answer is longer than 8 MiB", origin(url))));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    fn client(&self) -> Result<&Client, &str> {
        let client = self.client.get_or_init(|| {
            let mut client = Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .http1_title_case_headers()
                .pool_idle_timeout(Duration::from_secs(30));
            if let Some(timeout) = self.timeout {
                client = client.connect_timeout(timeout).read_timeout(timeout);
            }
            self.tls.apply(client).and_then(reqwest::ClientBuilder::build).map_err(|error| root_cause(&error))
        });
        client.as_ref().map_err(String::as_str)
    }

    /// What went wrong, without the path: it may hold a token.
    fn failure(&self, url: &Url, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::timeout(url.as_str(), true);
        }
        let text = format!("{}: {}", origin(url), root_cause(error));
        // keystoneauth does not repeat what TLS refused.
        let passing = !tls_refused(error);
        Failure { text, outcome: KeystoneOutcome::Unreachable, passing }
    }
}

impl Failure {
    fn lasting(text: String) -> Self {
        Self { text, outcome: KeystoneOutcome::Error, passing: false }
    }

    fn timeout(url: &str, passing: bool) -> Self {
        let at = Url::parse(url).map_or_else(|_| String::new(), |url| origin(&url));
        Self { text: format!("{at}: no answer in time"), outcome: KeystoneOutcome::Timeout, passing }
    }
}

/// Headers in the order of their names here; a value that cannot be one is left out.
pub fn headers<const N: usize>(pairs: [(&'static str, &[u8]); N]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(N);
    for (name, value) in pairs {
        add(&mut headers, name, value);
    }
    headers
}

/// One more header.
pub fn add(headers: &mut HeaderMap, name: &'static str, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.append(HeaderName::from_static(name), value);
    }
}

/// A header that no log shows. `None` when the secret cannot stand in a header.
pub fn add_secret(headers: &mut HeaderMap, name: &'static str, secret: &Secret) -> Option<()> {
    let mut value = HeaderValue::from_bytes(secret.expose()).ok()?;
    value.set_sensitive(true);
    headers.append(HeaderName::from_static(name), value);
    Some(())
}

/// `https://keystone:5000`: all of an address that a log may show.
pub fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Where a redirect leads; an error when it leads astray.
fn redirected(status: StatusCode, headers: &HeaderMap, url: &Url) -> Result<Option<Url>, Failure> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 305 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = headers.get(http::header::LOCATION) else { return Ok(None) };
    let next = location.to_str().ok().and_then(|text| url.join(text).ok());
    let astray = || Failure::lasting(format!("{}: it redirects to another host", origin(url)));
    let next = next.ok_or_else(astray)?;
    let downgraded = url.scheme() == "https" && next.scheme() != "https";
    if next.host() != url.host() || downgraded { Err(astray()) } else { Ok(Some(next)) }
}

fn outcome(status: StatusCode) -> KeystoneOutcome {
    match status.as_u16() {
        404 => KeystoneOutcome::NotFound,
        401 => KeystoneOutcome::Unauthorized,
        200..=399 => KeystoneOutcome::Ok,
        _ => KeystoneOutcome::Error,
    }
}

fn tls_refused(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|error| {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>())
    })
}
