//! Where every record of this process is: the books behind the metrics.
//!
//! Owns the identity `recorded + recovered = stored + pending + quarantined + lost`, true at
//! every reading. The books are kept by segment and under one lock. Of scans, only one that ends a
//! full segment or begins the next takes it; others hold it for a walk over the waiting segments at
//! most, and never while they touch a file. What the workers append meanwhile is read once from
//! each open segment, so both sides of the identity see the same number.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use super::segment::Segment;
use crate::core::lock;

/// A segment that waits for its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Identity of segment and batch.
    pub id: Uuid,
    /// Its file.
    pub path: PathBuf,
    /// Records that were written to it.
    pub records: u32,
    /// Size of its file, in bytes.
    pub bytes: u64,
    /// Time of its first record, milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// The figures of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Records appended by this process.
    pub recorded: u64,
    /// Records found at its start, or put back from the quarantine since.
    pub recovered: u64,
    /// Records that the store has confirmed.
    pub stored: u64,
    /// Records set aside: rejected by the store, or unreadable.
    pub quarantined: u64,
    /// Records in segments that are open or wait for delivery.
    pub pending: u64,
    /// Records in files that somebody removed before they were stored.
    pub lost: u64,
    /// Segments that are kept open beyond `journal.seal_after` because the store takes no batches.
    pub deferred_segments: u64,
    /// Segments that wait for delivery.
    pub sealed_segments: u64,
    /// Bytes of all segments, open ones at their full size.
    pub bytes: u64,
    /// Time of the first record that waits in a sealed segment, milliseconds since the Unix epoch.
    pub oldest_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The segment that each worker appends to.
    active: Vec<Option<Arc<Segment>>>,
    /// Given back by their workers, for the sealer to take.
    closed_segments: Vec<Arc<Segment>>,
    /// Records and bytes of what was given back and is not sealed yet.
    closing_records: u64,
    closing_bytes: u64,
    sealed: BTreeMap<Uuid, Sealed>,
    /// The one that is being delivered.
    held: Option<Uuid>,
    /// Bytes of segments that wait to be written to.
    spare_bytes: u64,
    /// Records of the segments that are no longer active.
    closed_records: u64,
    recovered: u64,
    stored: u64,
    quarantined: u64,
    lost: u64,
    stopping: bool,
}

impl Ledger {
    /// Empty books for so many workers.
    pub fn new(workers: usize) -> Self {
        Self { active: vec![None; workers], ..Self::default() }
    }

    pub fn counts(&self) -> Counts {
        let open = self.active.iter().flatten();
        let (mut appended, mut bytes, mut deferred_segments) = (0, self.spare_bytes + self.closing_bytes, 0);
        for segment in open {
            appended += u64::from(segment.published());
            bytes += segment.size();
            deferred_segments += u64::from(segment.is_deferred());
        }
        let waiting: u64 = self.sealed.values().map(|sealed| u64::from(sealed.records)).sum();
        bytes += self.sealed.values().map(|sealed| sealed.bytes).sum::<u64>();
        Counts {
            recorded: self.closed_records + appended,
            recovered: self.recovered,
            stored: self.stored,
            quarantined: self.quarantined,
            pending: appended + self.closing_records + waiting,
            lost: self.lost,
            deferred_segments,
            sealed_segments: self.sealed.len() as u64,
            bytes,
            oldest_ms: self.sealed.values().map(|sealed| sealed.since_ms).min(),
        }
    }

    /// A segment waits to be written to.
    pub fn put_spare(&mut self, bytes: u64) {
        self.spare_bytes += bytes;
    }

    /// A spare segment was removed before it was written to.
    pub fn remove_spare(&mut self, bytes: u64) {
        self.spare_bytes = self.spare_bytes.saturating_sub(bytes);
    }

    /// A worker begins to write to its spare segment.
    pub fn begin(&mut self, worker: usize, segment: Arc<Segment>) {
        self.remove_spare(segment.size());
        self.active[worker] = Some(segment);
    }

    /// A worker is done with its segment: it waits to be sealed.
    pub fn close(&mut self, worker: usize) {
        if let Some(segment) = self.active[worker].take() {
            let records = u64::from(segment.published());
            self.closed_records += records;
            self.closing_records += records;
            self.closing_bytes += segment.size();
            self.closed_segments.push(segment);
        }
    }

    /// The segments that workers append to.
    pub fn active(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.active.iter().flatten()
    }

    /// Takes the segments that wait to be sealed; each is accounted for by [`Self::seal`], [`Self::put_closed`]
    /// or [`Self::lose_closed`].
    pub fn take_closed(&mut self) -> Vec<Arc<Segment>> {
        std::mem::take(&mut self.closed_segments)
    }

    /// A segment could not be sealed, and goes on waiting for that.
    pub fn put_closed(&mut self, segment: Arc<Segment>) {
        self.closed_segments.push(segment);
    }

    /// A segment of `full_size` bytes is sealed: it waits for its delivery, or is gone if it has no records.
    pub fn seal(&mut self, full_size: u64, sealed: Sealed) {
        self.closing_records -= u64::from(sealed.records);
        self.closing_bytes -= full_size;
        self.wait(sealed);
    }

    /// Somebody has removed the file of a segment that waits to be sealed.
    pub fn lose_closed(&mut self, full_size: u64, records: u32) {
        self.closing_records -= u64::from(records);
        self.closing_bytes -= full_size;
        self.lost += u64::from(records);
    }

    /// A segment of an earlier process waits for its delivery.
    pub fn recover(&mut self, sealed: Sealed) {
        self.recovered += u64::from(sealed.records);
        self.wait(sealed);
    }

    fn wait(&mut self, sealed: Sealed) {
        if sealed.records > 0 {
            self.sealed.insert(sealed.id, sealed);
        }
    }

    /// Whether a segment waits for its delivery.
    pub fn is_waiting(&self, id: Uuid) -> bool {
        self.sealed.contains_key(&id)
    }

    /// Whether a segment is written to, or given back and not sealed yet.
    pub fn has_open(&self, id: Uuid) -> bool {
        self.active().chain(&self.closed_segments).any(|segment| segment.header.id == id)
    }

    /// All that wait for their delivery, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Sealed> {
        self.sealed.values()
    }

    /// Notes which segment the delivery reads; the delivery will settle or lose it.
    pub fn hold(&mut self, id: Option<Uuid>) {
        self.held = id;
    }

    /// Whether the delivery reads this segment.
    pub fn is_held(&self, id: Uuid) -> bool {
        self.held == Some(id)
    }

    /// The file of a segment that waits is gone, and nobody here has removed it. Returns how many
    /// records went with it.
    pub fn lose(&mut self, id: Uuid) -> Option<u32> {
        let records = self.sealed.remove(&id)?.records;
        self.lost += u64::from(records);
        Some(records)
    }

    /// The store has confirmed so many of a segment's records; the others are set aside.
    pub fn settle(&mut self, id: Uuid, stored: u32) {
        if let Some(sealed) = self.sealed.remove(&id) {
            let stored = stored.min(sealed.records);
            self.stored += u64::from(stored);
            self.quarantined += u64::from(sealed.records - stored);
        }
    }

    /// Whether a backlog waits for the store.
    pub fn has_backlog(&self) -> bool {
        !self.sealed.is_empty() || self.closing_records > 0
    }
}

/// The ledger as the threads share it.
#[derive(Debug)]
pub(super) struct SharedLedger {
    ledger: Mutex<Ledger>,
    /// Told when one more segment waits for its delivery, and at the stop.
    arrived: Condvar,
    /// How many segments wait, as the last change left it: a worker looks at it at each tick, and
    /// must not take the lock for that.
    waiting: AtomicUsize,
}

impl SharedLedger {
    pub fn new(ledger: Ledger) -> Self {
        let waiting = AtomicUsize::new(ledger.sealed.len());
        Self { ledger: Mutex::new(ledger), arrived: Condvar::new(), waiting }
    }

    /// Reads the books at one moment.
    pub fn read<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.lock())
    }

    /// Makes an entry.
    pub fn update<T>(&self, update: impl FnOnce(&mut Ledger) -> T) -> T {
        let mut ledger = self.lock();
        let result = update(&mut ledger);
        let waiting = ledger.sealed.len();
        // (Stored under the lock, so that the last entry stays.)
        let before = self.waiting.swap(waiting, Ordering::Relaxed);
        drop(ledger);
        if waiting > before {
            self.arrived.notify_all();
        }
        result
    }

    /// The file of a segment that waits is gone: its records can't be stored any more.
    pub fn lose(&self, sealed: &Sealed) {
        if let Some(records) = self.update(|ledger| ledger.lose(sealed.id)) {
            tracing::error!(records, segment = %sealed.path.display(), "a segment was removed before it was stored; its scans are lost");
        }
    }

    /// How many segments wait for their delivery; takes no lock.
    pub fn waiting_segments(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// What `choose` takes of all that wait, oldest first; waits until there is something, for at
    /// most the given time, or until the stop.
    pub fn next(
        &self,
        timeout: Duration,
        choose: impl for<'s> Fn(&mut dyn Iterator<Item = &'s Sealed>) -> Option<&'s Sealed>,
    ) -> Option<Sealed> {
        let (ledger, _) = self
            .arrived
            .wait_timeout_while(self.lock(), timeout, |ledger| {
                choose(&mut ledger.waiting()).is_none() && !ledger.stopping
            })
            .unwrap_or_else(PoisonError::into_inner);
        choose(&mut ledger.waiting()).cloned()
    }

    /// From here on nobody waits for a segment.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }
}
