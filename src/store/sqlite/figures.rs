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
use crate::system::pace;

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
    const ALL: [Self; 6] = [Self::Time, Self::Lang, Self::Country, Self::App, Self::SignByDay, Self::SignByMonth];

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
                pace::step();
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
    range: &Range<i64>,
    each: &mut impl FnMut(&str, Tally),
) -> rusqlite::Result<()> {
    let key = if kind == Kind::Time { "CAST(span AS TEXT)" } else { "key" };
    let sql = format!("SELECT {key}, scans, repeats, bots FROM figures WHERE kind = ?1 AND span >= ?2 AND span < ?3");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([kind as i64, range.start, range.end])?;
    while let Some(row) = rows.next()? {
        let figure = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let figures = [figure(1)?, figure(2)?, figure(3)?];
        let tally = Tally { scans: figures[0], repeats: figures[1], bots: figures[2], all: figures.iter().sum() };
        each(row.get_ref(0)?.as_str()?, tally);
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
    let sql =
        format!("SELECT {key}, agent = 'person', repeat FROM scans WHERE outcome = 'found' AND ts >= ?1 AND ts < ?2");
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use jiff::Timestamp;
    use uuid::Uuid;

    use super::super::{Sqlite, hours};
    use super::*;
    use crate::core::scan::{Agent, App, Channel, Client, Device, Origin, Os, Outcome, Scan};
    use crate::store::question::Question;
    use crate::store::{Batch, Limits};

    const NOW_MS: i64 = 1_795_230_000_000;
    /// One for each way to be answered.
    const BY: [By; 5] = [By::Sign, By::Day, By::Lang, By::Country, By::App];

    /// A file as version 2 left it, made of this one.
    const BACK: &str = "
        BEGIN;
        ALTER TABLE sign_hours RENAME TO hours;
        CREATE TABLE sign_hours (code TEXT NOT NULL, hour INTEGER NOT NULL, scans INTEGER NOT NULL,
                                 last INTEGER NOT NULL, PRIMARY KEY (code, hour)) STRICT, WITHOUT ROWID;
        INSERT INTO sign_hours SELECT code, hour, scans, last FROM hours;
        DROP TABLE hours;
        DROP TABLE figures;
        DROP TABLE uncounted;
        CREATE TABLE uncounted (batch INTEGER NOT NULL, seq INTEGER NOT NULL, until INTEGER NOT NULL) STRICT;
        PRAGMA user_version = 2;
        COMMIT;";

    struct Random(u64);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            // Knuth's multiplier; the low bits are not random.
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 16) % end
        }

        fn of<T: Copy>(&mut self, all: &[T]) -> T {
            all[usize::try_from(self.below(all.len() as u64)).expect("a small number")]
        }

        /// Within 100 days, often right at the turn of a quarter of an hour or of a day.
        fn time(&mut self) -> i64 {
            let turn = self.of(&[QUARTER_MS, HOUR_MS, DAY_MS, 1]);
            let ms = NOW_MS - self.below(100 * 86_400_000).cast_signed();
            ms - ms % turn - self.of(&[0, 0, 1])
        }

        fn scan(&mut self) -> Scan {
            let word = |text: &str| text.try_into().expect("short");
            Scan {
                ts_ms: self.time(),
                generation: 1,
                code: self.of(&["A1", "B2", "C3", "D4"]).parse().expect("a code"),
                outcome: self.of(&[Outcome::Found, Outcome::Found, Outcome::Found, Outcome::Retired, Outcome::Unknown]),
                channel: Channel::Qr,
                client: Client {
                    device: Device::Phone,
                    os: Os::Android,
                    app: self.of(&[App::Zalo, App::Safari]),
                    agent: self.of(&[Agent::Person, Agent::Person, Agent::Bot, Agent::Prefetch]),
                },
                repeat: self.below(4) == 0,
                lang: word(self.of(&["vi", "zh", ""])),
                served: word("vi"),
                origin: Origin { country: self.of(&["VN", "CN", ""]).try_into().expect("short"), ..Origin::default() },
            }
        }

        fn batch(&mut self) -> Batch {
            let scans = (0..100 + u32::try_from(self.below(800)).expect("few")).map(|seq| (seq, self.scan()));
            Batch { id: Uuid::now_v7(), edge: "edge-1".to_owned(), scans: scans.collect() }
        }
    }

    fn number(store: &Sqlite, sql: &str) -> i64 {
        store.connection.query_row(sql, [], |row| row.get(0)).expect("a number")
    }

    /// The answers to a question, by the store and by its scans alone.
    fn answers(store: &Sqlite, by: By, range: Range<i64>) -> [BTreeMap<String, Tally>; 2] {
        let mut answers = [BTreeMap::new(), BTreeMap::new()];
        let add = |answer: &mut BTreeMap<String, Tally>, key: &str, more: Tally| {
            let tally = answer.entry(key.to_owned()).or_default();
            let sum = |of: fn(&Tally) -> u64| of(tally) + of(&more);
            *tally = Tally {
                scans: sum(|tally| tally.scans),
                repeats: sum(|tally| tally.repeats),
                bots: sum(|tally| tally.bots),
                all: sum(|tally| tally.all),
            };
        };
        let time = |ms| Timestamp::from_millisecond(ms).ok();
        let question = Question { by, from: time(range.start), to: time(range.end), silent: false };
        let [by_the_store, by_scans] = &mut answers;
        store.tallies(&question, |key, tally| add(by_the_store, key, tally)).expect("an answer");
        of_scans(&store.connection, by, &range, &mut |key, tally| add(by_scans, key, tally)).expect("an answer");
        answers
    }

    #[track_caller]
    fn assert_true(store: &Sqlite, seed: u64, random: &mut Random) {
        let mut ends = [random.time(), random.time()];
        ends.sort_unstable();
        let range = random.of(&[(i64::MIN, i64::MAX), (i64::MIN, ends[1]), (ends[0], i64::MAX)]);
        for range in [range.0..range.1, ends[0]..ends[1]] {
            for by in BY {
                let [by_the_store, by_scans] = answers(store, by, range.clone());
                assert_eq!(by_the_store, by_scans, "seed {seed}: by {} in {range:?}", by.as_str());
            }
        }
        // Hours are kept when their scans are dropped.
        let gone = first_whole_hour(store);
        let until = super::super::counting::hours_until(&store.connection).expect("a time");
        let hours = |until: i64| {
            let mut statement = store.connection.prepare(&hours::select(until)).expect("a statement");
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            let rows = statement.query_map([gone, until, i64::MAX], row).expect("rows");
            rows.collect::<Result<Vec<(String, i64, i64, i64)>, _>>().expect("hours")
        };
        let (mut counted, mut scanned) = (hours(until), hours(i64::MIN));
        counted.sort_unstable();
        scanned.sort_unstable();
        assert_eq!(counted, scanned, "seed {seed}: hours from {gone} on");
    }

    /// The first hour of which nothing was dropped.
    fn first_whole_hour(store: &Sqlite) -> i64 {
        let gone = super::super::room::gone_before(&store.connection).expect("a time");
        if gone == i64::MIN { gone } else { (gone - 1).div_euclid(HOUR_MS) * HOUR_MS + HOUR_MS }
    }

    fn headline(store: &Sqlite) -> i64 {
        number(store, &format!("SELECT count(*) FROM scans WHERE {}", super::super::tables::HEADLINE))
    }

    fn reopen(store: Sqlite, path: &Path, before: &str) -> Sqlite {
        drop(store);
        Connection::open(path).and_then(|file| file.execute_batch(before)).expect("a file");
        Sqlite::open(path).expect("a store")
    }

    #[test]
    fn questions_are_answered_as_the_scans_alone_answer_them_whatever_became_of_the_file() {
        let mut worth = [0; 2];
        for seed in [2, Uuid::now_v7().as_u64_pair().0] {
            let mut random = Random(seed);
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("waypost.db");
            let mut store = Sqlite::open(&path).expect("a store");
            let mut sent: Vec<Batch> = Vec::new();
            let (mut dropped, mut upgrades) = (0, 0);
            for _ in 0..60 {
                match random.below(9) {
                    0..=2 => {
                        let whole = random.batch();
                        let is_damaged = random.below(3) == 0;
                        let gaps = whole.scans.iter().filter(|_| !is_damaged || random.below(3) > 0).copied();
                        let batch = Batch { scans: gaps.collect(), ..whole.clone() };
                        store.insert(&batch).expect("stored");
                        sent.push(whole);
                    }
                    // Again, or as a whole for the first time.
                    3 | 4 if !sent.is_empty() => {
                        let at = usize::try_from(random.below(sent.len() as u64)).expect("few");
                        store.insert(&sent[at]).expect("stored");
                    }
                    5 => {
                        // Nothing is dropped before all is counted.
                        while random.below(8) > 0 && store.count_older().expect("counted") {}
                        let before = headline(&store);
                        let days = 70 + random.below(28);
                        let keep = (random.below(2) == 0).then(|| Duration::from_hours(24 * days));
                        let max_size = (random.below(4) == 0).then_some(400_000);
                        let limits = Limits { keep, max_size, ..Limits::default() };
                        let now = Timestamp::from_millisecond(NOW_MS).expect("a time");
                        store.make_room(&limits, now).expect("a step");
                        dropped += before - headline(&store);
                    }
                    6 => store = reopen(store, &path, ""),
                    7 if number(&store, "SELECT count(*) FROM uncounted") == 0 => {
                        store = reopen(store, &path, BACK);
                        upgrades += 1;
                    }
                    _ => drop(store.count_older().expect("counted")),
                }
                assert_true(&store, seed, &mut random);
            }
            while store.count_older().expect("counted") {}
            assert_true(&store, seed, &mut random);
            let all = number(&store, "SELECT sum(scans) FROM sign_hours");
            assert_eq!(all, headline(&store) + dropped, "seed {seed}");
            let gone = super::super::room::gone_before(&store.connection).expect("a time");
            let ends = format!("(day + 1) * {DAY_MS} <= {gone}");
            let left = number(
                &store,
                &format!("SELECT count(*) FROM (SELECT span AS day FROM figures WHERE kind = 4) WHERE {ends}"),
            );
            // A later batch may have brought some back; a drop that was broken off leaves scans longer than figures.
            let days = format!("SELECT DISTINCT code, ts / {DAY_MS} AS day FROM scans WHERE outcome = 'found'");
            let back = number(&store, &format!("SELECT count(*) FROM ({days}) WHERE {ends}"));
            assert!(left <= back, "seed {seed}: figures go with the scans: {left} days, {back} with scans");
            worth = [worth[0] + dropped, worth[1] + upgrades];
        }
        assert!(worth[0] > 0 && worth[1] > 0, "the test is worth its drops and upgrades: {worth:?}");
    }

    #[test]
    fn a_long_time_is_answered_from_few_spans() {
        let split = |range| split(range, 5, 10);
        assert_eq!(split(12..48), (12..20, 2..4, 40..48));
        assert_eq!(split(20..40), (20..20, 2..4, 40..40));
        assert_eq!(split(3..31), (3..10, 1..3, 30..31), "nothing from before 5 but from the scans");
        assert_eq!(split(12..19), (12..19, 0..0, 19..19));
        let (before, spans, behind) = super::split(i64::MIN..i64::MAX, i64::MIN, DAY_MS);
        assert!(before.end < -1 << 62 && behind.start > 1 << 62 && spans.contains(&0));
    }
}
