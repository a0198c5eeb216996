//! One scrape: what every part has to show, as text.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder as _, TextEncoder};

use crate::core::metrics::Families;

/// The content type of [`Metrics::render`]'s text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whatever has figures to show.
pub(super) struct Metrics {
    collectors: Vec<Arc<dyn Collector>>,
}

/// Which release this is, of which edge.
struct BuildInfo {
    edge: String,
}

impl Metrics {
    /// Those of the parts, and of the process.
    pub fn new(edge: &str, parts: Vec<Arc<dyn Collector>>) -> Self {
        let mut collectors: Vec<Arc<dyn Collector>> = vec![Arc::new(BuildInfo { edge: edge.to_owned() })];
        collectors.extend(parts);
        collectors.push(Arc::new(ProcessCollector::for_self()));
        Self { collectors }
    }

    /// One scrape, in Prometheus' text format.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let families: Vec<MetricFamily> = self.collectors.iter().flat_map(|collector| collector.collect()).collect();
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
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
