//! The composition of what administrators get: the file that it stands on, its threads, its page.
//!
//! Owns the order. What an end of the process has interrupted is finished in the tables' files before they are
//! read, and in the history once they serve. Nothing of this exists where `console.listen` is empty. A panic here ends its
//! own thread, and neither the process nor an answer to a visitor: see `system/logging.rs`.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use prometheus::core::Collector;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch::Receiver;

use super::{StartError, spawn, wait};
use crate::accounts::Accounts;
use crate::changes::{Applier, Changes};
use crate::config::Config;
use crate::console::{self, Figures};
use crate::core::Stage;
use crate::history::{Database, DatabaseError};
use crate::source::Publisher;
use crate::store::Checkup;
use crate::system::priority;

/// Threads for what blocks: pages, hashes (one at a time) and uploads together.
const BLOCKING: usize = 4;

/// The parts, built and bound, not serving yet.
pub(super) struct Console {
    pub address: SocketAddr,
    /// Until it serves.
    socket: Option<(Runtime, TcpListener)>,
    page: Arc<console::Console>,
    pub database: Arc<Database>,
    pub applier: Arc<Applier>,
    figures: Arc<Figures>,
}

/// Its threads.
pub(super) struct ConsoleThreads {
    database: Arc<Database>,
    applier: Arc<Applier>,
    figures: Arc<Figures>,
    threads: [JoinHandle<()>; 3],
}

/// Opens the file, and finishes what was being written to the tables.
pub(super) fn open(config: &Config) -> Result<Arc<Database>, DatabaseError> {
    let database = Arc::new(Database::open_alone(&config.console.path)?);
    Applier::recover(&database, &config.registry.files)?;
    Ok(database)
}

impl Console {
    /// Builds the parts, once the registry serves.
    pub fn new(
        config: &Config,
        listener: StdListener,
        database: Arc<Database>,
        publisher: Arc<Publisher>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let files = config.registry.files.clone();
        let changes = Arc::new(Changes::new(database.clone(), config.console.approvals));
        let applier = Arc::new(Applier::new(database.clone(), changes.clone(), publisher.clone(), files.clone()));
        let figures = Arc::<Figures>::default();
        let parts = console::Parts {
            database: database.clone(),
            accounts: Arc::new(Accounts::new(database.clone())),
            changes,
            applier: applier.clone(),
            publisher,
            files,
            rules: config.registry.rules.clone(),
            public_url: config.edge.public_url.clone(),
            figures: figures.clone(),
            index: console::SearchIndex::default(),
            readers: console::Readers::default(),
        };
        let settings = console::Settings {
            origin: config.console.origin.clone(),
            second_factor: config.console.second_factor.clone(),
            proxies: config.console.proxies.clone(),
            user_header: config.console.user_header.clone(),
            max_upload: config.console.max_upload,
        };
        let page = console::Console::new(parts, settings, address.port());
        Ok(Self { address, socket: Some(socket(listener)?), page, database, applier, figures })
    }

    /// Starts the threads, once.
    pub fn start(
        &mut self,
        config: &Config,
        checkup: &Arc<Checkup>,
        stage: Receiver<Stage>,
    ) -> Result<ConsoleThreads, StartError> {
        let applier = self.applier.clone();
        let changes = spawn("changes", move || {
            priority::step_back();
            applier.run();
        })?;
        let (figures, checkup) = (self.figures.clone(), checkup.clone());
        let (store, timezone) = (config.store.clone(), config.registry.rules.timezone.clone());
        let figures = spawn("figures", move || {
            priority::step_back();
            figures.run(&store, &timezone, &checkup);
        })?;
        let (page, socket) = (self.page.clone(), self.socket.take());
        let page = spawn("console", move || {
            priority::step_back();
            let Some((runtime, listener)) = socket else { return };
            runtime.block_on(page.serve(listener, stage));
            // A page that a file holds up is not waited for.
            runtime.shutdown_background();
        })?;
        let (applier, of_figures) = (self.applier.clone(), self.figures.clone());
        Ok(ConsoleThreads {
            database: self.database.clone(),
            applier,
            figures: of_figures,
            threads: [page, changes, figures],
        })
    }

    /// What has figures for `/metrics`.
    pub fn collectors(&self) -> [Arc<dyn Collector>; 3] {
        [self.page.clone(), self.applier.clone(), self.database.clone()]
    }
}

fn socket(listener: StdListener) -> io::Result<(Runtime, TcpListener)> {
    let mut runtime = Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(BLOCKING).thread_name("console").on_thread_start(priority::go_last);
    let runtime = runtime.build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(listener)?
    };
    Ok((runtime, listener))
}

impl ConsoleThreads {
    /// Ends them. A set that is being applied is finished by the next start.
    pub fn stop(self, until: Instant) -> Result<(), StartError> {
        self.applier.stop();
        self.figures.stop();
        let ended = self.threads.into_iter().try_for_each(|thread| wait(thread, until).unwrap_or(Ok(())));
        if let Err(error) = self.database.merge_log() {
            tracing::warn!(%error, "the console's database keeps its write-ahead log beside it");
        }
        ended
    }
}
