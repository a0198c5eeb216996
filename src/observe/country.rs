//! The country and region of an address, from MaxMind-format files of the operator's.
//!
//! Owns the databases (format: <https://maxmind.github.io/MaxMind-DB/>). Both layouts
//! of the field are read: nested, as GeoLite2 and DB-IP sell it (`country.iso_code`,
//! `subdivisions[0].iso_code`), and flat, as the free packages have it
//! (`country_code`, `state1`). A missing or broken file means an empty country and a
//! metric, never an error; a replaced one is read anew, and if that is broken the old
//! one stays. Nothing is ever fetched.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use maxminddb::{MaxMindDbError, PathElement, Reader, WithinOptions};
use tokio::sync::watch;

use super::scan::Origin;
use crate::registry::Stamp;

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

/// The databases that are read at present; the first that knows an address answers.
#[derive(Debug, Default)]
pub struct Databases(Vec<Arc<Database>>);

#[derive(Debug)]
struct Database {
    reader: Reader<Vec<u8>>,
    layout: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Nested,
    Flat,
}

use PathElement::{Index, Key};

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
}

impl Databases {
    /// Where an address is; empty where no database knows it.
    #[must_use]
    pub fn origin(&self, address: IpAddr, precision: Precision) -> Origin {
        if precision == Precision::None {
            return Origin::default();
        }
        let address = address.to_canonical();
        self.0.iter().find_map(|database| database.origin(address, precision)).unwrap_or_default()
    }
}

impl Database {
    fn open(path: &std::path::Path) -> Result<Self, MaxMindDbError> {
        let reader = Reader::open_readfile(path)?;
        let layout = layout(&reader)?;
        Ok(Self { reader, layout })
    }

    fn origin(&self, address: IpAddr, precision: Precision) -> Option<Origin> {
        // An IPv6 address in an IPv4 file is an error to the reader, and unknown to us.
        let found = self.reader.lookup(address).ok()?;
        let country: &str = found.decode_path(self.layout.country()).ok()??;
        if country.is_empty() {
            // A record without a country: another file may know better.
            return None;
        }
        let mut origin = Origin::default();
        for c in country.chars().take(2) {
            origin.country.try_push(c.to_ascii_uppercase()).ok()?;
        }
        if precision == Precision::Region
            && let Ok(Some(region)) = found.decode_path::<&str>(self.layout.region())
        {
            // As much as fits; a character that does not is not cut in two.
            region.chars().all(|c| origin.region.try_push(c).is_ok());
        }
        Some(origin)
    }
}

/// Which layout the first records have.
fn layout(reader: &Reader<Vec<u8>>) -> Result<Layout, MaxMindDbError> {
    for record in reader.networks(WithinOptions::default())?.take(1000) {
        let record = record?;
        for layout in [Layout::Nested, Layout::Flat] {
            if let Ok(Some(_)) = record.decode_path::<&str>(layout.country()) {
                return Ok(layout);
            }
        }
    }
    Err(MaxMindDbError::invalid_database("no record has country.iso_code or country_code"))
}

/// How one file stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// The file.
    pub path: PathBuf,
    /// When its data was built, seconds since the Unix epoch; `None` while none is loaded.
    pub built: Option<u64>,
    /// What was wrong when it was last read.
    pub problem: Option<String>,
}

/// Keeps the databases as their files change.
pub struct CountryFiles {
    current: watch::Sender<Arc<Databases>>,
    files: Mutex<Vec<Kept>>,
}

struct Kept {
    state: FileState,
    stamp: Option<Stamp>,
    database: Option<Arc<Database>>,
}

impl CountryFiles {
    /// Reads the files for the first time.
    #[must_use]
    pub fn open(paths: &[PathBuf]) -> Self {
        let kept = |path: &PathBuf| Kept {
            state: FileState { path: path.clone(), built: None, problem: None },
            stamp: None,
            database: None,
        };
        let files =
            Self { current: watch::Sender::new(Arc::default()), files: Mutex::new(paths.iter().map(kept).collect()) };
        files.refresh(true);
        files
    }

    /// Reads what has changed since it was last read. Blocks for as long as that takes.
    pub fn refresh(&self, first: bool) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        for kept in files.iter_mut() {
            let stamp = std::fs::metadata(&kept.state.path).ok().as_ref().map(Stamp::of);
            if stamp != kept.stamp || first {
                kept.read(stamp);
                changed = true;
            }
        }
        if changed {
            let databases = files.iter().filter_map(|kept| kept.database.clone()).collect();
            self.current.send_replace(Arc::new(Databases(databases)));
        }
    }

    /// A view of the databases, for a worker.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Databases>> {
        self.current.subscribe()
    }

    /// How each file stands.
    #[must_use]
    pub fn states(&self) -> Vec<FileState> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().map(|kept| kept.state.clone()).collect()
    }
}

impl Kept {
    fn read(&mut self, stamp: Option<Stamp>) {
        let path = &self.state.path;
        match Database::open(path) {
            Ok(database) => {
                let built = database.reader.metadata().build_time().ok();
                let built = built.and_then(|time: SystemTime| time.duration_since(UNIX_EPOCH).ok());
                self.state.built = built.map(|since| since.as_secs());
                self.state.problem = None;
                tracing::info!(path = %path.display(), "country database read");
                self.database = Some(Arc::new(database));
            }
            Err(error) => {
                let kept = if self.database.is_some() { "the old one stays" } else { "countries stay empty" };
                tracing::warn!(%error, path = %path.display(), "a country database can't be read; {kept}");
                self.state.problem = Some(error.to_string());
            }
        }
        self.stamp = stamp;
    }
}
