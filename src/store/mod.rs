//! Where scans end up, and how they get there.
//!
//! Owns the delivery: the oldest sealed segment becomes one batch, is given to the
//! store until it says yes, and is settled with the journal. A batch is the same bytes
//! at every try and carries the segment's identity, so a store that has it already says
//! so and nothing is counted twice.

mod clickhouse;
pub mod native;
mod schema;
mod sqlite;
mod usage;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use tokio::sync::watch::Receiver;
use uuid::Uuid;

pub use clickhouse::{ClickHouse, Secret, Settings as ClickHouseSettings};
pub use schema::Schema;
pub use sqlite::Sqlite;
pub use usage::{By, Question, Row, Tally, Usage};

use crate::journal::{self, Journal, Sealed};
use crate::observe::Scan;
use crate::registry::Registry;

/// The first and the longest pause after a failed delivery.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// The longest pause before the registry is sent again.
const PUBLISH_PAUSE: Duration = Duration::from_secs(5);
/// How long the delivery waits for a segment before it looks whether it shall stop.
const PATIENCE: Duration = Duration::from_millis(500);

/// One sealed segment, as a store takes it.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Identity of segment and batch.
    pub id: Uuid,
    /// The edge that recorded it.
    pub edge: String,
    /// Position in the segment, and scan.
    pub scans: Vec<(u32, Scan)>,
}

/// What the store did with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It has it now.
    New,
    /// It had it already: an earlier answer was lost.
    Already,
}

/// Why a batch is not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A later try may succeed.
    #[error("the store can't take it now: {0}")]
    Later(String),
    /// No try will: the batch itself is at fault.
    #[error("the store rejects it: {0}")]
    Rejected(String),
    /// The store does not know us, or lets us do too little.
    #[error("the store refuses our name, password or rights: {0}")]
    Credentials(String),
}

/// Which store, and where it is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which of the two.
    pub kind: Kind,
    /// The embedded store's file.
    pub path: PathBuf,
    /// ClickHouse's servers.
    pub clickhouse: ClickHouseSettings,
}

/// The stores there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Embedded, with nothing else to install.
    Sqlite,
    /// For everything bigger.
    ClickHouse,
}

impl Kind {
    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::ClickHouse => "clickhouse",
        }
    }
}

/// An open store.
enum Store {
    Sqlite(Sqlite),
    ClickHouse(ClickHouse),
}

impl Store {
    fn open(settings: &Settings, timezone: &TimeZone) -> Result<Self, StoreError> {
        match settings.kind {
            Kind::Sqlite => Sqlite::open(&settings.path).map(Self::Sqlite),
            Kind::ClickHouse => ClickHouse::open(&settings.clickhouse, timezone).map(Self::ClickHouse),
        }
    }

    /// Whether it is there for a batch.
    fn ping(&mut self, id: Uuid) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::ClickHouse(store) => store.ping(id),
        }
    }

    fn insert(&mut self, batch: &Batch) -> Result<Stored, StoreError> {
        match self {
            Self::Sqlite(store) => store.insert(batch),
            // It keeps to itself whether it had the batch already.
            Self::ClickHouse(store) => store.insert(batch).map(|()| Stored::New),
        }
    }

    /// For how long an earlier try is known.
    fn forgets_after(&self) -> Option<Duration> {
        match self {
            Self::Sqlite(_) => None,
            Self::ClickHouse(_) => Some(Schema::WINDOW_AGE),
        }
    }

    /// The embedded store has no use for the registry: `waypost usage` reads the files.
    fn publish(&mut self, edge: &str, registry: &Registry) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::ClickHouse(store) => store.publish(edge, registry),
        }
    }
}

/// What the delivery has done since the start.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// Batches stored.
    pub batches: AtomicU64,
    /// Batches the store had already.
    pub duplicates: AtomicU64,
    /// Tries that failed and were made again.
    pub retries: AtomicU64,
    /// Batches stored later than the store's memory of tokens reaches: if an earlier answer
    /// was lost, they are counted twice.
    pub overdue: AtomicU64,
    /// When a batch was last stored, milliseconds since the Unix epoch; 0: never.
    pub last_success_ms: AtomicU64,
    /// Generation of the registry that the store has; 0: none yet.
    pub published: AtomicU64,
    /// Whether the store refuses our name, password or rights.
    pub refused: AtomicBool,
    stopping: AtomicBool,
}

/// What one delivery needs, and how far it is.
struct Delivery<'a> {
    journal: &'a Journal,
    registry: &'a Receiver<Arc<Registry>>,
    settings: &'a Settings,
    timezone: &'a TimeZone,
    store: Option<Store>,
    /// When to send the registry again after the store would not take it.
    publish_after: Instant,
    /// Whether the oldest batch was tried in vain.
    failed: bool,
}

impl Deliveries {
    /// Gives sealed segments to the store, until told to stop and none is left or the
    /// store fails. A store that can't be opened keeps nobody from scanning.
    pub fn deliver(
        &self,
        journal: &Journal,
        registry: &Receiver<Arc<Registry>>,
        settings: &Settings,
        timezone: &TimeZone,
    ) {
        let mut pause = PAUSE.0;
        let mut delivery = Delivery {
            journal,
            registry,
            settings,
            timezone,
            store: None,
            publish_after: Instant::now(),
            failed: false,
        };
        loop {
            let stopping = self.stopping.load(Ordering::Acquire);
            let delivered = self.deliver_next(&mut delivery);
            self.refused.store(matches!(delivered, Err(StoreError::Credentials(_))), Ordering::Relaxed);
            match delivered {
                Ok(true) => pause = PAUSE.0,
                Ok(false) if stopping => return,
                Ok(false) => {}
                Err(error) => {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, pending = journal.counts().pending, "delivery failed");
                    // At the stop what is left stays in the journal; the next start delivers it.
                    if stopping {
                        return;
                    }
                    // A wrong password does not mend itself; asking often locks accounts.
                    pause = if matches!(error, StoreError::Credentials(_)) { PAUSE.1 } else { pause };
                    self.wait(jittered(pause));
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    /// Tells [`Deliveries::deliver`] to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.stopping.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(50).min(pause));
        }
    }

    /// Returns whether there was a segment to deliver.
    fn deliver_next(&self, delivery: &mut Delivery<'_>) -> Result<bool, StoreError> {
        let store = match &mut delivery.store {
            Some(store) => store,
            none => none.insert(Store::open(delivery.settings, delivery.timezone)?),
        };
        // Making a batch ready takes 0.1 s of the workers' core; not for a store that is down.
        if delivery.failed
            && let Some(sealed) = delivery.journal.next(PATIENCE)
        {
            store.ping(sealed.id)?;
        }
        let registry = delivery.registry.borrow().clone();
        let is_published = self.published.load(Ordering::Relaxed) == registry.generation;
        if !is_published && Instant::now() >= delivery.publish_after {
            // A registry that the store won't take keeps no scan from it.
            match store.publish(&delivery.journal.settings().edge, &registry) {
                Ok(()) => self.published.store(registry.generation, Ordering::Relaxed),
                Err(error) => {
                    tracing::warn!(%error, generation = registry.generation, "the registry is not stored");
                    delivery.publish_after = Instant::now() + jittered(PUBLISH_PAUSE);
                }
            }
        }
        let Some(sealed) = delivery.journal.next(PATIENCE) else { return Ok(false) };
        let delivered = self.deliver_one(delivery.journal, store, &sealed);
        delivery.failed = delivered.is_err();
        delivered.map(|()| true)
    }

    fn deliver_one(&self, journal: &Journal, store: &mut Store, sealed: &Sealed) -> Result<(), StoreError> {
        let later = |error: std::io::Error| StoreError::Later(format!("{}: {error}", sealed.path.display()));
        let contents = match journal::read(&sealed.path) {
            Ok(contents) => contents,
            Err(error) => {
                tracing::error!(%error, batch = %sealed.id, "a sealed segment can't be read; the others go on");
                return journal.quarantine_batch(sealed).map_err(later);
            }
        };
        let edge = contents.header.as_ref().map_or(&journal.settings().edge, |header| &header.edge).clone();
        let batch = Batch { id: sealed.id, edge, scans: contents.scans };
        match store.insert(&batch) {
            Ok(stored) => {
                let counter = if stored == Stored::New { &self.batches } else { &self.duplicates };
                counter.fetch_add(1, Ordering::Relaxed);
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let age = now.saturating_sub(Duration::from_millis(sealed.since_ms));
                if store.forgets_after().is_some_and(|limit| age > limit) {
                    self.overdue.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(batch = %sealed.id, "stored so late that the store may have forgotten an earlier try");
                }
                self.last_success_ms.store(now.as_millis() as u64, Ordering::Relaxed);
                journal.settle(sealed, batch.scans.len() as u32).map_err(later)
            }
            Err(StoreError::Rejected(reason)) => {
                tracing::error!(reason, batch = %sealed.id, "the store rejects a batch; it is set aside in quarantine/");
                journal.quarantine_batch(sealed).map_err(later)
            }
            Err(error) => Err(error),
        }
    }
}

/// Anything up to the whole pause: edges that failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let share = getrandom::u32().unwrap_or(u32::MAX);
    pause.mul_f64(f64::from(share) / f64::from(u32::MAX))
}
