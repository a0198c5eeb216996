//! The files of a journal's folder, and what their names say.
//!
//! Owns the names: a segment is `UUID.STATE`, and its state changes by a rename alone, so that it
//! is never in two states and never in none. Whatever else lies in the folder is left alone.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use uuid::Uuid;

use crate::system::pace;

/// Bytes of a removed file that are given back at once: some 50 µs.
const PIECE: u64 = 1 << 19;

/// What a segment's file is, as the end of its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SegmentState {
    /// Being written, or left by a crash.
    Open,
    /// Complete: a batch that waits for its delivery.
    Sealed,
    /// In quarantine: some or all of its records can't be read.
    Damaged,
    /// In quarantine: the store rejects it.
    Rejected,
}

impl SegmentState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Open, Self::Sealed, Self::Damaged, Self::Rejected];

    /// The end of the file's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sealed => "sealed",
            Self::Damaged => "damaged",
            Self::Rejected => "rejected",
        }
    }

    /// The state that a file's name ends in, if it does.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let end = path.extension()?;
        Self::ALL.into_iter().find(|state| end == state.as_str())
    }
}

/// The identity in a segment's file name.
#[must_use]
pub fn id_of(path: &Path) -> Option<Uuid> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// Where a segment lies in a folder.
pub(super) fn path_of(folder: &Path, id: Uuid, state: SegmentState) -> PathBuf {
    folder.join(format!("{id}.{}", state.as_str()))
}

/// The segments of a folder, oldest first, and their states.
pub fn segments(folder: &Path) -> io::Result<Vec<(PathBuf, SegmentState)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let (Some(_), Some(state)) = (id_of(&path), SegmentState::of(&path)) {
            found.push((path, state));
        }
    }
    found.sort();
    Ok(found)
}

/// Where a journal keeps what is not to be delivered.
pub(super) fn quarantine_of(folder: &Path) -> PathBuf {
    folder.join("quarantine")
}

/// Files in a journal's quarantine, and the bytes that they take on the disk.
pub(super) fn quarantined(folder: &Path) -> (u64, u64) {
    let entries = fs::read_dir(quarantine_of(folder)).into_iter().flatten();
    // Blocks of 512 bytes (stat(2)), as a file of holes takes little.
    let sizes = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.blocks() * 512));
    sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
}

/// Moves a segment's file into `quarantine/` beside it, as `UUID.STATE`, or `UUID.STATE.1` and so
/// on where there is one already. Returns where it is now.
pub(super) fn set_aside(path: &Path, state: SegmentState) -> io::Result<PathBuf> {
    let folder = folder_of(path);
    let quarantine = quarantine_of(folder);
    fs::create_dir_all(&quarantine)?;
    let name = format!("{}.{}", path.file_stem().unwrap_or_default().to_string_lossy(), state.as_str());
    let (mut to, mut number) = (quarantine.join(&name), 0);
    while fs::symlink_metadata(&to).is_ok() {
        number += 1;
        to = quarantine.join(format!("{name}.{number}"));
    }
    fs::rename(path, &to)?;
    sync_folder(&quarantine)?;
    sync_folder(folder)?;
    Ok(to)
}

/// Puts every rejected batch of a journal's quarantine back; a running edge takes them in within
/// seconds. Returns how many.
pub fn retry_quarantined(folder: &Path) -> io::Result<usize> {
    let mut returned = 0;
    for (path, state) in segments(&quarantine_of(folder))? {
        if state == SegmentState::Rejected {
            let name = path.with_extension(SegmentState::Sealed.as_str());
            fs::rename(&path, folder.join(name.file_name().unwrap_or_default()))?;
            returned += 1;
        }
    }
    sync_folder(folder)?;
    Ok(returned)
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Whether the open file or folder is the one that its path leads to.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Brings a folder's entries to the disk, after a file was made, renamed or removed in it.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Brings the names of the folders above to the disk as well: after a power cut, what was synced in
/// a folder whose own name was not is gone with it.
pub(super) fn sync_folders_above(folder: &Path) -> io::Result<()> {
    // One that can't be opened or synced is not one that a start has made.
    fs::canonicalize(folder)?.ancestors().skip(1).take_while(|above| sync_folder(above).is_ok()).for_each(drop);
    Ok(())
}

/// Removes a file. Gives it back where it has no name any more, for [`give_back`].
pub(super) fn remove(path: &Path) -> io::Result<Option<File>> {
    // Whatever stands there, opening it waits for nothing.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path);
    unless_removed(fs::remove_file(path))?;
    // Somebody may have kept it under another name.
    Ok(file.ok().filter(|file| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)))
}

/// Gives back what a removed file holds, in pieces, at this thread's pace: 16 MiB take the kernel 1 to 2 ms in one go. Only
/// once the removal is on the disk: a power cut may leave the name until then, and with it a part of a batch, which a store
/// would take for another.
pub(super) fn give_back(file: &File) {
    let mut size = file.metadata().map_or(0, |metadata| metadata.len());
    while size > 0 {
        size = size.saturating_sub(PIECE);
        // The kernel does the rest when it is closed.
        if file.set_len(size).is_err() {
            return;
        }
        pace::step();
    }
}

/// A file or folder that somebody has removed needs no more to be done to it.
pub(super) fn unless_removed(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_given_back_unless_it_has_another_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let [one, other, target] = ["one", "other", "target"].map(|name| folder.path().join(name));
        let size = 2 * PIECE + 1;
        let made = |path: &Path| File::create(path).and_then(|file| file.set_len(size)).expect("a file");
        made(&one);
        let file = remove(&one).expect("removed").expect("it has no name");
        give_back(&file);
        assert_eq!(file.metadata().expect("a file").len(), 0);

        made(&one);
        fs::hard_link(&one, &other).expect("a second name");
        assert!(remove(&one).expect("removed").is_none());
        assert_eq!(fs::metadata(&other).expect("a file").len(), size, "somebody has kept it");

        made(&target);
        std::os::unix::fs::symlink(&target, &one).expect("a link");
        assert!(remove(&one).expect("removed").is_none());
        assert_eq!(fs::metadata(&target).expect("a file").len(), size, "a link is no segment");
        assert!(remove(&one).expect("nothing is there").is_none());
    }

    #[test]
    fn a_file_is_a_segment_by_its_whole_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = Uuid::now_v7();
        for name in ["lock", "note.open", &format!("{id}"), &format!("{id}.damaged.1"), &format!("{id}.opened")] {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        let named = SegmentState::ALL.map(|state| (path_of(folder.path(), id, state), state));
        for (path, _) in &named {
            fs::write(path, "").expect("a file");
        }
        let mut found = segments(folder.path()).expect("a folder");
        found.sort_by_key(|(_, state)| *state);
        assert_eq!(found, named);
    }

    #[test]
    fn what_is_set_aside_replaces_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = Uuid::now_v7();
        let names = [format!("{id}.damaged"), format!("{id}.damaged.1"), format!("{id}.damaged.2")];
        for (turn, name) in names.iter().enumerate() {
            let path = path_of(folder.path(), id, SegmentState::Open);
            fs::write(&path, turn.to_string()).expect("a file");
            let to = set_aside(&path, SegmentState::Damaged).expect("set aside");
            assert_eq!(to, folder.path().join("quarantine").join(name));
        }
        let read = |name| fs::read_to_string(folder.path().join("quarantine").join(name)).expect("a file");
        assert_eq!(names.each_ref().map(read), ["0", "1", "2"]);
    }
}
