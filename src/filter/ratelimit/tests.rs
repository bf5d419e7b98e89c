use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};

use super::*;
use crate::filter::harness::{Case, build, built, text};

/// The limits of the recordings.
const RECORDED: &str = "(GET, */lim*, /v2/t1/lim, 2, MINUTE); (POST, *, .*, 3, SECOND)";

fn filter(limits: &str) -> Box<dyn Filter> {
    built(&FACTORY, Release::HAVANA, &[("limits", limits)], &[])
}

fn post(user: &str) -> Case {
    let mut case = Case::new("POST", "/t1/x").release(Release::HAVANA).header("host", "127.0.0.1:8774");
    case.cx.script_name = b"/v2".to_vec();
    case.cx.user_id = Some(user.parse().unwrap());
    case
}

/// `nova.limits`, with its times taken out when they are of the last minute.
fn limits(case: &Case) -> Value {
    let value = case.cx.environ.iter().find(|(key, _)| *key == "nova.limits").map(|(_, value)| value).expect("limits");
    let crate::filter::EnvironValue::Json(text) = value else { panic!("{value:?}") };
    let mut value: Value = serde_json::from_str(text).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for limit in value.as_array_mut().unwrap() {
        let time = limit.as_object_mut().unwrap().remove("resetTime").and_then(|time| time.as_u64()).unwrap();
        assert!((now - 60..=now).contains(&time), "{time}");
    }
    value
}

#[test]
fn the_recorded_refusal_is_ours() {
    let filter = filter(RECORDED);
    for remaining in [2, 1, 0] {
        let mut case = post("u1");
        assert!(case.enter(&*filter).is_none());
        assert_eq!(
            limits(&case),
            json!([
                {"URI": "*/lim*", "regex": "/v2/t1/lim", "remaining": 2, "unit": "MINUTE", "value": 2, "verb": "GET"},
                {"URI": "*", "regex": ".*", "remaining": remaining, "unit": "SECOND", "value": 3, "verb": "POST"}
            ])
        );
    }
    let response = post("u1").enter(&*filter).expect("a refusal");
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert_eq!(response.headers()[CONTENT_LENGTH], "160");
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json; charset=UTF-8");
    assert_eq!(
        text(response),
        r#"{"overLimit": {"message": "This request was rate-limited.", "code": 429, "retryAfter": "1", "details": "Only 3 POST request(s) can be made to * every second."}}"#
    );
    assert!(post("u2").enter(&*filter).is_none());
}

#[test]
fn an_xml_client_gets_xml() {
    let filter = filter("(POST, *, .*, 2, HOUR)");
    let mut answers = (0..3).map(|_| post("u1").header("accept", "application/xml").enter(&*filter));
    assert!(answers.next().unwrap().is_none() && answers.next().unwrap().is_none());
    let response = answers.next().unwrap().expect("a refusal");
    assert_eq!(response.headers()[CONTENT_TYPE], "application/xml; charset=UTF-8");
    assert_eq!(
        text(response),
        "<overLimit code=\"429\" retryAfter=\"1800\" xmlns=\"http://docs.openstack.org/compute/api/v1.1\">\
         <message>This request was rate-limited.</message>\
         <details>Only 2 POST request(s) can be made to * every hour.</details></overLimit>"
    );
}

#[test]
fn the_pattern_is_held_against_the_whole_url() {
    let filter = filter("(POST, *, ^/t1, 1, DAY); (POST, *, .*:8774/v2/t1/x$, 1, DAY)");
    assert!(post("u1").enter(&*filter).is_none());
    assert_eq!(post("u1").enter(&*filter).expect("a refusal").status(), 429);
    let mut other = post("u1");
    other.cx.path_info = b"/t1/y".to_vec();
    assert!(other.enter(&*filter).is_none());
}

#[test]
fn a_user_may_have_limits_of_its_own_or_none() {
    let local = [("limits", "(POST, *, .*, 1, DAY)"), ("limits.big", "(POST, *, .*, 2, DAY)"), ("limits.free", "")];
    let filter = built(&FACTORY, Release::HAVANA, &local, &[]);
    let taken = |user| (0..5).filter(|_| post(user).enter(&*filter).is_none()).count();
    assert_eq!((taken("u1"), taken("big"), taken("free")), (1, 2, 5));
    let mut case = post("free");
    assert!(case.enter(&*filter).is_none());
    assert_eq!(limits(&case), json!([]));
}

#[test]
fn each_version_has_its_own_defaults() {
    let taken = |factory| {
        let filter = built(factory, Release::HAVANA, &[("limits", " ")], &[]);
        (0..200).filter(|_| post("u1").enter(&*filter).is_none()).count()
    };
    assert_eq!((taken(&FACTORY), taken(&V3_FACTORY)), (120, 10));
}

#[test]
fn mistakes_are_reported_and_what_is_pythons_is_left_to_it() {
    let built = |local: &[(&str, &str)]| build(&FACTORY, Release::HAVANA, local, &[]);
    for local in [("limits", "(GET, *, .*, 0, DAY)"), ("limits.u1", "(GET, *, .*, 0, DAY)")] {
        let (filter, left, findings) = built(&[local]);
        assert!(filter.is_none() && left.is_none());
        assert_eq!(findings[0].message, "Limit value must be > 0");
    }
    for local in [("limiter", "my.Limiter"), ("limits", "(GET, *, (?x) a, 1, DAY)")] {
        let (filter, left, findings) = built(&[local]);
        assert!(filter.is_none() && left.is_some() && findings.is_empty(), "{local:?}");
    }
    let (filter, _, findings) = built(&[("limiter", "nova.api.openstack.compute.limits.Limiter"), ("limit", "x")]);
    assert!(filter.is_some());
    assert_eq!(findings[0].message, "[filter:tested] has no option `limit`");
}
