//! What a crash left is cut at its torn tail, sealed, and shipped.
//!
//! Owns the start. An open segment is read whole and its header made right, so that
//! from here on its bytes, and so its batch, are the same at every try. Nothing here
//! can keep the process from starting but a file system that refuses.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::format::{Header, PUBLISHED_AT, published_word};
use super::ledger::Sealed;
use super::reader::{self, Contents};
use super::segment::sync_folder;
use super::segments;

/// Seals every segment of a folder and reports each that holds records. A file that
/// can't be read is set aside, and the others go on.
pub(super) fn recover(folder: &Path, edge: &str, mut found: impl FnMut(Sealed)) -> io::Result<()> {
    let mut known = HashSet::new();
    for (path, kind) in segments(folder)? {
        match seal(&path, &kind, edge) {
            // One that was open has taken the place of its copy.
            Ok(Some(sealed)) if !known.insert(sealed.id) => {}
            Ok(Some(sealed)) => found(sealed),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, segment = %path.display(), "a segment can't be recovered");
                set_aside(&path);
            }
        }
    }
    sync_folder(folder)
}

fn seal(path: &Path, kind: &str, edge: &str) -> io::Result<Option<Sealed>> {
    let records = match kind {
        // What was sealed has a header that says how much there is; a damaged one is counted.
        "sealed" => {
            let start = reader::start(path)?;
            start.id_at(path)?;
            refuse_returned(path, start.published)?;
            start.published.map_or_else(|| repair(path, edge), Ok)?
        }
        "open" => repair(path, edge)?,
        _ => 0,
    };
    if records == 0 {
        return Ok(None);
    }
    let sealed = path.with_extension("sealed");
    fs::rename(path, &sealed)?;
    let start = reader::start(&sealed)?;
    let (id, bytes, since_ms) = (start.id_at(&sealed)?, start.bytes, start.since_ms);
    Ok(Some(Sealed { id, path: sealed, records, bytes, since_ms }))
}

/// Makes the header right and cuts the tail; removes what is empty. Returns how many
/// records were written.
fn repair(path: &Path, edge: &str) -> io::Result<u32> {
    let contents = reader::read(path)?;
    contents.id_at(path)?;
    let written = contents.written();
    if contents.lost > 0 {
        let (lost, read) = (contents.lost, contents.scans.len());
        tracing::warn!(segment = %path.display(), lost, read, "a segment is damaged");
    }
    if written > 0 {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(contents.used)?;
        file.write_all_at(&header(path, edge, &contents).encode(), 0)?;
        file.write_all_at(&published_word(written).to_le_bytes(), PUBLISHED_AT as u64)?;
        file.sync_all()?;
    } else if contents.header.is_some() || contents.blank {
        fs::remove_file(path)?;
    } else {
        tracing::error!(segment = %path.display(), "a segment can't be read at all");
        set_aside(path);
    }
    Ok(written)
}

/// Moves what can't be read to `quarantine/`, for a person to look at. Where that can't be done it
/// stays where it is, and nothing waits for it. Returns whether it was.
pub(super) fn set_aside(path: &Path) -> bool {
    let moved = super::set_aside(path, "damaged");
    match &moved {
        Ok(to) => tracing::warn!(file = %to.display(), "it is set aside"),
        Err(error) => tracing::error!(%error, file = %path.display(), "it can't be set aside, and stays where it is"),
    }
    moved.is_ok()
}

/// Why a sealed segment that is found is no batch, if so: there is nothing in it, or part of it was
/// stored before, when it was damaged; as a whole a store may take it for another batch.
pub(super) fn refuse_returned(path: &Path, records: Option<u32>) -> io::Result<()> {
    let name = path.with_extension("damaged");
    let damaged = path.with_file_name("quarantine").join(name.file_name().unwrap_or_default());
    if records == Some(0) {
        return Err(io::Error::other("has no records"));
    }
    if damaged.exists() {
        return Err(io::Error::other("was stored in part already: quarantine/ has it, damaged"));
    }
    Ok(())
}

/// The header, or the best that is known where it is damaged: the file's name tells the identity.
fn header(path: &Path, edge: &str, contents: &Contents) -> Header {
    contents.header.clone().unwrap_or_else(|| Header {
        id: reader::id_of(path).unwrap_or_default(),
        created_ms: contents.scans.first().map_or(0, |(_, scan)| scan.ts_ms),
        edge: edge.to_owned(),
    })
}
