//! Time, measured in everybody else's traffic.
//!
//! Owns which days count: those on which anybody scanned anything. A day on which nobody did (an outage
//! of the edge, of its line or of the power) is cut from every clock, so it changes nothing. One unit of
//! exposure is an average day: the traffic of all other signs that day, over their mean of the [`MEAN`]
//! days up to it. A factor on everybody's traffic that is always the same so cancels out exactly.

use std::collections::BTreeMap;
use std::ops::Range;

use super::rate::{Posterior, Prior};
use super::{Day, HALF_LIFE, MEMORY, Own};

/// Days of the mean that a day's traffic is compared with: a quarter of a year, so that growth and seasons
/// cancel out.
pub const MEAN: usize = 91;

/// The days that count, and everybody's hours with a scan on them.
pub struct Clock {
    today: Day,
    days: Vec<Day>,
    /// Of the days before each, and of all.
    sums: Vec<u64>,
    /// By age in days.
    weights: Vec<f64>,
}

impl Clock {
    /// Of what was counted up to today.
    pub fn new(everybody: &BTreeMap<Day, u64>, today: Day) -> Self {
        let counted = everybody.range(..=today).filter(|(_, hours)| **hours > 0);
        let days = counted.clone().map(|(day, _)| *day).collect();
        let sums = std::iter::once(0).chain(counted.scan(0, |sum, (_, hours)| {
            *sum += hours;
            Some(*sum)
        }));
        let weights = (0..MEMORY).map(|age| 0.5_f64.powf(f64_of(age as u64) / HALF_LIFE)).collect();
        Self { today, days, sums: sums.collect(), weights }
    }

    /// The day as of which signs are judged.
    pub const fn today(&self) -> Day {
        self.today
    }

    /// How many days count.
    pub const fn len(&self) -> usize {
        self.days.len()
    }

    /// Which day the `at`-th is.
    pub fn day(&self, at: usize) -> Day {
        self.days[at]
    }

    /// The first of the days that count which is not before a day.
    pub fn at(&self, day: Day) -> usize {
        self.days.partition_point(|other| *other < day)
    }

    /// How many days lie between the `last`-th and today, without either.
    pub fn whole_days_since(&self, last: usize) -> usize {
        self.at(self.today).saturating_sub(last + 1)
    }

    /// Puts what is known of one sign beside it. What was before it was mounted was another plate's.
    pub fn history<'c>(&'c self, own: &Own, mounted: Option<Day>) -> History<'c> {
        let mut sum = 0;
        let since = mounted.unwrap_or(Day::MIN);
        let mut scanned: Vec<(usize, u64, u64)> = Vec::with_capacity(own.days.len());
        for &(day, hours) in own.days.iter().filter(|(day, hours)| *day >= since && *hours > 0) {
            let at = self.at(day);
            if self.days.get(at) == Some(&day) {
                scanned.push((at, sum, hours.into()));
                sum += u64::from(hours);
            }
        }
        // Where the day of mounting is not known, the first scan shows that it hung; it says nothing of
        // how often it is scanned.
        let begins = match (mounted, scanned.first()) {
            (Some(mounted), _) => self.at(mounted),
            (None, Some(first)) => first.0 + 1,
            (None, None) => 0,
        };
        History { clock: self, scanned, sum, begins, last_ms: own.last_ms }
    }

    fn everybody(&self, days: &Range<usize>) -> u64 {
        self.sums[days.end] - self.sums[days.start]
    }
}

/// One sign's scans, by the clock.
pub struct History<'c> {
    clock: &'c Clock,
    /// Day, its hours before that day, its hours on it; in order.
    scanned: Vec<(usize, u64, u64)>,
    sum: u64,
    begins: usize,
    last_ms: i64,
}

impl<'c> History<'c> {
    /// The clock that it goes by.
    pub const fn clock(&self) -> &'c Clock {
        self.clock
    }

    /// The days on which it was scanned, hours before, and hours.
    pub fn scanned(&self) -> &[(usize, u64, u64)] {
        &self.scanned
    }

    /// The last day on which it was scanned.
    pub fn last(&self) -> Option<usize> {
        self.scanned.last().map(|day| day.0)
    }

    /// The last scan, in milliseconds since the Unix epoch.
    pub const fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// The first day on which a scan would have counted.
    pub const fn begins(&self) -> usize {
        self.begins
    }

    /// Its hours on one day.
    pub fn hours(&self, at: usize) -> u64 {
        self.own(&(at..at + 1))
    }

    fn own(&self, days: &Range<usize>) -> u64 {
        let before = |at| {
            let index = self.scanned.partition_point(|day| day.0 < at);
            self.scanned.get(index).map_or(self.sum, |day| day.1)
        };
        before(days.end) - before(days.start)
    }

    /// Everybody else's hours.
    fn others(&self, days: &Range<usize>) -> u64 {
        self.clock.everybody(days).saturating_sub(self.own(days))
    }

    /// Whether anybody else was scanned in the days that the last mean is made of.
    pub fn has_others(&self) -> bool {
        let end = self.clock.len();
        self.others(&(end.saturating_sub(MEAN)..end)) > 0
    }

    /// How many average days a range of days was.
    pub fn exposure(&self, days: Range<usize>) -> f64 {
        days.fold(0.0, |sum, at| {
            let mean_of = (at + 1).saturating_sub(MEAN)..at + 1;
            let usual = self.others(&mean_of);
            // One division of whole numbers: a factor on all of them changes not a bit of it.
            sum + if usual == 0 {
                0.0
            } else {
                f64_of(self.others(&(at..at + 1)) * mean_of.len() as u64) / f64_of(usual)
            }
        })
    }

    /// Hours and exposure of the days before `end` that are remembered, the older the less.
    pub fn remembered(&self, end: usize) -> (f64, f64) {
        let days = end.saturating_sub(MEMORY).max(self.begins)..end;
        days.fold((0.0, 0.0), |(hours, exposure), at| {
            let weight = self.clock.weights[end - 1 - at];
            (hours + weight * f64_of(self.hours(at)), exposure + weight * self.exposure(at..at + 1))
        })
    }

    /// Its rate, by what was known before the day `end`.
    pub fn rate(&self, prior: &Prior, end: usize) -> Posterior {
        let (hours, exposure) = self.remembered(end);
        prior.posterior(hours, exposure)
    }
}

/// Counts of hours are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of hours")]
pub fn f64_of(count: u64) -> f64 {
    count as f64
}
