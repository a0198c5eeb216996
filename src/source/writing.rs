//! Tables that are written by the service itself.
//!
//! Owns the write: a new file beside the old one, durable, with its mode and owner, renamed over it, through a
//! symbolic link where the path is one. Reloads wait meanwhile, so that none sees half of a change to
//! several tables.

use std::io;
use std::path::PathBuf;

use super::publisher::{Publisher, RegistryError};
use super::sources::Sources;
use crate::core::Problems;
use crate::registry::Registry;

/// Why a table can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The folder is read-only, the disk is full, …
    #[error("{}", path.display())]
    Io {
        /// The table.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is no longer as it was read.
    #[error("{}: changed meanwhile", .0.display())]
    Changed(PathBuf),
}

/// The right to write the tables: reloads wait until it is dropped.
pub struct Writing<'p> {
    _publisher: &'p Publisher,
    /// The tables as they are on the disk.
    pub tables: Sources,
}

impl Publisher {
    /// Begins to write; waits for a reload that runs. Reads the tables, within the bounds of a reload.
    pub fn begin_write(&self) -> Result<Writing<'_>, Problems> {
        todo!()
    }
}

impl Writing<'_> {
    /// What the tables would be as a registry, by the rules of a reload. `force` allows any loss of signs.
    pub fn check(&self, next: &Sources, force: bool) -> Result<Registry, RegistryError> {
        todo!("{next:?} {force}")
    }

    /// Writes those of the tables that differ. After an error those that were written already are as they were.
    pub fn write(&mut self, next: &Sources) -> Result<(), WriteError> {
        todo!("{next:?}")
    }

    /// Publishes what was written; the generation.
    pub fn publish(self, registry: Registry) -> u64 {
        todo!("{registry:?}")
    }
}
