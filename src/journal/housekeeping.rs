//! The slow half of the journal, on two threads of its own.
//!
//! Owns everything that touches the file system while the edge serves. One thread has
//! the next segment of each worker made and touched, within `max_size` and `min_free`;
//! the other seals what workers hand over and syncs on a timer. They are two because a
//! sync may take as long as a worker needs to fill a segment: with one thread, a busy
//! disk (syncs of 100 ms and more) made segments late, and scans were dropped.

use std::fs;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::format::Header;
use super::ledger::Sealed;
use super::segment::{Appender, Segment, sync_folder};
use super::{Dropped, Journal, reader, segments};

/// How long a missing segment is left before the next try to make it.
const RETRY: Duration = Duration::from_millis(100);

/// How often the folder is looked at for batches that a person put back.
const LOOK_FOR_RETURNED: Duration = Duration::from_secs(2);

impl Journal {
    /// Has the next segments ready, until [`Journal::stop`].
    pub fn make_segments(&self) {
        while !self.is_stopping() {
            self.fill_slots();
            // Without a call there is nothing to do, unless a segment could not be made.
            let patience = if self.all_slots_full() { Duration::from_secs(1) } else { RETRY };
            self.slot_taken.wait(patience);
        }
        for slot in &self.slots {
            if let Some(spare) = slot.spare.lock().unwrap_or_else(PoisonError::into_inner).take() {
                // Empty; the next start would remove it as well.
                fs::remove_file(&spare.segment().path).ok();
            }
        }
    }

    /// Seals and syncs, until [`Journal::stop`]; then seals what is left.
    pub fn seal_segments(&self) {
        let (mut synced, mut looked) = (Instant::now(), Instant::now());
        while !self.is_stopping() {
            self.seal_closed();
            if looked.elapsed() >= LOOK_FOR_RETURNED {
                looked = Instant::now();
                self.take_returned();
            }
            if synced.elapsed() >= self.settings.sync_every {
                synced = Instant::now();
                self.sync();
            }
            self.segment_closed.wait(self.settings.sync_every);
        }
        self.seal_closed();
    }

    /// Ends both threads. The writers must be gone.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.arrived.notify_all();
        self.slot_taken.ring();
        self.segment_closed.ring();
    }

    /// Takes a worker's segment back; its appender is gone.
    pub(super) fn close(&self, worker: usize) {
        let mut ledger = self.ledger();
        if let Some(segment) = ledger.close(worker) {
            ledger.closed_segments.push(segment);
        }
        drop(ledger);
        self.segment_closed.ring();
    }

    /// A worker begins to append to a segment.
    pub(super) fn open_segment(&self, worker: usize, segment: Arc<Segment>) {
        let mut ledger = self.ledger();
        ledger.spare_bytes = ledger.spare_bytes.saturating_sub(segment.size());
        ledger.active[worker] = Some(segment);
        drop(ledger);
        self.slot_taken.ring();
    }

    fn seal_closed(&self) {
        let closed = std::mem::take(&mut self.ledger().closed_segments);
        for segment in closed {
            match seal(&segment) {
                Ok(sealed) => {
                    self.ledger().seal(segment.size(), sealed);
                    self.arrived.notify_all();
                }
                // The records stay where they are, and pending; the next round tries again.
                Err(error) => {
                    tracing::error!(%error, segment = %segment.path.display(), "a segment can't be sealed");
                    self.sync_errors.fetch_add(1, Ordering::Relaxed);
                    self.ledger().closed_segments.push(segment);
                }
            }
        }
    }

    /// Takes in sealed segments that are not in the books: `waypost journal retry` put them back.
    fn take_returned(&self) {
        for (path, kind) in segments(&self.settings.folder).unwrap_or_default() {
            let Some(id) = reader::id_of(&path).filter(|_| kind == "sealed") else { continue };
            // A file of ours is in the books for as long as it is there: only this thread seals.
            if self.ledger().holds(id) {
                continue;
            }
            if let (Ok(start), Ok(metadata)) = (reader::start(&path), fs::metadata(&path))
                && let Some(records) = start.published
            {
                tracing::info!(batch = %id, records, "a batch was put back");
                self.ledger().recover(Sealed { id, path, records, bytes: metadata.len(), since_ms: start.since_ms });
                self.arrived.notify_all();
            }
        }
    }

    fn all_slots_full(&self) -> bool {
        self.slots.iter().all(|slot| slot.spare.lock().unwrap_or_else(PoisonError::into_inner).is_some())
    }

    /// Makes the segments that are missing.
    pub(super) fn fill_slots(&self) {
        for slot in &self.slots {
            if slot.spare.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                continue;
            }
            match self.make_segment() {
                Ok(segment) => {
                    self.ledger().spare_bytes += segment.segment().size();
                    slot.missing.store(Dropped::NotReady as u8, Ordering::Relaxed);
                    *slot.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(segment);
                }
                Err(reason) => {
                    let before = slot.missing.swap(reason as u8, Ordering::Relaxed);
                    // Tried again ten times a second; said once.
                    if before != reason as u8 {
                        tracing::error!(
                            reason = reason.as_str(),
                            "no segment can be made; scans are dropped when the current one is full"
                        );
                    }
                }
            }
        }
    }

    fn make_segment(&self) -> Result<Appender, Dropped> {
        let size = self.settings.segment;
        if self.counts().bytes + self.quarantined().1 + size > self.settings.max_size {
            return Err(Dropped::JournalFull);
        }
        // Only a backlog is refused room: without one, a new segment takes what an old one gave back.
        if self.ledger().has_backlog() {
            let free = rustix::fs::statvfs(&self.settings.folder).map_err(|_| Dropped::IoError)?;
            if free.f_bavail * free.f_frsize < self.settings.min_free + size {
                return Err(Dropped::DiskFull);
            }
        }
        let id = uuid::Uuid::now_v7();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let header = Header { id, created_ms: now.as_millis() as i64, edge: self.settings.edge.clone() };
        let path = self.settings.folder.join(format!("{id}.open"));
        let made = Appender::create(path, header, size as usize);
        made.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Dropped::DiskFull,
            _ => {
                tracing::debug!(%error, "a segment can't be made");
                Dropped::IoError
            }
        })
    }

    fn sync(&self) {
        let active: Vec<_> = self.ledger().active.iter().flatten().cloned().collect();
        for segment in active {
            match segment.sync() {
                Ok(synced) => self.syncs.fetch_add(u64::from(synced), Ordering::Relaxed),
                Err(error) => {
                    tracing::error!(%error, segment = %segment.path.display(), "a segment can't be synced");
                    self.sync_errors.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    }
}

/// Cuts, syncs and renames a segment that has no appender any more; one without records is removed.
fn seal(segment: &Segment) -> io::Result<Sealed> {
    let records = segment.published();
    let path = segment.path.with_extension("sealed");
    let (mut bytes, mut since_ms) = (0, 0);
    if records == 0 {
        fs::remove_file(&segment.path)?;
    } else {
        bytes = segment.finish()?;
        since_ms = reader::start(&segment.path)?.since_ms;
        fs::rename(&segment.path, &path)?;
        sync_folder(path.parent().unwrap_or(&path))?;
    }
    Ok(Sealed { id: segment.header.id, path, records, bytes, since_ms })
}

#[cfg(test)]
#[path = "model.rs"]
mod model;
