//! The delivery's figures, as Prometheus sees them.

use std::sync::atomic::Ordering::Relaxed;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::Delivery;
use crate::core::metrics::{Families, Value as _};

impl Collector for Delivery {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        families.counter(
            "waypost_store_batches_total",
            "Batches of scans that the store has confirmed.",
            self.batches.load(Relaxed),
        );
        families.counter(
            "waypost_store_duplicate_batches_total",
            "Batches of scans that were sent to the store again and that it already had (SQLite only: ClickHouse does not tell).",
            self.duplicates.load(Relaxed),
        );
        families.counter(
            "waypost_store_overdue_batches_total",
            "Batches of scans stored so late that the store may have forgotten an earlier try: their scans may be counted twice.",
            self.overdue.load(Relaxed),
        );
        families.counter(
            "waypost_store_retries_total",
            "Attempts to deliver to the store that failed, and are retried: to connect to it, to open it, to store a batch of scans or to count older ones by hour.",
            self.retries.load(Relaxed),
        );
        families.gauge(
            "waypost_store_batches_aside",
            "Batches of scans that the store does not take while it takes others; they are retried later.",
            self.aside.load(Relaxed),
        );
        families.counter(
            "waypost_store_replaced_total",
            "Times that the embedded store's file was found moved, replaced or removed, and opened anew.",
            self.replaced.load(Relaxed),
        );
        families.gauge(
            "waypost_store_credentials_refused",
            "Whether the store refuses the configured user or password, or the user's rights: 1 or 0.",
            self.refused.load(Relaxed),
        );
        families.gauge(
            "waypost_store_registry_generation",
            "Generation of the registry that the store has from this edge; 0 before the first.",
            self.published.load(Relaxed),
        );
        families.gauge(
            "waypost_store_last_success_timestamp_seconds",
            "When the store last confirmed a batch of scans, in seconds since the Unix epoch; 0 before the first.",
            self.last_success_ms.load(Relaxed).value() / 1000.0,
        );
        families.into_vec()
    }
}
