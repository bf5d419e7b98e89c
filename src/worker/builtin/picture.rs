//! The picture of a request: what the stand-in answers in the place of an app that it is not.
//!
//! Must not know how the answer is sent.

use bytes::Bytes;
use http::header::HeaderMap;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::call::{Call, CallError, text};
use super::life::Life;
use crate::worker::manifest::{Mount, MountContext};
use crate::worker::wire;

const SENTENCE: &str = "this is the built-in stand-in of pasteway, not the application: it shows the request as the \
                        application would have received it; set `worker_kind` to run the real one";

#[derive(Serialize)]
struct Picture<'a> {
    pasteway: &'static str,
    #[serde(serialize_with = "contexts")]
    stands_in_for: &'a [MountContext],
    method: &'a str,
    #[serde(rename = "SCRIPT_NAME")]
    script_name: &'a str,
    #[serde(rename = "PATH_INFO")]
    path_info: &'a str,
    #[serde(rename = "QUERY_STRING")]
    query_string: &'a str,
    #[serde(serialize_with = "headers")]
    headers: &'a HeaderMap,
    environ: Map<String, Value>,
    api: &'a str,
    slot: u32,
    pid: u32,
    life: u64,
    generation: u64,
    body: &'a Digested,
}

/// A body that has gone by.
#[derive(Default, Serialize)]
pub struct Digested {
    length: u64,
    sha256: String,
}

impl Digested {
    /// Reads a body to its end and keeps no byte of it.
    ///
    /// # Errors
    /// The connection's.
    pub async fn read(mut body: Incoming) -> Result<Self, hyper::Error> {
        let (mut length, mut hash) = (0, Sha256::new());
        while let Some(frame) = body.frame().await {
            if let Ok(bytes) = frame?.into_data() {
                length += bytes.len() as u64;
                hash.update(&bytes);
            }
        }
        let sha256 = hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            hex.extend([byte >> 4, byte & 15].map(|nibble| char::from_digit(nibble.into(), 16).unwrap_or('?')));
            hex
        });
        Ok(Self { length, sha256 })
    }
}

/// Draws the picture of a request to `mount`.
///
/// # Errors
/// [`CallError::Environ`]
pub fn draw(life: &Life, mount: &Mount, parts: &Parts, call: &Call<'_>, body: &Digested) -> Result<Bytes, CallError> {
    let header = |name| parts.headers.get(name).map(|value: &http::HeaderValue| text(value.as_bytes()));
    let mut environ = match call.environ {
        b"" => Map::new(),
        json => serde_json::from_slice(json)?,
    };
    environ.entry("REMOTE_ADDR").or_insert_with(|| header(wire::REMOTE_ADDR).into());
    environ.entry("wsgi.url_scheme").or_insert_with(|| "http".into());
    let picture = Picture {
        pasteway: SENTENCE,
        stands_in_for: &mount.contexts,
        method: parts.method.as_str(),
        script_name: &String::from_utf8_lossy(&call.script_name),
        path_info: &String::from_utf8_lossy(&call.path_info),
        query_string: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        environ,
        api: &life.manifest.api,
        slot: life.slot,
        pid: life.pid,
        life: life.number,
        generation: header(wire::GENERATION).and_then(|n| n.parse().ok()).unwrap_or(life.manifest.generation),
        body,
    };
    let mut out = Vec::with_capacity(2048);
    serde_json::to_writer(&mut out, &picture)?;
    out.push(b'\n');
    Ok(out.into())
}

fn contexts<'c, S: Serializer>(contexts: &&'c [MountContext], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown<'a> {
        section: &'a str,
        factory: &'a str,
        file: &'a str,
        line: u32,
    }
    let shown = |c: &'c MountContext| Shown { section: &c.section, factory: &c.factory, file: &c.file, line: c.line };
    serializer.collect_seq(contexts.iter().map(shown))
}

/// Pairs, so that repeated headers show; without those that are between the front and its workers.
fn headers<S: Serializer>(headers: &&HeaderMap, serializer: S) -> Result<S::Ok, S::Error> {
    let of_client = headers.iter().filter(|(name, _)| !name.as_str().starts_with(wire::PREFIX));
    serializer.collect_seq(of_client.map(|(name, value)| (name.as_str(), text(value.as_bytes()))))
}
