//! What the rule of sign health asks of a store, and what a store keeps of its answer.
//!
//! Owns how rows become [`Observations`], so that both stores give the same. An hour is one of UTC, and
//! belongs to the day in the province's time zone on which it starts: where the offset is not of whole hours,
//! it reaches into the next day by the rest.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::{ClickHouse, ClickHouseSettings, Kind, Settings, Sqlite, StoreError};
use crate::core::scan::Outcome;
use crate::core::{Code, Day, date_of, day_of};
use crate::health::{OWN_DAYS, Observations, Own, RECENT_DAYS, Recent, Report};

pub(super) const HOUR_MS: i64 = 60 * 60 * 1000;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// What was counted up to `now`, for [`examine`](crate::health::examine). Makes no tables: an embedded store
/// that does not exist yet has counted nothing; ClickHouse without its tables is an error.
pub fn observe(settings: &Settings, timezone: &TimeZone, now: Timestamp) -> Result<Observations, StoreError> {
    let until = Until::new(now, timezone);
    let mut gathering = Gathering::default();
    match settings.kind {
        Kind::Sqlite => {
            Sqlite::open_read_only(&settings.path)?
                .map_or(Ok(()), |store| store.observe(&until, timezone, &mut gathering))?;
        }
        Kind::ClickHouse => clickhouse(settings, timezone)?.observe(&until, &mut gathering)?,
    }
    Ok(gathering.finish())
}

/// Fills ClickHouse's hours by sign from what it has counted: all of them before the first computation, and
/// those of the last days at every later one, for an insert that began before there was a view to count it.
/// May be run at any time, and again after it broke off. The embedded store needs none of it: each batch
/// counts its own.
pub fn fill(settings: &Settings, timezone: &TimeZone, now: Timestamp) -> Result<(), StoreError> {
    match settings.kind {
        Kind::Sqlite => Ok(()),
        Kind::ClickHouse => clickhouse(settings, timezone)?.fill(&Until::new(now, timezone)),
    }
}

/// Keeps a report: in ClickHouse beside those of other days and edges, in the embedded store in place of the
/// last one. To keep the same once more changes nothing.
pub fn keep(
    settings: &Settings,
    timezone: &TimeZone,
    edge: &str,
    report: &Report,
    computed: Timestamp,
) -> Result<(), StoreError> {
    let computed_ms = computed.as_millisecond();
    match settings.kind {
        Kind::Sqlite => {
            let mut store = Sqlite::open(&settings.path)?;
            store.keep(report, computed_ms)?;
            // What is kept in a file that is not the store's any more is not kept.
            store.ensure_in_place()
        }
        Kind::ClickHouse => clickhouse(settings, timezone)?.keep(edge, report, computed_ms),
    }
}

/// ClickHouse as it is: its tables are the delivery's to make.
fn clickhouse(settings: &Settings, timezone: &TimeZone) -> Result<ClickHouse, StoreError> {
    ClickHouse::open(&ClickHouseSettings { apply_schema: false, ..settings.clickhouse.clone() }, timezone)
}

/// Up to when is observed, and what goes by it; in milliseconds since the Unix epoch.
pub(super) struct Until {
    /// Inclusive.
    pub now: i64,
    /// The hour of UTC that is not over: what is counted of it may be from after `now`.
    pub hour: i64,
    /// The same in the province's time zone.
    pub local_hour: i64,
    /// The start of the hour, in the province's time zone, [`RECENT_DAYS`] before.
    pub recent: i64,
    /// The start of a month in the province's time zone, a year ago or up to 13 months.
    pub year: i64,
}

impl Until {
    pub fn new(now: Timestamp, timezone: &TimeZone) -> Self {
        let now = now.as_millisecond();
        let local_hour = |ms| {
            let offset = i64::from(timezone.to_offset(time(ms)).seconds()) * 1000;
            hour_of(ms + offset) - offset
        };
        let recent = now - i64::from(RECENT_DAYS) * DAY_MS;
        let year_ago = date_of(Days::new(timezone).of(now)).saturating_sub(Span::new().years(1));
        let year = start(year_ago.first_of_month(), timezone);
        Self { now, hour: hour_of(now), local_hour: local_hour(now), recent: local_hour(recent), year }
    }
}

/// A time that a scan can have; beyond the calendar's end there are none.
fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// When a date begins in a time zone.
pub(super) fn start(date: Date, timezone: &TimeZone) -> i64 {
    date.to_zoned_datetime(timezone.clone()).map_or(0, |start| start.timestamp().as_millisecond())
}

/// The start of the hour of UTC.
pub(super) const fn hour_of(ms: i64) -> i64 {
    ms - ms.rem_euclid(HOUR_MS)
}

/// Which day it is in a time zone, for times that mostly follow each other.
pub(super) struct Days<'a> {
    timezone: &'a TimeZone,
    /// The last day that was asked for, and where it begins and ends.
    last: (i64, i64, Day),
}

impl<'a> Days<'a> {
    pub const fn new(timezone: &'a TimeZone) -> Self {
        Self { timezone, last: (0, 0, 0) }
    }

    pub fn of(&mut self, ms: i64) -> Day {
        if !(self.last.0..self.last.1).contains(&ms) {
            let date = time(ms).to_zoned_datetime(self.timezone.clone()).date();
            let next = date.tomorrow().unwrap_or(date);
            self.last = (start(date, self.timezone), start(next, self.timezone), day_of(date));
        }
        self.last.2
    }
}

/// A store's rows, in any order, on their way to being observations.
#[derive(Default)]
pub(super) struct Gathering {
    everybody: BTreeMap<Day, u64>,
    /// Of each code its hours by day, and its last headline scan.
    own: HashMap<Code, (BTreeMap<Day, u8>, i64)>,
    recent: Vec<Recent>,
}

impl Gathering {
    /// Adds hours with a headline scan of one code on one day, each hour once, and the last such scan. What
    /// is no code no sign has.
    pub fn hours(&mut self, code: &str, day: Day, hours: u8, last_ms: i64) {
        let Ok(code) = code.parse::<Code>() else { return };
        *self.everybody.entry(day).or_default() += u64::from(hours);
        let (days, last) = self.own.entry(code).or_insert((BTreeMap::new(), last_ms));
        *last = last_ms.max(*last);
        let own = days.entry(day).or_default();
        *own = own.saturating_add(hours);
        // At once: ten years of a sign are not kept to be thrown away at the end.
        let first = days.last_key_value().map_or(day, |(newest, _)| newest - OWN_DAYS);
        while days.first_key_value().is_some_and(|(day, _)| *day < first) {
            days.pop_first();
        }
    }

    /// Adds scans of one code with one outcome, found or retired, from one country.
    pub fn recent(&mut self, code: &str, outcome: &str, country: &str, scans: u64) {
        let Ok(code) = code.parse() else { return };
        let is_retired = outcome == Outcome::Retired.as_str();
        self.recent.push(Recent { code, is_retired, country: country.to_owned(), scans });
    }

    /// All of it, in order.
    pub fn finish(mut self) -> Observations {
        self.recent.sort_by(|a, b| (a.code, a.is_retired, &a.country).cmp(&(b.code, b.is_retired, &b.country)));
        let own = |(code, (days, last_ms)): (Code, (BTreeMap<Day, u8>, i64))| {
            (code, Own { days: days.into_iter().collect(), last_ms })
        };
        Observations { everybody: self.everybody, own: self.own.into_iter().map(own).collect(), recent: self.recent }
    }
}
