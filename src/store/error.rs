//! Why a store does not do what it is asked.
//!
//! Owns what the delivery decides by: each kind of failure has a treatment of its own. A text names
//! what is behind it, down to the system's own words, so whoever logs an error prints it alone.

use std::path::PathBuf;

use super::clickhouse::{ClientError, RequestError};
use super::sqlite::SqliteError;
use crate::journal::SettleError;

/// A failure, by what may be done about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No store can be reached: no server, no file, or something else in its place. Anything
    /// may be tried again.
    #[error("the store is unavailable: {0}")]
    Unavailable(Cause),
    /// The store answered that it can't do this now. The same may succeed later, others at once.
    #[error("temporary failure: {0}")]
    Temporary(Cause),
    /// No retry can succeed: the batch itself is at fault.
    #[error("the store rejects what it is sent: {0}")]
    Rejected(Cause),
    /// The store refuses the user, the password, or what the user may do.
    #[error("the store refuses the user, the password or the user's rights: {0}")]
    Unauthorized(Cause),
}

/// What is behind a [`StoreError`].
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The embedded store's file.
    #[error(transparent)]
    Sqlite(#[from] SqliteError),
    /// A request to ClickHouse.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What requests to ClickHouse are made of.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Blocks of the registry that were confirmed are not there.
    #[error("expected {signs} signs of a generation in registry_signs, found {stored}")]
    Signs {
        /// That were confirmed.
        signs: u64,
        /// That are there.
        stored: u64,
    },
    /// The file of a sealed segment, which can't be removed or set aside.
    #[error("{path}: {error}")]
    Segment {
        /// The file.
        path: PathBuf,
        /// What keeps it from being settled.
        error: SettleError,
    },
}
