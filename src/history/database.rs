//! `console.db`: one SQLite file, written by one connection, read by others.
//!
//! Owns the file: made for its owner alone, with a write-ahead log, each commit durable. A transaction
//! that writes begins as one (`BEGIN IMMEDIATE`): one that reads first and writes then could fail with a
//! snapshot that is too old, which no timeout waits out.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::{Connection, Transaction};

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// What SQLite says.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// Of a later release.
    #[error("expected version {expected} at most, found {found}: a later release has written it")]
    Version {
        /// What this release knows.
        expected: i64,
        /// What the file says.
        found: i64,
    },
    /// The folder or the file can't be made.
    #[error("{}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// The console's database.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl Database {
    /// Opens the file, and makes it, with its folder, where it is not there.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        todo!("{}", path.display())
    }

    /// Does one thing, whole or not at all; it is durable when this returns.
    pub fn write<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let _ = (&self.path, &self.writer, &self.readers, work);
        todo!()
    }

    /// Reads, as everything stood at one time. Waits for no writer.
    pub fn read<T, E: From<rusqlite::Error>>(&self, work: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        let _ = work;
        todo!()
    }
}
