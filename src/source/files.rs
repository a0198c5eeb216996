//! The three tables' files, each read stable: whole, and unchanged across the read.
//!
//! Owns what a file must be to be looked at as a table: a regular one, of bounded length, of text.
//! A file that is none is refused at the first piece that shows it.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, io, thread};

use super::csv::is_utf16;
use super::sources::Sources;
use crate::core::{Problems, file_name, newlines};
use crate::system::Stamp;
use crate::system::path_thread::HANG_TIMEOUT;
use crate::system::regular_file::{self, NotAFile};

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

    /// Reads all three, stable: none changed while any was read. Blocks, where a share hangs for as long as it does.
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

    /// The same on a thread of its own, which alone a share that hangs holds up; `None` where it is not done within
    /// `timeout`. `held` is dropped when the read ends, however long that takes.
    pub fn read_within<H: Send + 'static>(&self, timeout: Duration, held: H) -> Option<Result<Sources, Problems>> {
        let (sender, receiver) = mpsc::channel();
        let files = self.clone();
        let read = move || {
            let tables = files.read();
            drop(held);
            // Nobody may be waiting any more.
            sender.send(tables).ok();
        };
        thread::Builder::new().name("tables-read".to_owned()).spawn(read).ok()?;
        receiver.recv_timeout(timeout).ok()
    }
}

/// The file's [`Stamp`]; `None` where it is absent.
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
    /// A FIFO, a device or a folder stands there.
    #[error(transparent)]
    NotAFile(NotAFile),
    /// Its share hangs.
    #[error("no progress in reading it for {} s", HANG_TIMEOUT.as_secs())]
    Hangs,
    /// It is not there, too long, or its disk fails.
    #[error(transparent)]
    Io(#[from] io::Error),
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
        let at = path.display();
        let (line, text) = match self {
            Self::Changed => (0, self.to_string()),
            Self::Nul { line } => (*line, self.to_string()),
            Self::NotAFile(_) | Self::Io(_) => (0, format!("can't be read ({at}): {self}")),
            Self::Hangs => (0, format!("does not answer ({at}): {self}")),
        };
        problems.add(&file_name(path), line, "", text);
    }

    /// Whether the other tables are published without this one, which keeps the contents that serve.
    /// That is so where its contents are unknown; one that is missing or damaged is refused.
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
                _ => Err(NotAFile::of(&error).map_or(TableError::Io(error), TableError::NotAFile)),
            };
            return Reading { stamp: stamp(path), bytes };
        }
    };
    let opened = Some(Stamp::of(&metadata));
    step();
    let bytes = regular_file::read_bounded(file, MAX_FILE, step, is_text).and_then(|bytes| {
        // Else it may be what a writer had half done.
        if stamp(path) == opened { Ok(bytes) } else { Err(TableError::Changed) }
    });
    Reading { stamp: opened, bytes }
}

/// Checks that the newest piece of a table, from `from` on, can be text.
fn is_text(bytes: &[u8], from: usize) -> Result<(), TableError> {
    // UTF-16 has NUL bytes too; its header is refused with better advice.
    if is_utf16(bytes) {
        return Ok(());
    }
    match memchr::memchr(0, &bytes[from..]) {
        Some(at) => Err(TableError::Nul { line: 1 + newlines(&bytes[..from + at]) }),
        None => Ok(()),
    }
}
