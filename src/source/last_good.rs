//! The last-known-good copy of the registry's files, kept beside the journal.
//!
//! Owns one file, so that a restart with a broken table still serves. All three
//! tables are in it, with the number of their generation: a rename swaps them
//! together, and the same tables keep their number over a restart.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{MAX_FILE, Sources};
use crate::system::regular_file;

/// The largest copy, in bytes: three tables of the largest size, of which each byte may be escaped.
const MAX_COPY: u64 = 6 * MAX_FILE;
/// The last generation that a clock can give: the end of the year 9999, in milliseconds since 1970.
const MAX_GENERATION: u64 = 253_402_300_799_999;
/// Bytes that are read at once.
const PIECE: u64 = 1 << 20;

/// Where the copy is.
#[derive(Debug, Clone)]
pub struct LastGood {
    path: PathBuf,
}

/// What the copy holds. (Generations of releases up to 0.1 counted from 1.)
#[derive(Debug, Deserialize)]
struct Copy {
    generation: u64,
    places: String,
    signs: String,
    overrides: String,
}

/// The same, borrowed: tables of 100 MiB are not copied to be written down.
#[derive(Debug, Serialize)]
struct Borrowed<'a> {
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

    /// The generation and its tables; `None` where there is no copy yet.
    pub fn load(&self) -> io::Result<Option<(u64, Sources)>> {
        let (mut file, metadata) = match regular_file::open(&self.path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if metadata.len() > MAX_COPY {
            return Err(io::Error::other(format!("is {} bytes long; a copy has at most {MAX_COPY}", metadata.len())));
        }
        let mut bytes = Vec::new();
        while (&mut file).take(PIECE).read_to_end(&mut bytes)? > 0 {
            // JSON has none: a file of holes is not read to its end.
            if bytes.last() == Some(&0) {
                return Err(io::Error::other("has NUL bytes; a copy is text"));
            }
        }
        let copy: Copy = serde_json::from_slice(&bytes)?;
        if copy.generation > MAX_GENERATION {
            return Err(io::Error::other(format!("has generation {}, which no clock gives", copy.generation)));
        }
        let [places, signs, overrides] = [copy.places, copy.signs, copy.overrides].map(String::into_bytes);
        Ok(Some((copy.generation, Sources { places, signs, overrides })))
    }

    /// Replaces the copy, whole.
    pub fn save(&self, generation: u64, sources: &Sources) -> io::Result<()> {
        let text = |table| str::from_utf8(table).map_err(io::Error::other);
        let (places, signs) = (text(&sources.places)?, text(&sources.signs)?);
        let overrides = text(&sources.overrides)?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let new = self.path.with_extension("new");
        // Whatever stands there is removed, and not opened: a FIFO has nobody at its other end, and a
        // link leads to somebody else's file.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        let mut file = BufWriter::with_capacity(64 << 10, file);
        serde_json::to_writer(&mut file, &Borrowed { generation, places, signs, overrides })?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }
}
