//! How the signs are: judged once a day, and at need.
//!
//! Owns the daily computation, on a thread of its own beside the delivery: what is counted comes from the
//! store, the rule of `health/` judges it, and the answer goes back to the store for dashboards. It opens the
//! store for itself, so that a store which takes long to answer holds up no delivery; only while the embedded store's
//! file is written does a batch wait. A computation that fails is
//! counted and tried again; the last answer stays until then.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use tokio::sync::watch::Receiver;

use super::sign_health::{Days, fill, keep, observe};
use super::{Settings, StoreError};
use crate::core::{Backoff, Code, lock};
use crate::health::{self, GroupKind, Report, Sign, State, Suspicion};
use crate::journal::Journal;
use crate::registry::Registry;

/// After the start, so that the delivery has made the tables and stored what a crash left.
const FIRST: Duration = Duration::from_secs(10);
/// Between tries of a computation that failed.
const RETRY: Backoff = Backoff::new(Duration::from_mins(1), Duration::from_hours(1));
/// How often the clock is looked at: the system's may be set, or stand still while the machine sleeps.
const LOOK: Duration = Duration::from_mins(1);
/// Nothing is due later than this, but by a clock that was set back meanwhile.
const LONGEST: Duration = Duration::from_hours(26);
/// A store that is still to get scans of this age is not judged by,
const BEHIND: Duration = Duration::from_mins(5);
/// for so long: a batch that it never takes must not put the computation off for ever.
const PATIENCE: Duration = Duration::from_hours(1);

/// The daily computation, as others see it: what it found last, and how to stop it.
#[derive(Debug, Default)]
pub struct Checkup {
    last: Mutex<Option<Checked>>,
    /// Computations that failed.
    pub failures: AtomicU64,
    stopping: Mutex<bool>,
    stop: Condvar,
}

/// The figures of one computation.
#[derive(Debug, Clone)]
pub struct Checked {
    /// When it was made.
    pub computed: Timestamp,
    /// Signs in use in each state.
    pub states: Vec<(State, usize)>,
    /// Signs that look copied, for each reason.
    pub suspicions: Vec<(Suspicion, usize)>,
    /// Groups of signs that are silent together.
    pub groups: Vec<(GroupKind, usize)>,
    /// Alarms of the last 30 days that ended with a scan, and signs that were ever scanned.
    pub ended_alarms: (usize, usize),
    /// Each sign in use; empty unless [`CheckupSettings::keeps_signs`].
    pub signs: Arc<HashMap<Code, Judged>>,
}

/// What was found of one sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// How it is.
    pub state: State,
    /// Its last headline scan since it was mounted, in milliseconds since the Unix epoch.
    pub last_ms: Option<i64>,
}

impl Checked {
    fn new(report: &Report, computed: Timestamp, keeps_signs: bool) -> Self {
        let signs = report.rows.iter().filter(|row| keeps_signs && row.is_in_use());
        let signs = signs.map(|row| (row.code, Judged { state: row.state, last_ms: row.since_ms }));
        Self {
            signs: Arc::new(signs.collect()),
            computed,
            states: State::ALL.map(|state| (state, report.count(state))).to_vec(),
            suspicions: Suspicion::ALL.map(|reason| (reason, report.suspected(reason))).to_vec(),
            groups: GroupKind::ALL.map(|kind| (kind, report.together(kind))).to_vec(),
            ended_alarms: report.ended_alarms(),
        }
    }
}

/// What a computation needs.
#[derive(Debug, Clone)]
pub struct CheckupSettings {
    /// The edge, whose answer it is.
    pub edge: String,
    /// Where scans are, and where the answer goes.
    pub store: Settings,
    /// In which days are days.
    pub timezone: TimeZone,
    /// False alarms promised for a sign and month.
    pub budget: f64,
    /// When it is made each day.
    pub at: Time,
    /// Whether what was found of each sign stays in memory (about 40 bytes each), for the console.
    pub keeps_signs: bool,
}

/// Judges all signs of a registry by what the store has counted up to a time. Changes nothing.
pub fn judge(
    settings: &Settings,
    registry: &Registry,
    timezone: &TimeZone,
    budget: f64,
    now: Timestamp,
) -> Result<Report, StoreError> {
    let seen = observe(settings, timezone, now)?;
    let signs: Vec<Sign> = registry.signs().map(Sign::from).collect();
    Ok(health::examine(&signs, &seen, Days::new(timezone).of(now.as_millisecond()), budget))
}

impl Checkup {
    /// Judges the signs a while after the start and then each day, on this thread, until
    /// [`Checkup::stop`] was called.
    pub fn run(&self, settings: &CheckupSettings, registry: &Receiver<Arc<Registry>>, journal: &Journal) {
        let mut retry = RETRY;
        let mut due = Timestamp::now() + FIRST;
        while self.wait_until(due) && self.wait_for_the_store(journal) {
            let registry = registry.borrow().clone();
            let checked = check(settings, &registry);
            due = match &checked {
                Ok(_) => {
                    retry.reset();
                    next(Timestamp::now(), settings.at, &settings.timezone)
                }
                Err(_) => Timestamp::now() + retry.next_pause(),
            };
            match checked {
                Ok(checked) => *lock(&self.last) = Some(checked),
                Err(error) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, again = %due, "the states of the signs can't be computed");
                }
            }
        }
    }

    /// Tells [`Checkup::run`] to end.
    pub fn stop(&self) {
        *lock(&self.stopping) = true;
        self.stop.notify_all();
    }

    /// What was found last.
    pub fn last(&self) -> Option<Checked> {
        lock(&self.last).clone()
    }

    fn wait_until(&self, due: Timestamp) -> bool {
        self.wait(|| {
            let left = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
            if left > LONGEST { Duration::ZERO } else { left }
        })
    }

    /// Waits while the store is catching up: signs whose scans are still in the journal would look silent.
    fn wait_for_the_store(&self, journal: &Journal) -> bool {
        let since = Instant::now();
        self.wait(|| {
            let is_behind = since.elapsed() < PATIENCE && age_of_backlog(journal) > BEHIND;
            if is_behind { LOOK } else { Duration::ZERO }
        })
    }

    /// Waits until nothing is left to wait for. Returns whether to go on; otherwise it is to end.
    fn wait(&self, left: impl Fn() -> Duration) -> bool {
        let mut stopping = lock(&self.stopping);
        while !*stopping {
            let left = left();
            if left.is_zero() {
                return true;
            }
            let waited = self.stop.wait_timeout(stopping, left.min(LOOK));
            stopping = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

/// How old the oldest scan is that waits for its delivery.
fn age_of_backlog(journal: &Journal) -> Duration {
    let now_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    journal.counts().oldest_ms.map_or(Duration::ZERO, |since| Duration::from_millis(now_ms.saturating_sub(since)))
}

/// One computation, and its way to the store.
fn check(settings: &CheckupSettings, registry: &Registry) -> Result<Checked, StoreError> {
    let CheckupSettings { store, timezone, budget, .. } = settings;
    let now = Timestamp::now();
    fill(store, timezone, now)?;
    let report = judge(store, registry, timezone, *budget, now)?;
    keep(store, timezone, &settings.edge, &report, now)?;
    let checked = Checked::new(&report, now, settings.keeps_signs);
    let silent = report.count(State::Silent);
    tracing::info!(signs = report.rows.len(), silent, groups = report.groups.len(), "the signs were judged");
    Ok(checked)
}

/// The next time that a clock shows `at`. On a day on which it shows it never, or twice, the time that
/// jiff calls compatible.
fn next(now: Timestamp, at: Time, timezone: &TimeZone) -> Timestamp {
    let today = now.to_zoned_datetime(timezone.clone()).date();
    let days = (0..=2).filter_map(|ahead| {
        let day = today.checked_add(ahead.days()).ok()?;
        Some(day.to_datetime(at).to_zoned_datetime(timezone.clone()).ok()?.timestamp())
    });
    days.into_iter().find(|time| *time > now).unwrap_or_else(|| now + Duration::from_hours(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_once_a_day_by_the_clock_on_the_wall() {
        let next = |now: &str, zone: &str| {
            let zone = TimeZone::get(zone).expect("a zone");
            next(now.parse().expect("a time"), Time::constant(2, 30, 0, 0), &zone).to_string()
        };
        // 02:30 in Lạng Sơn is 19:30 UTC.
        assert_eq!(next("2026-11-26T19:29:59Z", "Asia/Ho_Chi_Minh"), "2026-11-26T19:30:00Z");
        assert_eq!(next("2026-11-26T19:30:00Z", "Asia/Ho_Chi_Minh"), "2026-11-27T19:30:00Z");
        assert_eq!(next("2026-12-31T20:00:00Z", "Asia/Ho_Chi_Minh"), "2027-01-01T19:30:00Z");
        // A clock that goes from 02:00 to 03:00 on 29 March, and has 02:30 twice on 25 October.
        assert_eq!(next("2026-03-28T20:00:00Z", "Europe/Berlin"), "2026-03-29T01:30:00Z");
        assert_eq!(next("2026-03-29T02:00:00Z", "Europe/Berlin"), "2026-03-30T00:30:00Z");
        assert_eq!(next("2026-10-24T22:00:00Z", "Europe/Berlin"), "2026-10-25T00:30:00Z");
        assert_eq!(next("2026-10-25T00:30:00Z", "Europe/Berlin"), "2026-10-26T01:30:00Z");
    }
}
