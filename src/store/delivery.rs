//! From the journal to the store.
//!
//! Owns the delivery, on a thread of its own: a sealed segment becomes one batch, is given to the
//! store until it says yes, and is settled with the journal. The oldest goes first, but for one
//! that the store will not take while it takes others: that one steps aside, and is tried again
//! later. Nothing is dropped here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use tokio::sync::watch::Receiver;
use uuid::Uuid;

use super::{Batch, Settings, Store, StoreError, Stored};
use crate::journal::{self, Journal, Sealed, SettleError};
use crate::registry::Registry;

/// The first and the longest pause after a failed delivery.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// The longest pause before the registry is sent again.
const PUBLISH_PAUSE: Duration = Duration::from_secs(5);
/// How long the delivery waits for a segment before it looks whether it shall stop.
const WAIT: Duration = Duration::from_millis(500);
/// Tries of a batch that the store answers and does not take, before another is tried.
const TRIES: u32 = 5;
/// How long a batch steps aside for the first time, and at most.
const ASIDE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(10));

/// What the delivery has done since the start.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// Batches stored.
    pub batches: AtomicU64,
    /// Batches the store had already.
    pub duplicates: AtomicU64,
    /// Tries that failed and were made again.
    pub retries: AtomicU64,
    /// Batches stored later than the store's memory of tokens reaches: if an earlier answer
    /// was lost, they are counted twice.
    pub overdue: AtomicU64,
    /// When a batch was last stored, milliseconds since the Unix epoch; 0: never.
    pub last_success_ms: AtomicU64,
    /// Generation of the registry that the store has; 0: none yet.
    pub published: AtomicU64,
    /// Whether the store refuses our name, password or rights.
    pub refused: AtomicBool,
    /// Batches that the store does not take while it takes others; they are tried again later.
    pub aside: AtomicU64,
    /// How often the embedded store's file was found to be another, or gone.
    pub replaced: AtomicU64,
    stopping: AtomicBool,
}

/// What one delivery needs, and how far it is.
struct Delivery<'a> {
    journal: &'a Journal,
    registry: &'a Receiver<Arc<Registry>>,
    settings: &'a Settings,
    timezone: &'a TimeZone,
    store: Option<Store>,
    /// When to send the registry again after the store would not take it.
    publish_after: Instant,
    /// How the last try failed, if it did.
    failed: Option<Failure>,
    /// Batches that the store has answered and not taken.
    troubles: BTreeMap<Uuid, Trouble>,
}

/// How a try failed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// The store was not there.
    Away,
    /// It answered.
    Answered,
}

/// What became of a batch.
enum Done {
    /// The store has it.
    Stored,
    /// It is in the quarantine, or lost.
    Gone,
}

/// What is remembered of a batch that the store does not take.
#[derive(Debug, Default)]
struct Trouble {
    /// Answers so far, or since it was last aside.
    tries: u32,
    /// How long it stepped aside the last time, and until when.
    aside: Option<(Duration, Instant)>,
}

impl Delivery<'_> {
    /// The batch to try: the oldest, unless the store will not take it. Then the one that was
    /// tried the least shows whether it is the batch or the store.
    fn choose<'s>(&self, waiting: &mut dyn Iterator<Item = &'s Sealed>) -> Option<&'s Sealed> {
        let now = Instant::now();
        let trouble = |sealed: &&Sealed| self.troubles.get(&sealed.id);
        let is_aside = |trouble: &Trouble| trouble.aside.is_some_and(|(_, until)| now < until);
        let mut waiting = waiting.filter(|sealed| !trouble(sealed).is_some_and(is_aside)).peekable();
        let tries = |sealed: &&Sealed| trouble(sealed).map_or(0, |trouble| trouble.tries);
        if waiting.peek().is_some_and(|oldest| tries(oldest) < TRIES) {
            return waiting.next();
        }
        waiting.min_by_key(tries)
    }

    fn next(&self) -> Option<Sealed> {
        self.journal.next(WAIT, |waiting| self.choose(waiting))
    }

    /// Whether a failure is the store's. An answer about one batch may be that batch's fault: others
    /// must be sealed and tried to tell.
    fn is_the_stores_fault(&self, error: &StoreError) -> bool {
        let doubtful = self.troubles.values().filter(|trouble| trouble.aside.is_none()).count();
        !matches!(error, StoreError::Later(_)) || doubtful > 1
    }

    /// The store has taken a batch: those that it did not take are at fault, and step aside.
    fn step_aside(&mut self, taken: Uuid) {
        self.troubles.remove(&taken);
        for (batch, trouble) in &mut self.troubles {
            if trouble.tries >= TRIES {
                let time = trouble.aside.map_or(ASIDE.0, |(time, _)| (time * 2).min(ASIDE.1));
                *trouble = Trouble { tries: TRIES - 1, aside: Some((time, Instant::now() + time)) };
                tracing::warn!(%batch, again_in = ?time, "the store takes other batches and not this one; it steps aside, and is tried again");
            }
        }
    }
}

impl Deliveries {
    /// Gives sealed segments to the store, until told to stop and none is left or the
    /// store fails. A store that can't be opened keeps nobody from scanning.
    pub fn deliver(
        &self,
        journal: &Journal,
        registry: &Receiver<Arc<Registry>>,
        settings: &Settings,
        timezone: &TimeZone,
    ) {
        let mut pause = PAUSE.0;
        let mut delivery = Delivery {
            journal,
            registry,
            settings,
            timezone,
            store: None,
            publish_after: Instant::now(),
            failed: None,
            troubles: BTreeMap::new(),
        };
        loop {
            let stopping = self.stopping.load(Ordering::Acquire);
            let failed_before = delivery.failed;
            let delivered = self.deliver_next(&mut delivery);
            if delivery.failed == Some(Failure::Answered) && failed_before != delivery.failed {
                // It is there again: what it has against a batch is soon asked again.
                pause = PAUSE.0;
            }
            if delivered.as_ref().is_err_and(|error| delivery.is_the_stores_fault(error)) {
                journal.set_store_away(true);
            }
            let aside = delivery.troubles.values().filter(|trouble| trouble.aside.is_some()).count();
            self.aside.store(aside as u64, Ordering::Relaxed);
            self.refused.store(matches!(delivered, Err(StoreError::Credentials(_))), Ordering::Relaxed);
            match delivered {
                Ok(true) => pause = PAUSE.0,
                Ok(false) if stopping => return,
                Ok(false) => {}
                Err(error) => {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, pending = journal.counts().pending, "delivery failed");
                    // At the stop what is left stays in the journal; the next start delivers it.
                    if stopping {
                        return;
                    }
                    // A wrong password does not mend itself; asking often locks accounts.
                    pause = if matches!(error, StoreError::Credentials(_)) { PAUSE.1 } else { pause };
                    self.wait(jittered(pause));
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    /// Tells [`Deliveries::deliver`] to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn wait(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.stopping.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(50).min(pause));
        }
    }

    /// Returns whether there was a segment to deliver.
    fn deliver_next(&self, delivery: &mut Delivery<'_>) -> Result<bool, StoreError> {
        self.look_for_replaced(delivery)?;
        let store = match &mut delivery.store {
            Some(store) => store,
            none => {
                let store = none.insert(Store::open(delivery.settings, delivery.timezone)?);
                delivery.journal.set_store_away(false);
                store
            }
        };
        // Making a batch ready takes 0.1 s of the workers' core; not for a store that is down.
        if let Some(failure) = delivery.failed {
            let waiting = delivery.journal.next(WAIT, |waiting| waiting.next());
            if let Some(sealed) = waiting {
                store.ping(sealed.id)?;
            }
            // One that answers and takes no batch is not back: each answer would seal new segments.
            if failure == Failure::Away {
                delivery.journal.set_store_away(false);
            }
        }
        let registry = delivery.registry.borrow().clone();
        let is_published = self.published.load(Ordering::Relaxed) == registry.generation;
        if !is_published && Instant::now() >= delivery.publish_after {
            // A registry that the store won't take keeps no scan from it.
            match store.publish(&delivery.journal.settings().edge, &registry) {
                Ok(()) => self.published.store(registry.generation, Ordering::Relaxed),
                Err(error) => {
                    tracing::warn!(%error, generation = registry.generation, "the registry is not stored");
                    delivery.publish_after = Instant::now() + jittered(PUBLISH_PAUSE);
                }
            }
        }
        let Some(sealed) = delivery.next() else { return Ok(false) };
        // (Borrowed anew: the choice looked at all of the delivery.) A file that was replaced while
        // there was nothing to store gets no batch any more.
        let Some(store) = delivery.store.as_mut().filter(|store| !store.is_replaced()) else { return Ok(true) };
        delivery.journal.hold(&sealed);
        let delivered = self.deliver_one(delivery.journal, store, &sealed);
        delivery.journal.release();
        match &delivered {
            Ok(Done::Stored) => {
                delivery.failed = None;
                delivery.journal.set_store_away(false);
                delivery.step_aside(sealed.id);
            }
            Ok(Done::Gone) => drop(delivery.troubles.remove(&sealed.id)),
            Err(StoreError::Later(_)) => {
                delivery.failed = Some(Failure::Answered);
                delivery.troubles.entry(sealed.id).or_default().tries += 1;
            }
            Err(_) => delivery.failed = Some(Failure::Away),
        }
        delivered.map(|_| true)
    }

    /// A store whose file was moved, replaced or removed is let go of, and opened anew at its path.
    fn look_for_replaced(&self, delivery: &mut Delivery<'_>) -> Result<(), StoreError> {
        let Some(store) = delivery.store.as_ref().filter(|store| store.is_replaced()) else { return Ok(()) };
        store.leave()?;
        delivery.store = None;
        self.replaced.fetch_add(1, Ordering::Relaxed);
        let path = delivery.settings.path.display();
        tracing::error!(%path, "the store's file was moved, replaced or removed; it is opened anew");
        Ok(())
    }

    fn deliver_one(&self, journal: &Journal, store: &mut Store, sealed: &Sealed) -> Result<Done, StoreError> {
        // A file that can't be removed, or set aside, is its own batch's trouble and not the others'.
        let stuck = |error: SettleError| StoreError::Later(format!("{}: {error}", sealed.path.display()));
        let set_aside = || journal.quarantine_batch(sealed).map(|()| Done::Gone).map_err(stuck);
        let contents = match journal::read_batch(sealed) {
            Ok(contents) => contents,
            Err(error) if error.is_not_found() => {
                journal.lose(sealed);
                return Ok(Done::Gone);
            }
            Err(error) => {
                tracing::error!(%error, batch = %sealed.id, "a sealed segment can't be read; the others go on");
                return set_aside();
            }
        };
        if contents.scans.is_empty() {
            // Not to the store: a batch that it knows with nothing in it would pass for stored later.
            tracing::error!(batch = %sealed.id, "no scan of a sealed segment can be read; the others go on");
            return journal.settle(sealed, 0).map(|()| Done::Gone).map_err(stuck);
        }
        let edge = contents.header.as_ref().map_or(&journal.settings().edge, |header| &header.edge).clone();
        let batch = Batch { id: sealed.id, edge, scans: contents.scans };
        match store.insert(&batch) {
            // The yes came from a file that is not the store's any more.
            Ok(_) if store.is_replaced() => {
                Err(StoreError::Away("its file was replaced while a batch was stored".to_owned()))
            }
            Ok(stored) => {
                let counter = if stored == Stored::New { &self.batches } else { &self.duplicates };
                counter.fetch_add(1, Ordering::Relaxed);
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let age = now.saturating_sub(Duration::from_millis(sealed.since_ms));
                if store.forgets_after().is_some_and(|limit| age > limit) {
                    self.overdue.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(batch = %sealed.id, "stored so late that the store may have forgotten an earlier try");
                }
                self.last_success_ms.store(now.as_millis() as u64, Ordering::Relaxed);
                journal.settle(sealed, batch.scans.len() as u32).map(|()| Done::Stored).map_err(stuck)
            }
            Err(StoreError::Rejected(reason)) => {
                tracing::error!(reason, batch = %sealed.id, "the store rejects a batch; it is set aside in quarantine/");
                set_aside()
            }
            Err(error) => Err(error),
        }
    }
}

/// Anything up to the whole pause: edges that failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let share = getrandom::u32().unwrap_or(u32::MAX);
    pause.mul_f64(f64::from(share) / f64::from(u32::MAX))
}
