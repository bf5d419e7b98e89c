//! A connection from the front: one request after the other, each answered by the app of its mount.
//!
//! Must not know where connections come from or when the process ends, but for the drills that end it.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::app::App;
use super::body::Body;
use super::call::{Call, CallError};
use super::drill::{Drill, Exit};
use super::life::Life;
use super::picture::{self, Digested};
use crate::versions::{self, Asked, Document};

const STAND_IN: HeaderName = HeaderName::from_static("x-pasteway-stand-in");
const OCTETS: &str = "application/octet-stream";

/// Serves a connection until the front closes it, or until `stop` changes and the request in flight is answered.
pub async fn connection<I>(io: I, life: Arc<Life>, mut stop: watch::Receiver<()>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let switched = Mutex::new(None);
    let service = service_fn(|request| answer(&life, request, &switched));
    let mut server = http1::Builder::new();
    // The front may pass on as many as its own server takes (100), and adds its own.
    server.max_headers(128);
    let mut connection = pin!(server.serve_connection(TokioIo::new(io), service).with_upgrades());
    // Its errors are the front's to log: it knows which request they cost.
    tokio::select! {
        biased;
        _ = connection.as_mut() => {}
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
    let switched = switched.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(switched) = switched
        && let Ok(stream) = switched.await
    {
        let (mut from, mut to) = tokio::io::split(TokioIo::new(stream));
        let _ = tokio::io::copy(&mut from, &mut to).await;
    }
}

async fn answer(
    life: &Life,
    request: Request<Incoming>,
    switched: &Mutex<Option<OnUpgrade>>,
) -> Result<Response<Body>, hyper::Error> {
    let drill = match Drill::parse(request.uri().query().unwrap_or_default()) {
        Ok(drill) => drill,
        Err(error) => return Ok(refusal(StatusCode::BAD_REQUEST, &error)),
    };
    if let Some(mib) = drill.memory {
        // Written to: memory that nobody has touched is none.
        std::mem::forget(vec![1_u8; usize::from(mib) << 20]);
    }
    if drill.echo
        && let Some(protocol) = request.headers().get(header::UPGRADE).cloned()
    {
        *switched.lock().unwrap_or_else(PoisonError::into_inner) = Some(hyper::upgrade::on(request));
        return Ok(switching(protocol));
    }
    let (parts, body) = request.into_parts();
    if let Some(delay) = drill.delay {
        tokio::time::sleep(delay).await;
    }
    if drill.exit == Some(Exit::BeforeHead) {
        (life.die)();
    }
    let mut response = if drill.echo {
        stand_in(Body::echo(body), OCTETS)
    } else if let Some(size) = drill.size {
        drain(body).await?;
        stand_in(Body::filler(size), OCTETS)
    } else {
        match call(life, &parts, body).await {
            Ok(response) => response,
            Err(Failure::Call(error)) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error),
            Err(Failure::Connection(error)) => return Err(error),
        }
    };
    if let Some(status) = drill.status {
        *response.status_mut() = status;
    }
    if drill.chunked {
        response = response.map(Body::chunked);
    }
    if drill.exit == Some(Exit::InBody) {
        response = response.map(|body| body.dying(life.die));
    }
    Ok(response)
}

/// Why a request got no answer from its app.
enum Failure {
    Call(CallError),
    Connection(hyper::Error),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::Connection(error)
    }
}

async fn call(life: &Life, parts: &Parts, body: Incoming) -> Result<Response<Body>, Failure> {
    let call = Call::read(parts)?;
    let mount = life.manifest.mounts.get(call.mount).zip(life.apps.get(call.mount));
    let (mount, app) = mount.ok_or(CallError::NoMount)?;
    let own = match app {
        App::StandIn => {
            let picture = picture::draw(life, mount, parts, &call, &Digested::read(body).await?)?;
            return Ok(stand_in(Body::text(picture), "application/json"));
        }
        App::Versions => None,
        App::OwnVersion { legacy } => Some(*legacy),
    };
    drain(body).await?;
    Ok(version(life, parts, &call, own)?)
}

/// The list of versions, or with `own` the document of one, which may be the legacy one.
fn version(life: &Life, parts: &Parts, call: &Call<'_>, own: Option<bool>) -> Result<Response<Body>, CallError> {
    let known = call.known()?;
    let asked = Asked {
        scheme: known.scheme.as_deref().unwrap_or("http"),
        host: &call.host(&known),
        script_name: &call.script_name,
        path_info: &call.path_info,
        best_content_type: known.best_content_type.as_deref(),
        max: None,
    };
    let document = match own {
        None => versions::document(&life.edition, &asked),
        Some(legacy) => versions::own_document(&life.edition, &asked, legacy || known.legacy, &parts.headers),
    };
    Ok(respond(document))
}

fn respond(document: Document<'_>) -> Response<Body> {
    let named = document.headers();
    let mut response = Response::new(Body::text(document.body));
    *response.status_mut() = document.status;
    let headers = response.headers_mut();
    if let Ok(content_type) = HeaderValue::from_str(document.content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.extend(named);
    response
}

/// Agrees to whatever protocol it is: what comes is sent back.
fn switching(protocol: HeaderValue) -> Response<Body> {
    let mut response = stand_in(Body::text(""), OCTETS);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
    response
}

/// An answer that is not to be taken for the app's.
fn stand_in(body: Body, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(STAND_IN, HeaderValue::from_static("builtin"));
    response
}

fn refusal(status: StatusCode, error: &dyn std::error::Error) -> Response<Body> {
    let mut response = stand_in(Body::text(format!("{error}\n")), "text/plain; charset=UTF-8");
    *response.status_mut() = status;
    response
}

/// Reads a body that nobody wants, so that the connection can be used again.
async fn drain(mut body: Incoming) -> Result<(), hyper::Error> {
    while !body.is_end_stream() {
        match body.frame().await {
            Some(frame) => drop(frame?),
            None => break,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
