//! The edge's own files of scans not yet stored.
//!
//! Owns the hand-over between a scan and the store, which goes one way and through
//! files. There is no queue to overflow and no cursor to lose: a file that is there is not stored
//! yet.
//!
//! ```text
//! maker: makes UUID.open ──slot──▶ Writer, one for each worker: appends to it
//!                                      │ when it is full, or old enough
//!                                      ▼
//! sealer: cuts it, syncs it, renames it to UUID.sealed ──▶ Journal::next: the delivery stores it
//!                                                              │ when the store has confirmed it
//!                                                              ▼
//!                                                          Journal::settle: removes it
//!
//! UUID.open     being written, or left by a crash
//! UUID.sealed   a batch: never changes again, delivered until the store confirms it
//! quarantine/   batches the store rejects, and segments with unreadable records
//! lock          locked, as the folder is, by the process that owns it
//! ```
//!
//! What somebody removes under a running edge can't be stored any more: it is counted as
//! lost, and the journal goes on with new files.

mod folder;
mod folder_lock;
mod format;
mod ledger;
mod maker;
mod metrics;
mod reader;
mod recovery;
mod sealer;
mod segment;
mod slot;
mod wake_up;
mod writer;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use folder::{SegmentState, id_of, retry_quarantined, segments};
pub use folder_lock::OpenError;
pub use format::{Header, MAX_EDGE_NAME};
pub use ledger::{Counts, Sealed};
pub use reader::{Contents, ReadError, parse, read, read_batch};
pub use recovery::recover;
pub use writer::Writer;

use folder::unless_removed;
use folder_lock::FolderLock;
use ledger::{Ledger, SharedLedger};
use maker::Maker;
use sealer::Sealer;
use slot::Slot;
use wake_up::WakeUp;

use crate::system::pace;

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its folder.
    pub folder: PathBuf,
    /// The edge's name, written into each segment.
    pub edge: String,
    /// Size of a segment, in bytes.
    pub segment: u64,
    /// A segment with records is sealed at this age.
    pub seal_after: Duration,
    /// The same while the store takes no batches: files, inserts and bookkeeping then grow with
    /// scans, and not with time.
    pub seal_after_outage: Duration,
    /// How often appended records are brought to the disk.
    pub sync_every: Duration,
    /// Most bytes of all segments together, those in quarantine among them.
    pub max_size: u64,
    /// Bytes of the file system that a backlog leaves free.
    pub min_free: u64,
}

/// Why a delivered segment stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Its file can't be removed.
    #[error("can't be removed: {0}")]
    Remove(#[source] io::Error),
    /// Its removal can't be brought to the disk.
    #[error("its removal can't be synced: {0}")]
    Sync(#[source] io::Error),
    /// It can't be moved into `quarantine/`.
    #[error("can't be set aside in quarantine/: {0}")]
    SetAside(#[source] io::Error),
}

/// Why a scan could not be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Dropped {
    /// The next segment is not ready yet.
    NotReady = 0,
    /// The file system has no room, or less than `journal.min_free`.
    DiskFull = 1,
    /// The journal has reached `journal.max_size`.
    JournalFull = 2,
    /// The file system reports another error.
    IoError = 3,
    /// The store has reached its limit, and is to keep what it has rather than what comes.
    StoreFull = 4,
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::NotReady, Self::DiskFull, Self::JournalFull, Self::IoError, Self::StoreFull];

    /// The word in the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::DiskFull => "disk_full",
            Self::JournalFull => "journal_full",
            Self::IoError => "io_error",
            Self::StoreFull => "store_full",
        }
    }
}

/// A journal that this process owns.
#[derive(Debug)]
pub struct Journal {
    settings: Arc<Settings>,
    ledger: Arc<SharedLedger>,
    slots: Arc<[Arc<Slot>]>,
    maker: Maker,
    sealer: Arc<Sealer>,
}

impl Journal {
    /// Takes the folder, seals what a crash left, and makes the first segments of each worker.
    pub fn open(settings: Settings, workers: usize) -> Result<Arc<Self>, OpenError> {
        let settings = Arc::new(settings);
        let folder = &settings.folder;
        let io = |source| OpenError::Io { path: folder.clone(), source };
        let lock = FolderLock::take(folder)?;
        let mut ledger = Ledger::new(workers);
        folder::sync_folders_above(folder).map_err(io)?;
        recovery::recover(folder, &settings.edge, |sealed| ledger.recover(sealed)).map_err(io)?;

        let ledger = Arc::new(SharedLedger::new(ledger));
        let taken = Arc::new(WakeUp::default());
        let slots: Arc<[_]> =
            (0..workers).map(|worker| Arc::new(Slot::new(worker, ledger.clone(), taken.clone()))).collect();
        let maker = Maker::new(settings.clone(), ledger.clone(), slots.clone(), taken);
        let sealer = Arc::new(Sealer::new(settings.clone(), ledger.clone(), slots.clone(), lock));
        maker.fill_slots();
        Ok(Arc::new(Self { settings, ledger, slots, maker, sealer }))
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Has the next segments ready, until [`Journal::stop`]; for a thread of its own.
    pub fn make_segments(&self) {
        self.maker.run();
    }

    /// Seals and syncs, until [`Journal::stop`], and then seals what is left; for a thread of its own.
    pub fn seal_segments(&self) {
        self.sealer.run();
    }

    /// Ends both threads. The writers must be gone.
    pub fn stop(&self) {
        self.maker.stop();
        self.sealer.stop();
        self.ledger.stop();
    }

    /// What a worker's [`Writer`] is made of.
    fn end_of(&self, worker: usize) -> (Arc<Slot>, Arc<Sealer>) {
        (self.slots[worker].clone(), self.sealer.clone())
    }

    /// Where every record is at this moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.ledger.read(Ledger::counts)
    }

    /// How long a pause of the delivery is (see [`pace::keep`]): the more sealed segments wait for each worker, the shorter.
    #[must_use]
    pub fn pause_of_delivery(&self) -> u32 {
        match self.ledger.waiting_segments().div_ceil(self.slots.len().max(1)) {
            0 | 1 => pace::PAUSE,
            2 => 3,
            _ => 1,
        }
    }

    /// How long a pause is of who makes segments: the more workers have none in reserve, the shorter. (To make one of
    /// 16 MiB takes 5 ms of CPU time, to fill it 1.3 s at full speed: with all pauses it is there after 40 ms. With pauses of
    /// one piece, a worker at half of its capacity could not keep up for 16 ms, and that was most of its p99.)
    #[must_use]
    pub fn pause_of_making(&self) -> u32 {
        let missing = self.slots.iter().filter(|slot| !slot.is_filled()).count();
        pace::PAUSE / u32::try_from(missing.max(1)).unwrap_or(u32::MAX)
    }

    /// Scans that were answered and could not be recorded, by reason.
    #[must_use]
    pub fn dropped(&self) -> [(Dropped, u64); Dropped::ALL.len()] {
        Dropped::ALL.map(|reason| (reason, self.slots.iter().map(|slot| slot.dropped(reason)).sum()))
    }

    /// Syncs that brought something to the disk, and syncs and seals that failed.
    #[must_use]
    pub fn syncs(&self) -> (u64, u64) {
        self.sealer.syncs()
    }

    /// Files in `quarantine/`, and the bytes that they take on the disk.
    #[must_use]
    pub fn quarantined(&self) -> (u64, u64) {
        folder::quarantined(&self.settings.folder)
    }

    /// The sealed segment that `choose` takes of all that wait, oldest first; waits until there
    /// is one, for at most the given time.
    #[must_use]
    pub fn next(
        &self,
        timeout: Duration,
        choose: impl for<'s> Fn(&mut dyn Iterator<Item = &'s Sealed>) -> Option<&'s Sealed>,
    ) -> Option<Sealed> {
        self.ledger.next(timeout, choose)
    }

    /// The store takes no batches, or takes them again. While it is away segments stay open for
    /// `seal_after_outage`; when it is back those beyond `seal_after` are sealed at once.
    pub fn set_store_away(&self, away: bool) {
        self.sealer.set_store_away(away);
    }

    /// The store has reached its limit, or has room again. While it is full nothing is recorded, and each scan
    /// is counted as dropped; what is recorded stays, to be delivered when there is room.
    pub fn set_store_full(&self, is_full: bool) {
        self.sealer.set_store_full(is_full);
    }

    /// From here to [`Journal::release`] the segment is being delivered. Should its file be removed
    /// meanwhile its records are in memory, and not lost yet.
    pub fn hold(&self, sealed: &Sealed) {
        self.ledger.update(|ledger| ledger.hold(Some(sealed.id)));
    }

    /// The delivery is over, however it went.
    pub fn release(&self) {
        self.ledger.update(|ledger| ledger.hold(None));
    }

    /// The store has `stored` of the segment's records. The file goes: that is the whole
    /// acknowledgement. If some could not be read it goes to the quarantine instead.
    pub fn settle(&self, sealed: &Sealed, stored: u32) -> Result<(), SettleError> {
        if stored < sealed.records {
            return self.set_aside(sealed, SegmentState::Damaged, stored);
        }
        let nameless = folder::remove(&sealed.path).map_err(SettleError::Remove)?;
        // A crash before this line makes the store see the batch again, and know it.
        unless_removed(folder::sync_folder(&self.settings.folder)).map_err(SettleError::Sync)?;
        self.ledger.update(|ledger| ledger.settle(sealed.id, stored));
        if let Some(file) = nameless {
            folder::give_back(&file);
        }
        Ok(())
    }

    /// The store rejects the segment for what it is: it is kept for a person to look at.
    pub fn quarantine_batch(&self, sealed: &Sealed) -> Result<(), SettleError> {
        self.set_aside(sealed, SegmentState::Rejected, 0)
    }

    fn set_aside(&self, sealed: &Sealed, state: SegmentState, stored: u32) -> Result<(), SettleError> {
        unless_removed(folder::set_aside(&sealed.path, state).map(drop)).map_err(SettleError::SetAside)?;
        self.ledger.update(|ledger| ledger.settle(sealed.id, stored));
        Ok(())
    }

    /// Somebody has removed the segment's file: its records can't be stored any more.
    pub fn lose(&self, sealed: &Sealed) {
        self.ledger.lose(sealed);
    }
}
