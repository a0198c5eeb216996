//! A worker's end of the journal.
//!
//! Owns the worker's current segment. Appending is a copy into mapped memory; what is
//! slow (making, syncing, sealing) is done by the maker and the sealer, and a worker never waits
//! for them: without a segment a scan is dropped and counted, and the visitor is answered. Only a
//! scan that ends a full segment or begins the next takes locks (the ledger's, and those that wake
//! the two threads), which nobody holds while touching a file.

use std::sync::Arc;
use std::time::Instant;

use super::format::Payload;
use super::sealer::{Due, Sealer};
use super::segment::Appender;
use super::slot::Slot;
use super::{Dropped, Journal};
use crate::core::scan::Scan;

/// The sole writer of one worker's segments. The journal's folder stays locked while there is one.
#[derive(Debug)]
pub struct Writer {
    slot: Arc<Slot>,
    sealer: Arc<Sealer>,
    current: Option<Appender>,
    /// When the worker began with it.
    opened: Instant,
}

impl Writer {
    /// The end of worker number `worker`, counted from 0; there is one for each.
    ///
    /// # Panics
    ///
    /// If the journal was opened for fewer workers.
    #[must_use]
    pub fn new(journal: &Journal, worker: usize) -> Self {
        let (slot, sealer) = journal.end_of(worker);
        Self { slot, sealer, current: None, opened: Instant::now() }
    }

    /// Records a scan; when this returns it is safe from `kill -9`, or counted as dropped.
    #[inline]
    pub fn append(&mut self, scan: &Scan) {
        if self.sealer.is_store_full() {
            self.slot.count_dropped(Dropped::StoreFull);
            return;
        }
        let payload = Payload::encode(scan);
        if let Some(current) = &mut self.current
            && current.append(payload.bytes()).is_ok()
        {
            return;
        }
        self.append_to_next(payload.bytes());
    }

    #[cold]
    fn append_to_next(&mut self, payload: &[u8]) {
        self.begin_next();
        let appended = self.current.as_mut().is_some_and(|next| next.append(payload).is_ok());
        if !appended {
            self.slot.count_without_segment();
        }
    }

    /// Gives the segment back once it is old enough, has records, and the next one is
    /// ready; or at once if its file is gone. Called a few times a second.
    pub fn tick(&mut self) {
        let Some(current) = &self.current else { return };
        let segment = current.segment();
        let due = if current.is_empty() { Due::No } else { self.sealer.due_at(self.opened.elapsed()) };
        let is_deferred = due == Due::Deferred;
        if segment.is_deferred() != is_deferred {
            segment.defer(is_deferred);
        }
        // Without a spare the scans of the gap would be lost; the segment is as safe open as sealed.
        if segment.is_known_removed() || (due == Due::Yes && self.slot.is_filled()) {
            self.begin_next();
        }
    }

    fn begin_next(&mut self) {
        self.give_back();
        if let Some(next) = self.slot.take() {
            self.current = Some(next);
            self.opened = Instant::now();
        }
    }

    fn give_back(&mut self) {
        if let Some(current) = self.current.take() {
            self.slot.close(current);
            self.sealer.wake();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.give_back();
    }
}
