//! The last-known-good copy of the registry's files, kept beside the journal.
//!
//! Owns one file, so that a restart with a broken table still serves. All three
//! tables are in it, with the number of their generation: a rename swaps them
//! together, and the same tables keep their number over a restart.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::Sources;

/// Where the copy is.
#[derive(Debug, Clone)]
pub struct LastGood {
    path: PathBuf,
}

/// What the copy holds.
#[derive(Debug, Serialize, Deserialize)]
struct Copy {
    generation: u64,
    places: String,
    signs: String,
    overrides: String,
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
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let copy: Copy = serde_json::from_slice(&bytes)?;
        let [places, signs, overrides] = [copy.places, copy.signs, copy.overrides].map(String::into_bytes);
        Ok(Some((copy.generation, Sources { places, signs, overrides })))
    }

    /// Replaces the copy, whole.
    pub fn save(&self, generation: u64, sources: &Sources) -> io::Result<()> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(io::Error::other);
        let copy = Copy {
            generation,
            places: text(&sources.places)?,
            signs: text(&sources.signs)?,
            overrides: text(&sources.overrides)?,
        };
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&copy)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()
    }
}
