//! The last-known-good copy of the registry's files, kept beside the journal.
//!
//! Owns one file, so that a restart with a broken table still serves. All three
//! tables are in it, with the number of their generation: a rename swaps them
//! together, and the same tables keep their number over a restart.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::MAX_FILE;
use super::sources::Sources;
use crate::system::regular_file;

/// The largest copy, in bytes: three tables of the largest size, of which each byte may be escaped.
const MAX_COPY: u64 = 6 * MAX_FILE;
/// The last generation that a clock can give: the end of the year 9999, in milliseconds since 1970.
const MAX_GENERATION: u64 = 253_402_300_799_999;

/// Why the copy can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is no regular file, too long, or its disk fails.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// JSON has no NUL bytes: a file of holes is not read to its end.
    #[error("expected text, found a NUL byte")]
    Nul,
    /// It is no JSON, or of another form.
    #[error("expected a generation and three tables in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// No clock gives such a number.
    #[error("expected a generation of at most {MAX_GENERATION}, found {0}")]
    Generation(u64),
}

/// Why the copy can't be written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// A table is not UTF-8, which JSON is.
    #[error("a table is not UTF-8: {0}")]
    Utf8(#[from] std::str::Utf8Error),
    /// The folder or the file can't be made, or the disk is full.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where the copy is.
#[derive(Debug, Clone)]
pub struct LastGood {
    path: PathBuf,
}

/// What the copy holds. (Generations of releases up to 0.1 counted from 1.)
#[derive(Debug, Deserialize)]
struct StoredCopy {
    generation: u64,
    places: String,
    signs: String,
    overrides: String,
}

/// The same to be written, borrowed: a table of 100 MiB is not copied for it.
#[derive(Debug, Serialize)]
struct BorrowedCopy<'a> {
    generation: u64,
    places: &'a str,
    signs: &'a str,
    overrides: &'a str,
}

impl LastGood {
    /// A copy at a path; nothing is read or written yet.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the generation and its tables; `None` where there is no copy yet.
    pub fn load(&self) -> Result<Option<(u64, Sources)>, LoadError> {
        let file = match regular_file::open(&self.path) {
            Ok((file, _)) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes = regular_file::read_bounded(file, MAX_COPY, &mut || (), |bytes, _| {
            // A piece of a hole ends with a NUL byte: no other byte need be looked at.
            if bytes.last() == Some(&0) { Err(LoadError::Nul) } else { Ok(()) }
        })?;
        let copy: StoredCopy = serde_json::from_slice(&bytes)?;
        if copy.generation > MAX_GENERATION {
            return Err(LoadError::Generation(copy.generation));
        }
        let [places, signs, overrides] = [copy.places, copy.signs, copy.overrides].map(String::into_bytes);
        Ok(Some((copy.generation, Sources { places, signs, overrides })))
    }

    /// Replaces the copy, whole.
    pub fn save(&self, generation: u64, sources: &Sources) -> Result<(), SaveError> {
        let [places, signs] = [&sources.places, &sources.signs].map(|table| str::from_utf8(table));
        let (places, signs, overrides) = (places?, signs?, str::from_utf8(&sources.overrides)?);
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let new = self.path.with_extension("new");
        // What stands there is removed, and not opened: opening a FIFO would wait for its other end, and
        // a link leads to another file.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        let mut file = BufWriter::with_capacity(64 << 10, file);
        serde_json::to_writer(&mut file, &BorrowedCopy { generation, places, signs, overrides })
            .map_err(io::Error::from)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, &self.path)?;
        Ok(File::open(folder)?.sync_all()?)
    }
}
