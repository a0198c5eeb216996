//! The figures of the delivery and of the signs' states, as Prometheus sees them.

use std::sync::atomic::Ordering::Relaxed;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::{Checkup, Delivery};
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
            "Attempts to deliver to the store that failed, and are retried: to connect to it, to open it, to store a batch of scans, to count older ones by hour or to drop those beyond the limits.",
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
        let mut expired = families.counters(
            "waypost_store_scans_expired_total",
            "Scans that the embedded store had and has dropped, by reason: beyond store.keep (age) or store.max_size (size).",
        );
        expired.add(&[("reason", "age")], self.expired_by_age.load(Relaxed));
        expired.add(&[("reason", "size")], self.expired_by_size.load(Relaxed));
        drop(expired);
        families.gauge(
            "waypost_store_size_bytes",
            "Size of the embedded store's file and its write-ahead log, in bytes; 0 with ClickHouse.",
            self.bytes.load(Relaxed),
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

impl Collector for Checkup {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    /// What was found last; before the first computation only that there was none.
    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        let last = self.last();
        families.gauge(
            "waypost_signs_health_timestamp_seconds",
            "When the states of the signs were last computed, in seconds since the Unix epoch; 0 before the first time.",
            last.as_ref().map_or(0, |last| u64::try_from(last.computed.as_second()).unwrap_or(0)),
        );
        families.counter(
            "waypost_signs_health_failures_total",
            "Computations of the states of the signs that failed, and are retried.",
            self.failures.load(Relaxed),
        );
        let Some(last) = last else { return families.into_vec() };
        let mut states = families.gauges("waypost_signs_health", "Signs in use, by the state that was last computed.");
        last.states.iter().for_each(|(state, signs)| states.add(&[("state", state.as_str())], *signs));
        drop(states);
        let mut groups = families.gauges(
            "waypost_signs_silent_together",
            "Groups of signs that are silent together, by what they have in common: a street, an area, the province.",
        );
        last.groups.iter().for_each(|(kind, count)| groups.add(&[("kind", kind.as_str())], *count));
        drop(groups);
        let mut suspicions =
            families.gauges("waypost_signs_look_copied", "Signs whose code looks copied, by the reason.");
        last.suspicions.iter().for_each(|(reason, signs)| suspicions.add(&[("reason", reason.as_str())], *signs));
        drop(suspicions);
        families.gauge(
            "waypost_signs_ended_alarms",
            "Alarms of the last 30 days that ended with a scan: false ones, and those of plates that were mended.",
            last.ended_alarms.0,
        );
        families.into_vec()
    }
}
