//! What a crash left is cut at its torn tail, sealed, and delivered.
//!
//! Owns the start. An open segment is read whole and its header made right, so that
//! from here on its bytes, and so its batch, are the same at every try. Nothing here
//! can keep the process from starting but a folder that can't be read or synced: a segment that
//! can't be recovered is set aside, and the others go on.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::folder::{self, SegmentState, folder_of, id_of, quarantine_of, segments, sync_folder};
use super::format::{Header, PUBLISHED_AT, published_word};
use super::ledger::Sealed;
use super::reader::{self, Contents, ReadError, Start};

/// Why a file that lies in the journal's folder can't be delivered.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoverError {
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It was sealed, and there is nothing in it.
    #[error("expected a segment with records, found none")]
    Empty,
    /// Part of it was stored when it was damaged; whole, a store may take it for another batch.
    #[error("was stored in part already: quarantine/ has it, damaged")]
    StoredInPart,
    /// This process writes to a segment of this identity.
    #[error("is a copy of a segment that is still written to")]
    CopyOfOpen,
    /// Its header or its end can't be made right.
    #[error("can't be repaired: {0}")]
    Repair(#[source] io::Error),
    /// It can't get the name of a sealed one.
    #[error("can't be renamed to {to}: {source}")]
    Rename {
        /// The new name.
        to: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It holds no record, and can't be removed.
    #[error("is empty, and can't be removed: {0}")]
    Remove(#[source] io::Error),
}

impl RecoverError {
    /// Whether the file is gone.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Read(error) if error.is_not_found())
    }
}

/// Seals every segment that an ended process has left in a folder, as the one named `edge`, and reports each that holds
/// records. What can't be recovered goes to `quarantine/`. The folder must be nobody's: [`Journal::open`](super::Journal::open)
/// locks it first. Fails only where the folder itself can't be read or synced.
pub fn recover(folder: &Path, edge: &str, mut found: impl FnMut(Sealed)) -> io::Result<()> {
    let mut known = HashSet::new();
    for (path, state) in segments(folder)? {
        match recover_one(&path, state, edge) {
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

fn recover_one(path: &Path, state: SegmentState, edge: &str) -> Result<Option<Sealed>, RecoverError> {
    let records = match state {
        // What was sealed has a header that says how much there is; a damaged one is counted.
        SegmentState::Sealed => {
            let start = reader::start(path)?;
            match accept_sealed(path, &start)? {
                Some(records) => records,
                None => repair(path, edge)?,
            }
        }
        SegmentState::Open => repair(path, edge)?,
        SegmentState::Damaged | SegmentState::Rejected => 0,
    };
    if records == 0 {
        return Ok(None);
    }
    let to = path.with_extension(SegmentState::Sealed.as_str());
    match fs::rename(path, &to) {
        Ok(()) => {}
        Err(source) => return Err(RecoverError::Rename { to, source }),
    }
    let Start { id, bytes, since_ms, .. } = reader::start(&to)?;
    Ok(Some(Sealed { id, path: to, records, bytes, since_ms }))
}

/// Makes the header right and cuts the tail; removes what is empty. Returns how many
/// records were written.
fn repair(path: &Path, edge: &str) -> Result<u32, RecoverError> {
    let contents = reader::read_named(path)?;
    let written = contents.written();
    if contents.lost > 0 {
        let (lost, read) = (contents.lost, contents.scans.len());
        tracing::warn!(segment = %path.display(), lost, read, "a segment is damaged");
    }
    if written > 0 {
        rewrite(path, &header(path, edge, &contents), contents.used, written).map_err(RecoverError::Repair)?;
    } else if contents.header.is_some() || contents.blank {
        fs::remove_file(path).map_err(RecoverError::Remove)?;
    } else {
        tracing::error!(segment = %path.display(), "a segment can't be read at all");
        set_aside(path);
    }
    Ok(written)
}

fn rewrite(path: &Path, header: &Header, size: u64, written: u32) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(size)?;
    file.write_all_at(&header.encode(), 0)?;
    file.write_all_at(&published_word(written).to_le_bytes(), PUBLISHED_AT as u64)?;
    file.sync_all()
}

/// Moves what can't be read to `quarantine/`, for a person to look at. Where that can't be done it
/// stays where it is, and nothing waits for it. Returns whether it was moved.
pub(super) fn set_aside(path: &Path) -> bool {
    let moved = folder::set_aside(path, SegmentState::Damaged);
    match &moved {
        Ok(to) => tracing::warn!(file = %to.display(), "it is set aside"),
        Err(error) => tracing::error!(%error, file = %path.display(), "it can't be set aside, and stays where it is"),
    }
    moved.is_ok()
}

/// How many records a sealed segment that is found says it holds; `None` where its header is
/// damaged. One that must not be delivered is an error.
pub(super) fn accept_sealed(path: &Path, start: &Start) -> Result<Option<u32>, RecoverError> {
    let quarantine = quarantine_of(folder_of(path));
    // An identity may be spelt in several ways (capitals, no hyphens); what is set aside keeps its own.
    let same_name = path.with_extension(SegmentState::Damaged.as_str());
    let was_damaged = folder::path_of(&quarantine, start.id, SegmentState::Damaged).exists()
        || quarantine.join(same_name.file_name().unwrap_or_default()).exists();
    if start.published == Some(0) {
        Err(RecoverError::Empty)
    } else if was_damaged {
        Err(RecoverError::StoredInPart)
    } else {
        Ok(start.published)
    }
}

/// The header, or the best that is known where it is damaged: the file's name tells the identity.
fn header(path: &Path, edge: &str, contents: &Contents) -> Header {
    contents.header.clone().unwrap_or_else(|| Header {
        id: id_of(path).unwrap_or_default(),
        created_ms: contents.scans.first().map_or(0, |(_, scan)| scan.ts_ms),
        edge: edge.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::journal::folder::path_of;
    use crate::journal::format::{BLOCK, Payload, tests::golden};
    use crate::journal::segment::Appender;

    /// A segment as a crash leaves it.
    fn left_open(folder: &Path, records: u32) -> Uuid {
        let id = Uuid::now_v7();
        let header = Header { id, created_ms: 1, edge: "test".to_owned() };
        let made = Appender::create(path_of(folder, id, SegmentState::Open), header, 4 * BLOCK);
        let mut appender = made.expect("a segment");
        for _ in 0..records {
            appender.append(Payload::encode(&golden()).bytes()).expect("there is room");
        }
        id
    }

    fn recovered(folder: &Path) -> Vec<(Uuid, u32)> {
        let mut found = Vec::new();
        recover(folder, "test", |sealed| found.push((sealed.id, sealed.records))).expect("it can be read");
        found
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names.into_iter().map(|name| name.into_string().expect("a name")).collect()
    }

    #[test]
    fn what_can_not_be_read_is_set_aside_and_the_others_are_recovered() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let first = left_open(folder, 3);
        // A folder and a FIFO with the names of segments, and a copy under another name.
        let bad = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
        fs::create_dir(path_of(folder, bad[0], SegmentState::Open)).expect("a folder");
        let fifo = path_of(folder, bad[1], SegmentState::Sealed);
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
        fs::copy(path_of(folder, first, SegmentState::Open), path_of(folder, bad[2], SegmentState::Sealed))
            .expect("a copy");
        let last = left_open(folder, 5);

        assert_eq!(recovered(folder), [(first, 3), (last, 5)]);
        assert_eq!(names(&quarantine_of(folder)), bad.map(|id| format!("{id}.damaged")));
        assert_eq!(recovered(folder), [(first, 3), (last, 5)], "the next start finds the same");
    }

    #[test]
    fn what_can_not_be_sealed_is_set_aside_and_nothing_waits_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let id = left_open(folder, 3);
        // A folder has its new name: neither can be a batch.
        fs::create_dir(path_of(folder, id, SegmentState::Sealed)).expect("a folder");
        assert_eq!(recovered(folder), []);
        assert_eq!(names(&quarantine_of(folder)), [format!("{id}.damaged"), format!("{id}.damaged.1")]);
    }

    #[test]
    fn what_was_stored_in_part_is_known_by_either_spelling_of_its_name() {
        for spell in [str::to_lowercase, str::to_uppercase] {
            let folder = tempfile::tempdir().expect("a folder");
            let folder = folder.path();
            let id = left_open(folder, 3);
            let name = spell(&id.to_string());
            fs::create_dir(quarantine_of(folder)).expect("a folder");
            fs::write(quarantine_of(folder).join(format!("{name}.damaged")), "a part").expect("a file");
            fs::rename(path_of(folder, id, SegmentState::Open), folder.join(format!("{name}.sealed"))).expect("a name");
            assert_eq!(recovered(folder), [], "{name}");
            assert_eq!(names(&quarantine_of(folder)), [format!("{name}.damaged"), format!("{name}.damaged.1")]);
        }
    }

    #[test]
    fn a_segment_without_records_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        left_open(folder.path(), 0);
        assert_eq!(recovered(folder.path()), []);
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
