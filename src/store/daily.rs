//! Headline scans of each sign on each of the last days, for small charts.
//!
//! Owns the question and its days, which are those of the province's time zone.

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::sign_health::start;
use super::{ClickHouse, ClickHouseSettings, Kind, Settings, Sqlite, StoreError};

/// What the store has of one sign on one day, or some of it: figures of the same day add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daily {
    /// Canonical.
    pub code: String,
    /// Whole days before the last one that was asked for: 0 is that day.
    pub days_ago: usize,
    /// Headline scans.
    pub scans: u64,
    /// The last of them, in milliseconds since the Unix epoch; `None` where the store counts by the hour only.
    pub last_ms: Option<i64>,
}

/// Gives what was counted on each of `days` days up to `today`. Makes no tables: an embedded store that does not
/// exist yet has counted nothing; ClickHouse without its tables is an error.
pub fn daily(
    settings: &Settings,
    timezone: &TimeZone,
    today: Date,
    days: usize,
    mut each: impl FnMut(Daily),
) -> Result<(), StoreError> {
    let beginnings = Beginnings::new(today, days, timezone);
    match settings.kind {
        Kind::Sqlite => {
            Sqlite::open_read_only(&settings.path)?.map_or(Ok(()), |store| store.daily(&beginnings, &mut each))
        }
        Kind::ClickHouse => {
            let only_ask = ClickHouseSettings { apply_schema: false, ..settings.clickhouse.clone() };
            ClickHouse::open(&only_ask, timezone)?.daily(&beginnings, &mut each)
        }
    }
}

/// When each day begins, the first first, and after them the day after the last; milliseconds since the Unix epoch.
pub(super) struct Beginnings(Vec<i64>);

impl Beginnings {
    fn new(today: Date, days: usize, timezone: &TimeZone) -> Self {
        let ago = |days: usize| today.saturating_sub(i64::try_from(days).unwrap_or(0).days());
        let mut beginnings: Vec<i64> = (0..days).rev().map(|days| start(ago(days), timezone)).collect();
        beginnings.push(start(today.tomorrow().unwrap_or(today), timezone));
        Self(beginnings)
    }

    /// When the first of them begins.
    pub fn first(&self) -> i64 {
        self.0[0]
    }

    /// Days before the last in which a time is; `None` where it is in none of them.
    pub fn days_ago(&self, ms: i64) -> Option<usize> {
        let begun = self.0.partition_point(|&begin| begin <= ms);
        (1..self.0.len()).contains(&begun).then(|| self.0.len() - 1 - begun)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_time_is_in_the_day_of_the_time_zone() {
        let zone = TimeZone::get("Asia/Ho_Chi_Minh").expect("a zone");
        let today = jiff::civil::date(2026, 11, 26);
        let beginnings = Beginnings::new(today, 3, &zone);
        let days_ago = |text: &str| {
            let time: Timestamp = text.parse().expect("a time");
            beginnings.days_ago(time.as_millisecond())
        };
        assert_eq!(days_ago("2026-11-26T16:59:59Z"), Some(0));
        assert_eq!(days_ago("2026-11-25T17:00:00Z"), Some(0));
        assert_eq!(days_ago("2026-11-25T16:59:59Z"), Some(1));
        assert_eq!(days_ago("2026-11-23T17:00:00Z"), Some(2));
        assert_eq!((days_ago("2026-11-23T16:59:59Z"), days_ago("2026-11-26T17:00:00Z")), (None, None));
    }
}
