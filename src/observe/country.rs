//! The country and region of an address, from MaxMind-format files of the operator's.
//!
//! Owns the databases in use. A missing or broken file means an empty country and a metric, never an
//! error; a replaced one is read anew, and if that is broken the previous one stays in use. Nothing is
//! ever fetched.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use super::database::{Database, DatabaseError};
use crate::core::Published;
use crate::core::lock;
use crate::core::scan::Origin;
use crate::system::Stamp;
use crate::system::path_thread::{HANG_TIMEOUT, PathThreads, Progress};

/// How much of an address's origin is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Nothing.
    None,
    /// The country.
    Country,
    /// The country and the region in it.
    Region,
}

/// The databases in use; the first that knows an address answers.
#[derive(Debug, Default)]
pub struct Databases(Vec<Arc<Database>>);

impl Databases {
    /// Has fetched what [`Self::origin`] looks at first.
    #[inline]
    pub fn prefetch_index(&self, address: IpAddr) {
        if let Some(first) = self.0.first() {
            first.prefetch_index(address);
        }
    }

    /// Has fetched what it looks at next, once that is there.
    #[inline]
    pub fn prefetch(&self, address: IpAddr) {
        if let Some(first) = self.0.first() {
            first.prefetch(address);
        }
    }

    /// Where an address is; empty where no database knows it.
    #[must_use]
    pub fn origin(&self, address: IpAddr, precision: Precision) -> Origin {
        if precision == Precision::None {
            return Origin::default();
        }
        let address = address.to_canonical();
        let Some(origin) = self.0.iter().find_map(|database| database.origin(address)) else {
            return Origin::default();
        };
        match precision {
            Precision::Region => *origin,
            _ => Origin { country: origin.country, ..Origin::default() },
        }
    }
}

/// The state of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// The file.
    pub path: PathBuf,
    /// When its data was built, seconds since the Unix epoch; `None` while none is loaded.
    pub built: Option<u64>,
    /// What was wrong when it was last read, as a text for people; `None` if nothing was.
    pub problem: Option<String>,
}

/// The databases, read again as their files change. Each file has a thread of its own, so that a file
/// that hangs delays neither the others nor a question for their state.
pub struct CountryFiles {
    current: Arc<Current>,
    threads: PathThreads,
}

struct Current {
    published: Published<Databases>,
    /// Held for moments only, never while a file is read.
    files: Mutex<Vec<DatabaseFile>>,
}

struct DatabaseFile {
    state: FileState,
    database: Option<Arc<Database>>,
}

impl CountryFiles {
    /// Reads the files for the first time. Waits no longer than a minute for them; one that takes longer,
    /// or hangs, is used once it has been read.
    #[must_use]
    pub fn open(paths: &[PathBuf]) -> Self {
        let file = |path: &PathBuf| DatabaseFile {
            state: FileState { path: path.clone(), built: None, problem: None },
            database: None,
        };
        let files = Mutex::new(paths.iter().map(file).collect());
        let current = Arc::new(Current { published: Published::new(Databases::default()), files });
        let job = |(at, path): (usize, &PathBuf)| {
            let (current, path) = (current.clone(), path.clone());
            // The inner `None` is a file that is missing, the outer one not yet looked at.
            let mut seen: Option<Option<Stamp>> = None;
            move |progress: &Progress| {
                let stamp = std::fs::metadata(&path).ok().as_ref().map(Stamp::of);
                if seen != Some(stamp) {
                    current.take(at, Database::open(&path, progress));
                    seen = Some(stamp);
                }
            }
        };
        let threads = PathThreads::start("country", paths.iter().enumerate().map(job));
        Self { current, threads }
    }

    /// Starts to read again the files that have changed, without waiting for that, and frees databases
    /// that no worker holds any more. For housekeeping, off the workers.
    pub fn refresh(&self) {
        self.threads.ask_idle();
        self.current.published.free_old();
    }

    /// A view of the databases, for a worker.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Databases>> {
        self.current.published.subscribe()
    }

    /// The state of each file. Never waits for a read.
    #[must_use]
    pub fn states(&self) -> Vec<FileState> {
        let mut states: Vec<FileState> = self.current.files().iter().map(|file| file.state.clone()).collect();
        for (state, thread) in states.iter_mut().zip(self.threads.each()) {
            if thread.hangs() {
                state.problem =
                    Some(format!("does not answer: no progress in reading it for {} s", HANG_TIMEOUT.as_secs()));
            }
        }
        states
    }
}

impl Current {
    /// Publishes what was read of a file. Where it could not be read, the previous database stays in use.
    fn take(&self, at: usize, read: Result<Database, DatabaseError>) {
        let mut files = self.files();
        let DatabaseFile { state, database } = &mut files[at];
        match read {
            Ok(read) => {
                state.built = read.built;
                state.problem = None;
                tracing::info!(path = %state.path.display(), "country database read");
                *database = Some(Arc::new(read));
            }
            Err(error) => {
                let consequence =
                    if database.is_some() { "the previous one stays in use" } else { "countries stay empty" };
                tracing::warn!(%error, path = %state.path.display(), "a country database can't be read; {consequence}");
                state.problem = Some(error.to_string());
                return;
            }
        }
        let databases = files.iter().filter_map(|file| file.database.clone()).collect();
        self.published.replace(Databases(databases));
    }

    fn files(&self) -> MutexGuard<'_, Vec<DatabaseFile>> {
        lock(&self.files)
    }
}
