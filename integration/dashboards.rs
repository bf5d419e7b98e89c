//! dashboards/: every expression asks for a metric that a running front shows.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;
use serde_json::Value;

use crate::support::traffic::{Style, Traffic};
use crate::support::{Front, Layout, eventually};

/// The texts under `expr` anywhere in a dashboard.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "expr" => found.push(text.clone()),
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn every_expression_names_a_metric_that_exists() {
    let front = Front::start(&Layout::havana());
    let traffic = Traffic::start(front.address("osapi_compute"), &[Style { method: "GET", fresh: false }]);
    eventually("traffic", || (traffic.served() > 10).then_some(()));
    traffic.stop();
    // Without a token, noauth answers by itself: filters that did so are shown from then on.
    assert_eq!(front.client().get("/v2/t1/servers", &[]).expect("an answer").status, 204);
    let shown: BTreeSet<String> = front
        .admin("/metrics")
        .text()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned()))
        .collect();
    let exists = |name: &str| {
        let bare = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        shown.contains(name) || bare.is_some_and(|bare| shown.contains(bare))
    };
    let word = Regex::new(r"\bpasteway_[a-z0-9_]+\b").expect("a regex");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let mut checked = 0;
    for entry in std::fs::read_dir(&directory).expect("dashboards/") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a dashboard");
        let mut found = Vec::new();
        expressions(&serde_json::from_str(&text).expect("JSON"), &mut found);
        for expression in found {
            let names: Vec<&str> = word.find_iter(&expression).map(|name| name.as_str()).collect();
            assert!(!names.is_empty(), "{}: `{expression}` names no metric", path.display());
            for name in names {
                assert!(exists(name), "{}: `{expression}`: no metric {name}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 0, "no expression in {}", directory.display());
}
