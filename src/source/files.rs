//! The three tables' files, each read stable: whole, and unchanged across the read.
//!
//! Owns what a file must be to be looked at as a table: a regular one, of bounded length, of text.
//! A file that is none is refused at the first piece that shows it.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::csv::newlines;
use super::sources::Sources;
use crate::core::Problems;
use crate::system::path_thread::HANG_TIMEOUT;
use crate::system::{Stamp, regular_file};

/// Largest file, in bytes: ten million signs with a URL each.
pub(super) const MAX_FILE: u64 = 2 << 30;
/// The numbers of the tables, in the order of [`Files::paths`].
pub(super) const TABLES: [usize; 3] = [0, 1, 2];
/// The table that may be absent.
pub(super) const OPTIONAL: usize = 2;

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// `places.csv`
    pub places: PathBuf,
    /// `signs.csv`
    pub signs: PathBuf,
    /// `overrides.csv`; the file may be absent.
    pub overrides: PathBuf,
}

impl Files {
    /// The three paths.
    #[must_use]
    pub fn paths(&self) -> [&Path; 3] {
        [&self.places, &self.signs, &self.overrides]
    }

    /// Reads all three, stable: none changed while any was read. Blocks, and for ever where a share hangs.
    pub fn read(&self) -> Result<Sources, Problems> {
        let mut problems = Problems::default();
        let before = self.paths().map(stamp);
        let [places, signs, overrides] = TABLES.map(|at| {
            let path = self.paths()[at];
            read_table(path, at == OPTIONAL, &mut || ()).bytes.unwrap_or_else(|error| {
                error.add_to(&mut problems, path);
                Vec::new()
            })
        });
        for (path, before) in self.paths().into_iter().zip(before) {
            if before != stamp(path) {
                TableError::Changed.add_to(&mut problems, path);
            }
        }
        if problems.is_empty() { Ok(Sources { places, signs, overrides }) } else { Err(problems) }
    }
}

/// What changes when a file does; `None` where it is absent.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().as_ref().map(Stamp::of)
}

/// A table as it was found at one time.
#[derive(Debug)]
pub(super) struct Reading {
    /// Of the file that was read, or of what stood in its place.
    pub stamp: Option<Stamp>,
    pub bytes: Result<Vec<u8>, TableError>,
}

/// Why a table could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    /// A later try may succeed.
    #[error("changed while it was read")]
    Changed,
    /// A FIFO, a device or a folder stands there, and which.
    #[error("can't be read: {0}")]
    NotAFile(io::Error),
    /// Its share hangs.
    #[error("does not answer: no read of it has gone on for {} s", HANG_TIMEOUT.as_secs())]
    Hangs,
    /// It is not there, too long, or its disk fails.
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
    /// It begins with UTF-16's byte-order mark.
    #[error("expected UTF-8, found UTF-16; save the file as \"CSV UTF-8\"")]
    Utf16,
    /// A table is text.
    #[error("expected text, found a NUL byte (was the file cut off, or is it no CSV file?)")]
    Nul {
        /// Where it is, counted from 1.
        line: u64,
    },
}

impl TableError {
    /// Adds it to the problems, as one of the table.
    pub fn add_to(&self, problems: &mut Problems, path: &Path) {
        let (name, at) = (name_of(path), path.display());
        match self {
            Self::Changed => {
                problems.add(&name, 0, "", self.to_string());
                problems.unstable = true;
            }
            Self::NotAFile(error) | Self::Io(error) => {
                problems.add(&name, 0, "", format!("can't be read ({at}): {error}"));
            }
            Self::Hangs => {
                let seconds = HANG_TIMEOUT.as_secs();
                problems.add(
                    &name,
                    0,
                    "",
                    format!("does not answer ({at}): no read of it has gone on for {seconds} s"),
                );
            }
            Self::Utf16 => problems.add(&name, 0, "", self.to_string()),
            Self::Nul { line } => problems.add(&name, *line, "", self.to_string()),
        }
    }

    /// Whether the others are published without it, and it keeps the contents that serve: nothing is
    /// known of it, while a table that is missing or broken is known to be.
    pub fn keeps_contents(&self) -> bool {
        matches!(self, Self::Hangs | Self::NotAFile(_))
    }
}

/// Reads one table, stable: the file at its path is the one that was opened, and did not change.
/// `step` is called for each piece.
pub(super) fn read_table(path: &Path, may_be_absent: bool, step: &mut dyn FnMut()) -> Reading {
    let (file, metadata) = match regular_file::open(path) {
        Ok(opened) => opened,
        Err(error) => {
            let bytes = match error.kind() {
                io::ErrorKind::NotFound if may_be_absent => Ok(Vec::new()),
                io::ErrorKind::Other => Err(TableError::NotAFile(error)),
                _ => Err(TableError::Io(error)),
            };
            return Reading { stamp: stamp(path), bytes };
        }
    };
    let opened = Some(Stamp::of(&metadata));
    step();
    let bytes = regular_file::read_bounded(file, MAX_FILE, step, is_text).and_then(|bytes| {
        // Not what a writer had done by half.
        if stamp(path) == opened { Ok(bytes) } else { Err(TableError::Changed) }
    });
    Reading { stamp: opened, bytes }
}

/// Looks at what was read of a table, from the newest piece on.
fn is_text(bytes: &[u8], from: usize) -> Result<(), TableError> {
    // It has NULs of its own, and better advice.
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(TableError::Utf16);
    }
    match bytes[from..].iter().position(|&b| b == 0) {
        Some(at) => Err(TableError::Nul { line: 1 + newlines(&bytes[..from + at]) }),
        None => Ok(()),
    }
}

/// A file's last component, as problems name it.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
