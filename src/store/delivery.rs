//! From the journal to the store.
//!
//! Owns the delivery, on a thread of its own: a sealed segment becomes one batch, is offered to the
//! store until the store confirms it, and is then settled with the journal. The oldest goes first,
//! but for a batch that the store does not take while it takes others: that one steps aside, and is
//! tried again later. Nothing that is recorded is dropped on its way; what the store has is kept within the
//! limits of the embedded store before each batch, and the journal is told when there is no room.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::watch::Receiver;
use uuid::Uuid;

use super::limits::Room;
use super::{Batch, Cause, Settings, Store, StoreError, Stored};
use crate::core::Backoff;
use crate::core::scan::Scan;
use crate::journal::{self, Journal, Sealed, SettleError};
use crate::registry::Registry;

/// Between tries of a delivery that failed.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// Between tries to send the registry, which may be large.
const PUBLISH: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(1));
/// Between tries to count what an earlier release has stored.
const COUNT: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// Between tries to drop what is beyond the limits.
const DROP: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
/// How long a batch steps aside, each time it does.
const ASIDE: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(10));
/// Tries of a batch that the store answers and does not take, before another is tried.
const TRIES: u32 = 5;
/// How long the delivery waits for a segment before it checks whether to stop.
const WAIT: Duration = Duration::from_millis(500);
/// How often a pause checks whether to stop.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// The delivery, as others see it: its figures since the start, and how to stop it.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Batches stored.
    pub batches: AtomicU64,
    /// Batches the store had already.
    pub duplicates: AtomicU64,
    /// Attempts that failed and were retried: to open or reach the store, to store a batch, or to count what an
    /// earlier release has stored.
    pub retries: AtomicU64,
    /// Batches stored later than the store's memory of tokens reaches: if an earlier response
    /// was lost, their scans are counted twice.
    pub overdue: AtomicU64,
    /// When a batch was last stored, milliseconds since the Unix epoch; 0: never.
    pub last_success_ms: AtomicU64,
    /// Generation of the registry that the store has; 0: none yet.
    pub published: AtomicU64,
    /// Whether the store refuses the user, the password, or what the user may do.
    pub refused: AtomicBool,
    /// Batches that the store does not take while it takes others; they are tried again later.
    pub aside: AtomicU64,
    /// How often the embedded store's file was found moved, replaced or removed.
    pub replaced: AtomicU64,
    /// Scans that the embedded store has dropped for their age.
    pub expired_by_age: AtomicU64,
    /// Scans that it has dropped for its size.
    pub expired_by_size: AtomicU64,
    /// Bytes of the embedded store's file and of its write-ahead log; 0 with ClickHouse, or before it is open.
    pub bytes: AtomicU64,
    stopping: AtomicBool,
}

impl Delivery {
    /// Delivers sealed segments to the store, on this thread, until [`Delivery::stop`] was called
    /// and either none is left or the store fails. Starts whether or not the store can be reached.
    pub fn deliver(
        &self,
        journal: &Journal,
        registry: &Receiver<Arc<Registry>>,
        settings: &Settings,
        timezone: &TimeZone,
    ) {
        let delivery = DeliveryLoop {
            figures: self,
            journal,
            registry,
            settings,
            timezone,
            store: None,
            retry: RETRY,
            publish: PUBLISH,
            publish_after: Instant::now(),
            has_uncounted: false,
            count: COUNT,
            count_after: Instant::now(),
            drop: DROP,
            drop_after: Instant::now(),
            said: Room::Enough,
            failed: None,
            untaken: BTreeMap::new(),
            memory: Vec::new(),
        };
        delivery.run();
    }

    /// Tells [`Delivery::deliver`] to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Sleeps, but for no longer than until the stop.
    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.is_stopping() {
            thread::sleep(STOP_CHECK.min(pause));
        }
    }
}

/// What a running delivery needs, and how far it is.
struct DeliveryLoop<'a> {
    figures: &'a Delivery,
    journal: &'a Journal,
    registry: &'a Receiver<Arc<Registry>>,
    settings: &'a Settings,
    timezone: &'a TimeZone,
    /// Once it could be opened.
    store: Option<Store>,
    retry: Backoff,
    publish: Backoff,
    /// When to send the registry again after the store did not take it.
    publish_after: Instant,
    /// Whether the store may have scans that an earlier release has not counted.
    has_uncounted: bool,
    count: Backoff,
    /// When to count on after it failed.
    count_after: Instant,
    drop: Backoff,
    /// When to drop on after it failed.
    drop_after: Instant,
    /// Its room, as it was last said.
    said: Room,
    /// How the last try failed, if it did.
    failed: Option<Failure>,
    /// Batches that the store has answered and not taken.
    untaken: BTreeMap<Uuid, Untaken>,
    /// What the last batch was read into.
    memory: Vec<(u32, Scan)>,
}

/// How a try failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// The store did not answer.
    Unavailable,
    /// It answered.
    Answered,
}

/// What became of a batch.
enum Outcome {
    /// The store has it.
    Stored,
    /// It is in the quarantine, or lost.
    Gone,
}

/// A batch that the store has answered and not taken.
struct Untaken {
    /// Tries so far, or since it was last aside.
    tries: u32,
    aside: Backoff,
    /// Until when it steps aside, or last did.
    until: Option<Instant>,
}

impl DeliveryLoop<'_> {
    fn run(mut self) {
        loop {
            let is_stopping = self.figures.is_stopping();
            let failed_before = self.failed;
            let delivered = self.deliver_next();
            if self.failed == Some(Failure::Answered) && failed_before != self.failed {
                // It can be reached again: a batch that it does not take is soon tried again.
                self.retry.reset();
            }
            if delivered.as_ref().is_err_and(|error| self.is_the_stores_fault(error)) {
                self.journal.set_store_away(true);
            }
            let aside = self.untaken.values().filter(|batch| batch.until.is_some()).count();
            self.figures.aside.store(aside as u64, Ordering::Relaxed);
            let is_refused = matches!(delivered, Err(StoreError::Unauthorized(_)));
            self.figures.refused.store(is_refused, Ordering::Relaxed);
            match delivered {
                Ok(true) => self.retry.reset(),
                Ok(false) if is_stopping => return,
                Ok(false) => {}
                Err(error) => {
                    self.figures.retries.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, pending = self.journal.counts().pending, "delivery failed");
                    // What is left stays in the journal; the next start delivers it.
                    if is_stopping {
                        return;
                    }
                    // A wrong password stays wrong, and many tries lock the account.
                    if is_refused {
                        self.retry.skip_to_max();
                    }
                    self.figures.pause(self.retry.next_jittered());
                }
            }
        }
    }

    /// Returns whether there was a segment to deliver.
    fn deliver_next(&mut self) -> Result<bool, StoreError> {
        self.close_replaced()?;
        let store = match &mut self.store {
            Some(store) => store,
            none => {
                let store = none.insert(Store::open(self.settings, self.timezone)?);
                self.has_uncounted = true;
                self.journal.set_store_away(false);
                store
            }
        };
        // Preparing a batch takes 0.1 s of the workers' core: not for a store that is down.
        if let Some(failure) = self.failed {
            if let Some(sealed) = self.journal.next(WAIT, |waiting| waiting.next()) {
                store.ping(sealed.id)?;
            }
            // A store that answers and takes no batch is not back: each time it were taken for
            // back, the journal would seal its open segments.
            if failure == Failure::Unavailable {
                self.journal.set_store_away(false);
            }
        }
        self.publish();
        self.count_older();
        let room = self.make_room();
        match room {
            // What can't be counted now, and so not dropped, holds up no scan.
            Room::NotYet if self.has_uncounted && !self.is_counting() => {}
            Room::NotYet => return Ok(true),
            Room::Full => {
                if !self.is_counting() {
                    self.figures.pause(WAIT);
                }
                return Ok(false);
            }
            Room::Enough | Room::More | Room::Beyond => {}
        }
        let Some(sealed) = self.next(room) else { return Ok(false) };
        // A file that was replaced while there was nothing to store gets no batch any more.
        let Some(store) = self.store.as_mut().filter(|store| !store.is_replaced()) else { return Ok(true) };
        self.journal.hold(&sealed);
        let delivered = deliver_batch(self.figures, self.journal, store, &sealed, &mut self.memory);
        self.journal.release();
        match &delivered {
            Ok(Outcome::Stored) => {
                self.failed = None;
                self.journal.set_store_away(false);
                self.step_aside(sealed.id);
            }
            Ok(Outcome::Gone) => drop(self.untaken.remove(&sealed.id)),
            Err(StoreError::Temporary(_)) => {
                self.failed = Some(Failure::Answered);
                let untaken = || Untaken { tries: 0, aside: ASIDE, until: None };
                self.untaken.entry(sealed.id).or_insert_with(untaken).tries += 1;
            }
            Err(_) => self.failed = Some(Failure::Unavailable),
        }
        delivered.map(|_| true)
    }

    /// Closes a store whose file was moved, replaced or removed; it is opened again at its path.
    fn close_replaced(&mut self) -> Result<(), StoreError> {
        let Some(store) = self.store.as_ref().filter(|store| store.is_replaced()) else { return Ok(()) };
        store.leave()?;
        self.store = None;
        self.figures.replaced.fetch_add(1, Ordering::Relaxed);
        let path = self.settings.path.display();
        tracing::error!(%path, "the store's file was moved, replaced or removed; it is opened anew");
        Ok(())
    }

    /// Sends the registry if the store does not have this generation: block by block until a batch waits, which has the
    /// next turn, or the stop comes; the next start sends it again then, under the same tokens. A failure holds up no scan.
    fn publish(&mut self) {
        loop {
            let registry = self.registry.borrow().clone();
            let is_published = self.figures.published.load(Ordering::Relaxed) == registry.generation;
            let is_due = !is_published && Instant::now() >= self.publish_after && !self.figures.is_stopping();
            let Some(store) = self.store.as_mut().filter(|_| is_due) else { return };
            match store.publish(&self.journal.settings().edge, &registry) {
                Ok(Some(generation)) => {
                    self.publish.reset();
                    self.figures.published.store(generation, Ordering::Relaxed);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, generation = registry.generation, "the registry is not stored");
                    self.publish_after = Instant::now() + self.publish.next_jittered();
                }
            }
            if self.journal.next(Duration::ZERO, |waiting| self.choose(waiting)).is_some() {
                return;
            }
        }
    }

    /// Counts some of what an earlier release has stored without counting it; not at the stop, for the next
    /// start goes on with it. A failure holds up no scan.
    fn count_older(&mut self) {
        let is_due = self.is_counting();
        let Some(store) = self.store.as_mut().filter(|_| is_due) else { return };
        match store.count_older() {
            Ok(is_left) => {
                self.has_uncounted = is_left;
                self.count.reset();
            }
            Err(error) => {
                self.figures.retries.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "older scans are not counted yet");
                self.count_after = Instant::now() + self.count.next_jittered();
            }
        }
    }

    /// Whether older scans are being counted: there are some, and no failure or stop puts them off.
    fn is_counting(&self) -> bool {
        self.has_uncounted && Instant::now() >= self.count_after && !self.figures.is_stopping()
    }

    /// Drops some of what is beyond the store's limits, and tells the journal whether to record. A failure holds
    /// up no scan.
    fn make_room(&mut self) -> Room {
        let Some(store) = self.store.as_mut() else { return Room::Enough };
        self.figures.bytes.store(store.bytes(), Ordering::Relaxed);
        if Instant::now() < self.drop_after {
            return Room::Enough;
        }
        let step = match store.make_room() {
            Ok(step) => step,
            Err(error) => {
                self.figures.retries.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "scans beyond the store's limits are not dropped yet");
                self.drop_after = Instant::now() + self.drop.next_jittered();
                return Room::Enough;
            }
        };
        self.drop.reset();
        self.figures.expired_by_age.fetch_add(step.by_age, Ordering::Relaxed);
        self.figures.expired_by_size.fetch_add(step.by_size, Ordering::Relaxed);
        if step.by_age + step.by_size > 0 {
            tracing::debug!(
                by_age = step.by_age,
                by_size = step.by_size,
                "scans beyond the store's limits are dropped"
            );
        }
        // While room is made the store is as full as it was.
        if step.room != Room::NotYet {
            self.say(step.room);
        }
        step.room
    }

    /// Tells the journal whether to record, and the log how much room there is, once for each change.
    fn say(&mut self, room: Room) {
        self.journal.set_store_full(room == Room::Full);
        let room = if room == Room::More { Room::Enough } else { room };
        if room == self.said {
            return;
        }
        self.said = room;
        let path = self.settings.path.display();
        match room {
            Room::Full => {
                tracing::error!(%path, "the store has reached store.max_size; nothing is recorded until it has room");
            }
            Room::Beyond => tracing::error!(
                %path,
                "what is counted by hour alone has reached store.max_size, and each scan is dropped soon after it was \
                 stored; a larger one keeps them"
            ),
            _ => tracing::info!(%path, "the store has room again; scans are recorded and kept"),
        }
    }

    /// The next batch to try.
    fn next(&self, room: Room) -> Option<Sealed> {
        // Does not wait while there is something to count or to drop.
        let wait = if self.is_counting() || room == Room::More { Duration::ZERO } else { WAIT };
        self.journal.next(wait, |waiting| self.choose(waiting))
    }

    /// The batch to try: the oldest, unless the store does not take it. Then the one that was
    /// tried the least shows whether it is the batch or the store.
    fn choose<'s>(&self, waiting: &mut dyn Iterator<Item = &'s Sealed>) -> Option<&'s Sealed> {
        let now = Instant::now();
        let untaken = |sealed: &&Sealed| self.untaken.get(&sealed.id);
        let is_aside = |batch: &Untaken| batch.until.is_some_and(|until| now < until);
        let mut waiting = waiting.filter(|sealed| !untaken(sealed).is_some_and(is_aside)).peekable();
        let tries = |sealed: &&Sealed| untaken(sealed).map_or(0, |batch| batch.tries);
        if waiting.peek().is_some_and(|oldest| tries(oldest) < TRIES) {
            return waiting.next();
        }
        waiting.min_by_key(tries)
    }

    /// Whether a failure is the store's. What it answers about one batch may be that batch's fault:
    /// only when the store takes no other either, it is the store's.
    fn is_the_stores_fault(&self, error: &StoreError) -> bool {
        let doubtful = self.untaken.values().filter(|batch| batch.until.is_none()).count();
        !matches!(error, StoreError::Temporary(_)) || doubtful > 1
    }

    /// The store has taken a batch: those that it did not take are at fault, and step aside.
    fn step_aside(&mut self, taken: Uuid) {
        self.untaken.remove(&taken);
        for (id, batch) in &mut self.untaken {
            if batch.tries >= TRIES {
                let pause = batch.aside.next_pause();
                // One more try after the pause, and it steps aside again.
                batch.tries = TRIES - 1;
                batch.until = Some(Instant::now() + pause);
                tracing::warn!(batch = %id, again_in = ?pause, "the store takes other batches and not this one; it steps aside, and is tried again");
            }
        }
    }
}

/// Makes a sealed segment a batch, stores it and settles it with the journal.
fn deliver_batch(
    figures: &Delivery,
    journal: &Journal,
    store: &mut Store,
    sealed: &Sealed,
    memory: &mut Vec<(u32, Scan)>,
) -> Result<Outcome, StoreError> {
    // A file that can't be removed, or set aside, holds up its own batch and not the others.
    let stuck = |error: SettleError| StoreError::Temporary(Cause::Segment { path: sealed.path.clone(), error });
    let set_aside = || journal.quarantine_batch(sealed).map(|()| Outcome::Gone).map_err(stuck);
    let contents = match journal::read_batch(sealed, mem::take(memory)) {
        Ok(contents) => contents,
        Err(error) if error.is_not_found() => {
            journal.lose(sealed);
            return Ok(Outcome::Gone);
        }
        Err(error) => {
            tracing::error!(%error, batch = %sealed.id, "a sealed segment can't be read; the others go on");
            return set_aside();
        }
    };
    if contents.scans.is_empty() {
        // Not to the store: if the segment is mended and comes back, the store would take it for a
        // batch that it has.
        tracing::error!(batch = %sealed.id, "no scan of a sealed segment can be read; the others go on");
        return journal.settle(sealed, 0).map(|()| Outcome::Gone).map_err(stuck);
    }
    let edge = contents.header.as_ref().map_or(&journal.settings().edge, |header| &header.edge).clone();
    let batch = Batch { id: sealed.id, edge, scans: contents.scans };
    // What is stored in a file that is not the store's any more is not stored.
    let stored = store.insert(&batch).and_then(|stored| store.ensure_in_place().map(|()| stored));
    // Positions in a segment have 32 bits.
    let scans = u32::try_from(batch.scans.len()).unwrap_or(u32::MAX);
    *memory = batch.scans;
    match stored {
        Ok(stored) => {
            let counter = if stored == Stored::New { &figures.batches } else { &figures.duplicates };
            counter.fetch_add(1, Ordering::Relaxed);
            let now_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
            let age = Duration::from_millis(now_ms.saturating_sub(sealed.since_ms));
            if store.forgets_after().is_some_and(|limit| age > limit) {
                figures.overdue.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(batch = %sealed.id, "stored so late that the store may have forgotten an earlier try");
            }
            figures.last_success_ms.store(now_ms, Ordering::Relaxed);
            journal.settle(sealed, scans).map(|()| Outcome::Stored).map_err(stuck)
        }
        Err(StoreError::Rejected(reason)) => {
            tracing::error!(%reason, batch = %sealed.id, "the store rejects a batch; it is set aside in quarantine/");
            set_aside()
        }
        Err(error) => Err(error),
    }
}
