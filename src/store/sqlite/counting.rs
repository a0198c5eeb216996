//! What is counted beside the scans, and when.
//!
//! A batch counts its own scans, in its own transaction: by hour for the signs' health (`hours.rs`), by spans for
//! `waypost usage` (`figures.rs`). What an earlier release has stored is counted in steps, oldest first: `uncounted`
//! says from where to where that is still to be done, and is moved on in the transaction that counts. So each scan
//! is counted once, whenever the process ends. Until all is counted, questions are answered from the scans.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::Sqlite;
use super::figures::{Figure, Figures, Found};
use super::hours::Hours;
use super::tables::VERSION;
use crate::core::scan::{Agent, Outcome, Scan};
use crate::store::StoreError;
use crate::system::pace;

/// Scans that a step looks at: a batch waits for it, and for its commit.
const STEP: usize = 4000;

/// What is still to be counted: behind one scan, up to the end of a batch.
pub(super) struct Uncounted {
    /// Batch and position of the last scan that a step has looked at.
    behind: (i64, u32),
    /// The last batch that was stored without being counted.
    until: i64,
    /// Hours before this one, in milliseconds since the Unix epoch, were counted by the earlier release, when their
    /// scans were still there.
    since: i64,
}

impl Uncounted {
    /// `None` where all is counted.
    pub fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let sql = "SELECT batch, seq, until, since FROM uncounted";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Self { behind: (row.get(0)?, row.get(1)?), until: row.get(2)?, since: row.get(3)? })
        };
        connection.prepare_cached(sql)?.query_row([], read).optional()
    }

    /// Whether a step will come by a scan.
    fn has(&self, batch: i64, seq: u32) -> bool {
        (batch, seq) > self.behind && batch <= self.until
    }
}

/// Of which scans a file of any version has counted the hours: those from before this time. [`i64::MIN`]: there is no
/// such table, or it is not of use; what a later release counts is not known.
pub(super) fn hours_until(connection: &Connection) -> rusqlite::Result<i64> {
    let all_or = |since| if since { i64::MAX } else { i64::MIN };
    match version(connection)? {
        VERSION => Ok(Uncounted::read(connection)?.map_or(i64::MAX, |left| left.since)),
        2 => connection.query_row("SELECT count(*) = 0 FROM uncounted", [], |row| row.get(0)).map(all_or),
        _ => Ok(i64::MIN),
    }
}

/// Whether a file of any version has figures of all scans.
pub(super) fn has_figures(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(version(connection)? == VERSION && Uncounted::read(connection)?.is_none())
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// What a batch counts.
#[derive(Default)]
pub(super) struct Counts {
    hours: Hours,
    figures: Figures,
    /// What steps will come by.
    left: Option<Uncounted>,
}

impl Counts {
    /// For a batch that was stored before, and is perhaps still to be counted.
    pub fn of_known(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self { left: Uncounted::read(connection)?, ..Self::default() })
    }

    /// Counts a scan that was not there before.
    pub fn count(&mut self, batch: i64, seq: u32, scan: &Scan) {
        let left = self.left.as_ref().filter(|left| left.has(batch, seq));
        if scan.is_headline() && left.is_none_or(|left| scan.ts_ms < left.since) {
            self.hours.add(scan.code, scan.ts_ms);
        }
        if scan.outcome == Outcome::Found && left.is_none() {
            self.figures.count(&Found {
                ts_ms: scan.ts_ms,
                code: &scan.code.text(),
                lang: &scan.lang,
                country: &scan.origin.country,
                app: scan.client.app.as_str(),
                figure: Figure::new(scan.client.agent == Agent::Person, scan.repeat),
            });
        }
    }

    pub fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        self.hours.write(connection)?;
        self.figures.write(connection)
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
        let (mut counts, mut seen) = (Counts::default(), 0);
        {
            let mut select = transaction.prepare_cached(&format!(
                "SELECT batch, seq, ts, code, lang, country, app, outcome = 'found', agent = 'person', repeat
                 FROM scans WHERE (batch, seq) > (?1, ?2) AND batch <= ?3 ORDER BY batch, seq LIMIT {STEP}"
            ))?;
            let mut rows = select.query(params![left.behind.0, left.behind.1, left.until])?;
            while let Some(row) = rows.next()? {
                pace::step();
                left.behind = (row.get(0)?, row.get(1)?);
                seen += 1;
                if !row.get::<_, bool>(7)? {
                    continue;
                }
                let text = |at| row.get_ref(at).and_then(|value| value.as_str().map_err(Into::into));
                let found = Found {
                    ts_ms: row.get(2)?,
                    code: text(3)?,
                    lang: text(4)?,
                    country: text(5)?,
                    app: text(6)?,
                    figure: Figure::new(row.get(8)?, row.get(9)?),
                };
                counts.figures.count(&found);
                if found.figure == Figure::Scan
                    && found.ts_ms >= left.since
                    // What is no code no sign has.
                    && let Ok(code) = found.code.parse()
                {
                    counts.hours.add(code, found.ts_ms);
                }
            }
        }
        counts.write(&transaction)?;
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
