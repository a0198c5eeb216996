//! The origins of all addresses, as one MaxMind-format file has them.
//!
//! Owns the reading of a file (format: <https://maxmind.github.io/MaxMind-DB/>). Both layouts in use
//! are read: nested, as GeoLite2 and DB-IP sell it (`country.iso_code`, `subdivisions[0].iso_code`),
//! and flat, as the free packages have it (`country_code`, `state1`). What a file tells of IPv4 a second
//! time, for addresses of 6to4 and Teredo (both given up), is left out.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use maxminddb::PathElement::{Index, Key};
use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};

use super::networks::{Builder, Networks};
use crate::core::scan::Origin;
use crate::system::path_thread::Progress;
use crate::system::regular_file;

/// Largest file, in bytes: the largest that is sold is a quarter of it.
const MAX_FILE: u64 = 2 << 30;

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
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
pub(super) struct Database {
    /// When its data was built, seconds since the Unix epoch.
    pub built: Option<u64>,
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

impl Database {
    /// Reads a file, and reports each piece of it as progress.
    pub fn open(path: &Path, progress: &Progress) -> Result<Self, DatabaseError> {
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
        Ok(Self { built: built.map(|since| since.as_secs()), origins: origins.list, v4: v4.build(), v6: v6.build() })
    }

    /// Has fetched what [`Self::origin`] looks at first.
    #[inline]
    pub fn prefetch_index(&self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.v4.prefetch_index(address.to_bits()),
            IpAddr::V6(address) => self.v6.prefetch_index(address.to_bits()),
        }
    }

    /// Has fetched what it looks at next.
    #[inline]
    pub fn prefetch(&self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.v4.prefetch(address.to_bits()),
            IpAddr::V6(address) => self.v6.prefetch(address.to_bits()),
        }
    }

    /// Where an address is; `None` where the file has no country for it.
    pub fn origin(&self, address: IpAddr) -> Option<&Origin> {
        let number = match address {
            IpAddr::V4(address) => self.v4.get(address.to_bits()),
            IpAddr::V6(address) => self.v6.get(address.to_bits()),
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
