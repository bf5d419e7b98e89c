//! Real paste files: which pipeline serves under which auth strategy, and what the worker gets of it.
//!
//! The stand-in worker paints a picture of each request and names the sections that it stands in for.

use crate::support::recording::{Exchange, comparable, exchanges};
use crate::support::{Answer, Client, Front, Layout, eventually};

/// The sections that the stand-in says that it stands in for, outermost first, without `filter:` and `app:`.
#[track_caller]
fn stands_in_for(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let picture = answer.json();
    assert!(picture["pasteway"].as_str().is_some_and(|text| text.contains("stand-in")), "{picture}");
    let contexts = picture["stands_in_for"].as_array().unwrap_or_else(|| panic!("nothing stood in for: {picture}"));
    contexts
        .iter()
        .map(|context| {
            let section = context["section"].as_str().expect("a section");
            section.rsplit_once(':').map_or(section, |(_, name)| name).to_owned()
        })
        .collect()
}

#[test]
fn noauth_without_a_token_gets_one_from_the_front() {
    let front = Front::start(&Layout::havana());
    let headers = [("X-Auth-User", "u1"), ("X-Auth-Project-Id", "p1")];
    let answer = front.client().get("/v2", &headers).expect("an answer");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("x-auth-token"), Some("u1:p1"));
    assert_eq!(answer.header("x-server-management-url"), Some("http://127.0.0.1:8774/v2/p1"));
    assert_eq!(front.metric("pasteway_worker_requests_total", &[("api", "osapi_compute")]), 0.0);
}

#[test]
fn the_worker_gets_the_rest_of_the_noauth_pipeline_under_the_mounted_path() {
    let front = Front::start(&Layout::havana());
    let v2 = ["faultwrap", "noauth", "osapi_compute_app_v2"];
    let v3 = ["faultwrap", "noauth_v3", "osapi_compute_app_v3"];
    for (prefix, rest) in [("/v2", v2), ("/v1.1", v2), ("/v3", v3)] {
        let answer = front.get(&format!("{prefix}/t1/servers/a%20b?limit=1"));
        assert_eq!(stands_in_for(&answer), rest);
        let picture = answer.json();
        assert_eq!(picture["SCRIPT_NAME"], prefix);
        assert_eq!(picture["PATH_INFO"], "/t1/servers/a b");
        assert_eq!(picture["QUERY_STRING"], "limit=1");
        assert_eq!(picture["method"], "GET");
        assert_eq!(picture["api"], "osapi_compute");
        assert_eq!(picture["generation"], 1);
    }
}

#[test]
fn nobody_passes_the_keystone_pipelines_without_a_token() {
    for limits in ["false", "true"] {
        let limits = format!("api_rate_limit = {limits}");
        let front = Front::start(&Layout::havana().default("auth_strategy = keystone").default(&limits));
        for path in ["/v2/t1/servers", "/v3/servers"] {
            let answer = front.client().get(path, &[]).expect("an answer");
            assert_eq!((answer.status, answer.text().as_str()), (401, "Authentication required"));
            assert_eq!(answer.header("content-type"), Some("text/plain"));
            assert!(answer.header("www-authenticate").is_some_and(|to| to.starts_with("Keystone uri='")));
        }
    }
}

#[test]
fn a_current_nova_has_its_api_behind_a_slash_and_request_ids_on_every_answer() {
    let front = Front::start(&Layout::current());
    let answer = front.get("/v2.1/servers");
    assert_eq!(stands_in_for(&answer), ["faultwrap", "noauth2", "osapi_compute_app_v21"]);
    assert_eq!(answer.json()["SCRIPT_NAME"], "/v2.1");
    assert_eq!(answer.json()["PATH_INFO"], "/servers");
    let id = answer.header("x-openstack-request-id").expect("an id");
    assert!(id.starts_with("req-") && id.len() == 40, "{id}");
    assert_eq!(answer.header("x-compute-request-id"), Some(id));
    let legacy = front.get("/v2/servers");
    let rest = ["faultwrap", "noauth2", "osapi_compute_app_v21"];
    assert_eq!(stands_in_for(&legacy), rest);
}

#[test]
fn a_request_id_of_the_client_travels_as_the_global_one() {
    let front = Front::start(&Layout::current());
    let global = "req-00000000-1111-2222-3333-444444444444";
    let answer = front
        .client()
        .get("/v2.1/servers", &[("X-Auth-Token", "u1:t1"), ("X-Openstack-Request-Id", global)])
        .expect("an answer");
    assert_eq!(answer.json()["environ"]["openstack.global_request_id"], global);
    assert_ne!(answer.header("x-openstack-request-id"), Some(global));
}

#[test]
fn identity_headers_of_the_client_do_not_reach_an_api_with_an_auth_filter() {
    // Without a token, and with the decision left to those behind it, the request gets past authtoken. The context filter
    // lets in whoever has a user's id.
    let delay = "[keystone_authtoken]\ndelay_auth_decision = true";
    let front = Front::start(&Layout::havana().default("auth_strategy = keystone").group(delay));
    let spoofed = [
        ("X-User-Id", "spoofed"),
        ("X-Roles", "spoofed"),
        ("X-Tenant-Id", "spoofed"),
        ("X-Identity-Status", "spoofed"),
        ("X-Service-Catalog", "spoofed"),
        ("X_User", "spoofed"),
        ("OpenStack-System-Scope", "spoofed"),
    ];
    let answer = front.client().get("/v2/t1/servers", &spoofed).expect("an answer");
    assert_eq!(answer.status, 401, "{}", answer.text());
}

#[test]
fn a_body_over_the_limit_is_refused_in_the_words_of_the_original() {
    let front = Front::start(&Layout::havana());
    let limit = 114_688;
    let exactly = front.post("/v2/t1/servers", &vec![b'x'; limit]);
    assert_eq!(exactly.status, 200, "{}", exactly.text());
    let headers = [("X-Auth-Token", "u1:t1"), ("Accept", "text/plain")];
    let over = front.client().request("POST", "/v2/t1/servers", &headers, &vec![b'x'; limit + 1]).expect("an answer");
    assert_eq!(over.status, 413);
    assert!(over.text().contains("Request is too large."), "{}", over.text());
}

/// Asks what the original was asked, and wants what it answered.
#[track_caller]
fn replay(exchanges: &[Exchange], layout: &Layout) {
    assert!(exchanges.len() > 10, "{}", exchanges.len());
    let front = Front::start(layout);
    for exchange in exchanges {
        let mut client = front.client();
        client.send(&exchange.request).expect("sent");
        let answer = client.answer(exchange.method()).expect("an answer");
        assert_eq!((answer.status, answer.text()), (exchange.status, exchange.body.clone()), "{}", exchange.name);
        assert_eq!(comparable(&answer.headers), comparable(&exchange.headers), "{}", exchange.name);
    }
}

#[test]
fn a_user_who_asks_too_often_is_refused_by_the_front_and_others_are_not() {
    let front = Front::start(&Layout::compute(&Layout::havana().paste().replace(
        "compute.limits:RateLimitingMiddleware.factory",
        "compute.limits:RateLimitingMiddleware.factory\nlimits = (POST, *, .*, 2, HOUR)",
    )));
    let post = |token| {
        let headers = [("X-Auth-Token", token), ("Accept", "application/json")];
        front.client().request("POST", "/v2/t1/servers", &headers, b"{}").expect("an answer")
    };
    let first = post("u1:t1");
    assert_eq!(first.json()["environ"]["nova.limits"][0]["remaining"], 1, "{}", first.text());
    assert_eq!((post("u1:t1").status, post("u1:t2").status, post("u2:t1").status), (200, 429, 200));
    assert_eq!(post("u1:t1").header("retry-after"), Some("1800"));
    // An edit elsewhere resets nobody's limit.
    front.edit_conf(|text| text.replace("verbose = true\n", "verbose = true\nosapi_max_request_body_size = 5000\n"));
    eventually("the edit is applied", || (front.generation() == 2).then_some(()));
    assert_eq!(post("u1:t1").status, 429);
    assert_eq!(front.metric("pasteway_ratelimit_rejected_total", &[("filter", "ratelimit")]), 3.0);
}

#[test]
fn the_metadata_app_has_a_front_half_and_the_rest_is_the_workers() {
    let layout = Layout::current().group("[neutron]\nservice_metadata_proxy = true\nmetadata_proxy_shared_secret = s");
    let front = Front::start(&layout);
    let mut client = Client::connect(front.address("metadata")).expect("a connection");
    let mut get = |path: &str, headers: &[(&str, &str)]| client.get(path, headers).expect("an answer");
    let list = get("/", &[]);
    assert_eq!((list.status, list.text().lines().last()), (200, Some("latest")));
    assert_eq!(get("/latest", &[]).status, 400);
    let mut headers = vec![("X-Instance-ID", "i1"), ("X-Tenant-ID", "t1"), ("X-Instance-ID-Signature", "wrong")];
    assert_eq!(get("/latest", &headers).status, 403);
    headers[2].1 = "a0c5c13fc587fde849db14851cd6f99582ff71a8b63fb9eb67232e6eca213903";
    assert_eq!(stands_in_for(&get("/latest", &headers)), ["metaapp"]);
}

#[test]
fn havana_version_documents_are_those_of_the_original() {
    // `version 2` chooses the API proper by media type: no version document.
    let wanted = |name: &str| {
        let root = name.starts_with("root") && !name.contains("version 2");
        root || name.starts_with("choices") || matches!(name, "v1.0" | "http/1.0")
    };
    let exchanges = exchanges(include_str!("golden/havana/noauth.txt"), wanted);
    replay(&exchanges, &Layout::havana().group("[osapi_v3]\nenabled = true"));
}

#[test]
fn current_version_documents_are_those_of_the_original() {
    let wanted = |name: &str| {
        let version = name.starts_with("v2") && !name.contains("/x");
        version || name.starts_with("root") || name.starts_with("foo")
    };
    let exchanges = exchanges(include_str!("golden/nova31/keystone-v3.txt"), wanted);
    replay(&exchanges, &Layout::current());
}

#[test]
fn a_path_that_is_not_mounted_is_not_found() {
    let front = Front::start(&Layout::bare());
    assert_eq!(front.get("/v9/servers").status, 404);
    assert_eq!(front.get("/v2x").status, 404);
}
