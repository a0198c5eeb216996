//! What becomes of approved sets, as Prometheus sees it.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::Applier;
use crate::core::metrics::Families;

impl Collector for Applier {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        let counts = self.counts();
        let mut sets = families.counters("waypost_change_sets_total", "Approved change sets since the start, by what became of them: applied, or in conflict with the tables or their rules.");
        sets.add(&[("result", "applied")], counts.applied);
        sets.add(&[("result", "conflict")], counts.conflicts);
        drop(sets);
        families.counter("waypost_change_failures_total", "Looks for change sets that failed since the start, as the tables or the console's file could not be read or written.", counts.failures);
        families.gauge("waypost_changes_wait", "Whether approved change sets can't be applied for now, as the tables or the console's file can't be read or written: 1 or 0.", self.problem().is_some());
        families.into_vec()
    }
}
