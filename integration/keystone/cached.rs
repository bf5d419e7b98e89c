//! How often Keystone is asked, and for how long its word holds.
//!
//! Must not know how words are kept.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::stack::project;
use crate::stage::{authtoken, layout, stage};
use crate::support::{Front, eventually};

/// The status of a request with this token.
#[track_caller]
fn status(front: &Front, token: &str) -> u16 {
    front.client().get("/v2.1/flavors", &[("X-Auth-Token", token)]).expect("an answer").status
}

#[test]
fn a_known_token_is_asked_about_once() {
    let Some(stage) = stage() else { return };
    let gate = stage.gate();
    let front = Front::start(&layout(&authtoken(&gate, &[])));
    let token = stage.stack.token("demo", project("demo"));
    for _ in 0..20 {
        assert_eq!(status(&front, &token), 200);
    }
    assert_eq!(gate.asked_about(&token), 1);
    let logins = gate.calls().iter().filter(|call| call.line.starts_with("POST ")).count();
    assert_eq!(logins, 1, "{:#?}", gate.calls());
    assert_eq!(front.metric("pasteway_token_cache_total", &[("outcome", "hit")]), 19.0);
}

#[test]
fn an_unknown_token_is_asked_about_each_time() {
    let Some(stage) = stage() else { return };
    let gate = stage.gate();
    let front = Front::start(&layout(&authtoken(&gate, &[])));
    for _ in 0..3 {
        assert_eq!(status(&front, "gAAAAABnonsense"), 401);
    }
    assert_eq!(gate.asked_about("gAAAAABnonsense"), 3);
}

#[test]
fn many_who_ask_at_once_make_one_call() {
    const MANY: usize = 40;
    let Some(stage) = stage() else { return };
    let gate = stage.gate();
    let front = Front::start(&layout(&authtoken(&gate, &[])));
    // Everything but the token is known already.
    assert_eq!(status(&front, &stage.stack.token("reader", project("demo"))), 200);
    let token = stage.stack.token("demo", project("demo"));
    gate.hold();
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..MANY).map(|_| scope.spawn(|| status(&front, &token))).collect();
        eventually("all of them wait", || {
            (front.metric("pasteway_requests_in_flight", &[("api", "osapi_compute")]) == MANY as f64).then_some(())
        });
        gate.release();
        for one in asking {
            assert_eq!(one.join().expect("no panic"), 200);
        }
    });
    assert_eq!(gate.asked_about(&token), 1);
}

#[test]
fn a_revoked_token_holds_as_long_as_it_is_remembered() {
    let Some(stage) = stage() else { return };
    let long = Front::start(&layout(&authtoken(&stage.gate(), &[])));
    let short = Front::start(&layout(&authtoken(&stage.gate(), &["token_cache_time = 2"])));
    let never = Front::start(&layout(&authtoken(&stage.gate(), &["token_cache_time = -1"])));
    let token = stage.stack.token("demo", project("demo"));
    for front in [&long, &short, &never] {
        assert_eq!(status(front, &token), 200);
    }
    stage.stack.revoke(&token);
    assert_eq!(status(&never, &token), 401);
    eventually("the token is forgotten", || (status(&short, &token) == 401).then_some(()));
    assert_eq!(status(&long, &token), 200);
}

#[test]
fn a_token_that_expires_is_refused_at_once_unless_a_service_vouches_for_it() {
    const LIFETIME: Duration = Duration::from_secs(6);
    let Some(stage) = stage() else { return };
    let gate = stage.gate();
    let front = Front::start(&layout(&authtoken(&gate, &[])));
    let service = stage.stack.token("glance", project("service"));
    let short = stage.another_keystone(LIFETIME.as_secs() as u32);
    let begun = Instant::now();
    let token = stage.stack.token_at(short.address, "demo", project("demo"));
    assert_eq!(status(&front, &token), 200);
    assert_eq!(gate.asked_about(&token), 1);
    eventually("it expires", || (status(&front, &token) == 401).then_some(()));
    let lived = begun.elapsed();
    assert!(lived > LIFETIME - Duration::from_secs(2), "{lived:?}");
    assert!(lived < LIFETIME + Duration::from_secs(4), "{lived:?}");
    // Whoever remembers it lets a service use it; who does not asks, and says why.
    let both = [("X-Auth-Token", token.as_str()), ("X-Service-Token", service.as_str())];
    let other_gate = stage.gate();
    let other = Front::start(&layout(&authtoken(&other_gate, &[])));
    for front in [&front, &other] {
        let answer = front.client().get("/v2.1/flavors", &both).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        // That a service vouched for it once does not make it good by itself.
        assert_eq!(status(front, &token), 401);
    }
    let call = other_gate.calls().into_iter().find(|call| call.header("x-subject-token") == Some(&token));
    assert!(call.expect("Keystone is asked").line.contains("allow_expired=1"));
}

#[test]
fn a_reload_forgets_no_token_unless_it_is_about_keystone() {
    let Some(stage) = stage() else { return };
    let gate = stage.gate();
    let front = Front::start(&layout(&authtoken(&gate, &[])));
    let token = stage.stack.token("demo", project("demo"));
    assert_eq!(status(&front, &token), 200);
    front.edit_conf(|conf| conf + "[cors]\nallowed_origin = http://elsewhere.example\n");
    eventually("the reload", || (front.generation() == 2).then_some(()));
    assert_eq!(status(&front, &token), 200);
    assert_eq!(gate.asked_about(&token), 1);
}

#[test]
fn an_unscoped_token_and_secrets_show_nowhere() {
    let Some(stage) = stage() else { return };
    let front = Front::start(&layout(&authtoken(&stage.gate(), &[])));
    let token = stage.stack.token("demo", Value::Null);
    assert_eq!(status(&front, &token), 200);
    assert_eq!(status(&front, "a-secret-token"), 401);
    for path in ["/config", "/metrics", "/status", "/workers", "/tree"] {
        let text = front.admin(path).text();
        for secret in [token.as_str(), "nova-pw", "a-secret-token"] {
            assert!(!text.contains(secret), "{secret} in {path}");
        }
    }
    let log = front.log().join("\n");
    assert!(!log.contains(&token) && !log.contains("nova-pw") && !log.contains("a-secret-token"), "{log}");
}
