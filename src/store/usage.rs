//! Which signs are used, when, in which language: the questions of `waypost usage`.
//!
//! Owns the counting. The store is asked for figures by code, or by hour of the
//! province's time zone, or by one column; names come from the registry, so a renamed
//! street keeps its history.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::params;
use serde::Serialize;

use super::sqlite::{Sqlite, away};
use super::{ClickHouse, ClickHouseSettings, Kind, Settings, StoreError};
use crate::core::Code;
use crate::registry::{PlaceRef, Registry};

/// What the rows of an answer stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// One mounted plate, by its code
    Sign,
    /// Street, relic or site
    Place,
    /// Commune or ward
    Area,
    /// Day in the configured time zone
    Day,
    /// Hour of a day in the configured time zone
    Hour,
    /// Primary language asked for
    Lang,
    /// Country of the visitor's address
    Country,
    /// Scanner or browser
    App,
}

impl By {
    /// The word on the command line, and the name of the first column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Place => "place",
            Self::Area => "area",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Lang => "lang",
            Self::Country => "country",
            Self::App => "app",
        }
    }
}

/// One question.
#[derive(Debug, Clone)]
pub struct Question {
    /// What the rows stand for.
    pub by: By,
    /// Inclusive.
    pub from: Option<Timestamp>,
    /// Exclusive.
    pub to: Option<Timestamp>,
    /// Also list what the registry has and nobody scanned.
    pub silent: bool,
}

/// The figures of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// The headline: by a person, and not a repeat.
    pub scans: u64,
    /// By a person, within the repeat window of another.
    pub repeats: u64,
    /// By a bot, or a browser that fetched ahead.
    pub bots: u64,
    /// Everything answered with a target; the sum of the others.
    pub all: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.scans += other.scans;
        self.repeats += other.repeats;
        self.bots += other.bots;
        self.all += other.all;
    }
}

/// One row: what it stands for, a name to read, its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The sign's code, the place's identifier, the day, …
    pub key: String,
    /// The place's name, where there is one.
    pub name: String,
    /// Its figures.
    pub tally: Tally,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Times in their order; everything else by scans, most first.
    pub rows: Vec<Row>,
    /// All of them together.
    pub total: Tally,
}

impl Usage {
    /// Asks the configured store. One that does not exist yet has counted nothing.
    pub fn ask(
        settings: &Settings,
        question: &Question,
        registry: &Registry,
        timezone: &TimeZone,
    ) -> Result<Self, StoreError> {
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        let add = |key: String, tally| {
            let key = match question.by {
                By::Place => place_of(registry, &key).map_or(String::new(), |place| place.id().to_owned()),
                By::Area => place_of(registry, &key).map_or(String::new(), |place| place.area().to_owned()),
                By::Day | By::Hour => local(&key, timezone, question.by),
                _ => key,
            };
            tallies.entry(key).or_default().add(tally);
        };
        match settings.kind {
            Kind::Sqlite => {
                Sqlite::open_read_only(&settings.path)?.map_or(Ok(()), |store| store.tallies(question, add))?;
            }
            Kind::ClickHouse => {
                let only_ask = ClickHouseSettings { apply_schema: false, ..settings.clickhouse.clone() };
                ClickHouse::open(&only_ask, timezone)?.tallies(question, add)?;
            }
        }
        if question.silent {
            for sign in registry.signs() {
                let key = match question.by {
                    By::Sign => sign.code().to_string(),
                    By::Place => sign.place().id().to_owned(),
                    By::Area => sign.place().area().to_owned(),
                    _ => break,
                };
                tallies.entry(key).or_default();
            }
        }
        let mut total = Tally::default();
        let mut rows: Vec<Row> = Vec::with_capacity(tallies.len());
        for (key, tally) in tallies {
            total.add(tally);
            let name = match question.by {
                By::Sign => place_of(registry, &key).map(PlaceRef::name),
                By::Place => registry.place(&key).map(PlaceRef::name),
                _ => None,
            };
            rows.push(Row { name: name.unwrap_or("").to_owned(), key, tally });
        }
        if !matches!(question.by, By::Day | By::Hour) {
            rows.sort_by_key(|row| Reverse((row.tally.scans, row.tally.all)));
        }
        Ok(Self { rows, total })
    }
}

fn place_of<'r>(registry: &'r Registry, code: &str) -> Option<PlaceRef<'r>> {
    Some(registry.sign(code.parse::<Code>().ok()?)?.place())
}

/// A quarter of an hour, counted from the epoch, as its day or hour in a time zone.
/// (No zone in use is offset by less than a quarter.)
fn local(quarter: &str, timezone: &TimeZone, by: By) -> String {
    let ms = quarter.parse::<i64>().unwrap_or(0).saturating_mul(QUARTER_MS);
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned_datetime(timezone.clone());
    let format = if by == By::Day { "%Y-%m-%d" } else { "%Y-%m-%dT%H:00%:z" };
    time.strftime(format).to_string()
}

const QUARTER_MS: i64 = 15 * 60 * 1000;

impl Sqlite {
    fn tallies(&self, question: &Question, mut each: impl FnMut(String, Tally)) -> Result<(), StoreError> {
        let key = match question.by {
            By::Sign | By::Place | By::Area => "code",
            By::Day | By::Hour => "CAST(ts / 900000 AS TEXT)",
            By::Lang => "lang",
            By::Country => "country",
            By::App => "app",
        };
        let sql = format!(
            "SELECT {key} AS key, count(*),
                    count(*) FILTER (WHERE agent = 'person' AND repeat = 0),
                    count(*) FILTER (WHERE agent = 'person' AND repeat = 1),
                    count(*) FILTER (WHERE agent <> 'person')
             FROM scans WHERE outcome = 'found' AND ts >= ?1 AND ts < ?2 GROUP BY key"
        );
        let from = question.from.map_or(i64::MIN, Timestamp::as_millisecond);
        let to = question.to.map_or(i64::MAX, Timestamp::as_millisecond);
        let connection = &self.connection;
        let mut statement = connection.prepare(&sql).map_err(|error| away(&error))?;
        let mut rows = statement.query(params![from, to]).map_err(|error| away(&error))?;
        while let Some(row) = rows.next().map_err(|error| away(&error))? {
            let figure = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            let read = || {
                let tally = Tally { all: figure(1)?, scans: figure(2)?, repeats: figure(3)?, bots: figure(4)? };
                Ok((row.get(0)?, tally))
            };
            let (key, tally) = read().map_err(|error| away(&error))?;
            each(key, tally);
        }
        Ok(())
    }
}
