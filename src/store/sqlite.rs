//! The embedded store: one SQLite file, nothing else to install.
//!
//! Owns the tables. A batch is one transaction that begins with a row for the batch
//! itself, so a batch is stored once however often it is offered. Write-ahead logging
//! (<https://sqlite.org/wal.html>) lets `waypost usage` read while the edge writes.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

use super::{Batch, StoreError, Stored};

/// `synchronous = FULL` makes a commit durable before the segment's file is deleted.
const SETUP: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS batches (
        batch INTEGER PRIMARY KEY,
        id    TEXT NOT NULL UNIQUE,
        edge  TEXT NOT NULL,
        rows  INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS scans (
        batch INTEGER NOT NULL REFERENCES batches (batch),
        seq INTEGER NOT NULL,
        ts INTEGER NOT NULL,              -- milliseconds since the Unix epoch, UTC
        code TEXT NOT NULL, outcome TEXT NOT NULL, channel TEXT NOT NULL,
        lang TEXT NOT NULL, served TEXT NOT NULL, country TEXT NOT NULL, region TEXT NOT NULL,
        device TEXT NOT NULL, os TEXT NOT NULL, app TEXT NOT NULL, agent TEXT NOT NULL,
        repeat INTEGER NOT NULL, generation INTEGER NOT NULL,
        PRIMARY KEY (batch, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS scans_by_ts ON scans (ts, outcome, code, agent, repeat);
    PRAGMA user_version = 1;
";

/// A writer waits this long for another to finish.
const BUSY: Duration = Duration::from_secs(5);

/// The embedded store.
#[derive(Debug)]
pub struct Sqlite {
    pub(super) connection: Connection,
}

impl Sqlite {
    /// Opens the store for writing, and makes it where there is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| StoreError::Later(error.to_string()))?;
        }
        let connection = Connection::open(path).map_err(|error| later(&error))?;
        connection.busy_timeout(BUSY).map_err(|error| later(&error))?;
        connection.execute_batch(SETUP).map_err(|error| later(&error))?;
        Ok(Self { connection })
    }

    /// Opens the store to read; `None` where there is none yet, or none that is whole.
    pub fn open_read_only(path: &Path) -> Result<Option<Self>, StoreError> {
        if !path.exists() {
            return Ok(None);
        }
        // Not read-only to SQLite: a write-ahead log left by a crash is taken in by the first reader.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| later(&error))?;
        connection.busy_timeout(BUSY).map_err(|error| later(&error))?;
        connection.execute_batch("PRAGMA query_only = ON").map_err(|error| later(&error))?;
        // The setup says this last: before, the edge is making the tables at this moment.
        let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
        let is_made = version.map_err(|error| later(&error))? > 0;
        Ok(is_made.then_some(Self { connection }))
    }

    /// Stores a batch, whole and once.
    pub fn insert(&mut self, batch: &Batch) -> Result<Stored, StoreError> {
        self.try_insert(batch).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => {
                StoreError::Rejected(error.to_string())
            }
            _ => later(&error),
        })
    }

    fn try_insert(&mut self, batch: &Batch) -> rusqlite::Result<Stored> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let new = transaction.execute(
            "INSERT INTO batches (id, edge, rows) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
            params![batch.id.to_string(), batch.edge, batch.scans.len() as i64],
        )?;
        if new == 0 {
            return Ok(Stored::Already);
        }
        let number = transaction.last_insert_rowid();
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO scans VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            )?;
            for (seq, scan) in &batch.scans {
                insert.execute(params![
                    number,
                    seq,
                    scan.ts_ms,
                    scan.code.text().as_str(),
                    scan.outcome.as_str(),
                    scan.channel.as_str(),
                    scan.lang.as_str(),
                    scan.served.as_str(),
                    scan.origin.country.as_str(),
                    scan.origin.region.as_str(),
                    scan.client.device.as_str(),
                    scan.client.os.as_str(),
                    scan.client.app.as_str(),
                    scan.client.agent.as_str(),
                    scan.repeat,
                    scan.generation.cast_signed(),
                ])?;
            }
        }
        transaction.commit()?;
        Ok(Stored::New)
    }
}

pub(super) fn later(error: &rusqlite::Error) -> StoreError {
    StoreError::Later(format!("SQLite: {error}"))
}
