//! The routes with a daemon of the test's own behind them, without sockets.

use http::header::{ALLOW, HOST};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tower::ServiceExt;

use super::*;
use crate::admin::Token;
use crate::command::{Event, NoSuchWorker, NotOnTrial, RestartReport, TrialReport, UpgradeReport};
use crate::id::Generation;
use crate::message::{Diagnostic, Place};

/// What the test's daemon says of itself.
#[derive(Clone, Default)]
struct Daemon {
    not_ready: Vec<String>,
    outcome: Option<Outcome>,
}

impl Daemon {
    fn answer(&self, command: Command) {
        match command {
            Command::Status(reply) => drop(reply.send(StatusReport {
                version: "1.2.3",
                pid: 7,
                uptime_seconds: 1.5,
                generation: Generation(7),
                not_ready: self.not_ready.clone(),
                not_live: Vec::new(),
                apis: Vec::new(),
                config_file_differs: false,
                config_file_differs_because: None,
                trial: None,
                in_flight: 0,
                connections: 0,
                last_reload: None,
                last_upgrade: None,
                predecessor: None,
                state: "serving",
            })),
            Command::Tree(reply) => drop(reply.send(json!({ "tree": 1 }))),
            Command::Config(reply) => drop(reply.send(json!({ "config": 1 }))),
            Command::Workers(reply) => drop(reply.send(Vec::new())),
            Command::Generations(reply) => drop(reply.send(Vec::new())),
            Command::Generation { reply, .. } => drop(reply.send(None)),
            Command::File { generation, path, reply } => {
                drop(reply.send((generation == 3 && path == "/etc/a b.ini").then(|| "text".into())));
            }
            Command::Reload { peer, dry_run, reply, source, terms } => {
                let on_trial = |time: Duration| (time.as_secs(), terms.canary);
                assert_eq!(source, Source::Admin);
                assert_eq!(peer.as_deref(), Some("127.0.0.1:40000"));
                let place = Place { file: "api-paste.ini".into(), line: 31, column: 12 };
                drop(reply.send(ReloadReport {
                    outcome: self.outcome.unwrap(),
                    generation: Generation(7),
                    previous: Generation(6),
                    took_ms: 12,
                    dry_run,
                    reason: None,
                    changes: Vec::new(),
                    extra_memory_bytes: None,
                    diagnostics: vec![Diagnostic::error(place, "filter `a` is not defined")],
                    trial: terms.confirm.map(on_trial).map(|(seconds, canary)| TrialReport {
                        generation: 7,
                        back: 6,
                        confirm_seconds: Some(seconds),
                        canary: canary.map(|percent| percent.to_string()),
                        cannot_go_back: None,
                    }),
                }));
            }
            Command::Rollback { generation, peer, reply } => {
                assert_eq!(peer.as_deref(), Some("127.0.0.1:40000"));
                drop(reply.send(ReloadReport {
                    outcome: Outcome::Applied,
                    generation: Generation(8),
                    previous: Generation(generation.unwrap_or(6)),
                    took_ms: 1,
                    dry_run: false,
                    reason: None,
                    changes: Vec::new(),
                    extra_memory_bytes: None,
                    diagnostics: Vec::new(),
                    trial: None,
                }));
            }
            Command::Confirm { generation, reply, .. } => {
                let other = generation.map_or_else(|| "nothing".to_owned(), |number| number.to_string());
                drop(reply.send(Err(NotOnTrial(other))));
            }
            Command::Restart { api, slot, reply, .. } => drop(reply.send(match api.as_str() {
                "ec2" => Ok(RestartReport { api, restarted: slot.into_iter().collect(), failed: Vec::new() }),
                _ => Err(NoSuchWorker(format!("`{api}` is no enabled API"))),
            })),
            Command::Upgrade { reply, .. } => drop(reply.send(UpgradeReport {
                outcome: match self.outcome {
                    Some(Outcome::Applied) => UpgradeOutcome::Upgraded,
                    Some(_) => UpgradeOutcome::Failed,
                    None => UpgradeOutcome::Refused,
                },
                pid: 8,
                version: "1.2.4".into(),
                previous_pid: 7,
                previous_version: "1.2.3".into(),
                when: 0.0,
                took_ms: 1,
                reason: None,
            })),
            Command::Drain { reply, .. } => self.answer(Command::Status(reply)),
            Command::Events(reply) => {
                let (sender, receiver) = mpsc::channel(1);
                sender.try_send(Event { kind: "ping", data: "{}".into() }).unwrap();
                drop(reply.send(Some(receiver)));
            }
        }
    }
}

/// Status, body and the named header of the answer to one request from this machine.
async fn ask_with(daemon: Daemon, token: Option<Token>, request: http::request::Builder, body: Body) -> Response {
    let (commands, mut inbox) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(command) = inbox.recv().await {
            daemon.answer(command);
        }
    });
    let access = Access { token: watch::channel(token).1, key: Token::new("k3y"), host_names: Vec::new() };
    let app = App { commands, metrics: Arc::new(|| "pasteway_config_generation 7\n".into()), access, user: 1000 };
    let peer = Peer::Tcp { remote: "127.0.0.1:40000".parse().unwrap(), local: "127.0.0.1:9774".parse().unwrap() };
    let request = request.header(HOST, "localhost").extension(peer).body(body).unwrap();
    router(app).oneshot(request).await.unwrap()
}

async fn ask(daemon: Daemon, method: &str, path: &str) -> Response {
    ask_with(daemon, None, Request::builder().method(method).uri(path), Body::empty()).await
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&to_bytes(response.into_body(), BODY_LIMIT).await.unwrap()).unwrap()
}

#[tokio::test]
async fn every_reader_answers_and_none_may_be_stored() {
    for path in
        ["/", "/page.js", "/metrics", "/live", "/ready", "/status", "/tree", "/config", "/workers", "/generations"]
    {
        let response = ask(Daemon::default(), "GET", path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store", "{path}");
        let post = ask(Daemon::default(), "POST", path).await;
        assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
}

#[tokio::test]
async fn get_on_what_changes_something_is_405() {
    let response = ask(Daemon::default(), "GET", "/reload").await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[ALLOW], "POST");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
}

#[tokio::test]
async fn a_rejected_reload_is_422_with_the_diagnostics_and_the_others_are_200() {
    for (outcome, status, word) in [
        (Outcome::Applied, 200, "applied"),
        (Outcome::Unchanged, 200, "unchanged"),
        (Outcome::Rejected, 422, "rejected"),
    ] {
        let daemon = Daemon { outcome: Some(outcome), ..Daemon::default() };
        let response = ask(daemon, "POST", "/reload").await;
        assert_eq!(response.status(), status);
        let report = json_of(response).await;
        assert_eq!(report["outcome"], word);
        assert_eq!(report["generation"], 7);
        assert_eq!(report["diagnostics"][0]["file"], "api-paste.ini");
        assert_eq!(report["diagnostics"][0]["line"], 31);
        assert_eq!(report.get("dry_run"), None);
    }
}

#[tokio::test]
async fn a_dry_run_reaches_the_daemon_and_an_unknown_wish_does_not() {
    let daemon = Daemon { outcome: Some(Outcome::Applied), ..Daemon::default() };
    let report = json_of(ask(daemon.clone(), "POST", "/reload?dry_run=true").await).await;
    assert_eq!(report["dry_run"], true);
    for wish in ["dry_run=maybe", "confirm=soon", "cofirm=30", "canary=101", "canary=-1"] {
        let response = ask(daemon.clone(), "POST", &format!("/reload?{wish}")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{wish}");
    }
}

#[tokio::test]
async fn not_ready_is_503_with_the_reasons() {
    let daemon = Daemon { not_ready: vec!["ec2 has no serving worker".into()], ..Daemon::default() };
    assert_eq!(ask(daemon.clone(), "GET", "/live").await.status(), StatusCode::OK);
    let response = ask(daemon, "GET", "/ready").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(json_of(response).await, json!({ "ready": false, "reasons": ["ec2 has no serving worker"] }));
}

#[tokio::test]
async fn a_stopping_daemon_is_neither_live_nor_silent() {
    let (commands, inbox) = mpsc::channel(1);
    drop(inbox);
    let access = Access { token: watch::channel(None).1, key: None, host_names: Vec::new() };
    let router = router(App { commands, metrics: Arc::new(String::new), access, user: 0 });
    for path in ["/live", "/status"] {
        let peer = Peer::Unix { uid: 0, pid: None };
        let request = Request::get(path).header(HOST, "localhost").extension(peer).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
}

#[tokio::test]
async fn the_guard_stands_before_every_route() {
    let foreign = || Request::get("/status").header("origin", "http://evil.example");
    let response = ask_with(Daemon::default(), None, foreign(), Body::empty()).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let post = Request::post("/reload");
    let response = ask_with(Daemon::default(), Token::new("s3cret"), post, Body::empty()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
}

#[tokio::test]
async fn a_large_body_is_refused() {
    let body = Body::from(vec![b'x'; BODY_LIMIT + 1]);
    let response = ask_with(Daemon::default(), None, Request::post("/reload"), body).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_terms_of_a_trial_reach_the_daemon() {
    let daemon = Daemon { outcome: Some(Outcome::Applied), ..Daemon::default() };
    let report = json_of(ask(daemon, "POST", "/reload?confirm=30&canary=10").await).await;
    assert_eq!((&report["trial"]["confirm_seconds"], &report["trial"]["canary"]), (&json!(30), &json!("10")));
}

#[tokio::test]
async fn a_rollback_names_its_generation_in_the_body_or_means_the_one_before() {
    for (body, status, previous) in
        [("", 200, json!(6)), (r#"{"generation": 5}"#, 200, json!(5)), (r#"{"generatoin": 5}"#, 400, Value::Null)]
    {
        let response = ask_with(Daemon::default(), None, Request::post("/rollback"), body.into()).await;
        assert_eq!(response.status(), status, "{body}");
        assert_eq!(json_of(response).await["previous"], previous);
    }
}

#[tokio::test]
async fn a_confirmation_may_name_its_generation() {
    for (body, status, why) in [("", 409, "nothing"), (r#"{"generation": 5}"#, 409, "5")] {
        let response = ask_with(Daemon::default(), None, Request::post("/confirm"), body.into()).await;
        assert_eq!(response.status(), status, "{body}");
        assert_eq!(json_of(response).await["error"], why);
    }
    let wrong = ask_with(Daemon::default(), None, Request::post("/confirm"), "5".into()).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_stands_in_the_wrong_place_is_refused_with_the_right_one() {
    let daemon = Daemon { outcome: Some(Outcome::Applied), ..Daemon::default() };
    for (method, path, body, right) in [
        ("POST", "/rollback?generation=1", "", "{\"generation\": N}"),
        ("POST", "/confirm?generation=1", "", "{\"generation\": N}"),
        ("POST", "/reload", r#"{"canary": 10}"#, "?canary=PERCENT"),
        ("POST", "/workers/ec2/restart?slot=1", "", "no query"),
        ("POST", "/drain", r#"{"seconds": 1}"#, "no body"),
        ("POST", "/upgrade?dry_run=true", "", "no query"),
        ("GET", "/generations?generation=1", "", "no query"),
        ("GET", "/metrics?name=x", "", "no query"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let response = ask_with(daemon.clone(), None, request, body.into()).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{method} {path}");
        let said = json_of(response).await["error"].to_string().replace('\\', "");
        assert!(said.contains(right), "{method} {path}: {said}");
    }
    for (path, status) in [("/nowhere?a=b", 404), ("/upgrade?", 200)] {
        assert_eq!(ask(daemon.clone(), "POST", path).await.status(), status, "{path}");
    }
    let empty = ask_with(daemon, None, Request::post("/upgrade"), "{}".into()).await;
    assert_eq!(empty.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_file_of_a_generation_is_told_as_it_was_to_those_who_may_read_it() {
    let ask = async |path: &str, bearer: &str| {
        let request = Request::get(path).header("authorization", format!("Bearer {bearer}"));
        let response = ask_with(Daemon::default(), None, request, Body::empty()).await;
        (response.status().as_u16(), to_bytes(response.into_body(), BODY_LIMIT).await.unwrap())
    };
    assert_eq!(ask("/generations/3/file?path=/etc/a%20b.ini", "k3y").await, (200, "text".into()));
    assert_eq!(ask("/generations/3/file?path=/etc/a%20b.ini", "guess").await.0, 401);
    for (path, status) in [
        ("/generations/3/file?path=/etc/b.ini", 404),
        ("/generations/4/file?path=/etc/a%20b.ini", 404),
        ("/generations/x/file?path=/etc/b.ini", 404),
        ("/generations/3/file", 400),
        ("/generations/3/file?file=/etc/b.ini", 400),
        ("/generations/3", 404),
        ("/generations/x", 404),
    ] {
        assert_eq!(ask(path, "k3y").await.0, status, "{path}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    for (path, status) in [
        ("/confirm", 409),
        ("/workers/ec2/restart", 200),
        ("/workers/ec2/0/restart", 200),
        ("/workers/ec2/first/restart", 404),
        ("/workers/nova/restart", 404),
        ("/drain", 202),
    ] {
        assert_eq!(ask(Daemon::default(), "POST", path).await.status(), status, "{path}");
        assert_eq!(ask(Daemon::default(), "GET", path).await.status(), 405, "{path}");
    }
}

#[tokio::test]
async fn events_are_told_as_server_sent_events() {
    let response = ask(Daemon::default(), "GET", "/events").await;
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    let body = to_bytes(response.into_body(), BODY_LIMIT).await.unwrap();
    assert_eq!(&body[..], b"event: ping\ndata: {}\n\n");
}

#[tokio::test]
async fn the_status_of_an_upgrade_says_how_it_ended() {
    for (outcome, status) in [(Some(Outcome::Applied), 200), (Some(Outcome::Rejected), 422), (None, 409)] {
        let response = ask(Daemon { outcome, ..Daemon::default() }, "POST", "/upgrade").await;
        assert_eq!(response.status(), status);
        assert_eq!(json_of(response).await["previous_pid"], 7);
    }
    assert_eq!(ask(Daemon::default(), "GET", "/upgrade").await.status(), 405);
}
