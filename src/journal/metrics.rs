//! The journal's figures, as Prometheus sees them.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::Journal;
use crate::core::metrics::{Families, Value as _};

impl Collector for Journal {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    /// All counts of scans are read at one moment, so that their identity holds in every scrape.
    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        let counts = self.counts();
        families.counter(
            "waypost_scans_recorded_total",
            "Scans written to the journal by this process.",
            counts.recorded,
        );
        families.counter(
            "waypost_scans_recovered_total",
            "Scans found in the journal when this process started, or put back into it since.",
            counts.recovered,
        );
        families.counter("waypost_scans_stored_total", "Scans that the store has confirmed.", counts.stored);
        families.counter(
            "waypost_scans_quarantined_total",
            "Scans set aside in quarantine/: rejected by the store, or unreadable.",
            counts.quarantined,
        );
        families
            .counters(
                "waypost_scans_lost_total",
                "Scans in journal files that were removed before they were stored, by reason.",
            )
            .add(&[("reason", "journal_removed")], counts.lost);
        families.gauge("waypost_scans_pending", "Scans in the journal that are not stored yet.", counts.pending);
        let mut dropped =
            families.counters("waypost_scans_dropped_total", "Scans answered and not recorded, by reason.");
        for (reason, count) in self.dropped() {
            dropped.add(&[("reason", reason.as_str())], count);
        }
        drop(dropped);
        families.gauge("waypost_journal_bytes", "Size of all journal segments, in bytes.", counts.bytes);
        families.gauge(
            "waypost_journal_sealed_segments",
            "Journal segments that wait for delivery to the store.",
            counts.sealed_segments,
        );
        families.gauge(
            "waypost_journal_deferred_segments",
            "Journal segments kept open beyond journal.seal_after because the store takes no batches.",
            counts.deferred_segments,
        );
        let (files, bytes) = self.quarantined();
        families.gauge(
            "waypost_journal_quarantine_files",
            "Files in the journal's quarantine/; a person should look at them.",
            files,
        );
        families.gauge(
            "waypost_journal_quarantine_bytes",
            "Size of the files in the journal's quarantine/, in bytes; it counts against journal.max_size.",
            bytes,
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = counts.oldest_ms.map_or(0.0, |ms| (now.as_secs_f64() - ms.value() / 1000.0).max(0.0));
        families.gauge(
            "waypost_journal_oldest_sealed_seconds",
            "Age of the oldest scan in a sealed journal segment that waits for delivery, in seconds; 0 without one.",
            age,
        );
        let (syncs, errors) = self.syncs();
        families.counter(
            "waypost_journal_syncs_total",
            "Syncs of journal segments that brought scans to the disk.",
            syncs,
        );
        families.counter("waypost_journal_errors_total", "Syncs and seals of journal segments that failed.", errors);
        families.into_vec()
    }
}
