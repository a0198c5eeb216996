//! The three tables as they stand on the disk: looked at, and read, each by a thread of its own.
//!
//! Owns what is known of each table without asking the disk: whether it has changed since it was
//! read, whether it has settled, whether it hangs. A table that hangs, or never settles, holds up
//! its own thread and nothing else. The folders of a table are watched from its thread too, each by
//! a watcher of its own, for the same reason.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::files::{OPTIONAL, Reading, Trouble, name_of, read_table};
use crate::system::Stamp;
use crate::system::path_thread::PathThread;

/// A table must be unchanged for this long before it is read.
pub(super) const SETTLE: Duration = Duration::from_millis(200);
/// One that has not settled for this long is waited for no more.
const NEVER_SETTLES: Duration = Duration::from_secs(10);
/// A file that is still open for writing is read all the same once it has not changed for this long.
const STALE_WRITER: Duration = Duration::from_secs(30);
/// A reload waits no longer than this for a table, even for one that is still being read.
const READ: Duration = Duration::from_mins(1);

/// One table and its thread.
pub(super) struct Table {
    pub path: PathBuf,
    aside: PathThread,
    known: Arc<Mutex<Known>>,
    events: Arc<Events>,
}

/// What is known of a table.
#[derive(Default)]
struct Known {
    /// What the thread does at its next turn, besides looking.
    order: Option<Order>,
    /// Whether somebody waits for what is read.
    awaited: bool,
    /// What it read, until that is taken.
    reading: Option<Reading>,
    /// Whether it was read, and need not be read again as it stands.
    was_read: bool,
    /// As it was then.
    read: Option<Stamp>,
    /// As it was last seen.
    seen: Option<Stamp>,
    /// Since when it has been seen so, and until when.
    same: Option<(Instant, Instant)>,
    /// Since when it has been another than the one that was read.
    changed: Option<Instant>,
    /// When it was last read although it had not settled.
    tried: Option<Instant>,
    /// Whether its folders are to be watched.
    watched: bool,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Read,
    /// Twice, with a pause between: it counts if both have the same contents.
    ReadTwice,
}

/// How a table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is as it was read.
    Same,
    /// It has changed, and rests.
    Settled,
    /// It has changed, and may change further.
    Settling,
    /// It has changed all the time for so long that nothing waits for it.
    NeverSettles,
    /// Its thread has no answer.
    Hangs,
}

impl Table {
    /// The table with a number; nothing is read yet. `arrived` is told when it changes.
    pub fn new(at: usize, path: &Path, arrived: Arc<Notify>) -> Self {
        let events = Arc::new(Events { arrived, files: Mutex::default() });
        let known = Arc::new(Mutex::new(Known::default()));
        let mut hand = Hand {
            path: path.to_owned(),
            may_be_absent: at == OPTIONAL,
            known: known.clone(),
            events: events.clone(),
            watcher: None,
            folders: BTreeSet::new(),
        };
        let aside = PathThread::new(&format!("table-{}", name_of(path)), move |steps| hand.turn(&mut || steps.step()));
        Self { path: path.to_owned(), aside, known, events }
    }

    /// The file's name.
    pub fn name(&self) -> String {
        name_of(&self.path)
    }

    /// From now on its folders are watched.
    pub fn watch(&self) {
        self.known().watched = true;
    }

    /// Has it looked at, soon.
    pub fn look(&self) {
        if self.aside.is_idle() {
            self.aside.ask();
        }
    }

    /// Has it looked at, and waits for that; `false` where it hangs.
    pub fn look_now(&self) -> bool {
        !self.aside.hangs() && self.aside.wait(self.aside.ask(), READ)
    }

    /// How it stands, without asking the disk.
    pub fn standing(&self) -> Standing {
        if self.aside.hangs() {
            return Standing::Hangs;
        }
        let known = self.known();
        let Some(changed) = known.changed else { return Standing::Same };
        let rests = known.same.is_some_and(|(since, until)| until - since >= SETTLE);
        if rests && !self.events.is_being_written() {
            Standing::Settled
        } else if changed.elapsed() < NEVER_SETTLES {
            Standing::Settling
        } else {
            Standing::NeverSettles
        }
    }

    /// Whether it has not settled, and it is time to see whether it can be read all the same.
    pub fn may_be_tried(&self) -> bool {
        self.standing() == Standing::NeverSettles
            && !self.events.is_being_written()
            && self.known().tried.is_none_or(|tried| tried.elapsed() >= NEVER_SETTLES)
    }

    /// Has it read, soon; the number is for [`Self::reading`]. `None` where it hangs.
    pub fn read(&self, twice: bool) -> Option<u64> {
        if self.aside.hangs() {
            return None;
        }
        let mut known = self.known();
        known.order = Some(if twice { Order::ReadTwice } else { Order::Read });
        known.awaited = true;
        if twice {
            known.tried = Some(Instant::now());
        }
        drop(known);
        Some(self.aside.ask())
    }

    /// What was read; waits for it as long as it goes on.
    pub fn reading(&self, ticket: Option<u64>) -> Reading {
        let answered = ticket.is_some_and(|ticket| self.aside.wait(ticket, READ));
        let mut known = self.known();
        known.awaited = false;
        known.order = None;
        let reading = known.reading.take().filter(|_| answered);
        reading.unwrap_or(Reading { stamp: None, bytes: Err(Trouble::Hangs) })
    }

    /// Whether it is still as it was when it was read.
    pub fn is_still(&self, stamp: Option<Stamp>) -> bool {
        self.known().seen == stamp
    }

    /// Takes it as read: from now on it is compared with this.
    pub fn took(&self, stamp: Option<Stamp>) {
        let mut known = self.known();
        (known.was_read, known.read) = (true, stamp);
        known.compare();
    }

    /// It could not be read: it is read again when it answers.
    pub fn missed(&self) {
        let mut known = self.known();
        known.was_read = false;
        known.compare();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

impl Known {
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

/// What a table's thread has at hand.
struct Hand {
    path: PathBuf,
    may_be_absent: bool,
    known: Arc<Mutex<Known>>,
    events: Arc<Events>,
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

impl Hand {
    /// One turn: look, watch, and read if that is asked for. The lock is never held meanwhile.
    fn turn(&mut self, step: &mut dyn FnMut()) {
        let (order, watched) = {
            let mut known = lock(&self.known);
            (known.order.take(), known.watched)
        };
        if let Some(order) = order {
            let reading = self.read(order, step);
            let mut known = lock(&self.known);
            // One that comes too late is not kept.
            known.reading = Some(reading).filter(|_| known.awaited);
        }
        if watched {
            self.follow();
        }
        let stamp = std::fs::metadata(&self.path).ok().as_ref().map(Stamp::of);
        if lock(&self.known).saw(stamp) {
            self.events.arrived.notify_one();
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
        if is_same { second } else { Reading { stamp: second.stamp, bytes: Err(Trouble::Changed) } }
    }

    /// Watches the folders that the file is in now: links may have been pointed elsewhere.
    fn follow(&mut self) {
        if self.watcher.is_none() {
            self.watcher = self.events.clone().watcher();
        }
        let Some(watcher) = &mut self.watcher else { return };
        let path = &self.path;
        let beside = path.parent().and_then(|folder| folder.canonicalize().ok());
        let named = beside.as_ref().zip(path.file_name()).map(|(folder, name)| folder.join(name));
        let real = path.canonicalize().ok();
        let mut now: BTreeSet<PathBuf> = beside.into_iter().collect();
        now.extend(real.as_deref().and_then(Path::parent).map(Path::to_owned));
        for gone in self.folders.difference(&now) {
            // A folder that was removed is no longer watched anyway.
            watcher.unwatch(gone).ok();
        }
        for new in now.difference(&self.folders) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(%error, folder = %new.display(), "a folder of the registry can't be watched; it is only polled");
            }
        }
        self.folders = now;
        self.events.follow([named, real].into_iter().flatten());
    }
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::BuildHasher as _;
    super::Hasher::default().hash_one(bytes)
}

/// What the operating system tells about a table's folders.
struct Events {
    arrived: Arc<Notify>,
    /// The table by its paths, and since when it has been open for writing.
    files: Mutex<HashMap<PathBuf, Option<Instant>>>,
}

impl Events {
    fn watcher(self: Arc<Self>) -> Option<RecommendedWatcher> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) => self.take(&event),
            // An overflow or a lost folder: the stamps tell what there is to do.
            Err(_) => self.arrived.notify_one(),
        });
        watcher
            .map_err(|error| tracing::warn!(%error, "the registry's folders can't be watched; they are only polled"))
            .ok()
    }

    fn take(&self, event: &notify::Event) {
        let mut files = lock(&self.files);
        for path in &event.paths {
            let Some(written) = files.get_mut(path) else { continue };
            match event.kind {
                EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => *written = Some(Instant::now()),
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Remove(_) => {
                    *written = None;
                }
                _ => {}
            }
        }
        if !matches!(event.kind, EventKind::Access(AccessKind::Open(_) | AccessKind::Read)) {
            self.arrived.notify_one();
        }
    }

    fn is_being_written(&self) -> bool {
        lock(&self.files).values().flatten().any(|since| since.elapsed() < STALE_WRITER)
    }

    fn follow(&self, paths: impl Iterator<Item = PathBuf>) {
        let mut known = lock(&self.files);
        *known =
            paths.map(|path| (known.get(&path).copied().flatten(), path)).map(|(since, path)| (path, since)).collect();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
