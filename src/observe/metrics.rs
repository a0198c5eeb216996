//! The country databases' figures, as Prometheus sees them.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::CountryFiles;
use crate::core::metrics::Families;

impl Collector for CountryFiles {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        let states = self.states();
        let count = |good: bool| states.iter().filter(|state| state.problem.is_none() == good).count();
        let mut files = families.gauges(
            "waypost_geoip_files",
            "Configured country databases, by whether they could be read (state good) or not (state bad).",
        );
        files.add(&[("state", "good")], count(true));
        files.add(&[("state", "bad")], count(false));
        drop(files);
        if let Some(oldest) = states.iter().filter_map(|state| state.built).min() {
            families.gauge(
                "waypost_geoip_build_timestamp_seconds",
                "When the oldest country database in use was built, in seconds since the Unix epoch.",
                oldest,
            );
        }
        families.into_vec()
    }
}
