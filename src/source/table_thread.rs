//! A table's thread: what is known of the table without asking the disk.
//!
//! Owns whether a table has changed since it was read, whether it has settled (stayed unchanged for a
//! moment), whether it hangs. A table that hangs, or never settles, holds up its own thread and nothing
//! else. Its folders are watched from its thread too, for the same reason.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::files::{OPTIONAL, Reading, TableError, read_table, stamp};
use super::folder_watch::{FolderEvents, FolderWatch};
use super::office;
use crate::core::file_name;
use crate::core::lock;
use crate::system::Stamp;
use crate::system::path_thread::PathThread;

/// A table must be unchanged for this long before it is read.
pub(super) const SETTLE: Duration = Duration::from_millis(200);
/// After this long without settling, the other tables are reloaded without it.
const NEVER_SETTLES: Duration = Duration::from_secs(10);
/// A reload waits no longer than this for a table, even for one that is still being read.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// One table and the thread that touches its file.
pub(super) struct TableThread {
    pub path: PathBuf,
    thread: PathThread,
    shared: Arc<Mutex<Shared>>,
    events: Arc<FolderEvents>,
}

/// What the thread has seen, and what it is asked to do.
#[derive(Default)]
struct Shared {
    /// What the thread does at its next turn, besides looking.
    order: Option<Order>,
    /// Whether a caller waits for what is read.
    awaited: bool,
    /// What it read, until that is taken.
    reading: Option<Reading>,
    /// Whether it was read, and need not be read again as it stands.
    was_read: bool,
    /// Its stamp when it was read; `None` where it was absent.
    read: Option<Stamp>,
    /// Its stamp when it was last looked at; `None` where it was absent.
    seen: Option<Stamp>,
    /// When it was first seen as in `seen`, and when last.
    same: Option<(Instant, Instant)>,
    /// Since when it has differed from what was read.
    changed: Option<Instant>,
    /// When it was last read although it had not settled.
    tried: Option<Instant>,
    /// Whether its folders are to be watched.
    watched: bool,
    /// Who had it open in an office program when it was last looked at.
    open_by: Option<String>,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Read,
    /// Twice, with a pause between: it counts if both have the same contents.
    ReadTwice,
}

/// Whether a table is as it was read, and if not, whether it can be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TableState {
    /// It is as it was read.
    Unchanged,
    /// It has changed, and changes no more.
    Settled,
    /// It has changed, and may change further.
    Settling,
    /// It has kept changing for [`NEVER_SETTLES`]: the other tables are reloaded without it.
    NeverSettles,
    /// Its thread makes no progress.
    Hangs,
}

impl TableThread {
    /// The table with this number in [`super::files::TABLES`]; nothing is read yet. `table_changed` is
    /// notified when it may have changed.
    pub fn new(at: usize, path: &Path, table_changed: Arc<Notify>) -> Self {
        let events = Arc::new(FolderEvents::new(table_changed));
        let shared = Arc::new(Mutex::new(Shared::default()));
        let mut job = Job {
            path: path.to_owned(),
            may_be_absent: at == OPTIONAL,
            shared: shared.clone(),
            watch: FolderWatch::new(events.clone()),
        };
        let name = format!("table-{}", file_name(path));
        let thread = PathThread::new(&name, move |progress| job.run(&mut || progress.step()));
        Self { path: path.to_owned(), thread, shared, events }
    }

    /// The file's name.
    pub fn name(&self) -> String {
        file_name(&self.path)
    }

    /// From now on its folders are watched.
    pub fn watch(&self) {
        self.shared().watched = true;
    }

    /// Asks its thread to look at the file. If it is looking now it looks once more: it may have seen it before the change
    /// that this is about.
    pub fn look(&self) {
        self.thread.ask();
    }

    /// Asks its thread to look at the file, and waits for that; `false` where it hangs.
    pub fn look_now(&self) -> bool {
        !self.thread.hangs() && self.thread.wait(self.thread.ask(), READ_TIMEOUT)
    }

    /// As its file was last seen, without asking the disk.
    pub fn state(&self) -> TableState {
        if self.thread.hangs() {
            return TableState::Hangs;
        }
        let shared = self.shared();
        let Some(changed) = shared.changed else { return TableState::Unchanged };
        let is_stable = shared.same.is_some_and(|(since, until)| until - since >= SETTLE);
        if is_stable && !self.events.is_being_written() {
            TableState::Settled
        } else if changed.elapsed() < NEVER_SETTLES {
            TableState::Settling
        } else {
            TableState::NeverSettles
        }
    }

    /// Whether it has not settled, and it is time to see whether it can be read all the same.
    pub fn may_be_tried(&self) -> bool {
        self.state() == TableState::NeverSettles
            && !self.events.is_being_written()
            && self.shared().tried.is_none_or(|tried| tried.elapsed() >= NEVER_SETTLES)
    }

    /// Asks its thread to read it; the number is for [`Self::reading`]. `None` where it hangs.
    pub fn read(&self, twice: bool) -> Option<u64> {
        if self.thread.hangs() {
            return None;
        }
        let mut shared = self.shared();
        shared.order = Some(if twice { Order::ReadTwice } else { Order::Read });
        shared.awaited = true;
        if twice {
            shared.tried = Some(Instant::now());
        }
        drop(shared);
        Some(self.thread.ask())
    }

    /// What was read; waits while the read makes progress, for [`READ_TIMEOUT`] at most.
    pub fn reading(&self, ticket: Option<u64>) -> Reading {
        let answered = ticket.is_some_and(|ticket| self.thread.wait(ticket, READ_TIMEOUT));
        let mut shared = self.shared();
        shared.awaited = false;
        shared.order = None;
        let reading = shared.reading.take().filter(|_| answered);
        reading.unwrap_or(Reading { stamp: None, bytes: Err(TableError::Hangs) })
    }

    /// Whether it is still as it was when it was read.
    pub fn is_still(&self, stamp: Option<Stamp>) -> bool {
        self.shared().seen == stamp
    }

    /// What was read is used: from now on the file is compared with the stamp that it had then.
    pub fn took(&self, stamp: Option<Stamp>) {
        let mut shared = self.shared();
        (shared.was_read, shared.read) = (true, stamp);
        shared.compare();
    }

    /// Whether another program has it open for writing, and writes.
    pub fn is_being_written(&self) -> bool {
        self.events.is_being_written()
    }

    /// Who has it open in an office program, as it was last seen, without asking the disk.
    pub fn open_by(&self) -> Option<String> {
        self.shared().open_by.clone()
    }

    /// It could not be read, and is to be read again once it can be.
    pub fn missed(&self) {
        let mut shared = self.shared();
        shared.was_read = false;
        shared.compare();
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Shared {
    fn saw(&mut self, stamp: Option<Stamp>) -> bool {
        let now = Instant::now();
        let is_new = self.same.is_none() || self.seen != stamp;
        self.same = match self.same {
            Some((since, _)) if !is_new => Some((since, now)),
            _ => Some((now, now)),
        };
        self.seen = stamp;
        self.compare();
        is_new
    }

    fn compare(&mut self) {
        if self.was_read && self.read == self.seen {
            (self.changed, self.tried) = (None, None);
        } else {
            self.changed.get_or_insert_with(Instant::now);
        }
    }
}

/// What a table's thread does.
struct Job {
    path: PathBuf,
    may_be_absent: bool,
    shared: Arc<Mutex<Shared>>,
    watch: FolderWatch,
}

impl Job {
    /// One turn: read if that is asked for, follow the folders, look. The lock is never held meanwhile.
    fn run(&mut self, step: &mut dyn FnMut()) {
        let (order, watched) = {
            let mut shared = lock(&self.shared);
            (shared.order.take(), shared.watched)
        };
        if let Some(order) = order {
            let reading = self.read(order, step);
            let mut shared = lock(&self.shared);
            // One that comes too late is not kept.
            shared.reading = Some(reading).filter(|_| shared.awaited);
        }
        if watched {
            self.watch.follow(&self.path);
        }
        // Before the lock is taken: a share that hangs holds up this line.
        let (seen, open_by) = (stamp(&self.path), office::open_by(&self.path));
        let is_new = {
            let mut shared = lock(&self.shared);
            shared.open_by = open_by;
            shared.saw(seen)
        };
        if is_new {
            self.watch.events.notify();
        }
    }

    fn read(&self, order: Order, step: &mut dyn FnMut()) -> Reading {
        let mut once = || read_table(&self.path, self.may_be_absent, step);
        let first = once();
        if matches!(order, Order::Read) || first.bytes.is_err() {
            return first;
        }
        let contents = first.bytes.map(|bytes| hash(&bytes));
        std::thread::sleep(SETTLE);
        let second = once();
        let is_same = second.bytes.as_ref().ok().map(|bytes| hash(bytes)) == contents.ok();
        if is_same { second } else { Reading { stamp: second.stamp, bytes: Err(TableError::Changed) } }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::BuildHasher as _;
    foldhash::fast::FixedState::default().hash_one(bytes)
}
