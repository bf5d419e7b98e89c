//! Sums the blocks of all threads and shows them per API.
//!
//! Must not know who counts.

use std::collections::BTreeMap;

use super::block::{ApiCells, METHODS};
use super::cell::DurationsSum;
use super::families::{
    CONNECTIONS, CONNECTIONS_TOTAL, FILTER_DURATION, FILTER_REPLIES, Family, QUEUE_DURATION, QUEUE_REJECTED,
    RATELIMIT_REJECTED, REQUEST_BODY_BYTES, REQUEST_DURATION, REQUESTS, REQUESTS_IN_FLIGHT, RESPONSE_BODY_BYTES,
    TUNNELS_ENDED, UPSTREAM_DURATION, UPSTREAM_ERRORS, UPSTREAM_RETRIES,
};
use super::page::Page;
use super::words::{QueueRejection, TunnelEnd, UpstreamError};

/// What all threads counted for one API.
#[derive(Default)]
pub(super) struct ApiSum {
    /// By method and code.
    requests: BTreeMap<(&'static str, Option<u16>), u64>,
    in_flight: u64,
    duration: DurationsSum,
    request_bytes: u64,
    response_bytes: u64,
    connections: u64,
    opened: u64,
    upstream: DurationsSum,
    upstream_errors: [u64; UpstreamError::ALL.len()],
    retries: u64,
    queued: DurationsSum,
    rejected: [u64; QueueRejection::ALL.len()],
    tunnels_ended: [u64; TunnelEnd::ALL.len()],
    filters: BTreeMap<String, FilterSum>,
}

#[derive(Default)]
struct FilterSum {
    duration: DurationsSum,
    replies: BTreeMap<Option<u16>, u64>,
}

impl ApiSum {
    /// Adds one thread's block.
    pub(super) fn add(&mut self, cells: &ApiCells) {
        for (method, codes) in METHODS.iter().zip(&cells.requests) {
            for (code, n) in codes.seen() {
                *self.requests.entry((method, code)).or_default() += n;
            }
        }
        // The end is read first: a request that begins in between must not make a gauge negative.
        let (finished, closed) = (cells.finished.get(), cells.closed.get());
        let opened = cells.opened.get();
        self.in_flight += cells.started.get().saturating_sub(finished);
        self.connections += opened.saturating_sub(closed);
        self.opened += opened;
        cells.duration.add_to(&mut self.duration);
        self.request_bytes += cells.request_bytes.get();
        self.response_bytes += cells.response_bytes.get();
        cells.upstream.add_to(&mut self.upstream);
        for (sum, count) in self.upstream_errors.iter_mut().zip(&cells.upstream_errors) {
            *sum += count.get();
        }
        self.retries += cells.retries.get();
        cells.queued.add_to(&mut self.queued);
        for (sum, count) in self.rejected.iter_mut().zip(&cells.rejected) {
            *sum += count.get();
        }
        for (sum, count) in self.tunnels_ended.iter_mut().zip(&cells.tunnels_ended) {
            *sum += count.get();
        }
        for (name, filter) in cells.filters().iter() {
            let sum = self.filters.entry(name.clone()).or_default();
            filter.duration.add_to(&mut sum.duration);
            for (code, n) in filter.replies.seen() {
                *sum.replies.entry(code).or_default() += n;
            }
        }
    }
}

/// The value of the label `code`.
fn code_word(code: Option<u16>) -> String {
    code.map_or_else(|| "other".to_owned(), |code| code.to_string())
}

/// Whether a filter answers by itself only those who have made too many requests.
fn is_ratelimit(filter: &str) -> bool {
    matches!(filter, "ratelimit" | "ratelimit_v3")
}

/// Shows the sums of all APIs.
pub(super) fn show(page: &mut Page, apis: &BTreeMap<&str, ApiSum>) {
    let counters = |page: &mut Page, family: &Family, value: fn(&ApiSum) -> u64| {
        page.family(family, |s| apis.iter().for_each(|(api, sum)| s.counter(&[api], value(sum))));
    };
    let gauges = |page: &mut Page, family: &Family, value: fn(&ApiSum) -> u64| {
        page.family(family, |s| apis.iter().for_each(|(api, sum)| s.gauge(&[api], value(sum) as f64)));
    };
    let histograms = |page: &mut Page, family: &Family, value: fn(&ApiSum) -> &DurationsSum| {
        page.family(family, |s| apis.iter().for_each(|(api, sum)| s.histogram(&[api], value(sum))));
    };

    page.family(&REQUESTS, |s| {
        for (api, sum) in apis {
            for ((method, code), n) in &sum.requests {
                s.counter(&[api, method, &code_word(*code)], *n);
            }
        }
    });
    histograms(page, &REQUEST_DURATION, |sum| &sum.duration);
    gauges(page, &REQUESTS_IN_FLIGHT, |sum| sum.in_flight);
    counters(page, &REQUEST_BODY_BYTES, |sum| sum.request_bytes);
    counters(page, &RESPONSE_BODY_BYTES, |sum| sum.response_bytes);
    gauges(page, &CONNECTIONS, |sum| sum.connections);
    counters(page, &CONNECTIONS_TOTAL, |sum| sum.opened);
    page.family(&FILTER_DURATION, |s| {
        for (api, sum) in apis {
            for (name, filter) in &sum.filters {
                s.histogram(&[api, name], &filter.duration);
            }
        }
    });
    page.family(&FILTER_REPLIES, |s| {
        for (api, sum) in apis {
            for (name, filter) in &sum.filters {
                for (code, n) in &filter.replies {
                    s.counter(&[api, name, &code_word(*code)], *n);
                }
            }
        }
    });
    page.family(&RATELIMIT_REJECTED, |s| {
        let mut rejected: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, filter) in apis.values().flat_map(|sum| &sum.filters).filter(|(name, _)| is_ratelimit(name)) {
            *rejected.entry(name).or_default() += filter.replies.values().sum::<u64>();
        }
        rejected.iter().for_each(|(name, n)| s.counter(&[name], *n));
    });
    histograms(page, &UPSTREAM_DURATION, |sum| &sum.upstream);
    page.family(&UPSTREAM_ERRORS, |s| {
        for (api, sum) in apis {
            for (reason, n) in UpstreamError::ALL.iter().zip(&sum.upstream_errors) {
                s.counter(&[api, reason.as_str()], *n);
            }
        }
    });
    counters(page, &UPSTREAM_RETRIES, |sum| sum.retries);
    histograms(page, &QUEUE_DURATION, |sum| &sum.queued);
    page.family(&QUEUE_REJECTED, |s| {
        for (api, sum) in apis {
            for (reason, n) in QueueRejection::ALL.iter().zip(&sum.rejected) {
                s.counter(&[api, reason.as_str()], *n);
            }
        }
    });
    page.family(&TUNNELS_ENDED, |s| {
        for (api, sum) in apis {
            for (reason, n) in TunnelEnd::ALL.iter().zip(&sum.tunnels_ended) {
                s.counter(&[api, reason.as_str()], *n);
            }
        }
    });
}
