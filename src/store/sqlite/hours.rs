//! The hours in which each sign has headline scans, counted beside the scans.
//!
//! Owns `sign_hours`. A batch counts its own scans, in its own transaction. What a file of version 1 has is
//! counted in steps, oldest first: `uncounted` says from where to where that is still to be done, and is
//! moved on in the transaction that counts. So each scan is counted once, whenever the process ends.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::Sqlite;
use super::tables::HEADLINE;
use crate::core::Code;
use crate::core::scan::Scan;
use crate::store::StoreError;
use crate::store::sign_health::hour_of;

/// Scans that a step looks at: a batch waits for it, and for its commit.
const STEP: usize = 4000;

/// Headline scans by code and hour, in the order of the table: how many, and the last.
#[derive(Default)]
pub(super) struct Hours(BTreeMap<(Code, i64), (i64, i64)>);

impl Hours {
    /// Counts a scan if it is a headline scan.
    pub fn count(&mut self, scan: &Scan) {
        if scan.is_headline() {
            self.add(scan.code, scan.ts_ms);
        }
    }

    fn add(&mut self, code: Code, ts_ms: i64) {
        let (scans, last) = self.0.entry((code, hour_of(ts_ms))).or_insert((0, ts_ms));
        *scans += 1;
        *last = (*last).max(ts_ms);
    }

    /// Adds them to the table.
    pub fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut insert = connection.prepare_cached(
            "INSERT INTO sign_hours (code, hour, scans, last) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (code, hour)
             DO UPDATE SET scans = scans + excluded.scans, last = max(last, excluded.last)",
        )?;
        for ((code, hour), (scans, last)) in &self.0 {
            insert.execute(params![code.text().as_str(), hour, scans, last])?;
        }
        Ok(())
    }
}

/// What is still to be counted: behind one scan, up to the end of a batch.
pub(super) struct Uncounted {
    /// Batch and position of the last scan that a step has looked at.
    behind: (i64, u32),
    /// The last batch that was stored without being counted.
    until: i64,
}

impl Uncounted {
    /// `None` where all is counted.
    pub fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let row = |row: &rusqlite::Row<'_>| Ok(Self { behind: (row.get(0)?, row.get(1)?), until: row.get(2)? });
        connection.query_row("SELECT batch, seq, until FROM uncounted", [], row).optional()
    }

    /// Whether a step will come by a scan.
    pub fn has(&self, batch: i64, seq: u32) -> bool {
        (batch, seq) > self.behind && batch <= self.until
    }
}

impl Sqlite {
    /// Counts some of the scans that were stored by a release which did not. Returns whether there are more.
    pub fn count_older(&mut self) -> Result<bool, StoreError> {
        self.try_count_older().map_err(|error| self.unavailable(error))
    }

    fn try_count_older(&mut self) -> rusqlite::Result<bool> {
        if Uncounted::read(&self.connection)?.is_none() {
            return Ok(false);
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have gone on meanwhile.
        let Some(mut left) = Uncounted::read(&transaction)? else { return Ok(false) };
        let (mut hours, mut seen) = (Hours::default(), 0);
        {
            let mut select = transaction.prepare_cached(&format!(
                "SELECT batch, seq, code, ts, {HEADLINE} FROM scans WHERE (batch, seq) > (?1, ?2) AND batch <= ?3
                 ORDER BY batch, seq LIMIT {STEP}"
            ))?;
            let mut rows = select.query(params![left.behind.0, left.behind.1, left.until])?;
            while let Some(row) = rows.next()? {
                left.behind = (row.get(0)?, row.get(1)?);
                seen += 1;
                // What is no code no sign has.
                if let (true, Ok(code)) = (row.get(4)?, row.get_ref(2)?.as_str()?.parse()) {
                    hours.add(code, row.get(3)?);
                }
            }
        }
        hours.write(&transaction)?;
        let is_left = seen == STEP;
        if is_left {
            transaction.execute("UPDATE uncounted SET batch = ?1, seq = ?2", [left.behind.0, left.behind.1.into()])?;
        } else {
            transaction.execute("DELETE FROM uncounted", [])?;
        }
        transaction.commit()?;
        Ok(is_left)
    }
}
