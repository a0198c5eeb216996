//! The hours in which each sign has headline scans.
//!
//! Owns `sign_hours`. Who counts, and when, is `counting.rs`'s.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::tables::HEADLINE;
use crate::core::Code;
use crate::store::sign_health::{HOUR_MS, hour_of};
use crate::system::pace;

/// Headline scans by hour and code, in the order of the table: how many, and the last.
#[derive(Default)]
pub(super) struct Hours(BTreeMap<(i64, Code), (i64, i64)>);

impl Hours {
    /// Counts a headline scan.
    pub fn add(&mut self, code: Code, ts_ms: i64) {
        let (scans, last) = self.0.entry((hour_of(ts_ms), code)).or_insert((0, ts_ms));
        *scans += 1;
        *last = (*last).max(ts_ms);
    }

    /// Adds them to the table.
    pub fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO sign_hours (hour, code, scans, last) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (hour, code)
             DO UPDATE SET scans = scans + excluded.scans, last = max(last, excluded.last)",
        )?;
        for ((hour, code), (scans, last)) in &self.0 {
            pace::step();
            insert.execute(params![hour, code.text().as_str(), scans, last])?;
        }
        Ok(())
    }
}

/// Code, hour, headline scans and the last of them, each hour of a code once, from the hour `?1` to the time `?3`:
/// before the hour `?2` as counted, from then on from the scans. `?2` is not beyond
/// [`hours_until`](super::counting::hours_until), and `until` the same.
pub(super) fn select(until: i64) -> String {
    let counted = if until == i64::MIN {
        // There may be no table.
        ""
    } else {
        "SELECT code, hour, scans, last FROM sign_hours WHERE hour >= ?1 AND hour < ?2 UNION ALL"
    };
    format!(
        "{counted}
         SELECT code, ts - ts % {HOUR_MS} AS hour, count(*), max(ts) FROM scans
         WHERE ts >= max(?1, ?2) AND ts <= ?3 AND {HEADLINE} GROUP BY hour, code"
    )
}
