//! What ClickHouse has of each sign by day.

use clickhouse::Row;
use serde::Deserialize;

use super::ClickHouse;
use crate::store::StoreError;
use crate::store::daily::{Beginnings, Daily};

#[derive(Debug, Row, Deserialize)]
struct HourRow {
    code: String,
    /// Its start, in seconds since the Unix epoch.
    hour: u32,
    scans: u64,
}

impl ClickHouse {
    /// Headline scans by sign and day, from the hours that reports read. Asks the first server.
    pub(in crate::store) fn daily(
        &self,
        beginnings: &Beginnings,
        each: &mut impl FnMut(Daily),
    ) -> Result<(), StoreError> {
        let (database, all) = (&self.settings.database, self.all());
        // The day is made here, as of the embedded store; an hour begins on one.
        let sql = format!(
            "SELECT code, toUInt32(toUnixTimestamp(hour)) AS hour, toUInt64(sum(t.scans)) AS scans
             FROM {database}.scans_hourly{all} AS t
             WHERE hour >= fromUnixTimestamp64Milli({}) AND outcome = 'found' AND agent = 'person' AND NOT repeat
             GROUP BY code, hour",
            beginnings.first()
        );
        self.query(&sql, |row: HourRow| {
            let begin = i64::from(row.hour) * 1000;
            if let Some(days_ago) = beginnings.days_ago(begin) {
                each(Daily { code: row.code, days_ago, scans: row.scans, last_ms: None });
            }
        })
    }
}
