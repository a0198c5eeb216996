//! What was found, counted by spans of time beside the scans: the answers of `waypost usage`.
//!
//! Owns `figures`, and how a question is put together from it. The scans stay the truth: a question takes whole
//! spans from here, and counts what is left at its two ends in `scans`. It asks for nothing from before the last
//! scan that was dropped, so a span of which some scans are gone is never used, and goes with the last of them.
//! Who counts, and when, is `counting.rs`'s.

use std::collections::BTreeMap;
use std::ops::Range;

use hashbrown::HashMap;
use rusqlite::{Connection, params};

use crate::store::question::{By, QUARTER_MS, Tally};
use crate::store::sign_health::{DAY_MS, HOUR_MS};

/// What figures are of. Its number is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// All that was found in a quarter of an hour; the key is empty.
    Time = 0,
    /// One language in an hour.
    Lang = 1,
    /// One country in an hour.
    Country = 2,
    /// One application in an hour.
    App = 3,
    /// One code in a day of UTC.
    SignByDay = 4,
    /// One code in 32 days: 20,000 signs have 220,000 rows a year, and by day 5 million.
    SignByMonth = 5,
}

impl Kind {
    const ALL: [Self; 6] =
        [Self::Time, Self::Lang, Self::Country, Self::App, Self::SignByDay, Self::SignByMonth];

    /// The kinds that answer a question, the longest span first.
    const fn of(by: By) -> &'static [Self] {
        match by {
            By::Sign | By::Place | By::Area => &[Self::SignByMonth, Self::SignByDay],
            By::Day | By::Hour => &[Self::Time],
            By::Lang => &[Self::Lang],
            By::Country => &[Self::Country],
            By::App => &[Self::App],
        }
    }

    /// Milliseconds of a span. They are counted from the Unix epoch.
    const fn span(self) -> i64 {
        match self {
            Self::Time => QUARTER_MS,
            Self::Lang | Self::Country | Self::App => HOUR_MS,
            Self::SignByDay => DAY_MS,
            Self::SignByMonth => 32 * DAY_MS,
        }
    }
}

/// Which of the figures of a [`Tally`] a scan that was found adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Scan,
    Repeat,
    Bot,
}

impl Figure {
    /// By who scanned, and whether it was a repeat.
    pub const fn new(is_person: bool, is_repeat: bool) -> Self {
        match (is_person, is_repeat) {
            (true, false) => Self::Scan,
            (true, true) => Self::Repeat,
            (false, _) => Self::Bot,
        }
    }
}

/// A scan that was found, as far as figures go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub ts_ms: i64,
    pub code: &'a str,
    pub lang: &'a str,
    pub country: &'a str,
    pub app: &'a str,
    pub figure: Figure,
}

/// Figures that are not in the table yet: of each kind and span, by key.
#[derive(Debug, Default)]
pub(super) struct Figures(BTreeMap<(Kind, i64), HashMap<String, [i64; 3], foldhash::fast::FixedState>>);

impl Figures {
    pub fn count(&mut self, found: &Found<'_>) {
        for kind in Kind::ALL {
            let key = match kind {
                Kind::Time => "",
                Kind::Lang => found.lang,
                Kind::Country => found.country,
                Kind::App => found.app,
                Kind::SignByDay => found.code,
                // Put together from the days.
                Kind::SignByMonth => continue,
            };
            let span = self.0.entry((kind, found.ts_ms.div_euclid(kind.span()))).or_default();
            span.entry_ref(key).or_default()[found.figure as usize] += 1;
        }
    }

    /// Adds them to the table.
    pub fn write(mut self, connection: &Connection) -> rusqlite::Result<()> {
        let days_of_month = Kind::SignByMonth.span() / Kind::SignByDay.span();
        let days = self.0.range((Kind::SignByDay, i64::MIN)..(Kind::SignByMonth, i64::MIN));
        let mut months: BTreeMap<(Kind, i64), HashMap<String, [i64; 3], _>> = BTreeMap::new();
        for ((_, day), signs) in days {
            let month = months.entry((Kind::SignByMonth, day.div_euclid(days_of_month))).or_default();
            for (code, figures) in signs {
                let sum: &mut [i64; 3] = month.entry_ref(code.as_str()).or_default();
                *sum = std::array::from_fn(|at| sum[at] + figures[at]);
            }
        }
        self.0.append(&mut months);
        let mut insert = connection.prepare_cached(
            "INSERT INTO figures (kind, span, key, scans, repeats, bots) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (kind, span, key) DO UPDATE SET
                 scans = scans + excluded.scans, repeats = repeats + excluded.repeats, bots = bots + excluded.bots",
        )?;
        for ((kind, span), keys) in self.0 {
            // In the order of the table: neighbours are on the same page.
            let mut keys: Vec<_> = keys.into_iter().collect();
            keys.sort_unstable();
            for (key, [scans, repeats, bots]) in keys {
                insert.execute(params![kind as i64, span, key, scans, repeats, bots])?;
            }
        }
        Ok(())
    }
}

/// Drops the spans that end at a time or before.
pub(super) fn forget(connection: &Connection, until: i64) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM figures WHERE kind = ?1 AND span < ?2")?;
    for kind in Kind::ALL {
        delete.execute([kind as i64, until.div_euclid(kind.span())])?;
    }
    Ok(())
}

/// The figures of a question about a range of times: from the spans that begin at `counted_from` or later, and
/// else from the scans.
pub(super) fn tallies(
    connection: &Connection,
    by: By,
    range: Range<i64>,
    counted_from: i64,
    each: &mut impl FnMut(&str, Tally),
) -> rusqlite::Result<()> {
    // What is still to be counted.
    let mut left = vec![range];
    for &kind in Kind::of(by) {
        let mut ends = Vec::new();
        for range in left {
            let (before, spans, behind) = split(range, counted_from, kind.span());
            if !spans.is_empty() {
                of_spans(connection, kind, &spans, each)?;
            }
            ends.extend([before, behind].into_iter().filter(|end| !end.is_empty()));
        }
        left = ends;
    }
    left.into_iter().try_for_each(|range| of_scans(connection, by, &range, each))
}

/// The spans that are wholly within a range of times and begin at `counted_from` or later; and what of the range is
/// before and behind them.
fn split(range: Range<i64>, counted_from: i64, span: i64) -> (Range<i64>, Range<i64>, Range<i64>) {
    let begin = range.start.max(counted_from);
    // Rounded up; what would be beyond the end of time is no span.
    let first = begin.div_euclid(span) + i64::from(begin.rem_euclid(span) > 0);
    let end = range.end.div_euclid(span);
    if first >= end {
        return (range.clone(), 0..0, range.end..range.end);
    }
    // Both are within the range.
    (range.start..first * span, first..end, end * span..range.end)
}

fn of_spans(
    connection: &Connection,
    kind: Kind,
    spans: &Range<i64>,
    each: &mut impl FnMut(&str, Tally),
) -> rusqlite::Result<()> {
    let key = if kind == Kind::Time { "CAST(span AS TEXT)" } else { "key" };
    let sql = format!(
        "SELECT {key}, scans, repeats, bots FROM figures WHERE kind = ?1 AND span >= ?2 AND span < ?3"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([kind as i64, spans.start, spans.end])?;
    while let Some(row) = rows.next()? {
        let figure = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let (scans, repeats, bots) = (figure(1)?, figure(2)?, figure(3)?);
        each(row.get_ref(0)?.as_str()?, Tally { scans, repeats, bots, all: scans + repeats + bots });
    }
    Ok(())
}

fn of_scans(
    connection: &Connection,
    by: By,
    range: &Range<i64>,
    each: &mut impl FnMut(&str, Tally),
) -> rusqlite::Result<()> {
    let key = match by {
        By::Sign | By::Place | By::Area => "code",
        By::Day | By::Hour => &format!("CAST(ts / {QUARTER_MS} AS TEXT)"),
        By::Lang => "lang",
        By::Country => "country",
        By::App => "app",
    };
    // Not grouped: SQLite would sort them.
    let sql = format!(
        "SELECT {key}, agent = 'person', repeat FROM scans WHERE outcome = 'found' AND ts >= ?1 AND ts < ?2"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([range.start, range.end])?;
    while let Some(row) = rows.next()? {
        let mut tally = Tally { all: 1, ..Tally::default() };
        *match Figure::new(row.get(1)?, row.get(2)?) {
            Figure::Scan => &mut tally.scans,
            Figure::Repeat => &mut tally.repeats,
            Figure::Bot => &mut tally.bots,
        } = 1;
        each(row.get_ref(0)?.as_str()?, tally);
    }
    Ok(())
}
