//! The real memcached, shared with the real middleware: what one writes, the other reads. `integration/memcached/run`
//! starts and names both; without it these tests say that they were ignored.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::tests::{cache, told, valid};
use super::*;

const WHY: &str = "this is for integration/memcached/run, which sets";

/// The real middleware's cache, in a process of its own: one JSON line in, one out.
struct Original {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Original {
    fn start(library: &Library, options: &[(&str, &str)]) -> Self {
        let options: Value = options.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let mut process = Command::new(&library.python)
            .args(["integration/memcached/original.py", &options.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, to, from }
    }

    fn say(&mut self, question: &Value) -> Value {
        writeln!(self.to, "{question}").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{question}: {line}"))
    }

    fn get(&mut self, token: &str) -> Value {
        self.say(&json!({"get": token}))
    }

    fn set(&mut self, token: &str, data: Value) {
        assert_eq!(self.say(&json!({"set": token, "data": data})), json!("done"));
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An installed middleware and its era.
struct Library {
    python: String,
    era: Era,
}

fn named(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{WHY} {name}"))
}

fn libraries() -> Vec<Library> {
    vec![
        Library { python: named("PASTEWAY_KSM_13"), era: Era::KSM_13_0 },
        Library { python: named("PASTEWAY_KSM_9"), era: Era::KSM_9_1 },
        Library { python: named("PASTEWAY_KSM_4"), era: Era::KSM_4_22 },
    ]
}

fn servers() -> String {
    named("PASTEWAY_MEMCACHED")
}

fn data(user: &str, era: Era) -> Value {
    let Outcome::Valid(entry) = valid(user, era) else { panic!() };
    serde_json::from_slice(&entry.body).unwrap()
}

/// 4.22 was written for both Pythons; here it runs on Python 3, and its nova ran on Python 2.
fn ours(library: &Library, options: &[(&str, &str)]) -> TokenCache {
    let mut cache = cache(library.era, options, &[]).unwrap();
    if let Some(Far { scheme: Scheme::Vault { python3, .. }, .. }) = &mut cache.far {
        *python3 = true;
    }
    cache
}

#[tokio::test]
#[ignore = "sh integration/memcached/run brings memcached and the original"]
async fn what_the_original_writes_is_read_and_the_reverse() {
    let servers = servers();
    for library in libraries() {
        let era = library.era;
        for strategy in ["None", "MAC", "ENCRYPT", "encrypt"] {
            let options = [
                ("memcached_servers", servers.as_str()),
                ("memcache_security_strategy", strategy),
                ("memcache_secret_key", "swordfish"),
                ("memcache_use_advanced_pool", "true"),
            ];
            let mut original = Original::start(&library, &options);
            // The warning about `encrypt` is no error; the option stands in nova.conf here.
            let built = || match strategy {
                "encrypt" => signing_only(&library, &options),
                _ => ours(&library, &options),
            };
            for n in 0..16 {
                let token = format!("{era}-{strategy}-{n}").replace(' ', "-");
                let theirs = TokenKey::new(format!("theirs-{token}"));
                original.set(&format!("theirs-{token}"), data("them", era));
                let front = built();
                assert_eq!(told(front.get(&theirs).await), "them", "{token}");
                assert_eq!(
                    told(front.peek(&theirs.hash, Instant::now())),
                    "them",
                    "memcached says how long it has left"
                );
                front.put(&TokenKey::new(format!("ours-{token}")), valid("us", era)).await;
                assert_eq!(original.get(&format!("ours-{token}")), data("us", era), "{token}");
            }
            let unknown = format!("unknown-{era}-{strategy}").replace(' ', "-");
            if era < Era::KSM_10_2 {
                original.set(&unknown, json!("invalid"));
                assert_eq!(told(built().get(&TokenKey::new(unknown.clone())).await), "Invalid");
                built().put(&TokenKey::new(format!("{unknown}-2")), Outcome::Invalid).await;
                assert_eq!(original.get(&format!("{unknown}-2")), json!("invalid"));
            } else {
                built().put(&TokenKey::new(format!("{unknown}-2")), Outcome::Invalid).await;
                assert_eq!(original.get(&format!("{unknown}-2")), Value::Null);
            }
        }
    }
}

/// A cache with a strategy that is warned of.
fn signing_only(library: &Library, options: &[(&str, &str)]) -> TokenCache {
    let kept: Vec<_> = options.iter().copied().filter(|(name, _)| *name != "memcache_security_strategy").collect();
    let mut cache = ours(library, &kept);
    if let Some(far) = &mut cache.far {
        let vault = crypt::Vault::new("encrypt", &Secret::from("swordfish"));
        far.scheme = Scheme::Vault { vault: Box::new(vault), python3: true };
    }
    cache
}

#[tokio::test]
#[ignore = "sh integration/memcached/run brings memcached and the original"]
async fn entries_have_the_time_that_the_option_says() {
    let servers = servers();
    let first = servers.split(',').next().unwrap().to_owned();
    for library in libraries() {
        let options = [("memcached_servers", first.as_str()), ("token_cache_time", "120")];
        let mut original = Original::start(&library, &options);
        let (front, era) = (ours(&library, &options), library.era);
        let (theirs, our) =
            (format!("time-theirs-{}", era).replace(' ', "-"), format!("time-ours-{}", era).replace(' ', "-"));
        original.set(&theirs, data("them", era));
        front.put(&TokenKey::new(our.clone()), valid("us", era)).await;
        let far = front.far.as_ref().unwrap();
        for token in [theirs, our] {
            let left = far.cluster.get(&far.scheme.place(&Secret::from(token)).key).await.unwrap().left.unwrap();
            assert!((100..=120).contains(&left), "{left}");
        }
        // A negative time stores nothing, and takes away what was there.
        let options = [("memcached_servers", first.as_str()), ("token_cache_time", "-1")];
        let (front, key) = (ours(&library, &options), TokenKey::new(format!("never-{era}").replace(' ', "-")));
        front.put(&key, valid("us", era)).await;
        assert_eq!(told(front.get(&key).await), "Miss");
    }
}

#[tokio::test]
#[ignore = "sh integration/memcached/run brings memcached and the original"]
async fn each_of_two_servers_has_the_same_keys_whoever_writes() {
    let servers = servers();
    let (one, two) = servers.split_once(',').unwrap();
    for library in libraries() {
        let era = library.era;
        let both = [("memcached_servers", servers.as_str())];
        let mut original = Original::start(&library, &both);
        let front = ours(&library, &both);
        let alone = |server: &str| ours(&library, &[("memcached_servers", server)]);
        let mut on_first = 0;
        for n in 0..32 {
            let (theirs, our) = (format!("two-theirs-{era}-{n}"), format!("two-ours-{era}-{n}"));
            original.set(&theirs, data("them", era));
            front.put(&TokenKey::new(our.clone()), valid("us", era)).await;
            assert_eq!(told(ours(&library, &both).get(&TokenKey::new(theirs.clone())).await), "them");
            assert_eq!(original.get(&our), data("us", era));
            for token in [theirs, our] {
                let key = TokenKey::new(token);
                let (first, second) = (told(alone(one).get(&key).await), told(alone(two).get(&key).await));
                assert_eq!([&first, &second].iter().filter(|told| **told == "Miss").count(), 1);
                on_first += usize::from(second == "Miss");
            }
        }
        assert!((8..56).contains(&on_first), "{on_first} of 64 on the first");
    }
}

#[tokio::test]
#[ignore = "sh integration/memcached/run brings memcached and the original"]
async fn with_an_account_or_tls_the_binary_protocol_is_shared_too() {
    let library = Library { python: named("PASTEWAY_KSM_13"), era: Era::KSM_13_0 };
    let (sasl, tls, ca) =
        (named("PASTEWAY_MEMCACHED_SASL"), named("PASTEWAY_MEMCACHED_TLS"), named("PASTEWAY_MEMCACHED_CA"));
    let account = [
        ("memcached_servers", sasl.as_str()),
        ("memcache_sasl_enabled", "true"),
        ("memcache_username", "nova@pasteway"),
        ("memcache_password", "sesame"),
    ];
    let both = tls.as_str();
    let (first, second) = tls.split_once(',').unwrap();
    let certified = |servers| {
        [("memcached_servers", servers), ("memcache_tls_enabled", "true"), ("memcache_tls_cafile", ca.as_str())]
    };
    share(&library, &account, &[&account]).await;
    share(&library, &certified(both), &[&certified(both), &certified(first), &certified(second)]).await;

    let mut wrong = account;
    wrong[3].1 = "guess";
    let key = TokenKey::new("binary-theirs");
    assert_eq!(told(ours(&library, &wrong).get(&key).await), "Miss", "with a wrong password");
    let untrusted = [("memcached_servers", both), ("memcache_tls_enabled", "true")];
    assert_eq!(told(ours(&library, &untrusted).get(&key).await), "Miss", "from a server that nobody vouches for");
}

/// Both write through `options`, and both are read through each of `readers`.
async fn share(library: &Library, options: &[(&str, &str)], readers: &[&[(&str, &str)]]) {
    let era = library.era;
    let mut original = Original::start(library, options);
    original.set("binary-theirs", data("them", era));
    ours(library, options).put(&TokenKey::new("binary-ours"), valid("us", era)).await;
    assert_eq!(original.get("binary-ours"), data("us", era));
    for reader in readers {
        for (token, writer) in [("binary-theirs", "them"), ("binary-ours", "us")] {
            assert_eq!(told(ours(library, reader).get(&TokenKey::new(token)).await), writer, "{reader:?}");
        }
    }
}
