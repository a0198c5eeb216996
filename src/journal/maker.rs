//! Has the next segment of each worker ready.
//!
//! Owns the making of segments, on a thread of its own, within `max_size` and `min_free`. It and
//! the sealer are two because a sync may take as long as a worker needs to fill a segment: with one
//! thread, a busy disk (syncs of 100 ms and more) made segments late, and scans were dropped.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::folder::{path_of, quarantined};
use super::format::Header;
use super::segment::Appender;
use super::slot::Slot;
use super::wake_up::WakeUp;
use super::{Dropped, SegmentState, Settings, SharedLedger};

/// How long a missing segment is left before the next try to make it.
const RETRY: Duration = Duration::from_millis(100);

/// How often the maker looks without being called.
const LOOK: Duration = Duration::from_secs(1);

/// Why a segment can't be made.
#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error("the journal has no room for a segment within journal.max_size")]
    JournalFull,
    #[error("scans wait for the store, and the file system has less free than journal.min_free and a segment")]
    NoneToSpare,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl MakeError {
    /// What becomes of the scans meanwhile.
    fn dropped(&self) -> Dropped {
        match self {
            Self::JournalFull => Dropped::JournalFull,
            Self::NoneToSpare => Dropped::DiskFull,
            Self::Io(error) => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Dropped::DiskFull,
                _ => Dropped::IoError,
            },
        }
    }
}

/// Fills the workers' slots.
#[derive(Debug)]
pub(super) struct Maker {
    settings: Arc<Settings>,
    ledger: Arc<SharedLedger>,
    slots: Arc<[Arc<Slot>]>,
    wake_up: Arc<WakeUp>,
}

impl Maker {
    /// `wake_up` is called when a segment is taken from a slot.
    pub fn new(
        settings: Arc<Settings>,
        ledger: Arc<SharedLedger>,
        slots: Arc<[Arc<Slot>]>,
        wake_up: Arc<WakeUp>,
    ) -> Self {
        Self { settings, ledger, slots, wake_up }
    }

    /// Makes what is missing, until [`Maker::stop`]; then removes what was not taken.
    pub fn run(&self) {
        while !self.wake_up.is_stopped() {
            self.fill_slots();
            let are_filled = self.slots.iter().all(|slot| slot.is_filled());
            self.wake_up.wait(if are_filled { LOOK } else { RETRY });
        }
        self.slots.iter().for_each(|slot| slot.clear());
    }

    /// Ends [`Maker::run`].
    pub fn stop(&self) {
        self.wake_up.stop();
    }

    /// Makes the segments that are missing.
    pub fn fill_slots(&self) {
        for slot in self.slots.iter().filter(|slot| !slot.is_filled()) {
            match self.make() {
                Ok(segment) => slot.put(segment),
                Err(error) => {
                    let reason = error.dropped();
                    // Tried again ten times a second; said once.
                    if slot.miss(reason) {
                        tracing::error!(
                            reason = reason.as_str(),
                            %error,
                            "no segment can be made; scans are dropped when the current one is full"
                        );
                    } else {
                        tracing::debug!(%error, "no segment can be made");
                    }
                }
            }
        }
    }

    fn make(&self) -> Result<Appender, MakeError> {
        let Settings { folder, edge, segment: size, max_size, min_free, .. } = &*self.settings;
        let (bytes, has_backlog) = self.ledger.read(|ledger| (ledger.counts().bytes, ledger.has_backlog()));
        if bytes + quarantined(folder).1 + size > *max_size {
            return Err(MakeError::JournalFull);
        }
        // Only a backlog is refused room: without one, a new segment takes what an old one gave back.
        if has_backlog {
            let free = rustix::fs::statvfs(folder).map_err(io::Error::from)?;
            if free.f_bavail * free.f_frsize < min_free + size {
                return Err(MakeError::NoneToSpare);
            }
        }
        let id = uuid::Uuid::now_v7();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let created_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let header = Header { id, created_ms, edge: edge.clone() };
        let size = usize::try_from(*size).unwrap_or(usize::MAX);
        Ok(Appender::create(path_of(folder, id, SegmentState::Open), header, size)?)
    }
}
