//! The composition of what administrators get: the file that it stands on, its threads, its page.
//!
//! Owns the order. What an end of the process has interrupted is finished in the tables' files before they are
//! read, and in the history once they serve. Nothing of this exists where `console.listen` is empty.

use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use super::{StartError, spawn, wait};
use crate::accounts::Accounts;
use crate::changes::{Applier, Changes};
use crate::config::Config;
use crate::console::Figures;
use crate::history::{Database, DatabaseError};
use crate::source::Publisher;
use crate::store::Checkup;
use crate::system::priority;

/// The parts, built and bound, not serving yet.
pub(super) struct Console {
    pub listener: StdListener,
    pub database: Arc<Database>,
    pub accounts: Arc<Accounts>,
    pub changes: Arc<Changes>,
    pub applier: Arc<Applier>,
    pub figures: Arc<Figures>,
}

/// Its threads.
pub(super) struct ConsoleThreads {
    parts: Arc<Console>,
    changes: JoinHandle<()>,
    figures: JoinHandle<()>,
}

/// Opens the file, and finishes what was being written to the tables.
pub(super) fn open(config: &Config) -> Result<Arc<Database>, DatabaseError> {
    let database = Arc::new(Database::open(&config.console.path)?);
    Applier::recover(&database, &config.registry.files)?;
    Ok(database)
}

impl Console {
    /// Builds the parts, once the registry serves.
    pub fn new(config: &Config, listener: StdListener, database: Arc<Database>, publisher: Arc<Publisher>) -> Self {
        let changes = Arc::new(Changes::new(database.clone(), config.console.approvals));
        let files = config.registry.files.clone();
        let applier = Arc::new(Applier::new(database.clone(), changes.clone(), publisher, files));
        let accounts = Arc::new(Accounts::new(database.clone()));
        Self { listener, database, accounts, changes, applier, figures: Arc::default() }
    }

    /// Starts the threads.
    pub fn start(self: Arc<Self>, config: &Config, checkup: &Arc<Checkup>) -> Result<ConsoleThreads, StartError> {
        let applier = self.applier.clone();
        let changes = spawn("changes", move || {
            priority::lower(priority::LAST);
            applier.run();
        })?;
        let (figures, checkup) = (self.figures.clone(), checkup.clone());
        let (store, timezone) = (config.store.clone(), config.registry.rules.timezone.clone());
        let figures = spawn("figures", move || {
            priority::lower(priority::LAST);
            figures.run(&store, &timezone, &checkup);
        })?;
        Ok(ConsoleThreads { parts: self, changes, figures })
    }
}

impl ConsoleThreads {
    /// Ends them. A set that is being applied is finished by the next start.
    pub fn stop(self, until: Instant) -> Result<(), StartError> {
        self.parts.applier.stop();
        self.parts.figures.stop();
        [self.changes, self.figures].into_iter().try_for_each(|thread| wait(thread, until).unwrap_or(Ok(())))
    }
}
