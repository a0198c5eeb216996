//! The edge as Prometheus sees it.
//!
//! Owns the metrics' names (<https://prometheus.io/docs/practices/naming/>). Nothing is
//! counted here: a scrape reads the live figures of the parts and adds the workers'
//! counters up. Label values come from fixed lists or from the registry's own codes,
//! never from a request. (No vector of the `prometheus` crate is used: 0.14 merges
//! label tuples that concatenate alike.)

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder as _, TextEncoder};

use crate::app::Parts;
use crate::edge::{Counter as Figure, Counters, SERVICE_BOUNDS};
use crate::journal::Counts;
use crate::registry::Status;

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One scrape.
pub fn render(parts: &Parts) -> Result<Vec<u8>, prometheus::Error> {
    let mut page = Page::default();
    build(parts, &mut page);
    requests(parts, &mut page);
    let counts = parts.journal.counts();
    scans(parts, &counts, &mut page);
    journal(parts, &counts, &mut page);
    store(parts, &mut page);
    registry(parts, &mut page);
    countries(parts, &mut page);
    log(parts, &mut page);
    page.families.extend(ProcessCollector::for_self().collect());
    let mut text = Vec::with_capacity(16 * 1024);
    TextEncoder::new().encode(&page.families, &mut text)?;
    Ok(text)
}

/// The families so far.
#[derive(Default)]
struct Page {
    families: Vec<MetricFamily>,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help).add(&[], value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help).add(&[], value);
    }

    fn counters(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::COUNTER)
    }

    fn gauges(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::GAUGE)
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType) -> Family<'_> {
        Family { page: self, name: name.to_owned(), help: help.to_owned(), kind, metrics: Vec::new() }
    }
}

/// One metric and its samples; it joins the page when it is dropped, unless it is empty.
struct Family<'p> {
    page: &'p mut Page,
    name: String,
    help: String,
    kind: MetricType,
    metrics: Vec<Metric>,
}

/// A figure as Prometheus keeps it: exact up to 2^53.
trait Value {
    fn value(self) -> f64;
}

impl Value for u64 {
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53, as everything in Prometheus")]
    fn value(self) -> f64 {
        self as f64
    }
}

impl Value for f64 {
    fn value(self) -> f64 {
        self
    }
}

impl Family<'_> {
    fn add(&mut self, labels: Labels<'_>, value: impl Value) {
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
        self.page.families.push(family);
    }
}

fn build(parts: &Parts, page: &mut Page) {
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("edge", parts.journal.settings().edge.as_str())];
    page.gauges("waypost_build_info", "Version and name of this edge; always 1.").add(&labels, 1.0);
}

/// A label's value and the figure behind it.
type Named = (&'static str, fn(&Counters) -> &Figure);

fn requests(parts: &Parts, page: &mut Page) {
    let sum =
        |figure: fn(&Counters) -> &Figure| parts.counters.iter().map(|counters| figure(counters).get()).sum::<u64>();
    let mut requests = page.counters("waypost_requests_total", "Requests answered, by what became of them.");
    let outcomes: [Named; 7] = [
        ("found", |c| &c.found),
        ("retired", |c| &c.retired),
        ("unknown", |c| &c.unknown),
        ("inspected", |c| &c.inspected),
        ("page", |c| &c.page),
        ("other", |c| &c.other),
        ("method_not_allowed", |c| &c.method_not_allowed),
    ];
    for (outcome, figure) in outcomes {
        requests.add(&[("outcome", outcome)], sum(figure));
    }
    drop(requests);
    service_times(parts, page);
    page.counter(
        "waypost_head_requests_total",
        "HEAD requests for a code among them: answered, never recorded.",
        sum(|c| &c.head),
    );
    page.counter(
        "waypost_unknown_unrecorded_total",
        "Unknown codes beyond observe.max_unknown_per_second: counted, not recorded.",
        sum(|c| &c.unknown_unrecorded),
    );
    page.counter("waypost_connections_accepted_total", "Connections accepted.", sum(|c| &c.accepted));
    page.gauge("waypost_connections_open", "Connections open now.", sum(|c| &c.open).value());
    page.counter("waypost_accept_errors_total", "Connections that could not be accepted.", sum(|c| &c.accept_errors));
    page.counter(
        "waypost_connections_timed_out_total",
        "Connections closed for being idle or slow.",
        sum(|c| &c.timed_out),
    );
    page.counter(
        "waypost_connection_errors_total",
        "Connections that broke off, or sent what is not HTTP.",
        sum(|c| &c.connection_errors),
    );
}

fn service_times(parts: &Parts, page: &mut Page) {
    let (mut counts, mut sum_ns) = ([0; SERVICE_BOUNDS.len() + 1], 0);
    for counters in &parts.counters {
        let (worker, worker_ns) = counters.service.get();
        counts.iter_mut().zip(worker).for_each(|(count, more)| *count += more);
        sum_ns += worker_ns;
    }
    let mut histogram = Histogram::default();
    let mut cumulative = 0;
    let buckets = SERVICE_BOUNDS.iter().zip(counts).map(|(&bound, count)| {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.iter().sum());
    histogram.set_sample_sum(sum_ns.value() / 1e9);
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    let mut family = page.family(
        "waypost_request_duration_seconds",
        "From a request's bytes read to its answer handed to the kernel.",
        MetricType::HISTOGRAM,
    );
    family.metrics.push(metric);
}

fn scans(parts: &Parts, counts: &Counts, page: &mut Page) {
    page.counter("waypost_scans_recorded_total", "Scans written to the journal by this process.", counts.recorded);
    page.counter("waypost_scans_recovered_total", "Scans found in the journal at the start.", counts.recovered);
    page.counter("waypost_scans_stored_total", "Scans that the store has said yes to.", counts.stored);
    page.counter(
        "waypost_scans_quarantined_total",
        "Scans set aside: rejected by the store, or unreadable.",
        counts.quarantined,
    );
    page.counters(
        "waypost_scans_lost_total",
        "Scans in files that somebody removed before they were stored, by reason.",
    )
    .add(&[("reason", "journal_removed")], counts.lost);
    page.gauge("waypost_scans_pending", "Scans in the journal that are not stored yet.", counts.pending.value());
    let mut dropped = page.counters("waypost_scans_dropped_total", "Scans answered and not recorded, by reason.");
    for (reason, count) in parts.journal.dropped() {
        dropped.add(&[("reason", reason.as_str())], count);
    }
    drop(dropped);
    if !parts.config.per_sign_metrics {
        return;
    }
    let mut signs = page.counters(
        "waypost_sign_scans_total",
        "Scans of each sign since the start: scans (headline), repeats, bots, retired.",
    );
    for (code, tally) in parts.shared.tallies.all() {
        let code = code.text();
        let kinds =
            [("scans", tally.scans), ("repeats", tally.repeats), ("bots", tally.bots), ("retired", tally.retired)];
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            signs.add(&[("sign", &code), ("kind", kind)], count);
        }
    }
}

fn journal(parts: &Parts, counts: &Counts, page: &mut Page) {
    let (syncs, errors) = parts.journal.syncs();
    page.gauge("waypost_journal_bytes", "Bytes of all segments.", counts.bytes.value());
    page.gauge("waypost_journal_sealed_segments", "Segments that wait for delivery.", counts.sealed_segments.value());
    page.gauge(
        "waypost_journal_deferred_segments",
        "Segments kept open beyond journal.seal_after because the store takes no batches.",
        counts.deferred_segments.value(),
    );
    let (files, bytes) = parts.journal.quarantined();
    page.gauge("waypost_journal_quarantine_files", "Files in quarantine/; a person should look.", files.value());
    page.gauge("waypost_journal_quarantine_bytes", "Their bytes, which count against journal.max_size.", bytes.value());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = counts.oldest_ms.map_or(0.0, |ms| (now.as_secs_f64() - ms.value() / 1000.0).max(0.0));
    page.gauge(
        "waypost_journal_oldest_sealed_seconds",
        "Age of the oldest record in a sealed segment that waits for delivery; 0 without one.",
        age,
    );
    page.counter("waypost_journal_syncs_total", "Syncs that brought records to the disk.", syncs);
    page.counter("waypost_journal_errors_total", "Syncs and seals that failed.", errors);
}

fn store(parts: &Parts, page: &mut Page) {
    use std::sync::atomic::Ordering::Relaxed;
    let deliveries = &parts.deliveries;
    page.counter("waypost_store_batches_total", "Batches stored.", deliveries.batches.load(Relaxed));
    page.counter(
        "waypost_store_duplicate_batches_total",
        "Batches offered that the store had already.",
        deliveries.duplicates.load(Relaxed),
    );
    page.counter(
        "waypost_store_overdue_batches_total",
        "Batches stored so late that the store may have forgotten an earlier try.",
        deliveries.overdue.load(Relaxed),
    );
    page.counter(
        "waypost_store_retries_total",
        "Deliveries that failed and are made again.",
        deliveries.retries.load(Relaxed),
    );
    page.gauge(
        "waypost_store_batches_aside",
        "Batches that the store does not take while it takes others; they are tried again later.",
        deliveries.aside.load(Relaxed).value(),
    );
    page.counter(
        "waypost_store_replaced_total",
        "Times that the embedded store's file was found moved, replaced or removed, and opened anew.",
        deliveries.replaced.load(Relaxed),
    );
    page.gauge(
        "waypost_store_credentials_refused",
        "Whether the store refuses our name, password or rights.",
        f64::from(u8::from(deliveries.refused.load(Relaxed))),
    );
    page.gauge(
        "waypost_store_registry_generation",
        "Generation of the registry that the store has; 0 before the first.",
        deliveries.published.load(Relaxed).value(),
    );
    page.gauge(
        "waypost_store_last_success_timestamp_seconds",
        "When a batch was last stored; 0 before the first.",
        deliveries.last_success_ms.load(Relaxed).value() / 1000.0,
    );
}

fn registry(parts: &Parts, page: &mut Page) {
    let (registry, state) = (parts.keeper.current(), parts.keeper.state());
    page.gauge("waypost_registry_generation", "Generation of the registry that serves.", registry.generation.value());
    page.gauges("waypost_registry_info", "Hash of the content of the registry that serves; always 1.")
        .add(&[("content_hash", &registry.content_hash_text())], 1.0);
    page.gauge("waypost_registry_places", "Places in it.", (registry.places().len() as u64).value());
    let mut signs = page.gauges("waypost_registry_signs", "Signs in it, by status.");
    for status in [Status::Planned, Status::Active, Status::Retired] {
        let count = registry.signs_in(status) as u64;
        signs.add(&[("status", status.as_str())], count.value());
    }
    drop(signs);
    page.gauge(
        "waypost_registry_last_reload_successful",
        "Whether the files were good when they were last read.",
        f64::from(u8::from(state.last_reload_successful)),
    );
    page.gauge(
        "waypost_registry_last_reload_success_timestamp_seconds",
        "When they last were; 0 if never since the start.",
        state.last_success.map_or(0.0, |time| time.as_duration().as_secs_f64()),
    );
    page.gauge(
        "waypost_registry_from_last_good",
        "Whether the last-known-good copy serves because the files were bad at the start.",
        f64::from(u8::from(state.from_last_good)),
    );
    page.gauge(
        "waypost_registry_unsettled_files",
        "Tables that changed all the time for 10 s, or do not answer: others are read without them.",
        (state.unsettled.len() as u64).value(),
    );
    let mut reloads = page.counters("waypost_registry_reloads_total", "Reloads, by result.");
    reloads.add(&[("result", "success")], state.succeeded);
    reloads.add(&[("result", "refused")], state.refused);
}

fn countries(parts: &Parts, page: &mut Page) {
    let states = parts.countries.states();
    let count = |good: bool| states.iter().filter(|state| state.problem.is_none() == good).count() as u64;
    let mut files =
        page.gauges("waypost_geoip_files", "Country databases that are configured, by whether they could be read.");
    files.add(&[("state", "good")], count(true).value());
    files.add(&[("state", "bad")], count(false).value());
    drop(files);
    if let Some(oldest) = states.iter().filter_map(|state| state.built).min() {
        page.gauge(
            "waypost_geoip_build_timestamp_seconds",
            "When the oldest country database was built.",
            oldest.value(),
        );
    }
}

fn log(parts: &Parts, page: &mut Page) {
    let mut dropped =
        page.counters("waypost_log_lines_dropped_total", "Log lines that could not be written, by reason.");
    for (reason, count) in parts.log.by_reason() {
        dropped.add(&[("reason", reason)], count);
    }
}
