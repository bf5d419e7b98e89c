//! The page that a scrape gets: families with their samples, in the model of the `prometheus` crate.
//!
//! Must not know where the values come from.

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily};

use super::cell::DurationsSum;
use super::families::Family;

/// Families so far, in the order in which they are shown.
#[derive(Debug, Default)]
pub(super) struct Page(Vec<MetricFamily>);

impl Page {
    /// Adds a family; one without samples is left out.
    pub(super) fn family(&mut self, family: &Family, fill: impl FnOnce(&mut Samples)) {
        let mut samples = Samples { labels: family.labels, metrics: Vec::new() };
        fill(&mut samples);
        if samples.metrics.is_empty() {
            return;
        }
        let mut shown = MetricFamily::default();
        shown.set_name(family.name.to_owned());
        shown.set_help(family.help.to_owned());
        shown.set_field_type(family.kind);
        shown.set_metric(samples.metrics);
        self.0.push(shown);
    }

    /// Prometheus' text format 0.0.4.
    pub(super) fn render(&self) -> String {
        // An error is a mistake in the families, which the tests would show; a scraper sees it as a comment.
        TextEncoder::new().encode_to_string(&self.0).unwrap_or_else(|error| format!("# {error}\n"))
    }
}

/// The samples of one family.
pub(super) struct Samples {
    labels: &'static [&'static str],
    metrics: Vec<Metric>,
}

impl Samples {
    pub(super) fn counter(&mut self, labels: &[&str], value: u64) {
        self.float_counter(labels, value as f64);
    }

    pub(super) fn float_counter(&mut self, labels: &[&str], value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        self.add(labels, |metric| metric.set_counter(counter));
    }

    pub(super) fn gauge(&mut self, labels: &[&str], value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        self.add(labels, |metric| metric.set_gauge(gauge));
    }

    pub(super) fn histogram(&mut self, labels: &[&str], sum: &DurationsSum) {
        let mut count = 0;
        let bounds = sum.scale.into_iter().flatten();
        let buckets = bounds.zip(&sum.buckets).map(|(bound, in_bucket)| {
            count += in_bucket;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e9);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(sum.buckets.iter().sum());
        histogram.set_sample_sum(sum.nanos as f64 / 1e9);
        self.add(labels, |metric| metric.set_histogram(histogram));
    }

    fn add(&mut self, values: &[&str], set: impl FnOnce(&mut Metric)) {
        let pairs = self.labels.iter().zip(values).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut metric = Metric::from_label(pairs.collect());
        set(&mut metric);
        self.metrics.push(metric);
    }
}
