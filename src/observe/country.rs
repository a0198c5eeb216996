//! The country and region of an address, from MaxMind-format files of the operator's.
//!
//! Owns the databases (format: <https://maxmind.github.io/MaxMind-DB/>). Both layouts
//! of the field are read: nested, as GeoLite2 and DB-IP sell it (`country.iso_code`,
//! `subdivisions[0].iso_code`), and flat, as the free packages have it
//! (`country_code`, `state1`). A missing or broken file means an empty country and a
//! metric, never an error; a replaced one is read anew, and if that is broken the old
//! one stays. Nothing is ever fetched. What a file tells of IPv4 a second time, for addresses of
//! 6to4 and Teredo (both given up), is left out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};
use tokio::sync::watch;

use super::networks::{Builder, Networks};
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

/// A file, unrolled: what is left of it is the origin of each network.
#[derive(Debug)]
struct Database {
    /// When its data was built, seconds since the Unix epoch.
    built: Option<u64>,
    /// By number; 0 is none.
    origins: Vec<Origin>,
    v4: Networks<u32>,
    v6: Networks<u128>,
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
    fn open(path: &Path) -> Result<Self, MaxMindDbError> {
        let reader = Reader::open_readfile(path)?;
        let layout = layout(&reader)?;
        let built = reader.metadata().build_time().ok();
        let built = built.and_then(|time: SystemTime| time.duration_since(UNIX_EPOCH).ok());
        let mut origins = Origins::new(layout);
        let (mut v4, mut v6) = (Builder::new(), Builder::new());
        // So many leaves a tree has; one that is damaged can seem to have many more.
        let leaves = reader.metadata().node_count as usize + 1;
        let tangled = || MaxMindDbError::invalid_database("the search tree leads to one network by several ways");
        for (leaf, found) in reader.networks(leaves_of(&reader)?)?.enumerate() {
            let found = found?;
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
                return Err(tangled());
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

    fn number(&mut self, found: &LookupResult<'_, Vec<u8>>) -> Result<u16, MaxMindDbError> {
        let Some(record) = found.offset() else { return Ok(0) };
        if let Some(&number) = self.records.get(&record) {
            return Ok(number);
        }
        // A record that can't be read is one without a country.
        let origin = self.layout.origin(found).unwrap_or_default();
        let number = if let Some(&number) = self.numbers.get(&origin) {
            number
        } else {
            let number = u16::try_from(self.list.len())
                .map_err(|_| MaxMindDbError::invalid_database("it has more than 65,535 different regions"))?;
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
                self.state.built = database.built;
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
