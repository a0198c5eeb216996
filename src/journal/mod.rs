//! The edge's own files of scans not yet stored.
//!
//! Owns the hand-over between a scan and the store, which goes one way and through
//! files: a worker appends to its segment ([`Writer`]), housekeeping seals it and
//! has the next one ready, and whoever delivers takes sealed segments from
//! [`Journal::next`] and settles them. There is no queue to overflow and no cursor to
//! lose: a file that is there is not stored yet.
//!
//! ```text
//! UUID.open     being written, or left by a crash
//! UUID.sealed   a batch: never changes again, delivered until the store says yes
//! quarantine/   batches the store rejects, and segments with unreadable records
//! lock          held, as the folder is, by the process that owns it
//! ```
//!
//! What somebody removes under a running edge can't be stored any more: it is counted as
//! lost, and the journal goes on with new files.

mod claim;
mod format;
mod housekeeping;
mod ledger;
mod metrics;
mod reader;
mod recovery;
mod segment;
mod writer;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;

pub use format::{Header, MAX_EDGE_NAME};
pub use ledger::{Counts, Sealed};
pub use reader::{Contents, id_of, parse, read};
pub use writer::Writer;

use claim::Claim;
use ledger::Ledger;
use segment::{Appender, Segment};

/// With so many sealed segments waiting, more of them bring no scan to the store any sooner.
const MANY_WAITING: usize = 32;

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

/// Why the journal can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("the journal {0} is in use by another process")]
    InUse(PathBuf),
    /// The file system said no.
    #[error("the journal {path}: {error}")]
    Io {
        /// What was being done it to.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
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
}

impl Dropped {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::NotReady, Self::DiskFull, Self::JournalFull, Self::IoError];

    /// The word in the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::DiskFull => "disk_full",
            Self::JournalFull => "journal_full",
            Self::IoError => "io_error",
        }
    }
}

/// A journal that this process owns.
#[derive(Debug)]
pub struct Journal {
    settings: Settings,
    ledger: Mutex<Ledger>,
    /// Told when a segment is sealed, and at the stop.
    arrived: Condvar,
    slots: Vec<Slot>,
    /// Wakes [`Journal::make_segments`].
    slot_taken: Bell,
    /// Wakes [`Journal::seal_segments`].
    segment_closed: Bell,
    stopping: AtomicBool,
    /// Whether the store takes no batches.
    store_away: AtomicBool,
    /// Sealed segments that wait.
    waiting: AtomicUsize,
    syncs: AtomicU64,
    sync_errors: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    claim: Mutex<Claim>,
}

/// The place where a worker finds its next segment.
#[derive(Debug)]
struct Slot {
    /// At most one. Taken without a lock: a worker that met the maker at one would miss a
    /// segment that is there, and drop scans.
    spare: ArrayQueue<Appender>,
    /// The one that was put there last, for the maker to look after.
    made: Mutex<Weak<Segment>>,
    /// Why there is none, as a [`Dropped`].
    missing: AtomicU8,
}

impl Default for Slot {
    fn default() -> Self {
        Self { spare: ArrayQueue::new(1), made: Mutex::default(), missing: AtomicU8::default() }
    }
}

/// Wakes one sleeping thread; a ring that nobody hears is heard at the next wait.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.heard.notify_one();
    }

    fn wait(&self, patience: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.heard.wait_timeout_while(rung, patience, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

impl Journal {
    /// Takes the folder, seals what a crash left, and makes the first segments of each worker.
    pub fn open(settings: Settings, workers: usize) -> Result<Arc<Self>, JournalError> {
        let folder = settings.folder.clone();
        let io = |error| JournalError::Io { path: folder.clone(), error };
        let claim = Claim::take(&folder)?;
        let mut ledger = Ledger::default();
        ledger.active.resize_with(workers, || None);
        segment::sync_folders_above(&folder).map_err(io)?;
        recovery::recover(&folder, &settings.edge, |sealed| ledger.recover(sealed)).map_err(io)?;
        let journal = Arc::new(Self {
            settings,
            waiting: AtomicUsize::new(ledger.waiting_segments()),
            ledger: Mutex::new(ledger),
            arrived: Condvar::new(),
            slots: (0..workers).map(|_| Slot::default()).collect(),
            slot_taken: Bell::default(),
            segment_closed: Bell::default(),
            stopping: AtomicBool::new(false),
            store_away: AtomicBool::new(false),
            syncs: AtomicU64::new(0),
            sync_errors: AtomicU64::new(0),
            dropped: Default::default(),
            claim: Mutex::new(claim),
        });
        journal.fill_slots();
        Ok(journal)
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where every record is at this moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.ledger().counts()
    }

    /// Scans that were answered and could not be recorded, by reason.
    #[must_use]
    pub fn dropped(&self) -> [(Dropped, u64); Dropped::ALL.len()] {
        Dropped::ALL.map(|reason| (reason, self.dropped[reason as usize].load(Ordering::Relaxed)))
    }

    /// Syncs that brought something to the disk, and syncs that failed.
    #[must_use]
    pub fn syncs(&self) -> (u64, u64) {
        (self.syncs.load(Ordering::Relaxed), self.sync_errors.load(Ordering::Relaxed))
    }

    /// Files in `quarantine/`, and their bytes.
    #[must_use]
    pub fn quarantined(&self) -> (u64, u64) {
        let entries = fs::read_dir(self.quarantine()).into_iter().flatten();
        // What they take on the disk: a file of holes takes little.
        let sizes = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.blocks() * 512));
        sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
    }

    /// The sealed segment that `choose` takes of all that wait, oldest first; waits until there
    /// is one, for at most the given time.
    #[must_use]
    pub fn next(
        &self,
        timeout: Duration,
        choose: impl for<'s> Fn(&mut dyn Iterator<Item = &'s Sealed>) -> Option<&'s Sealed>,
    ) -> Option<Sealed> {
        let ledger = self.ledger();
        let (ledger, _) = self
            .arrived
            .wait_timeout_while(ledger, timeout, |ledger| {
                choose(&mut ledger.waiting()).is_none() && !self.is_stopping()
            })
            .unwrap_or_else(PoisonError::into_inner);
        choose(&mut ledger.waiting()).cloned()
    }

    /// The store takes no batches, or takes them again. While it is away segments stay open for
    /// `seal_after_outage`; when it is back those beyond `seal_after` are sealed at once.
    pub fn set_store_away(&self, away: bool) {
        self.store_away.store(away, Ordering::Relaxed);
    }

    /// Whether a segment is better kept open than sealed at its usual age. (A store that hangs
    /// says nothing; a pile of sealed segments does.)
    fn defers_sealing(&self) -> bool {
        self.store_away.load(Ordering::Relaxed) || self.waiting.load(Ordering::Relaxed) >= MANY_WAITING
    }

    /// From here to [`Journal::release`] the segment is being delivered. Should its file be removed
    /// meanwhile its records are in memory, and not lost yet.
    pub fn hold(&self, sealed: &Sealed) {
        self.ledger().hold(Some(sealed.id));
    }

    /// The delivery is over, however it went.
    pub fn release(&self) {
        self.ledger().hold(None);
    }

    /// The store has `stored` of the segment's records. The file goes: that is the whole
    /// acknowledgement. If some could not be read it goes to the quarantine instead.
    pub fn settle(&self, sealed: &Sealed, stored: u32) -> io::Result<()> {
        if stored < sealed.records {
            unless_removed(set_aside(&sealed.path, "damaged").map(drop))?;
        } else {
            match fs::remove_file(&sealed.path) {
                // A crash before this line makes the store see the batch again, and know it.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => unless_removed(segment::sync_folder(&self.settings.folder))?,
            }
        }
        self.settled(sealed, stored);
        Ok(())
    }

    /// The store rejects the segment for what it is: it is kept for a person to look at.
    pub fn quarantine_batch(&self, sealed: &Sealed) -> io::Result<()> {
        unless_removed(set_aside(&sealed.path, "rejected").map(drop))?;
        self.settled(sealed, 0);
        Ok(())
    }

    fn settled(&self, sealed: &Sealed, stored: u32) {
        let mut ledger = self.ledger();
        ledger.settle(sealed.id, stored);
        self.waiting.store(ledger.waiting_segments(), Ordering::Relaxed);
    }

    /// Somebody has removed the segment's file: its records can't be stored any more.
    pub fn lose(&self, sealed: &Sealed) {
        let mut ledger = self.ledger();
        if let Some(records) = ledger.lose(sealed.id) {
            self.waiting.store(ledger.waiting_segments(), Ordering::Relaxed);
            drop(ledger);
            tracing::error!(records, segment = %sealed.path.display(), "a segment was removed before it was stored; its scans are lost");
        }
    }

    fn quarantine(&self) -> PathBuf {
        self.settings.folder.join("quarantine")
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves a segment's file into `quarantine/` beside it, as `UUID.why`; replaces none that is there.
/// Returns where it is now.
fn set_aside(path: &Path, why: &str) -> io::Result<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let quarantine = folder.join("quarantine");
    fs::create_dir_all(&quarantine)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let names = (0..).map(|n| if n == 0 { format!("{name}.{why}") } else { format!("{name}.{why}.{n}") });
    let to = names.map(|name| quarantine.join(name)).find(|to| fs::symlink_metadata(to).is_err());
    let to = to.ok_or_else(|| io::Error::other("no name is free"))?;
    fs::rename(path, &to)?;
    segment::sync_folder(&quarantine)?;
    segment::sync_folder(folder)?;
    Ok(to)
}

/// A file or folder that somebody has removed needs no more to be done to it.
fn unless_removed(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Reads a batch. A file that is another segment is an error, as one that can't be read is.
pub fn read_batch(sealed: &Sealed) -> io::Result<Contents> {
    let contents = reader::read(&sealed.path)?;
    contents.id_at(&sealed.path)?;
    Ok(contents)
}

/// Puts every rejected batch of a journal's quarantine back; a running edge takes them in
/// within seconds. Returns how many.
pub fn retry_quarantined(folder: &Path) -> io::Result<usize> {
    let mut returned = 0;
    for (path, kind) in segments(&folder.join("quarantine"))? {
        if let (Some(id), "rejected") = (reader::id_of(&path), kind.as_str()) {
            fs::rename(&path, folder.join(format!("{id}.sealed")))?;
            returned += 1;
        }
    }
    segment::sync_folder(folder)?;
    Ok(returned)
}

/// The segments of a folder, oldest first, and what each is: `open` or `sealed`.
pub fn segments(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or("").to_owned();
        if reader::id_of(&path).is_some() && matches!(kind.as_str(), "open" | "sealed" | "damaged" | "rejected") {
            found.push((path, kind));
        }
    }
    found.sort();
    Ok(found)
}
