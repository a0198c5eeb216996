//! Days as numbers.

use jiff::civil::Date;
use jiff::{Span, Unit};

/// Days since 1 January 1970, in the province's time zone.
pub type Day = i32;

/// The first [`Day`].
const EPOCH: Date = Date::constant(1970, 1, 1);

/// The day of a date.
#[must_use]
pub fn day_of(date: Date) -> Day {
    EPOCH.until((Unit::Day, date)).map_or(0, |span| span.get_days())
}

/// The date of a day; the calendar's first where there is none.
#[must_use]
pub fn date_of(day: Day) -> Date {
    let days = Span::new().try_days(day);
    days.and_then(|days| EPOCH.checked_add(days)).unwrap_or(Date::MIN)
}
