//! Seals what the workers give back, syncs what they write, and looks after the folder.
//!
//! Owns everything that touches the journal's files between their making and their delivery, on a
//! thread of its own. What fails is tried again at the next turn, and meanwhile the records stay
//! where they are, and pending.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::folder::{folder_of, segments, sync_folder};
use super::folder_lock::FolderLock;
use super::ledger::{Ledger, Sealed};
use super::reader::{self, ReadError, Start};
use super::recovery::{self, RecoverError};
use super::segment::Segment;
use super::slot::Slot;
use super::wake_up::WakeUp;
use super::{SegmentState, Settings, SharedLedger};
use crate::core::lock;

/// How often the folder is looked at: for files that a person removed, and batches that one put back.
const LOOK: Duration = Duration::from_secs(2);

/// With so many sealed segments waiting, more of them bring no scan to the store any sooner.
const MANY_WAITING: usize = 32;

/// Why a segment can't be sealed.
#[derive(Debug, thiserror::Error)]
enum SealError {
    #[error("can't look for its file: {0}")]
    Find(#[source] io::Error),
    #[error("is empty, and can't be removed: {0}")]
    Remove(#[source] io::Error),
    #[error("can't be cut to what is used and synced: {0}")]
    Finish(#[source] io::Error),
    #[error("can't be renamed: {0}")]
    Rename(#[source] io::Error),
    #[error("its new name can't be synced: {0}")]
    SyncFolder(#[source] io::Error),
    #[error("can't be read back: {0}")]
    Read(#[from] ReadError),
}

/// Whether a worker gives its segment back to be sealed; asked of one that has records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The segment is too young.
    No,
    /// The segment is old enough, and kept open all the same while the store takes no batches.
    Deferred,
    /// The worker gives the segment back.
    Yes,
}

/// Turns open segments into batches.
#[derive(Debug)]
pub(super) struct Sealer {
    settings: Arc<Settings>,
    ledger: Arc<SharedLedger>,
    slots: Arc<[Arc<Slot>]>,
    lock: Mutex<FolderLock>,
    wake_up: WakeUp,
    /// Whether the store takes no batches.
    is_store_away: AtomicBool,
    /// Whether nothing is recorded because the store has reached its limit.
    is_store_full: AtomicBool,
    syncs: AtomicU64,
    errors: AtomicU64,
}

impl Sealer {
    /// `lock` is that of the settings' folder.
    pub fn new(settings: Arc<Settings>, ledger: Arc<SharedLedger>, slots: Arc<[Arc<Slot>]>, lock: FolderLock) -> Self {
        Self {
            settings,
            ledger,
            slots,
            lock: Mutex::new(lock),
            wake_up: WakeUp::default(),
            is_store_away: AtomicBool::new(false),
            is_store_full: AtomicBool::new(false),
            syncs: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        }
    }

    /// Seals and syncs, until [`Sealer::stop`]; then seals what is left.
    pub fn run(&self) {
        let (mut synced, mut looked) = (Instant::now(), Instant::now());
        let mut refused = HashSet::new();
        while !self.wake_up.is_stopped() {
            self.seal_closed();
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look_for_removed();
                self.take_returned(&mut refused);
            }
            if synced.elapsed() >= self.settings.sync_every {
                synced = Instant::now();
                self.sync();
            }
            self.wake_up.wait(self.settings.sync_every);
        }
        self.seal_closed();
        self.look_for_removed();
    }

    /// Ends [`Sealer::run`].
    pub fn stop(&self) {
        self.wake_up.stop();
    }

    /// A worker has given a segment back.
    pub fn wake(&self) {
        self.wake_up.call();
    }

    /// The store takes no batches, or takes them again.
    pub fn set_store_away(&self, away: bool) {
        self.is_store_away.store(away, Ordering::Relaxed);
    }

    /// The store has reached its limit, or has room again.
    pub fn set_store_full(&self, is_full: bool) {
        self.is_store_full.store(is_full, Ordering::Relaxed);
    }

    /// Whether nothing is recorded; asked for each scan.
    #[inline]
    pub fn is_store_full(&self) -> bool {
        self.is_store_full.load(Ordering::Relaxed)
    }

    /// Whether a segment of this age is to be sealed; takes no lock.
    pub fn due_at(&self, age: Duration) -> Due {
        if age < self.settings.seal_after {
            return Due::No;
        }
        // (A store that hangs says nothing; a pile of sealed segments does.)
        let is_away = self.is_store_away.load(Ordering::Relaxed) || self.ledger.waiting_segments() >= MANY_WAITING;
        if is_away && age < self.settings.seal_after_outage { Due::Deferred } else { Due::Yes }
    }

    /// Syncs that brought something to the disk, and syncs and seals that failed.
    pub fn syncs(&self) -> (u64, u64) {
        (self.syncs.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed))
    }

    /// Seals what was given back.
    pub fn seal_closed(&self) {
        for segment in self.ledger.update(Ledger::take_closed) {
            match seal(&segment) {
                Ok(Some(sealed)) => self.ledger.update(|ledger| ledger.seal(segment.size(), sealed)),
                Ok(None) => {
                    let records = segment.published();
                    self.ledger.update(|ledger| ledger.lose_closed(segment.size(), records));
                    if records > 0 {
                        tracing::error!(records, segment = %segment.path.display(), "a segment was removed before it was sealed; its scans are lost");
                    }
                }
                Err(error) => {
                    tracing::error!(%error, segment = %segment.path.display(), "a segment can't be sealed");
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    self.ledger.update(|ledger| ledger.put_closed(segment));
                }
            }
        }
    }

    /// Brings what was appended to the disk.
    pub fn sync(&self) {
        for segment in self.active() {
            match segment.sync() {
                Ok(synced) => self.syncs.fetch_add(u64::from(synced), Ordering::Relaxed),
                Err(error) => {
                    tracing::error!(%error, segment = %segment.path.display(), "a segment can't be synced");
                    self.errors.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    }

    fn active(&self) -> Vec<Arc<Segment>> {
        self.ledger.read(|ledger| ledger.active().cloned().collect())
    }

    /// Finds what somebody removed under the running edge: the folder, a lock, segments. What was in
    /// them is counted as lost, and the journal goes on with new files.
    pub fn look_for_removed(&self) {
        self.renew_lock();
        // The spares first: a worker that must let go of its segment finds one that has a name.
        self.slots.iter().for_each(|slot| slot.drop_removed());
        let (active, waiting) = self.ledger.read(|ledger| {
            (ledger.active().cloned().collect::<Vec<_>>(), ledger.waiting().cloned().collect::<Vec<_>>())
        });
        for segment in active {
            // Its worker lets go of it within a tick, and then it is counted.
            segment.find().ok();
        }
        for sealed in waiting {
            let is_gone =
                fs::symlink_metadata(&sealed.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            // (Looked at in this order: what is held no longer is settled, or still there.)
            if is_gone && !self.ledger.read(|ledger| ledger.is_held(sealed.id)) {
                self.ledger.lose(&sealed);
            }
        }
    }

    fn renew_lock(&self) {
        let folder = &self.settings.folder;
        let mut lock = lock(&self.lock);
        if !lock.holds(folder).unwrap_or(true) {
            match lock.renew(folder) {
                Ok(()) => {
                    tracing::error!(folder = %folder.display(), "the journal's folder or its lock was removed; it is there again");
                }
                Err(error) => tracing::error!(%error, "the journal's folder was removed, and can't be made again"),
            }
        }
    }

    /// Takes in sealed segments that are not in the books: `waypost journal retry` put them back.
    /// `refused` are those that can't be delivered, and could not be set aside.
    pub fn take_returned(&self, refused: &mut HashSet<PathBuf>) {
        for (path, state) in segments(&self.settings.folder).unwrap_or_default() {
            if state != SegmentState::Sealed || refused.contains(&path) {
                continue;
            }
            match self.returned(path.clone()) {
                Ok(Some(sealed)) => {
                    tracing::info!(batch = %sealed.id, records = sealed.records, "a batch was put back");
                    self.ledger.update(|ledger| ledger.recover(sealed));
                }
                Ok(None) => {}
                // It was delivered meanwhile.
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    tracing::error!(%error, segment = %path.display(), "a segment that was put into the journal can't be delivered");
                    if !recovery::set_aside(&path) {
                        refused.insert(path);
                    }
                }
            }
        }
    }

    /// The batch that a sealed file is, unless it is in the books.
    fn returned(&self, path: PathBuf) -> Result<Option<Sealed>, RecoverError> {
        // A file of ours is in the books for as long as it is there: only this thread seals.
        let is_waiting = |id| self.ledger.read(|ledger| ledger.is_waiting(id));
        if super::id_of(&path).is_some_and(is_waiting) {
            return Ok(None);
        }
        let start = reader::start(&path)?;
        let records = recovery::accept_sealed(&path, &start)?;
        if self.is_open(start.id) {
            return Err(RecoverError::CopyOfOpen);
        }
        let Start { id, bytes, since_ms, .. } = start;
        // One whose header is damaged is repaired at the next start.
        Ok(records.map(|records| Sealed { id, path, records, bytes, since_ms }))
    }

    /// Whether a segment is one that this process has not sealed yet.
    fn is_open(&self, id: Uuid) -> bool {
        self.ledger.read(|ledger| ledger.has_open(id)) || self.slots.iter().any(|slot| slot.has_made(id))
    }
}

/// Cuts, syncs and renames a segment that has no appender any more; one without records is
/// removed. `None` where somebody has removed its file. Can be tried again after any failure.
fn seal(segment: &Segment) -> Result<Option<Sealed>, SealError> {
    let (id, records) = (segment.header.id, segment.published());
    let path = segment.path.with_extension(SegmentState::Sealed.as_str());
    if !segment.is_at(&path).map_err(SealError::Find)? {
        if !segment.find().map_err(SealError::Find)? {
            return Ok(None);
        }
        if records == 0 {
            fs::remove_file(&segment.path).map_err(SealError::Remove)?;
            return Ok(Some(Sealed { id, path, records, bytes: 0, since_ms: 0 }));
        }
        segment.finish().map_err(SealError::Finish)?;
        fs::rename(&segment.path, &path).map_err(SealError::Rename)?;
    }
    sync_folder(folder_of(&path)).map_err(SealError::SyncFolder)?;
    let Start { bytes, since_ms, .. } = reader::start(&path)?;
    Ok(Some(Sealed { id, path, records, bytes, since_ms }))
}
