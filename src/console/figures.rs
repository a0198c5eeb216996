//! How the signs are used, as the store has counted it: kept in memory and renewed in the background, so that no page
//! waits for a store.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::core::{Code, lock};
use crate::health::State;
use crate::store::{self, Checkup, StoreError};

/// Days that a small chart shows.
pub const DAYS: usize = 30;
/// How old figures may be while somebody looks at pages,
const FRESH: Duration = Duration::from_mins(1);
/// and while nobody has for a while: of 20,000 signs that are scanned every hour they are 600,000 rows.
const QUIET: Duration = Duration::from_mins(15);

/// The figures, as of the last time that the store answered.
#[derive(Debug, Default)]
pub struct Figures {
    latest: Mutex<Arc<Snapshot>>,
    watch: Mutex<Watch>,
    changed: Condvar,
}

/// Whether somebody looks, and whether it is to go on.
#[derive(Debug, Default)]
struct Watch {
    asked: Option<Instant>,
    taken: Option<Instant>,
    stopping: bool,
}

/// The figures at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// When they were taken; `None`: not yet since the start.
    pub taken: Option<Timestamp>,
    /// The last of the days, in the registry's time zone.
    pub today: Option<Date>,
    /// Of signs that were scanned, or have a state.
    pub signs: HashMap<Code, SignFigures>,
    /// Whether states of signs have been computed since the start; without them nothing is called silent.
    pub has_states: bool,
    /// Why there are no newer ones, as the store says.
    pub problem: Option<String>,
}

/// Of one sign.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignFigures {
    /// Headline scans on each of the last days, the oldest first; the last is today.
    pub days: [u32; DAYS],
    /// Its last headline scan. Where the store counts by the hour only, as of the last daily computation.
    pub last: Option<Timestamp>,
    /// How it is.
    pub state: Option<State>,
}

impl Figures {
    /// The latest. Never waits; has them renewed if they are old.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        lock(&self.watch).asked = Some(Instant::now());
        self.changed.notify_all();
        lock(&self.latest).clone()
    }

    /// Renews them on this thread when it is time, until [`Self::stop`].
    pub fn run(&self, settings: &store::Settings, timezone: &TimeZone, checkup: &Checkup) {
        let _breaks_off = BreaksOff(self);
        while self.wait_until_due() {
            let next = match take(settings, timezone, checkup) {
                Ok(next) => next,
                Err(error) => {
                    let latest = lock(&self.latest).clone();
                    Snapshot { problem: Some(error.to_string()), ..Snapshot::clone(&latest) }
                }
            };
            *lock(&self.latest) = Arc::new(next);
            lock(&self.watch).taken = Some(Instant::now());
        }
    }

    /// Ends [`Self::run`], once a question to the store is answered.
    pub fn stop(&self) {
        lock(&self.watch).stopping = true;
        self.changed.notify_all();
    }

    /// Whether to go on.
    fn wait_until_due(&self) -> bool {
        let mut watch = lock(&self.watch);
        loop {
            if watch.stopping {
                return false;
            }
            let left = watch.left();
            if left.is_zero() {
                return true;
            }
            watch = self.changed.wait_timeout(watch, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Where the thread panics, pages say that there are no newer figures.
struct BreaksOff<'a>(&'a Figures);

impl Drop for BreaksOff<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let latest = Snapshot::clone(&lock(&self.0.latest));
            let problem = Some("broke off; the log says why, and a restart begins it anew".to_owned());
            *lock(&self.0.latest) = Arc::new(Snapshot { problem, ..latest });
        }
    }
}

impl Watch {
    /// How long they are still good.
    fn left(&self) -> Duration {
        let Some(taken) = self.taken else { return Duration::ZERO };
        let is_looked_at = self.asked.is_some_and(|asked| asked.elapsed() < QUIET);
        (if is_looked_at { FRESH } else { QUIET }).saturating_sub(taken.elapsed())
    }
}

/// Asks the store, and the last daily computation.
fn take(settings: &store::Settings, timezone: &TimeZone, checkup: &Checkup) -> Result<Snapshot, StoreError> {
    let now = Timestamp::now();
    let today = now.to_zoned_datetime(timezone.clone()).date();
    let mut signs: HashMap<Code, SignFigures> = HashMap::new();
    store::daily(settings, timezone, today, DAYS, |daily| {
        let Ok(code) = daily.code.parse() else { return };
        let sign = signs.entry(code).or_default();
        let day = &mut sign.days[DAYS - 1 - daily.days_ago];
        *day = day.saturating_add(u32::try_from(daily.scans).unwrap_or(u32::MAX));
        sign.last = sign.last.max(daily.last_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()));
    })?;
    let checked = checkup.last();
    for (code, judged) in checked.iter().flat_map(|checked| checked.signs.iter()) {
        let sign = signs.entry(*code).or_default();
        sign.state = Some(judged.state);
        sign.last = sign.last.max(judged.last_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()));
    }
    let has_states = checked.is_some();
    Ok(Snapshot { taken: Some(now), today: Some(today), signs, has_states, problem: None })
}

impl Snapshot {
    /// Headline scans of the last 30 days.
    pub fn scans(&self, code: Code) -> u64 {
        self.signs.get(&code).map_or(0, |sign| sign.days.iter().map(|&scans| u64::from(scans)).sum())
    }
}
