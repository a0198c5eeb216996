//! Which signs are used, when, in which language: the questions of `waypost usage`.
//!
//! Owns the counting. A store is asked for figures by code, by quarter of an hour, or by one
//! column; codes and quarters are put together here. Names come from the registry, so a renamed
//! street keeps its history.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use hashbrown::HashMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::limits::Gone;
use crate::core::Code;
use crate::registry::{PlaceRef, Registry};

/// Hours and days are put together from quarters of an hour: no time zone in use is offset by a
/// fraction of one. In milliseconds.
pub(super) const QUARTER_MS: i64 = 15 * 60 * 1000;

/// What each row of [`Usage`] stands for.
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
    /// Everything answered with a target or the page of its place; the sum of the others.
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

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Times in their order; everything else by scans, most first.
    pub rows: Vec<Row>,
    /// All of them together.
    pub total: Tally,
    /// What the question is about and the store no longer has.
    pub gone: Option<Gone>,
}

/// A store's figures on their way to being an answer.
pub(super) struct Counting<'a> {
    question: &'a Question,
    registry: &'a Registry,
    timezone: &'a TimeZone,
    /// By the store's key: of many figures there are few keys, and putting a code to its place takes long.
    tallies: HashMap<String, Tally, foldhash::fast::FixedState>,
}

impl<'a> Counting<'a> {
    /// Without any figures yet.
    pub fn new(question: &'a Question, registry: &'a Registry, timezone: &'a TimeZone) -> Self {
        Self { question, registry, timezone, tallies: HashMap::default() }
    }

    /// Adds figures under the store's key: a code where the rows are signs, places or areas, a
    /// quarter of an hour (its number since the Unix epoch) where they are times, else the row's own.
    pub fn add(&mut self, key: &str, tally: Tally) {
        self.tallies.entry_ref(key).or_default().add(tally);
    }

    /// The answer.
    pub fn finish(self) -> Usage {
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for (key, tally) in self.tallies {
            let key = match self.question.by {
                By::Place => place_of(self.registry, &key).map_or(String::new(), |place| place.id().to_owned()),
                By::Area => place_of(self.registry, &key).map_or(String::new(), |place| place.area().to_owned()),
                By::Day | By::Hour => local(&key, self.timezone, self.question.by),
                _ => key,
            };
            tallies.entry(key).or_default().add(tally);
        }
        if self.question.silent {
            for sign in self.registry.signs() {
                let key = match self.question.by {
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
            let name = match self.question.by {
                By::Sign => place_of(self.registry, &key).map(PlaceRef::name),
                By::Place => self.registry.place(&key).map(PlaceRef::name),
                _ => None,
            };
            rows.push(Row { name: name.unwrap_or("").to_owned(), key, tally });
        }
        if !matches!(self.question.by, By::Day | By::Hour) {
            rows.sort_by_key(|row| Reverse((row.tally.scans, row.tally.all)));
        }
        Usage { rows, total, gone: None }
    }
}

fn place_of<'r>(registry: &'r Registry, code: &str) -> Option<PlaceRef<'r>> {
    Some(registry.sign(code.parse::<Code>().ok()?)?.place())
}

/// A quarter of an hour, by its number since the Unix epoch, as its day or hour in a time zone.
fn local(quarter: &str, timezone: &TimeZone, by: By) -> String {
    let ms = quarter.parse::<i64>().unwrap_or(0).saturating_mul(QUARTER_MS);
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned_datetime(timezone.clone());
    let format = if by == By::Day { "%Y-%m-%d" } else { "%Y-%m-%dT%H:00%:z" };
    time.strftime(format).to_string()
}
