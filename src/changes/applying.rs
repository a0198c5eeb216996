//! The step that applies a set, and the thread that does it when it is time.

use std::sync::Arc;

use super::model::Changes;
use crate::history::{Database, DatabaseError};
use crate::source::{Files, Publisher};

/// Applies sets that are approved and due, and notices what was changed outside the console.
#[derive(Debug)]
pub struct Applier {
    _changes: Arc<Changes>,
}

impl Applier {
    /// Before the tables are read at the start: finishes, in the files, what an end of the process has
    /// interrupted.
    pub fn recover(database: &Database, files: &Files) -> Result<(), DatabaseError> {
        todo!("{database:?} {files:?}")
    }

    /// Does nothing yet.
    pub fn new(database: Arc<Database>, changes: Arc<Changes>, publisher: Arc<Publisher>, files: Files) -> Self {
        let _ = (database, publisher, files);
        Self { _changes: changes }
    }

    /// Applies sets when they are due, until [`Self::stop`]. One thread does this.
    pub fn run(&self) {}

    /// Has it look now, and waits until it has, for two seconds at most: after an approval.
    pub fn look(&self) {}

    /// Ends [`Self::run`].
    pub fn stop(&self) {}
}
