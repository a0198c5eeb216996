//! A worker's end of the journal.
//!
//! Owns the worker's current segment. Appending is a copy into mapped memory; what is
//! slow (making, syncing, sealing) is the housekeeping's, and a worker never waits for
//! it: without a segment a scan is dropped and counted, and the visitor is answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Journal;
use super::format::Payload;
use super::segment::Appender;
use crate::core::scan::Scan;

/// The sole writer of one worker's segments.
#[derive(Debug)]
pub struct Writer {
    journal: Arc<Journal>,
    worker: usize,
    current: Option<Appender>,
    /// When the worker began with it.
    opened: Instant,
}

impl Writer {
    /// The end of worker number `worker`; there is one for each.
    #[must_use]
    pub fn new(journal: Arc<Journal>, worker: usize) -> Self {
        Self { journal, worker, current: None, opened: Instant::now() }
    }

    /// Records a scan; when this returns it is safe from `kill -9`, or counted as dropped.
    #[inline]
    pub fn append(&mut self, scan: &Scan) {
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
        self.hand_over();
        self.take_spare();
        let appended = self.current.as_mut().is_some_and(|next| next.append(payload).is_ok());
        if !appended {
            let reason = self.journal.slots[self.worker].missing.load(Ordering::Relaxed);
            self.journal.dropped[usize::from(reason)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands the segment over once it is old enough, has records, and the next one is
    /// ready; or at once if its file is gone. Called a few times a second.
    pub fn tick(&mut self) {
        let Some(current) = &self.current else { return };
        let (segment, settings) = (current.segment(), &self.journal.settings);
        let age = self.opened.elapsed();
        let is_old = !current.is_empty() && age >= settings.seal_after;
        let is_deferred = is_old && age < settings.seal_after_outage && self.journal.defers_sealing();
        if segment.is_deferred() != is_deferred {
            segment.defer(is_deferred);
        }
        // Without a spare the scans of the gap would be lost; the segment is as safe open as sealed.
        let is_next_ready = !self.journal.slots[self.worker].spare.is_empty();
        if segment.is_known_removed() || (is_old && !is_deferred && is_next_ready) {
            self.hand_over();
            self.take_spare();
        }
    }

    fn hand_over(&mut self) {
        if self.current.take().is_some() {
            self.journal.close(self.worker);
        }
    }

    fn take_spare(&mut self) {
        if let Some(next) = self.journal.slots[self.worker].spare.pop() {
            self.journal.open_segment(self.worker, next.segment().clone());
            self.current = Some(next);
            self.opened = Instant::now();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Scan, Word};
    use crate::journal::Settings;

    fn scan() -> Scan {
        Scan {
            ts_ms: 1_800_000_000_000,
            generation: 1,
            code: "A1B2C3".parse().expect("a code"),
            outcome: Outcome::Found,
            channel: Channel::Qr,
            client: Client { device: Device::Phone, os: Os::Android, app: App::Zalo, agent: Agent::Person },
            repeat: false,
            lang: Word::default(),
            served: Word::default(),
            origin: Origin::default(),
        }
    }

    #[test]
    fn a_segment_that_is_ready_is_taken_whoever_looks_at_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings {
            folder: folder.path().to_owned(),
            edge: "test".to_owned(),
            segment: 8 << 10,
            seal_after: Duration::from_secs(5),
            seal_after_outage: Duration::from_mins(5),
            sync_every: Duration::from_secs(1),
            max_size: 1 << 40,
            min_free: 0,
        };
        let journal = Journal::open(settings, 1).expect("a journal");
        let mut writer = Writer::new(journal.clone(), 0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // The maker looks as often as it can; nothing is missing, so it makes none.
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::black_box(journal.all_slots_full());
                }
            });
            for _ in 0..300 {
                journal.fill_slots();
                while !journal.slots[0].spare.is_empty() {
                    writer.append(&scan());
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(journal.dropped().map(|(_, count)| count), [0; 4], "each next segment was there");
    }
}
