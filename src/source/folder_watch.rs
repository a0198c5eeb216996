//! What the operating system reports of the folders that a table is in (inotify(7)).
//!
//! Owns one watcher for each table, and whether the table is open for writing. Setting a watch
//! touches the disk, so it is done on the table's thread; receiving an event does not.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use memchr::memmem;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::core::lock;

/// A file that is still open for writing is read all the same once it has not changed for this long.
const STALE_WRITER: Duration = Duration::from_secs(30);

/// The folders of one table, watched.
pub(super) struct FolderWatch {
    pub events: Arc<FolderEvents>,
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

impl FolderWatch {
    /// No folder is watched yet.
    pub fn new(events: Arc<FolderEvents>) -> Self {
        Self { events, watcher: None, folders: BTreeSet::new() }
    }

    /// Watches the folders that the file is in now: links may have been pointed elsewhere.
    pub fn follow(&mut self, path: &Path) {
        if self.watcher.is_none() {
            self.watcher = self.events.clone().watcher();
        }
        let Some(watcher) = &mut self.watcher else { return };
        let beside = path.parent().and_then(|folder| folder.canonicalize().ok());
        let named = beside.as_ref().zip(path.file_name()).map(|(folder, name)| folder.join(name));
        let real = path.canonicalize().ok();
        let mut now: BTreeSet<PathBuf> = beside.into_iter().collect();
        now.extend(real.as_deref().and_then(Path::parent).map(Path::to_owned));
        for gone in self.folders.difference(&now) {
            // A folder that was removed is no longer watched anyway.
            watcher.unwatch(gone).ok();
        }
        for new in now.difference(&self.folders) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, folder = %new.display(), "a folder of the registry can't be watched; it is only polled");
            }
        }
        self.folders = now;
        self.events.follow([named, real].into_iter().flatten());
    }
}

/// What has been reported of a table's folders.
pub(super) struct FolderEvents {
    /// Notified when the table may have changed.
    table_changed: Arc<Notify>,
    /// The table by its paths, and since when it has been open for writing.
    files: Mutex<HashMap<PathBuf, Option<Instant>>>,
}

impl FolderEvents {
    /// Nothing has been reported yet.
    pub fn new(table_changed: Arc<Notify>) -> Self {
        Self { table_changed, files: Mutex::default() }
    }

    /// Says that the table may have changed.
    pub fn notify(&self) {
        self.table_changed.notify_one();
    }

    /// Whether a program has it open for writing, and wrote to it in the last 30 s.
    pub fn is_being_written(&self) -> bool {
        lock(&self.files).values().flatten().any(|since| since.elapsed() < STALE_WRITER)
    }

    fn watcher(self: Arc<Self>) -> Option<RecommendedWatcher> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) => self.take(&event),
            // An overflow or a lost folder: whether the table has changed shows in its stamp.
            Err(_) => self.notify(),
        });
        watcher
            .map_err(|error| tracing::warn!(%error, "the registry's folders can't be watched; they are only polled"))
            .ok()
    }

    fn take(&self, event: &notify::Event) {
        let mut files = lock(&self.files);
        let is_about =
            |other: &PathBuf| files.keys().any(|table| is_named_in(table, other) || table.parent() == Some(other));
        let counts = match event.kind {
            EventKind::Access(AccessKind::Open(_) | AccessKind::Read) => false,
            // What another file holds is nothing to a table, and a database beside it changes all the time. Who may use
            // the folder is.
            EventKind::Access(_)
            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_) | ModifyKind::Any) => {
                event.paths.iter().any(is_about)
            }
            // Another file's coming, going or new name may be a link's.
            _ => true,
        };
        for path in &event.paths {
            let Some(written) = files.get_mut(path) else { continue };
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => *written = Some(Instant::now()),
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Remove(_) => {
                    *written = None;
                }
                _ => {}
            }
        }
        drop(files);
        if counts {
            self.notify();
        }
    }

    fn follow(&self, paths: impl Iterator<Item = PathBuf>) {
        let mut known = lock(&self.files);
        *known =
            paths.map(|path| (known.get(&path).copied().flatten(), path)).map(|(since, path)| (path, since)).collect();
    }
}

/// Whether it is the table or one of the files that office programs put beside it (`~$signs.csv`).
fn is_named_in(table: &Path, other: &Path) -> bool {
    let (Some(name), Some(other)) = (table.file_name(), other.file_name()) else { return false };
    memmem::find(other.as_encoded_bytes(), name.as_encoded_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use notify::Event;
    use notify::event::{CreateKind, DataChange, MetadataKind, RenameMode};

    use super::*;

    #[test]
    fn what_other_files_hold_wakes_nobody_up() {
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        for (kind, name, wakes) in [
            (written, "signs.csv", true),
            (closed, "signs.csv", true),
            (EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), "signs.csv", true),
            (written, ".~lock.signs.csv#", true),
            (closed, "~$signs.csv", true),
            (EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), "", true),
            (EventKind::Create(CreateKind::File), "..2026_11_27", true),
            (renamed, "..data", true),
            (EventKind::Other, "", true),
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), "signs.csv", false),
            (written, "waypost.db-wal", false),
            (closed, "waypost.db", false),
            (EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), "places.csv", false),
        ] {
            let changed = Arc::new(Notify::new());
            let events = FolderEvents::new(changed.clone());
            events.follow([PathBuf::from("/tables/signs.csv")].into_iter());
            events.take(&Event::new(kind).add_path(Path::new("/tables").join(name)));
            assert_eq!(pin!(changed.notified()).enable(), wakes, "{kind:?} {name}");
        }
    }
}
