//! The routes of the admin API, each a [`Command`] and its answer as JSON.
//!
//! Must not know connections or who may ask; the guard has decided before.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{MatchedPath, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::feed::Feed;
use super::guard::{self, Access, Asks};
use super::peer::Peer;
use crate::command::{Command, Commands, Outcome, ReloadReport, Source, StatusReport, Terms, UpgradeOutcome};

/// A question that the daemon has not answered by then is answered 503. A reload has no such limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// No request of this API has a body that means anything; a larger one is refused unread.
const BODY_LIMIT: usize = 64 * 1024;

/// A body must have arrived by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A file that a generation was made from: it may hold passwords and keys.
const FILE: &str = "/generations/{number}/file";

/// What the page may load: its own two files and this API.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// What the routes work with.
#[derive(Clone)]
pub(super) struct App {
    pub(super) commands: Commands,
    pub(super) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub(super) access: Access,
    /// The user that the front runs as.
    pub(super) user: u32,
}

/// The whole API; every request needs a [`Peer`] among its extensions.
pub(super) fn router(app: App) -> Router {
    Router::new()
        .route("/", get(async || page("text/html; charset=utf-8", include_str!("page/index.html"))))
        .route("/page.css", get(async || page("text/css; charset=utf-8", include_str!("page/page.css"))))
        .route("/page.js", get(async || page("text/javascript; charset=utf-8", include_str!("page/page.js"))))
        .route("/metrics", get(metrics))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/status", get(async |State(app): State<App>| app.tell(Command::Status).await))
        .route("/tree", get(async |State(app): State<App>| app.tell(Command::Tree).await))
        .route("/config", get(async |State(app): State<App>| app.tell(Command::Config).await))
        .route("/workers", get(async |State(app): State<App>| app.tell(Command::Workers).await))
        .route("/generations", get(async |State(app): State<App>| app.tell(Command::Generations).await))
        .route("/generations/{number}", get(generation))
        .route(FILE, get(file))
        .route("/reload", post(reload))
        .route("/confirm", post(confirm))
        .route("/rollback", post(rollback))
        .route("/workers/{api}/restart", post(restart_all))
        .route("/workers/{api}/{slot}/restart", post(restart_one))
        .route("/upgrade", post(upgrade))
        .route("/drain", post(drain))
        .route("/events", get(events))
        .fallback(async || error(StatusCode::NOT_FOUND, "there is nothing at this path"))
        .layer(middleware::from_fn_with_state(app.clone(), admitted))
        .with_state(app)
}

/// Lets a request through the guard, and marks every answer, refusals too.
async fn admitted(State(app): State<App>, Extension(peer): Extension<Peer>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = match guard::admit(&peer, app.user, asks(&parts), &parts, &app.access) {
        Ok(()) => match swallow(&parts.method, body).await {
            Ok(body) => match misplaced(&parts, &body) {
                None => next.run(Request::from_parts(parts, Body::from(body))).await,
                Some(why) => error(StatusCode::BAD_REQUEST, &why),
            },
            Err(refused) => refused,
        },
        Err(refusal) => {
            tracing::warn!("admin: {} {} from {peer} refused: {refusal}", parts.method, parts.uri.path());
            refusal.into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What a request is after. Only POST changes anything; other methods are refused.
fn asks(request: &http::request::Parts) -> Asks {
    match request.extensions.get::<MatchedPath>() {
        Some(route) if route.as_str() == FILE => Asks::ForSecrets,
        _ if matches!(request.method, Method::GET | Method::HEAD) => Asks::ToLook,
        _ => Asks::ToChange,
    }
}

/// Reads a body to its end, within bounds, so that the connection can go on.
async fn swallow(method: &Method, body: Body) -> Result<Bytes, Response> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(Bytes::new());
    }
    match timeout(BODY_TIMEOUT, to_bytes(body, BODY_LIMIT)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or broke off")),
        Err(_) => Err(error(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

/// What a route takes beside its path, as people are told.
enum Takes {
    Nothing,
    Query(&'static str),
    Body(&'static str),
}

fn takes(route: &str) -> Takes {
    match route {
        "/reload" => Takes::Query("?dry_run=true, ?confirm=SECONDS, ?canary=PERCENT"),
        FILE => Takes::Query("?path=PATH"),
        "/rollback" | "/confirm" => Takes::Body("{\"generation\": N}"),
        _ => Takes::Nothing,
    }
}

/// Why a request is refused that says something where its route does not look. To ignore it would do something else than
/// what was asked for.
fn misplaced(request: &http::request::Parts, body: &[u8]) -> Option<String> {
    let route = request.extensions.get::<MatchedPath>()?.as_str();
    let in_query = request.uri.query().is_some_and(|query| !query.is_empty());
    let in_body = !matches!(body.trim_ascii(), b"" | b"{}");
    match takes(route) {
        Takes::Nothing if in_query => Some(format!("{route} takes no query")),
        Takes::Nothing if in_body => Some(format!("{route} takes no body")),
        Takes::Query(words) if in_body => Some(format!("{route} takes no body, but a query: {words}")),
        Takes::Body(words) if in_query => Some(format!("{route} takes no query, but a body: {words}")),
        _ => None,
    }
}

impl App {
    /// Sends a command and waits for the answer; `None` when the daemon is stopping.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    /// An answer as it is, as JSON.
    async fn tell<T: Serialize>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Response {
        match in_time(self.ask(command)).await {
            Some(report) => Json(report).into_response(),
            None => error(StatusCode::SERVICE_UNAVAILABLE, SILENT),
        }
    }
}

const SILENT: &str = "the daemon does not answer: it is stopping or stuck";

async fn in_time<T>(answer: impl Future<Output = Option<T>>) -> Option<T> {
    timeout(PATIENCE, answer).await.ok().flatten()
}

fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}

fn page(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static(kind)), (CONTENT_SECURITY_POLICY, POLICY)], text).into_response()
}

async fn metrics(State(app): State<App>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(CONTENT_TYPE, kind)], (app.metrics)()).into_response()
}

async fn live(State(app): State<App>) -> Response {
    probe(&app, "live", |status| status.not_live).await
}

async fn ready(State(app): State<App>) -> Response {
    probe(&app, "ready", |status| status.not_ready).await
}

/// 200 without reasons, 503 with them.
async fn probe(app: &App, what: &str, reasons: impl FnOnce(StatusReport) -> Vec<String>) -> Response {
    let reasons = in_time(app.ask(Command::Status)).await.map_or_else(|| vec![SILENT.to_owned()], reasons);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ what: reasons.is_empty(), "reasons": reasons }))).into_response()
}

async fn generation(State(app): State<App>, number: Result<Path<u64>, PathRejection>) -> Response {
    let Ok(Path(generation)) = number else { return error(StatusCode::NOT_FOUND, "a generation is a number") };
    match in_time(app.ask(|reply| Command::Generation { generation, reply })).await {
        Some(Some(report)) => Json(report).into_response(),
        Some(None) => error(StatusCode::NOT_FOUND, &format!("generation {generation} is not remembered")),
        None => error(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileQuery {
    path: String,
}

async fn file(
    State(app): State<App>,
    number: Result<Path<u64>, PathRejection>,
    query: Result<Query<FileQuery>, QueryRejection>,
) -> Response {
    let Ok(Path(generation)) = number else { return error(StatusCode::NOT_FOUND, "a generation is a number") };
    let path = match query {
        Ok(Query(FileQuery { path })) => path,
        Err(rejection) => return error(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let wanted = path.clone();
    match in_time(app.ask(|reply| Command::File { generation, path, reply })).await {
        Some(Some(bytes)) => {
            ([(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))], bytes).into_response()
        }
        Some(None) => error(
            StatusCode::NOT_FOUND,
            &format!("`{wanted}` is no file of generation {generation}: /generations/{generation} tells them"),
        ),
        None => error(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

/// What may be asked of a reload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReloadQuery {
    #[serde(default)]
    dry_run: bool,
    /// Seconds; 0: it need not be confirmed.
    confirm: Option<u32>,
    /// Percent; 0: all requests.
    canary: Option<u8>,
}

impl ReloadQuery {
    fn terms(&self) -> Terms {
        let confirm = self.confirm.map(|seconds| Duration::from_secs(seconds.into()));
        Terms { confirm, canary: self.canary }
    }
}

async fn reload(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    query: Result<Query<ReloadQuery>, QueryRejection>,
) -> Response {
    let (dry_run, terms) = match query {
        Ok(Query(query)) if query.canary > Some(100) => {
            return error(StatusCode::BAD_REQUEST, "canary: write a percentage, 0 to 100");
        }
        Ok(Query(query)) => (query.dry_run, query.terms()),
        Err(rejection) => return error(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    // Outlives the connection: what was asked for happens, and its end belongs into the log.
    let verdict = tokio::spawn(async move {
        let what = if dry_run { "reload (dry run)" } else { "reload" };
        tracing::info!("admin: {what} asked by {peer}");
        let peer = Some(peer.to_string());
        let report = app.ask(|reply| Command::Reload { source: Source::Admin, peer, dry_run, terms, reply }).await;
        match &report {
            Some(report) => tracing::info!("admin: {what} {} in {} ms", report.outcome, report.took_ms),
            None => tracing::warn!("admin: {what} got no verdict: the daemon is stopping"),
        }
        report
    });
    match verdict.await {
        Ok(Some(report)) => (reload_status(&report), Json(report)).into_response(),
        Ok(None) | Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

fn reload_status(report: &ReloadReport) -> StatusCode {
    match report.outcome {
        Outcome::Applied | Outcome::Unchanged => StatusCode::OK,
        Outcome::Rejected | Outcome::RolledBack => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// `{"generation": 5}`; without a body the one before is meant, or the one on trial.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meant {
    generation: Option<u64>,
}

fn meant(body: &Bytes) -> Result<Option<u64>, Response> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let wrong = |problem| error(StatusCode::BAD_REQUEST, &format!("write {{\"generation\": N}}: {problem}"));
    serde_json::from_slice(body).map(|Meant { generation }| generation).map_err(wrong)
}

async fn rollback(State(app): State<App>, Extension(peer): Extension<Peer>, body: Bytes) -> Response {
    let generation = match meant(&body) {
        Ok(generation) => generation,
        Err(refused) => return refused,
    };
    let verdict = lasting(app, peer, "rollback", move |peer, reply| Command::Rollback { generation, peer, reply });
    match verdict.await {
        Some(report) => (reload_status(&report), Json(report)).into_response(),
        None => error(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

async fn confirm(State(app): State<App>, Extension(peer): Extension<Peer>, body: Bytes) -> Response {
    let generation = match meant(&body) {
        Ok(generation) => generation,
        Err(refused) => return refused,
    };
    let confirmed = lasting(app, peer, "confirm", move |peer, reply| Command::Confirm { generation, peer, reply });
    match confirmed.await {
        Some(Ok(trial)) => Json(json!({ "confirmed": trial.generation, "trial": trial })).into_response(),
        Some(Err(other)) => error(StatusCode::CONFLICT, &other.to_string()),
        None => error(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

async fn restart_all(State(app): State<App>, Extension(peer): Extension<Peer>, Path(api): Path<String>) -> Response {
    restart(app, peer, api, None).await
}

async fn restart_one(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    place: Result<Path<(String, u32)>, PathRejection>,
) -> Response {
    match place {
        Ok(Path((api, slot))) => restart(app, peer, api, Some(slot)).await,
        Err(rejection) => error(StatusCode::NOT_FOUND, &rejection.body_text()),
    }
}

async fn restart(app: App, peer: Peer, api: String, slot: Option<u32>) -> Response {
    let report =
        lasting(app, peer, "restart of workers", move |peer, reply| Command::Restart { api, slot, peer, reply });
    match report.await {
        Some(Ok(report)) if report.failed.is_empty() => Json(report).into_response(),
        Some(Ok(report)) => (StatusCode::UNPROCESSABLE_ENTITY, Json(report)).into_response(),
        Some(Err(none)) => error(StatusCode::NOT_FOUND, &none.to_string()),
        None => error(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

async fn upgrade(State(app): State<App>, Extension(peer): Extension<Peer>) -> Response {
    match lasting(app, peer, "upgrade", |peer, reply| Command::Upgrade { peer, reply }).await {
        Some(report) => {
            let status = match report.outcome {
                UpgradeOutcome::Upgraded => StatusCode::OK,
                UpgradeOutcome::Failed => StatusCode::UNPROCESSABLE_ENTITY,
                UpgradeOutcome::Refused => StatusCode::CONFLICT,
            };
            (status, Json(report)).into_response()
        }
        None => error(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

async fn drain(State(app): State<App>, Extension(peer): Extension<Peer>) -> Response {
    let peer = Some(peer.to_string());
    match in_time(app.ask(|reply| Command::Drain { peer, reply })).await {
        Some(status) => (StatusCode::ACCEPTED, Json(status)).into_response(),
        None => error(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

async fn events(State(app): State<App>) -> Response {
    match in_time(app.ask(Command::Events)).await {
        Some(Some(events)) => {
            ([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))], Body::new(Feed(events))).into_response()
        }
        Some(None) => error(StatusCode::SERVICE_UNAVAILABLE, "too many listen already"),
        None => error(StatusCode::SERVICE_UNAVAILABLE, SILENT),
    }
}

/// Asks for something that outlives the connection: what was asked for happens, and belongs into the log.
async fn lasting<T: Send + 'static>(
    app: App,
    peer: Peer,
    what: &'static str,
    command: impl FnOnce(Option<String>, oneshot::Sender<T>) -> Command + Send + 'static,
) -> Option<T> {
    let asked = tokio::spawn(async move {
        tracing::info!("admin: {what} asked by {peer}");
        app.ask(|reply| command(Some(peer.to_string()), reply)).await
    });
    asked.await.ok().flatten()
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
