//! Metric families, as each part gives its own to a scrape.
//!
//! Owns the form of a sample; each part that has figures is a [`prometheus::core::Collector`] and
//! names them (<https://prometheus.io/docs/practices/naming/>). A scrape counts nothing: it reads the
//! live figures. Label values come from fixed lists or from the registry's own codes,
//! never from a request. (No vector of the `prometheus` crate is used: 0.14 merges label tuples
//! that concatenate alike. No collector describes itself in advance, as that would only serve the
//! crate's own registry, which would sort the samples of all signs at each scrape.)

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// Metric families under construction, for one collector.
#[derive(Default)]
pub struct Families {
    families: Vec<MetricFamily>,
}

/// Names and values of labels.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Families {
    /// All of them, in the order in which they were begun.
    pub fn into_vec(self) -> Vec<MetricFamily> {
        self.families
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help).add(&[], value);
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Value) {
        self.gauges(name, help).add(&[], value);
    }

    /// A counter with labels.
    pub fn counters(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::COUNTER)
    }

    /// A gauge with labels.
    pub fn gauges(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::GAUGE)
    }

    /// A histogram without labels. `counts` has the observations of each bucket of `bounds`, not
    /// cumulative, and then those beyond the last bound; `sum` is that of all observations.
    pub fn histogram(&mut self, name: &str, help: &str, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut cumulative = 0;
        let buckets = bounds.iter().zip(counts).map(|(&bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.family(name, help, MetricType::HISTOGRAM).metrics.push(metric);
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType) -> Family<'_> {
        Family { families: &mut self.families, name: name.to_owned(), help: help.to_owned(), kind, metrics: Vec::new() }
    }
}

/// One metric and its samples. It joins the other families when it is dropped, unless it has no sample.
pub struct Family<'f> {
    families: &'f mut Vec<MetricFamily>,
    name: String,
    help: String,
    kind: MetricType,
    metrics: Vec<Metric>,
}

/// A figure that can be a sample: Prometheus keeps it as a float, exact up to 2^53.
pub trait Value {
    /// The figure.
    fn value(self) -> f64;
}

impl Value for u64 {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53, as everything in Prometheus")]
    fn value(self) -> f64 {
        self as f64
    }
}

impl Value for usize {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53, as everything in Prometheus")]
    fn value(self) -> f64 {
        self as f64
    }
}

impl Value for bool {
    fn value(self) -> f64 {
        f64::from(u8::from(self))
    }
}

impl Value for f64 {
    fn value(self) -> f64 {
        self
    }
}

impl Family<'_> {
    /// One sample.
    pub fn add(&mut self, labels: Labels<'_>, value: impl Value) {
        let pair = |(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut metric = Metric::from_label(labels.iter().map(pair).collect());
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value.value());
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value.value());
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }
}

impl Drop for Family<'_> {
    fn drop(&mut self) {
        if self.metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(std::mem::take(&mut self.name));
        family.set_help(std::mem::take(&mut self.help));
        family.set_field_type(self.kind);
        family.set_metric(std::mem::take(&mut self.metrics));
        self.families.push(family);
    }
}
