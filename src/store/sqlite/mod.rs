//! The embedded store: one SQLite file, nothing else to install.
//!
//! Owns the file. A batch is one transaction that begins with a row for the batch itself, so a
//! batch is stored once however often it is offered. Write-ahead logging
//! (<https://sqlite.org/wal.html>) lets `waypost usage` read while the edge writes. What is stored
//! in a file that somebody has moved or removed is not in the store: so whoever stores asks
//! [`Sqlite::is_replaced`] before a batch, and before its segment's file is deleted. A scan is deleted only
//! by the limits that are configured: see `room.rs`.

mod counting;
mod daily;
mod figures;
mod hours;
mod question;
mod room;
mod sign_health;
mod tables;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use super::{Batch, StoreError, Stored};
use crate::system::{Identity, identity, pace};
use counting::Counts;
pub(super) use room::REMEMBERED;
use tables::{CONNECTION, FOREIGN, VERSION};

/// A writer waits this long for another to finish.
const BUSY: Duration = Duration::from_secs(5);

/// Why the embedded store's file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// Its folder can't be made.
    #[error("{folder}: {error}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// SQLite can't open, read or write it.
    #[error("{path}: SQLite: {error}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// It is another program's.
    #[error("{0}: expected a database of Waypost (store.path), found one of another program")]
    Foreign(PathBuf),
    /// It is a later release's.
    #[error("{path}: expected version 1 to {VERSION} of the tables, found {found}, which is a later release's")]
    Version {
        /// The file.
        path: PathBuf,
        /// The number in it.
        found: i64,
    },
    /// It was moved or removed while it was opened, or while a batch was stored.
    #[error("{0}: was moved, replaced or removed meanwhile")]
    Replaced(PathBuf),
    /// It was moved, replaced or removed, and can't be closed yet.
    #[error("{0}: was moved, replaced or removed, and the old file is still being read")]
    StillRead(PathBuf),
    /// The file system has too little left.
    #[error("{path}: expected {min_free} bytes free on its file system (journal.min_free), found {free}")]
    NoneToSpare {
        /// The file.
        path: PathBuf,
        /// What is to be left free.
        min_free: u64,
        /// What is free.
        free: u64,
    },
}

/// The embedded store.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// Where symbolic links lead: SQLite keeps its other files there.
    real: PathBuf,
    /// Of the files that are open: the database, its write-ahead log, and the log's index.
    identities: [Option<Identity>; 3],
}

/// Which files the database, its write-ahead log and the log's index are (<https://sqlite.org/wal.html>); `None` where
/// there is none.
fn identities(path: &Path, real: &Path) -> [Option<Identity>; 3] {
    let beside = |end| identity(&beside(real, end)).ok();
    [identity(path).ok(), beside("-wal"), beside("-shm")]
}

/// The file that SQLite keeps beside a database under its name and this end.
fn beside(real: &Path, end: &str) -> PathBuf {
    let mut name = real.as_os_str().to_owned();
    name.push(end);
    name.into()
}

impl Sqlite {
    /// Opens the store for writing; makes it where there is none, and upgrades an earlier version's, whose scans
    /// [`Sqlite::count_older`] then counts.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| {
                StoreError::Unavailable(SqliteError::Folder { folder: folder.to_owned(), error }.into())
            })?;
        }
        let failed = |error| unavailable(path, error);
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        // At once: what follows may wait for somebody's lock, and the file be moved meanwhile.
        let before = identity(path).ok();
        let version = refuse_foreign(&connection, path)?;
        connection.execute_batch(CONNECTION).map_err(failed)?;
        if version < VERSION {
            let upgrade = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
            // Another process may have done it meanwhile.
            let version = refuse_foreign(&upgrade, path)?;
            if version < VERSION {
                upgrade.execute_batch(&tables::setup(version)).map_err(failed)?;
            }
            upgrade.commit().map_err(failed)?;
        }
        let store = Self::with(connection, path);
        if before.is_none() || store.identities[0] != before {
            return Err(replaced(path));
        }
        Ok(store)
    }

    fn with(connection: Connection, path: &Path) -> Self {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let identities = identities(path, &real);
        Self { connection, path: path.to_owned(), real, identities }
    }

    /// Whether the files at the store's path are no longer the ones that are open: what goes into a
    /// write-ahead log without a name is gone with the process. (A file that is overwritten in place
    /// keeps its inode, and can't be told from the old one.)
    pub fn is_replaced(&self) -> bool {
        identities(&self.path, &self.real) != self.identities
    }

    /// Fails if [`Sqlite::is_replaced`].
    pub(super) fn ensure_in_place(&self) -> Result<(), StoreError> {
        if self.is_replaced() { Err(replaced(&self.path)) } else { Ok(()) }
    }

    /// Prepares to close a file that was moved, replaced or removed: its write-ahead log is brought
    /// into it, and dropping this store then leaves nothing behind. The log is found by its name and
    /// not by its file, so opening the path while the log still has something would lose that, or
    /// take it into the new file; and closing must not remove a log that belongs to the new one.
    /// Fails while readers hold it up.
    pub fn leave(&self) -> Result<(), StoreError> {
        let is_busy = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
        match self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], is_busy) {
            Ok(true) => return Err(StoreError::Unavailable(SqliteError::StillRead(self.path.clone()).into())),
            Ok(false) => {}
            // What can't be brought over now never can.
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%error, %path, "the write-ahead log of the store's old file can't be brought into it");
            }
        }
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map(|_| ())
            .map_err(|error| self.unavailable(error))
    }

    /// Opens the store to read; `None` where there is none yet, or where its tables are only being
    /// made.
    pub fn open_read_only(path: &Path) -> Result<Option<Self>, StoreError> {
        if !path.exists() {
            return Ok(None);
        }
        let failed = |error| unavailable(path, error);
        // Not read-only to SQLite: a write-ahead log left by a crash is taken in by the first reader.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        connection.execute_batch("PRAGMA query_only = ON").map_err(failed)?;
        // The last that making the tables sets.
        let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
        let is_made = version.map_err(failed)? > 0;
        Ok(is_made.then(|| Self::with(connection, path)))
    }

    /// Whether it can be written to: another process may hold its lock.
    pub fn ping(&mut self) -> Result<(), StoreError> {
        let lock = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        lock.and_then(rusqlite::Transaction::rollback).map_err(|error| self.unavailable(error))
    }

    /// Stores a batch, whole and once.
    pub fn insert(&mut self, batch: &Batch) -> Result<Stored, StoreError> {
        self.try_insert(batch).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => {
                StoreError::Rejected(SqliteError::Sqlite { path: self.path.clone(), error }.into())
            }
            _ => self.unavailable(error),
        })
    }

    fn unavailable(&self, error: rusqlite::Error) -> StoreError {
        unavailable(&self.path, error)
    }

    /// How many scans there are in batches that `waypost backfill` has not carried over yet, and in all.
    pub fn backfill_left(&self) -> Result<(u64, u64), StoreError> {
        let sql = "SELECT coalesce(sum(rows) FILTER (WHERE batch NOT IN (SELECT batch FROM carried)), 0), coalesce(sum(rows), 0) FROM batches";
        let read = || -> rusqlite::Result<(i64, i64)> {
            self.connection.execute_batch("CREATE TABLE IF NOT EXISTS carried (batch INTEGER PRIMARY KEY) STRICT")?;
            self.connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        };
        let counts = read().map_err(|error| self.unavailable(error))?;
        Ok((counts.0.cast_unsigned(), counts.1.cast_unsigned()))
    }

    /// The oldest batch that is not carried over yet, and its number here.
    pub fn backfill_next(&self) -> Result<Option<(i64, Batch)>, StoreError> {
        self.try_backfill_next().map_err(|error| self.unavailable(error))
    }

    fn try_backfill_next(&self) -> rusqlite::Result<Option<(i64, Batch)>> {
        let sql =
            "SELECT batch, id, edge FROM batches WHERE batch NOT IN (SELECT batch FROM carried) ORDER BY batch LIMIT 1";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?));
        let Some((number, id, edge)) = self.connection.query_row(sql, [], row).optional()? else { return Ok(None) };
        let mut rows = self.connection.prepare_cached(&tables::select())?;
        let scans = rows.query_map([number], tables::read)?.collect::<rusqlite::Result<_>>()?;
        Ok(Some((number, Batch { id: id.parse().unwrap_or_default(), edge, scans })))
    }

    /// Notes that the batch has arrived where it was to be carried.
    pub fn backfill_done(&self, number: i64) -> Result<(), StoreError> {
        let done = self.connection.execute("INSERT OR IGNORE INTO carried VALUES (?1)", [number]);
        done.map(|_| ()).map_err(|error| self.unavailable(error))
    }

    fn try_insert(&mut self, batch: &Batch) -> rusqlite::Result<Stored> {
        let id = batch.id.to_string();
        let rows = i64::try_from(batch.scans.len()).unwrap_or(i64::MAX);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let new = transaction.execute(
            "INSERT INTO batches (id, edge, rows) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
            params![id, batch.edge, rows],
        )?;
        let number = if new > 0 {
            transaction.last_insert_rowid()
        } else {
            let known = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?));
            let (number, known_rows) =
                transaction.query_row("SELECT batch, rows FROM batches WHERE id = ?1", [&id], known)?;
            if known_rows >= rows {
                return Ok(Stored::Already);
            }
            // It was damaged then, and somebody has put a better copy back: what was missing joins it.
            transaction.execute("UPDATE batches SET rows = ?2 WHERE batch = ?1", [number, rows])?;
            number
        };
        let mut counts = if new > 0 { Counts::default() } else { Counts::of_known(&transaction)? };
        // What is missing from a batch that was stored before was perhaps dropped.
        let gone_before = if new > 0 { i64::MIN } else { room::gone_before(&transaction)? };
        {
            let mut insert = transaction.prepare_cached(&tables::insert())?;
            let mut last = None;
            for (seq, scan) in batch.scans.iter().filter(|(_, scan)| scan.ts_ms >= gone_before) {
                pace::step();
                if tables::execute(&mut insert, number, *seq, scan, last)? {
                    counts.count(number, *seq, scan);
                }
                last = Some(scan);
            }
        }
        counts.write(&transaction)?;
        transaction.commit()?;
        Ok(Stored::New)
    }
}

fn unavailable(path: &Path, error: rusqlite::Error) -> StoreError {
    StoreError::Unavailable(SqliteError::Sqlite { path: path.to_owned(), error }.into())
}

fn replaced(path: &Path) -> StoreError {
    StoreError::Unavailable(SqliteError::Replaced(path.to_owned()).into())
}

/// The version of the tables, 0 for none. Another program's database, or a later release's, is not written to.
fn refuse_foreign(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let number =
        |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| unavailable(path, error));
    let refused = match number("PRAGMA user_version")? {
        version @ 1..=VERSION => return Ok(version),
        0 if number(FOREIGN)? == 0 => return Ok(0),
        0 => SqliteError::Foreign(path.to_owned()),
        found => SqliteError::Version { path: path.to_owned(), found },
    };
    Err(StoreError::Unavailable(refused.into()))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::core::scan::{Agent, App, COLUMNS, Channel, Client, Device, Origin, Os, Outcome, Scan};

    /// A scan with a value of its own in every column; between them, every word there is.
    fn scan(number: usize) -> Scan {
        fn nth<T: Copy>(all: &[T], number: usize) -> T {
            all[number % all.len()]
        }
        let word = |prefix| format!("{prefix}{number}").as_str().try_into().expect("a short word");
        Scan {
            ts_ms: 1_795_230_000_000 + i64::try_from(number).expect("a small number"),
            generation: u64::MAX - number as u64,
            code: format!("C{number}").parse().expect("a code"),
            outcome: nth(Outcome::ALL, number),
            channel: nth(Channel::ALL, number + 1),
            client: Client {
                device: nth(Device::ALL, number),
                os: nth(Os::ALL, number + 1),
                app: nth(App::ALL, number + 2),
                agent: nth(Agent::ALL, number + 2),
            },
            repeat: number.is_multiple_of(2),
            lang: word("lang-"),
            served: word("served-"),
            origin: Origin {
                country: "VN".try_into().expect("two letters"),
                region: "Lạng Sơn".try_into().expect("short"),
            },
        }
    }

    #[test]
    fn every_column_of_a_scan_is_stored_and_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = Sqlite::open(&folder.path().join("waypost.db")).expect("a store");
        let scans: Vec<_> = (0..u32::try_from(App::ALL.len()).expect("a few")).zip((0..).map(scan)).collect();
        let batch = Batch { id: Uuid::now_v7(), edge: "edge-1".to_owned(), scans };
        assert_eq!(store.insert(&batch).expect("stored"), Stored::New);
        assert_eq!(store.insert(&batch).expect("known"), Stored::Already);

        store.backfill_left().expect("the list of what was carried");
        let (_, read) = store.backfill_next().expect("readable").expect("a batch");
        assert_eq!((read.id, read.edge, read.scans), (batch.id, batch.edge, batch.scans));

        let sql = "SELECT group_concat(name, ' ') FROM pragma_table_info('scans')";
        let columns: String = store.connection.query_row(sql, [], |row| row.get(0)).expect("columns");
        assert_eq!(columns, format!("batch seq {}", COLUMNS.map(|column| column.name).join(" ")));
    }

    #[test]
    fn an_error_names_the_file_and_what_sqlite_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("waypost.db");
        std::fs::write(&path, "no database at all, but a text that is long enough to be looked at").expect("written");
        for error in [Sqlite::open(&path).map(drop), Sqlite::open_read_only(&path).map(drop)] {
            let text = error.expect_err("no database").to_string();
            assert_eq!(text, format!("the store is unavailable: {}: SQLite: file is not a database", path.display()));
        }
    }
}
