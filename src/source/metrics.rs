//! The registry's figures, as Prometheus sees them.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::Publisher;
use crate::core::metrics::Families;
use crate::registry::{Answer, Status};

impl Collector for Publisher {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        let (registry, state) = (self.current(), self.state());
        families.gauge("waypost_registry_generation", "Number of the registry's generation that serves: when it was published, in milliseconds since the Unix epoch, or one more than the last.", registry.generation);
        families
            .gauges(
                "waypost_registry_info",
                "Always 1; its label is a hash of the content of the registry that serves.",
            )
            .add(&[("content_hash", &registry.content_hash_text())], 1.0);
        let mut places = families.gauges(
            "waypost_registry_places",
            "Places in the registry that serves, by what they have: a target, or else a text and so a page of our own \
             (own_page), or neither.",
        );
        for answer in Answer::ALL {
            places.add(&[("has", answer.as_str())], registry.places_with(answer));
        }
        drop(places);
        let mut signs = families.gauges("waypost_registry_signs", "Signs in the registry that serves, by status.");
        for status in Status::ALL {
            signs.add(&[("status", status.as_str())], registry.signs_in(status));
        }
        drop(signs);
        families.gauge(
            "waypost_registry_last_reload_successful",
            "Whether the last reload of the registry took all of its tables: 1 or 0.",
            state.last_reload_successful,
        );
        families.gauge(
            "waypost_registry_last_reload_success_timestamp_seconds",
            "When the registry's tables were last all read and accepted, in seconds since the Unix epoch; 0 if never since the start.",
            state.last_success.map_or(0.0, |time| time.as_duration().as_secs_f64()),
        );
        families.gauge(
            "waypost_registry_from_last_good",
            "Whether the last-known-good copy of the registry serves because the tables were invalid at the start: 1 or 0.",
            state.from_last_good,
        );
        families.gauge(
            "waypost_registry_unsettled_files",
            "Tables of the registry that have kept changing for 10 s, or that can't be read because their disk does not answer: the others are reloaded without them.",
            state.unsettled.len(),
        );
        let mut reloads = families.counters("waypost_registry_reloads_total", "Reloads of the registry's tables since the start, by result: a new generation or nothing new (success), or refused.");
        reloads.add(&[("result", "success")], state.succeeded);
        reloads.add(&[("result", "refused")], state.refused);
        drop(reloads);
        families.into_vec()
    }
}
