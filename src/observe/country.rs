//! The country and region of an address, from MaxMind-format files of the operator's.
//!
//! Owns the databases (format: <https://maxmind.github.io/MaxMind-DB/>). Both layouts
//! in use are read: nested, as GeoLite2 and DB-IP sell it (`country.iso_code`,
//! `subdivisions[0].iso_code`), and flat, as the free packages have it
//! (`country_code`, `state1`). A missing or broken file means an empty country and a
//! metric, never an error; a replaced one is read anew, and if that is broken the old
//! one stays. Nothing is ever fetched. What a file tells of IPv4 a second time, for addresses of
//! 6to4 and Teredo (both given up), is left out.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use maxminddb::PathElement::{Index, Key};
use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};
use tokio::sync::watch;

use super::networks::{Builder, Networks};
use crate::core::Published;
use crate::core::scan::Origin;
use crate::system::path_thread::{HANG_TIMEOUT, PathThread, Progress};
use crate::system::{Stamp, regular_file};

/// Largest file, in bytes: the largest that is sold is a quarter of it.
const MAX_FILE: u64 = 2 << 30;
/// Longest wait of the start for a file that is still being read.
const FIRST_READ: Duration = Duration::from_mins(1);

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

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
enum DatabaseError {
    /// It is not there, no regular file, too long, or its disk fails.
    #[error(transparent)]
    File(#[from] io::Error),
    /// It is damaged, or of another format.
    #[error(transparent)]
    Format(#[from] MaxMindDbError),
    /// None of its first 1,000 records has a layout that is known.
    #[error("expected records with country.iso_code or country_code, found none")]
    NoCountries,
    /// It is damaged: to unroll it might take for ever.
    #[error("expected one path to each network in the search tree, found several")]
    Tangled,
    /// Their numbers have 16 bits.
    #[error("expected at most 65,535 different regions, found more")]
    TooManyRegions,
}

/// What is kept of a file: the origin of each network.
#[derive(Debug)]
struct Database {
    /// When its data was built, seconds since the Unix epoch.
    built: Option<u64>,
    /// By number; 0 is none.
    origins: Vec<Origin>,
    v4: Networks<u32>,
    v6: Networks<u128>,
}

/// Where a record has its country and region: see the module's first lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Nested,
    Flat,
}

impl Layout {
    const fn country(self) -> &'static [PathElement<'static>] {
        match self {
            Self::Nested => &[Key("country"), Key("iso_code")],
            Self::Flat => &[Key("country_code")],
        }
    }

    const fn region(self) -> &'static [PathElement<'static>] {
        match self {
            Self::Nested => &[Key("subdivisions"), Index(0), Key("iso_code")],
            Self::Flat => &[Key("state1")],
        }
    }

    /// What a record says; nothing without a country.
    fn origin(self, found: &LookupResult<'_, Vec<u8>>) -> Option<Origin> {
        let country: &str = found.decode_path(self.country()).ok()??;
        let mut origin = Origin::default();
        for c in country.chars().take(2) {
            origin.country.try_push(c.to_ascii_uppercase()).ok()?;
        }
        if !country.is_empty()
            && let Ok(Some(region)) = found.decode_path::<&str>(self.region())
        {
            // As much as fits; a character that does not is not cut in two.
            region.chars().all(|c| origin.region.try_push(c).is_ok());
        }
        Some(origin)
    }
}

impl Databases {
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

impl Database {
    fn open(path: &Path, progress: &Progress) -> Result<Self, DatabaseError> {
        let reader = Reader::from_source(read_whole(path, progress)?)?;
        let layout = layout(&reader)?;
        let built = reader.metadata().build_time().ok();
        let built = built.and_then(|time: SystemTime| time.duration_since(UNIX_EPOCH).ok());
        let mut origins = Origins::new(layout);
        let (mut v4, mut v6) = (Builder::new(), Builder::new());
        // So many leaves a tree has; one that is damaged can seem to have many more.
        let leaves = reader.metadata().node_count as usize + 1;
        for (leaf, found) in reader.networks(leaves_of(&reader)?)?.enumerate() {
            let found = found?;
            if leaf % 4096 == 0 {
                progress.step();
            }
            let number = origins.number(&found)?;
            let network = found.network()?;
            let prefix = u32::from(network.prefix());
            let in_order = match network.ip() {
                IpAddr::V4(first) => {
                    let last = first.to_bits() | u32::MAX.checked_shr(prefix).unwrap_or(0);
                    v4.add(first.to_bits(), last.checked_add(1), number)
                }
                IpAddr::V6(first) => {
                    let last = first.to_bits() | u128::MAX.checked_shr(prefix).unwrap_or(0);
                    // IPv4 is ::/96 of such a file.
                    let all_of_v4 = first.is_unspecified() && prefix <= 96;
                    v6.add(first.to_bits(), last.checked_add(1), number) && (!all_of_v4 || v4.add(0, None, number))
                }
            };
            if !in_order || leaf >= leaves {
                return Err(DatabaseError::Tangled);
            }
        }
        Ok(Self {
            built: built.map(|since| since.as_secs()),
            origins: origins.list,
            v4: v4.build(|first: u32| (first >> 16) as u16),
            v6: v6.build(|first: u128| (first >> 112) as u16),
        })
    }

    fn origin(&self, address: IpAddr) -> Option<&Origin> {
        let number = match address {
            IpAddr::V4(address) => self.v4.get(address.to_bits(), (address.to_bits() >> 16) as u16),
            IpAddr::V6(address) => self.v6.get(address.to_bits(), address.segments()[0]),
        };
        // A record without a country: another file may know better.
        if number == 0 { None } else { self.origins.get(usize::from(number)) }
    }
}

fn read_whole(path: &Path, progress: &Progress) -> io::Result<Vec<u8>> {
    let (file, _) = regular_file::open(path)?;
    progress.step();
    regular_file::read_bounded(file, MAX_FILE, &mut || progress.step(), |_, _| Ok(()))
}

/// The different origins of a file, as they are met.
struct Origins {
    layout: Layout,
    list: Vec<Origin>,
    numbers: HashMap<Origin, u16>,
    /// Numbers by the records' places in the file; many networks share one.
    records: HashMap<usize, u16>,
}

impl Origins {
    fn new(layout: Layout) -> Self {
        let none = Origin::default();
        Self { layout, list: vec![none], numbers: HashMap::from([(none, 0)]), records: HashMap::new() }
    }

    fn number(&mut self, found: &LookupResult<'_, Vec<u8>>) -> Result<u16, DatabaseError> {
        let Some(record) = found.offset() else { return Ok(0) };
        if let Some(&number) = self.records.get(&record) {
            return Ok(number);
        }
        // A record that can't be read is one without a country.
        let origin = self.layout.origin(found).unwrap_or_default();
        let number = if let Some(&number) = self.numbers.get(&origin) {
            number
        } else {
            let number = u16::try_from(self.list.len()).map_err(|_| DatabaseError::TooManyRegions)?;
            self.list.push(origin);
            self.numbers.insert(origin, number);
            number
        };
        self.records.insert(record, number);
        Ok(number)
    }
}

/// All leaves of a tree, but for those of IPv4 that it has a second time.
fn leaves_of(reader: &Reader<Vec<u8>>) -> Result<WithinOptions, MaxMindDbError> {
    let all = WithinOptions::default().include_networks_without_data();
    // Where all of IPv4 is one leaf, or part of one, every leaf with its record would pass for a second time.
    let v4_is_a_tree = reader.lookup(IpAddr::V4(Ipv4Addr::UNSPECIFIED))?.network()?.is_ipv4();
    Ok(if v4_is_a_tree { all } else { all.include_aliased_networks() })
}

/// Which layout the first records have.
fn layout(reader: &Reader<Vec<u8>>) -> Result<Layout, DatabaseError> {
    for record in reader.networks(WithinOptions::default())?.take(1000) {
        let record = record?;
        for layout in [Layout::Nested, Layout::Flat] {
            if let Ok(Some(_)) = record.decode_path::<&str>(layout.country()) {
                return Ok(layout);
            }
        }
    }
    Err(DatabaseError::NoCountries)
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
    threads: Vec<PathThread>,
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
        let thread = |(at, path): (usize, &PathBuf)| {
            let (current, path) = (current.clone(), path.clone());
            // The inner `None` is a file that is missing, the outer one not yet looked at.
            let mut seen: Option<Option<Stamp>> = None;
            PathThread::new(&format!("country-{at}"), move |progress| {
                let stamp = std::fs::metadata(&path).ok().as_ref().map(Stamp::of);
                if seen != Some(stamp) {
                    current.take(at, Database::open(&path, progress));
                    seen = Some(stamp);
                }
            })
        };
        let threads: Vec<PathThread> = paths.iter().enumerate().map(thread).collect();
        let tickets: Vec<u64> = threads.iter().map(PathThread::ask).collect();
        for (thread, ticket) in threads.iter().zip(tickets) {
            thread.wait(ticket, FIRST_READ);
        }
        Self { current, threads }
    }

    /// Starts to read again the files that have changed, without waiting for that, and frees databases
    /// that no worker holds any more. For housekeeping, off the workers.
    pub fn refresh(&self) {
        self.threads.iter().filter(|thread| thread.is_idle()).for_each(|thread| {
            thread.ask();
        });
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
        for (state, thread) in states.iter_mut().zip(&self.threads) {
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
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
