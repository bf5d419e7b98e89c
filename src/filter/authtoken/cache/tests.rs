//! The cache as a whole, over a stand-in for memcached on a Unix socket.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use indexmap::IndexMap;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::UnixListener;

use super::*;
use crate::config::{ConfSource, Setting, Via};
use crate::message::Place;
use crate::release::Release;

struct Conf<'a>(&'a [(&'a str, &'a str, &'a str)]);

impl ConfSource for Conf<'_> {
    fn raw(&self, group: &str, name: &str) -> Option<Setting> {
        let found = self.0.iter().find(|(g, n, _)| (*g, *n) == (group, name))?;
        Some(setting(found.2))
    }
}

fn setting(value: &str) -> Setting {
    Setting { value: value.to_owned(), place: None, via: Via::Conf }
}

/// The cache, or why there is none: problems, and why the section is left to the worker.
pub(super) fn cache(
    era: Era,
    local: &[(&str, &str)],
    conf: &[(&str, &str, &str)],
) -> Result<TokenCache, (Vec<String>, Option<String>)> {
    let local: IndexMap<_, _> = local.iter().map(|(name, value)| ((*name).to_owned(), setting(value))).collect();
    let (place, global, conf) = (Place::file("api-paste.ini"), IndexMap::new(), Conf(conf));
    let reading = crate::config::Reading::new();
    let mut build = Build::new(Release::NEWEST, "filter:authtoken", &place, &global, &local, &conf, &reading);
    let cache = TokenCache::build(&mut build, era);
    let left = build.left.take();
    let found: Vec<String> = build.finish(&[]).iter().map(|d| d.message.to_string()).collect();
    match cache {
        Some(cache) if found.is_empty() => Ok(cache),
        _ => Err((found, left)),
    }
}

pub(super) fn valid(user: &str, era: Era) -> Outcome {
    let user = serde_json::json!({"id": user, "name": user, "domain": {"id": "default", "name": "Default"}});
    let token = serde_json::json!({"expires_at": "2099-01-02T03:04:05.000000Z", "user": user, "roles": [{"name": "r"}],
        "project": {"id": "p", "name": "p", "domain": {"id": "default", "name": "Default"}}, "catalog": []});
    let body = serde_json::json!({"token": token}).to_string();
    Outcome::Valid(Arc::new(Entry::parse(body.into(), era).unwrap()))
}

/// What a look says, by the body of the entry.
pub(super) fn told(peek: Peek) -> String {
    match peek {
        Peek::Hit(entry) => {
            let body: serde_json::Value = serde_json::from_slice(&entry.body).unwrap();
            body["token"]["user"]["id"].as_str().unwrap().to_owned()
        }
        other => format!("{other:?}"),
    }
}

/// By key: the time to live that was asked for, and the value.
type Kept = HashMap<String, (i64, Vec<u8>)>;

/// A memcached of one process: what it has, and how often it was asked.
#[derive(Clone, Default)]
struct StandIn {
    kept: Arc<Mutex<Kept>>,
    asked: Arc<AtomicUsize>,
    /// Whether it is too old to know `mg`.
    old: bool,
    /// Whether it takes connections and never answers.
    stalled: bool,
}

impl StandIn {
    fn listen(&self, path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        let this = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(this.clone().serve(BufStream::new(stream)));
            }
        });
    }

    async fn serve(self, mut stream: BufStream<tokio::net::UnixStream>) {
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|n| n > 0) {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.stalled {
                std::future::pending::<()>().await;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let found = self.kept.lock().unwrap().get(words[1]).cloned();
            let answer = match (words[0], found) {
                ("mg", _) if self.old => b"ERROR\r\n".to_vec(),
                ("mg", None) => b"EN\r\n".to_vec(),
                ("mg", Some((time, value))) => {
                    let head = format!("VA {} f0 t{}\r\n", value.len(), if time == 0 { -1 } else { time });
                    [head.as_bytes(), &value, b"\r\n"].concat()
                }
                ("get", None) => b"END\r\n".to_vec(),
                ("get", Some((_, value))) => {
                    let head = format!("VALUE {} 0 {}\r\n", words[1], value.len());
                    [head.as_bytes(), &value, b"\r\nEND\r\n"].concat()
                }
                ("set", _) => {
                    let mut value = vec![0; words[4].parse::<usize>().unwrap() + 2];
                    stream.read_exact(&mut value).await.unwrap();
                    value.truncate(value.len() - 2);
                    let time = words[3].parse().unwrap();
                    self.kept.lock().unwrap().insert(words[1].to_owned(), (time, value));
                    b"STORED\r\n".to_vec()
                }
                other => panic!("{other:?}"),
            };
            stream.write_all(&answer).await.unwrap();
            stream.flush().await.unwrap();
            line.clear();
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn without_memcached_an_answer_is_remembered_in_memory() {
    let era = Era::KSM_9_1;
    let cache = cache(era, &[], &[]).unwrap();
    let (one, two) = (TokenKey::new("one"), TokenKey::new("two"));
    assert_eq!(told(cache.peek(&one.hash, Instant::now())), "Miss");
    assert_eq!(told(cache.get(&one).await), "Miss");
    cache.put(&one, valid("u1", era)).await;
    cache.put(&two, Outcome::Invalid).await;
    assert_eq!(told(cache.peek(&one.hash, Instant::now())), "u1");
    assert_eq!(told(cache.get(&two).await), "Invalid");
}

#[tokio::test]
async fn unknown_tokens_are_asked_for_each_time_since_10_2() {
    let cache = cache(Era::KSM_10_2, &[], &[]).unwrap();
    let key = TokenKey::new("one");
    cache.put(&key, Outcome::Invalid).await;
    assert_eq!(told(cache.peek(&key.hash, Instant::now())), "Miss");
}

#[tokio::test]
async fn a_negative_time_remembers_nothing_and_zero_has_no_end() {
    let era = Era::KSM_13_0;
    let key = TokenKey::new("one");
    for (time, told_then) in [("-1", "Miss"), ("0", "u1"), ("9223372036854775807", "u1")] {
        let cache = cache(era, &[("token_cache_time", time)], &[]).unwrap();
        cache.put(&key, valid("u1", era)).await;
        assert_eq!(told(cache.peek(&key.hash, Instant::now())), told_then, "{time}");
    }
}

#[tokio::test]
async fn what_one_front_keeps_another_finds_and_remembers_no_longer_than_memcached_does() {
    let room = tempfile::tempdir().unwrap();
    for (n, strategy) in ["None", "MAC", "ENCRYPT"].iter().enumerate() {
        for (old, now_asked) in [(false, 1), (true, 2)] {
            let era = Era::KSM_13_0;
            let path = room.path().join(format!("{n}{old}"));
            let memcached = StandIn { old, ..StandIn::default() };
            memcached.listen(&path);
            let servers = format!("unix:{}", path.display());
            let local = [
                ("memcached_servers", servers.as_str()),
                ("memcache_security_strategy", strategy),
                ("memcache_secret_key", "swordfish"),
            ];
            let (writer, reader) = (cache(era, &local, &[]).unwrap(), cache(era, &local, &[]).unwrap());
            let key = TokenKey::new("one");
            assert_eq!(told(reader.peek(&key.hash, Instant::now())), "Ask");
            assert_eq!(told(reader.get(&key).await), "Miss");
            writer.put(&key, valid("u1", era)).await;
            assert_eq!(told(writer.peek(&key.hash, Instant::now())), "u1");
            let (time, value) = memcached.kept.lock().unwrap().values().next().unwrap().clone();
            assert_eq!(time, 300);
            // With its quotes: base64 may hold the letters by chance.
            assert_eq!(String::from_utf8(value).unwrap().contains("\"u1\""), *strategy == "None");
            assert_eq!(told(reader.get(&key).await), "u1");
            // How old it is only a new memcached says.
            let before = memcached.asked();
            assert_eq!(told(reader.peek(&key.hash, Instant::now())), if old { "Ask" } else { "u1" });
            assert_eq!(told(reader.get(&key).await), "u1");
            assert_eq!(memcached.asked() - before, now_asked - 1);
        }
    }
}

#[tokio::test]
async fn an_entry_without_an_end_is_not_remembered_by_who_wants_one() {
    let room = tempfile::tempdir().unwrap();
    let memcached = StandIn::default();
    memcached.listen(&room.path().join("m"));
    let servers = format!("unix:{}", room.path().join("m").display());
    let build =
        |time| cache(Era::KSM_13_0, &[("memcached_servers", &servers), ("token_cache_time", time)], &[]).unwrap();
    let key = TokenKey::new("one");
    build("0").put(&key, valid("u1", Era::KSM_13_0)).await;
    for (time, told_then) in [("300", "Ask"), ("0", "u1"), ("-1", "Ask")] {
        let cache = build(time);
        assert_eq!(told(cache.get(&key).await), "u1");
        assert_eq!(told(cache.peek(&key.hash, Instant::now())), told_then, "{time}");
    }
}

#[tokio::test]
async fn what_was_changed_in_memcached_is_not_believed() {
    let room = tempfile::tempdir().unwrap();
    let memcached = StandIn::default();
    memcached.listen(&room.path().join("m"));
    let servers = format!("unix:{}", room.path().join("m").display());
    let build = |secret| {
        let strategy = ("memcache_security_strategy", "MAC");
        cache(Era::KSM_13_0, &[("memcached_servers", &servers), strategy, ("memcache_secret_key", secret)], &[])
            .unwrap()
    };
    let key = TokenKey::new("one");
    build("a").put(&key, valid("u1", Era::KSM_13_0)).await;
    assert_eq!(told(build("b").get(&key).await), "Miss");
    if let Some((_, value)) = memcached.kept.lock().unwrap().values_mut().next() {
        value[70] ^= 1;
    }
    assert_eq!(told(build("a").get(&key).await), "Miss");
}

#[tokio::test(start_paused = true)]
async fn a_memcached_that_is_down_or_stalled_is_like_one_that_has_nothing() {
    let room = tempfile::tempdir().unwrap();
    let stalled = StandIn { stalled: true, ..StandIn::default() };
    stalled.listen(&room.path().join("stalled"));
    for name in ["stalled", "nobody"] {
        let servers = format!("unix:{}", room.path().join(name).display());
        let local = [("memcached_servers", servers.as_str()), ("memcache_pool_socket_timeout", "1")];
        let cache = cache(Era::KSM_13_0, &local, &[]).unwrap();
        let key = TokenKey::new("one");
        let begun = tokio::time::Instant::now();
        assert_eq!(told(cache.get(&key).await), "Miss");
        assert!(begun.elapsed() < Duration::from_secs(3));
        // It is left alone then, and this front remembers by itself.
        let (begun, asked) = (tokio::time::Instant::now(), stalled.asked());
        assert_eq!(told(cache.get(&key).await), "Miss");
        cache.put(&key, valid("u1", Era::KSM_13_0)).await;
        assert_eq!(told(cache.get(&key).await), "u1");
        assert_eq!((begun.elapsed(), stalled.asked()), (Duration::ZERO, asked));
    }
}

#[tokio::test]
async fn old_releases_share_the_memcached_of_nova() {
    let conf = [("DEFAULT", "memcached_servers", "cache:11211")];
    let key = TokenKey::new("one");
    assert_eq!(told(cache(Era::CLIENT_0_4, &[], &conf).unwrap().peek(&key.hash, Instant::now())), "Ask");
    assert_eq!(told(cache(Era::KSM_4_9, &[], &conf).unwrap().peek(&key.hash, Instant::now())), "Miss");
    let own = [("keystone_authtoken", "memcache_servers", "cache:11211")];
    assert_eq!(told(cache(Era::KSM_13_0, &[], &own).unwrap().peek(&key.hash, Instant::now())), "Ask");
}

#[test]
fn problems_are_told_in_the_words_of_the_era() {
    let said = |era, local: &[(&str, &str)]| cache(era, local, &[]).err();
    let problem = |text: &str| Some((vec![text.to_owned()], None));
    let mac = ("memcache_security_strategy", "mac");
    let rot = ("memcache_security_strategy", "rot13");
    let secret = ("memcache_secret_key", "s");
    let missing = "memcache_secret_key must be defined when a memcache_security_strategy is defined";
    for era in [Era::KSM_1_0, Era::KSM_2_3, Era::KSM_13_0] {
        assert_eq!(said(era, &[mac]), problem(missing));
        assert_eq!(said(era, &[mac, secret]), None);
    }
    // The original's own slip.
    assert_eq!(said(Era::CLIENT_0_4, &[mac]), problem(&missing.replacen("memcache", "mecmache", 1)));
    assert_eq!(said(Era::KSM_1_5, &[rot, secret]), problem("memcache_security_strategy must be ENCRYPT or MAC"));
    assert_eq!(said(Era::KSM_2_3, &[rot, secret]), None);
    assert_eq!(
        said(Era::KSM_13_0, &[rot, secret]),
        problem("Valid values are [None, MAC, ENCRYPT], but found 'rot13'")
    );
    assert_eq!(said(Era::KSM_13_0, &[("memcache_security_strategy", "none")]), None);
    let encrypt = ("memcache_security_strategy", "encrypt");
    assert_eq!(
        said(Era::KSM_13_0, &[encrypt, secret]),
        problem("`memcache_security_strategy = encrypt` signs tokens in memcached and does not encrypt")
    );
    assert_eq!(said(Era::CLIENT_0_4, &[encrypt, secret]), None, "in capital letters there");
    assert_eq!(
        said(Era::KSM_13_0, &[("memcached_servers", "a:1,b:c")]),
        problem("Unable to parse connection string: \"b:c\"")
    );
    let (found, left) = said(Era::KSM_13_0, &[("cache", "swift.cache")]).unwrap();
    assert!(found.is_empty() && left.unwrap().contains("swift.cache"));
}
