//! Where every record of this process is: the books behind the metrics.
//!
//! Owns the identity `recorded + recovered = stored + pending + quarantined + lost`, true at
//! every reading. The books are kept by segment and under one lock that no scan takes but the
//! one that begins a segment; what the workers append meanwhile is read once from each open
//! segment, so both sides of the identity see the same number.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use super::segment::Segment;

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
    /// Records found at its start.
    pub recovered: u64,
    /// Records that the store has said yes to.
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
    pub active: Vec<Option<Arc<Segment>>>,
    /// Handed over, for the housekeeping to seal.
    pub closed_segments: Vec<Arc<Segment>>,
    /// Handed over, not yet sealed: records and bytes.
    closing: (u64, u64),
    sealed: BTreeMap<Uuid, Sealed>,
    /// The one that is being delivered.
    held: Option<Uuid>,
    /// Bytes of segments that wait to be written to.
    spare_bytes: u64,
    /// Records of the segments that are no longer active.
    closed: u64,
    recovered: u64,
    stored: u64,
    quarantined: u64,
    lost: u64,
}

impl Ledger {
    pub fn counts(&self) -> Counts {
        let open = self.active.iter().flatten();
        let (mut appended, mut bytes, mut deferred_segments) = (0, self.spare_bytes + self.closing.1, 0);
        for segment in open {
            appended += u64::from(segment.published());
            bytes += segment.size();
            deferred_segments += u64::from(segment.is_deferred());
        }
        let waiting: u64 = self.sealed.values().map(|sealed| u64::from(sealed.records)).sum();
        bytes += self.sealed.values().map(|sealed| sealed.bytes).sum::<u64>();
        Counts {
            recorded: self.closed + appended,
            recovered: self.recovered,
            stored: self.stored,
            quarantined: self.quarantined,
            pending: appended + self.closing.0 + waiting,
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

    /// It is written to, or gone.
    pub fn take_spare(&mut self, bytes: u64) {
        self.spare_bytes = self.spare_bytes.saturating_sub(bytes);
    }

    /// A worker is done with its segment.
    pub fn close(&mut self, worker: usize) -> Option<Arc<Segment>> {
        let segment = self.active[worker].take()?;
        let records = u64::from(segment.published());
        self.closed += records;
        self.closing.0 += records;
        self.closing.1 += segment.size();
        Some(segment)
    }

    /// A closed segment waits for its delivery, or is gone if nothing was in it.
    pub fn seal(&mut self, full_size: u64, sealed: Sealed) {
        self.closing.0 -= u64::from(sealed.records);
        self.closing.1 -= full_size;
        self.wait(sealed);
    }

    /// A closed segment can't be sealed: somebody removed its file.
    pub fn lose_closed(&mut self, full_size: u64, records: u32) {
        self.closing.0 -= u64::from(records);
        self.closing.1 -= full_size;
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

    /// Whether a segment waits.
    pub fn holds(&self, id: Uuid) -> bool {
        self.sealed.contains_key(&id)
    }

    /// Whether a segment is written to, or handed over and not sealed yet.
    pub fn has_open(&self, id: Uuid) -> bool {
        self.active.iter().flatten().chain(&self.closed_segments).any(|segment| segment.header.id == id)
    }

    /// All that wait, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Sealed> {
        self.sealed.values()
    }

    /// How many wait.
    pub fn waiting_segments(&self) -> usize {
        self.sealed.len()
    }

    /// Somebody reads this segment to deliver it: what becomes of it is theirs to say.
    pub fn hold(&mut self, id: Option<Uuid>) {
        self.held = id;
    }

    /// Whether somebody does.
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

    /// The store has said yes to all of a segment that could be read.
    pub fn settle(&mut self, id: Uuid, stored: u32) {
        if let Some(sealed) = self.sealed.remove(&id) {
            let stored = stored.min(sealed.records);
            self.stored += u64::from(stored);
            self.quarantined += u64::from(sealed.records - stored);
        }
    }

    /// Whether a backlog waits for the store.
    pub fn has_backlog(&self) -> bool {
        !self.sealed.is_empty() || self.closing.0 > 0
    }
}
