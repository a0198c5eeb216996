//! The slow half of the journal, on two threads of its own.
//!
//! Owns everything that touches the file system while the edge serves. One thread has
//! the next segment of each worker made and touched, within `max_size` and `min_free`;
//! the other seals what workers hand over and syncs on a timer. They are two because a
//! sync may take as long as a worker needs to fill a segment: with one thread, a busy
//! disk (syncs of 100 ms and more) made segments late, and scans were dropped.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::format::Header;
use super::ledger::Sealed;
use super::reader::{self, Start};
use super::segment::{Appender, Segment, sync_folder};
use super::{Dropped, Journal, Slot, recovery, segments};

/// How long a missing segment is left before the next try to make it.
const RETRY: Duration = Duration::from_millis(100);

/// How often the folder is looked at: for files that a person removed, and batches that one put back.
const LOOK: Duration = Duration::from_secs(2);

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
            if let Some(spare) = slot.spare.pop() {
                // Empty; the next start would remove it as well.
                fs::remove_file(&spare.segment().path).ok();
            }
        }
    }

    /// Seals and syncs, until [`Journal::stop`]; then seals what is left.
    pub fn seal_segments(&self) {
        let (mut synced, mut looked) = (Instant::now(), Instant::now());
        let mut refused = HashSet::new();
        while !self.is_stopping() {
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
            self.segment_closed.wait(self.settings.sync_every);
        }
        self.seal_closed();
        self.look_for_removed();
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
        ledger.take_spare(segment.size());
        ledger.active[worker] = Some(segment);
        drop(ledger);
        self.slot_taken.ring();
    }

    fn seal_closed(&self) {
        let closed = std::mem::take(&mut self.ledger().closed_segments);
        for segment in closed {
            match seal(&segment) {
                Ok(Some(sealed)) => {
                    let mut ledger = self.ledger();
                    ledger.seal(segment.size(), sealed);
                    self.waiting.store(ledger.waiting_segments(), Ordering::Relaxed);
                    drop(ledger);
                    self.arrived.notify_all();
                }
                Ok(None) => {
                    let records = segment.published();
                    self.ledger().lose_closed(segment.size(), records);
                    if records > 0 {
                        tracing::error!(records, segment = %segment.path.display(), "a segment was removed before it was sealed; its scans are lost");
                    }
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

    /// Finds what somebody removed from under us: the folder, a lock, segments. What was in them
    /// is counted as lost, and the journal goes on with new files.
    fn look_for_removed(&self) {
        let folder = &self.settings.folder;
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        if !claim.holds(folder).unwrap_or(true) {
            match claim.renew(folder) {
                Ok(()) => {
                    tracing::error!(folder = %folder.display(), "the journal's folder or its lock was removed; it is there again");
                }
                Err(error) => tracing::error!(%error, "the journal's folder was removed, and can't be made again"),
            }
        }
        drop(claim);
        // The spares first: a worker that must let go of its segment finds one that has a name.
        for slot in &self.slots {
            let made = slot.made.lock().unwrap_or_else(PoisonError::into_inner);
            if made.upgrade().is_some_and(|segment| !segment.find().unwrap_or(true))
                // If its worker has taken it, it is found below.
                && let Some(spare) = slot.spare.pop()
            {
                self.ledger().take_spare(spare.segment().size());
                self.slot_taken.ring();
            }
        }
        let (active, waiting) = {
            let ledger = self.ledger();
            let active: Vec<_> = ledger.active.iter().flatten().cloned().collect();
            (active, ledger.waiting().cloned().collect::<Vec<_>>())
        };
        for segment in active {
            // Its worker lets go of it within a tick, and then it is counted.
            segment.find().ok();
        }
        for sealed in waiting {
            let is_gone =
                fs::symlink_metadata(&sealed.path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            // (Looked at in this order: what is held no longer is settled, or still there.)
            if is_gone && !self.ledger().is_held(sealed.id) {
                self.lose(&sealed);
            }
        }
    }

    /// Takes in sealed segments that are not in the books: `waypost journal retry` put them back.
    /// `refused` are those that were found to be none, and could not be set aside.
    fn take_returned(&self, refused: &mut HashSet<PathBuf>) {
        for (path, kind) in segments(&self.settings.folder).unwrap_or_default() {
            let Some(id) = reader::id_of(&path).filter(|_| kind == "sealed") else { continue };
            // A file of ours is in the books for as long as it is there: only this thread seals.
            if self.ledger().holds(id) || refused.contains(&path) {
                continue;
            }
            let start = reader::start(&path).and_then(|start| {
                start.id_at(&path)?;
                recovery::refuse_returned(&path, start.published)?;
                if self.is_open(id) {
                    return Err(io::Error::other("is a copy of a segment that is still written to"));
                }
                Ok(start)
            });
            match start {
                Ok(Start { published: Some(records), since_ms, bytes, .. }) => {
                    tracing::info!(batch = %id, records, "a batch was put back");
                    let mut ledger = self.ledger();
                    ledger.recover(Sealed { id, path, records, bytes, since_ms });
                    self.waiting.store(ledger.waiting_segments(), Ordering::Relaxed);
                    drop(ledger);
                    self.arrived.notify_all();
                }
                // A damaged one is repaired at the next start; one that is gone was delivered meanwhile.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::error!(%error, segment = %path.display(), "what was put into the journal is no batch");
                    if !recovery::set_aside(&path) {
                        refused.insert(path);
                    }
                }
            }
        }
    }

    /// Whether a segment is one that this process has not sealed yet.
    fn is_open(&self, id: Uuid) -> bool {
        let made = |slot: &Slot| slot.made.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        self.ledger().has_open(id) || self.slots.iter().filter_map(made).any(|spare| spare.header.id == id)
    }

    pub(super) fn all_slots_full(&self) -> bool {
        self.slots.iter().all(|slot| slot.spare.is_full())
    }

    /// Makes the segments that are missing.
    pub(super) fn fill_slots(&self) {
        for slot in &self.slots {
            if slot.spare.is_full() {
                continue;
            }
            match self.make_segment() {
                Ok(segment) => {
                    self.ledger().put_spare(segment.segment().size());
                    slot.missing.store(Dropped::NotReady as u8, Ordering::Relaxed);
                    *slot.made.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(segment.segment());
                    // There is room: only this thread puts segments there.
                    slot.spare.push(segment).ok();
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

/// Cuts, syncs and renames a segment that has no appender any more; one without records is
/// removed. `None` where somebody has removed its file. Can be tried again after any failure.
fn seal(segment: &Segment) -> io::Result<Option<Sealed>> {
    let (id, records) = (segment.header.id, segment.published());
    let path = segment.path.with_extension("sealed");
    if !segment.is_at(&path)? {
        if !segment.find()? {
            return Ok(None);
        }
        if records == 0 {
            fs::remove_file(&segment.path)?;
            return Ok(Some(Sealed { id, path, records, bytes: 0, since_ms: 0 }));
        }
        segment.finish()?;
        fs::rename(&segment.path, &path)?;
    }
    sync_folder(path.parent().unwrap_or(&path))?;
    let Start { bytes, since_ms, .. } = reader::start(&path)?;
    Ok(Some(Sealed { id, path, records, bytes, since_ms }))
}

#[cfg(test)]
#[path = "model.rs"]
mod model;
