//! The page as a scraper sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;

use super::*;

/// Series with their values, as `name{labels}` → number; fails on lines that no scraper would take.
fn scrape(metrics: &Metrics) -> BTreeMap<String, f64> {
    let mut series = BTreeMap::new();
    let mut family = String::new();
    let mut families = BTreeSet::new();
    for line in metrics.render().lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a help text");
            assert!(!text.is_empty() && families.insert(name.to_owned()), "{line}");
            name.clone_into(&mut family);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert!(name == family && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            assert!(name.starts_with(&family), "{line} under {family}");
            let value = value.parse().expect("a number");
            assert_eq!(series.insert(name.to_owned(), value), None, "{line}");
        }
    }
    series
}

fn api() -> ApiName {
    ApiName::from("osapi_compute")
}

fn slot() -> SlotId {
    SlotId { api: api(), index: 3 }
}

/// Metrics in which everything has happened at least once.
fn busy() -> Metrics {
    let metrics = Metrics::new();
    let block = metrics.thread().api(&api());
    block.connection_opened();
    block.started();
    block.filter("sizelimit").passed(Duration::from_micros(3));
    block.filter("sizelimit").replied(413);
    block.filter("ratelimit").replied(429);
    block.queued(Duration::from_millis(3));
    block.queue_rejected(QueueRejection::Full);
    block.upstream(Duration::from_millis(2));
    block.upstream_error(UpstreamError::Connect);
    block.retry();
    block.tunnel_ended(TunnelEnd::Timeout);
    block.finished(&Method::GET, 200, Duration::from_millis(7), 10, 20);
    block.connection_closed();
    metrics.worker_started(&api());
    metrics.worker_exited(&slot(), ExitReason::Signal, 5);
    metrics.keystone_request("authtoken", KeystoneOutcome::ALL[0], Duration::from_millis(9));
    metrics.drain_ended(&api());
    metrics.token_cache("authtoken").count(0);
    metrics.on_scrape(|gauges| {
        gauges.generations("live", 1);
        gauges.queue_length(&api(), 4);
        gauges.workers(&api(), "serving", 2);
    });
    metrics
}

#[test]
fn every_metric_is_shown_once_with_its_labels_and_a_prefix() {
    let metrics = busy();
    let page = metrics.render();
    let shown: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let named: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(named.len(), FAMILIES.len());
    assert_eq!(shown.iter().copied().collect::<BTreeSet<_>>(), named);
    assert_eq!(shown.len(), named.len());
    let series = scrape(&metrics);
    for family in FAMILIES {
        assert!(family.name.starts_with("pasteway_") || family.name.starts_with("process_"), "{}", family.name);
        let labels = series.keys().find_map(|key| {
            let rest = key.strip_prefix(family.name)?;
            (rest.is_empty() || rest.starts_with('{') || rest.starts_with("_sum")).then(|| rest.matches('=').count())
        });
        assert_eq!(labels, Some(family.labels.len()), "{}", family.name);
    }
}

#[test]
fn threads_are_summed() {
    let metrics = Metrics::new();
    let count = |requests: u64| {
        let thread = metrics.thread();
        for _ in 0..requests {
            let block = thread.api(&api());
            block.started();
            block.finished(&Method::POST, 202, Duration::from_millis(30), 100, 1);
        }
        thread.api(&api()).started();
        thread.api(&api()).filter("cors").passed(Duration::from_secs(11));
    };
    std::thread::scope(|scope| {
        scope.spawn(|| count(3));
        scope.spawn(|| count(4));
    });
    let series = scrape(&metrics);
    let api = r#"api="osapi_compute""#;
    for (name, want) in [
        (format!(r#"pasteway_requests_total{{{api},method="POST",code="202"}}"#), 7.0),
        (format!("pasteway_requests_in_flight{{{api}}}"), 2.0),
        (format!("pasteway_request_body_bytes_total{{{api}}}"), 700.0),
        (format!("pasteway_request_duration_seconds_count{{{api}}}"), 7.0),
        (format!(r#"pasteway_request_duration_seconds_bucket{{{api},le="0.025"}}"#), 0.0),
        (format!(r#"pasteway_request_duration_seconds_bucket{{{api},le="0.05"}}"#), 7.0),
        (format!(r#"pasteway_request_duration_seconds_bucket{{{api},le="+Inf"}}"#), 7.0),
        (format!(r#"pasteway_filter_duration_seconds_bucket{{{api},filter="cors",le="10"}}"#), 0.0),
        (format!(r#"pasteway_filter_duration_seconds_count{{{api},filter="cors"}}"#), 2.0),
        (format!(r#"pasteway_filter_duration_seconds_sum{{{api},filter="cors"}}"#), 22.0),
    ] {
        assert_eq!(series.get(&name), Some(&want), "{name}");
    }
    let sum = series.get(&format!("pasteway_request_duration_seconds_sum{{{api}}}")).expect("a sum");
    assert!((sum - 0.21).abs() < 1e-9);
}

#[test]
fn refusals_of_the_rate_limits_are_those_of_all_apis() {
    let metrics = Metrics::new();
    let thread = metrics.thread();
    for (api, filter) in [("osapi_compute", "ratelimit"), ("other", "ratelimit"), ("other", "sizelimit")] {
        thread.api(&ApiName::from(api)).filter(filter).replied(429);
    }
    thread.api(&api()).filter("ratelimit_v3");
    let series = scrape(&metrics);
    assert_eq!(series.get(r#"pasteway_ratelimit_rejected_total{filter="ratelimit"}"#), Some(&2.0));
    assert_eq!(series.get(r#"pasteway_ratelimit_rejected_total{filter="ratelimit_v3"}"#), Some(&0.0));
    assert!(!series.keys().any(|key| key.contains("rejected_total{filter=\"sizelimit\"}")));
}

#[test]
fn a_method_that_nobody_registered_is_other() {
    let metrics = Metrics::new();
    let method = Method::from_bytes(b"BREW").expect("a method");
    metrics.thread().api(&api()).finished(&method, 418, Duration::ZERO, 0, 0);
    let name = r#"pasteway_requests_total{api="osapi_compute",method="other",code="418"}"#;
    assert_eq!(scrape(&metrics).get(name), Some(&1.0));
}

#[test]
fn nothing_that_was_shown_vanishes() {
    let metrics = busy();
    let there = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&there);
    metrics.on_scrape(move |gauges| {
        if seen.load(Ordering::Relaxed) {
            let gone = ApiName::from("gone");
            gauges.workers(&gone, "serving", 1);
            gauges.queue_length(&gone, 1);
            gauges.generations("draining", 1);
            gauges.worker(&SlotId { api: gone, index: 0 }, 12, 3, 4096);
        }
    });
    let before = scrape(&metrics);
    there.store(false, Ordering::Relaxed);
    let after = scrape(&metrics);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let of = |series: &BTreeMap<String, f64>, name: &str| series.get(name).copied();
    let workers = r#"pasteway_workers{api="gone",state="serving"}"#;
    assert_eq!((of(&before, workers), of(&after, workers)), (Some(1.0), Some(0.0)));
    let requests = r#"pasteway_worker_requests_total{api="gone",slot="0"}"#;
    assert_eq!((of(&before, requests), of(&after, requests)), (Some(12.0), Some(12.0)));
}

#[test]
fn the_requests_of_a_slot_go_on_over_the_lives_of_its_workers() {
    let metrics = Metrics::new();
    let name = r#"pasteway_worker_requests_total{api="osapi_compute",slot="3"}"#;
    metrics.worker_exited(&slot(), ExitReason::Exit, 5);
    metrics.on_scrape(|gauges| {
        gauges.worker(&slot(), 2, 1, 10);
        gauges.worker(&slot(), 1, 0, 20);
    });
    let series = scrape(&metrics);
    assert_eq!(series.get(name), Some(&8.0));
    assert_eq!(series.get(r#"pasteway_worker_rss_bytes{api="osapi_compute",slot="3"}"#), Some(&30.0));
}

#[test]
fn a_rejected_reload_keeps_the_time_of_the_last_good_one() {
    let metrics = Metrics::new();
    let success = "pasteway_config_last_reload_success_timestamp_seconds";
    metrics.generation(Generation(7));
    metrics.reloaded(Outcome::Applied, Source::Start);
    metrics.phase(Phase::Prepare, Duration::from_millis(3));
    let good = scrape(&metrics);
    metrics.reloaded(Outcome::Rejected, Source::Watch);
    metrics.config_file_differs(true);
    let bad = scrape(&metrics);
    assert!(good.get(success).is_some_and(|when| *when > 0.0));
    assert_eq!(good.get(success), bad.get(success));
    for (name, was, is) in [
        ("pasteway_config_last_reload_successful", 1.0, 0.0),
        ("pasteway_config_file_differs", 0.0, 1.0),
        ("pasteway_config_generation", 7.0, 7.0),
        (r#"pasteway_config_reloads_total{outcome="applied",source="start"}"#, 1.0, 1.0),
        (r#"pasteway_config_reloads_total{outcome="rejected",source="watch"}"#, 0.0, 1.0),
        (r#"pasteway_config_reload_duration_seconds_count{phase="prepare"}"#, 1.0, 1.0),
    ] {
        assert_eq!((good.get(name), bad.get(name)), (Some(&was), Some(&is)), "{name}");
    }
}
