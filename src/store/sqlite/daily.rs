//! What SQLite has of each sign by day.

use std::collections::BTreeMap;

use super::Sqlite;
use crate::store::StoreError;
use crate::store::daily::{Beginnings, Daily};

impl Sqlite {
    /// Headline scans by sign and day, from the hours: an hour belongs to the day on which it begins.
    pub(in crate::store) fn daily(
        &self,
        beginnings: &Beginnings,
        each: &mut impl FnMut(Daily),
    ) -> Result<(), StoreError> {
        self.try_daily(beginnings, each).map_err(|error| self.unavailable(error))
    }

    fn try_daily(&self, beginnings: &Beginnings, each: &mut impl FnMut(Daily)) -> rusqlite::Result<()> {
        let sql = "SELECT code, hour, scans, last FROM sign_hours WHERE hour >= ?1 ORDER BY code";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([beginnings.first()])?;
        let mut code = String::new();
        let mut days: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
        let mut give = |code: &str, days: &mut BTreeMap<usize, (i64, i64)>| {
            for (days_ago, (scans, last)) in std::mem::take(days) {
                let scans = scans.cast_unsigned();
                each(Daily { code: code.to_owned(), days_ago, scans, last_ms: Some(last) });
            }
        };
        while let Some(row) = rows.next()? {
            let next = row.get_ref(0)?.as_str()?;
            if next != code {
                give(&code, &mut days);
                next.clone_into(&mut code);
            }
            let Some(days_ago) = beginnings.days_ago(row.get(1)?) else { continue };
            let (scans, last) = days.entry(days_ago).or_default();
            *scans += row.get::<_, i64>(2)?;
            *last = row.get::<_, i64>(3)?.max(*last);
        }
        give(&code, &mut days);
        Ok(())
    }
}
