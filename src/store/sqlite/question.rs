//! What SQLite counts for a question.

use jiff::Timestamp;
use rusqlite::params;

use super::Sqlite;
use crate::store::StoreError;
use crate::store::question::{By, QUARTER_MS, Question, Tally};

impl Sqlite {
    /// The figures of a question, by its key.
    pub(in crate::store) fn tallies(
        &self,
        question: &Question,
        each: impl FnMut(String, Tally),
    ) -> Result<(), StoreError> {
        self.try_tallies(question, each).map_err(|error| self.unavailable(error))
    }

    fn try_tallies(&self, question: &Question, mut each: impl FnMut(String, Tally)) -> rusqlite::Result<()> {
        let from = question.from.map_or(i64::MIN, Timestamp::as_millisecond);
        let to = question.to.map_or(i64::MAX, Timestamp::as_millisecond);
        let mut statement = self.connection.prepare(&sql(question.by))?;
        let mut rows = statement.query(params![from, to])?;
        while let Some(row) = rows.next()? {
            let figure = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            let tally = Tally { all: figure(1)?, scans: figure(2)?, repeats: figure(3)?, bots: figure(4)? };
            each(row.get(0)?, tally);
        }
        Ok(())
    }
}

fn sql(by: By) -> String {
    let key = match by {
        By::Sign | By::Place | By::Area => "code",
        By::Day | By::Hour => &format!("CAST(ts / {QUARTER_MS} AS TEXT)"),
        By::Lang => "lang",
        By::Country => "country",
        By::App => "app",
    };
    format!(
        "SELECT {key} AS key, count(*),
                count(*) FILTER (WHERE agent = 'person' AND repeat = 0),
                count(*) FILTER (WHERE agent = 'person' AND repeat = 1),
                count(*) FILTER (WHERE agent <> 'person')
         FROM scans WHERE outcome = 'found' AND ts >= ?1 AND ts < ?2 GROUP BY key"
    )
}
