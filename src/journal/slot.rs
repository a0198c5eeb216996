//! Where the maker leaves a worker's next segment, and the worker takes it.
//!
//! Owns the hand-over, which is a queue without a lock: a worker that met the maker at one and did
//! not wait would miss a segment that is there, and drop scans.

use std::fs;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crossbeam_queue::ArrayQueue;
use uuid::Uuid;

use super::segment::{Appender, Segment};
use super::wake_up::WakeUp;
use super::{Dropped, SharedLedger};
use crate::core::lock;

/// One worker's slot.
#[derive(Debug)]
pub(super) struct Slot {
    worker: usize,
    ledger: Arc<SharedLedger>,
    /// At most one.
    spare: ArrayQueue<Appender>,
    /// The one that was put there last, for the sealer to look after.
    made: Mutex<Weak<Segment>>,
    /// Why there is none, as a [`Dropped`].
    missing: AtomicU8,
    dropped: [AtomicU64; Dropped::ALL.len()],
    /// Wakes the maker.
    taken: Arc<WakeUp>,
}

impl Slot {
    /// An empty one for worker number `worker`.
    pub fn new(worker: usize, ledger: Arc<SharedLedger>, taken: Arc<WakeUp>) -> Self {
        Self {
            worker,
            ledger,
            spare: ArrayQueue::new(1),
            made: Mutex::default(),
            missing: AtomicU8::new(Dropped::NotReady as u8),
            dropped: Default::default(),
            taken,
        }
    }

    // The maker's end.

    /// Leaves a segment in a slot that is not filled.
    pub fn put(&self, spare: Appender) {
        let size = spare.segment().size();
        self.ledger.update(|ledger| ledger.put_spare(size));
        self.missing.store(Dropped::NotReady as u8, Ordering::Relaxed);
        *lock(&self.made) = Arc::downgrade(spare.segment());
        // There is room: nobody else puts segments here.
        self.spare.push(spare).ok();
    }

    /// Says why there is no segment. Returns whether the reason is a new one.
    pub fn miss(&self, reason: Dropped) -> bool {
        self.missing.swap(reason as u8, Ordering::Relaxed) != reason as u8
    }

    /// Removes the segment, at the stop. It is empty; the next start would remove it as well.
    pub fn clear(&self) {
        if let Some(spare) = self.spare.pop() {
            fs::remove_file(&spare.segment().path).ok();
        }
    }

    // The sealer's end.

    /// Lets go of a segment whose file somebody has removed.
    pub fn drop_removed(&self) {
        let made = lock(&self.made);
        if made.upgrade().is_some_and(|segment| !segment.find().unwrap_or(true))
            // If its worker has taken it, it is found among the active ones.
            && let Some(spare) = self.spare.pop()
        {
            let size = spare.segment().size();
            self.ledger.update(|ledger| ledger.remove_spare(size));
            self.taken.call();
        }
    }

    /// Whether the segment that was left here last, and is not sealed yet, has this identity.
    pub fn has_made(&self, id: Uuid) -> bool {
        let made = lock(&self.made);
        made.upgrade().is_some_and(|segment| segment.header.id == id)
    }

    // The worker's end.

    /// Whether there is a segment; asks without taking it.
    pub fn is_filled(&self) -> bool {
        self.spare.is_full()
    }

    /// Takes the segment to write to, and has the next one made.
    pub fn take(&self) -> Option<Appender> {
        let spare = self.spare.pop()?;
        self.ledger.update(|ledger| ledger.begin(self.worker, spare.segment().clone()));
        self.taken.call();
        Some(spare)
    }

    /// Gives a segment back, to be sealed: nothing is written to it any more.
    pub fn close(&self, appender: Appender) {
        drop(appender);
        self.ledger.update(|ledger| ledger.close(self.worker));
    }

    /// Counts a scan that found no segment.
    pub fn count_without_segment(&self) {
        self.dropped[usize::from(self.missing.load(Ordering::Relaxed))].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a scan that was not to be recorded.
    pub fn count_dropped(&self, reason: Dropped) {
        self.dropped[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Scans that were not recorded, for one reason.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }
}
