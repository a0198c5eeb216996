//! `/metrics`: the figures of every part, as text.
//!
//! Owns the texts that are still being sent, and how many of them there are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;
use jiff::Timestamp;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Gauge, MetricFamily};
use prometheus::{Encoder as _, TextEncoder};

use crate::core::lock;
use crate::core::metrics::Families;
use crate::web::Connections;

/// The content type of Prometheus' text format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Most renderings in memory at a time. Each has 17 MB for 100,000 scanned signs.
const MAX_RENDERINGS: usize = 4;

/// All that is asked for figures at a scrape.
pub(super) struct Metrics {
    collectors: Vec<Arc<dyn Collector>>,
    /// When the process began, in seconds.
    started: i64,
}

/// Which release this is, of which edge.
struct BuildInfo {
    edge: String,
}

/// One scrape, and the number it is known by.
#[derive(Clone)]
pub(super) struct Rendering {
    /// From 1.
    pub number: u64,
    pub text: Bytes,
}

/// The renderings that somebody is still being sent.
#[derive(Default)]
pub(super) struct Renderings {
    last: AtomicU64,
    /// The numbers, for as long as their texts are in memory; the oldest first.
    sent: Mutex<Vec<Weak<u64>>>,
}

/// A rendering's text, which keeps its number.
struct Numbered {
    text: Vec<u8>,
    _number: Arc<u64>,
}

impl Metrics {
    /// The figures of this release, of the parts and of the process.
    pub fn new(edge: String, started: Timestamp, parts: Vec<Arc<dyn Collector>>) -> Self {
        let mut collectors: Vec<Arc<dyn Collector>> = vec![Arc::new(BuildInfo { edge })];
        collectors.extend(parts);
        Self { collectors, started: started.as_second() }
    }

    fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut families: Vec<MetricFamily> =
            self.collectors.iter().flat_map(|collector| collector.collect()).collect();
        // Made anew: one that is kept shows old figures where the system gives none.
        families.extend(ProcessCollector::for_self().collect().into_iter().map(|family| self.with_start(family)));
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&families, &mut text)?;
        text.shrink_to_fit();
        Ok(text)
    }

    /// The start, which the collector takes from `/proc/stat`, and leaves at 0 where a confined service
    /// (`ProcSubset=pid`) has none.
    #[allow(clippy::cast_precision_loss, reason = "seconds")]
    fn with_start(&self, mut family: MetricFamily) -> MetricFamily {
        if family.name() == "process_start_time_seconds" {
            let mut gauge = Gauge::default();
            gauge.set_value(self.started as f64);
            family.mut_metric().iter_mut().for_each(|metric| metric.set_gauge(gauge.clone()));
        }
        family
    }
}

impl Renderings {
    /// Renders the figures. Where [`MAX_RENDERINGS`] are in memory because clients do not take theirs, the
    /// connections that are sent the oldest are closed. `None` where the figures can't be encoded.
    pub fn add(&self, metrics: &Metrics, connections: &Connections) -> Option<Rendering> {
        let mut sent = lock(&self.sent);
        sent.retain(|number| number.strong_count() > 0);
        for oldest in sent.iter().rev().skip(MAX_RENDERINGS - 1).filter_map(Weak::upgrade) {
            connections.close_stalled(*oldest);
        }
        let text =
            metrics.render().inspect_err(|error| tracing::error!(%error, "the metrics can't be encoded")).ok()?;
        let number = Arc::new(self.last.fetch_add(1, Ordering::Relaxed) + 1);
        sent.push(Arc::downgrade(&number));
        Some(Rendering { number: *number, text: Bytes::from_owner(Numbered { text, _number: number }) })
    }
}

impl AsRef<[u8]> for Numbered {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Collector for BuildInfo {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("edge", self.edge.as_str())];
        families.gauges("waypost_build_info", "Version and name of this edge; always 1.").add(&labels, 1.0);
        families.into_vec()
    }
}
