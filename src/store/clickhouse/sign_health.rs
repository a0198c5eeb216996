//! What ClickHouse has counted for the rule of sign health, and keeps of its answer.
//!
//! Owns how `sign_hours` gets what was there before its view. That it has it is known once a report is kept; until
//! then hours are counted from the tables that it is filled from.

use clickhouse::Row;
use serde::Deserialize;

use super::client::{Client, Content};
use super::{ClickHouse, classify, encode, in_turn, is_away, routing_key_of};
use crate::core::date_of;
use crate::health::Report;
use crate::store::StoreError;
use crate::store::sign_health::{DAY_MS, Gathering, Until};

/// What an edge without a clock has recorded is of no day: its days begin before ClickHouse's first.
const FIRST: i64 = 2 * DAY_MS;
/// What is filled again at each computation.
const AGAIN: i64 = 3 * DAY_MS;
/// What is filled at once before the first. At 50 million scans in 90 days that is 0.6 s of one core; a month was
/// 9 s, for its groups go to the disk.
const PIECE: i64 = 5 * DAY_MS;
/// Which scans the headline figures count, in both tables of scans.
const HEADLINE: &str = "outcome = 'found' AND agent = 'person' AND NOT repeat";
/// Which scans are asked for by country.
const RECENT: &str = "outcome IN ('found', 'retired') AND agent = 'person' AND NOT repeat";
/// Groups that take more bytes than this go to the server's disk.
const GROUPS: &str = "SETTINGS max_bytes_before_external_group_by = 100000000";

/// One code's hours with a scan on one day.
#[derive(Row, Deserialize)]
struct DayRow {
    code: String,
    day: i32,
    hours: u8,
    last: i64,
}

/// One code's scans with one outcome from one country.
#[derive(Row, Deserialize)]
struct CountryRow {
    code: String,
    outcome: String,
    country: String,
    scans: u64,
}

/// From one time, inclusive, to another, exclusive; in milliseconds since the Unix epoch.
type Span = (Option<i64>, Option<i64>);

impl ClickHouse {
    /// What was counted, on all shards.
    pub(in crate::store) fn observe(&self, until: &Until, gathering: &mut Gathering) -> Result<(), StoreError> {
        let (database, all) = (&self.settings.database, self.all());
        // The hour that is not over may have been counted further than until now.
        let over = (None, Some(until.hour));
        let counted = if self.is_filled()? {
            format!("SELECT code, hour, last FROM {database}.hours_by_sign WHERE {}", within("hour", over))
        } else {
            self.counted(all, over, until)
        };
        let zone = self.zone();
        // Each hour of a day is a bit, so rows of one hour that are not merged yet count once.
        let hours = format!(
            "SELECT code, toInt32(toDate(hour, '{zone}')) AS day,
                bitCount(groupBitOr(bitShiftLeft(toUInt32(1),
                    intDiv(toUnixTimestamp(hour) - toUnixTimestamp(toStartOfDay(hour, '{zone}')), 3600)))) AS hours,
                toUnixTimestamp64Milli(max(last)) AS last
             FROM ({counted} UNION ALL {})
             GROUP BY code, day {GROUPS}",
            self.of_scans(all, (Some(until.hour), Some(until.now + 1))),
        );
        self.query(&hours, |row: DayRow| gathering.hours(&row.code, row.day, row.hours, row.last))?;
        let recent = format!(
            "SELECT code, outcome, country, sum(scans) AS scans
             FROM (
                SELECT code, outcome, country, scans FROM {database}.scans_hourly{all} WHERE {RECENT} AND {}
                UNION ALL
                SELECT code, outcome, country, toUInt64(1) AS scans FROM {database}.scans{all} WHERE {RECENT} AND {}
             )
             GROUP BY code, outcome, country",
            within("hour", (Some(until.recent), Some(until.local_hour))),
            within("ts", (Some(until.local_hour), Some(until.now + 1))),
        );
        self.query(&recent, |row: CountryRow| gathering.recent(&row.code, &row.outcome, &row.country, row.scans))
    }

    /// Fills `sign_hours` on every server, from what that server has; of replicas, which have the same, on one.
    pub(in crate::store) fn fill(&self, until: &Until) -> Result<(), StoreError> {
        if self.settings.replicas {
            return in_turn(self.alternatives(), is_away, |at| self.fill_server(&self.clients[at], until));
        }
        self.clients.iter().try_for_each(|client| self.fill_server(client, until))
    }

    fn fill_server(&self, client: &Client, until: &Until) -> Result<(), StoreError> {
        let database = &self.settings.database;
        let run = |sql: String| self.runtime.block_on(client.post(&[], Content::Sql(sql))).map_err(classify);
        // Its own reports, not those of other shards.
        let reports = run(format!("SELECT count() FROM {database}.sign_health"))?;
        let spans = if reports.trim() == "0" {
            let listed = run(format!(
                "SELECT arrayJoin(range(toUnixTimestamp(min(hour)), toUnixTimestamp(max(hour)) + 1, {})) FROM {database}.scans_hourly WHERE {}",
                PIECE / 1000,
                within("hour", (None, None))
            ))?;
            let span = |from: i64| (Some(from * 1000), Some(from * 1000 + PIECE));
            listed.lines().filter_map(|line| line.parse().ok()).map(span).collect()
        } else {
            vec![(Some(until.hour - AGAIN), None)]
        };
        for span in spans {
            run(format!(
                "INSERT INTO {database}.sign_hours (code, hour, last)
                 SELECT code, hour, max(last) FROM ({}) GROUP BY code, hour {GROUPS}",
                self.counted("", span, until)
            ))?;
        }
        Ok(())
    }

    /// Keeps an edge's report. The same computation once more is the same insert. Of replicas the next is tried if
    /// one does not answer.
    pub(in crate::store) fn keep(&mut self, edge: &str, report: &Report, computed_ms: i64) -> Result<(), StoreError> {
        let block = encode::sign_health(edge, computed_ms, report);
        let token = format!("health-{edge}-{}-{:08x}", date_of(report.day), crc32fast::hash(&block));
        let (key, block) = (routing_key_of(edge), [block.into()]);
        // After a failure an insert goes to the next replica by itself.
        in_turn(self.alternatives(), is_away, |_| self.insert_block("sign_health", key, &token, &block))
    }

    /// Whether `sign_hours` has what was there before its view: on every shard that has scans.
    fn is_filled(&self) -> Result<bool, StoreError> {
        #[derive(Row, Deserialize)]
        struct Reports {
            reports: u64,
            shards: u64,
        }
        let database = &self.settings.database;
        let sql = if self.settings.cluster.is_empty() {
            format!("SELECT count() AS reports, toUInt64(1) AS shards FROM {database}.sign_health")
        } else {
            format!(
                "SELECT uniqExact(_shard_num) AS reports,
                    (SELECT greatest(uniqExact(_shard_num), 1) FROM {database}.scans_hourly_all) AS shards
                 FROM {database}.sign_health_all"
            )
        };
        let mut is_filled = false;
        self.query(&sql, |row: Reports| is_filled = row.reports >= row.shards)?;
        Ok(is_filled)
    }

    /// Hours by code from the tables that `sign_hours` is filled from: from scans for as long as they are surely
    /// kept, and by the hour before. There an hour is one of the province's time zone; where it is not one of UTC
    /// too, it counts for the one in which it starts.
    fn counted(&self, all: &str, (from, to): Span, until: &Until) -> String {
        format!(
            "{} UNION ALL
             SELECT code, toStartOfHour(hour, 'UTC') AS hour, toDateTime64(t.hour, 3, 'UTC') AS last
             FROM {}.scans_hourly{all} AS t WHERE {HEADLINE} AND {}",
            self.of_scans(all, (from.max(Some(until.year)), to)),
            self.settings.database,
            within("t.hour", (from, to.into_iter().chain([until.year]).min())),
        )
    }

    fn of_scans(&self, all: &str, span: Span) -> String {
        format!(
            "SELECT code, toStartOfHour(ts, 'UTC') AS hour, ts AS last FROM {}.scans{all} WHERE {HEADLINE} AND {}",
            self.settings.database,
            within("ts", span),
        )
    }

    fn zone(&self) -> &str {
        self.timezone.iana_name().unwrap_or("UTC")
    }
}

/// A condition on a column of times.
fn within(column: &str, (from, to): Span) -> String {
    let bound = |comparison: &str, at: i64| format!("{column} {comparison} fromUnixTimestamp64Milli({at})");
    let until = to.map_or_else(|| "1".to_owned(), |to| bound("<", to));
    format!("{} AND {until}", bound(">=", from.unwrap_or(FIRST).max(FIRST)))
}
