//! `console.db`: one SQLite file, written by one connection, read by others.
//!
//! Owns the file: made for its owner alone, with a write-ahead log, each commit durable. A transaction
//! that writes begins as one (`BEGIN IMMEDIATE`): one that reads first and writes then could fail with a
//! snapshot that is too old, which no timeout waits out. What a transaction has appended to the history is
//! logged once it is durable, and not before. A file that was put in the place of this one meanwhile is neither read
//! nor taken for it: what is written goes nowhere but into the file that is at its path.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, Error, OpenFlags, Transaction, TransactionBehavior, ffi};

use super::entry::head;
use crate::core::lock;
use crate::system::{Identity, identity};

/// A writer waits this long for one of another process, such as `waypost console invite`.
const BUSY: Duration = Duration::from_secs(5);
/// The stop waits no longer for what another process does to the file.
const BUSY_AT_THE_STOP: Duration = Duration::from_secs(1);
/// Connections that are kept for the next reader; under more readers at once each has its own for that time.
const READERS: usize = 4;
/// What makes each version of the tables from the one before it, the first from nothing.
const STEPS: [&str; 1] = [include_str!("schema.sql")];
/// The last of them, in `PRAGMA user_version`.
const VERSION: i64 = 1;
/// For the connection that writes. A write-ahead log that has grown by a large table is cut to 16 MiB again.
const WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
    PRAGMA journal_size_limit = 16777216;";

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
    /// It is another program's.
    #[error("{}: expected a database of the console, found one of another program", .0.display())]
    Foreign(PathBuf),
    /// Another process applies change sets.
    #[error("{}: in use by another process", .0.display())]
    InUse(PathBuf),
    /// The folder or the file can't be made or opened.
    #[error("{}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The console's database.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    /// Of the file that was opened.
    file: Identity,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// Ends with the process, however it ends.
    _lock: Option<File>,
}

impl Database {
    /// Opens the file for the one process that applies change sets. A command beside it opens it by [`Self::open`].
    pub fn open_alone(path: &Path) -> Result<Self, DatabaseError> {
        make_folder(path)?;
        // A file of its own: SQLite's locks on the database end with any descriptor of it that is closed.
        let beside = path.with_extension("lock");
        let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(&beside);
        let lock = lock.map_err(|source| DatabaseError::Io { path: beside.clone(), source })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: Some(lock), ..Self::open(path)? }),
            Err(TryLockError::WouldBlock) => Err(DatabaseError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(DatabaseError::Io { path: beside, source }),
        }
    }

    /// Opens the file, and makes it, with its folder, where it is not there.
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        let of = |path: &Path| {
            let path = path.to_owned();
            move |source| DatabaseError::Io { path, source }
        };
        make_folder(path)?;
        // SQLite would make it for everybody to read; its log has the mode of the file.
        match File::options().write(true).create_new(true).mode(0o600).open(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(of(path)(error)),
            _ => {}
        }
        let mut writer = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        writer.busy_timeout(BUSY)?;
        writer.execute_batch(WRITER)?;
        // Nothing is written where nothing is to be done: a full disk keeps nobody from reading.
        if version(&writer, path)? < VERSION {
            let steps = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = version(&steps, path)?;
            for step in STEPS.iter().skip(usize::try_from(done).unwrap_or(0)) {
                steps.execute_batch(step)?;
            }
            steps.pragma_update(None, "user_version", VERSION)?;
            steps.commit()?;
        }
        let file = identity(path).map_err(of(path))?;
        Ok(Self { path: path.to_owned(), file, writer: Mutex::new(writer), readers: Mutex::default(), _lock: None })
    }

    /// Opens a file that is there, to read and never to change it, whether or not it is being written.
    pub fn open_to_read(path: &Path) -> Result<Connection, DatabaseError> {
        // SQLite says only that it can't.
        File::open(path).map_err(|source| DatabaseError::Io { path: path.to_owned(), source })?;
        let connection = reader(path)?;
        match version(&connection, path)? {
            0 => Err(DatabaseError::Foreign(path.to_owned())),
            _ => Ok(connection),
        }
    }

    /// Does one thing, whole or not at all; it is durable when this returns.
    pub fn write<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut writer = lock(&self.writer);
        self.is_in_its_place()?;
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = head(&transaction)?;
        let result = work(&transaction)?;
        let after = head(&transaction)?;
        transaction.commit()?;
        if after != before {
            // Under the lock, so that heads are logged in their order.
            tracing::info!(head = %after, "history");
        }
        Ok(result)
    }

    /// Reads, as everything stood at one time. Waits for no writer.
    pub fn read<T, E: From<rusqlite::Error>>(&self, work: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        self.is_in_its_place()?;
        let kept = lock(&self.readers).pop();
        let mut connection = kept.map_or_else(|| reader(&self.path), Ok)?;
        // Ends by itself, as nothing is written.
        let result = work(&*connection.transaction()?);
        let mut readers = lock(&self.readers);
        if readers.len() < READERS {
            readers.push(connection);
        }
        result
    }

    /// At the stop: brings what the write-ahead log has into the file, so that a copy of the file alone is whole.
    pub fn merge_log(&self) -> rusqlite::Result<()> {
        let writer = lock(&self.writer);
        self.is_in_its_place()?;
        writer.busy_timeout(BUSY_AT_THE_STOP)?;
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }

    /// Whether the file that was opened is the one at the path. SQLite goes on with one that was moved away or removed,
    /// and all that it takes is gone with the process.
    fn is_in_its_place(&self) -> rusqlite::Result<()> {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            return Ok(());
        }
        let path = self.path.display();
        let text = format!(
            "{path}: expected the file that was opened at the start, found another or none (a backup is put in its \
             place while the service is stopped, and its -wal and -shm files are removed with it)"
        );
        Err(Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED), Some(text)))
    }
}

fn make_folder(path: &Path) -> Result<(), DatabaseError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let made = DirBuilder::new().recursive(true).mode(0o750).create(folder);
    made.map_err(|source| DatabaseError::Io { path: folder.to_owned(), source })
}

fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// The version of the tables: 0 in a new file.
fn version(connection: &Connection, path: &Path) -> Result<i64, DatabaseError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    let ours = "SELECT count(*) FROM sqlite_master WHERE name IN ('history', 'change_sets', 'accounts')";
    let ours: i64 = connection.query_row(ours, [], |row| row.get(0))?;
    match found {
        _ if tables > 0 && (ours < 3 || found == 0) => Err(DatabaseError::Foreign(path.to_owned())),
        found if found > VERSION => Err(DatabaseError::Version { expected: VERSION, found }),
        found => Ok(found),
    }
}
