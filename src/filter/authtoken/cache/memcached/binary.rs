//! memcached's binary protocol, which is the only one that has SASL: authentication, get and set.
//!
//! Must not know servers, or what keys and values mean.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Found;
use super::link::Link;
use super::value::{LARGEST, pack, unpack};
use crate::filter::authtoken::secret::Secret;

const REQUEST: u8 = 0x80;
const RESPONSE: u8 = 0x81;
const GET: u8 = 0x00;
const SET: u8 = 0x01;
const SASL_METHODS: u8 = 0x20;
const SASL_AUTH: u8 = 0x21;

const OK: u16 = 0;
const NOT_FOUND: u16 = 1;
const UNKNOWN_COMMAND: u16 = 0x81;

struct Answer {
    status: u16,
    /// In front of the body; of a value, its flags.
    extras: Vec<u8>,
    /// What is behind extras and key.
    value: Vec<u8>,
}

/// Says who we are, when the server wants to know (`Protocol._send_authentication`).
///
/// # Errors
/// The connection's; [`io::ErrorKind::PermissionDenied`] when the server does not accept it, or not in plain text.
pub(super) async fn authenticate(link: &mut Link, user: &str, password: &Secret) -> io::Result<()> {
    let methods = ask(link, SASL_METHODS, &[], b"", &[]).await?;
    if methods.status == UNKNOWN_COMMAND {
        return Ok(());
    }
    let denied = |why: &'static str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if !methods.value.split(|byte| *byte == b' ').any(|method| method == b"PLAIN") {
        return denied("memcached does not take a password in plain text");
    }
    let word = [b"\0".as_slice(), user.as_bytes(), b"\0", password.expose()].concat();
    match ask(link, SASL_AUTH, &[], b"PLAIN", &word).await?.status {
        OK => Ok(()),
        _ => denied("memcached does not accept memcache_username and memcache_password"),
    }
}

/// Asks for an entry.
///
/// # Errors
/// The connection's, and [`io::ErrorKind::InvalidData`] for what is no answer; the connection is of no use then.
pub(super) async fn get(link: &mut Link, key: &[u8]) -> io::Result<Option<Found>> {
    let answer = ask(link, GET, &[], key, &[]).await?;
    match (answer.status, answer.extras.first_chunk()) {
        (NOT_FOUND, _) => Ok(None),
        (OK, Some(flags)) => {
            Ok(unpack(answer.value, u32::from_be_bytes(*flags)).map(|value| Found { value, left: None }))
        }
        _ => Err(nonsense()),
    }
}

/// Stores an entry for `time` seconds, 0 for ever.
///
/// # Errors
/// As of [`get`]; also when the server does not store it.
pub(super) async fn set(link: &mut Link, key: &[u8], value: &[u8], time: u32) -> io::Result<()> {
    let (value, flags) = pack(value);
    let extras = [flags.to_be_bytes(), time.to_be_bytes()].concat();
    match ask(link, SET, &extras, key, &value).await?.status {
        OK => Ok(()),
        _ => Err(nonsense()),
    }
}

async fn ask(link: &mut Link, command: u8, extras: &[u8], key: &[u8], value: &[u8]) -> io::Result<Answer> {
    let total = u32::try_from(extras.len() + key.len() + value.len()).map_err(|_| nonsense())?;
    let key_length = u16::try_from(key.len()).map_err(|_| nonsense())?;
    let extras_length = u8::try_from(extras.len()).map_err(|_| nonsense())?;
    link.write_u8(REQUEST).await?;
    link.write_u8(command).await?;
    link.write_u16(key_length).await?;
    link.write_u8(extras_length).await?;
    // Type and bucket.
    link.write_all(&[0; 3]).await?;
    link.write_u32(total).await?;
    // What the answer repeats, and no condition.
    link.write_all(&[0; 12]).await?;
    for part in [extras, key, value] {
        link.write_all(part).await?;
    }
    link.flush().await?;
    answer(link, command).await
}

async fn answer(link: &mut Link, command: u8) -> io::Result<Answer> {
    if link.read_u8().await? != RESPONSE || link.read_u8().await? != command {
        return Err(nonsense());
    }
    let key = usize::from(link.read_u16().await?);
    let extras = usize::from(link.read_u8().await?);
    link.read_u8().await?;
    let status = link.read_u16().await?;
    let total = usize::try_from(link.read_u32().await?).map_err(|_| nonsense())?;
    link.read_exact(&mut [0; 12]).await?;
    if total > LARGEST + 4 || key + extras > total {
        return Err(nonsense());
    }
    let mut body = vec![0; total];
    link.read_exact(&mut body).await?;
    let value = body.split_off(key + extras);
    body.truncate(extras);
    Ok(Answer { status, extras: body, value })
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an answer of memcached")
}
