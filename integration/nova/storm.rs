//! Edits of a running front's files, one after the other, while requests of all kinds go on: none of them fails, every
//! valid edit comes into effect, and one that cannot work changes nothing.
//!
//! Must not know how a reload is made.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::behind::{START, answering};
use crate::stack::{Stack, project};
use crate::support::{Answer, Client, Front, Save};

/// A Python filter that says by a header that it was there, and one that nobody can import.
const TAG: &str = "\
def factory(global_conf, **local_conf):
    def wrap(app):
        def tagged(environ, start_response):
            def start(status, headers, exc_info=None):
                return start_response(status, headers + [('X-Tag', local_conf['tag'])], exc_info)
            return app(environ, start)
        return tagged
    return wrap
";
const BROKEN: &str = "import a_module_that_nobody_has\n";

/// A kind of request that goes on all the time, and what it must be answered.
#[derive(Clone)]
struct Ask {
    method: &'static str,
    path: &'static str,
    token: Option<String>,
    body: &'static [u8],
    status: u16,
    word: &'static str,
}

/// Requests beside the edits, one kept connection for each kind.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(u64, Vec<String>)>>,
}

impl Load {
    fn start(address: SocketAddr, token: &str) -> Self {
        let ask = |method, path, token: Option<&str>, body, status, word| Ask {
            method,
            path,
            token: token.map(str::to_owned),
            body,
            status,
            word,
        };
        let asked = [
            ask("GET", "/", None, b"".as_slice(), 200, "CURRENT"),
            ask("GET", "/v2.1", None, b"", 200, "min_version"),
            ask("GET", "/v2.1/flavors", None, b"", 401, "requires authentication"),
            ask("GET", "/v2.1/flavors", Some(token), b"", 200, "m1.tiny"),
            ask("GET", "/v2.1/servers/detail", Some(token), b"", 200, "vm-0"),
            ask("POST", "/v2.1/os-keypairs", Some(token), br#"{"keypair": {}}"#, 400, "'name' is a required property"),
        ];
        let stop = Arc::new(AtomicBool::new(false));
        let threads = asked.map(|ask| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || run(address, &ask, &stop))
        });
        Self { stop, threads: threads.into() }
    }

    /// How many were served, and what failed.
    fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let reports = self.threads.into_iter().map(|thread| thread.join().expect("a client does not panic"));
        reports.fold((0, Vec::new()), |(served, failed), (more, worse)| (served + more, [failed, worse].concat()))
    }
}

fn run(address: SocketAddr, ask: &Ask, stop: &AtomicBool) -> (u64, Vec<String>) {
    let (mut served, mut failed, mut kept) = (0, Vec::new(), None);
    while !stop.load(Ordering::Relaxed) {
        let answer = kept.take().map_or_else(|| Client::connect(address), Ok).and_then(|mut client: Client| {
            let token = ask.token.as_deref().map(|token| ("X-Auth-Token", token));
            let headers: Vec<_> = token.into_iter().chain([("Content-Type", "application/json")]).collect();
            let headers = if ask.body.is_empty() { &headers[..headers.len() - 1] } else { &headers[..] };
            client.request(ask.method, ask.path, headers, ask.body).map(|answer| (client, answer))
        });
        match answer {
            Ok((client, answer)) if answer.status == ask.status && answer.text().contains(ask.word) => {
                served += 1;
                kept = (!answer.closes()).then_some(client);
            }
            Ok((_, answer)) => failed.push(format!("{} {}: {} {}", ask.method, ask.path, answer.line, answer.text())),
            Err(error) => failed.push(format!("{} {}: {error}", ask.method, ask.path)),
        }
        // Some dozens a second: the edits shall have a processor too.
        std::thread::sleep(Duration::from_millis(20));
    }
    (served, failed)
}

/// Puts the files of the front's Nova beside the front, where they may be edited, and its Python filters.
pub fn prepare(stack: &Stack, directory: &Path) {
    let conf = std::fs::read_to_string(stack.text("/nova/conf")).expect("nova.conf");
    let paste = directory.join("api-paste.ini");
    let here = paste.display().to_string();
    std::fs::write(directory.join("nova.conf"), conf.replace(stack.text("/nova/paste"), &here)).expect("nova.conf");
    std::fs::copy(stack.text("/nova/paste"), paste).expect("api-paste.ini");
    for (name, text) in [("tag", TAG), ("broken", BROKEN)] {
        std::fs::write(directory.join(format!("storm_{name}.py")), text).expect("a module");
    }
}

/// Edits everything there is, under load.
#[track_caller]
pub fn rage(front: &Front, stack: &Stack) {
    let address = answering(front).compute;
    let token = stack.token("demo", project("demo"));
    let (begun, workers) = (Instant::now(), front.workers());
    let load = Load::start(address, &token);
    let get = |path: &str, headers: &[(&str, &str)]| -> Option<Answer> {
        Client::connect(address).and_then(|mut client| client.get(path, headers)).ok()
    };
    let flavors = |headers: &[(&str, &str)]| get("/v2.1/flavors", &[&[("X-Auth-Token", &*token)], headers].concat());
    let tagged = |tag: Option<&str>| flavors(&[]).filter(|answer| answer.header("X-Tag") == tag).map(drop);

    front.edit_conf(|conf| conf + "[cors]\nallowed_origin = http://one.example\n");
    comes("cors", || {
        let answer = get("/", &[("Origin", "http://one.example")])?;
        (answer.header("Access-Control-Allow-Origin") == Some("http://one.example")).then_some(())
    });

    front.edit_conf(|conf| conf + "[oslo_middleware]\nmax_request_body_size = 2000\n");
    comes("sizelimit", || {
        let answer =
            Client::connect(address).and_then(|mut client| client.request("POST", "/v2.1/x", &[], &[b' '; 3000]));
        answer.ok().filter(|answer| answer.status == 413).map(drop)
    });

    let realm = "www_authenticate_uri = http://storm.example";
    let stated = format!("www_authenticate_uri = {}", stack.text("/keystone/url"));
    front.edit_conf(|conf| conf.replace(&stated, realm));
    comes("authtoken", || {
        let answer = get("/v2.1/flavors", &[])?;
        answer.header("WWW-Authenticate").filter(|said| said.contains("http://storm.example")).map(drop)
    });

    assert_eq!(front.workers(), workers, "what filters of the front read costs no worker its life");
    front.edit(Save::InPieces, |paste| with_filter(&paste, "storm_tag", "one"));
    comes("a Python filter", || tagged(Some("one")));

    // The app's own option, and nothing of the front's.
    front.edit_conf(|conf| conf + "[api]\nmax_limit = 2\n");
    comes("nova.conf", || {
        let answer = flavors(&[])?;
        (answer.json()["flavors"].as_array()?.len() == 2 && answer.header("X-Tag") == Some("one")).then_some(())
    });

    let limits = |status| get("/v2.1/limits", &[("X-Auth-Token", &token)]).filter(|it| it.status == status).map(drop);
    assert!(limits(200).is_some(), "nothing forbids it yet");
    let policy = front.directory().join("policy.yaml");
    Save::Rename.save(&policy, "\"os_compute_api:limits\": \"!\"\n").expect("saved");
    comes("a policy", || limits(403));
    std::fs::remove_file(policy).expect("it was there");
    comes("no policy", || limits(200));

    let (generation, rejected) = (front.generation(), rejections(front));
    front.edit(Save::Rename, |paste| paste.replace("storm_tag:factory", "storm_broken:factory"));
    comes("the refusal", || (rejections(front) > rejected).then_some(()));
    assert_eq!(front.generation(), generation, "the broken filter changed nothing");
    assert!(tagged(Some("one")).is_some(), "the old generation serves on");

    let whole = std::fs::read_to_string(stack.text("/nova/paste")).expect("api-paste.ini");
    front.edit(Save::Symlink, |_| whole);
    comes("no Python filter", || tagged(None));

    let (served, failed) = load.stop();
    eprintln!("nova: a storm of {:.0?}, {served} requests", begun.elapsed());
    assert!(failed.is_empty(), "{} of {served} failed\n{}", failed.len(), failed.join("\n"));
    assert!(served > 500, "{served}");
}

/// With one more filter before the app, in all pipelines that have it.
fn with_filter(paste: &str, module: &str, tag: &str) -> String {
    let before = paste.replace("keystonecontext osapi_compute_app_v21", "keystonecontext storm osapi_compute_app_v21");
    format!("{before}\n[filter:storm]\npaste.filter_factory = {module}:factory\ntag = {tag}\n")
}

#[track_caller]
fn rejections(front: &Front) -> f64 {
    front.metric("pasteway_config_reloads_total", &[("outcome", "rejected")])
}

/// Waits for what an edit must bring: new workers may be a start of Nova's away.
#[track_caller]
fn comes(what: &str, mut look: impl FnMut() -> Option<()>) {
    let begun = Instant::now();
    while look().is_none() {
        assert!(begun.elapsed() < START, "after {START:?} still not: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("nova: {what} after {:.1?}", begun.elapsed());
}
