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
        let mut sets = families.counters(
            "waypost_change_sets_total",
            "Approved change sets that came to their time since the start, by what became of them: applied, or conflict \
             (a cell had changed since, or the tables would break a rule).",
        );
        sets.add(&[("result", "applied")], counts.applied);
        sets.add(&[("result", "conflict")], counts.conflicts);
        drop(sets);
        families.counter(
            "waypost_change_sets_failures_total",
            "Tries to apply a change set that failed, such as on a read-only folder, and are made again.",
            counts.failures,
        );
        families.gauge(
            "waypost_change_sets_blocked",
            "Whether something stands in the way of applying change sets, such as a table that is refused: 1 or 0.",
            self.problem().is_some(),
        );
        families.into_vec()
    }
}
