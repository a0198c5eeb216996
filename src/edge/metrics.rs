//! The edge's figures, as Prometheus sees them.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::capacity::Capacity;
use super::counters::{Closed, Counter, Counters, SERVICE_BOUNDS};
use super::scan::Shared;
use crate::core::metrics::{Families, Value as _};

/// What the workers count, added up at each scrape.
pub struct Metrics {
    /// Of each worker.
    pub counters: Vec<Arc<Counters>>,
    /// Where the tallies by sign are.
    pub shared: Arc<Shared>,
    /// How many connections there may be.
    pub capacity: Arc<Capacity>,
    /// Whether there is a counter for each sign.
    pub per_sign: bool,
}

/// A label's value and the figure behind it.
type Named = (&'static str, fn(&Counters) -> &Counter);

impl Collector for Metrics {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = Families::default();
        self.requests(&mut families);
        self.service_times(&mut families);
        self.connections(&mut families);
        if self.per_sign {
            self.signs(&mut families);
        }
        families.into_vec()
    }
}

impl Metrics {
    fn sum(&self, figure: fn(&Counters) -> &Counter) -> u64 {
        self.counters.iter().map(|counters| figure(counters).get()).sum()
    }

    fn requests(&self, families: &mut Families) {
        let mut requests = families.counters(
            "waypost_requests_total",
            "Requests of visitors that were answered, by outcome: found (a redirect, or the page of a place), retired, \
             unknown (no sign has the code), inspected (CODE+), page (any other of ours, or another language chosen on \
             the page of a place), other (404), method_not_allowed, to_https (sent on to the public \
             URL), challenge (of an ACME server).",
        );
        let outcomes: [Named; 9] = [
            ("found", |c| &c.found),
            ("retired", |c| &c.retired),
            ("unknown", |c| &c.unknown),
            ("inspected", |c| &c.inspected),
            ("page", |c| &c.page),
            ("other", |c| &c.other),
            ("method_not_allowed", |c| &c.method_not_allowed),
            ("to_https", |c| &c.to_https),
            ("challenge", |c| &c.challenge),
        ];
        for (outcome, figure) in outcomes {
            requests.add(&[("outcome", outcome)], self.sum(figure));
        }
        drop(requests);
        families.counter(
            "waypost_head_requests_total",
            "HEAD requests for a code: answered, never recorded.",
            self.sum(|c| &c.head),
        );
        families.counter(
            "waypost_unknown_unrecorded_total",
            "Requests for unknown codes beyond observe.max_unknown_per_second: counted, not recorded.",
            self.sum(|c| &c.unknown_unrecorded),
        );
        families.counter(
            "waypost_misses_throttled_total",
            "Requests for unknown codes beyond edge.max_misses_per_address: answered by a short 404, not recorded.",
            self.sum(|c| &c.misses_throttled),
        );
    }

    fn connections(&self, families: &mut Families) {
        families.counter(
            "waypost_connections_accepted_total",
            "Connections of visitors that were accepted.",
            self.sum(|c| &c.accepted),
        );
        families.gauge("waypost_connections_open", "Connections of visitors that are open now.", self.sum(|c| &c.open));
        families.counter(
            "waypost_accept_errors_total",
            "Connections of visitors that could not be accepted.",
            self.sum(|c| &c.accept_errors),
        );
        families.counter(
            "waypost_connections_timed_out_total",
            "Connections of visitors whose time was over: idle, slow, handshake or proxy_header of \
             waypost_connections_closed_total.",
            self.sum(|c| &c.timed_out),
        );
        let mut closed = families.counters(
            "waypost_connections_closed_total",
            "Connections of visitors that were closed from here, by reason: evicted (gave way at edge.max_connections), \
             per_address (beyond edge.max_connections_per_address), handshake (TLS failed or took too long), \
             proxy_header (missing, wrong, slow or not allowed), descriptors (none left), idle, slow.",
        );
        for why in Closed::ALL {
            closed.add(&[("reason", why.as_str())], self.counters.iter().map(|of| of.closed(why).get()).sum::<u64>());
        }
        drop(closed);
        families.counter(
            "waypost_connections_used_up_total",
            "Connections of visitors that ended with their response: edge.max_requests_per_connection or \
             edge.max_connection_age.",
            self.sum(|c| &c.used_up),
        );
        families.gauge(
            "waypost_connections_limit",
            "Most connections of visitors that are held at a time: edge.max_connections, or what the limit of open files \
             leaves of it.",
            self.capacity.most() as u64,
        );
        families.counter(
            "waypost_connection_errors_total",
            "Connections of visitors that broke off, or sent what is not HTTP.",
            self.sum(|c| &c.connection_errors),
        );
    }

    fn service_times(&self, families: &mut Families) {
        let (mut counts, mut sum_ns) = ([0; SERVICE_BOUNDS.len() + 1], 0);
        for counters in &self.counters {
            let (worker, worker_ns) = counters.service.get();
            counts.iter_mut().zip(worker).for_each(|(count, more)| *count += more);
            sum_ns += worker_ns;
        }
        families.histogram(
            "waypost_request_duration_seconds",
            "Time from a request's bytes read to its response handed to the kernel, in seconds.",
            &SERVICE_BOUNDS,
            &counts,
            sum_ns.value() / 1e9,
        );
    }

    fn signs(&self, families: &mut Families) {
        let mut signs = families.counters(
            "waypost_sign_scans_total",
            "Scans of each sign since the start of this process, by kind: scans (the headline figure), repeats, bots, retired.",
        );
        for (code, tally) in self.shared.tallies.all() {
            let code = code.text();
            let kinds =
                [("scans", tally.scans), ("repeats", tally.repeats), ("bots", tally.bots), ("retired", tally.retired)];
            for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
                signs.add(&[("sign", &code), ("kind", kind)], count);
            }
        }
    }
}
