//! The embedded store: one SQLite file, nothing else to install.
//!
//! Owns the tables. A batch is one transaction that begins with a row for the batch
//! itself, so a batch is stored once however often it is offered. Write-ahead logging
//! (<https://sqlite.org/wal.html>) lets `waypost usage` read while the edge writes. What is stored
//! in a file that somebody has moved or removed is not in the store: so whoever stores asks
//! [`Sqlite::is_replaced`] before a batch, and before its segment goes.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use super::{Batch, StoreError, Stored};
use crate::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Scan, Word};

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

/// How many tables there are that are not ours.
const FOREIGN: &str = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' \
    AND name NOT IN ('batches', 'scans', 'carried')";

/// The number in `PRAGMA user_version` that [`SETUP`] leaves.
const VERSION: i64 = 1;

/// A writer waits this long for another to finish.
const BUSY: Duration = Duration::from_secs(5);

/// The embedded store.
#[derive(Debug)]
pub struct Sqlite {
    pub(super) connection: Connection,
    path: PathBuf,
    /// Where links lead: SQLite keeps its other files there.
    real: PathBuf,
    /// Of the files that are open: the database, and beside it what is not in it yet and its index.
    identities: [Identity; 3],
}

/// Device and inode of a file; `None` where there is none.
type Identity = Option<(u64, u64)>;

/// Device and inode of the file at a path. (Looked up by name: opening it ourselves, and closing it
/// again, would end SQLite's locks on it. <https://sqlite.org/howtocorrupt.html>, section 2.2)
fn identity(path: &Path) -> Identity {
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The same of the database, and of what SQLite keeps beside where it really is
/// (<https://sqlite.org/wal.html>).
fn identities(path: &Path, real: &Path) -> [Identity; 3] {
    let beside = |end| {
        let mut name = real.as_os_str().to_owned();
        name.push(end);
        identity(Path::new(&name))
    };
    [identity(path), beside("-wal"), beside("-shm")]
}

impl Sqlite {
    /// Opens the store for writing, and makes it where there is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| StoreError::Away(format!("{}: {error}", folder.display())))?;
        }
        let connection = Connection::open(path).map_err(|error| away(&error))?;
        connection.busy_timeout(BUSY).map_err(|error| away(&error))?;
        // At once: what follows may wait for somebody's lock, and the file be moved meanwhile.
        let before = identity(path);
        refuse_foreign(&connection, path)?;
        connection.execute_batch(SETUP).map_err(|error| away(&error))?;
        let store = Self::with(connection, path);
        if before.is_none() || store.identities[0] != before {
            return Err(StoreError::Away(format!("{}: was moved or removed while it was opened", path.display())));
        }
        Ok(store)
    }

    fn with(connection: Connection, path: &Path) -> Self {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let identities = identities(path, &real);
        Self { connection, path: path.to_owned(), real, identities }
    }

    /// Whether the files at the store's path are no longer the ones that are open: what goes into a
    /// write-ahead log without a name is gone with the process. (One that is written over in place
    /// keeps its inode, and is not told from the old one.)
    pub fn is_replaced(&self) -> bool {
        identities(&self.path, &self.real) != self.identities
    }

    /// Prepares to let go of a file that was moved or removed: what is in its write-ahead log is
    /// brought into it, and dropping this store then leaves nothing behind. The log is found by its
    /// name and not by its file, so opening the path while it still has something would lose that,
    /// or take it into the new file; and closing must not remove a log that belongs to the new one.
    /// An error says that readers hold it up.
    pub fn leave(&self) -> Result<(), StoreError> {
        let is_busy = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
        match self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], is_busy) {
            Ok(true) => return Err(StoreError::Away("its old file is still being read".to_owned())),
            Ok(false) => {}
            // What can't be brought over now never can.
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log of the store's old file can't be brought into it");
            }
        }
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(|error| away(&error))?;
        Ok(())
    }

    /// Opens the store to read; `None` where there is none yet, or none that is whole.
    pub fn open_read_only(path: &Path) -> Result<Option<Self>, StoreError> {
        if !path.exists() {
            return Ok(None);
        }
        // Not read-only to SQLite: a write-ahead log left by a crash is taken in by the first reader.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| away(&error))?;
        connection.busy_timeout(BUSY).map_err(|error| away(&error))?;
        connection.execute_batch("PRAGMA query_only = ON").map_err(|error| away(&error))?;
        // The setup says this last: before, the edge is making the tables at this moment.
        let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
        let is_made = version.map_err(|error| away(&error))? > 0;
        Ok(is_made.then(|| Self::with(connection, path)))
    }

    /// Whether it can be written to: somebody else may have locked it.
    pub fn ping(&mut self) -> Result<(), StoreError> {
        let lock = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        lock.and_then(rusqlite::Transaction::rollback).map_err(|error| away(&error))
    }

    /// Stores a batch, whole and once.
    pub fn insert(&mut self, batch: &Batch) -> Result<Stored, StoreError> {
        self.try_insert(batch).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => {
                StoreError::Rejected(error.to_string())
            }
            _ => away(&error),
        })
    }

    /// How many scans there are in batches that `backfill` has not carried over yet, and in all.
    pub fn backfill_left(&self) -> Result<(u64, u64), StoreError> {
        let sql = "SELECT coalesce(sum(rows) FILTER (WHERE batch NOT IN (SELECT batch FROM carried)), 0), coalesce(sum(rows), 0) FROM batches";
        let read = || -> rusqlite::Result<(i64, i64)> {
            self.connection.execute_batch("CREATE TABLE IF NOT EXISTS carried (batch INTEGER PRIMARY KEY) STRICT")?;
            self.connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        };
        read().map(|(left, all)| (left.cast_unsigned(), all.cast_unsigned())).map_err(|error| away(&error))
    }

    /// The oldest batch that is not carried over yet, and its number here.
    pub fn backfill_next(&self) -> Result<Option<(i64, Batch)>, StoreError> {
        self.try_backfill_next().map_err(|error| away(&error))
    }

    fn try_backfill_next(&self) -> rusqlite::Result<Option<(i64, Batch)>> {
        let sql =
            "SELECT batch, id, edge FROM batches WHERE batch NOT IN (SELECT batch FROM carried) ORDER BY batch LIMIT 1";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?));
        let Some((number, id, edge)) = self.connection.query_row(sql, [], row).optional()? else { return Ok(None) };
        let mut rows = self.connection.prepare_cached("SELECT * FROM scans WHERE batch = ?1 ORDER BY seq")?;
        let scans = rows.query_map([number], |row| Ok((row.get(1)?, scan(row)?)))?.collect::<rusqlite::Result<_>>()?;
        Ok(Some((number, Batch { id: id.parse().unwrap_or_default(), edge, scans })))
    }

    /// The batch is where it was to be carried.
    pub fn backfill_done(&self, number: i64) -> Result<(), StoreError> {
        let done = self.connection.execute("INSERT OR IGNORE INTO carried VALUES (?1)", [number]);
        done.map(|_| ()).map_err(|error| away(&error))
    }

    fn try_insert(&mut self, batch: &Batch) -> rusqlite::Result<Stored> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let new = transaction.execute(
            "INSERT INTO batches (id, edge, rows) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
            params![batch.id.to_string(), batch.edge, batch.scans.len() as i64],
        )?;
        let number: i64 = if new > 0 {
            transaction.last_insert_rowid()
        } else {
            let known = "SELECT batch, rows FROM batches WHERE id = ?1";
            let of = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?));
            let (number, rows) = transaction.query_row(known, [batch.id.to_string()], of)?;
            if rows >= batch.scans.len() as i64 {
                return Ok(Stored::Already);
            }
            // It was damaged then, and somebody has put a better copy back: what was missing joins it.
            transaction
                .execute("UPDATE batches SET rows = ?2 WHERE batch = ?1", params![number, batch.scans.len() as i64])?;
            number
        };
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO scans VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
                 ON CONFLICT (batch, seq) DO NOTHING",
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

/// Another program's database, or a later release's, is not written to.
fn refuse_foreign(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| away(&error));
    let path = path.display();
    match number("PRAGMA user_version")? {
        VERSION => Ok(()),
        0 => match number(FOREIGN)? {
            0 => Ok(()),
            _ => {
                Err(StoreError::Away(format!("{path}: is a database of something else; store.path names another file")))
            }
        },
        version => {
            Err(StoreError::Away(format!("{path}: has version {version} of the tables; this release knows {VERSION}")))
        }
    }
}

pub(super) fn away(error: &rusqlite::Error) -> StoreError {
    StoreError::Away(format!("SQLite: {error}"))
}

/// A row of `scans` as it was recorded.
fn scan(row: &rusqlite::Row<'_>) -> rusqlite::Result<Scan> {
    Ok(Scan {
        ts_ms: row.get(2)?,
        code: column(row, 3, |text| text.parse().ok())?,
        outcome: column(row, 4, Outcome::from_word)?,
        channel: column(row, 5, Channel::from_word)?,
        lang: column(row, 6, |text| Word::from(text).ok())?,
        served: column(row, 7, |text| Word::from(text).ok())?,
        origin: Origin {
            country: column(row, 8, |text| text.try_into().ok())?,
            region: column(row, 9, |text| text.try_into().ok())?,
        },
        client: Client {
            device: column(row, 10, Device::from_word)?,
            os: column(row, 11, Os::from_word)?,
            app: column(row, 12, App::from_word)?,
            agent: column(row, 13, Agent::from_word)?,
        },
        repeat: row.get(14)?,
        generation: row.get::<_, i64>(15)?.cast_unsigned(),
    })
}

fn column<T>(row: &rusqlite::Row<'_>, at: usize, read: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(at)?;
    let wrong = || rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, text.clone().into());
    read(&text).ok_or_else(wrong)
}
