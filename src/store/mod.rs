//! Where scans end up.
//!
//! Owns what a batch is, and what is common to the two stores. A batch is the same bytes at every
//! try and carries the segment's identity, so a store that has it already says so and nothing is
//! counted twice. How batches get there is `delivery.rs`'s.

mod clickhouse;
mod client;
mod delivery;
mod metrics;
pub mod native;
mod schema;
mod sqlite;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use uuid::Uuid;

pub use clickhouse::{ClickHouse, Settings as ClickHouseSettings};
pub use delivery::Deliveries;
pub use schema::Schema;
pub use sqlite::Sqlite;
pub use usage::{By, Question, Row, Tally, Usage};

use crate::core::scan::Scan;
use crate::registry::Registry;

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
    /// Nobody answers who can say yes: no server, no file, or somebody else in its place.
    #[error("the store is not there: {0}")]
    Away(String),
    /// The store answers that it can't take this batch now; a later try may succeed.
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

    /// Whether the embedded store's file is no longer the one at its path.
    fn is_replaced(&self) -> bool {
        match self {
            Self::Sqlite(store) => store.is_replaced(),
            Self::ClickHouse(_) => false,
        }
    }

    /// Prepares to let go of it, with everything that was stored in its file.
    fn leave(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.leave(),
            Self::ClickHouse(_) => Ok(()),
        }
    }

    /// Whether it is there for a batch.
    fn ping(&mut self, id: Uuid) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.ping(),
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
