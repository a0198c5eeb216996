//! `/status`: how everything stands, for people and scripts.
//!
//! Owns the JSON of it. It waits for nothing but locks that are held for moments.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::certificates::{CertificateState, Certificates};
use crate::changes::Applier;
use crate::core::Tag;
use crate::core::scan::DEFINITION;
use crate::history::{self, Database};
use crate::journal::{Counts, Journal};
use crate::observe::CountryFiles;
use crate::registry;
use crate::source::Publisher;
use crate::store::{Checkup, Delivery, Kind};

/// What `/status` reads.
pub struct Status {
    /// When this process began.
    pub started: Timestamp,
    /// Addresses of the public port, as they are bound.
    pub listen: Vec<SocketAddr>,
    /// Worker threads.
    pub workers: usize,
    /// The registry.
    pub publisher: Arc<Publisher>,
    /// The country databases.
    pub countries: Arc<CountryFiles>,
    /// The certificates.
    pub certificates: Arc<Certificates>,
    /// The journal.
    pub journal: Arc<Journal>,
    /// Which store.
    pub store: Kind,
    /// What the store has taken.
    pub delivery: Arc<Delivery>,
    /// How the signs are.
    pub checkup: Arc<Checkup>,
    /// The console's history, and what applies change sets; `None` where it is off.
    pub console: Option<(Arc<Database>, Arc<Applier>)>,
}

impl Status {
    /// How everything stands now.
    pub(super) fn read(&self) -> Value {
        // Once, so that what is said of scans and of segments agrees.
        let counts = self.journal.counts();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "edge": self.journal.settings().edge,
            "started": self.started.to_string(),
            "listen": self.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "workers": self.workers,
            "registry": self.registry(),
            "scans": self.scans(&counts),
            "journal": self.journal(&counts),
            "store": self.store(),
            "health": self.health(),
            "geoip": self.geoip(),
            "certificates": self.certificates(),
            "console": self.console(),
            "definition": DEFINITION,
        })
    }

    fn registry(&self) -> Value {
        let (registry, state) = (self.publisher.current(), self.publisher.state());
        let signs = |status: registry::Status| registry.signs_in(status);
        json!({
            "generation": registry.generation,
            "content_hash": registry.content_hash_text(),
            "places": registry.places().len(),
            "signs": {
                "planned": signs(registry::Status::Planned),
                "active": signs(registry::Status::Active),
                "retired": signs(registry::Status::Retired),
            },
            "languages": registry.languages().iter().map(Tag::as_str).collect::<Vec<_>>(),
            "last_reload_successful": state.last_reload_successful,
            "last_success": state.last_success.map(|time| time.to_string()),
            "from_last_good": state.from_last_good,
            "unsettled": state.unsettled,
            "problems": state.problems,
        })
    }

    fn scans(&self, counts: &Counts) -> Value {
        let dropped: Map<String, Value> = self
            .journal
            .dropped()
            .into_iter()
            .map(|(reason, count)| (reason.as_str().to_owned(), count.into()))
            .collect();
        json!({
            "recorded": counts.recorded,
            "recovered": counts.recovered,
            "stored": counts.stored,
            "pending": counts.pending,
            "quarantined": counts.quarantined,
            "lost": { "journal_removed": counts.lost },
            "dropped": dropped,
        })
    }

    fn journal(&self, counts: &Counts) -> Value {
        json!({
            "folder": self.journal.settings().folder,
            "bytes": counts.bytes,
            "sealed_segments": counts.sealed_segments,
            "deferred_segments": counts.deferred_segments,
            "quarantine_files": self.journal.quarantined().0,
        })
    }

    fn store(&self) -> Value {
        let last_success = self.delivery.last_success_ms.load(Relaxed);
        json!({
            "kind": self.store.as_str(),
            "credentials_refused": self.delivery.refused.load(Relaxed),
            "batches": self.delivery.batches.load(Relaxed),
            "batches_aside": self.delivery.aside.load(Relaxed),
            "replaced": self.delivery.replaced.load(Relaxed),
            "duplicate_batches": self.delivery.duplicates.load(Relaxed),
            "retries": self.delivery.retries.load(Relaxed),
            "last_success": (last_success > 0).then(|| time_of_seconds(last_success / 1000)).flatten(),
        })
    }

    /// `null` before the first computation.
    fn health(&self) -> Value {
        let Some(last) = self.checkup.last() else { return Value::Null };
        let counts = |counts: Vec<(&str, usize)>| {
            counts.into_iter().map(|(word, count)| (word.to_owned(), count.into())).collect::<Map<String, Value>>()
        };
        json!({
            "computed": last.computed.to_string(),
            "states": counts(last.states.iter().map(|(state, signs)| (state.as_str(), *signs)).collect()),
            "silent_together": counts(last.groups.iter().map(|(kind, groups)| (kind.as_str(), *groups)).collect()),
            "look_copied": counts(last.suspicions.iter().map(|(reason, signs)| (reason.as_str(), *signs)).collect()),
            "ended_alarms": { "alarms": last.ended_alarms.0, "signs": last.ended_alarms.1 },
        })
    }

    /// `null` where the console is off: not configured, or its file can't be used.
    fn console(&self) -> Value {
        let Some((database, applier)) = &self.console else { return Value::Null };
        let head = database.read(history::head);
        let problem = head.as_ref().err().map_or_else(|| applier.problem(), |error| Some(error.to_string()));
        let history = head.ok().map(|head| json!({ "entries": head.seq, "head": head.to_string() }));
        let counts = applier.counts();
        json!({
            "history": history,
            "change_sets": { "applied": counts.applied, "conflict": counts.conflicts, "failures": counts.failures },
            "problem": problem,
        })
    }

    fn certificates(&self) -> Value {
        let certificate = |state: CertificateState| {
            json!({
                "certificate": state.certificate.display().to_string(),
                "names": state.names,
                "not_before": state.not_before.map(|time| time.to_string()),
                "not_after": state.not_after.map(|time| time.to_string()),
                "problem": state.problem,
            })
        };
        self.certificates.states().into_iter().map(certificate).collect()
    }

    fn geoip(&self) -> Vec<Value> {
        let files = self.countries.states().into_iter();
        files
            .map(|file| {
                let built = file.built.and_then(time_of_seconds);
                json!({ "path": file.path, "built": built, "problem": file.problem })
            })
            .collect()
    }
}

fn time_of_seconds(seconds: u64) -> Option<String> {
    let time = Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(time.to_string())
}
