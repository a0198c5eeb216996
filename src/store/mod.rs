//! Where scans end up.
//!
//! Owns what a batch is, and the choice between the two stores. A batch is the same bytes at every
//! try and carries its segment's identity: a store that already has it says so, and nothing is
//! counted twice. How batches get there is `delivery.rs`'s; what can be asked, `question.rs`'s; what the rule of
//! sign health is given, and what is kept of its answer, `sign_health.rs`'s; what small charts show, `daily.rs`'s.

mod checkup;
pub mod clickhouse;
mod daily;
mod delivery;
mod error;
mod limits;
mod metrics;
mod question;
mod sign_health;
mod sqlite;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

pub use checkup::{Checked, Checkup, CheckupSettings, Judged, judge};
pub use clickhouse::{
    AuthoritiesError, ClickHouse, Schema, Settings as ClickHouseSettings, authorities, system_authorities,
};
pub use daily::{Daily, daily};
pub use delivery::Delivery;
pub use error::{Cause, StoreError};
pub use limits::{Gone, Limits, WhenFull};
pub use question::{By, Question, Row, Tally, Usage};
pub use sign_health::{fill, keep, observe};
pub use sqlite::{Sqlite, SqliteError};

use crate::core::scan::Scan;
use crate::registry::Registry;
use limits::Step;
use question::Counting;

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
    /// It was stored now.
    New,
    /// It had been stored by an earlier try, whose response was lost.
    Already,
}

/// Which store, and where it is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which of the two.
    pub kind: Kind,
    /// The embedded store's file.
    pub path: PathBuf,
    /// How much it keeps.
    pub limits: Limits,
    /// ClickHouse's servers, and how to talk to them.
    pub clickhouse: ClickHouseSettings,
}

/// The stores there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Embedded: one file, with nothing else to install.
    Sqlite,
    /// One or several servers.
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

/// Counts what the configured store has, and makes no tables in it. An embedded store that does not exist yet
/// has no scans; ClickHouse without its tables is an error.
pub fn ask(
    settings: &Settings,
    question: &Question,
    registry: &Registry,
    timezone: &TimeZone,
) -> Result<Usage, StoreError> {
    let mut counting = Counting::new(question, registry, timezone);
    let add = |key: &str, tally| counting.add(key, tally);
    let mut gone = None;
    match settings.kind {
        Kind::Sqlite => {
            if let Some(store) = Sqlite::open_read_only(&settings.path)? {
                store.tallies(question, add)?;
                gone = store.gone()?;
            }
        }
        Kind::ClickHouse => {
            let only_ask = ClickHouseSettings { apply_schema: false, ..settings.clickhouse.clone() };
            ClickHouse::open(&only_ask, timezone)?.tallies(question, add)?;
        }
    }
    let gone = gone.filter(|gone| question.from.is_none_or(|from| from < gone.before));
    Ok(Usage { gone, ..counting.finish() })
}

/// An open store.
enum Store {
    Sqlite(Sqlite, Limits),
    ClickHouse(ClickHouse),
}

impl Store {
    fn open(settings: &Settings, timezone: &TimeZone) -> Result<Self, StoreError> {
        match settings.kind {
            Kind::Sqlite => Sqlite::open(&settings.path).map(|store| Self::Sqlite(store, settings.limits)),
            Kind::ClickHouse => ClickHouse::open(&settings.clickhouse, timezone).map(Self::ClickHouse),
        }
    }

    /// Whether the embedded store's file is no longer the one at its path.
    fn is_replaced(&self) -> bool {
        match self {
            Self::Sqlite(store, _) => store.is_replaced(),
            Self::ClickHouse(_) => false,
        }
    }

    /// Fails if the embedded store's file is no longer the one at its path.
    fn ensure_in_place(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store, _) => store.ensure_in_place(),
            Self::ClickHouse(_) => Ok(()),
        }
    }

    /// Prepares to close it: everything that was stored is in its file then.
    fn leave(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store, _) => store.leave(),
            Self::ClickHouse(_) => Ok(()),
        }
    }

    /// Whether a batch could be offered to it.
    fn ping(&mut self, id: Uuid) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store, limits) => store.ensure_free(limits.min_free).and_then(|()| store.ping()),
            Self::ClickHouse(store) => store.ping(id),
        }
    }

    fn insert(&mut self, batch: &Batch) -> Result<Stored, StoreError> {
        match self {
            Self::Sqlite(store, limits) => store.ensure_free(limits.min_free).and_then(|()| store.insert(batch)),
            // It does not tell whether it had the batch already.
            Self::ClickHouse(store) => store.insert(batch).map(|()| Stored::New),
        }
    }

    /// Counts some of what an earlier release has stored without counting it. Returns whether there is more.
    fn count_older(&mut self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(store, _) => store.count_older(),
            // It is filled with the first computation: see [`fill`].
            Self::ClickHouse(_) => Ok(false),
        }
    }

    /// Drops some of what is beyond the embedded store's limits.
    fn make_room(&mut self) -> Result<Step, StoreError> {
        match self {
            Self::Sqlite(store, limits) => store.make_room(limits, Timestamp::now()),
            // Its tables have a lifetime.
            Self::ClickHouse(_) => Ok(Step::default()),
        }
    }

    /// Bytes of the embedded store's files.
    fn bytes(&self) -> u64 {
        match self {
            Self::Sqlite(store, _) => store.bytes(),
            Self::ClickHouse(_) => 0,
        }
    }

    /// For how long an earlier try of a batch is remembered; `None`: for ever.
    fn forgets_after(&self) -> Option<Duration> {
        match self {
            Self::Sqlite(_, limits) => limits.may_drop().then_some(sqlite::REMEMBERED),
            Self::ClickHouse(_) => Some(Schema::WINDOW_AGE),
        }
    }

    /// Sends some of the registry. Returns the generation that the store has as a whole then, if it has: before there is
    /// more to send. The embedded store has no use for it, and keeps nothing: `waypost usage` reads the files.
    fn publish(&mut self, edge: &str, newest: &Arc<Registry>) -> Result<Option<u64>, StoreError> {
        match self {
            Self::Sqlite(..) => Ok(Some(newest.generation)),
            Self::ClickHouse(store) => store.publish(edge, newest),
        }
    }
}
