//! What ClickHouse counts for a question.
//!
//! Owns the choice of the table: `scans_hourly` where the question is about whole hours, `scans`
//! for anything finer.

use clickhouse::Row;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::ClickHouse;
use crate::store::StoreError;
use crate::store::question::{By, QUARTER_MS, Question, Tally};

#[derive(Debug, Row, Deserialize)]
struct Figures {
    key: String,
    all: u64,
    scans: u64,
    repeats: u64,
    bots: u64,
}

impl ClickHouse {
    /// The figures of a question, by its key. Asks the first server.
    pub(in crate::store) fn tallies(
        &self,
        question: &Question,
        mut each: impl FnMut(&str, Tally),
    ) -> Result<(), StoreError> {
        let sql = sql(question, &self.settings.database, self.all(), &self.timezone);
        self.query(&sql, |row: Figures| {
            each(&row.key, Tally { all: row.all, scans: row.scans, repeats: row.repeats, bots: row.bots });
        })
    }
}

/// `suffix` is that of a cluster's tables.
fn sql(question: &Question, database: &str, suffix: &str, timezone: &TimeZone) -> String {
    let is_whole_hour = |time: &Timestamp| {
        let local = time.to_zoned_datetime(timezone.clone());
        (local.minute(), local.second(), local.subsec_nanosecond()) == (0, 0, 0)
    };
    let is_hourly = question.from.iter().chain(&question.to).all(is_whole_hour);
    let (table, time, count) =
        if is_hourly { ("scans_hourly", "hour", "sum(t.scans)") } else { ("scans", "ts", "count()") };
    let count_if = |condition: &str| {
        if is_hourly { format!("sumIf(t.scans, {condition})") } else { format!("countIf({condition})") }
    };
    let quarter = if is_hourly {
        format!("intDiv(toUnixTimestamp(hour), {})", QUARTER_MS / 1000)
    } else {
        format!("intDiv(toUnixTimestamp64Milli(ts), {QUARTER_MS})")
    };
    let key = match question.by {
        By::Sign | By::Place | By::Area => "code",
        By::Day | By::Hour => &quarter,
        By::Lang => "lang",
        By::Country => "country",
        By::App => "app",
    };
    let bound = |comparison: &str, bound: Option<Timestamp>| {
        bound.map_or(String::new(), |at| {
            format!(" AND {time} {comparison} fromUnixTimestamp64Milli({})", at.as_millisecond())
        })
    };
    format!(
        "SELECT toString({key}) AS key, toUInt64({count}) AS all, toUInt64({}) AS scans, toUInt64({}) AS repeats, toUInt64({}) AS bots \
         FROM {database}.{table}{suffix} AS t WHERE outcome = 'found'{}{} GROUP BY key ORDER BY key",
        count_if("t.agent = 'person' AND NOT t.repeat"),
        count_if("t.agent = 'person' AND t.repeat"),
        count_if("t.agent != 'person'"),
        bound(">=", question.from),
        bound("<", question.to),
    )
}
