//! The last-known-good copy of the registry's files, kept beside the journal.
//!
//! Owns one file, so that a restart with a broken table still serves. All three
//! tables are in it, with the number of their generation: a rename swaps them
//! together, and the same tables keep their number over a restart.
//!
//! Its first line is JSON: what is in it, which is all that a start with good tables reads. The tables follow one after
//! another, in blocks of LZ4 (four bytes with the length of what follows, little-endian; four with that of the text): a
//! copy of 1 GB of tables waits for its disk a quarter of the time, and takes a quarter of the memory until then.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lz4_flex::block::{compress_prepend_size, decompress, get_maximum_output_size};
use serde::{Deserialize, Serialize};

use super::csv::cut_off;
use super::files::MAX_FILE;
use super::in_order::in_order;
use super::sources::Sources;
use crate::system::regular_file;

/// Text of a block, in bytes, but for the last of a table.
const BLOCK: usize = 1 << 20;
/// The longest first line, in bytes.
const MAX_HEAD: u64 = 512;
/// The largest copy of releases up to 0.1, in bytes: three tables of the largest size, of which each byte may be escaped.
const MAX_OLD_COPY: u64 = 6 * MAX_FILE;
/// The last generation that a clock can give: the end of the year 9999, in milliseconds since 1970.
const MAX_GENERATION: u64 = 253_402_300_799_999;

/// Why the copy can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is no regular file, too long, or its disk fails.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file of holes is not read to its end.
    #[error("expected text, found a NUL byte")]
    Nul,
    /// It is of another form.
    #[error("expected a generation and three tables: {0}")]
    Json(#[from] serde_json::Error),
    /// No clock gives such a number.
    #[error("expected a generation of at most {MAX_GENERATION}, found {0}")]
    Generation(u64),
    /// It was cut off, or its disk has lost some of it.
    #[error("expected the tables that were copied, found others, or parts of them")]
    Damaged,
}

/// Where the copy is.
#[derive(Debug, Clone)]
pub struct LastGood {
    path: PathBuf,
}

/// What a copy is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub generation: u64,
    pub content_hash: u64,
}

/// The first line.
#[derive(Debug, Deserialize, Serialize)]
struct Head {
    generation: u64,
    /// As [`crate::registry::Registry::content_hash_text`] has it.
    content_hash: String,
    /// Bytes of the three tables.
    tables: [u64; 3],
    /// Bytes of the blocks.
    blocks: u64,
}

/// Tables that are ready to be written as a copy. They are added in their order.
#[derive(Debug, Default)]
pub(super) struct Copy {
    tables: Vec<u64>,
    /// In one piece of memory: many small ones would lie far apart.
    blocks: Vec<u8>,
}

/// What releases up to 0.1 have written, whose generations counted from 1.
#[derive(Debug, Deserialize)]
struct OldCopy {
    generation: u64,
    places: String,
    signs: String,
    overrides: String,
}

impl LastGood {
    /// A copy in a folder; nothing is read or written yet.
    #[must_use]
    pub fn within(folder: &Path) -> Self {
        Self { path: folder.join("registry-last-good") }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is a copy of; `None` where there is none yet. Whether its blocks are whole shows [`Self::load`].
    pub(super) fn kept(&self) -> Result<Option<Kept>, LoadError> {
        match self.open()? {
            Some((head, _)) => Ok(Some(head.kept()?)),
            None => Ok(self.load_old()?.map(|(kept, _)| kept)),
        }
    }

    /// The copy; `None` where there is none yet.
    pub(super) fn load(&self) -> Result<Option<(Kept, Sources)>, LoadError> {
        let Some((head, mut file)) = self.open()? else { return self.load_old() };
        let kept = head.kept()?;
        let [places, signs, overrides] = head.tables;
        let mut table = |len| read_table(&mut file, len, true);
        let sources = Sources { places: table(places)?, signs: table(signs)?, overrides: table(overrides)? };
        if sources.content_hash() == kept.content_hash { Ok(Some((kept, sources))) } else { Err(LoadError::Damaged) }
    }

    /// The table of signs alone, for which memory for the others is not needed. It may be damaged.
    pub(super) fn load_signs(&self) -> Result<Option<Vec<u8>>, LoadError> {
        let Some((head, mut file)) = self.open()? else {
            return Ok(self.load_old()?.map(|(_, sources)| sources.signs));
        };
        let [places, signs, _] = head.tables;
        read_table(&mut file, places, false)?;
        Ok(Some(read_table(&mut file, signs, true)?))
    }

    /// Its first line, and what follows; `None` where there is no such file, or where an older release has served since.
    fn open(&self) -> Result<Option<(Head, BufReader<File>)>, LoadError> {
        let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        if modified(&self.old_path()) > modified(&self.path) {
            return Ok(None);
        }
        let (file, metadata) = match regular_file::open(&self.path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut file = BufReader::with_capacity(64 << 10, file);
        let mut line = Vec::new();
        file.by_ref().take(MAX_HEAD).read_until(b'\n', &mut line)?;
        if line.contains(&0) {
            return Err(LoadError::Nul);
        }
        let head: Head = serde_json::from_slice(&line)?;
        let whole = head.blocks.checked_add(line.len() as u64) == Some(metadata.len());
        let possible = head.tables.iter().all(|&len| len <= MAX_FILE);
        if whole && possible { Ok(Some((head, file))) } else { Err(LoadError::Damaged) }
    }

    /// Where releases up to 0.1 have put it.
    fn old_path(&self) -> PathBuf {
        self.path.with_extension("json")
    }

    fn load_old(&self) -> Result<Option<(Kept, Sources)>, LoadError> {
        let file = match regular_file::open(&self.old_path()) {
            Ok((file, _)) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes = regular_file::read_bounded(file, MAX_OLD_COPY, &mut || (), |bytes, _| {
            // A piece of a hole ends with a NUL byte: no other byte need be looked at.
            if bytes.last() == Some(&0) { Err(LoadError::Nul) } else { Ok(()) }
        })?;
        let OldCopy { generation, places, signs, overrides } = serde_json::from_slice(&bytes)?;
        let [places, signs, overrides] = [places, signs, overrides].map(String::into_bytes);
        let sources = Sources { places, signs, overrides };
        Ok(Some((Kept::of(generation, sources.content_hash())?, sources)))
    }

    /// Replaces the copy, whole. Where it can't, as the folder can't be made or the disk is full, the old one stays.
    pub(super) fn save(&self, kept: Kept, copy: &Copy) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let new = self.path.with_extension("new");
        // What stands there is removed, and not opened: opening a FIFO would wait for its other end, and
        // a link leads to another file.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        let mut file = BufWriter::with_capacity(64 << 10, file);
        serde_json::to_writer(&mut file, &copy.head(kept)).map_err(io::Error::from)?;
        file.write_all(b"\n")?;
        file.write_all(&copy.blocks)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()?;
        fs::remove_file(self.old_path()).ok();
        Ok(())
    }
}

impl Kept {
    fn of(generation: u64, content_hash: u64) -> Result<Self, LoadError> {
        if generation > MAX_GENERATION {
            return Err(LoadError::Generation(generation));
        }
        Ok(Self { generation, content_hash })
    }
}

impl Head {
    fn kept(&self) -> Result<Kept, LoadError> {
        let hash = u64::from_str_radix(&self.content_hash, 16).map_err(|_| LoadError::Damaged)?;
        Kept::of(self.generation, hash)
    }
}

impl Copy {
    /// Of all three tables, on this thread.
    pub fn of(sources: &Sources) -> Self {
        let mut copy = Self::default();
        for table in [&sources.places, &sources.signs, &sources.overrides] {
            copy.add(table, 1);
        }
        copy
    }

    /// Adds the next table, on so many threads.
    pub fn add(&mut self, table: &[u8], threads: usize) {
        self.add_blocks(table.len(), table.chunks(BLOCK), threads);
    }

    /// The same, and frees the table meanwhile.
    pub fn take(&mut self, table: Vec<u8>, threads: usize) {
        let (len, starts) = (table.len(), (0..table.len()).step_by(BLOCK));
        self.add_blocks(len, cut_off(table, starts).into_iter(), threads);
    }

    fn add_blocks<B: AsRef<[u8]>>(&mut self, len: usize, blocks: impl Iterator<Item = B> + Send, threads: usize) {
        self.tables.push(len as u64);
        let compress = |block: B| compress_prepend_size(block.as_ref());
        in_order(blocks, threads, compress, |block| {
            self.blocks.extend(length(&block).to_le_bytes());
            self.blocks.extend(block);
        });
    }

    fn head(&self, Kept { generation, content_hash }: Kept) -> Head {
        let mut tables = [0; 3];
        tables.iter_mut().zip(&self.tables).for_each(|(to, from)| *to = *from);
        let blocks = self.blocks.len() as u64;
        Head { generation, content_hash: format!("{content_hash:016x}"), tables, blocks }
    }
}

fn length(block: &[u8]) -> u32 {
    u32::try_from(block.len()).expect("a block is little longer than its text, of 1 MiB")
}

/// Reads the blocks of a table of so many bytes; only their lengths, and nothing is given, where it is not `wanted`.
fn read_table(file: &mut BufReader<File>, len: u64, wanted: bool) -> Result<Vec<u8>, LoadError> {
    let mut table = Vec::new();
    let mut rest = usize::try_from(len).map_err(|_| LoadError::Damaged)?;
    if wanted {
        table.try_reserve_exact(rest).map_err(io::Error::from)?;
    }
    while rest > 0 {
        let [mut block, mut text] = [[0; 4]; 2];
        file.read_exact(&mut block)?;
        file.read_exact(&mut text)?;
        let [block, text] = [block, text].map(|len| u32::from_le_bytes(len) as usize);
        let possible = (4..=4 + get_maximum_output_size(BLOCK)).contains(&block);
        if !possible || text != rest.min(BLOCK) {
            return Err(LoadError::Damaged);
        }
        if wanted {
            let mut packed = vec![0; block - 4];
            file.read_exact(&mut packed)?;
            table.extend(decompress(&packed, text).map_err(|_| LoadError::Damaged)?);
        } else {
            let skipped = i64::try_from(block - 4).map_err(|_| LoadError::Damaged)?;
            file.seek_relative(skipped)?;
        }
        rest -= text;
    }
    if wanted && table.len() as u64 != len { Err(LoadError::Damaged) } else { Ok(table) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn saved(sources: &Sources) -> (tempfile::TempDir, LastGood, Kept) {
        let folder = tempfile::tempdir().expect("a folder");
        let last_good = LastGood::within(&folder.path().join("data"));
        let kept = Kept { generation: 7, content_hash: sources.content_hash() };
        last_good.save(kept, &Copy::of(sources)).expect("a disk");
        (folder, last_good, kept)
    }

    #[test]
    fn of_two_copies_the_one_counts_that_was_written_last() {
        let (_folder, last_good, kept) = saved(&Sources::default());
        let old = File::create(last_good.old_path()).expect("a file");
        let copy = r#"{"generation": 9, "places": "place,name", "signs": "", "overrides": ""}"#;
        (&old).write_all(copy.as_bytes()).expect("a disk");
        let written = fs::metadata(&last_good.path).and_then(|metadata| metadata.modified()).expect("a file");
        let second = std::time::Duration::from_secs(1);
        old.set_modified(written - second).expect("a file");
        assert_eq!(last_good.kept().expect("a copy"), Some(kept), "an older release's, from before");
        old.set_modified(written + second).expect("a file");
        assert_eq!(last_good.kept().expect("a copy").map(|kept| kept.generation), Some(9), "it has served since");
        let (_, sources) = last_good.load().expect("a copy").expect("a copy");
        assert_eq!(sources.places, b"place,name");
    }

    /// More than a block, and such as compresses and as does not.
    fn table() -> impl Strategy<Value = Vec<u8>> {
        let long = prop_oneof![Just(0), Just(1), Just(BLOCK), Just(BLOCK + 1), 0..3 * BLOCK];
        (long, any::<u64>()).prop_map(|(len, seed)| {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            };
            (0..len).map(|_| if seed.is_multiple_of(2) { next() } else { next() & 1 }).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn a_copy_gives_back_what_was_copied([places, signs, overrides] in prop::array::uniform3(table())) {
            let sources = Sources { places, signs, overrides };
            let (_folder, last_good, kept) = saved(&sources);
            prop_assert_eq!(last_good.kept().expect("a copy"), Some(kept));
            prop_assert!(last_good.load_signs().expect("a copy").as_ref() == Some(&sources.signs));
            let (found, copied) = last_good.load().expect("a copy").expect("a copy");
            prop_assert!(found == kept && copied == sources);
            // However many threads have made it.
            let mut copy = Copy::default();
            copy.take(sources.places.clone(), 2);
            copy.add(&sources.signs, 3);
            copy.add(&sources.overrides, 3);
            prop_assert!(copy.blocks == Copy::of(&sources).blocks);
        }
    }

    #[test]
    fn a_damaged_copy_is_told_and_never_served() {
        let text = |n: usize| format!("code,place,status\n7K3M-9QX5,{n},active\n").repeat(9).into_bytes();
        let sources = Sources { places: text(1), signs: text(2), overrides: Vec::new() };
        let (_folder, last_good, _) = saved(&sources);
        let good = fs::read(last_good.path()).expect("a copy");
        for at in 0..good.len() {
            for bad in [good[..at].to_vec(), [&good[..at], &[good[at] ^ 1], &good[at + 1..]].concat()] {
                fs::write(last_good.path(), bad).expect("a disk");
                // But for the number of the generation all of it is known by its hash.
                let served = last_good.load();
                assert!(
                    served.is_err() || served.is_ok_and(|found| found.is_some_and(|found| found.1 == sources)),
                    "{at}"
                );
            }
        }
    }
}
