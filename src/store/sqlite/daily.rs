//! What SQLite has of each sign by day.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::{Sqlite, counting, hours};
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
        // All of it from one state of the file.
        let transaction = self.connection.unchecked_transaction()?;
        let until = counting::hours_until(&transaction)?;
        let mut statement = transaction.prepare(&hours::select(until))?;
        let mut rows = statement.query([beginnings.first(), until, i64::MAX])?;
        // Of each code its days: how many, and the last.
        let mut signs: HashMap<String, BTreeMap<usize, (i64, i64)>, foldhash::fast::FixedState> = HashMap::default();
        while let Some(row) = rows.next()? {
            let Some(days_ago) = beginnings.days_ago(row.get(1)?) else { continue };
            let days = signs.entry_ref(row.get_ref(0)?.as_str()?).or_default();
            let (scans, last) = days.entry(days_ago).or_default();
            *scans += row.get::<_, i64>(2)?;
            *last = row.get::<_, i64>(3)?.max(*last);
        }
        for (code, days) in signs {
            for (days_ago, (scans, last)) in days {
                each(Daily { code: code.clone(), days_ago, scans: scans.cast_unsigned(), last_ms: Some(last) });
            }
        }
        Ok(())
    }
}
