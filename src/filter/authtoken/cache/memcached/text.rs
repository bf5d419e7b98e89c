//! memcached's text protocol: the two commands that a cache of tokens needs.
//!
//! `mg` (memcached 1.6) tells how long an entry has yet to live; `get` does not, and all others know only that.
//! Must not know servers, or what keys and values mean.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use super::Found;
use super::link::Link;
use super::value::{LARGEST, unpack};

/// The longest line that is read: a key and a few numbers.
const LINE: u64 = 512;

/// What came back for a question that the server may not know.
pub(super) enum Meta {
    /// It does know it.
    Answer(Option<Found>),
    /// It does not; it can be asked otherwise, over the same connection.
    Unknown,
}

/// Whether memcached takes a key (`Client.check_key`): 250 bytes at most, and nothing that ends a word.
pub(super) fn is_key(key: &[u8]) -> bool {
    (1..=250).contains(&key.len()) && key.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

/// Asks for an entry and its time to live.
///
/// # Errors
/// The connection's, and [`io::ErrorKind::InvalidData`] for what is no answer; the connection is of no use then.
pub(super) async fn meta_get(link: &mut Link, key: &[u8]) -> io::Result<Meta> {
    send(link, &[b"mg ", key, b" f t v\r\n"]).await?;
    let line = line(link).await?;
    let mut words = line.split(' ');
    match words.next() {
        Some("VA") => {
            let mut number = |flag: &str| words.next()?.strip_prefix(flag)?.parse::<i64>().ok();
            let (Some(size), Some(flags), Some(left)) = (number(""), number("f"), number("t")) else {
                return Err(nonsense("VA"));
            };
            let value = block(link, size).await?;
            let flags = u32::try_from(flags).map_err(|_| nonsense("flags"))?;
            Ok(Meta::Answer(unpack(value, flags).map(|value| Found { value, left: Some(left) })))
        }
        Some("EN") => Ok(Meta::Answer(None)),
        Some("ERROR" | "CLIENT_ERROR") => Ok(Meta::Unknown),
        _ => Err(nonsense("mg")),
    }
}

/// Asks for an entry.
///
/// # Errors
/// As of [`meta_get`].
pub(super) async fn get(link: &mut Link, key: &[u8]) -> io::Result<Option<Found>> {
    send(link, &[b"get ", key, b"\r\n"]).await?;
    let head = line(link).await?;
    if head == "END" {
        return Ok(None);
    }
    let mut words = head.split(' ');
    let (Some("VALUE"), Some(_), Some(flags), Some(size)) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(nonsense("get"));
    };
    let (Ok(flags), Ok(size)) = (flags.parse(), size.parse()) else { return Err(nonsense("VALUE")) };
    let value = block(link, size).await?;
    if line(link).await? != "END" {
        return Err(nonsense("END"));
    }
    Ok(unpack(value, flags).map(|value| Found { value, left: None }))
}

/// Stores an entry for `time` seconds, 0 for ever, with the flags that python-memcached has for bytes.
///
/// # Errors
/// As of [`meta_get`]; also when the server does not store it.
pub(super) async fn set(link: &mut Link, key: &[u8], value: &[u8], time: i64) -> io::Result<()> {
    let head = format!(" 0 {time} {}\r\n", value.len());
    send(link, &[b"set ", key, head.as_bytes(), value, b"\r\n"]).await?;
    match line(link).await?.as_str() {
        "STORED" => Ok(()),
        _ => Err(nonsense("set")),
    }
}

async fn send(link: &mut Link, parts: &[&[u8]]) -> io::Result<()> {
    for part in parts {
        link.write_all(part).await?;
    }
    link.flush().await
}

/// A line without its end.
async fn line(link: &mut Link) -> io::Result<String> {
    let mut line = Vec::new();
    link.take(LINE).read_until(b'\n', &mut line).await?;
    let Some(text) = line.strip_suffix(b"\r\n") else {
        let kind = if line.is_empty() { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::InvalidData };
        return Err(kind.into());
    };
    String::from_utf8(text.to_vec()).map_err(|_| nonsense("a line"))
}

/// A value and the end of line behind it.
async fn block(link: &mut Link, size: i64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(size).ok().filter(|size| *size <= LARGEST).ok_or_else(|| nonsense("size"))?;
    let mut value = vec![0; size];
    link.read_exact(&mut value).await?;
    let mut end = [0; 2];
    link.read_exact(&mut end).await?;
    if &end == b"\r\n" { Ok(value) } else { Err(nonsense("a value")) }
}

fn nonsense(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not an answer of memcached to {what}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncRead, AsyncWrite, BufStream, DuplexStream};

    use super::super::link::Stream;
    use super::*;

    /// A link whose other end has said `answer` and will say no more.
    async fn said(answer: &[u8]) -> (Link, DuplexStream) {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(answer).await.unwrap();
        let ours: Box<dyn Stream> = Box::new(ours);
        (BufStream::new(ours), theirs)
    }

    async fn asked(mut link: Link, mut other: impl AsyncRead + AsyncWrite + Unpin) -> String {
        link.shutdown().await.unwrap();
        drop(link);
        let mut text = String::new();
        other.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn an_entry_is_read_with_the_time_it_has_left() {
        let (mut link, other) = said(b"VA 5 f0 t17\r\nhello\r\n").await;
        let Meta::Answer(Some(found)) = meta_get(&mut link, b"tokens/1").await.unwrap() else { panic!() };
        assert_eq!((found.value.as_slice(), found.left), (b"hello".as_slice(), Some(17)));
        assert_eq!(asked(link, other).await, "mg tokens/1 f t v\r\n");
        let (mut link, _other) = said(b"EN\r\nERROR\r\n").await;
        assert!(matches!(meta_get(&mut link, b"k").await.unwrap(), Meta::Answer(None)));
        assert!(matches!(meta_get(&mut link, b"k").await.unwrap(), Meta::Unknown));
    }

    #[tokio::test]
    async fn an_entry_is_read_and_written_as_python_memcached_does() {
        let (mut link, other) = said(b"VALUE tokens/1 16 2\r\n\xc3\xa4\r\nEND\r\nEND\r\nSTORED\r\n").await;
        assert_eq!(get(&mut link, b"tokens/1").await.unwrap().unwrap().value, "ä".as_bytes());
        assert!(get(&mut link, b"tokens/2").await.unwrap().is_none());
        set(&mut link, b"tokens/2", b"{}", -1).await.unwrap();
        assert_eq!(asked(link, other).await, "get tokens/1\r\nget tokens/2\r\nset tokens/2 0 -1 2\r\n{}\r\n");
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error() {
        for answer in [
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "VALUE k 0\r\n",
            "VALUE k 0 99999999999\r\n",
            "VALUE k 0 -1\r\n",
            "VALUE k 0 2\r\nabcEND\r\n",
            "VALUE k 0 2\r\nab\r\nSTORED\r\n",
            "SERVER_ERROR out of memory\r\n",
            "\n",
            &"x".repeat(2000),
        ] {
            let (mut link, _other) = said(answer.as_bytes()).await;
            assert!(get(&mut link, b"k").await.is_err(), "{answer}");
            let (mut link, _other) = said(answer.as_bytes()).await;
            assert!(meta_get(&mut link, b"k").await.is_err(), "{answer}");
            let (mut link, _other) = said(answer.as_bytes()).await;
            assert!(set(&mut link, b"k", b"", 1).await.is_err(), "{answer}");
        }
    }

    #[test]
    fn keys_that_would_end_a_word_are_none() {
        assert!(is_key(b"tokens/b'PDEx+/=='") && is_key("tokens/ä".as_bytes()) && is_key(&[b'x'; 250]));
        for key in [b"".as_slice(), b"a b", b"a\r\nflush_all", b"a\x7f", b"\0", &[b'x'; 251]] {
            assert!(!is_key(key));
        }
    }
}
