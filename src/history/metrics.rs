//! How far the history goes, as Prometheus sees it: the head leaves the machine with each scrape.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::{Database, head};
use crate::core::metrics::Families;

impl Collector for Database {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        match self.read(head) {
            Ok(head) => {
                families.gauge(
                    "waypost_history_entries",
                    "Entries of the console's history.",
                    head.seq.cast_unsigned(),
                );
                families
                    .gauges(
                        "waypost_history_head_info",
                        "Always 1; its label is the number and hash of the last entry, by which `waypost audit verify \
                         --head` sees whether the history was changed since.",
                    )
                    .add(&[("head", &head.to_string())], 1.0);
            }
            // Absent, as what is not known.
            Err(error) => tracing::warn!(%error, "the history can't be read"),
        }
        families.into_vec()
    }
}
